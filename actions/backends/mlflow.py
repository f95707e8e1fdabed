"""MLflow's model registry: `model.rollback` moves a registered model's alias to an earlier version.

Over the REST API; MLflow itself is not needed. An alias has no version, so it is compared by value; who moved it last stands as a
tag of the registered model, written before the move, and counts only while it names the version that the alias has.
https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from actions.comparing import Comparing, before, deadline
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import MODEL_ROLLBACK
from actions.redaction import redact
from actions.toolkit import marks
from actions.toolkit.marks import Marked, Marks
from actions.toolkit.understood import understood
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

WHO = "MLflow"
OPERATIONS = (MODEL_ROLLBACK,)
ALIAS = "champion"  # the alias that MLflow's own documentation gives the model that serves
FORM = "model or model@alias, such as answers@champion"
MOST_VERSIONS = 100  # of the newest; who goes further back than that means another model
_API = "/api/2.0/mlflow"
_LOOKED_AT = 10  # runs that are asked for scores; each is a request of its own
_TARGET = re.compile(r"([^/:@'\"`\\\x00-\x1f\x7f]{1,200})(?:@([A-Za-z][A-Za-z0-9_-]{0,99}))?")
_NUMBERED = re.compile(r"(?i)v\d+|latest")  # MLflow refuses such aliases


class MLflow(Comparing):
    """The aliases of one registry. Implements `actions.contract.Backend`."""

    name = "mlflow"
    environment: str | None
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(
        self,
        *,
        url: str,
        environment: str,
        marks: Marks,
        alias: str = ALIAS,
        headers: Callable[[], Mapping[str, str]] = dict,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`marks` say which tags of a version or its run make it good; `headers` signs in; `now` is for the tag."""
        self.environment, self._marks, self._alias, self._now = environment, marks, alias, now
        self._wire = Wire(who=WHO, base=url, headers=headers)

    def probe(self, *, timeout: float) -> str:
        """That the registry answers, and how many models it shows."""
        found = self._get("registered-models/search", {"max_results": "1"}, what="registry", timeout=timeout)
        return (
            f"{WHO} answers at {self._wire.base} and shows {'models' if found.get('registered_models') else 'no model yet'}. "
            "What may be changed only a change would show."
        )

    @understood(WHO)
    def read(self, call: Call, *, timeout: float) -> Reading:
        """The version that the alias has, with what it could go back to and who moved it last."""
        model, alias = self._parts(call)
        left = deadline(timeout)
        about = self._get("registered-models/alias", {"name": model, "alias": alias}, what=f"{model}@{alias}", timeout=left())
        present = _field(about, "model_version")
        named = self._get("registered-models/get", {"name": model}, what=f"model {model}", timeout=left())
        moved = _moved(_tags(_field(named, "registered_model")), alias, version=str(present["version"]))
        facts = self._releases(model, present, left=left)
        return Reading(value={"version": str(present["version"])}, facts=facts, changed_by=moved.get("by"), changed_at=moved.get("at"))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The version asked for.

        Raises:
            CallInvalid: there is none to go back to, or the named one is missing or known to be bad.
        """
        return marks.rollback(call, reading)

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:
        """Say who moves it, then move it: a tag without its move says nothing, a move without its tag nobody could explain."""
        model, alias = self._parts(call)
        left = deadline(timeout)
        moved = {"version": value["version"], "from": present.value["version"], "by": f"muster/{key}", "at": self._now().isoformat()}
        tag = {"name": model, "key": _tag(alias), "value": json.dumps(moved)}
        before(lambda: self._post("registered-models/set-tag", tag, what=f"model {model}", timeout=left()))
        put = {"name": model, "alias": alias, "version": value["version"]}
        self._post("registered-models/alias", put, what=f"version {value['version']} of {model}", timeout=left())

    def _parts(self, call: Call) -> tuple[str, str]:
        found = _TARGET.fullmatch(call.target or "")
        if found is None or not found[1].strip() or _NUMBERED.fullmatch(found[2] or ""):
            raise CallInvalid(f"{redact(call.target or '', limit=100)!r} cannot be meant; write {FORM}.")
        return found[1], found[2] or self._alias

    def _releases(self, model: str, present: Mapping[str, Any], *, left: Callable[[], float]) -> dict[str, Json]:
        """Of the newest versions those that are ready, each by its own tags and, where they say nothing, by its run's."""
        asked = {"filter": f"name='{model}'", "max_results": str(MOST_VERSIONS), "order_by": "version_number DESC"}
        found = self._get("model-versions/search", asked, what=f"model {model}", timeout=left()).get("model_versions") or []
        running = int(present["version"])
        ready = [one for one in found if one.get("status", "READY") == "READY" and int(one["version"]) != running]
        older = [one for one in ready if int(one["version"]) < running][: _LOOKED_AT - 1]
        every = [self._release(one, look=one in older, left=left) for one in ready]
        return marks.facts(every, present=self._release(present, look=True, left=left))

    def _release(self, found: Mapping[str, Any], *, look: bool, left: Callable[[], float]) -> Marked:
        own = _tags(found)
        marked = {self._marks.status_tag, self._marks.score_tag} <= set(own)
        run = self._run(str(found["run_id"]), left=left) if look and found.get("run_id") and not marked else {}
        at = datetime.fromtimestamp(int(found.get("creation_timestamp") or 0) / 1000, UTC)  # MLflow's times are milliseconds
        note = str(found.get("description") or "")
        return self._marks.release(str(found["version"]), order=int(found["version"]), at=at, tags={**run, **own}, note=note)

    def _run(self, run_id: str, *, left: Callable[[], float]) -> dict[str, Any]:
        """What a run says of itself: its metrics and tags; nothing where it was deleted meanwhile, or may not be seen."""
        try:
            found = self._get("runs/get", {"run_id": run_id}, what=f"run {run_id}", timeout=left())
        except (TargetMissing, NotPermitted):  # a registry's rights and an experiment's are apart
            return {}
        data = _field(found, "run").get("data") or {}
        return {**_tags({"tags": data.get("metrics")}), **_tags(data)}

    def _get(self, path: str, asked: Mapping[str, str], *, what: str, timeout: float) -> dict[str, Any]:
        answer = self._wire.send("GET", f"{_API}/{path}", params=asked, timeout=timeout)
        _judge(answer, what=what)
        found = answer.json()
        if not isinstance(found, dict):
            raise OutcomeUnknown(f"{WHO} answers something that is no object.")
        return found

    def _post(self, path: str, body: Json, *, what: str, timeout: float) -> Reading:
        answer = self._wire.send("POST", f"{_API}/{path}", body=body, timeout=timeout)
        _judge(answer, what=what)
        return Reading()


