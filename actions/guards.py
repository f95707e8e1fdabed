"""May this run start, given what runs, ran and is locked: rules S5 and S9 to S16, as pure functions over a state that the flow loads.

Each rule is one function in a table, so that a test can take it out and see its promise break. A rule answers None, or why not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from runbooks.duration import in_words
from runbooks.run import BEFORE_RUNNING, IN_FLIGHT, ActionRun, RunState, Verdict
from runbooks.runbook import Action

REPEAT_WINDOW = 86400.0  # seconds in which the same change counts as the same again, where the runbook names no end for it
DAY = 86400.0
MOST_PAGES = 10  # an hour to one target: more wakes nobody who is not awake


class Reason(StrEnum):
    """Why a guard refuses. A closed list."""

    PAUSED = "paused"
    BREAKER = "breaker_open"
    FROZEN = "frozen"
    ALREADY_DONE = "already_done"
    ALREADY_RUNNING = "already_running"
    LOCKED = "locked"
    COOLDOWN = "cooldown"
    AT_MOST = "at_most"
    VELOCITY = "velocity"
    BLAST_RADIUS = "blast_radius"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRefused:
    """Why not, in a sentence; who can help (ids of people or teams), and when it would be possible, where that is known."""

    rule: str
    reason: Reason
    text: str
    helpers: tuple[str, ...] = ()
    possible_at: datetime | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is about to be done. `key` is the idempotency key of rule S11; `count` how many targets it touches.

    `automatic` is true where no person pressed: a repetition then is refused instead of raised (rule S14).
    """

    run_id: int | None
    incident_id: int
    runbook: str
    action: Action
    target: str
    person: str
    key: str
    environment: str | None = None
    count: int = 1
    automatic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLock:
    """A target's lock as its row says (rule S12)."""

    target: str
    run_id: int
    owner: str
    since_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """All execution is stopped (rule S16). `target` None means everywhere."""

    by: str
    since_at: datetime
    reason: str
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """No changes from `from_at` until `until_at` (rule S9); `environment` None means all. `overridden_by` names who lifted it on record."""

    name: str
    from_at: datetime
    until_at: datetime
    environment: str | None = None
    overridden_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How many runs may start in `window` seconds, for one action, one target, one person, and everywhere (rule S14)."""

    window: float = 3600.0
    action: int = 10
    target: int = 6
    person: int = 12
    everywhere: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How many bad ends in a row, within `window` seconds, take an action out of service (rule S15)."""

    failures: int = 3
    window: float = DAY
    reset_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the flow has loaded in the claiming transaction.

    `runs` are all that are in flight on the target, all of this incident, and those of the last 24 hours of this action, target or
    person. `owners` names the owner of each runbook.
    """

    runs: Sequence[ActionRun] = ()
    locks: Sequence[HeldLock] = ()
    pause: Pause | None = None
    freezes: Sequence[Freeze] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    breaker: Breaker = field(default_factory=Breaker)
    most_targets: int = 1

    def name(self, person: str) -> str:
        """How sentences call a person."""
        return self.names.get(person, person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """No guard refuses. `raised_by` tiers are added because the same was done before (rule S14), and `note` says so."""

    raised_by: int = 0
    note: str = ""


Rule = Callable[[Attempt, State, datetime], GuardRefused | None]


def paused(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S16: somebody has stopped all execution."""
    pause = state.pause
    if pause is None or pause.environment not in {None, attempt.environment}:
        return None
    text = f"Not run: {state.name(pause.by)} paused all actions {_ago(pause.since_at, now)}: {pause.reason}"
    return GuardRefused(rule="S16", reason=Reason.PAUSED, text=f"{text.rstrip('.')}.", helpers=(pause.by,))


