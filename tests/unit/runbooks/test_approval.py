from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.approval import (
    BREAK_GLASS_LIMIT,
    MINIMUM,
    Circle,
    Decision,
    Reason,
    Verdict,
    approvers,
    decide,
    is_admin,
    may_decide,
    may_run,
    needed,
    stale,
)
from runbooks.operation import Call, Plan, Proposal, Reading
from runbooks.people import Actor, ActorKind, Directory, Grant, Person, Team
from runbooks.run import Approval
from runbooks.runbook import Approvals
from runbooks.severity import Tier
from tests.acting import NOW, at

PEOPLE = ("ana", "ben", "cleo", "dan", "eve")
DIRECTORY = Directory(
    people=tuple(Person(id=name, name=name.capitalize(), email=f"{name}@example.com") for name in PEOPLE),
    teams=(Team(id="ml", members=("ana", "ben")), Team(id="leads", members=("cleo", "dan"))),
    grants=(
        Grant(who="team:ml", run=Tier.R2),
        Grant(who="on-call:ml", run=Tier.R3, approve=Tier.R2),
        Grant(who="team:leads", run=Tier.R1, approve=Tier.R3, services=("answers",)),
        Grant(who="person:dan", admin=True),
    ),
)
CIRCLE = Circle(directory=DIRECTORY, on_call={"ml": ("ben",)}, service="answers")


def plan(tier: Tier = Tier.R2, **changed: Any) -> Plan:
    given: dict[str, Any] = {
        "id": "p1", "step": "s", "call": Call(operation="thing.set", target="t"), "before": Reading(value=1), "tier": tier, "made_at": NOW,
        "proposal": Proposal(value=2, before_text="1", after_text="2"),
    }  # fmt: skip
    return Plan(**{**given, **changed})


def actor(name: str = "ana", kind: ActorKind = ActorKind.PERSON) -> Actor:
    return Actor(kind=kind, id=name)


def word(person: str, *, granted: bool = True, given: float = 0, of: Plan | None = None, withdrawn: float | None = None) -> Approval:
    return Approval(
        person=person,
        plan_hash=(of or plan()).hash,
        granted=granted,
        given_at=at(given),
        withdrawn_at=None if withdrawn is None else at(withdrawn),
    )


def ask(**changed: Any) -> Decision:
    given: dict[str, Any] = {"plan": plan(), "asked": Approvals.NONE, "requester": actor(), "circle": CIRCLE, "now": at(60)}
    return decide(**{**given, **changed})


def test_s3_the_tier_sets_the_least_number_of_approvals() -> None:
    """A runbook may ask for more approvals than the tier does, and never for fewer."""
    assert [needed(tier, Approvals.NONE) for tier in Tier] == [0, 0, 1, 2]
    assert [needed(tier, Approvals.ONE) for tier in Tier] == [1, 1, 1, 2]
    assert [needed(tier, Approvals.TWO) for tier in Tier] == [2, 2, 2, 2]


def test_r1_runs_at_once_for_whoever_may() -> None:
    """An R1 action without asked-for approval needs nobody else."""
    decision = ask(plan=plan(Tier.R1))
    assert decision.allowed
    assert decision.needed == 0


def test_s8_r2_waits_for_one_other_person_who_may() -> None:
    """R2 needs one other person, and the answer lists who that can be, without the requester."""
    decision = ask()
    assert decision.verdict is Verdict.NEEDS_APPROVAL
    assert [person.id for person in decision.helpers] == ["ben", "cleo", "dan"]
    assert ask(approvals=[word("cleo")]).allowed
    assert ask(approvals=[word("cleo")]).approved_by == ("cleo",)


def test_s8_r3_needs_two_different_people() -> None:
    """The same person twice is one person."""
    three = plan(Tier.R3)
    ben = actor("ben")
    twice = [word("cleo", of=three), word("cleo", of=three, given=1)]
    assert ask(plan=three, requester=ben, approvals=twice).verdict is Verdict.NEEDS_APPROVAL
    assert ask(plan=three, requester=ben, approvals=[*twice, word("dan", of=three)]).allowed