def _judge(answer: Answer, *, what: str) -> None:
    """MLflow says a missing alias or version as 400 or 404, with its own code in the body."""
    if answer.status == 400 and "not found" in answer.said.lower():
        raise TargetMissing(f"{WHO} has no {what}.")
    refuse(answer, who=WHO, what=what)


def _field(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(found.get(name), dict):
        raise OutcomeUnknown(f"{WHO} answers without {name}.")
    return dict(found[name])


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(one["key"]): str(one.get("value", "")) for one in found.get("tags") or ()}


def _tag(alias: str) -> str:
    return f"muster.moved.{alias}"


def _moved(tags: Mapping[str, str], alias: str, *, version: str) -> dict[str, Any]:
    """Who moved the alias to this version and when; nothing where somebody else did, or the tag was written by hand."""
    try:
        said = json.loads(tags.get(_tag(alias), "{}"))
        if not isinstance(said, dict) or said.get("version") != version:
            return {}
        return {"by": str(said["by"]), "at": datetime.fromisoformat(said["at"]).astimezone(UTC)}
    except (ValueError, KeyError, TypeError):
        return {}


def build(options: Options, secrets: Secrets) -> MLflow:
    """Secrets: `token` (sent as Bearer), or `username` and `password`; neither for a registry without sign-in.

    Raises:
        SettingsInvalid: an option cannot be meant.
    """
    alias, url = options.text("alias", ALIAS), options.text("url")
    if _NUMBERED.fullmatch(alias) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,99}", alias):
        raise options.invalid("alias", f"is {alias!r}; letters, digits, hyphen and underscore, and neither latest nor v1")
    if not url.startswith(("https://", "http://")):
        raise options.invalid("url", "must begin with https:// or http://")
    return MLflow(
        url=url,
        environment=options.text("environment"),
        marks=marks.marks(options),
        alias=alias,
        headers=_signed(options, secrets),
    )


def _basic(username: str, password: str) -> str:
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _signed(options: Options, secrets: Secrets) -> Callable[[], Mapping[str, str]]:
    """The header that signs in, made anew for each request (rule S18)."""
    if set(secrets) == {"token"}:
        return lambda: {"Authorization": f"Bearer {secrets['token']()}"}
    if set(secrets) == {"username", "password"}:
        return lambda: {"Authorization": _basic(secrets["username"](), secrets["password"]())}
    if secrets:
        raise options.invalid("secrets", "takes token, or username and password")
    return dict


KIND = BackendKind(name="mlflow", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "alias"}) | marks.OPTIONS)