def broken(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S15: the last runs of this action, anywhere, all ended badly."""
    since = _later(now - timedelta(seconds=state.breaker.window), state.breaker.reset_at)
    ended = [run for run in _same_action(attempt, state) if run.verdict_at is not None and run.verdict_at >= since]
    last = sorted(ended, key=lambda run: run.verdict_at or now)[-state.breaker.failures :]
    if len(last) < state.breaker.failures or any(run.verdict is not Verdict.FAILED for run in last):
        return None
    owner = state.owners.get(attempt.runbook, "its owner")
    text = f"Not run: {attempt.action.title} failed {len(last)} times in a row and is out of service until {owner} has looked at it."
    return GuardRefused(rule="S15", reason=Reason.BREAKER, text=text, helpers=(owner,), run_id=last[-1].id)


def frozen(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:
    """S9: a freeze is on and nobody has lifted it."""
    for freeze in state.freezes:
        on = freeze.from_at <= now < freeze.until_at and freeze.environment in {None, attempt.environment}
        if on and freeze.overridden_by is None:
            text = f"Not run: {freeze.name} freezes changes for another {in_words((freeze.until_at - now).total_seconds())}."
            return GuardRefused(rule="S9", reason=Reason.FROZEN, text=text, possible_at=freeze.until_at)
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
        if lock.target == attempt.target and lock.run_id != attempt.run_id and now < lock.until_at:
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
            text = f"Not run: {scope} had {len(found)} runs in {in_words(state.rates.window)}, the limit. The next is possible in {wait}."
            return GuardRefused(rule="S14", reason=Reason.VELOCITY, text=text, possible_at=ready)
    return None


def wide(attempt: Attempt, state: State, now: datetime) -> GuardRefused | None:  # noqa: ARG001 - a rule's signature
    """S13: more targets at once than allowed."""
    if attempt.count <= state.most_targets:
        return None
    text = f"Not run: it would touch {attempt.count} targets at once; {state.most_targets} is the limit. Run it on fewer first."
    return GuardRefused(rule="S13", reason=Reason.BLAST_RADIUS, text=text)


RULES: tuple[Rule, ...] = (paused, broken, frozen, once, already_running, locked, wide, often, cooling, hurried)
"""For a change: what stops everything first, then what is going on, then what was done too often."""

UNDO_RULES: tuple[Rule, ...] = (paused, locked)
"""For an undo: it must stay possible when the action itself would not be (rule S22)."""


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
    window = max(attempt.action.undo.after or REPEAT_WINDOW, attempt.action.guards.cooldown)
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


def _others(attempt: Attempt, state: State) -> list[ActionRun]:
    return [run for run in state.runs if run.id != attempt.run_id]


def _is_action(run: ActionRun, attempt: Attempt) -> bool:
    return run.runbook.id == attempt.runbook and run.step == attempt.action.id


def _same_action(attempt: Attempt, state: State) -> list[ActionRun]:
    """Runs of this action that really started, oldest first; what was refused at the last moment changed nothing."""
    found = [run for run in _others(attempt, state) if _is_action(run, attempt) and _happened(run)]
    return sorted(found, key=_started)


def _same_change(attempt: Attempt, state: State) -> list[ActionRun]:
    """Runs that made the same kind of change to the same target, by whichever runbook."""
    uses = attempt.action.uses
    return [
        run
        for run in _others(attempt, state)
        if run.target == attempt.target and _happened(run) and (run.plan.call.operation == uses if run.plan else _is_action(run, attempt))
    ]


def _happened(run: ActionRun) -> bool:
    """Whether it changed something, or may have."""
    return run.started_at is not None and run.state is not RunState.REFUSED


def _started(run: ActionRun) -> datetime:
    return run.started_at or run.requested_at


def _told(run: ActionRun, state: State, now: datetime, *, rule: str, reason: Reason) -> GuardRefused:
    who, when = state.name(run.requested_by), _ago(_started(run), now)
    if run.state in IN_FLIGHT:
        text = f'Not run: {who} started "{run.title}" {when}. You will see the result here.'
    else:
        text = f'Not run again: {who} ran "{run.title}" {when}; it is {run.state.value}.'
    return GuardRefused(rule=rule, reason=reason, text=text, helpers=(run.requested_by,), run_id=run.id)


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    return f"{at:%H:%M} UTC ({in_words(seconds)} ago)" if seconds >= 1 else "just now"


def _later(one: datetime, other: datetime | None) -> datetime:
    return one if other is None else max(one, other)
