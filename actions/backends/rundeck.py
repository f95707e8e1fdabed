"""Rundeck: run a job (`job.run`), and how its latest execution ended (`job.latest`).

https://docs.rundeck.com/docs/api/. A run has no idempotency key: Muster's goes along as an option that the job declares, and the
execution is found again by it. Without such an option a lost answer goes to a person.
"""

import string
from collections.abc import Callable, Mapping
from typing import Any

from actions.contract import CallInvalid, OutcomeUnknown, Rejected
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.started import Starting, plain_name, standing
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.severity import Tier
from runbooks.value import Json

WHO = "Rundeck"
VERSION = 41  # of the API: Rundeck 4.0 and later
FORM = "the job's id, such as 5b0e0a4e-3f0e-4bb0-9d3b-3a2a8c2f0b11"
LETTERS = string.ascii_letters + string.digits + "-"
MOST_EXECUTIONS = 50  # of the newest, among which a key is looked for

_JOB = Argument(type=ArgumentType.TEXT, help=FORM)
RUN = Operation(
    name="job.run",
    title="Run a job",
    reads=False,
    tier=Tier.R1,
    target="job",
    arguments={
        "job": _JOB,
        "options": Argument(type=ArgumentType.ANY, required=False, help="the job's options, a mapping of names to texts"),
    },
    sample={"job": "5b0e0a4e-3f0e-4bb0-9d3b-3a2a8c2f0b11"},
    reversible=False,
    looks=False,
    plans=False,
)
LATEST = Operation(
    name="job.latest",
    title="How a job's latest execution ended",
    reads=True,
    arguments={"job": _JOB},
    sample={"rows": [{"execution": "17", "state": "succeeded", "value": 1.0}], "value": 1.0},
)


