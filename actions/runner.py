"""The one way in which Muster changes anything in the world, and the one caller of `Backend.apply`.

It plans, executes, looks, undoes and pages; it never persists. Flows load what it needs, claim the run, and write what came of it.
Every call is bounded in time (rule S17); what comes out as text is redacted (rule S19).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from actions import looking, planning, radius
from actions.comparing import TimeUp, deadline, same
from actions.contract import Backend, BackendError, Conflict, OutcomeUnknown, Throttled, Unreachable
from actions.measuring import failed, measured
from actions.planning import PlanRefused, Request
from actions.redaction import redact
from actions.registry import Registry
from actions.saying import changed, drift, lower, name_of, refused
from actions.together.sequences import joined
from actions.together.several import SEQUENCE, AsOne
from runbooks.errors import LabelMissing, NotFound, TemplateInvalid
from runbooks.operation import AGO, Call, Check, Measurement, Operation, Outcome, OutcomeStatus, Plan, Proposal, Reading
from runbooks.rendering import render_arguments, render_bind
from runbooks.runbook import Action, Diagnostic, Runbook
from runbooks.value import Json

UNPLANNED = "This backend cannot say beforehand what will change."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds for each step, all its calls together. Measuring and executing together stay below a task's lease of 45 seconds."""

    measure: float = 10.0
    plan: float = 20.0
    execute: float = 25.0
    page: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """How a target stands, in words."""

    target: str
    text: str


