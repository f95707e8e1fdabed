"""LaunchDarkly at the wire: a server written from the documented format of the REST API v2, with its versions, approvals and audit log.

https://launchdarkly.com/docs/api/feature-flags
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.backends.launchdarkly import KIND, LaunchDarkly
from actions.contract import CallInvalid, Conflict, OutcomeUnknown, Rejected, TargetMissing, Throttled
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import OutcomeStatus
from tests.parts.flagging import FLAG, PATIENCE, TOKEN, TROUBLES, Row, check_class, check_look, check_trouble, disable, night, switch
from tests.parts.trouble import Ill, troubled
from tests.parts.vendor import Answered, Asked, serving

BEN = {"_id": "569f183514f4432160000007", "email": "ben@example.com", "firstName": "Ben", "lastName": "Ode"}


@dataclass(slots=True)
class Fake:
    """One project `shop` with the environments `production` and `test`, whose flags are on in both."""

    on: bool = True
    version: int = 7
    off_variation: int | None = 1
    variations: list[dict[str, Any]] = field(default_factory=lambda: [{"_id": "a", "value": True}, {"_id": "b", "value": False}])
    archived: bool = False
    approvals: bool = False
    stale: int = 409  # what a failed `test` is answered with
    audit: int = 200
    by: dict[str, Any] = field(default_factory=lambda: {"member": BEN})
    comments: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def set(self, *, on: bool, by: dict[str, Any] | None = None) -> None:
        """Change it, as a person would."""
        self.on, self.version, self.by = on, self.version + 1, by or {"member": BEN}

    def __call__(self, asked: Asked) -> Answered:
        self.headers.append(dict(asked.headers))
        if asked.headers.get("authorization") != TOKEN:
            return Answered(status=401, body={"code": "unauthorized", "message": "Invalid access token"})
        match asked.method, asked.parts:
            case "GET", ("api", "v2", "flags", "shop", flag) if flag == FLAG:
                return Answered(body=self._shown(asked.query.get("env")))
            case "PATCH", ("api", "v2", "flags", "shop", flag) if flag == FLAG:
                return self._patched(asked.body)
            case "GET", ("api", "v2", "auditlog"):
                assert asked.query == {"spec": f"proj/shop:env/production:flag/{FLAG}", "limit": "1"}
                return Answered(status=self.audit, body={"items": [{"_id": "1", "date": 1, "kind": "flag", **self.by}]})
            case "GET", ("api", "v2", "projects", "shop", "environments", ("production" | "test") as key):
                return Answered(body={"key": key, "name": key, "approvalSettings": {"required": self.approvals}})
        return Answered(status=404, body={"code": "not_found", "message": "Unknown resource"})

    def _shown(self, place: str | None) -> dict[str, Any]:
        here = {"on": self.on, "archived": self.archived, "version": self.version, "lastModified": 1_795_000_000_000}
        if self.off_variation is not None:
            here["offVariation"] = self.off_variation
        listed = {key: here for key in ("production", "test") if place in {None, key}}
        return {
            "key": FLAG,
            "kind": "boolean",
            "_version": 1,
            "archived": self.archived,
            "variations": self.variations,
            "environments": listed,
        }

    def _patched(self, body: Any) -> Answered:
        if self.approvals:
            return Answered(status=405, body={"code": "method_not_allowed", "message": "approval is required"})
        test, replace = body["patch"]
        assert (test["op"], test["path"]) == ("test", "/environments/production/version")
        assert (replace["op"], replace["path"]) == ("replace", "/environments/production/on")
        if test["value"] != self.version:
            return Answered(status=self.stale, body={"code": "optimistic_locking_error", "message": "Conflict. Optimistic lock error."})
        self.comments.append(body["comment"])
        self.set(on=replace["value"], by={"token": {"name": "muster"}})
        return Answered(body=self._shown(None))


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def url(fake: Fake) -> Iterator[str]:
    with serving(fake) as found:
        yield found


def build(url: str, *, token: str = TOKEN, **more: Any) -> LaunchDarkly:
    """The backend as configured."""
    options = Options({"url": url, "environment": "production", "project": "shop", **more})
    found = KIND.build(options, {"token": lambda: token})
    assert isinstance(found, LaunchDarkly)
    return found


@pytest.mark.parametrize("operation", [one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_launchdarkly_keeps_the_contract(check: Check, operation: str, fake: Fake, url: str) -> None:
    """Each operation passes every check over the documented wire format."""
    fake.on = operation == "flag.disable"

    def change_outside(value: Any) -> None:
        """To its other value and back again: only the version tells."""
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


@pytest.mark.parametrize("status", [400, 409, 412])
def test_a_stranger_faster_than_the_change_is_refused_over_there(status: int, fake: Fake, url: str) -> None:
    """A change between our look and our patch makes its test fail over there: a conflict with the present state, nothing overwritten."""
    fake.stale = status
    backend = build(url)
    before = backend.read(disable(), timeout=PATIENCE)
    with troubled(url) as trouble:

        def at_the_patch(method: str, _path: str) -> bool:
            if method == "PATCH":
                fake.set(on=True)
            return False

        trouble.which = at_the_patch
        with pytest.raises(Conflict) as refused:
            build(trouble.url).apply(disable(), False, expected=before, key="k", timeout=PATIENCE)
    assert refused.value.current.changed_by == "Ben Ode"
    assert (fake.on, fake.version, fake.comments) == (True, 8, [])


def test_something_pending_is_refused_in_words(fake: Fake, url: str) -> None:
    """A 409 although nothing changed, as a pending change gives it, is a refusal and not a stranger's change."""
    with troubled(url) as trouble:
        story = night(build(trouble.url))
        plan = story.plan()
        trouble.ill, trouble.status, trouble.body = Ill.STATUS, 409, b'{"message": "A scheduled change conflicts."}'
        refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "something pending stands in the way" in refused.reason
    assert "A scheduled change conflicts." in refused.reason


