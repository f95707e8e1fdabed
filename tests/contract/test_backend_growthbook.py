"""GrowthBook at the wire: a server written from the documented format of the REST API v1.

https://docs.growthbook.io/api/features/operation/toggleFeature
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends.growthbook import KIND, GrowthBook
from actions.contract import CallInvalid, OutcomeUnknown, Rejected, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import OutcomeStatus
from tests.parts.flagging import FLAG, PATIENCE, TOKEN, TROUBLES, Row, check_class, check_look, check_trouble, disable, night, switch
from tests.parts.trouble import troubled
from tests.parts.vendor import Answered, Asked, serving


@dataclass(slots=True)
class Fake:
    """One organization with the environments `dev` and `production`, whose feature is on in both."""

    on: bool = True
    changes: int = 0
    archived: bool = False
    review: int | None = None  # the status that answers a change which needs a review
    unknown: int = 404  # older versions answer 400
    fails: str = ""  # with which words the change is answered 400
    late: bool = True  # whether that comes after the switch
    reasons: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def set(self, *, on: bool) -> None:
        """Change it, as a person would."""
        self.on, self.changes = on, self.changes + 1

    def __call__(self, asked: Asked) -> Answered:
        self.headers.append(dict(asked.headers))
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answered(status=401, body={"message": "Could not find API key"})
        match asked.method, asked.parts:
            case "GET", ("api", "v1", "features", flag) if flag == FLAG:
                return Answered(body={"feature": self._shown()})
            case "POST", ("api", "v1", "features", flag, "toggle") if flag == FLAG:
                return self._toggled(asked.body)
            case "GET", ("api", "v1", "environments"):
                return Answered(body={"environments": [{"id": "dev"}, {"id": "production"}]})
        return Answered(status=self.unknown, body={"message": "Could not find a feature with that key"})

    def _shown(self) -> dict[str, Any]:
        return {
            "id": FLAG, "archived": self.archived, "valueType": "boolean", "defaultValue": "false",
            "dateCreated": "2026-01-01T00:00:00.000Z", "dateUpdated": f"2026-11-20T02:00:00.{self.changes:03}Z",
            "environments": {"dev": {"enabled": True, "rules": []}, "production": {"enabled": self.on, "rules": []}},
        }  # fmt: skip

    def _toggled(self, body: Any) -> Answered:
        if self.review is not None:
            words = "This feature requires a review and the API key being used does not have permission to bypass reviews."
            return Answered(status=self.review, body={"message": words})
        if self.fails and not self.late:
            return Answered(status=400, body={"message": self.fails})
        assert set(body["environments"]) == {"production"}
        self.reasons.append(body["reason"])
        self.set(on=body["environments"]["production"])
        return Answered(status=400, body={"message": self.fails}) if self.fails else Answered(body={"feature": self._shown()})


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def url(fake: Fake) -> Iterator[str]:
    with serving(fake) as found:
        yield found


def build(url: str, *, token: str = TOKEN, **more: Any) -> GrowthBook:
    """The backend as configured."""
    found = KIND.build(Options({"url": url, "environment": "production", **more}), {"token": lambda: token})
    assert isinstance(found, GrowthBook)
    return found


@pytest.mark.parametrize("operation", [one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_growthbook_keeps_the_contract(check: Check, operation: str, fake: Fake, url: str) -> None:
    """Each operation passes every check over the documented wire format."""
    fake.on = operation == "flag.disable"

    def change_outside(value: Any) -> None:
        """To its other value and back again: only the time of the last change tells."""
        fake.set(on=not value)
        fake.set(on=value)

    check(
        Subject(
            backend=build(url),
            call=disable() if fake.on else switch(on=True),
            missing=disable("no-such-flag"),
            other=fake.on,
            change_outside=change_outside,
            invalid=switch(on="yes"),
            atomic=False,
        )
    )


@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_the_change_is_told_as_it_is(row: Row, fake: Fake, url: str) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and a look tells whether it took effect."""
    with troubled(url) as trouble:
        backend = build(trouble.url)
        check_trouble(backend, trouble, row)
        fake.set(on=True)
        check_class(backend, trouble, row)
        fake.set(on=True)
        check_look(backend, trouble, row)


def test_someone_elses_change_is_never_overwritten(fake: Fake, url: str) -> None:
    """Between plan and click, and between run and undo, a stranger's change is left alone."""
    story = night(build(url))
    plan = story.plan()
    fake.set(on=False)
    fake.set(on=True)
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "was changed and changed back since the plan was made" in refused.reason
    plan = story.plan()
    done = story.click(plan)
    assert done.status is OutcomeStatus.APPLIED
    fake.set(on=True)
    fake.set(on=False)
    refused = story.undo(plan, done)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Not undone: ")
    assert fake.on is False