def test_s4_everything_is_denied_that_no_grant_allows() -> None:
    """Without a grant nobody runs anything, not even reads, and the refusal lists who can."""
    nobody = CIRCLE.model_copy(update={"directory": DIRECTORY.model_copy(update={"grants": ()})})
    for tier in Tier:
        refused = ask(plan=plan(tier), circle=nobody)
        assert (refused.verdict, refused.reason) == (Verdict.REFUSED, Reason.NOT_GRANTED)
    eve = ask(plan=plan(Tier.R1), requester=actor("eve"))
    assert eve.reason is Reason.NOT_GRANTED
    assert "Ana" in eve.text


def test_s4_a_grant_for_one_service_is_none_for_another() -> None:
    """Grants name services; an incident without a service is covered only by those for all."""
    for service, allowed in (("answers", True), ("search", False), (None, False)):
        circle = CIRCLE.model_copy(update={"service": service})
        assert may_run("cleo", tier=Tier.R1, circle=circle) is allowed


def test_s4_on_call_counts_while_it_lasts() -> None:
    """Who is on duty may more, and only then."""
    assert may_run("ben", tier=Tier.R3, circle=CIRCLE)
    assert not may_run("ben", tier=Tier.R3, circle=CIRCLE.model_copy(update={"on_call": {}}))
    assert not may_run("ana", tier=Tier.R3, circle=CIRCLE)


def test_s4_the_commander_may_what_commanders_may() -> None:
    """A grant to the commander is for the one who is, in this incident."""
    directory = DIRECTORY.model_copy(update={"grants": (Grant(who="commander", run=Tier.R2),)})
    circle = Circle(directory=directory, commander="eve")
    assert may_run("eve", tier=Tier.R2, circle=circle)
    assert not may_run("ana", tier=Tier.R2, circle=circle)


@pytest.mark.parametrize("who", ["mallory", "", "muster"])
def test_s4_the_unresolved_may_nothing_even_if_anyone_may(who: str) -> None:
    """A grant to anyone is for people of the directory; unresolved is refused."""
    directory = DIRECTORY.model_copy(update={"grants": (Grant(who="anyone", run=Tier.R3, approve=Tier.R3, admin=True),)})
    circle = Circle(directory=directory)
    assert not may_run(who, tier=Tier.R0, circle=circle)
    assert not is_admin(who, circle=circle)
    assert ask(plan=plan(Tier.R1), requester=actor(who), circle=circle).reason is Reason.UNKNOWN_PERSON


@pytest.mark.parametrize("kind", [kind for kind in ActorKind if kind is not ActorKind.PERSON])
def test_only_a_person_asks_and_approves(kind: ActorKind) -> None:
    """A machine that carries a person's name still neither asks for a change nor approves one."""
    assert ask(plan=plan(Tier.R1), requester=actor("ana", kind)).reason is Reason.NOT_HUMAN
    assert may_decide(actor("cleo", kind), plan=plan(), requester="ana", circle=CIRCLE).reason is Reason.NOT_HUMAN


def test_s7_an_approval_of_another_plan_is_void() -> None:
    """If parameters or live state drift, the hash differs and the approval counts no more."""
    other = plan(before=Reading(value=7))
    assert ask(approvals=[word("cleo", of=other)]).verdict is Verdict.NEEDS_APPROVAL
    assert ask(requested_hash=other.hash, approvals=[word("cleo")]).reason is Reason.PLAN_CHANGED


def test_s8_an_approval_is_valid_for_minutes() -> None:
    """An approval counts from when it is given until it is too old, and the request lapses at its time."""
    approval = [word("cleo")]
    assert ask(approvals=approval, now=at(1799)).allowed
    assert not ask(approvals=approval, now=at(1800)).allowed
    assert not ask(approvals=[word("cleo", given=90)]).allowed
    late = ask(until_at=at(60))
    assert (late.verdict, late.reason) == (Verdict.REFUSED, Reason.EXPIRED)


