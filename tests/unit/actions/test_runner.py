from datetime import timedelta
from typing import Any

import pytest

from actions.contract import BackendError, NotPermitted, Rejected, TargetMissing, Throttled
from actions.planning import PlanRefused
from actions.registry import Registry
from actions.runner import Limits, Runner
from actions.testing import SET, Chaos, RecordingBackend
from runbooks.operation import Call, OutcomeStatus, Reading
from runbooks.severity import Tier
from tests import acting
from tests.acting import LABELS, NOW, action, backend, plan, runbook, runner

TARGET = "thing/reranker-v3"


def execute(run: Runner, made: Any, book: Any, key: str = "k") -> Any:
    return run.execute(made, runbook=book, labels=LABELS, key=key)


def test_s6_plan_says_what_will_change_and_how_it_ends() -> None:
    """A plan names before and after, effect, cost, undo and end, with the relative default made absolute."""
    made = plan(runner(backend()), runbook())
    assert made.call.target == TARGET
    assert made.before.value == {"value": 2}
    assert made.proposal.value == {"value": 4}
    assert made.parameters == {"value": 4}
    assert made.tier is Tier.R1
    assert made.effect == "Should bring load under 50 % within 5 min. Watched; if it does not, you are asked."
    assert made.undo.startswith("After 4 h: back to value 2, by itself. Undo at any time before.")
    assert made.cost == {"money": "4 USD an hour", "quality": "none", "latency": "none"}
    assert made.ends_after == 4 * 3600
    assert made.made_at == made.before.read_at == NOW


def test_planning_changes_nothing() -> None:
    """However often something is planned, no effect reaches the world."""
    recording = backend()
    for number in range(3):
        plan(runner(recording), runbook(), plan_id=str(number))
    assert recording.effects == []


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"value": 13}, "out_of_bounds"),
        ({"value": 1}, "out_of_bounds"),
        ({"value": "13"}, "out_of_bounds"),
        ({"value": 2.5}, "wrong_type"),
        ({"value": True}, "wrong_type"),
        ({"value": "many"}, "wrong_type"),
        ({"value": "nan"}, "wrong_type"),
        ({"value": "inf"}, "wrong_type"),
        ({"value": [4]}, "wrong_type"),
        ({"other": 4}, "unknown_parameter"),
        ({"value": 2}, "changes_nothing"),
    ],
)
def test_s2_parameters_are_typed_and_bounded(parameters: dict[str, Any], reason: str) -> None:
    """A parameter of the wrong type, out of bounds or unknown gives no plan, and the refusal names why."""
    recording = backend()
    with pytest.raises(PlanRefused) as refused:
        plan(runner(recording), runbook(), parameters=parameters)
    assert refused.value.reason == reason
    assert str(refused.value).endswith(".")
    assert recording.effects == []


def test_s2_a_form_may_deliver_a_number_as_text() -> None:
    """Slack's number field delivers text; it counts as the number it says."""
    assert plan(runner(backend()), runbook(), parameters={"value": "6"}).proposal.value == {"value": 6}


def test_relative_default_beyond_the_bounds_gives_no_plan() -> None:
    """A relative default that would pass the absolute bound is refused, not clamped."""
    recording = backend()
    recording.put(TARGET, {"value": 11})
    with pytest.raises(PlanRefused, match="Value would be 13; allowed is 2 to 12") as refused:
        plan(runner(recording), runbook())
    assert refused.value.parameter == "value"


def test_relative_default_without_a_present_number_is_refused() -> None:
    """Where the present value is no number, a relative default cannot be resolved and nothing is guessed."""
    recording = backend()
    recording.put(TARGET, {"value": None})
    with pytest.raises(PlanRefused) as refused:
        plan(runner(recording), runbook())
    assert refused.value.reason == "no_present_value"


@pytest.mark.parametrize("model", ["answers-v7", "reranker-v3/../x", "{{ 7*7 }}", "reranker-v3 "])
def test_s2_only_listed_targets_are_touched(model: str) -> None:
    """A label cannot steer an action to a target that the runbook does not list."""
    run = runner(backend(**{"thing/answers-v7": 1}))
    with pytest.raises(PlanRefused) as refused:
        run.plan(action(), runbook=runbook(), labels={"model": model, "service": "a"}, parameters={}, environment="production", plan_id="p")
    assert refused.value.reason == "target_not_allowed"


