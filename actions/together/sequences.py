"""From a runbook's sequence to one call: each step is planned like an action of its own, and all of them are one plan (rule S24)."""

from collections.abc import Callable, Iterator, Mapping

from actions import planning
from actions.planning import PlanRefused, Request
from actions.registry import Registry
from actions.together.several import several
from runbooks.checks.arguments import mentions
from runbooks.operation import Call, Operation
from runbooks.runbook import Action
from runbooks.severity import Tier
from runbooks.value import Json


def joined(request: Request, *, registry: Registry, raised_by: int, left: Callable[[], float]) -> tuple[Call, dict[str, Json], Tier]:
    """The steps as one call, the parameters as they are now absolute, and the highest tier of all.

    A parameter that is relative to a target's present value is relative to that of the first step which uses it.

    Raises:
        PlanRefused: a step has no plan, or two of them have the same target.
        BackendError: a present value could not be read.
        NotFound: nobody serves an operation here.
    """
    planning.no_unknown(request)
    known: dict[str, Json] = dict(request.chosen)
    calls: list[Call] = []
    tier = request.action.tier
    for part, operation in expanded(request.action, registry.catalogue):
        chosen = {name: known[name] for name in part.parameters if name in known}
        step = Request(
            action=part,
            operation=operation,
            labels=request.labels,
            chosen=chosen,
            environment=request.environment,
            service=request.service,
        )
        first = planning.first_call(step)
        bound = registry.bound(operation.name, request.environment, request.service, target=first.target)
        first = first.model_copy(update={"backend": bound.name})
        call, found = planning.full_call(step, first, bound.backend.read(first, timeout=left()))
        known |= found
        calls.append(call)
        tier = max(tier, planning.tier_of(part, operation, raised_by=raised_by), key=lambda one: one.rank)
    _must_differ(request.action, calls)
    return several(calls, environment=request.environment, service=request.service), known, tier


def expanded(action: Action, catalogue: Mapping[str, Operation]) -> Iterator[tuple[Action, Operation]]:
    """Each change of a sequence as an action of its own: one for each step, or for a ramp without steps one for each target.

    Raises:
        PlanRefused: nobody offers an operation, or its present state cannot be read or planned.
    """
    if action.steps:
        for step in action.steps:
            yield _alone(action, _operation(step.uses, catalogue), uses=step.uses, with_=step.with_, targets=step.targets)
        return
    operation = _operation(action.uses, catalogue)
    for target in action.targets:
        yield _alone(action, operation, uses=action.uses, with_={**action.with_, str(operation.target): target}, targets=(target,))


def _alone(
    action: Action, operation: Operation, *, uses: str, with_: Mapping[str, Json], targets: tuple[str, ...]
) -> tuple[Action, Operation]:
    used = {name: parameter for name, parameter in action.parameters.items() if any(mentions(value, name) for value in with_.values())}
    changed = {"uses": uses, "with_": dict(with_), "targets": targets, "parameters": used, "steps": (), "ramp": None}
    return action.model_copy(update=changed), operation


def _operation(name: str, catalogue: Mapping[str, Operation]) -> Operation:
    found = catalogue.get(name)
    if found is None:
        raise PlanRefused("no_backend", f"No backend is configured for {name}.")
    if found.reads or not (found.looks and found.plans and found.target):
        raise PlanRefused("not_in_sequence", f"{name} cannot be one of several: what it changes could not be looked up after a crash.")
    return found


def _must_differ(action: Action, calls: list[Call]) -> None:
    targets = [(call.backend, call.operation, call.target) for call in calls]
    if len(set(targets)) < len(targets):
        raise PlanRefused("same_target", f"{action.title}: two of its steps change the same target.")
