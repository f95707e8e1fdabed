from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from actions.guards import (
    RULES,
    UNDO_RULES,
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
    Rule,
    SentPage,
    State,
    already_running,
    broken,
    cooling,
    deploying,
    frozen,
    guard,
    guard_page,
    hurried,
    locked,
    often,
    once,
    paused,
    wide,
)
from runbooks.run import RunState
from runbooks.severity import Tier
from runbooks.trace import Trace
from tests import acting
from tests.acting import NOW, REF, action, at, plan, runbook, runner
from tests.acting import backend as recording

TARGET = "thing/reranker-v3"
HOUR = 3600.0


def attempt(**changed: Any) -> Attempt:
    given: dict[str, Any] = {
        "run_id": 9, "incident_id": 42, "runbook": REF.id, "action": action(guards={"cooldown": "10m", "at_most": 2}), "target": TARGET,
        "person": "ben", "key": "key-9", "environment": "production",
    }  # fmt: skip
    return Attempt(**{**given, **changed})


def run_of(**changed: Any) -> Trace:
    return Trace.of(acting.run_of(**changed))


FIRST = attempt()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One situation that one rule, and no other, refuses."""

    rule: Rule
    reason: Reason
    state: State
    words: str
    attempt: Attempt = FIRST


STORIES = {
    "S16": Story(
        rule=paused,
        reason=Reason.PAUSED,
        state=State(pause=Pause(by="cleo", since_at=at(-60), reason="audit cannot be written"), names={"cleo": "@cleo"}),
        words="Not run: @cleo paused all actions 01:59 UTC (1 min ago): audit cannot be written.",
    ),
    "S15": Story(
        rule=broken,
        reason=Reason.BREAKER,
        state=State(out_of_service={f"{REF.id}/turn-up": OutOfService(since_at=at(-60), failures=3, owner="ml-platform")}),
        words="failed 3 times in a row and is out of service since 01:59 UTC (1 min ago), until ml-platform has looked at it",
    ),
    "S9": Story(
        rule=frozen,
        reason=Reason.FROZEN,
        state=State(freezes=[Freeze(name="Black Friday", from_at=at(-60), until_at=at(HOUR), helpers=("Ben", "Dov"))]),
        words="Not run: Black Friday freezes changes until 03:00 UTC, another 1 h. Ben or Dov can override it, with a reason.",
    ),
    "S5 deploy": Story(
        rule=deploying,
        reason=Reason.DEPLOYING,
        state=State(deploys=[Deploy(title="api v42", author="cleo", since_at=at(-60), until_at=at(HOUR), helpers=("Ben",))]),
        words='"api v42" by cleo began 01:59 UTC (1 min ago) and its end was not reported.',
        attempt=attempt(tier=Tier.R2),
    ),
    "S11": Story(
        rule=once,
        reason=Reason.ALREADY_DONE,
        state=State(runs=[run_of(key="key-9", target="thing/other", started=-40, step="turn-off")]),
        words='Not run again: ana ran "Turn it up" 01:59 UTC (40 s ago); it is verified.',
    ),
    "S5": Story(
        rule=already_running,
        reason=Reason.ALREADY_RUNNING,
        state=State(runs=[run_of(state=RunState.VERIFYING, started=-700)]),
        words='Not run: ana started "Turn it up" 01:48 UTC (11 min 40 s ago). You will see the result here.',
    ),
    "S12": Story(
        rule=locked,
        reason=Reason.LOCKED,
        state=State(locks=[HeldLock(target=TARGET, run_id=1, owner="ana", since_at=at(-40), until_at=at(60))]),
        words="Not run: ana is changing thing/reranker-v3 since 01:59 UTC (40 s ago).",
    ),
    "S13": Story(
        rule=wide,
        reason=Reason.BLAST_RADIUS,
        state=State(),
        words="would touch 11 targets at once; 10 is the limit.",
        attempt=attempt(count=11),
    ),
    "S14 at_most": Story(
        rule=often,
        reason=Reason.AT_MOST,
        state=State(runs=[run_of(run_id=1, started=-5000), run_of(run_id=2, started=-2000)], owners={REF.id: "ml-platform"}),
        words="may be run 2 times in one incident and was.",
    ),
    "S14 cooldown": Story(
        rule=cooling,
        reason=Reason.COOLDOWN,
        state=State(runs=[run_of(started=-240)]),
        words="It waits 10 min between two runs; the next is possible in 6 min.",
    ),
    "S14 velocity": Story(
        rule=hurried,
        reason=Reason.VELOCITY,
        state=State(
            runs=[run_of(run_id=n, incident_id=n, step=f"s{n}", target=f"thing/{n}", requested_by="ben", started=-600 * n) for n in (1, 2)],
            rates=Rates(person=2),
        ),
        words="ben had 2 runs in 1 h, and 2 is the limit. The next is possible at 02:40 UTC, in 40 min.",
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_each_rule_refuses_its_story_with_reason_and_sentence(story: Story) -> None:
    """Each rule refuses the situation that it is for, by name and in a sentence."""
    refused = guard(story.attempt, story.state, now=NOW)
    assert isinstance(refused, GuardRefused)
    assert refused.reason is story.reason
    assert story.words in refused.text
    assert refused.text.endswith(".")


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_each_rule_switched_off_lets_its_story_pass(story: Story) -> None:
    """Without its rule, and with all others, the situation is let through: so it is that rule that keeps the promise."""
    rest = [rule for rule in RULES if rule is not story.rule]
    assert isinstance(guard(story.attempt, story.state, now=NOW, rules=rest), Cleared)


def test_every_rule_has_a_story() -> None:
    """No rule of the table is without a situation that proves it."""
    assert {story.rule for story in STORIES.values()} == set(RULES)


def test_nothing_in_the_way_is_cleared() -> None:
    """With nothing running, locked or done before, the run may start without a raise."""
    assert guard(attempt(), State(), now=NOW) == Cleared()


def test_s11_the_runs_own_row_is_not_in_its_way() -> None:
    """A run that is being claimed does not refuse itself, nor does its own lock."""
    own = run_of(run_id=9, key="key-9", state=RunState.RUNNING, started=-1)
    lock = HeldLock(target=TARGET, run_id=9, owner="ben", since_at=at(-1), until_at=at(60))
    assert guard(attempt(), State(runs=[own], locks=[lock]), now=NOW) == Cleared()


def test_s12_an_expired_lock_holds_nobody_up() -> None:
    """A lock whose time is over is as good as none."""
    lock = HeldLock(target=TARGET, run_id=1, owner="ana", since_at=at(-90), until_at=NOW)
    assert guard(attempt(), State(locks=[lock]), now=NOW) == Cleared()
    other = HeldLock(target="thing/other", run_id=1, owner="ana", since_at=at(-90), until_at=at(60))
    assert guard(attempt(), State(locks=[other]), now=NOW) == Cleared()


def test_s12_the_sentence_says_what_the_other_is_doing() -> None:
    """If the holding run is known, the refusal names what it does."""
    lock = HeldLock(target=TARGET, run_id=1, owner="ana", since_at=at(-40), until_at=at(60))
    running = run_of(state=RunState.RUNNING, started=-40, step="roll-back", title="Roll back", plan=None)
    refused = guard(attempt(), State(runs=[running], locks=[lock]), now=NOW)
    assert isinstance(refused, GuardRefused)
    assert 'ana is at "Roll back" on thing/reranker-v3' in refused.text


def test_s14_the_cooldown_ends() -> None:
    """After the cooldown the action may be run again, one tier higher."""
    state = State(runs=[run_of(started=-600)])
    cleared = guard(attempt(), state, now=NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.raised_by == 1
    assert "by ana; a second time is one tier higher." in cleared.note


def test_s14_another_incident_cools_down_too_and_counts_apart() -> None:
    """The cooldown is the target's, whatever the incident; `at_most` is the incident's."""
    elsewhere = run_of(incident_id=7, started=-60)
    refused = guard(attempt(), State(runs=[elsewhere]), now=NOW)
    assert isinstance(refused, GuardRefused)
    assert refused.reason is Reason.COOLDOWN
    long_ago = [run_of(run_id=n, incident_id=7, started=-20000 - n) for n in range(3)]
    assert isinstance(guard(attempt(), State(runs=long_ago), now=NOW), Cleared)


def test_s14_the_same_change_by_another_runbook_is_the_same_change() -> None:
    """What counts on a target is the operation, not the name under which it was asked for."""
    made = plan(runner(recording()), runbook())
    other = run_of(started=-60, step="more", plan=made, runbook=REF.model_copy(update={"id": "other"}), title="Switch it")
    refused = guard(attempt(), State(runs=[other]), now=NOW)
    assert isinstance(refused, GuardRefused)
    assert refused.reason is Reason.COOLDOWN
    assert refused.text.startswith(f'Not run: "Switch it" was run on {TARGET}')


def test_s14_a_repetition_never_happens_by_itself() -> None:
    """Where no person pressed, the second time is refused instead of raised."""
    state = State(runs=[run_of(started=-700)])
    refused = guard(attempt(automatic=True), state, now=NOW)
    assert isinstance(refused, GuardRefused)
    assert refused.text.startswith("Not run by itself")


def test_s14_after_its_window_a_repetition_is_a_first_time() -> None:
    """When the earlier change would have ended by itself, the next one is not raised."""
    assert guard(attempt(), State(runs=[run_of(started=-4 * HOUR)]), now=NOW) == Cleared()
    assert guard(attempt(), State(runs=[run_of(started=-4 * HOUR + 1)]), now=NOW).raised_by == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [RunState.REFUSED, RunState.CANCELLED, RunState.EXPIRED, RunState.AWAITING_APPROVAL])
def test_what_changed_nothing_counts_for_nothing(state: RunState) -> None:
    """A run that was refused, cancelled, lapsed or still waits neither cools down nor uses up a turn."""
    started = -60.0 if state is RunState.REFUSED else None
    assert (
        guard(attempt(), State(runs=[run_of(state=state, started=started), run_of(run_id=2, state=state, started=started)]), now=NOW)
        == Cleared()
    )


def test_s15_the_breaker_is_the_actions_own() -> None:
    """Another action of the same runbook, and the same step of another runbook, stay in service."""
    out = OutOfService(since_at=at(-60), failures=3, owner="ml-platform")
    for name in (f"{REF.id}/turn-down", "other/turn-up"):
        assert guard(attempt(), State(out_of_service={name: out}), now=NOW) == Cleared()


def test_s5_a_deploy_holds_up_only_what_is_wide() -> None:
    """A deploy that runs is no obstacle to what is reversible and narrow, nor once it is overridden or counts as over."""
    deploy = Deploy(title="api v42", since_at=at(-60), until_at=at(60))
    assert guard(attempt(tier=Tier.R1), State(deploys=[deploy]), now=NOW) == Cleared()
    assert isinstance(guard(attempt(tier=Tier.R3), State(deploys=[deploy]), now=NOW), GuardRefused)
    for other in (replace(deploy, overridden_by="ben"), replace(deploy, until_at=NOW)):
        assert guard(attempt(tier=Tier.R3), State(deploys=[other]), now=NOW) == Cleared()


def test_s9_a_freeze_is_lifted_only_on_record_and_only_where_it_holds() -> None:
    """A freeze with a name under its override, of another place, service or tier, or at another time does not hold anybody up."""
    on = Freeze(
        name="freeze", from_at=at(-60), until_at=at(60), environments=frozenset({"production"}), tiers=frozenset({Tier.R1, Tier.R2})
    )
    for other in (
        replace(on, overridden_by="cleo"),
        replace(on, environments=frozenset({"staging"})),
        replace(on, services=frozenset({"search"})),
        replace(on, tiers=frozenset({Tier.R3})),
        replace(on, from_at=at(1)),
        replace(on, until_at=NOW),
    ):
        assert guard(attempt(), State(freezes=[other]), now=NOW) == Cleared()
    assert isinstance(guard(attempt(), State(freezes=[on]), now=NOW), GuardRefused)


def test_s22_an_undo_waits_for_nothing_but_pause_and_lock() -> None:
    """Cooldown, frequency, freeze and breaker do not keep anybody from taking back what they did."""
    kept = {
        rule for rule in STORIES if isinstance(guard(STORIES[rule].attempt, STORIES[rule].state, now=NOW, rules=UNDO_RULES), GuardRefused)
    }
    assert kept == {"S16", "S12"}


@pytest.mark.parametrize(
    ("scope", "same"),
    [
        ("action", {"incident_id": 7, "target": "x", "requested_by": "x"}),
        ("target", {"incident_id": 7, "step": "x", "requested_by": "x"}),
        ("person", {"incident_id": 7, "step": "x", "target": "x", "requested_by": "ben"}),
        ("everywhere", {"incident_id": 7, "step": "x", "target": "x", "requested_by": "x"}),
    ],
)
def test_s14_velocity_is_limited_in_each_scope(scope: str, same: dict[str, Any]) -> None:
    """Runs count for the action, the target, the person and altogether, within the window and no longer."""
    runs = [run_of(run_id=n, started=-900 - n, **same) for n in range(1, 4)]
    limited = Rates(**{scope: 3})
    refused = guard(attempt(), State(runs=runs, rates=limited), now=NOW)
    assert isinstance(refused, GuardRefused)
    assert refused.reason is Reason.VELOCITY
    assert refused.possible_at is not None
    assert isinstance(guard(attempt(), State(runs=runs, rates=limited), now=refused.possible_at), Cleared)


def test_refusals_say_when_it_would_be_possible() -> None:
    """Where a refusal names a time, the same attempt is not refused for that reason from then on."""
    timed: dict[str, Callable[[], GuardRefused | Cleared]] = {}
    for name, story in STORIES.items():
        refused = guard(story.attempt, story.state, now=NOW)
        assert isinstance(refused, GuardRefused)
        if refused.possible_at is not None:
            timed[name] = partial(guard, story.attempt, story.state, now=refused.possible_at)
    assert set(timed) == {"S9", "S5 deploy", "S12", "S14 cooldown", "S14 velocity"}
    assert all(isinstance(later(), Cleared) for later in timed.values())


def test_s11_and_s14_of_a_page() -> None:
    """A page goes out once for each key, and not without end to one target; to others it still does."""
    sent = [SentPage(key=f"k{n}", to="primary", sent_at=at(-60 * n)) for n in range(3)]
    again = guard_page(key="k1", to="primary", sent=sent, now=NOW)
    assert again is not None
    assert again.reason is Reason.ALREADY_DONE
    much = guard_page(key="new", to="primary", sent=sent, most=3, now=NOW)
    assert much is not None
    assert much.possible_at == at(3480)
    assert guard_page(key="new", to="secondary", sent=sent, most=3, now=NOW) is None
    assert guard_page(key="new", to="primary", sent=sent, most=3, now=at(3480)) is None
