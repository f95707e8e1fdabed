"""How much a change touches, against the runbook's ceiling and floor (rule S13)."""

from typing import Any

import pytest
from pydantic import ValidationError

from actions import radius
from actions.testing import RecordingBackend
from runbooks.operation import Call, Check, OutcomeStatus, Proposal, ProposedPart, Reading
from runbooks.runbook import Guards
from tests import acting
from tests.acting import LABELS, action, runbook


class Pool(RecordingBackend):
    """A recording backend that says how many of its instances are well."""

    healthy = 8

    def read(self, call: Call, *, timeout: float) -> Reading:
        """The reading, with that fact."""
        return super().read(call, timeout=timeout).model_copy(update={"facts": {"ready": self.healthy}})


def checked(guards: dict[str, Any], before: Any, after: Any, *, count: int = 1, **facts: Any) -> Check | None:
    """The pre-check of a change from one value to another."""
    proposal = Proposal(value=after, before_text=str(before), after_text=str(after), count=count)
    return radius.check(Guards.model_validate(guards), Reading(value=before, facts=facts), proposal)


@pytest.mark.parametrize(
    ("guards", "before", "after", "more", "holds"),
    [
        ({"most": "50%"}, {"replicas": 8}, {"replicas": 4}, {}, True),
        ({"most": "50%"}, {"replicas": 8}, {"replicas": 3}, {}, False),
        ({"most": 2}, {"replicas": 8}, {"replicas": 6}, {}, True),
        ({"most": 2}, {"replicas": 8}, {"replicas": 5}, {}, False),
        ({"most": 1, "floor": 4}, {"replicas": 2}, {"replicas": 12}, {}, True),
        ({"floor": 4}, {"replicas": 8}, {"replicas": 4}, {}, True),
        ({"floor": 4}, {"replicas": 8}, {"replicas": 4}, {"ready": 7}, False),
        ({"most": "50%"}, "v7", "v6", {"count": 3, "units": 6}, True),
        ({"most": "50%"}, "v7", "v6", {"count": 4, "units": 6}, False),
        ({"most": 3}, "v7", "v6", {"count": 4}, False),
        ({"floor": 2}, "v7", "v6", {"count": 4, "units": 6, "ready": 5}, False),
        ({"most": "50%"}, "v7", "v6", {}, None),
        ({"most": "50%"}, "v7", "v6", {"count": 4}, None),
        ({"floor": 1}, "v7", "v6", {"count": 2}, None),
        ({"most": 1, "floor": 1}, "v7", "v6", {"count": 2}, False),
    ],
)
def test_s13_a_ceiling_and_a_floor(guards: dict[str, Any], before: Any, after: Any, more: dict[str, Any], holds: bool | None) -> None:
    """What is touched is compared with what there is; what is not known does not hold, and what only adds always does."""
    found = checked(guards, before, after, **more)
    assert found is not None
    assert found.holds is holds
    assert found.text.startswith("Blast radius: ")
    assert found.text.endswith(".")


def test_s13_without_a_limit_there_is_no_check() -> None:
    """A runbook that names neither is not bothered."""
    assert checked({}, {"replicas": 8}, {"replicas": 0}) is None


@pytest.mark.parametrize("guards", [{"most": 3}, {"most": "50%"}, {"floor": 1}])
def test_s13_several_changes_as_one_are_refused_in_words_rather_than_miscounted(guards: dict[str, Any]) -> None:
    """A limit over several targets, a release unit's parts among them, does not hold, and the sentence says what to do about it."""
    parts = tuple(ProposedPart(name=one, target=one, before_text="4 replicas", after_text="3 replicas") for one in ("eu", "us"))
    proposal = Proposal(value=[{"replicas": 3}, {"replicas": 3}], before_text="", after_text="", parts=parts)
    found = radius.check(Guards.model_validate(guards), Reading(value=[{"replicas": 4}, {"replicas": 4}]), proposal)
    assert found is not None
    assert found.holds is None
    assert found.text.startswith("Blast radius: 2 changes as one (eu, us) are not counted together")
    assert "`ramp`" in found.text


@pytest.mark.parametrize("most", ["0%", "101%", "half", 0, True, 1.5])
def test_s13_a_ceiling_is_a_number_or_a_share(most: Any) -> None:
    """Anything else is refused when the runbook is loaded."""
    with pytest.raises(ValidationError):
        Guards.model_validate({"most": most})


def test_s13_checked_again_at_the_last_moment_against_the_live_reading() -> None:
    """Instances that fell ill between plan and click count: nothing is changed, and the sentence says how many would stay."""
    recording = Pool()
    recording.put("thing/reranker-v3", {"value": 8})
    fixed = {"target": "thing/{{ alert.labels.model }}", "value": 4}
    free = {"money": "none", "quality": "none", "latency": "none"}
    guarded = action(guards={"floor": 4}, parameters={}, cost=free, **{"with": fixed})
    book, run = runbook(guarded), acting.runner(recording)
    made = acting.plan(run, book)
    assert not made.blocked_by
    recording.healthy = 5
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert outcome.status is OutcomeStatus.REFUSED
    assert "1 would stay healthy, at least 4 must" in outcome.reason
    assert not recording.effects
