from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.planning import PlanRefused, argument
from actions.testing import RecordingBackend
from runbooks.operation import Argument, ArgumentType, Plan
from tests import acting
from tests.acting import LABELS, action, plan, runbook, runner

_anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2), st.just({"relative": 2})
)


def attempted(make: Callable[[], Plan]) -> tuple[Plan | None, str | None]:
    """The plan, or the name of the reason why there is none."""
    try:
        return make(), None
    except PlanRefused as refused:
        return None, refused.reason


@given(value=_anything)
def test_s2_whatever_is_chosen_a_plan_stays_within_its_bounds(value: Any) -> None:
    """Any choice gives either a whole number within the bounds or a refusal in a sentence; never anything else."""
    made, reason = attempted(lambda: plan(runner(acting.backend()), runbook(), parameters={"value": value}))
    if made is None:
        assert reason in {"wrong_type", "out_of_bounds", "changes_nothing"}
    else:
        found = made.proposal.value["value"]
        assert type(found) is int
        assert 2 <= found <= 12


@given(value=_anything, kind=st.sampled_from(ArgumentType), low=st.none() | st.integers(-5, 5), high=st.none() | st.integers(6, 20))
def test_s2_an_argument_has_its_type_and_bounds(value: Any, kind: ArgumentType, low: int | None, high: int | None) -> None:
    """What passes has the declared type and lies within the declared bounds."""
    bounded = kind in {ArgumentType.INTEGER, ArgumentType.NUMBER}
    declared = Argument(type=kind, minimum=low if bounded else None, maximum=high if bounded else None, required=False)
    try:
        found = argument("x", declared, value)
    except PlanRefused:
        return
    types = {ArgumentType.INTEGER: int, ArgumentType.NUMBER: (int, float), ArgumentType.TEXT: str, ArgumentType.BOOLEAN: bool}
    assert value is None or kind is ArgumentType.ANY or isinstance(found, types[kind])  # type: ignore[arg-type]
    if bounded and found is not None:
        assert not isinstance(found, bool)
        assert low is None or found >= low
        assert high is None or found <= high


@given(label=st.text(max_size=30))
def test_s29_no_label_makes_a_target_that_is_not_listed(label: str) -> None:
    """Whatever an alert's label says, the plan touches the listed target or nothing."""
    run = runner(acting.backend())
    labels = {**LABELS, "model": label}
    made, reason = attempted(
        lambda: run.plan(action(), runbook=runbook(), labels=labels, parameters={}, environment="production", plan_id="p")
    )
    if made is None:
        assert reason in {"target_not_allowed", "label_missing"}
    else:
        assert made.call.target == "thing/reranker-v3"


@pytest.mark.parametrize(
    ("parameter", "chosen", "expected"),
    [
        ({"type": "choice", "title": "V", "choices": [3, 5]}, "5", 5),
        ({"type": "choice", "title": "V", "choices": [3, 5]}, 5, 5),
        ({"type": "choice", "title": "V", "choices": [3, 5], "default": 3}, None, 3),
        ({"type": "number", "title": "V", "minimum": 0, "maximum": 9}, "4.5", 4.5),
        ({"type": "integer", "title": "V"}, "7", 7),
    ],
)
def test_what_a_form_delivers_becomes_the_value_meant(parameter: dict[str, Any], chosen: Any, expected: Any) -> None:
    """Text from a form counts as the choice or number it says; a default stands in where nothing was chosen."""
    book = runbook(action(parameters={"value": parameter}))
    made = plan(runner(acting.backend()), book, parameters={} if chosen is None else {"value": chosen})
    assert made.proposal.value == {"value": expected}


@pytest.mark.parametrize(
    ("parameter", "chosen", "reason"),
    [
        ({"type": "choice", "title": "V", "choices": [3, 5]}, 4, "not_a_choice"),
        ({"type": "choice", "title": "V", "choices": [1, 5]}, True, "not_a_choice"),
        ({"type": "choice", "title": "V"}, 4, "no_choices"),
        ({"type": "target", "title": "V"}, "thing/other", "not_a_choice"),
        ({"type": "integer", "title": "V"}, None, "parameter_missing"),
        ({"type": "boolean", "title": "V"}, "true", "wrong_type"),
    ],
)
def test_what_is_no_choice_is_refused_with_its_field(parameter: dict[str, Any], chosen: Any, reason: str) -> None:
    """A value outside the choices, a missing one and one of another type are refused, and the refusal names the form's field."""
    book = runbook(action(parameters={"value": parameter}))
    with pytest.raises(PlanRefused) as refused:
        plan(runner(acting.backend()), book, parameters={} if chosen is None else {"value": chosen})
    assert (refused.value.reason, refused.value.parameter) == (reason, "value")


def test_a_target_may_be_chosen_from_the_list() -> None:
    """A parameter of type target offers the runbook's targets, and the chosen one is what the plan touches."""
    chosen = action(
        targets=["thing/reranker-v3", "thing/other"],
        parameters={"where": {"type": "target", "title": "Where", "default": "thing/reranker-v3"}},
        cost={"money": "none", "quality": "none", "latency": "none"},
        **{"with": {"target": "{{ parameters.where }}", "value": 9}},
    )
    recording: RecordingBackend = acting.backend(**{"thing/other": 1})
    made = plan(runner(recording), runbook(chosen), parameters={"where": "thing/other"})
    assert (made.call.target, made.before.value) == ("thing/other", {"value": 1})