class Rundeck(Starting):
    """The jobs of one server. Implements `actions.contract.Backend`. `jobs` are those that may be run, by id."""

    name = "rundeck"
    world: str | None = None
    operations: tuple[Operation, ...] = (RUN, LATEST)
    starts = RUN

    def __init__(
        self, *, url: str, token: Callable[[], str], environment: str | None, jobs: tuple[str, ...], key_option: str | None = None
    ) -> None:
        self.environment, self._jobs, self._key_option = environment, frozenset(jobs), key_option
        self.blind = None if key_option else f"`key_option` is not configured, so no execution at {WHO} carries Muster's key."
        headers = lambda: {"X-Rundeck-Auth-Token": token(), "Accept": "application/json"}  # noqa: E731 - a secret is read at each request
        self._wire = Wire(who=WHO, base=f"{url.rstrip('/')}/api/{VERSION}", headers=headers)

    def probe(self, *, timeout: float) -> str:
        """Whether the token is let in and sees each job; the right to run one shows only when it is run."""
        for job in sorted(self._jobs):
            refuse(self._wire.send("GET", f"/job/{job}/info", timeout=timeout), who=WHO, what=f"job {job}, for this token")
        return f"{WHO} shows this token {len(self._jobs)} jobs; the right to run them shows only when one is run."

    def _exists(self, call: Call, *, timeout: float) -> None:
        found = _mapping(self._asked("GET", f"{self._path(call)}/info", call, timeout=timeout))
        if found.get("executionEnabled") is False:
            raise Rejected(f"{call.target} is switched off at {WHO}; switch its execution on there first.")

    def _start(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        answer = self._asked("POST", f"{self._path(call)}/run", call, timeout=timeout, body={"options": self._options(call, key=key)})
        try:
            return _reading(_mapping(answer))
        except Rejected as error:
            raise OutcomeUnknown(f"{WHO} accepted the run and answered something that cannot be read.") from error

    def _found(self, call: Call, *, key: str, timeout: float) -> Reading | None:
        if self._key_option is None:
            return None
        for one in self._executions(call, most=MOST_EXECUTIONS, timeout=timeout):
            job = one.get("job")
            options = job.get("options") if isinstance(job, Mapping) else None
            if isinstance(options, Mapping) and options.get(self._key_option) == key:
                return _reading(one)
        return None

    def _latest(self, call: Call, *, timeout: float) -> Reading:
        """The newest execution as a row; `value` is 1 for success, 0 for any other end, none while it runs or where there is none."""
        asked = call.model_copy(update={"target": str(call.arguments["job"])})
        rows = [{**_row(one), "value": _value(one)} for one in self._executions(asked, most=1, timeout=timeout)[:1]]
        return Reading(value={"rows": rows, "value": rows[0]["value"] if rows else None})

    def _executions(self, call: Call, *, most: int, timeout: float) -> list[Any]:
        found = _mapping(self._asked("GET", f"{self._path(call)}/executions?max={most}", call, timeout=timeout)).get("executions")
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            raise Rejected(f"{WHO} lists the executions of {call.target} in a way that cannot be read.")
        return found

    def _asked(self, method: str, path: str, call: Call, *, timeout: float, body: Json = None) -> Answer:
        answer = self._wire.send(method, path, body=body, timeout=timeout)
        refuse(answer, who=WHO, what=f"job {call.target}, for this token")
        return answer

    def _path(self, call: Call) -> str:
        (job,) = plain_name(call, form=FORM, parts=1, letters=LETTERS)
        if job not in self._jobs:
            raise CallInvalid(f"{job} is not among the jobs of this backend: {', '.join(sorted(self._jobs))}. Nothing was sent.")
        return f"/job/{job}"

    def _options(self, call: Call, *, key: str) -> dict[str, str]:
        given = call.arguments.get("options") or {}
        if not isinstance(given, Mapping) or any(isinstance(one, Mapping | list) for one in given.values()):
            raise CallInvalid("options must be a mapping of names to texts. Nothing was sent.")
        if self._key_option in given:
            raise CallInvalid(f"The option {self._key_option} is Muster's own. Nothing was sent.")
        said = {str(name): str(one).lower() if isinstance(one, bool) else str(one) for name, one in given.items()}
        return said if self._key_option is None else {**said, self._key_option: key}


def _mapping(answer: Answer) -> Mapping[str, Any]:
    found = answer.json()
    if not isinstance(found, Mapping):
        raise Rejected(f"{WHO} does not answer as its API does.")
    return found


def _row(execution: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "execution": str(execution.get("id")),
        "state": str(execution.get("status")),
        "url": str(execution.get("permalink") or ""),
        "by": str(execution.get("user") or ""),
    }


def _value(execution: Mapping[str, Any]) -> float | None:
    state = execution.get("status")
    return None if state in {"running", "queued", "scheduled", None} else 1.0 if state == "succeeded" else 0.0


def _reading(execution: Mapping[str, Any]) -> Reading:
    row = _row(execution)
    said = standing(f"execution {row['execution']}", state=str(row["state"]), value=_value(execution), url=str(row["url"]))
    return Reading(revision=str(row["execution"]), facts={"state": row["state"], "url": row["url"], "tells": said})


def build(options: Options, secrets: Secrets) -> Rundeck:
    """Secret `token`; `url`, `environment`, `jobs` by id; `key_option`: the option of every job that takes Muster's key."""
    if "token" not in secrets:
        raise options.invalid("secrets.token", "is needed: an API token whose role may read and run these jobs")
    jobs = options.texts("jobs")
    if not jobs or any(not set(one) <= set(LETTERS) for one in jobs):
        raise options.invalid("jobs", "must list the jobs' ids, at least one")
    return Rundeck(
        url=options.text("url"),
        token=secrets["token"],
        environment=options.text("environment"),
        jobs=jobs,
        key_option=options.text("key_option", None),
    )


KIND = BackendKind(name="rundeck", operations=(RUN, LATEST), build=build, options=frozenset({"url", "environment", "jobs", "key_option"}))
