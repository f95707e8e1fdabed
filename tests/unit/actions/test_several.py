"""Several changes as one: made in order, put back in reverse, and honest about what cannot be known (rule S24)."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from actions.contract import Backend, BackendError, CallInvalid, Conflict, OutcomeUnknown, Rejected, Throttled, Unreachable
from actions.planning import PlanRefused
from actions.registry import Registry
from actions.testing import CHECKS, SET, Chaos, Check, RecordingBackend, Subject
from actions.together.several import Several, several
from actions.together.stages import part_of, size
from runbooks.operation import Call, OutcomeStatus, Plan, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json
from tests.acting import LABELS, action, backend, plan, runbook, runner

NAMES = ("a", "b", "c")
STEPS = [{"uses": "thing.set", "with": {"target": name, "value": "{{ parameters.value }}"}} for name in NAMES]


@dataclass
class Failing(RecordingBackend):
    """Fails at the n-th change that reaches it, counted from one, in a way of its own."""

    fails: dict[int, BackendError] = field(default_factory=dict)
    spoils: dict[int, Chaos] = field(default_factory=dict)
    calls: int = 0

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:
        """As the recording does, unless this is a change that shall fail."""
        self.calls += 1
        self.chaos = self.spoils.get(self.calls, Chaos.NONE)
        if error := self.fails.get(self.calls):
            raise error
        return super().apply(call, value, expected=expected, key=key, timeout=timeout)


def failing(*, fails: dict[int, BackendError] | None = None, spoils: dict[int, Chaos] | None = None) -> Failing:
    """Three things at 1, 2 and 3."""
    made = Failing(fails=fails or {}, spoils=spoils or {}, answers={"load": {"value": 0.9}})
    for number, name in enumerate(NAMES, start=1):
        made.put(name, {"value": number})
    return made


def sequence(**changed: Any) -> Any:
    """All three things to one value."""
    given: dict[str, Any] = {
        "uses": "sequence",
        "with": {},
        "targets": [],
        "steps": STEPS,
        "parameters": {"value": {"type": "integer", "title": "Value", "default": 9, "minimum": 2, "maximum": 12}},
    }
    return action(**(given | changed))


def values(far: RecordingBackend) -> list[int]:
    """How the three things stand."""
    return [far.things[name].value["value"] for name in NAMES]


def targets(far: RecordingBackend) -> list[str]:
    """What was changed, in order."""
    return [effect.target for effect in far.effects]


def planned(far: Backend, **changed: Any) -> tuple[Any, Any, Plan]:
    """Runner, runbook and plan of the sequence."""
    run, book = runner(far), runbook(sequence(**changed))
    return run, book, plan(run, book)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_several_as_one_pass_the_checks_of_every_backend(check: Check) -> None:
    """To the runner they are one backend: the same promises hold, down to a stranger's change and a repeated key."""
    far = failing()
    whole = Several(lambda _call: far)

    def call(value: int, *names: str) -> Call:
        parts = [Call(operation="thing.set", target=name, arguments={"target": name, "value": value}) for name in names]
        return several(parts, environment="production", service=None)

    def outside(wanted: Any) -> None:
        for name, value in zip(NAMES, wanted, strict=True):
            far.put(name, value)

    check(
        Subject(
            backend=whole,
            call=call(9, *NAMES),
            missing=call(9, "a", "b", "nothing"),
            other=[{"value": 5}, {"value": 6}, {"value": 7}],
            change_outside=outside,
            invalid=call(1000, *NAMES),
            atomic=False,
        )
    )


def test_the_plan_shows_every_part_and_binds_all_of_them() -> None:
    """Each part has its target and both values in the plan; its hash changes with any of them, and every target is named for the locks."""
    far = failing()
    _, _, made = planned(far)
    assert [(one.target, one.step) for one in made.proposal.parts] == [("a", "value 1 → 9"), ("b", "value 2 → 9"), ("c", "value 3 → 9")]
    assert made.targets == ("a + b + c", *NAMES)
    assert made.parameters == {"value": 9}
    far.put("c", {"value": 4})
    assert planned(far)[2].model_copy(update={"id": made.id}).hash != made.hash
    assert values(far) == [1, 2, 4]


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (("ready", "ready", "ready"), "ready"),
        (("ready", "", ""), "a: ready"),
        (("ready", "late", "ready"), "a: ready b: late c: ready"),
        (("", "", ""), ""),
    ],
)
def test_what_the_parts_add_is_said_once_or_with_its_part(notes: tuple[str, ...], said: str) -> None:
    """A note that holds of every part stands in the plan once; one that does not names its part."""

    class Noting(Failing):
        def propose(self, call: Call, reading: Reading) -> Proposal:
            return super().propose(call, reading).model_copy(update={"note": notes[NAMES.index(call.target or "")]})

    far = Noting(fails={}, spoils={}, answers={"load": {"value": 0.9}})
    for name in NAMES:
        far.put(name, {"value": 1})
    _, _, made = planned(far)
    assert made.proposal.note == said


