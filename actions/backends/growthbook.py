"""GrowthBook, by its REST API v1: `flag.disable` and `flag.set` switch a feature in one environment.

https://docs.growthbook.io/api. Version 1 of the API is asked because every installation has it. There is no compare-and-set, and no word
of who used a switch; a feature's revision is when it was last changed, in whatever environment. `actions.comparing` looks before and after.
"""

from collections.abc import Mapping

from actions.comparing import deadline
from actions.contract import CallInvalid, OutcomeUnknown, Rejected, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.toolkit.flags import OPERATIONS, RemoteFlags, entry, flag_name, moment, quoted, rows, text, token_of
from actions.toolkit.wire import Answer
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

URL = "https://api.growthbook.io"
UNKNOWN = "could not find a feature"  # what versions before 4 answer, with status 400, in place of a 404
REVIEW = ("review", "approval")
BEFOREHAND = ("permission", "unknown environment")  # what it says before it changes anything


class GrowthBook(RemoteFlags):
    """One environment of one organization. Implements `actions.contract.Backend`."""

    name = "growthbook"
    who = "GrowthBook"
    needs = "a secret key whose role may publish features in this environment"

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Whether the feature is switched on in the environment."""
        flag = flag_name(call)
        what = self._what(flag)
        found = entry(self._ask("GET", self._feature(flag), what=what, timeout=timeout).json(), "feature")
        listed = entry(found, "environments")
        if not isinstance(listed, Mapping):
            raise self._odd(what)
        if self._place not in listed:
            raise TargetMissing(f"GrowthBook has no environment {self._place} for flag {flag}; it has {', '.join(listed) or 'none'}.")
        on, changed = entry(listed, self._place, "enabled"), text(entry(found, "dateUpdated"))
        if not isinstance(on, bool) or changed is None:
            raise self._odd(what)
        return Reading(value=on, facts={"archived": entry(found, "archived") is True}, revision=changed, changed_at=moment(changed))

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """The switch on or off.

        Raises:
            CallInvalid: the feature is archived: no application is told of it.
        """
        if reading.facts.get("archived"):
            raise CallInvalid(f"Flag {call.target} is archived in GrowthBook; its switch decides nothing. Restore it there first.")
        return super().propose(call, reading)

    def probe(self, *, timeout: float) -> str:
        """Find the environment."""
        left = deadline(timeout)
        found = self._ask("GET", "/api/v1/environments", what="environments", timeout=left()).json()
        places = [entry(one, "id") for one in rows(found, "environments")]
        if self._place not in places:
            raise TargetMissing(f"GrowthBook has no environment {self._place}; it has {', '.join(map(str, places)) or 'none'}.")
        return f"GrowthBook shows environment {self._place}; whether the key may switch features there is seen at the first change"

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:  # noqa: ARG002
        flag = flag_name(call)
        body = {"environments": {self._place: value}, "reason": f"Muster, run {key}"}
        self._ask("POST", f"{self._feature(flag)}/toggle", what=self._what(flag), body=body, timeout=timeout)

    def _refuse(self, answer: Answer, *, what: str) -> None:
        said = answer.said.lower()
        if answer.status == 400 and UNKNOWN in said:
            raise TargetMissing(f"GrowthBook has no {what}. Check its name and the key's organization.")
        if answer.status in {400, 403} and any(word in said for word in REVIEW):
            raise Rejected(f"GrowthBook demands a review for {what}. Ask for one there, or let Muster's key bypass it.")
        if answer.changes and answer.status == 400 and not any(words in said for words in BEFOREHAND):
            raise OutcomeUnknown(  # any failure is a 400 there, also one of what follows the change, such as its audit log
                f"GrowthBook answers 400, which may also mean that it failed after the switch of {what}: {answer.said}"
            )
        super()._refuse(answer, what=what)

    def _note(self, *, value: bool, reading: Reading) -> str:  # noqa: ARG002 - GrowthBook tells nothing more
        if value:
            return f"The feature's rules in {self._place} apply again."
        return f"No rule of the feature applies in {self._place}: each application uses the fallback in its own code."

    def _feature(self, flag: str) -> str:
        return f"/api/v1/features/{quoted(flag)}"

    def _signed(self, token: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token}"}


def build(options: Options, secrets: Secrets) -> GrowthBook:
    """`environment`; `environment_key` is its id in GrowthBook where that differs; `url` of the API where it is one's own.

    The secret `token` is a secret key.
    """
    environment = options.text("environment")
    return GrowthBook(
        url=options.text("url", URL),
        environment=environment,
        place=options.text("environment_key", environment),
        token=token_of(options, secrets),
    )


KIND = BackendKind(name="growthbook", operations=OPERATIONS, build=build, options=frozenset({"url", "environment", "environment_key"}))
