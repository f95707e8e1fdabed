"""Unleash, by its Admin API: `flag.disable` and `flag.set` in one environment of one project.

https://docs.getunleash.io/reference/api/unleash. A flag's revision is the newest event that switched it here, so that off and on again
is seen as a change. Unleash has no compare-and-set: `actions.comparing` looks before and after.
"""

from collections.abc import Callable, Mapping
from typing import Any

from actions.comparing import deadline
from actions.contract import NotPermitted, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.flags import OPERATIONS, RemoteFlags, entry, flag_name, moment, quoted, rows, text, token_of
from runbooks.operation import Call, Reading
from runbooks.value import Json

SWITCHED = ("feature-environment-enabled", "feature-environment-disabled")
MOST_EVENTS = 20  # an older Unleash ignores the filters, and others' events come along
PERMISSION = "UPDATE_FEATURE_ENVIRONMENT"


class Unleash(RemoteFlags):
    """One environment of one project. Implements `actions.contract.Backend`."""

    name = "unleash"
    who = "Unleash"
    needs = f"the permission to enable and disable flags there ({PERMISSION}); with change requests, also the one to skip them"

    def __init__(self, *, url: str, environment: str, place: str, token: Callable[[], str], project: str = "default") -> None:
        super().__init__(url=url, environment=environment, place=place, token=token)
        self._project = f"/api/admin/projects/{quoted(project)}"
        self._project_name = project

    def read(self, call: Call, *, timeout: float) -> Reading:
        """On or off, with who switched it last. The event is read first: a switch in between is noticed later, never overlooked."""
        flag, left = flag_name(call), deadline(timeout)
        event = self._switched(flag, timeout=left())
        found = self._ask("GET", self._flag(flag), what=self._what(flag), timeout=left()).json()
        listed = {str(entry(one, "name")): one for one in rows(found, "environments")}
        if self._place not in listed:
            raise TargetMissing(f"Unleash has no environment {self._place} for flag {flag}; it has {', '.join(listed) or 'none'}.")
        on = entry(listed[self._place], "enabled")
        if not isinstance(on, bool):
            raise self._odd(self._what(flag))
        return Reading(
            value=on,
            facts={"strategies": sum(entry(one, "disabled") is not True for one in rows(listed[self._place], "strategies"))},
            revision=None if event is None else str(event.get("id", "never switched")),
            changed_by=text(entry(event, "createdBy")),
            changed_at=moment(entry(event, "createdAt")),
        )

    def probe(self, *, timeout: float) -> str:
        """Sign in, and find the permission, the project and the environment."""
        left = deadline(timeout)
        found = self._ask("GET", "/api/admin/user", what="account for this token", timeout=left()).json()
        what = f"project {self._project_name}"
        project = self._ask("GET", f"{self._project}/overview", what=what, timeout=left()).json()
        places = [entry(one, "environment") for one in rows(project, "environments")]
        if self._place not in places:
            raise TargetMissing(f"Unleash has no environment {self._place} in {what}; it has {', '.join(map(str, places)) or 'none'}.")
        if not any(self._permits(one) for one in rows(found, "permissions")):
            raise NotPermitted(f"Unleash lets this token in, but it lacks {self.needs}.")
        who = text(entry(found, "user", "username")) or text(entry(found, "user", "name")) or "an account without a name"
        return f"signed in to Unleash as {who}, may switch flags of {what} in {self._place}"

    def _permits(self, granted: Json) -> bool:
        here = entry(granted, "project") in {None, "*", self._project_name} and entry(granted, "environment") in {
            None,
            "*",
            "",
            self._place,
        }
        return entry(granted, "permission") == "ADMIN" or (entry(granted, "permission") == PERMISSION and here)

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002 - Unleash takes no key
        flag = flag_name(call)
        path = f"{self._flag(flag)}/environments/{quoted(self._place)}/{'on' if value else 'off'}"
        self._ask("POST", path, what=self._what(flag), timeout=timeout)

    def _note(self, *, value: bool, reading: Reading) -> str:
        bare = reading.facts.get("strategies") == 0
        if not value:
            off = f"Every application asking Unleash in {self._place} gets off at its next refresh, mostly within 15 s."
            return (
                f"{off} The flag has no active strategy there: with the undo Unleash adds one that turns it on for everyone."
                if bare
                else off
            )
        if bare:
            return (
                f"The flag has no active strategy in {self._place}: Unleash adds the project's default one, which mostly turns it on for "
                "everyone, and an undo leaves it there."
            )
        return f"It goes on as its strategies in {self._place} say."

    def _switched(self, flag: str, *, timeout: float) -> Mapping[str, Any] | None:
        """The newest event that switched the flag here, empty where it never was; None where this token or this Unleash shows none."""
        asked = {
            "feature": f"IS:{flag}",
            "environment": f"IS:{self._place}",
            "type": f"IS_ANY_OF:{','.join(SWITCHED)}",
            "limit": str(MOST_EVENTS),
        }
        try:
            found = self._ask("GET", "/api/admin/search/events", what="events", params=asked, timeout=timeout).json()
        except (NotPermitted, TargetMissing):
            return None
        events = [one for one in rows(found, "events") if self._is_switch(one, flag)]
        return max(events, key=lambda event: int(event["id"]), default={})

    def _is_switch(self, event: Json, flag: str) -> bool:
        here = entry(event, "featureName") == flag and entry(event, "environment") == self._place
        return here and entry(event, "type") in SWITCHED and isinstance(entry(event, "id"), int)

    def _flag(self, flag: str) -> str:
        return f"{self._project}/features/{quoted(flag)}"

    def _signed(self, token: str) -> Mapping[str, str]:
        return {"Authorization": token}


def build(options: Options, secrets: Secrets) -> Unleash:
    """`url` and `environment`; `environment_key` is its name in Unleash where that differs, `project` is `default` unless said.

    The secret `token` is an admin or personal access token.
    """
    environment = options.text("environment")
    return Unleash(
        url=options.text("url"),
        environment=environment,
        place=options.text("environment_key", environment),
        token=token_of(options, secrets),
        project=options.text("project", "default"),
    )


KIND = BackendKind(
    name="unleash", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "environment_key", "project"})
)
