"""GitHub Actions: start a workflow (`workflow.dispatch`), and how its latest run ended (`workflow.latest`).

https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event. A start has no idempotency key: Muster's goes along as
an input, and the run is found again by it where the workflow repeats it in its `run-name`. `return_run_details` asks for the run's id.
"""

import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from actions.contract import CallInvalid, Rejected, Throttled
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.started import Starting, plain_name, standing
from actions.toolkit.wire import Answer, Wire, refuse, retry_after
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.severity import Tier
from runbooks.value import Json

WHO = "GitHub"
API = "https://api.github.com"
FORM = "owner/repository/workflow.yml"
LETTERS = string.ascii_letters + string.digits + "-_."
KEY = "muster_key"
MOST_RUNS = 50  # of the newest runs, among which a key is looked for
MOST_INPUTS = 24  # GitHub takes 25, and the key is one

_WORKFLOW = Argument(type=ArgumentType.TEXT, help=FORM)
DISPATCH = Operation(
    name="workflow.dispatch",
    title="Start a workflow",
    reads=False,
    tier=Tier.R1,
    target="workflow",
    arguments={
        "workflow": _WORKFLOW,
        "ref": Argument(type=ArgumentType.TEXT, help="the branch or tag whose workflow is run, such as main"),
        "inputs": Argument(type=ArgumentType.ANY, required=False, help="the workflow's inputs, a mapping of names to texts"),
    },
    sample={"workflow": "example/answers/failover.yml", "ref": "main"},
    reversible=False,
    looks=False,
    plans=False,
)
LATEST = Operation(
    name="workflow.latest",
    title="How a workflow's latest run ended",
    reads=True,
    arguments={"workflow": _WORKFLOW},
    sample={"rows": [{"run": "731", "state": "success", "url": "https://github.com/example", "value": 1.0}], "value": 1.0},
)


