"""Release units: which release runs is read from the parts, and a rollback changes all of them as one (mission D3, rule S24)."""

from typing import Any

import pytest

from actions.contract import CallInvalid, TargetMissing
from actions.operations import MODEL_ROLLBACK
from actions.planning import PlanRefused
from actions.registry import Bound, Registry
from actions.runner import Runner
from actions.testing import CHECKS, Check, RecordingBackend, Subject
from actions.together.units import KnownRelease, ReleaseUnits, Unit, UnitPart
from actions.toolkit.releases import candidates, known
from runbooks.operation import Argument, ArgumentType, Call, Operation, OutcomeStatus, Proposal, Reading
from runbooks.severity import Tier
from tests.acting import LABELS, NOW, action, backend, runbook

PARTS = ("model", "prompt", "rules")
UNIT = tuple(UnitPart(name=name, operation="thing.set", target=name, argument="value") for name in PARTS)


def release(version: str, *values: int, good: bool = True, score: float | None = None) -> KnownRelease:
    """A release of the three parts."""
    return KnownRelease(version=version, good=good, score=score, values=dict(zip(PARTS, values, strict=True)))


RELEASES = (
    release("v4", 14, 24, 34, good=False, score=0.91),
    release("v3", 13, 23, 34, score=0.902),
    release("v2", 12, 23, 34, score=0.889),
    release("v1", 11, 21, 31, good=False, score=0.7),
)


def far(*values: int) -> RecordingBackend:
    """The parts' own backend."""
    made = backend()
    for name, value in zip(PARTS, values or (14, 24, 34), strict=True):
        made.put(name, {"value": value}, by="ben")
    return made


def units(parts: RecordingBackend, releases: tuple[KnownRelease, ...] = RELEASES) -> ReleaseUnits:
    """The unit `answers` over them."""
    unit = Unit(name="answers", parts=UNIT, releases=lambda: releases)
    return ReleaseUnits([unit], environment="production", registry=Registry([parts]))


def call(to: str = "last_known_good", unit: str = "answers") -> Call:
    """A rollback of the unit."""
    return Call(operation=MODEL_ROLLBACK.name, target=unit, arguments={"unit": unit, "to": to}, environment="production")


def read(parts: RecordingBackend) -> Reading:
    """How the unit stands."""
    return units(parts).read(call(), timeout=5)


def values(parts: RecordingBackend) -> tuple[int, ...]:
    """How its parts stand."""
    return tuple(parts.things[name].value["value"] for name in PARTS)


def runner(parts: RecordingBackend, *others: Any) -> Runner:
    """A runner that knows the unit, its parts, and others."""
    bound = Bound(name="release-units", backend=units(parts), targets=frozenset({"answers"}))
    return Runner(registry=Registry([bound, parts, *others]), now=lambda: NOW)


def rollback(**changed: Any) -> Any:
    """The runbook's action: the release is a parameter."""
    given: dict[str, Any] = {
        "tier": "R2",
        "uses": "model.rollback",
        "with": {"unit": "answers", "to": "{{ parameters.to }}"},
        "targets": ["answers"],
        "parameters": {"to": {"type": "release", "title": "Release"}},
        "cost": {"money": "none", "quality": "none", "latency": "none"},
    }
    return action(**(given | changed))


def planned(run: Runner, *, to: str | None = None, **changed: Any) -> Any:
    """The plan of the rollback."""
    made = rollback(**changed)
    chosen = {"to": to} if to else {}
    return run.plan(made, runbook=runbook(made), labels=LABELS, parameters=chosen, environment="production", plan_id="p1")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_release_unit_passes_the_checks_of_every_backend(check: Check) -> None:
    """Runner and flows need not know that it is several systems: the promises of one backend hold."""
    parts = far()
    whole = units(parts)

    def outside(value: Any) -> None:
        for name in PARTS:
            parts.put(name, value["parts"][name])

    other = {"version": "v2", "parts": {"model": {"value": 12}, "prompt": {"value": 23}, "rules": {"value": 34}}}
    check(
        Subject(
            backend=whole,
            call=call(),
            missing=call(unit="nothing"),
            other=other,
            change_outside=outside,
            invalid=call("v9"),
            atomic=False,
        )
    )


def test_the_running_release_is_read_from_the_parts() -> None:
    """All parts as a release has them is that release; of two alike the older is meant, because a list grows at its newer end."""
    assert read(far()).value["version"] == "v4"
    assert read(far(12, 23, 34)).value["version"] == "v2"
    alike = (release("v5", 14, 24, 34), *RELEASES)
    assert units(far(), alike).read(call(), timeout=5).value["version"] == "v4"