def test_a_change_carries_the_run_and_can_be_undone(fake: Fake, url: str) -> None:
    """The change's reason names the run, only the bound environment is switched, and the undo switches it on again."""
    story = night(build(url))
    plan = story.plan()
    done = story.click(plan)
    assert fake.on is False
    assert "fallback in its own code" in plan.proposal.note
    assert story.undo(plan, done).status is OutcomeStatus.APPLIED
    assert fake.on is True
    assert fake.reasons == ["Muster, run run-7", "Muster, run run-7-undo"]


@pytest.mark.parametrize("status", [400, 403])
def test_a_feature_that_demands_a_review_refuses_in_words(status: int, fake: Fake, url: str) -> None:
    """Where GrowthBook demands a review, nothing is changed and the sentence says what to do."""
    fake.review = status
    refused = night(build(url)).click(night(build(url)).plan())
    assert refused.status is OutcomeStatus.REFUSED
    assert "GrowthBook demands a review for flag long-answers in production. Ask for one there" in refused.reason
    assert fake.on is True


def test_a_failure_after_the_switch_is_in_doubt_and_found_out_by_looking(fake: Fake, url: str) -> None:
    """GrowthBook answers 400 to whatever fails, also to what follows the switch, so that only known words are certain."""
    story = night(build(url))
    plan = story.plan()
    fake.fails = "E11000 duplicate key error collection: audits"
    doubt = story.click(plan)
    assert (doubt.status, fake.on) == (OutcomeStatus.UNKNOWN, False)
    assert "may also mean that it failed after the switch" in doubt.reason
    assert story.runner.reconcile(plan, timeout=PATIENCE).status is OutcomeStatus.APPLIED


@pytest.mark.parametrize("words", ["You do not have permission to perform that action.", "Unknown environment: 'production'"])
def test_what_growthbook_says_before_it_switches_is_certain(words: str, fake: Fake, url: str) -> None:
    """A refusal that precedes the switch leaves no doubt."""
    fake.fails, fake.late = words, False
    refused = night(build(url)).click(night(build(url)).plan())
    assert (refused.status, fake.on) == (OutcomeStatus.REFUSED, True)
    assert words in refused.reason


@pytest.mark.parametrize("status", [400, 404])
def test_a_flag_elsewhere_or_put_away_is_not_planned(status: int, fake: Fake, url: str) -> None:
    """A missing feature (as newer and older versions say it), a missing environment and an archived feature give a sentence and no plan."""
    fake.unknown = status
    with pytest.raises(PlanRefused, match="GrowthBook has no flag nowhere in production"):
        night(build(url), flag="nowhere").plan()
    with pytest.raises(TargetMissing, match="no environment prod for flag long-answers; it has dev, production"):
        build(url, environment_key="prod").read(disable(), timeout=PATIENCE)
    fake.archived = True
    with pytest.raises(PlanRefused, match="is archived in GrowthBook"):
        night(build(url)).plan()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a\nb"])
def test_s29_no_name_leads_elsewhere(name: str, fake: Fake, url: str) -> None:
    """A hostile name is refused before anything is sent."""
    with pytest.raises(CallInvalid, match="no name of a flag"):
        build(url).read(disable(name), timeout=PATIENCE)
    assert fake.headers == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"5", b'{"feature": {}}', b'{"feature": {"environments": {"production": {"enabled": "yes"}}}}']
)
def test_an_answer_that_makes_no_sense_is_never_taken_for_a_state(body: bytes) -> None:
    """Whatever a wrong server answers is refused in words."""
    with serving(lambda _asked: Answered(body=body)) as wrong, pytest.raises((OutcomeUnknown, Rejected)):
        build(wrong).read(disable(), timeout=PATIENCE)


def test_the_check_finds_the_environment(url: str) -> None:
    """`muster check` sees a wrong environment beforehand."""
    assert build(url).probe(timeout=PATIENCE).startswith("GrowthBook shows environment production; whether")
    with pytest.raises(TargetMissing, match="no environment prod; it has dev, production"):
        build(url, environment_key="prod").probe(timeout=PATIENCE)


def test_no_token_is_a_mistake_in_the_configuration() -> None:
    """Without a token the backend is not built, and the field is named."""
    with pytest.raises(SettingsInvalid, match="token"):
        KIND.build(Options({"environment": "production"}), {})
