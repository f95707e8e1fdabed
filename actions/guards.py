"""May this run start, given what runs, ran and is locked: rules S5 and S9 to S16, as pure functions over a state that the flow loads.

Each rule is one function in a table, so that a test can take it out and see its promise break. A rule answers None, or why not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actions.situation import (
    Attempt,
    Cleared,
    Deploy,
    Freeze,
    GuardRefused,
    HeldLock,
    OutOfService,
    Pause,
    Rates,
    Reason,
    State,
    action_key,
)
from runbooks.duration import in_words
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, RunState
from runbooks.runbook import Action
from runbooks.severity import Tier
from runbooks.trace import Trace

__all__ = [
    "Attempt",
    "Cleared",
    "Deploy",
    "Freeze",
    "GuardRefused",
    "HeldLock",
    "OutOfService",
    "Pause",
    "Rates",
    "Reason",
    "State",
]

REPEAT_WINDOW = 86400.0  # seconds in which the same change counts as the same again, where the runbook names no end for it
MOST_PAGES = 10  # an hour to one target: more wakes nobody who is not awake
UNDISTURBED = Tier.R1  # up to this tier a deploy that runs is only said: reversible and narrow changes must stay possible at night

Rule = Callable[[Attempt, State, datetime], GuardRefused | None]


def paused(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S16: somebody has stopped all execution."""
    pause = state.pause
    if pause is None or pause.environment not in {None, attempt.environment}:
        return None
    text = f"Not run: {state.name(pause.by)} paused all actions {_ago(pause.since_at, now)}: {pause.reason}"
    return GuardRefused(rule="S16", reason=Reason.PAUSED, text=f"{text.rstrip('.')}.", helpers=(pause.by,))