def test_a_part_that_fits_no_release_is_said_to_be_changed_by_hand() -> None:
    """Nothing is guessed: the unit runs no known release, and the part, its value and what the nearest release has are named."""
    reading = read(far(14, 99, 34))
    assert reading.value["version"] is None
    assert reading.facts["by_hand"] == "It is no known release: nearest is v4, but prompt was changed by hand (value 99; v4 has 24)."
    assert "prompt was changed by hand" in units(far(14, 99, 34)).propose(call("v3"), reading).note


def test_a_rollback_changes_all_parts_and_an_undo_brings_all_back() -> None:
    """The plan names every part; the rollback goes in order, the undo in reverse, to exactly what stood before, by hand or not."""
    parts = far(14, 99, 34)
    run = runner(parts)
    made = planned(run)
    assert [(one.name, one.step) for one in made.proposal.parts] == [
        ("model", "value 14 → 13"),
        ("prompt", "value 99 → 23"),
        ("rules", "stays value 34"),
    ]
    assert made.targets == ("answers", *PARTS)
    outcome = run.execute(made, runbook=runbook(rollback()), labels=LABELS, key="k")
    assert (outcome.status, values(parts)) == (OutcomeStatus.APPLIED, (13, 23, 34))
    assert outcome.after is not None
    assert outcome.after.value["version"] == "v3"
    back = run.undo(made, after=outcome.after, key="u")
    assert (back.status, values(parts)) == (OutcomeStatus.APPLIED, (14, 99, 34))
    assert [effect.target for effect in parts.effects] == ["model", "prompt", "prompt", "model"]


def test_only_good_releases_are_offered_and_the_last_is_the_default() -> None:
    """Newest first, with their scores; what runs and what is bad is not among them, and asking for it all the same gives no plan."""
    parts = far()
    assert [(one.version, one.score) for one in candidates(read(parts))] == [("v3", 0.902), ("v2", 0.889)]
    assert [one.version for one in known(read(parts))] == ["v4", "v3", "v2", "v1"]
    run = runner(parts)
    assert planned(run).parameters == {"to": "v3"}
    assert planned(run, to="v2").proposal.after_text == "release v2"
    assert planned(run).proposal.note == "Evaluation score 0.91 → 0.902."
    for wrong, words in (("v1", "not known to be good"), ("v4", "runs v4 already"), ("v9", "no release v9; known to be good are v3, v2")):
        with pytest.raises(PlanRefused, match=words) as refused:
            planned(run, to=wrong)
        assert refused.value.parameter == "to"


def test_without_an_earlier_good_release_there_is_nothing_to_go_back_to() -> None:
    """The oldest good one runs: the plan says that there is nothing to roll back to, and does not go forward instead."""
    with pytest.raises(PlanRefused, match="nothing to roll back to"):
        planned(runner(far(12, 23, 34)))


def test_a_unit_is_found_by_its_name_beside_another_backend_of_the_same_operation() -> None:
    """A declared unit is rolled back as a whole; every other target of model.rollback goes to the backend that serves them all."""
    bare = Operation.model_validate(MODEL_ROLLBACK.model_dump())

    class Single(RecordingBackend):
        """Serves model.rollback for whatever it is asked."""

        def propose(self, call: Call, reading: Reading) -> Proposal:
            return Proposal(value={"version": call.arguments["to"]}, before_text="x", after_text=str(call.arguments["to"]))

    single = Single(operations=(bare,), name="single")
    run = runner(far(), single)
    assert run.registry.bound("model.rollback", "production", target="answers").name == "release-units"
    assert run.registry.bound("model.rollback", "production", target="reranker").name == "single"


def test_a_manifest_that_grows_is_seen_at_the_next_look() -> None:
    """The known releases are asked for at each look, so what a pipeline adds can be gone back to at once."""
    listed = list(RELEASES[:2])
    unit = Unit(name="answers", parts=UNIT, releases=lambda: tuple(listed))
    whole = ReleaseUnits([unit], environment="production", registry=Registry([far()]))
    assert [one.version for one in candidates(whole.read(call(), timeout=5))] == ["v3"]
    listed.append(RELEASES[2])
    assert [one.version for one in candidates(whole.read(call(), timeout=5))] == ["v3", "v2"]


