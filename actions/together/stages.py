"""A ramp's stages: first one part of a plan, then two, then four (rule S13). Each stage is a plan of its own."""

from actions.together.several import several
from runbooks.operation import Call, Plan, Reading
from runbooks.run import ActionRun


def size(done: int, *, total: int) -> int:
    """How many parts the next stage has, after so many are done: 1, then 2, 4, 8."""
    return min(done + 1, total - done)


def total(plan: Plan) -> int:
    """How many parts a plan has."""
    return len(plan.proposal.parts)


def part_of(plan: Plan, start: int, stop: int) -> Plan:
    """The parts from `start` up to `stop` as a plan that can be carried out, looked at and taken back alone."""
    calls = [Call.model_validate(one) for one in plan.call.arguments["parts"][start:stop]]
    parts = plan.proposal.parts[start:stop]
    proposal = plan.proposal.model_copy(
        update={
            "value": plan.proposal.value[start:stop],
            "parts": parts,
            "before_text": ", ".join(f"{one.target} {one.before_text}" for one in parts),
            "after_text": ", ".join(f"{one.target} {one.after_text}" for one in parts),
        }
    )
    readings = [Reading.model_validate(one) for one in plan.before.facts["parts"][start:stop]]
    call = several(calls, environment=plan.call.environment, service=plan.call.service)
    return plan.model_copy(update={"call": call, "before": together(readings), "proposal": proposal})


def together(readings: list[Reading]) -> Reading:
    """The readings of several parts as one, as `actions.together.several.Several` reads them."""
    revisions = [one.revision for one in readings]
    return Reading(
        value=[one.value for one in readings],
        facts={"parts": [one.model_dump(mode="json") for one in readings]},
        revision=" ".join(one for one in revisions if one) if all(revisions) else None,
    )


def carried_out(run: ActionRun) -> tuple[Plan, Reading | None]:
    """What of a run's plan was, or may have been, carried out, and how it was left where that was seen.

    Without a ramp that is the whole plan. Of a ramp it is every stage that was begun: where the last one is in doubt, nobody saw the whole.
    """
    assert run.plan is not None
    after = run.outcome.after if run.outcome else None
    if run.ramp is None:
        return run.plan, after
    begun = run.ramp.done + run.ramp.at_work
    return part_of(run.plan, 0, begun), None if run.ramp.at_work else after
