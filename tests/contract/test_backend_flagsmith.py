"""Flagsmith at the wire: a server written from the documented format of the Admin API, with and without feature versioning.

https://docs.flagsmith.com/integrating-with-flagsmith/flagsmith-api-overview/admin-api/code-examples
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends.flagsmith import KIND, Flagsmith
from actions.contract import CallInvalid, OutcomeUnknown, Rejected, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import OutcomeStatus
from tests.parts.flagging import FLAG, PATIENCE, TOKEN, TROUBLES, Row, check_class, check_look, check_trouble, disable, night, switch
from tests.parts.trouble import troubled
from tests.parts.vendor import Answered, Asked, serving

KEY = "8KzETdDeMY7xkqSkY3Gsg"
TYPED: list[tuple[Any, dict[str, Any]]] = [
    ("large", {"type": "unicode", "string_value": "large"}),
    (None, {"type": "unicode", "string_value": ""}),
    (12, {"type": "int", "integer_value": 12}),
    (False, {"type": "bool", "boolean_value": False}),
]
"""Values of a flag, and how a new version of it takes them."""


@dataclass(slots=True)
class Fake:
    """One environment, number 31, with one flag, number 5; a segment has a state of its own, listed first."""

    versioned: bool = False
    on: bool = True
    changes: int = 1
    value: Any = "large"
    variants: list[Any] = field(default_factory=list)
    approvals: int | None = None
    filters: bool = True  # older ones do not know the filter by name
    headers: list[dict[str, str]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)

    def set(self, *, on: bool) -> None:
        """Change it, as a person would."""
        self.on, self.changes = on, self.changes + 1

    def __call__(self, asked: Asked) -> Answered:
        self.headers.append(dict(asked.headers))
        if asked.headers.get("authorization") != f"Api-Key {TOKEN}":
            return Answered(status=401, body={"detail": "Invalid token."})
        match asked.method, asked.parts:
            case "GET", ("api", "v1", "environments", key) if key == KEY:
                body = {"id": 31, "name": "Production", "api_key": KEY, "minimum_change_request_approvals": self.approvals}
                return Answered(body={**body, "use_v2_feature_versioning": self.versioned})
            case "GET", ("api", "v1", "environments", key, "featurestates") if key == KEY:
                found = self._states() if asked.query.get("feature_name") == FLAG or not self.filters else []
                found += [] if self.filters else [{**found[1], "id": 99, "feature": 6}]
                return Answered(body={"count": len(found), "next": None, "previous": None, "results": found})
            case "PATCH", ("api", "v1", "environments", key, "featurestates", "70") if key == KEY and not self.versioned:
                self.set(on=asked.body["enabled"])
                return Answered(body=self._states()[1])
            case "POST", ("api", "v1", "environments", "31", "features", "5", "versions") if self.versioned:
                return self._published(asked.body)
        return Answered(status=404, body={"detail": "Not found."})

    def _states(self) -> list[dict[str, Any]]:
        common = {"feature": 5, "environment": 31, "identity": None, "updated_at": f"2026-11-20T02:00:00.{self.changes:06}Z"}
        version = f"9f1c2f6e-0000-4000-8000-{self.changes:012}" if self.versioned else None
        mine = {
            "feature_segment": None,
            "enabled": self.on,
            "feature_state_value": self.value,
            "multivariate_feature_state_values": self.variants,
        }
        number = 70 + (self.changes if self.versioned else 0)
        return [
            {"id": 69, **common, "feature_segment": 4, "enabled": not self.on, "feature_state_value": "other"},
            {"id": number, **common, **mine, "environment_feature_version": version},
        ]

    def _published(self, body: Any) -> Answered:
        (state,) = body["feature_states_to_update"]
        assert body["publish_immediately"] is True
        assert state["feature_segment"] is None
        self.versions.append(body)
        self.set(on=state["enabled"])
        return Answered(status=201, body={"uuid": f"9f1c2f6e-0000-4000-8000-{self.changes:012}", "is_live": True, "published": True})


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def fake(request: pytest.FixtureRequest) -> Fake:
    return Fake(versioned=request.param)


@pytest.fixture
def url(fake: Fake) -> Iterator[str]:
    with serving(fake) as found:
        yield found


def build(url: str, *, token: str = TOKEN, **more: Any) -> Flagsmith:
    """The backend as configured."""
    found = KIND.build(Options({"url": url, "environment": "production", "environment_key": KEY, **more}), {"token": lambda: token})
    assert isinstance(found, Flagsmith)
    return found


@pytest.mark.parametrize("operation", [one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_flagsmith_keeps_the_contract(check: Check, operation: str, fake: Fake, url: str) -> None:
    """Each operation passes every check over the documented wire format, with and without versioning."""
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


@pytest.mark.parametrize(("value", "typed"), TYPED)
def test_a_new_version_keeps_the_value_and_carries_the_run(value: Any, typed: dict[str, Any]) -> None:
    """With versioning one version is published a change, named after the run, whose value is the one that stood there."""
    fake = Fake(versioned=True, value=value)
    with serving(fake) as url:
        story = night(build(url))
        plan = story.plan()
        done = story.click(plan)
        assert fake.on is False
        assert story.undo(plan, done).status is OutcomeStatus.APPLIED
    assert fake.on is True
    assert [one["description"] for one in fake.versions] == ["Muster, run run-7", "Muster, run run-7-undo"]
    assert [one["feature_states_to_update"][0]["feature_state_value"] for one in fake.versions] == [typed, typed]


def test_one_flag_is_never_taken_for_another(fake: Fake, url: str) -> None:
    """An installation that ignores the filter by name shows every flag: none is read, and none is switched."""
    fake.filters = False
    with pytest.raises(Rejected, match="shows 2 flags for the name long-answers, so none of them is touched"):
        build(url).read(disable(), timeout=PATIENCE)


def test_an_environment_with_change_requests_is_left_alone(fake: Fake, url: str) -> None:
    """Where Flagsmith wants change requests, there is no plan, and the sentence says what to do; `muster check` says it beforehand."""
    fake.approvals = 1
    with pytest.raises(PlanRefused, match=r"production wants change requests in Flagsmith. Make one there for flag long-answers."):
        night(build(url)).plan()
    assert "Muster can only read there" in build(url).probe(timeout=PATIENCE)


def test_variants_are_not_reset(fake: Fake, url: str) -> None:
    """A flag with variants is left alone where a new version would have to name them all, and switched where not."""
    fake.variants = [{"id": 1, "multivariate_feature_option": 1, "percentage_allocation": 50}]
    if fake.versioned:
        with pytest.raises(PlanRefused, match="has variants in a versioned environment"):
            night(build(url)).plan()
    else:
        assert night(build(url)).plan().proposal.after_text == "off"


def test_what_is_not_there_is_named_while_planning(url: str) -> None:
    """A missing flag and a wrong environment key give a sentence and no plan."""
    with pytest.raises(PlanRefused, match="Flagsmith has no flag nowhere in production"):
        night(build(url), flag="nowhere").plan()
    with pytest.raises(TargetMissing, match="Flagsmith has no environment production"):
        build(url, environment_key="wrong").read(disable(), timeout=PATIENCE)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a\nb"])
def test_s29_no_name_leads_elsewhere(name: str, fake: Fake, url: str) -> None:
    """A hostile name is refused before anything is sent."""
    with pytest.raises(CallInvalid, match="no name of a flag"):
        build(url).read(disable(name), timeout=PATIENCE)
    assert fake.headers == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"5", b'{"results": [5]}', b'{"results": [{"id": 1, "enabled": "yes"}]}'])
def test_an_answer_that_makes_no_sense_is_never_taken_for_a_state(body: bytes) -> None:
    """Whatever a wrong server answers is refused in words."""
    with serving(lambda _asked: Answered(body=body)) as wrong, pytest.raises((OutcomeUnknown, Rejected, TargetMissing)):
        build(wrong).read(disable(), timeout=PATIENCE)


def test_the_check_finds_the_environment(url: str) -> None:
    """`muster check` sees a wrong environment key beforehand."""
    assert build(url).probe(timeout=PATIENCE).startswith("Flagsmith shows environment Production; whether")
    with pytest.raises(TargetMissing):
        build(url, environment_key="wrong").probe(timeout=PATIENCE)


def test_no_token_is_a_mistake_in_the_configuration() -> None:
    """Without a token the backend is not built, and the field is named."""
    with pytest.raises(SettingsInvalid, match="token"):
        KIND.build(Options({"environment": "production", "environment_key": KEY}), {})