def test_a_unit_whose_parts_changed_in_the_configuration_is_not_touched() -> None:
    """A plan made with other parts is refused: nobody knows what its values would mean now."""
    parts = far()
    whole = units(parts)
    before = whole.read(call(), timeout=5)
    with pytest.raises(CallInvalid, match="other parts"):
        whole.apply(call(), {"version": "v3", "parts": {"model": {"value": 13}}}, expected=before, key="k", timeout=5)
    with pytest.raises(TargetMissing, match="there are answers"):
        whole.read(call(unit="search"), timeout=5)
    assert values(parts) == (14, 24, 34)


def moved(parts: RecordingBackend, *, unit: tuple[UnitPart, ...] = UNIT, name: str = "elsewhere") -> Runner:
    """The same unit after the configuration was changed: its parts are served by another system that looks alike, or are others."""
    other = far(*values(parts))
    other.name = name
    whole = ReleaseUnits(
        [Unit(name="answers", parts=unit, releases=lambda: RELEASES)], environment="production", registry=Registry([other])
    )
    bound = Bound(name="release-units", backend=whole, targets=frozenset({"answers"}))
    return Runner(registry=Registry([bound, other]), now=lambda: NOW)


@pytest.mark.parametrize("change", ["backend", "target", "argument", "order"])
def test_s7_a_part_is_changed_and_put_back_where_it_was_read_or_not_at_all(change: str) -> None:
    """A configuration that changed between plan and click, or click and undo, is refused even where the new system looks the same."""
    parts = far()
    run = runner(parts)
    made = planned(run)
    assert [one["call"]["backend"] for one in made.call.arguments["pinned"]] == ["recording"] * 3
    first, *rest = UNIT
    units_now = {
        "backend": UNIT,
        "target": (UnitPart(name="model", operation="thing.set", target="rules", argument="value"), *rest),
        "argument": (UnitPart(name="model", operation="thing.set", target="model", argument="target"), *rest),
        "order": (*rest, first),
    }
    later = moved(parts, unit=units_now[change], name="elsewhere" if change == "backend" else "recording")
    words = "recording no longer serves thing.set here" if change == "backend" else "other parts in muster.yaml than when this was planned"
    refused = later.execute(made, runbook=runbook(rollback()), labels=LABELS, key="k")
    assert refused.status is OutcomeStatus.REFUSED
    assert words in refused.reason
    outcome = run.execute(made, runbook=runbook(rollback()), labels=LABELS, key="k")
    assert outcome.status is OutcomeStatus.APPLIED
    later = moved(parts, unit=units_now[change], name="elsewhere" if change == "backend" else "recording")
    back = later.undo(made, after=outcome.after, key="u")
    assert back.status is OutcomeStatus.REFUSED
    assert words in back.reason


def test_a_part_that_nobody_could_set_so_now_is_not_said_to_be_changed_by_hand() -> None:
    """A backend that refuses to plan what stands already, since its hosts are down, does not hide which release runs."""

    class Down(RecordingBackend):
        """Plans nothing."""

        def propose(self, call: Call, reading: Reading) -> Proposal:
            raise CallInvalid("No host is well there.")

    down = Down()
    for name, value in zip(PARTS, (12, 23, 34), strict=True):
        down.put(name, {"value": value})
    assert read(down).value["version"] == "v2"


def test_the_probe_says_what_each_unit_runs() -> None:
    """`muster check` names the running release of every unit without changing anything."""
    parts = far()
    assert units(parts).probe(timeout=5) == "answers runs release v4"
    assert parts.effects == []


def test_a_release_is_an_argument_like_any_other_to_a_backend_that_names_none() -> None:
    """Where the backend knows no list of releases, the word itself is handed on and the backend decides."""
    named = Operation(
        name="model.rollback",
        title="Roll back",
        reads=False,
        tier=Tier.R2,
        target="unit",
        arguments={"unit": Argument(type=ArgumentType.TEXT), "to": Argument(type=ArgumentType.TEXT)},
    )

    class Plain(RecordingBackend):
        """Keeps what it was asked for."""

        def propose(self, call: Call, reading: Reading) -> Proposal:
            return Proposal(value={"version": call.arguments["to"]}, before_text="now", after_text="then")

    plain = Plain(operations=(named,), name="plain")
    plain.put("answers", {"version": "v4"})
    made = planned(Runner(registry=Registry([plain]), now=lambda: NOW))
    assert made.call.arguments["to"] == "last_known_good"