class GitHub(Starting):
    """The workflows of one installation. Implements `actions.contract.Backend`. `repositories` are those that may be asked."""

    name = "github"
    world: str | None = None
    operations: tuple[Operation, ...] = (DISPATCH, LATEST)
    starts = DISPATCH

    def __init__(
        self,
        *,
        token: Callable[[], str],
        environment: str | None,
        repositories: tuple[str, ...],
        url: str = API,
        key_input: str | None = KEY,
    ) -> None:
        self.environment, self._repositories, self._key_input = environment, frozenset(repositories), key_input
        self.blind = None if key_input else f"`key_input` is empty, so no run at {WHO} carries Muster's key."
        self._wire = Wire(
            who=WHO,
            base=url,
            headers=lambda: {
                "Authorization": f"Bearer {token()}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "muster",
            },
        )

    def probe(self, *, timeout: float) -> str:
        """Whether each repository's workflows may be read; the right to start them shows only when one is started."""
        for repository in sorted(self._repositories):
            owner, _, name = repository.partition("/")
            answer = self._wire.send("GET", f"/repos/{quote(owner)}/{quote(name)}/actions/workflows?per_page=1", timeout=timeout)
            refuse(answer, who=WHO, what=f"repository {repository}, for these credentials")
        listed = ", ".join(sorted(self._repositories))
        return f"{WHO} lets these credentials read the workflows of {listed}; the right to start them shows only when one is started."

    def _exists(self, call: Call, *, timeout: float) -> None:
        found = _mapping(self._asked("GET", self._path(call), call, timeout=timeout))
        if found.get("state", "active") != "active":
            raise Rejected(f"{call.target} is switched off at {WHO} ({found.get('state')}); switch it on there first.")

    def _start(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        body = {"ref": str(call.arguments.get("ref")), "inputs": self._inputs(call, key=key), "return_run_details": True}
        answer = self._asked("POST", f"{self._path(call)}/dispatches", call, timeout=timeout, body=body)
        if not answer.body:  # an older server says only that it took it
            return None
        try:
            found = _mapping(answer)
        except Rejected:
            return None
        return Reading(revision=str(found.get("workflow_run_id")), facts={"state": "queued", "url": str(found.get("html_url") or "")})

    def _found(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        if self._key_input is None:
            return None
        runs = self._runs(call, f"event=workflow_dispatch&per_page={MOST_RUNS}", timeout=timeout)
        return next((_reading(one) for one in runs if key in str(one.get("display_title")).split()), None)

    def _latest(self, call: Call, *, timeout: float) -> Reading:
        """The newest run as a row; `value` is 1 for success, 0 for any other end, and none while it runs or where there is no run."""
        asked = call.model_copy(update={"target": str(call.arguments["workflow"])})
        runs = self._runs(asked, "per_page=1", timeout=timeout)
        rows = [{**_row(one), "value": _value(one)} for one in runs[:1]]
        return Reading(value={"rows": rows, "value": rows[0]["value"] if rows else None})

    def _runs(self, call: Call, query: str, *, timeout: float) -> list[Any]:
        found = _mapping(self._asked("GET", f"{self._path(call)}/runs?{query}", call, timeout=timeout)).get("workflow_runs")
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            raise Rejected(f"{WHO} lists the runs of {call.target} in a way that cannot be read.")
        return found

    def _asked(self, method: str, path: str, call: Call, *, timeout: float, body: Json = None) -> Answer:
        answer = self._wire.send(method, path, body=body, timeout=timeout)
        if answer.status == 403 and ("retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"):
            raise Throttled(f"{WHO} asks to wait: too many requests with these credentials.", retry_after=retry_after(answer.headers))
        refuse(answer, who=WHO, what=f"workflow {call.target}, for these credentials")
        return answer

    def _path(self, call: Call) -> str:
        owner, repository, workflow = plain_name(call, form=FORM, parts=3, letters=LETTERS)
        if f"{owner}/{repository}" not in self._repositories:
            listed = ", ".join(sorted(self._repositories))
            raise CallInvalid(f"{owner}/{repository} is not among the repositories of this backend: {listed}. Nothing was sent.")
        return f"/repos/{owner}/{repository}/actions/workflows/{workflow}"

    def _inputs(self, call: Call, *, key: str) -> dict[str, str]:
        given = call.arguments.get("inputs") or {}
        if not isinstance(given, Mapping) or len(given) > MOST_INPUTS or any(isinstance(one, Mapping | list) for one in given.values()):
            raise CallInvalid(f"inputs must be a mapping of at most {MOST_INPUTS} names to texts. Nothing was sent.")
        if self._key_input in given:
            raise CallInvalid(f"The input {self._key_input} is Muster's own. Nothing was sent.")
        said = {str(name): str(one).lower() if isinstance(one, bool) else str(one) for name, one in given.items()}
        return said if self._key_input is None else {**said, self._key_input: key}


def _mapping(answer: Answer) -> Mapping[str, Any]:
    found = answer.json()
    if not isinstance(found, Mapping):
        raise Rejected(f"{WHO} does not answer as its API does.")
    return found


def _row(run: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "run": str(run.get("id")),
        "state": str(run.get("conclusion") or run.get("status")),
        "url": str(run.get("html_url") or ""),
        "at": str(run.get("created_at") or ""),
    }


def _value(run: Mapping[str, Any]) -> float | None:
    ended = run.get("status") == "completed" and run.get("conclusion")
    return None if not ended else 1.0 if run.get("conclusion") == "success" else 0.0


def _reading(run: Mapping[str, Any]) -> Reading:
    row = _row(run)
    said = standing(f"run {row['run']}", state=str(row["state"]), value=_value(run), url=str(row["url"]))
    return Reading(revision=str(row["run"]), facts={"state": row["state"], "url": row["url"], "tells": said})


def build(options: Options, secrets: Secrets) -> GitHub:
    """Secret `token`; `environment`, `repositories`; `url` of GitHub Enterprise; `key_input`: the input for the key, "" for none."""
    if "token" not in secrets:
        raise options.invalid("secrets.token", "is needed: a fine-grained token with Actions read and write")
    repositories = options.texts("repositories")
    if not repositories or any(one.count("/") != 1 or not set(one) <= {*LETTERS, "/"} for one in repositories):
        raise options.invalid("repositories", "must list owner/repository, at least one")
    return GitHub(
        token=secrets["token"],
        environment=options.text("environment"),
        repositories=repositories,
        url=options.text("url", API),
        key_input=options.text("key_input", KEY) or None,
    )


KIND = BackendKind(
    name="github",
    operations=(DISPATCH, LATEST),
    build=build,
    options=frozenset({"environment", "repositories", "url", "key_input"}),
)