def test_s8_a_veto_wins_whatever_else_was_said() -> None:
    """One standing no of somebody who may approve outweighs any number of yes, until it is withdrawn."""
    veto = ask(approvals=[word("cleo"), word("ben"), word("dan", granted=False)])
    assert (veto.verdict, veto.reason) == (Verdict.REFUSED, Reason.VETOED)
    assert "Dan declined it" in veto.text
    assert ask(approvals=[word("cleo"), word("dan", granted=False, withdrawn=30)]).allowed


def test_s8_a_no_of_somebody_without_a_say_is_no_veto() -> None:
    """Who may not approve cannot stop it either; neither can a no to another plan."""
    assert ask(approvals=[word("cleo"), word("eve", granted=False)]).allowed
    assert ask(approvals=[word("cleo"), word("dan", granted=False, of=plan(id="p0"))]).allowed


def test_s8_an_approval_can_be_withdrawn_until_the_start() -> None:
    """A withdrawn yes counts no more."""
    assert ask(approvals=[word("cleo", withdrawn=30)]).verdict is Verdict.NEEDS_APPROVAL


def test_s8_the_requesters_own_click_is_refused_politely() -> None:
    """Whoever asked is told that somebody else has to approve, and who."""
    own = may_decide(actor("ben"), plan=plan(), requester="ben", circle=CIRCLE)
    assert own.reason is Reason.OWN_REQUEST
    assert "Cleo" in own.text
    assert may_decide(actor("cleo"), plan=plan(), requester="ben", circle=CIRCLE).allowed
    assert may_decide(actor("eve"), plan=plan(), requester="ben", circle=CIRCLE).reason is Reason.NOT_GRANTED


def test_s25_break_glass_skips_approval_only() -> None:
    """With a reason someone alone at night may run it, it is flagged for review, and it gives no right that no grant gave."""
    alone = ask(break_glass="nobody answers and customers are down")
    assert (alone.allowed, alone.reason, alone.review) == (True, Reason.BREAK_GLASS, True)
    assert ask(requester=actor("eve"), break_glass="nobody answers and customers are down").reason is Reason.NOT_GRANTED
    assert ask(plan=plan(Tier.R3), break_glass="nobody answers and customers are down").reason is Reason.NOT_GRANTED
    vetoed = ask(break_glass="nobody answers and customers are down", approvals=[word("dan", granted=False)])
    assert vetoed.reason is Reason.VETOED


@pytest.mark.parametrize("reason", ["", "   ", "now", "\n" * 20])
def test_s25_break_glass_needs_a_reason(reason: str) -> None:
    """An empty or one-word reason explains nothing and is refused."""
    assert ask(break_glass=reason).reason is Reason.BREAK_GLASS_REASON


def test_s25_break_glass_is_limited() -> None:
    """Beyond the limit in 24 hours the glass stays whole."""
    reason = "nobody answers and customers are down"
    assert ask(break_glass=reason, break_glass_used=BREAK_GLASS_LIMIT - 1).allowed
    assert ask(break_glass=reason, break_glass_used=BREAK_GLASS_LIMIT).reason is Reason.BREAK_GLASS_LIMIT


def test_s25_break_glass_is_not_used_up_where_no_approval_is_needed() -> None:
    """A reason given where it was not needed breaks nothing and starts no review."""
    decision = ask(plan=plan(Tier.R1), break_glass="just to be careful here")
    assert (decision.reason, decision.review) == (Reason.ALLOWED, False)