def test_an_environment_that_demands_approvals_refuses_in_words(fake: Fake, url: str) -> None:
    """Where LaunchDarkly demands approvals, nothing is changed and the sentence says what to do; `muster check` says it beforehand."""
    fake.approvals = True
    refused = night(build(url)).click(night(build(url)).plan())
    assert refused.status is OutcomeStatus.REFUSED
    assert "demands an approval for flag long-answers in production (405)" in refused.reason
    assert "Ask for one there" in refused.reason
    assert fake.on is True
    assert "it demands approvals" in build(url).probe(timeout=PATIENCE)


def test_someone_elses_change_is_named_and_never_overwritten(fake: Fake, url: str) -> None:
    """Between plan and click, and between run and undo, a stranger's change is left alone and named."""
    story = night(build(url))
    plan = story.plan()
    fake.set(on=True)
    refused = story.click(plan)
    assert "long-answers was changed and changed back by Ben Ode since the plan was made" in refused.reason
    plan = story.plan()
    done = story.click(plan)
    assert done.status is OutcomeStatus.APPLIED
    assert done.after is not None
    assert done.after.changed_by == "muster"
    fake.set(on=True)
    fake.set(on=False)
    refused = story.undo(plan, done)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Not undone: ")
    assert "Ben Ode" in refused.reason
    assert fake.on is False


def test_a_change_carries_the_run_and_can_be_undone(fake: Fake, url: str) -> None:
    """The change's comment names the run, the token is the header as it is, and the undo turns targeting on again."""
    story = night(build(url))
    plan = story.plan()
    done = story.click(plan)
    assert fake.on is False
    assert story.undo(plan, done).status is OutcomeStatus.APPLIED
    assert fake.on is True
    assert fake.comments == ["Muster, run run-7", "Muster, run run-7-undo"]
    assert {(one["authorization"], one["ld-api-version"]) for one in fake.headers} == {(TOKEN, "20240415")}