def test_all_parts_are_changed_in_order_and_taken_back_in_reverse() -> None:
    """The whole takes effect in the order of the runbook, and the undo goes the other way."""
    far = failing()
    run, book, made = planned(far)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far), targets(far)) == (OutcomeStatus.APPLIED, [9, 9, 9], ["a", "b", "c"])
    back = run.undo(made, after=outcome.after, key="u")
    assert (back.status, values(far), targets(far)[3:]) == (OutcomeStatus.APPLIED, [1, 2, 3], ["c", "b", "a"])


@pytest.mark.parametrize(
    "error",
    [Rejected("it is closed"), Unreachable("no connection"), Throttled("slowly", retry_after=7), CallInvalid("that makes no sense")],
    ids=lambda error: type(error).__name__,
)
def test_a_part_that_fails_puts_back_what_was_done_before_it(error: BackendError) -> None:
    """Where the third cannot be changed, the first two are put back in reverse, and it is said that nothing is changed."""
    far = failing(fails={3: error})
    run, book, made = planned(far)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far), targets(far)) == (OutcomeStatus.REFUSED, [1, 2, 3], ["a", "b", "b", "a"])
    assert "Put back as before: b, a." in outcome.reason
    assert str(error) in outcome.reason
    assert outcome.retry_after == (7 if isinstance(error, Throttled) else None)


def test_a_stranger_in_the_middle_is_named_and_not_overwritten() -> None:
    """Somebody changes the second part while the first is being changed: the first is put back, the stranger's value stands."""
    far = failing(spoils={2: Chaos.CONFLICT})
    run, book, made = planned(far)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far)) == (OutcomeStatus.REFUSED, [1, 99, 3])
    assert "changed b meanwhile" in outcome.reason
    assert "Put back as before: a." in outcome.reason


def test_a_lost_answer_that_is_seen_to_have_come_through_goes_on() -> None:
    """A part whose answer got lost is looked at: it stands as wanted, so the rest is done and the whole took effect."""
    far = failing(spoils={2: Chaos.AFTER})
    run, book, made = planned(far)
    assert run.execute(made, runbook=book, labels=LABELS, key="k").status is OutcomeStatus.APPLIED
    assert values(far) == [9, 9, 9]


def test_a_part_without_an_answer_is_unknown_and_nothing_is_done_blindly() -> None:
    """No answer and no effect seen yet: it may still come, so nothing is put back at once and the outcome is unknown."""
    far = failing(spoils={2: Chaos.HANG})
    run, book, made = planned(far)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far)) == (OutcomeStatus.UNKNOWN, [9, 2, 3])
    assert "Changed before it: a." in outcome.reason


def test_what_cannot_be_put_back_is_said_to_be_unknown() -> None:
    """The third fails, and putting back the second fails too: nobody may believe that nothing was changed."""
    far = failing(fails={3: Rejected("it is closed"), 4: Rejected("and so is this")})
    run, book, made = planned(far)
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far)) == (OutcomeStatus.UNKNOWN, [9, 9, 3])
    assert "could not be put back" in outcome.reason


@pytest.mark.parametrize(
    ("stand", "status", "mixed"),
    [
        ([9, 9, 9], OutcomeStatus.APPLIED, False),
        ([1, 2, 3], OutcomeStatus.REFUSED, False),
        ([9, 2, 3], OutcomeStatus.UNKNOWN, True),
        ([9, 7, 3], OutcomeStatus.UNKNOWN, False),
    ],
    ids=["all", "none", "some", "a stranger"],
)
def test_after_a_crash_every_part_is_looked_at(stand: list[int], status: OutcomeStatus, mixed: bool) -> None:
    """All as wanted took effect, none did not; a mixture is named part by part, and a stranger's value is no mixture to be put back."""
    far = failing()
    run, _, made = planned(far)
    for name, value, was in zip(NAMES, stand, values(far), strict=True):
        if value != was:
            far.put(name, {"value": value}, by="eve")
    looked = run.reconcile(made)
    assert (looked.status, looked.mixed) == (status, mixed)
    if status is OutcomeStatus.UNKNOWN:
        assert "a took effect" in looked.reason
        assert ("b did not" in looked.reason) == mixed
        assert ("eve" in looked.reason) != mixed