def test_missing_label_withholds_the_action() -> None:
    """An alert without a label that the target needs gives no plan, and the refusal says which label."""
    with pytest.raises(PlanRefused, match="label model missing") as refused:
        runner(backend()).plan(action(), runbook=runbook(), labels={}, parameters={}, environment="production", plan_id="p")
    assert refused.value.reason == "label_missing"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Tier.R1),
        ({"tier": "R2"}, Tier.R2),
        ({"tier": "R0"}, Tier.R1),
        ({"undo": {"to": "not-possible"}}, Tier.R3),
    ],
)
def test_s3_a_runbook_may_raise_the_tier_and_never_lower_it(changed: dict[str, Any], expected: Tier) -> None:
    """The plan's tier is the higher of operation and runbook, and R3 where nothing can be undone."""
    book = runbook(action(**changed))
    assert plan(runner(backend()), book).tier is expected


def test_s6_a_backend_that_cannot_plan_says_so_and_the_tier_rises() -> None:
    """Without a proposal the plan says that it is unknown what will change, one tier higher."""
    recording = backend()
    recording.operations = (SET.model_copy(update={"plans": False}), recording.operations[1])
    made = plan(runner(recording), runbook(), parameters={"value": 5})
    assert made.tier is Tier.R2
    assert "cannot say beforehand" in made.proposal.note


def test_s14_a_repetition_raises_the_tier() -> None:
    """What guards add for a repetition is part of the plan, and so of its hash."""
    run, book = runner(backend()), runbook()
    assert plan(run, book, raised_by=1).tier is Tier.R2
    assert plan(run, book, raised_by=1).hash != plan(run, book).hash


def test_s5_requires_stand_on_the_plan_with_their_result() -> None:
    """A pre-check is shown with its measurement; unmet or without data it blocks, and does not hide the plan."""
    recording, book = backend(), runbook(action(guards={"requires": {"load": "> 0.8"}}))
    made = plan(runner(recording), book)
    assert [(check.name, check.holds) for check in made.checks] == [("load", True)]
    recording.answers["load"] = {"rows": [], "value": 0.3}
    unmet = plan(runner(recording), book)
    assert unmet.checks[0].holds is False
    assert unmet.checks[0].text == "Load is 30 %, but must be over 80 %."
    recording.answers.clear()
    assert plan(runner(recording), book).checks[0].holds is None


def test_executes_once_as_planned() -> None:
    """A plan executed changes the target to the proposed value, by compare-and-set, with the key sent along."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    outcome = execute(run, made, book, key="key-7")
    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.after is not None
    assert outcome.after.value == {"value": 4}
    assert [(effect.target, effect.value, effect.key) for effect in recording.effects] == [(TARGET, {"value": 4}, "key-7")]


def test_s7_drift_after_planning_is_refused() -> None:
    """If somebody changed the target since the plan, nothing is changed and the sentence says who and to what."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    recording.put(TARGET, {"value": 7}, by="ben")
    outcome = execute(run, made, book)
    assert outcome.status is OutcomeStatus.REFUSED
    assert "was changed by ben meanwhile; now it is: value 7." in outcome.reason
    assert recording.effects == []


def test_s7_changed_and_changed_back_is_drift_too() -> None:
    """The same value at another revision is not the state that was approved."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    recording.put(TARGET, {"value": 7}, by="ben")
    recording.put(TARGET, {"value": 2}, by="ben")
    outcome = execute(run, made, book)
    assert outcome.status is OutcomeStatus.REFUSED
    assert "changed and changed back" in outcome.reason


def test_s5_requires_are_measured_again_at_execution() -> None:
    """A pre-check that held when planned and does not hold now refuses the run."""
    recording, book = backend(), runbook(action(guards={"requires": {"load": "> 0.8"}}))
    run = runner(recording)
    made = plan(run, book)
    recording.answers["load"] = {"rows": [], "value": 0.3}
    outcome = execute(run, made, book)
    assert outcome.status is OutcomeStatus.REFUSED
    assert "Load is 30 %" in outcome.reason
    recording.answers.clear()
    assert execute(run, made, book).status is OutcomeStatus.REFUSED
    assert recording.effects == []


@pytest.mark.parametrize(
    ("chaos", "status", "effects"),
    [
        (Chaos.BEFORE, OutcomeStatus.REFUSED, 0),
        (Chaos.AFTER, OutcomeStatus.UNKNOWN, 1),
        (Chaos.HANG, OutcomeStatus.UNKNOWN, 0),
        (Chaos.CONFLICT, OutcomeStatus.REFUSED, 0),
    ],
)
def test_s20_certain_and_unknown_are_told_apart(chaos: Chaos, status: OutcomeStatus, effects: int) -> None:
    """What surely did not happen is refused; what may have happened is unknown, and looking tells which."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    recording.chaos = chaos
    outcome = execute(run, made, book)
    assert outcome.status is status
    assert outcome.reason.endswith(".")
    assert len(recording.effects) == effects
    if status is OutcomeStatus.UNKNOWN:
        looked = run.reconcile(made)
        assert looked.status is (OutcomeStatus.APPLIED if effects else OutcomeStatus.REFUSED)
        assert len(recording.effects) == effects


