"""LaunchDarkly, by its REST API v2: `flag.disable` and `flag.set` (targeting off and on) in one environment of one project.

https://launchdarkly.com/docs/api/feature-flags. The environment's version of the flag goes along with every change as a JSON Patch
`test` (https://launchdarkly.com/docs/api#updates-using-json-patch), so that a stranger's change is refused over there, in one step.
"""

import time
from collections.abc import Callable, Mapping

from actions.comparing import deadline, same
from actions.contract import BackendError, CallInvalid, Conflict, Rejected, TargetMissing, Throttled
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.flags import OPERATIONS, RemoteFlags, entry, flag_name, moment, quoted, rows, text, token_of
from actions.toolkit.wire import LONGEST_WAIT, Answer
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

URL = "https://app.launchdarkly.com"
API_VERSION = "20240415"  # https://launchdarkly.com/docs/api#versioning; without it, the token's own default
COURTESY = 3.0  # seconds for what is only good to know
REFUSED = {400, 409, 412}  # the patch was not applied: its test failed, or something else stands in its way


class LaunchDarkly(RemoteFlags):
    """One environment of one project. Implements `actions.contract.Backend`."""

    name = "launchdarkly"
    who = "LaunchDarkly"
    needs = "a role with the action updateOn for flags of this environment"

    def __init__(self, *, url: str, environment: str, place: str, token: Callable[[], str], project: str) -> None:
        super().__init__(url=url, environment=environment, place=place, token=token)
        self._project = project

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Whether targeting is on, with what is served while it is off, and who changed the flag here last."""
        flag, left = flag_name(call), deadline(timeout)
        what = self._what(flag)
        found = self._ask("GET", self._flag(flag), what=what, params={"env": self._place}, timeout=left()).json()
        here = entry(found, "environments", self._place)
        if here is None:
            raise TargetMissing(f"LaunchDarkly has no environment {self._place} for flag {flag} of project {self._project}.")
        on, version = entry(here, "on"), entry(here, "version")
        if not isinstance(on, bool) or not isinstance(version, int):
            raise self._odd(what)
        return Reading(
            value=on,
            facts={"off_serves": _off_serves(found, here), "archived": entry(found, "archived") is True},
            revision=str(version),
            changed_by=self._changed_by(flag, left),
            changed_at=moment(entry(here, "lastModified")),
        )

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """Targeting on or off.

        Raises:
            CallInvalid: the flag is archived: its targeting decides nothing.
        """
        if reading.facts.get("archived"):
            raise CallInvalid(f"Flag {call.target} is archived in LaunchDarkly; its switch decides nothing. Restore it there first.")
        return super().propose(call, reading)

    def probe(self, *, timeout: float) -> str:
        """Find the environment, and whether it demands approvals."""
        what = f"environment {self._place} in project {self._project}"
        path = f"/api/v2/projects/{quoted(self._project)}/environments/{quoted(self._place)}"
        found = self._ask("GET", path, what=what, timeout=timeout).json()
        approvals = entry(found, "approvalSettings", "required") is True
        demands = "; it demands approvals, so a change by Muster is refused unless its role may bypass them" if approvals else ""
        return f"LaunchDarkly shows {what}{demands}; whether the token may switch flags there is seen at the first change"

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:
        flag, left = flag_name(call), deadline(timeout)
        here = f"/environments/{self._place.replace('~', '~0').replace('/', '~1')}"
        patch = [
            {"op": "test", "path": f"{here}/version", "value": int(str(present.revision))},
            {"op": "replace", "path": f"{here}/on", "value": value},
        ]
        body = {"comment": f"Muster, run {key}", "patch": patch}
        answer = self._wire.send("PATCH", self._flag(flag), body=body, timeout=left())
        if answer.status in REFUSED:
            self._drifted(call, present, left)
        self._refuse(answer, what=self._what(flag))

    def _drifted(self, call: Call, expected: Reading, left: Callable[[], float]) -> None:
        """Raise `Conflict` if the flag was changed; where that cannot be seen now, the refusal itself is certain enough."""
        try:
            current = self.read(call, timeout=left())
        except BackendError:
            return
        if not same(current, expected):
            raise Conflict(f"Someone else changed {self._what(flag_name(call))} meanwhile.", current=current)

    def _refuse(self, answer: Answer, *, what: str) -> None:
        if answer.status == 405:
            raise Rejected(f"LaunchDarkly demands an approval for {what} (405). Ask for one there, or let Muster's role bypass approvals.")
        if answer.status == 409:
            raise Rejected(f"LaunchDarkly refuses (409): something pending stands in the way of {what}. {answer.said}".strip())
        if answer.status == 429 and "retry-after" not in answer.headers:
            raise Throttled("LaunchDarkly asks to wait.", retry_after=_reset_in(answer.headers))
        super()._refuse(answer, what=what)

    def _changed_by(self, flag: str, left: Callable[[], float]) -> str | None:
        """Who stands in the newest entry of the audit log; None where that cannot be read: a courtesy is no reason to fail."""
        asked = {"spec": f"proj/{self._project}:env/{self._place}:flag/{flag}", "limit": "1"}
        try:
            found = self._ask("GET", "/api/v2/auditlog", what="audit log", params=asked, timeout=min(left(), COURTESY)).json()
        except BackendError:
            return None
        newest = next(iter(rows(found, "items")), None)
        names = (text(entry(newest, "member", part)) for part in ("firstName", "lastName"))
        person = " ".join(name for name in names if name)
        return person or text(entry(newest, "member", "email")) or text(entry(newest, "token", "name"))

    def _note(self, *, value: bool, reading: Reading) -> str:
        if value:
            return f"Targeting is on again: everyone gets what the rules in {self._place} say."
        serves = reading.facts.get("off_serves")
        return f"Off serves everyone {serves}." if serves else "Off serves no variation: each application uses the default in its own code."

    def _flag(self, flag: str) -> str:
        return f"/api/v2/flags/{quoted(self._project)}/{quoted(flag)}"

    def _signed(self, token: str) -> Mapping[str, str]:
        return {"Authorization": token, "LD-API-Version": API_VERSION}


def _off_serves(flag: Json, here: Json) -> str | None:
    """The variation that everyone gets while targeting is off, in words: for a flag whose off variation is `true`, off is on."""
    index, variations = entry(here, "offVariation"), rows(flag, "variations")
    if not isinstance(index, int) or not 0 <= index < len(variations):
        return None
    one = variations[index]
    value = {True: "true", False: "false"}.get(entry(one, "value"), "") if isinstance(entry(one, "value"), bool) else ""
    name = text(entry(one, "name"))
    return " ".join(part for part in (value, f"({name})" if name and value else name or "") if part) or f"variation {index + 1}"


def _reset_in(headers: Mapping[str, str]) -> float:
    """Seconds until `X-Ratelimit-Reset`, milliseconds since 1970 (https://launchdarkly.com/docs/api#rate-limiting); a minute unsaid."""
    said = headers.get("x-ratelimit-reset", "")
    return min(max(float(said) / 1000 - time.time(), 1.0), LONGEST_WAIT) if said.isascii() and said.isdigit() else 60.0


def build(options: Options, secrets: Secrets) -> LaunchDarkly:
    """`project` and `environment`; `environment_key` is its key in LaunchDarkly where that differs; `url` for the EU and federal instances.

    The secret `token` is a service token of the REST API.
    """
    environment = options.text("environment")
    return LaunchDarkly(
        url=options.text("url", URL),
        environment=environment,
        place=options.text("environment_key", environment),
        token=token_of(options, secrets),
        project=options.text("project"),
    )


KIND = BackendKind(
    name="launchdarkly", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "environment_key", "project"})
)