def test_a_mixture_is_put_back_as_a_whole() -> None:
    """What took effect in part is put back, the last part first; afterwards nothing is changed and the reason says which parts were."""
    far = failing()
    run, _, made = planned(far)
    for name in ("a", "b"):
        far.put(name, {"value": 9}, by="muster/k")
    restored = run.restore(made, key="r")
    assert (restored.status, values(far), targets(far)) == (OutcomeStatus.REFUSED, [1, 2, 3], ["b", "a"])
    assert "a took effect; b took effect; c did not." in restored.reason


def test_an_undo_leaves_everything_where_a_stranger_has_changed_one_part() -> None:
    """Somebody has changed the second part since: nothing is taken back, and it is said which part is not as it was left."""
    far = failing()
    run, book, made = planned(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    far.put("b", {"value": 5}, by="eve")
    back = run.undo(made, after=after, key="u")
    assert (back.status, values(far)) == (OutcomeStatus.REFUSED, [9, 5, 9])
    assert "b was changed by eve: now it is value 5" in back.reason


def test_an_undo_says_who_changed_a_part_and_changed_it_back() -> None:
    """A part that somebody touched twice looks as it was left: the sentence names the part and the person, not only how all stand."""
    far = failing()
    run, book, made = planned(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    far.put("b", {"value": 5}, by="eve")
    far.put("b", {"value": 9}, by="eve")
    back = run.undo(made, after=after, key="u")
    assert (back.status, values(far)) == (OutcomeStatus.REFUSED, [9, 9, 9])
    assert back.reason.startswith("Not undone: b was changed and changed back by eve. How the parts stand: a took effect; ")


def test_an_undo_that_was_interrupted_goes_to_its_end() -> None:
    """One part was taken back before the crash: the undo takes back the rest, and the whole is as before."""
    far = failing()
    run, book, made = planned(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    far.put("c", {"value": 3}, by="muster/u")
    assert run.reconcile_undo(made, after=after).mixed
    assert run.undo(made, after=after, key="u2").status is OutcomeStatus.APPLIED
    assert values(far) == [1, 2, 3]


def test_an_undo_that_fails_halfway_sets_again_what_it_took_back() -> None:
    """The second part refuses to be taken back: the third, which was, is set again, so that the whole still stands."""
    far = failing(fails={5: Rejected("it is closed")})
    run, book, made = planned(far)
    after = run.execute(made, runbook=book, labels=LABELS, key="k").after
    back = run.undo(made, after=after, key="u")
    assert (back.status, values(far)) == (OutcomeStatus.REFUSED, [9, 9, 9])


def test_the_tier_is_the_highest_of_all_parts() -> None:
    """A sequence is as dangerous as its most dangerous part, whatever its steps are called."""
    far = failing()
    far.operations = tuple(one if one.reads else one.model_copy(update={"tier": Tier.R2}) for one in far.operations)
    assert planned(far)[2].tier is Tier.R2


def test_two_steps_on_one_target_have_no_plan() -> None:
    """What would be put back would not be clear, so there is no plan at all."""
    with pytest.raises(PlanRefused, match="the same target"):
        planned(failing(), steps=[STEPS[0], STEPS[0]])


def test_a_sequence_is_found_by_its_parts_backends() -> None:
    """Each part is carried out by the backend that it was planned with; one that is no longer there means no execution."""
    far = failing()
    _, book, made = planned(far)
    gone = runner(backend())
    outcome = gone.execute(made, runbook=book, labels=LABELS, key="k")
    assert outcome.status is OutcomeStatus.REFUSED
    assert values(far) == [1, 2, 3]
    assert Registry([far]).planned(made.call).name == "sequence"


def test_a_ramp_doubles() -> None:
    """First one, then two, then four, and at the end what is left."""
    done, sizes = 0, []
    while done < 10:
        sizes.append(size(done, total=10))
        done += sizes[-1]
    assert sizes == [1, 2, 4, 3]


def test_a_stage_is_a_plan_of_its_own() -> None:
    """The middle of a sequence can be carried out, looked at and taken back without touching the rest."""
    far = failing()
    run, book, made = planned(far)
    middle = part_of(made, 1, 2)
    outcome = run.execute(middle, runbook=book, labels=LABELS, key="k")
    assert (outcome.status, values(far)) == (OutcomeStatus.APPLIED, [1, 9, 3])
    assert run.reconcile(middle).status is OutcomeStatus.APPLIED
    assert run.reconcile(part_of(made, 2, 3)).status is OutcomeStatus.REFUSED
    assert run.undo(middle, after=outcome.after, key="u").status is OutcomeStatus.APPLIED
    assert values(far) == [1, 2, 3]


def test_a_ramp_without_steps_changes_each_of_its_targets() -> None:
    """The operation's target is each of `targets` in turn, and the runbook leaves it out of `with`."""
    made = plan(
        runner(failing()),
        runbook(action(**{"with": {"value": "{{ parameters.value }}"}, "targets": list(NAMES), "ramp": {"pause": "1m"},
                          "parameters": {"value": {"type": "integer", "title": "Value", "default": 9, "minimum": 2, "maximum": 12}}})),
    )  # fmt: skip
    assert [one.target for one in made.proposal.parts] == list(NAMES)


def test_a_part_that_was_done_in_part_is_not_taken_for_done() -> None:
    """Where a look says that the change stands with a caveat, the outcome stays unknown, and the whole carries the caveat with its part."""

    class Half(RecordingBackend):
        """Changes its memory and not its file, and says so."""

        def read(self, call: Call, *, timeout: float) -> Reading:
            found = super().read(call, timeout=timeout)
            return found.model_copy(update={"facts": {"caveat": "But its file says 2."}} if found.value == {"value": 9} else {})

    far = Half()
    for name in NAMES:
        far.put(name, {"value": 2})
    whole = Several(Registry([far]).planned)
    calls = [Call(operation="thing.set", target=name, arguments={"target": name, "value": 9}, environment="production") for name in NAMES]
    call = several(calls, environment="production", service=None)
    before = whole.read(call, timeout=5)
    far.chaos = Chaos.AFTER
    with pytest.raises(OutcomeUnknown, match="The recording broke off"):
        whole.apply(call, [{"value": 9}] * 3, expected=before, key="k", timeout=5)
    assert values(far) == [9, 2, 2]
    assert whole.read(call, timeout=5).facts["caveat"] == "a: But its file says 2."


def test_two_settings_of_one_target_are_told_apart() -> None:
    """Where the retries and the route of one target are changed together, what happened to which is said by operation."""
    route = SET.model_copy(update={"name": "route.move"})
    routes = RecordingBackend(operations=(route,), name="routes")
    far = failing()
    routes.put("a", {"value": 1})
    calls = [
        Call(operation=operation, target="a", arguments={"target": "a", "value": 9}, environment="production")
        for operation in ("thing.set", "route.move")
    ]
    call, whole = several(calls, environment="production", service=None), Several(Registry([far, routes]).planned)
    before = whole.read(call, timeout=5)
    far.put("a", {"value": 9})
    standing = whole.standing(call, whole.read(call, timeout=5), before=before, wanted=[{"value": 9}, {"value": 9}])
    assert standing.text == "thing.set a took effect; route.move a did not."


def test_a_whole_inside_a_whole_is_taken_back_in_its_own_reverse_order() -> None:
    """A part that is several itself, as a release unit is, goes back last one first like everything else."""
    far = failing()
    registry = Registry([far])
    inner = several(
        [Call(operation="thing.set", target=name, arguments={"target": name, "value": 9}, environment="production") for name in NAMES[:2]],
        environment="production",
        service=None,
    )
    last = Call(operation="thing.set", target="c", arguments={"target": "c", "value": 9}, environment="production")
    call, whole = several([inner, last], environment="production", service=None), Several(registry.planned)
    before = whole.read(call, timeout=5)
    after = whole.apply(call, [[{"value": 9}, {"value": 9}], {"value": 9}], expected=before, key="k", timeout=5)
    whole.take_back(call, before.value, expected=after, key="u", timeout=5)
    assert [effect.target for effect in far.effects] == ["a", "b", "c", "c", "b", "a"]


def test_the_backend_raises_only_errors_of_the_contract() -> None:
    """A conflict is a conflict of the whole, with the present state of all parts, and every error names the part."""
    far = failing(spoils={1: Chaos.CONFLICT})
    whole = Several(lambda _call: far)
    parts = [Call(operation="thing.set", target=name, arguments={"target": name, "value": 9}) for name in NAMES]
    call = several(parts, environment=None, service=None)
    before = whole.read(call, timeout=5)
    with pytest.raises(Conflict, match="a") as refused:
        whole.apply(call, whole.propose(call, before).value, expected=before, key="k", timeout=5)
    assert refused.value.current.value == [{"value": 99}, {"value": 2}, {"value": 3}]
    far.spoils = {far.calls + 1: Chaos.HANG}
    with pytest.raises(OutcomeUnknown, match="a: The recording did not answer"):
        whole.apply(call, [{"value": 9}] * 3, expected=whole.read(call, timeout=5), key="k2", timeout=5)