class Runner:
    """See the module. `now` is the business clock, aware and in UTC; time limits run on the machine's own `monotonic`."""

    def __init__(
        self,
        *,
        registry: Registry,
        now: Callable[[], datetime],
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry, self.limits = registry, limits or Limits()
        self._now, self._monotonic = now, monotonic

    def measure(
        self,
        diagnostic: Diagnostic,
        *,
        labels: Mapping[str, str],
        environment: str | None,
        service: str | None = None,
        ago: float = 0.0,
        timeout: float | None = None,
    ) -> Measurement:
        """Ask one diagnostic. Never raises for what the world does: an error is a measurement without data that says why.

        `ago` is how many seconds before the far side's present it is asked about.
        """
        left = self._left(timeout or self.limits.measure)
        try:
            operation = self.registry.operations.get(diagnostic.uses)
            if operation is not None and not operation.reads:
                return failed(diagnostic, f"{diagnostic.uses} does not only read.", now=self._now())
            if ago and (operation is None or not operation.looks_back):
                return failed(diagnostic, f"{diagnostic.uses} cannot be asked about the past.", now=self._now())
            backend = self.registry.backend(diagnostic.uses, environment, service)
            call = Call(
                operation=diagnostic.uses,
                arguments=render_arguments(diagnostic.with_, labels=labels) | ({AGO: ago} if ago else {}),
                bind=render_bind(diagnostic.bind, labels=labels),
                environment=environment,
                service=service,
            )
            reading = backend.read(call, timeout=left())
        except (BackendError, LabelMissing, TemplateInvalid, NotFound) as error:
            return failed(diagnostic, str(error), now=self._now())
        return measured(diagnostic, reading.value, labels=labels, now=self._now())

    def plan(
        self,
        action: Action,
        *,
        runbook: Runbook,
        labels: Mapping[str, str],
        parameters: Mapping[str, Json],
        environment: str | None,
        service: str | None = None,
        plan_id: str,
        raised_by: int = 0,
        timeout: float | None = None,
    ) -> Plan:
        """What would change, exactly (rule S6). `raised_by` is what `guards` adds to the tier for a repetition (rule S14).

        A plan with a check that does not hold is still a plan: it is shown with the reason, and `execute` refuses it.

        Raises:
            PlanRefused: there is no plan; the text says why, in a sentence for the person.
        """
        left = self._left(timeout or self.limits.plan)
        try:
            return self._planned(
                self._request(action, labels=labels, parameters=parameters, environment=environment, service=service),
                runbook=runbook,
                plan_id=plan_id,
                raised_by=raised_by,
                left=left,
            )
        except NotFound as error:
            raise PlanRefused("no_backend", str(error)) from error
        except BackendError as error:
            raise PlanRefused(name_of(error), redact(str(error))) from error

    def present(
        self,
        action: Action,
        *,
        labels: Mapping[str, str],
        environment: str | None,
        service: str | None = None,
        timeout: float | None = None,
    ) -> Present | None:
        """How the action's target stands now, for the first screen (mission B2); None where that cannot be said."""
        left = self._left(timeout or self.limits.measure)
        try:
            request = self._request(action, labels=labels, parameters={}, environment=environment, service=service)
            if action.is_several or not request.operation.looks or request.operation.target is None:
                return None
            call = planning.first_call(request)
            backend = self.registry.backend(request.operation.name, environment, service, target=call.target)
            reading = self._read(backend, call, timeout=left())
            call, _ = planning.full_call(request, call, reading)
            text = backend.propose(call, reading).before_text
        except (BackendError, LabelMissing, TemplateInvalid, NotFound, PlanRefused):
            return None
        return Present(target=call.target or "", text=redact(text, limit=100))

    def execute(
        self, plan: Plan, *, runbook: Runbook, labels: Mapping[str, str], key: str, checks: bool = True, timeout: float | None = None
    ) -> Outcome:
        """Do what the plan says, if the world is still as the plan says (rules S5, S7), as a compare-and-set.

        Without `checks` the pre-checks are not measured again: a ramp's later stages change what they measure.
        """
        left = self._left(timeout or self.limits.execute)
        try:
            backend = self.registry.planned(plan.call)
            present = self._read(backend, plan.call, timeout=left())
        except (BackendError, NotFound) as error:
            return refused(plan, f"Nothing was changed: {lower(redact(str(error)))}", error=error)
        if not same(present, plan.before):
            return refused(
                plan, f"Nothing was changed: {drift(plan, present, backend)} Plan again to see what it would be now.", after=present
            )
        try:
            found = self._checks(runbook, plan, labels=labels, left=left, present=present) if checks else ()
        except TimeUp as error:
            return refused(plan, f"Nothing was changed: {lower(str(error))}", after=present)
        unmet = [check.text for check in found if check.holds is not True]
        if unmet:
            return refused(plan, f"Nothing was changed: {' '.join(unmet)}", after=present)
        return self._apply(backend, plan, plan.proposal.value, expected=plan.before, key=key, left=left)

    def reconcile(self, plan: Plan, *, key: str | None = None, timeout: float | None = None) -> Outcome:
        """Say by looking whether a change of unknown outcome took effect (rule S20). Never repeats it.

        `key` is the one that it was sent with: what cannot be seen at the target may be found under it.
        """
        return self._look(plan, wanted=plan.proposal.value, otherwise=plan.before, key=key, timeout=timeout)

    def undo(self, plan: Plan, *, after: Reading | None, key: str, timeout: float | None = None) -> Outcome:
        """Put back the state from before, if the target still is as the run left it (rule S22).

        `after` is the reading that the run left; None where it was never seen: then the planned value must still stand.
        """
        left = self._left(timeout or self.limits.execute)
        try:
            backend = self.registry.planned(plan.call)
            present = self._read(backend, plan.call, timeout=left())
        except (BackendError, NotFound) as error:
            return refused(plan, f"Not undone: {lower(redact(str(error)))}", error=error)
        looks = self._operation(plan.call).looks
        left_as = after or Reading(value=plan.proposal.value)
        if looks and present.value == plan.before.value:
            return Outcome(
                status=OutcomeStatus.APPLIED, reason="It already is as before; nothing had to be undone.", before=left_as, after=present
            )
        if isinstance(backend, AsOne):
            return self._take_back(backend, plan, expected=left_as, key=key, left=left)
        if looks and not same(present, left_as):
            return refused(plan, f"Not undone: {changed(plan, present, backend)} It was not overwritten.", after=present)
        return self._apply(backend, plan, plan.before.value, expected=after or present, key=key, left=left)

    def restore(self, plan: Plan, *, key: str, timeout: float | None = None) -> Outcome:
        """Put back the parts of a change that took effect in part (rule S24). REFUSED says that everything is as before again."""
        looked = self.reconcile(plan, timeout=timeout)
        if not looked.mixed:
            return looked
        back = self.undo(plan, after=None, key=key, timeout=timeout)
        if back.status is not OutcomeStatus.APPLIED:
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=f"{looked.reason} {back.reason}", before=plan.before, after=back.after)
        reason = f"It took effect only in part, and was put back: {looked.reason}"
        return Outcome(status=OutcomeStatus.REFUSED, reason=reason, before=plan.before, after=back.after)

    def reconcile_undo(self, plan: Plan, *, after: Reading | None, timeout: float | None = None) -> Outcome:
        """Say by looking whether an undo of unknown outcome took effect."""
        return self._look(plan, wanted=plan.before.value, otherwise=after or Reading(value=plan.proposal.value), timeout=timeout)

    def page(self, call: Call, *, key: str, timeout: float | None = None) -> Outcome:
        """Call a person, or answer upstream. `key` makes a repetition harmless, so an unknown outcome may be tried again.

        Raises:
            PlanRefused: the operation is not one of Muster's own.
        """
        operation = self.registry.operations.get(call.operation)
        if operation is not None and not operation.internal:
            raise PlanRefused("not_internal", f"{call.operation} changes the world; it needs a plan.")
        left = self._left(timeout or self.limits.page)
        try:
            backend = self.registry.backend(call.operation, call.environment)
            after = backend.apply(call, None, expected=Reading(), key=key, timeout=left())
        except (OutcomeUnknown, Unreachable) as error:  # no connection now may be one in a moment, and nobody is left unpaged for that
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=redact(str(error)))
        except (BackendError, NotFound) as error:
            wait = error.retry_after if isinstance(error, Throttled) else None
            return Outcome(status=OutcomeStatus.REFUSED, reason=redact(str(error)), retry_after=wait)
        return Outcome(status=OutcomeStatus.APPLIED, after=after)

    def _planned(self, request: Request, *, runbook: Runbook, plan_id: str, raised_by: int, left: Callable[[], float]) -> Plan:
        action, operation = request.action, request.operation
        if action.is_several:
            call, parameters, tier = joined(request, registry=self.registry, raised_by=raised_by, left=left)
            backend = self.registry.planned(call)
            before = self._read(backend, call, timeout=left())
        else:
            first = planning.first_call(request)
            bound = self.registry.bound(operation.name, request.environment, request.service, target=first.target)
            backend, tier = bound.backend, planning.tier_of(action, operation, raised_by=raised_by)
            first = first.model_copy(update={"backend": bound.name})
            before = self._read(backend, first, timeout=left())
            call, parameters = planning.full_call(request, first, before)
        proposal = self._proposal(backend, call, before)
        if operation.plans and operation.looks and proposal.value == before.value:
            raise PlanRefused("changes_nothing", f"{call.target or action.title} already is as wanted: {proposal.before_text}.")
        plan = Plan(
            id=plan_id,
            step=action.id,
            call=call,
            parameters=parameters,
            before=before,
            proposal=proposal,
            tier=tier,
            effect=planning.effect(action, runbook),
            cost=planning.cost(request, parameters),
            undo=planning.undo(action, operation, proposal),
            ends_after=action.undo.after,
            made_at=self._now(),
        )
        return plan.model_copy(update={"checks": self._checks(runbook, plan, labels=request.labels, left=left)})

    def _proposal(self, backend: Backend, call: Call, before: Reading) -> Proposal:
        if self._operation(call).plans:
            return backend.propose(call, before)
        return Proposal(value=dict(call.arguments), before_text="not known", after_text="as the runbook says", note=UNPLANNED)

    def _checks(
        self, runbook: Runbook, plan: Plan, *, labels: Mapping[str, str], left: Callable[[], float], present: Reading | None = None
    ) -> tuple[Check, ...]:
        """The action's `requires`, measured now, and how much it touches of what is there now (rule S13)."""
        action = runbook.action(plan.step)
        reach = radius.check(action.guards, present or plan.before, plan.proposal) if action else None
        found: list[Check] = [reach] if reach else []
        for step, threshold in action.guards.requires.items() if action else ():
            diagnostic = runbook.diagnostic(step)
            if diagnostic is None:
                found.append(Check(name=step, holds=None, text=f"The runbook has no diagnostic {step}."))
                continue
            seconds = min(self.limits.measure, left())
            call = plan.call
            measurement = self.measure(diagnostic, labels=labels, environment=call.environment, service=call.service, timeout=seconds)
            found.append(planning.check(step, threshold, measurement))
        return tuple(found)

    def _apply(self, backend: Backend, plan: Plan, value: Json, *, expected: Reading, key: str, left: Callable[[], float]) -> Outcome:
        try:
            after = backend.apply(plan.call, value, expected=expected, key=key, timeout=left())
        except OutcomeUnknown as error:
            return Outcome(
                status=OutcomeStatus.UNKNOWN,
                reason=f"It is not known whether it took effect: {lower(redact(str(error)))}",
                before=expected,
            )
        except Conflict as error:
            seen = redact(str(error)) if isinstance(backend, AsOne) else changed(plan, error.current, backend)
            return refused(plan, f"Nothing was changed: {lower(seen)}", after=error.current)
        except BackendError as error:
            return refused(plan, f"Nothing was changed: {lower(redact(str(error)))}", error=error)
        after = after.model_copy(update={"read_at": self._now()})
        if after.value != value:
            reason = "The far side accepted the change and shows another value."
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=reason, before=expected, after=after)
        return Outcome(status=OutcomeStatus.APPLIED, before=expected, after=after)

    def _take_back(self, backend: AsOne, plan: Plan, *, expected: Reading, key: str, left: Callable[[], float]) -> Outcome:
        """Every part back as it was, the last one first (rule S24)."""
        try:
            after = backend.take_back(plan.call, plan.before.value, expected=expected, key=key, timeout=left())
        except OutcomeUnknown as error:
            reason = f"It is not known whether it was undone: {lower(redact(str(error)))}"
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=reason, before=expected)
        except Conflict as error:
            standing = backend.standing(plan.call, error.current, before=plan.before, wanted=plan.proposal.value)
            seen = f"{error} How the parts stand: {standing.text}"
            return refused(plan, f"Not undone: {redact(seen, limit=600)} Nothing was overwritten.", after=error.current)
        except BackendError as error:
            return refused(plan, f"Not undone: {lower(redact(str(error)))}", error=error)
        after = after.model_copy(update={"read_at": self._now()})
        if after.value != plan.before.value:
            reason = "The far side accepted the change and shows another value."
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=reason, before=expected, after=after)
        return Outcome(status=OutcomeStatus.APPLIED, before=expected, after=after)

    def _look(self, plan: Plan, *, wanted: Json, otherwise: Reading, timeout: float | None, key: str | None = None) -> Outcome:
        left = self._left(timeout or self.limits.plan)
        try:
            backend = self.registry.planned(plan.call)
            if not self._operation(plan.call).looks:
                return looking.found(backend, plan, key=key, timeout=left(), now=self._now)
            present = self._read(backend, plan.call, timeout=left())
        except (BackendError, NotFound) as error:
            wait = error.retry_after if isinstance(error, Throttled) else None
            return Outcome(status=OutcomeStatus.UNKNOWN, reason=f"It cannot be looked up: {lower(redact(str(error)))}", retry_after=wait)
        return looking.seen(backend, plan, present, wanted=wanted, otherwise=otherwise)

    def _read(self, backend: Backend, call: Call, *, timeout: float) -> Reading:
        return backend.read(call, timeout=timeout).model_copy(update={"read_at": self._now()})

    def _request(
        self, action: Action, *, labels: Mapping[str, str], parameters: Mapping[str, Json], environment: str | None, service: str | None
    ) -> Request:
        if action.steps:
            return Request(action=action, operation=SEQUENCE, labels=labels, chosen=parameters, environment=environment, service=service)
        operation = self.registry.catalogue.get(action.uses)
        if operation is None:
            raise PlanRefused("no_backend", f"No backend is configured for {action.uses}.")
        if operation.reads:
            raise PlanRefused("not_a_change", f"{action.uses} only reads; it is no action.")
        return Request(action=action, operation=operation, labels=labels, chosen=parameters, environment=environment, service=service)

    def _operation(self, call: Call) -> Operation:
        return SEQUENCE if call.operation == SEQUENCE.name else self.registry.operations[call.operation]

    def _left(self, limit: float) -> Callable[[], float]:
        return deadline(limit, monotonic=self._monotonic)