@pytest.mark.parametrize(
    ("index", "variations", "words"),
    [
        (1, [{"value": True}, {"value": False}], "Off serves everyone false."),
        (0, [{"value": True, "name": "Long"}, {"value": False}], "Off serves everyone true (Long)."),
        (0, [{"value": "gpt", "name": "Large model"}], "Off serves everyone Large model."),
        (0, [{"value": {"a": 1}}], "Off serves everyone variation 1."),
        (None, [{"value": True}], "the default in its own code"),
        (9, [{"value": True}], "the default in its own code"),
    ],
)
def test_the_plan_says_what_off_serves(index: int | None, variations: list[dict[str, Any]], words: str, fake: Fake, url: str) -> None:
    """Off is not always false: the plan names what everyone gets while targeting is off."""
    fake.off_variation, fake.variations = index, variations
    backend = build(url)
    assert words in backend.propose(disable(), backend.read(disable(), timeout=PATIENCE)).note


def test_a_flag_elsewhere_or_put_away_is_not_planned(fake: Fake, url: str) -> None:
    """A missing flag, a missing environment and an archived flag give a sentence and no plan."""
    with pytest.raises(PlanRefused, match="LaunchDarkly has no flag nowhere in production"):
        night(build(url), flag="nowhere").plan()
    with pytest.raises(TargetMissing, match="no environment prod for flag long-answers of project shop"):
        build(url, environment_key="prod").read(disable(), timeout=PATIENCE)
    fake.archived = True
    with pytest.raises(PlanRefused, match="is archived in LaunchDarkly"):
        night(build(url)).plan()


def test_who_changed_it_is_no_reason_to_fail(fake: Fake, url: str) -> None:
    """A token that may not read the audit log reads the flag all the same."""
    fake.audit = 403
    read = build(url).read(disable(), timeout=PATIENCE)
    assert (read.value, read.changed_by) == (True, None)


def test_who_changed_it_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit log that hangs costs a moment, and the flag is read all the same."""
    monkeypatch.setattr("actions.backends.launchdarkly.COURTESY", 0.2)
    with troubled(url) as trouble:
        trouble.ill, trouble.which = Ill.HANG, lambda _method, path: "auditlog" in path
        read = build(trouble.url).read(disable(), timeout=1e6)
    assert (read.value, read.changed_by) == (True, None)


def test_a_limit_without_retry_after_is_read_from_its_own_header(url: str) -> None:
    """LaunchDarkly's own header says until when to wait."""
    with troubled(url) as trouble:
        backend = build(trouble.url)
        before = backend.read(disable(), timeout=PATIENCE)
        trouble.ill, trouble.status = Ill.STATUS, 429
        for headers, least, most in (
            ({"X-Ratelimit-Reset": str(int((time.time() + 30) * 1000))}, 1, 31),
            ({}, 60, 60),
            ({"X-Ratelimit-Reset": "²"}, 60, 60),
        ):
            trouble.headers = headers
            with pytest.raises(Throttled) as asked:
                backend.apply(disable(), False, expected=before, key="k", timeout=PATIENCE)
            assert least <= asked.value.retry_after <= most


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a\nb"])
def test_s29_no_name_leads_elsewhere(name: str, fake: Fake, url: str) -> None:
    """A hostile name is refused before anything is sent."""
    with pytest.raises(CallInvalid, match="no name of a flag"):
        build(url).read(disable(name), timeout=PATIENCE)
    assert fake.headers == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"5", b'{"environments": {"production": {}}}', b'{"environments": {"production": {"on": 1}}}']
)
def test_an_answer_that_makes_no_sense_is_never_taken_for_a_state(body: bytes) -> None:
    """Whatever a wrong server answers is refused in words."""
    with serving(lambda _asked: Answered(body=body)) as wrong, pytest.raises((OutcomeUnknown, Rejected, TargetMissing)):
        build(wrong).read(disable(), timeout=PATIENCE)


def test_the_check_finds_the_environment(url: str) -> None:
    """`muster check` sees a wrong project, environment or token beforehand."""
    assert build(url).probe(timeout=PATIENCE).startswith("LaunchDarkly shows environment production in project shop; whether")
    with pytest.raises(TargetMissing, match="no environment production in project other"):
        build(url, project="other").probe(timeout=PATIENCE)


def test_no_token_is_a_mistake_in_the_configuration() -> None:
    """Without a token the backend is not built, and the field is named."""
    with pytest.raises(SettingsInvalid, match="token"):
        KIND.build(Options({"environment": "production", "project": "shop"}), {})
