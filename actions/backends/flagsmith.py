"""Flagsmith, by its Admin API: `flag.disable` and `flag.set` in one environment, with or without feature versioning.

https://docs.flagsmith.com/integrating-with-flagsmith/flagsmith-api-overview/admin-api. Without versioning the environment's feature state
is patched; with it a new version is published in one request. There is no compare-and-set: `actions.comparing` looks before and after.
"""

from collections.abc import Callable, Mapping
from typing import Any

from actions.comparing import before, deadline
from actions.contract import CallInvalid, Rejected, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.flags import OPERATIONS, RemoteFlags, entry, flag_name, moment, quoted, rows, text, token_of
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

URL = "https://api.flagsmith.com"


class Flagsmith(RemoteFlags):
    """One environment. Implements `actions.contract.Backend`.

    `place` is the environment's name in sentences, `key` the one that its addresses are made of.
    """

    name = "flagsmith"
    who = "Flagsmith"
    needs = "an organisation key, or a user's, with the permissions View environment and Update feature state in this environment"

    def __init__(self, *, url: str, environment: str, key: str, token: Callable[[], str]) -> None:
        super().__init__(url=url, environment=environment, place=environment, token=token)
        self._environment = f"/api/v1/environments/{quoted(key)}"

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The environment's default state of the flag; segments and identities may have states of their own."""
        flag, left = flag_name(call), deadline(timeout)
        place = self._ask("GET", f"{self._environment}/", what=f"environment {self._place}", timeout=left()).json()
        state = self._state(flag, timeout=left())
        on, changed = entry(state, "enabled"), text(entry(state, "updated_at"))
        version = text(entry(state, "environment_feature_version"))
        if not isinstance(on, bool) or changed is None:
            raise self._odd(self._what(flag))
        return Reading(
            value=on,
            facts={
                "approvals": entry(place, "minimum_change_request_approvals"),
                "versioned": version is not None,
                "multivariate": bool(rows(state, "multivariate_feature_state_values")),
                "ids": {part: entry(state, part) for part in ("id", "environment", "feature")},
            },
            revision=f"{version or entry(state, 'id')} {changed}",
            changed_at=moment(changed),
        )

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """On or off.

        Raises:
            CallInvalid: the environment wants change requests, or the flag has variants under versioning, which a new version would reset.
        """
        if reading.facts.get("approvals") is not None:
            raise CallInvalid(f"{self._place} wants change requests in Flagsmith. Make one there for flag {call.target}.")
        if reading.facts.get("versioned") and reading.facts.get("multivariate"):
            raise CallInvalid(
                f"Flag {call.target} has variants in a versioned environment; Muster leaves it alone. Switch it in Flagsmith."
            )
        return super().propose(call, reading)

    def probe(self, *, timeout: float) -> str:
        """Find the environment, and whether it wants change requests."""
        found = self._ask("GET", f"{self._environment}/", what=f"environment {self._place}", timeout=timeout).json()
        wants = entry(found, "minimum_change_request_approvals") is not None
        demands = "; it wants change requests, so Muster can only read there" if wants else ""
        name = text(entry(found, "name")) or self._place
        return f"Flagsmith shows environment {name}{demands}; whether the token may switch flags there is seen at the first change"

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:
        flag, left = flag_name(call), deadline(timeout)
        what = self._what(flag)
        number, place, feature = (quoted(str(present.facts["ids"][part])) for part in ("id", "environment", "feature"))
        if not present.facts["versioned"]:
            self._ask("PATCH", f"{self._environment}/featurestates/{number}/", what=what, body={"enabled": value}, timeout=left())
            return
        state = before(lambda: self._state(flag, timeout=left()))
        changed = {"feature_segment": None, "enabled": value, "feature_state_value": _typed(entry(state, "feature_state_value"))}
        body = {"description": f"Muster, run {key}", "publish_immediately": True, "feature_states_to_update": [changed]}
        self._ask("POST", f"/api/v1/environments/{place}/features/{feature}/versions/", what=what, body=body, timeout=left())

    def _state(self, flag: str, *, timeout: float) -> Json:
        asked = {"feature_name": flag}
        path = f"{self._environment}/featurestates/"
        found = self._ask("GET", path, what=f"environment {self._place}", params=asked, timeout=timeout).json()
        states = [one for one in rows(found, "results") if entry(one, "feature_segment") is None and entry(one, "identity") is None]
        if not states:
            raise TargetMissing(f"Flagsmith has no {self._what(flag)}. Check its name and the environment's key.")
        if len(states) > 1:  # an installation that does not know the filter shows every flag
            raise Rejected(f"Flagsmith shows {len(states)} flags for the name {flag}, so none of them is touched. Update Flagsmith.")
        return states[0]

    def _note(self, *, value: bool, reading: Reading) -> str:  # noqa: ARG002 - the words are the same
        state = "on" if value else "off"
        return f"It is {state} for everyone but segments and identities with an override of their own."

    def _signed(self, token: str) -> Mapping[str, str]:
        return {"Authorization": f"Api-Key {token}"}


def _typed(value: Json) -> dict[str, Any]:
    """A flag's value as a new version wants it: a version replaces the whole state, so the value goes along unchanged."""
    if isinstance(value, bool):
        return {"type": "bool", "boolean_value": value}
    if isinstance(value, int):
        return {"type": "int", "integer_value": value}
    return {"type": "unicode", "string_value": "" if value is None else str(value)}


def build(options: Options, secrets: Secrets) -> Flagsmith:
    """`environment` and `environment_key` (from the environment's settings; it is no secret); `url` where Flagsmith is one's own.

    The secret `token` is an organisation's API key.
    """
    return Flagsmith(
        url=options.text("url", URL),
        environment=options.text("environment"),
        key=options.text("environment_key"),
        token=token_of(options, secrets),
    )


KIND = BackendKind(name="flagsmith", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "environment_key"}))