def test_s20_reconcile_leaves_a_strangers_change_to_a_person() -> None:
    """If the target is neither as before nor as planned, nobody but a person can say what happened."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    recording.put(TARGET, {"value": 9}, by="ben")
    looked = run.reconcile(made)
    assert looked.status is OutcomeStatus.UNKNOWN
    assert "by ben" in looked.reason


def test_s20_reconcile_that_cannot_look_stays_unknown() -> None:
    """A look that fails proves nothing, whatever the error; a 429 hands on how long to wait."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    for error in (Throttled("wait", retry_after=7), NotPermitted("no"), TargetMissing("gone")):
        failing = runner(Failing(error))
        looked = failing.reconcile(made)
        assert looked.status is OutcomeStatus.UNKNOWN
        assert looked.retry_after == getattr(error, "retry_after", None)


def test_s22_undo_puts_back_the_state_from_before() -> None:
    """An undo restores the captured value, as one more compare-and-set."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    outcome = execute(run, made, book)
    undone = run.undo(made, after=outcome.after, key="u")
    assert undone.status is OutcomeStatus.APPLIED
    assert undone.after is not None
    assert undone.after.value == {"value": 2}
    assert [effect.key for effect in recording.effects] == ["k", "u"]


@pytest.mark.parametrize("seen", [True, False])
def test_s22_undo_does_not_overwrite_a_stranger(seen: bool) -> None:
    """If somebody changed the target after the run, undo says so and leaves it, whether or not the run's end was seen."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    outcome = execute(run, made, book)
    recording.put(TARGET, {"value": 9}, by="ben")
    undone = run.undo(made, after=outcome.after if seen else None, key="u")
    assert undone.status is OutcomeStatus.REFUSED
    assert "by ben" in undone.reason
    assert "not overwritten" in undone.reason
    assert recording.things[TARGET].value == {"value": 9}


def test_s22_undo_of_what_is_already_back_does_nothing() -> None:
    """If the target already is as before, undo is done without a change."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    outcome = execute(run, made, book)
    recording.put(TARGET, {"value": 2}, by="ben")
    assert run.undo(made, after=outcome.after, key="u").status is OutcomeStatus.APPLIED
    assert len(recording.effects) == 1


@pytest.mark.parametrize(("chaos", "status"), [(Chaos.AFTER, OutcomeStatus.APPLIED), (Chaos.HANG, OutcomeStatus.REFUSED)])
def test_s22_an_undo_of_unknown_outcome_is_reconciled_by_looking(chaos: Chaos, status: OutcomeStatus) -> None:
    """After a lost answer, looking tells whether the undo took effect."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    outcome = execute(run, made, book)
    recording.chaos = chaos
    assert run.undo(made, after=outcome.after, key="u").status is OutcomeStatus.UNKNOWN
    assert run.reconcile_undo(made, after=outcome.after).status is status


def test_s11_scaling_undoing_and_scaling_again_works() -> None:
    """Each planning has its own id and key, so the same change can be made again after an undo."""
    recording = backend()
    run, book = runner(recording), runbook()
    first = plan(run, book, plan_id="p1")
    outcome = execute(run, first, book, key="k1")
    run.undo(first, after=outcome.after, key="u1")
    second = plan(run, book, plan_id="p2")
    assert first.hash != second.hash
    assert execute(run, second, book, key="k2").status is OutcomeStatus.APPLIED
    assert recording.things[TARGET].value == {"value": 4}


class Failing(RecordingBackend):
    """A recording backend on which every call fails in one way."""

    def __init__(self, error: BackendError) -> None:
        super().__init__(operations=(SET, *acting.backend().operations[1:]))
        self.error = error

    def read(self, call: Call, *, timeout: float) -> Reading:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TargetMissing("x has no y."), "target_missing"), (NotPermitted("No."), "not_permitted"), (Rejected("No."), "rejected")],
)
def test_a_backends_refusal_is_a_named_reason(error: BackendError, reason: str) -> None:
    """What the far side refuses while planning is a refusal with the error's name and its sentence."""
    with pytest.raises(PlanRefused) as refused:
        plan(runner(Failing(error)), runbook())
    assert refused.value.reason == reason


