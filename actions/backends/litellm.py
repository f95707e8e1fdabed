"""LiteLLM's proxy: limits of teams, keys and budgets, and a model's fallbacks, through its management API.

Retries are not among them: LiteLLM changes them only in its configuration file with a restart, or by /config/update, which rewrites more
than it was asked to. https://docs.litellm.ai/docs/proxy/configuration/api and https://docs.litellm.ai/docs/proxy/fallback_management
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from actions.comparing import Comparing, deadline
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, Rejected, TargetMissing, Unreachable
from actions.kinds import BackendKind, Options, Secrets
from actions.operations import LIMIT_SET, ROUTE_SWITCH
from actions.toolkit.credentials import signed_in
from actions.toolkit.flags import text
from actions.toolkit.wire import Wire, refuse
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

WHO = "LiteLLM"
NONE = "none"
MOST_FALLBACKS = 10
MOST_KEYS = "100"  # the most that one page of /key/list holds
MOST_PAGES = 20
WORDS = {
    "rpm_limit": "requests a minute",
    "tpm_limit": "tokens a minute",
    "max_parallel_requests": "requests at once",
    "max_budget": "USD",
}
LIMITS = {
    "team": ("rpm_limit", "tpm_limit", "max_budget"),
    "key": ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget"),
    "budget": ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget"),
}
_LIMIT = re.compile(r"(?P<kind>team|key|budget)/(?P<name>[A-Za-z0-9][A-Za-z0-9 ._@:-]{0,199})/(?P<field>[a-z_]+)")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,199}")


class LiteLLM(Comparing):
    """One proxy. Implements `actions.contract.Backend`. It keeps no versions, so values are compared."""

    name = "litellm"
    world: str | None = None
    operations: tuple[Operation, ...] = (LIMIT_SET, ROUTE_SWITCH)

    def __init__(self, *, url: str, secrets: Secrets, environment: str | None = "production") -> None:
        """The secret `token` is a key that may use the management API; it is sent as bearer."""
        self.environment = environment
        self._wire = Wire(who=WHO, base=url, headers=signed_in(secrets))

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The limit as it stands, or the model's fallbacks in their order."""
        if call.operation == ROUTE_SWITCH.name:
            return self._fallbacks(call, left=deadline(timeout))
        kind, name, field = _limit(call)
        row = self._row(kind, name, left=deadline(timeout))
        value = row.get(field)
        if value is None:
            raise TargetMissing(f"{WHO}'s {kind} {name} has no {field}, so an undo could not restore that; set one in {WHO} first.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise OutcomeUnknown(f"{WHO} says {value!r} for the {field} of {kind} {name}, which is no number.")
        return Reading(value={"value": value}, changed_by=text(row.get("updated_by")) if kind == "budget" else None)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The limit, in whole requests or tokens; or the fallbacks, each a model that the proxy has."""
        if call.operation == ROUTE_SWITCH.name:
            return _switched(call, reading)
        _, _, field = _limit(call)
        wanted = call.arguments["value"]
        if wanted < 0 or (field != "max_budget" and wanted != int(wanted)):
            raise CallInvalid(f"{call.target} takes {'amounts' if field == 'max_budget' else 'whole numbers'} from 0 on, not {wanted:g}.")
        value = {"value": wanted if wanted != int(wanted) else int(wanted)}
        before_text, after_text = (f"{one['value']:,} {WORDS[field]}" for one in (reading.value, value))
        note = f"{WHO}'s other replicas may keep the old limit in memory for about a minute."
        return Proposal(value=value, before_text=before_text, after_text=after_text, note=note)

    def probe(self, *, timeout: float) -> str:
        """Whether the key is let in, and how many models it sees. Changes nothing."""
        count = len(self._models(left=deadline(timeout)))
        return f"{WHO} lets this key in and shows it {count} models; whether it may change limits shows at the first change."

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        if call.operation == ROUTE_SWITCH.name:
            self._write_fallbacks(call, value, timeout=timeout)
            return
        left = deadline(timeout)
        kind, name, field = _limit(call)
        body = {**self._identity(kind, name, left=left), field: value["value"]}
        answer = self._wire.send("POST", f"/{kind}/update", body=body, timeout=left())
        if answer.status == 400:  # so it answers to any failure, also of what follows the change, such as a cache that is out of reach
            raise OutcomeUnknown(f"{WHO} answers 400, which may also mean that it failed after changing {kind} {name}: {answer.said}")
        refuse(answer, who=WHO, what=f"{kind} {name}")

    def _identity(self, kind: str, name: str, *, left: Callable[[], float]) -> dict[str, str]:
        """By what it is named when it is changed: a key by its hash, which is looked up when it is needed and kept nowhere."""
        if kind != "key":
            return {f"{kind}_id": name}
        try:
            return {"key": str(self._row(kind, name, left=left)["token"])}
        except KeyError as error:
            raise NotPermitted(f"{WHO} shows no hash of key {name} to these credentials, so it cannot be changed.") from error
        except OutcomeUnknown as error:
            raise Unreachable(f"{error} Nothing was changed.") from error

    def _row(self, kind: str, name: str, *, left: Callable[[], float]) -> Mapping[str, Any]:
        """What the proxy knows of a team, key or budget."""
        what = f"{kind} {name}"
        if kind == "team":
            found = self._asked("GET", "/team/info", what=what, left=left, params={"team_id": name})
            return _mapping(_mapping(found, what).get("team_info"), what)
        if kind == "budget":
            listed = self._asked("POST", "/budget/info", what=what, left=left, body={"budgets": [name]})
            rows = [one for one in _list(listed, what) if one.get("budget_id") == name]
        else:
            rows = [one for one in self._keys(name, what=what, left=left) if one.get("key_alias") == name]
        if not rows:
            raise TargetMissing(f"{WHO} has no {what}.")
        if len(rows) > 1:
            raise CallInvalid(f"{WHO} has {len(rows)} keys with the alias {name}; give each an alias of its own.")
        return rows[0]

    def _keys(self, alias: str, *, what: str, left: Callable[[], float]) -> Iterator[Mapping[str, Any]]:
        """The keys that the proxy finds for an alias, similar ones too, over all pages: a second one of that name may stand on the last."""
        for page in range(1, MOST_PAGES + 1):
            params = {"key_alias": alias, "return_full_object": "true", "size": MOST_KEYS, "page": str(page)}
            found = _mapping(self._asked("GET", "/key/list", what=what, left=left, params=params), what)
            yield from _list(found.get("keys"), what)
            pages = found.get("total_pages")
            if not isinstance(pages, int) or page >= pages:
                return
        raise CallInvalid(f"{WHO} finds too many keys for the alias {alias} to look at each; give it a name that fewer others begin with.")

    def _fallbacks(self, call: Call, *, left: Callable[[], float]) -> Reading:
        model = _model(call)
        models = self._models(left=left)
        if model not in models:
            raise TargetMissing(f"{WHO} has no model {model}; it has {', '.join(models[:8]) or 'none'}.")
        answer = self._wire.send("GET", f"/fallback/{quote(model, safe='')}", params={"fallback_type": "general"}, timeout=left())
        if answer.status == 404 and answer.said == "Not Found":  # the framework's own words for a path that it does not know
            raise Rejected(f"This {WHO} has no fallback management; it is too old for it. Nothing was changed.")
        if answer.status == 404:  # the model is there, so this says that it has none
            return Reading(value={"route": NONE}, facts={"models": models})
        refuse(answer, who=WHO, what=f"fallbacks of {model}")
        found = _mapping(answer.json(), model).get("fallback_models")
        if not isinstance(found, list) or not all(isinstance(one, str) and "," not in one for one in found):
            raise OutcomeUnknown(f"{WHO} describes the fallbacks of {model} in a way that cannot be read.")
        return Reading(value={"route": ",".join(found) or NONE}, facts={"models": models})

    def _write_fallbacks(self, call: Call, value: Json, *, timeout: float) -> None:
        model = _model(call)
        if value["route"] == NONE:
            path = f"/fallback/{quote(model, safe='')}"
            answer = self._wire.send("DELETE", path, params={"fallback_type": "general"}, timeout=timeout)
        else:
            body = {"model": model, "fallback_models": value["route"].split(","), "fallback_type": "general"}
            answer = self._wire.send("POST", "/fallback", body=body, timeout=timeout)
        refuse(answer, who=WHO, what=f"model {model}")

    def _models(self, *, left: Callable[[], float]) -> list[str]:
        found = _mapping(self._asked("GET", "/v1/models", what="models", left=left), "models").get("data")
        return sorted({str(one.get("id")) for one in _list(found, "models")})

    def _asked(self, method: str, path: str, *, what: str, left: Callable[[], float], **more: Any) -> Json:
        answer = self._wire.send(method, path, timeout=left(), **more)
        refuse(answer, who=WHO, what=what)
        return answer.json()


def _limit(call: Call) -> tuple[str, str, str]:
    match = _LIMIT.fullmatch(call.target or "")
    if match is None or match["field"] not in LIMITS[match["kind"]]:
        forms = "; ".join(f"{kind}/NAME/{', '.join(fields)}" for kind, fields in LIMITS.items())
        raise CallInvalid(f"{call.target!r} is no limit of {WHO}'s; write {forms}. A key is named by its alias.")
    return match["kind"], match["name"], match["field"]


def _model(call: Call) -> str:
    if not call.target or not _MODEL.fullmatch(call.target):
        raise CallInvalid(f"{call.target!r} is no model whose fallbacks {WHO} can be asked for; its name may hold no / and no comma.")
    return call.target


def _switched(call: Call, reading: Reading) -> Proposal:
    model, models = _model(call), reading.facts["models"]
    route = str(call.arguments["route"]).strip()
    wanted = [] if route == NONE else [part.strip() for part in route.split(",")]
    unknown = [one for one in wanted if one not in models]
    if unknown:
        raise CallInvalid(f"{WHO} has no model {', '.join(unknown)}; it has {', '.join(models)}.")
    if model in wanted or len(set(wanted)) != len(wanted) or len(wanted) > MOST_FALLBACKS:
        raise CallInvalid(f"The fallbacks of {model} must be other models, each once, and at most {MOST_FALLBACKS}.")
    value = {"route": ",".join(wanted) or NONE}
    note = f"A fallback answers only where {model} fails after its retries; it takes no traffic from a model that answers."
    return Proposal(value=value, before_text=f"fallbacks {reading.value['route']}", after_text=f"fallbacks {value['route']}", note=note)


def _mapping(found: Json, what: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise OutcomeUnknown(f"{WHO} describes {what} in a way that cannot be read.")
    return found


def _list(found: Json, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(found, list):
        raise OutcomeUnknown(f"{WHO} describes {what} in a way that cannot be read.")
    return [one for one in found if isinstance(one, Mapping)]


def build(options: Options, secrets: Secrets) -> LiteLLM:
    """Options: `url`, `environment`. Secret: `token`."""
    url = options.text("url")
    if not url.startswith(("http://", "https://")):
        raise options.invalid("url", f"is {url!r}; write the proxy's address, such as http://127.0.0.1:4000")
    if "token" not in secrets:
        raise options.invalid("secrets", "needs `token`: a key that may use LiteLLM's management API")
    return LiteLLM(url=url, secrets=secrets, environment=options.text("environment", "production"))


KIND = BackendKind(name="litellm", operations=(LIMIT_SET, ROUTE_SWITCH), build=build, options=frozenset({"url", "environment"}))