def test_it_says_when_too_few_people_could_approve() -> None:
    """Where fewer people may approve than are needed, the sentence says so."""
    lonely = ask(circle=CIRCLE.model_copy(update={"service": "search", "on_call": {}}))
    assert lonely.verdict is Verdict.NEEDS_APPROVAL
    assert "nobody else can" in lonely.text


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"version": None, "expires_at": None}, None),
        ({"version": 2}, Reason.BUTTON_OLD),
        ({"expires_at": NOW}, Reason.BUTTON_EXPIRED),
        ({"is_open": False}, Reason.INCIDENT_OVER),
    ],
)
def test_s10_a_dead_button_explains_itself(changed: dict[str, Any], reason: Reason | None) -> None:
    """A button of another version, past its time or of a closed incident says why; a live one says nothing."""
    given: dict[str, Any] = {"version": 3, "present": 3, "expires_at": at(60), "is_open": True, "incident": "INC-42", "now": NOW}
    found = stale(**{**given, **changed})
    assert (found.reason if found else None) == reason


_voidable = st.sampled_from(["requester", "stranger", "bot", "no say", "declined", "other plan", "expired", "future", "withdrawn"])


def _void_word(kind: str, person: str) -> Approval:
    return {
        "requester": word("ana"),
        "stranger": word("mallory"),
        "bot": word("muster"),
        "no say": word("eve"),
        "declined": word(person, granted=False, withdrawn=1),
        "other plan": word(person, of=plan(id="p0")),
        "expired": word(person, given=-1800),
        "future": word(person, given=61),
        "withdrawn": word(person, withdrawn=10),
    }[kind]


@given(words=st.lists(st.tuples(_voidable, st.sampled_from(["ben", "cleo", "dan"])), max_size=12), tier=st.sampled_from([Tier.R2]))
def test_s8_no_sequence_of_void_words_ever_allows(words: list[tuple[str, str]], tier: Tier) -> None:
    """However many approvals come from the requester, strangers and bots, or are declined, expired or of another plan: it does not run."""
    approvals = [_void_word(*one) for one in words]
    decision = ask(plan=plan(tier), approvals=approvals)
    assert decision.verdict is Verdict.NEEDS_APPROVAL
    assert decision.approved_by == ()


_words = st.builds(
    word,
    st.sampled_from([*PEOPLE, "mallory"]),
    granted=st.booleans(),
    given=st.integers(-3000, 120),
    of=st.sampled_from([plan(tier) for tier in Tier] + [plan(id="p0")]),
    withdrawn=st.none() | st.integers(0, 60),
)


@given(
    words=st.lists(_words, max_size=8),
    tier=st.sampled_from(Tier),
    asked=st.sampled_from(Approvals),
    who=st.sampled_from([*PEOPLE, "mallory"]),
    glass=st.none() | st.just("nobody answers and customers are down"),
)
def test_whatever_is_said_allowed_means_entitled(words: list[Approval], tier: Tier, asked: Approvals, who: str, glass: str | None) -> None:
    """Allowed always means: the requester may run it, and enough other people who may approve said yes, or the glass was broken."""
    decision = ask(plan=plan(tier), asked=asked, requester=actor(who), approvals=words, break_glass=glass)
    may = {person.id for person in approvers(tier=tier, circle=CIRCLE, but={who})}
    assert set(decision.approved_by) <= may
    if decision.allowed:
        assert may_run(who, tier=tier, circle=CIRCLE)
        assert len(decision.approved_by) >= max(MINIMUM[tier], asked.people) or decision.review
        assert not any(one.person in may and not one.granted and not one.withdrawn_at and one.plan_hash == plan(tier).hash for one in words)
    assert decision.text


@given(words=st.lists(_words, max_size=6), seconds=st.integers(0, 4000))
def test_time_alone_never_allows(words: list[Approval], seconds: int) -> None:
    """What is not allowed when all words are spoken does not become so by waiting."""
    spoken = [one for one in words if one.given_at <= at(120)]
    first = ask(approvals=spoken, now=at(120))
    later = ask(approvals=spoken, now=at(120) + timedelta(seconds=seconds))
    assert first.allowed or not later.allowed