def test_s17_a_run_that_has_used_up_its_time_sends_nothing_more() -> None:
    """When reading took all the time there was, the change is not even tried, and the outcome is certain."""
    recording = backend()
    clock = iter(float(10 * second) for second in range(100))
    run = Runner(registry=Registry([recording]), now=lambda: NOW, limits=Limits(execute=15), monotonic=lambda: next(clock))
    made = plan(runner(recording), runbook())
    outcome = execute(run, made, runbook())
    assert outcome.status is OutcomeStatus.REFUSED
    assert "time limit" in outcome.reason
    assert recording.effects == []


def test_s19_what_a_backend_says_is_redacted() -> None:
    """A secret in an error from outside reaches neither the plan's refusal nor an outcome."""
    secret = "xoxb-123456789012-abcdefghijkl"
    with pytest.raises(PlanRefused) as refused:
        plan(runner(Failing(Rejected(f"token={secret} is bad"))), runbook())
    assert secret not in str(refused.value)


def test_another_environment_is_not_reached() -> None:
    """A backend bound to production does not serve an incident in staging."""
    with pytest.raises(PlanRefused) as refused:
        runner(backend()).plan(action(), runbook=runbook(), labels=LABELS, parameters={}, environment="staging", plan_id="p")
    assert refused.value.reason == "no_backend"
    assert "staging" in str(refused.value)


def test_a_diagnostic_cannot_change_anything() -> None:
    """A diagnostic that names a changing operation is answered without asking the backend."""
    recording, book = backend(), runbook()
    wrong = book.header.diagnostics[0].model_copy(update={"uses": "thing.set"})
    assert runner(recording).measure(wrong, labels=LABELS, environment="production").error == "thing.set does not only read."
    assert recording.reads == 0


def test_a_diagnostic_is_measured_with_its_number_and_text() -> None:
    """A measurement carries the number for thresholds and the text for people, at the clock's time."""
    found = runner(backend()).measure(runbook().header.diagnostics[0], labels=LABELS, environment="production")
    assert (found.value, found.text, found.measured_at) == (0.96, "96 %", NOW)


def test_missing_data_is_never_zero() -> None:
    """An empty answer and a failing server both are no data, and the latter says why."""
    recording = backend()
    recording.answers["load"] = {"rows": [], "value": None}
    load = runbook().header.diagnostics[0]
    empty = runner(recording).measure(load, labels=LABELS, environment="production")
    assert (empty.value, empty.text, empty.error) == (None, "no data", None)
    recording.answers.clear()
    failing = runner(recording).measure(load, labels=LABELS, environment="production")
    assert (failing.value, failing.text) == (None, "no data")
    assert failing.error is not None


def test_zero_is_data() -> None:
    """A measured zero is a number and not missing."""
    recording = backend()
    recording.answers["load"] = {"rows": [{"value": 0.0}], "value": 0.0}
    assert runner(recording).measure(runbook().header.diagnostics[0], labels=LABELS, environment="production").value == 0.0


def test_s27_a_drills_runner_holds_nothing_real() -> None:
    """A drill's registry refuses any backend that is not confined to its world, and ignores the alert's environment."""
    from actions.registry import RegistryInvalid

    for outside in (backend(), RecordingBackend(world="another")):
        with pytest.raises(RegistryInvalid):
            Registry.for_drill([outside], world="drill-1")
    inside = backend()
    inside.world = "drill-1"
    drill = Runner(registry=Registry.for_drill([inside], world="drill-1"), now=lambda: NOW)
    made = drill.plan(action(), runbook=runbook(), labels=LABELS, parameters={}, environment="staging", plan_id="p")
    assert execute(drill, made, runbook()).status is OutcomeStatus.APPLIED


def test_a_page_needs_an_internal_operation() -> None:
    """The paging path cannot be used to change the world without a plan."""
    call = Call(operation="thing.set", target=TARGET, arguments={"value": 3}, environment="production")
    recording = backend()
    with pytest.raises(PlanRefused):
        runner(recording).page(call, key="k")
    assert recording.effects == []


def test_an_approval_is_bound_to_parameters_and_state() -> None:
    """Another parameter, another live state or another planning gives another hash; the words do not."""
    recording = backend()
    run, book = runner(recording), runbook()
    made = plan(run, book)
    assert made.hash == made.model_copy(update={"effect": "other words", "made_at": NOW + timedelta(hours=1)}).hash
    assert made.hash != plan(run, book, parameters={"value": 5}).hash
    assert made.hash != plan(run, book, plan_id="p2").hash
    recording.put(TARGET, {"value": 2}, by="ben")
    assert made.hash != plan(run, book).hash