def broken(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S15: the breaker has taken this action out of service, for all incidents and replicas."""
    out = state.out_of_service.get(action_key(attempt.runbook, attempt.action.id))
    if out is None:
        return None
    text = (
        f"Not run: {attempt.action.title} failed {out.failures} times in a row and is out of service since {_ago(out.since_at, now)}, "
        f"until {out.owner} has looked at it and puts it back."
    )
    return GuardRefused(rule="S15", reason=Reason.BREAKER, text=text, helpers=(out.owner,), run_id=out.run_id)


def frozen(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S9: a freeze is on and nobody has lifted it for this run."""
    for freeze in state.freezes:
        if freeze.overridden_by is None and freezes(freeze, attempt, now):
            left = in_words((freeze.until_at - now).total_seconds())
            who = f" {_any_of(freeze.helpers)} can override it, with a reason." if freeze.helpers else " Nobody may override it here."
            until = freeze.until_text if freeze.zone else _at(freeze.until_at, now)
            text = f"Not run: {freeze.name.rstrip('.')} freezes changes until {until}, another {left}.{who}"
            return GuardRefused(rule="S9", reason=Reason.FROZEN, text=text, helpers=freeze.helpers, possible_at=freeze.until_at)
    return None


def freezes(freeze: Freeze, attempt: Attempt, now: datetime) -> bool:
    """Whether this freeze is on now and covers the attempt. An attempt in no environment, or about no service, is in none that is named."""
    return (
        freeze.from_at <= now < freeze.until_at
        and (not freeze.environments or attempt.environment in freeze.environments)
        and (not freeze.services or attempt.service in freeze.services)
        and (not freeze.tiers or attempt.height in freeze.tiers)
    )


def deploying(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S5: somebody is deploying the same service, and what is wide or irreversible would meet it half way."""
    if not attempt.height.above(UNDISTURBED):
        return None
    for deploy in state.deploys:
        if deploy.overridden_by is None and deploy.since_at <= now < deploy.until_at:
            by = f" by {deploy.author}" if deploy.author else ""
            who = f" {_any_of(deploy.helpers)} can override this, with a reason." if deploy.helpers else ""
            text = (
                f'Not run: "{deploy.title}"{by} began {_ago(deploy.since_at, now)} and its end was not reported. Wait for its end; '
                f"without a word it counts as over at {_at(deploy.until_at, now)}.{who}"
            )
            return GuardRefused(rule="S5", reason=Reason.DEPLOYING, text=text, helpers=deploy.helpers, possible_at=deploy.until_at)
    return None


def once(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S11: this very plan was started before; whoever comes second is told by whom and when."""
    for run in _others(attempt, state):
        if run.key == attempt.key and run.state not in BEFORE_RUNNING:
            return _told(run, state, now, rule="S11", reason=Reason.ALREADY_DONE)
    return None


def already_running(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S5: the same action is being carried out on the same target."""
    for run in _others(attempt, state):
        if run.target == attempt.target and run.runbook.id == attempt.runbook and run.step == attempt.action.id and run.state in IN_FLIGHT:
            return _told(run, state, now, rule="S5", reason=Reason.ALREADY_RUNNING)
    return None


def locked(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S12: another run holds the target."""
    for lock in state.locks:
        if lock.target in {attempt.target, *attempt.parts} and lock.run_id != attempt.run_id and now < lock.until_at:
            doing = next((run.title for run in state.runs if run.id == lock.run_id), None)
            what = f'is at "{doing}" on {lock.target}' if doing else f"is changing {lock.target}"
            text = f"Not run: {state.name(lock.owner)} {what} since {_ago(lock.since_at, now)}. You will see the result here."
            return GuardRefused(
                rule="S12", reason=Reason.LOCKED, text=text, helpers=(lock.owner,), possible_at=lock.until_at, run_id=lock.run_id
            )
    return None


def cooling(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S14: the same action on the same target needs time to show what it does."""
    cooldown = attempt.action.guards.cooldown
    last = max(_same_change(attempt, state), key=_started, default=None)
    if last is None or now >= _started(last) + timedelta(seconds=cooldown):
        return None
    ready = _started(last) + timedelta(seconds=cooldown)
    title, ago = attempt.action.title, _ago(_started(last), now)
    if _is_action(last, attempt):
        what = f"{title} was last run on {attempt.target} {ago}. It waits {in_words(cooldown)} between two runs"
    else:
        what = f'"{last.title}" was run on {attempt.target} {ago}. {title} makes the same kind of change and waits {in_words(cooldown)}'
    text = f"Not run: {what}; the next is possible in {in_words((ready - now).total_seconds())}."
    return GuardRefused(rule="S14", reason=Reason.COOLDOWN, text=text, possible_at=ready)


def often(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:  # noqa: ARG001 - a rule's signature
    """S14: no more than `at_most` times in one incident."""
    most = attempt.action.guards.at_most
    done = [run for run in _same_action(attempt, state) if run.incident_id == attempt.incident_id]
    if len(done) < most:
        return None
    times = "once" if most == 1 else f"{most} times"
    owner = state.owners.get(attempt.runbook, "the runbook's owner")
    text = f"Not run: {attempt.action.title} may be run {times} in one incident and was. If it did not help, it will not now; ask {owner}."
    return GuardRefused(rule="S14", reason=Reason.AT_MOST, text=text, helpers=(owner,), run_id=done[-1].id)


def hurried(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S14: so many runs in so short a time are no longer somebody thinking."""
    since = now - timedelta(seconds=state.rates.window)
    runs = [run for run in _others(attempt, state) if run.started_at is not None and run.started_at > since]
    scopes = (
        (state.rates.action, [run for run in runs if _is_action(run, attempt)], attempt.action.title),
        (state.rates.target, [run for run in runs if run.target == attempt.target], attempt.target),
        (state.rates.person, [run for run in runs if run.requested_by == attempt.person], state.name(attempt.person)),
        (state.rates.everywhere, runs, "all actions together"),
    )
    for most, found, scope in scopes:
        if len(found) >= most:
            first = sorted(_started(run) for run in found)[-most]
            ready = first + timedelta(seconds=state.rates.window)
            wait = in_words((ready - now).total_seconds())
            text = (
                f"Not run: {scope} had {len(found)} runs in {in_words(state.rates.window)}, and {most} is the limit. "
                f"The next is possible at {_at(ready, now)}, in {wait}."
            )
            return GuardRefused(rule="S14", reason=Reason.VELOCITY, text=text, possible_at=ready)
    return None


def wide(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:  # noqa: ARG001 - a rule's signature
    """S13: more targets at once than allowed. A ceiling of the runbook's own is checked against the live reading (`actions.radius`)."""
    if attempt.action.guards.most is not None or attempt.count <= state.rates.targets:
        return None
    text = f"Not run: it would touch {attempt.count} targets at once; {state.rates.targets} is the limit. Run it on fewer first."
    return GuardRefused(rule="S13", reason=Reason.BLAST_RADIUS, text=text)


RULES: tuple[Rule, ...] = (paused, broken, frozen, once, already_running, deploying, locked, wide, often, cooling, hurried)
"""For a change: what stops everything first, then what is going on, then what was done too often."""

UNDO_RULES: tuple[Rule, ...] = (paused, locked)
"""For an undo: it must stay possible when the action itself would not be, and no freeze ever stops it (rules S9, S22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPage:
    """A page that went out."""

    key: str
    to: str
    sent_at: datetime


def guard_page(*, key: str, to: str, sent: Sequence[SentPage], most: int = MOST_PAGES, now: datetime) -> GuardRefused | None:
    """S11 and S14 for a page: once for each key, and no more than `most` an hour to one target. A pause never stops a page."""
    again = next((page for page in sent if page.key == key), None)
    if again:
        text = f"Not paged again: {to} was paged for this {_ago(again.sent_at, now)}."
        return GuardRefused(rule="S11", reason=Reason.ALREADY_DONE, text=text)
    lately = sorted(page.sent_at for page in sent if page.to == to and now - page.sent_at < timedelta(hours=1))
    if len(lately) < most:
        return None
    text = f"Not paged: {to} was paged {len(lately)} times within an hour; {most} is the limit."
    return GuardRefused(rule="S14", reason=Reason.VELOCITY, text=text, possible_at=lately[-most] + timedelta(hours=1))


def guard(attempt: Attempt, state: State, *, now: datetime, rules: Sequence[Rule] = RULES) -> Cleared | GuardRefused:
    """The first rule that refuses, or clearance with the tiers that a repetition adds."""
    for rule in rules:
        refused = rule(attempt, state, now)
        if refused:
            return refused
    return repetition(attempt, state, now)


def repetition(attempt: Attempt, state: State, now: datetime) -> Cleared | GuardRefused:
    """S14: the same action twice on one target within its window needs a person and one tier more.

    The window is how long the change would have stayed in force by the runbook, else a day.
    """
    window = remembered(attempt.action)
    before = [run for run in _same_change(attempt, state) if now - _started(run) < timedelta(seconds=window)]
    if not before:
        return Cleared()
    last = max(before, key=_started)
    what = "It" if _is_action(last, attempt) else f'"{last.title}", the same kind of change,'
    by = state.name(last.requested_by)
    note = f"{what} was run on {attempt.target} {_ago(_started(last), now)} by {by}; a second time is one tier higher."
    if attempt.automatic:
        return GuardRefused(rule="S14", reason=Reason.VELOCITY, text=f"Not run by itself: {note}", run_id=last.id)
    return Cleared(raised_by=1, note=note)


def remembered(action: Action) -> float:
    """For how many seconds a change counts at its target (rule S14): while it would stay in force, else a day; and while it cools down."""
    return max(action.undo.after or REPEAT_WINDOW, action.guards.cooldown)


def _others(attempt: Attempt, state: State) -> list[Trace]:
    return [run for run in state.runs if run.id != attempt.run_id]


def _is_action(run: Trace, attempt: Attempt) -> bool:
    return run.runbook.id == attempt.runbook and run.step == attempt.action.id


def _same_action(attempt: Attempt, state: State) -> list[Trace]:
    """Runs of this action that really started, oldest first; what was refused at the last moment changed nothing."""
    found = [run for run in _others(attempt, state) if _is_action(run, attempt) and _happened(run)]
    return sorted(found, key=_started)


def _same_change(attempt: Attempt, state: State) -> list[Trace]:
    """Runs that made the same kind of change to the same target, by whichever runbook."""
    uses = attempt.action.operation
    return [
        run
        for run in _others(attempt, state)
        if run.target == attempt.target and _happened(run) and (run.operation == uses if run.operation else _is_action(run, attempt))
    ]


def _happened(run: Trace) -> bool:
    """Whether it changed something, or may have."""
    return run.started_at is not None and run.state is not RunState.REFUSED


def _started(run: Trace) -> datetime:
    return run.started_at or run.requested_at


def _told(run: Trace, state: State, now: datetime, *, rule: str, reason: Reason) -> GuardRefused:
    who, when = state.name(run.requested_by), _ago(_started(run), now)
    if run.state in IN_FLIGHT:
        text = f'Not run: {who} started "{run.title}" {when}. You will see the result here.'
    else:
        text = f'Not run again: {who} ran "{run.title}" {when}; it is {run.state.value}.'
    return GuardRefused(rule=rule, reason=reason, text=text, helpers=(run.requested_by,), run_id=run.id)


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    return f"{at:%H:%M} UTC ({in_words(seconds)} ago)" if seconds >= 1 else "just now"


def _at(moment: datetime, now: datetime) -> str:
    """A time of day in UTC, with the day where that is another one."""
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%d %b %Y %H:%M} UTC"


def _any_of(names: Sequence[str]) -> str:
    """Names, at most three: a longer list is no help at night."""
    first = ", ".join(names[:3])
    return f"{first} or {len(names) - 3} more" if len(names) > 3 else " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
