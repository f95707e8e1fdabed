"""May this plan run now: by tier, by grants, by approvals bound to its hash, by break-glass (rules S3, S4, S7, S8, S10, S25).

Pure. Everything is denied that nothing here allows.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from runbooks.duration import in_words
from runbooks.operation import Plan
from runbooks.people import Actor, Directory, Person
from runbooks.run import Approval
from runbooks.runbook import Approvals
from runbooks.severity import Tier
from runbooks.value import Value

MINIMUM: dict[Tier, int] = {Tier.R0: 0, Tier.R1: 0, Tier.R2: 1, Tier.R3: 2}
"""How many other people must approve at least (safe-actions.md, closed lists). A runbook may ask for more."""

VALID_FOR = 1800.0  # seconds that an approval counts; long enough to find a second person at night, short enough that the world is the same
BREAK_GLASS_LIMIT = 2  # times in 24 hours and person; a third is a habit and needs a conversation
SHORTEST_REASON = 10  # characters; "now" explains nothing in the review


class Reason(StrEnum):
    """Why a decision is as it is. A closed list; texts may change, these do not."""

    ALLOWED = "allowed"
    BREAK_GLASS = "break_glass"
    NEEDS_APPROVAL = "needs_approval"
    UNKNOWN_PERSON = "unknown_person"
    NOT_HUMAN = "not_human"
    NOT_GRANTED = "not_granted"
    VETOED = "vetoed"
    EXPIRED = "expired"
    PLAN_CHANGED = "plan_changed"
    BREAK_GLASS_REASON = "break_glass_reason"
    BREAK_GLASS_LIMIT = "break_glass_limit"
    BUTTON_OLD = "button_old"
    BUTTON_EXPIRED = "button_expired"
    INCIDENT_OVER = "incident_over"
    OWN_REQUEST = "own_request"
    NOT_AUTONOMOUS = "not_autonomous"


class Verdict(StrEnum):
    """The three answers."""

    ALLOWED = "allowed"
    NEEDS_APPROVAL = "needs approval"
    REFUSED = "refused"


class Decision(Value):
    """An answer with its named reason, a sentence for the person, and who can help.

    `needed` other people must approve, `approved_by` have. `review` asks for a look afterwards (break-glass).
    """

    verdict: Verdict
    reason: Reason
    text: str
    needed: int = 0
    approved_by: tuple[str, ...] = ()
    helpers: tuple[Person, ...] = ()
    review: bool = False

    @property
    def allowed(self) -> bool:
        """Whether it may run now."""
        return self.verdict is Verdict.ALLOWED


class Circle(Value):
    """Who people are at this moment: the directory, who is on duty by team, and the incident's commander and service."""

    directory: Directory
    on_call: Mapping[str, tuple[str, ...]] = {}
    commander: str | None = None
    service: str | None = None

    def subjects(self, person: str) -> frozenset[str]:
        """Every `who` of a grant that means this person now."""
        duties = [team for team, people in self.on_call.items() if person in people]
        return self.directory.subjects(person, on_call_for=duties, commander=person == self.commander)


def needed(tier: Tier, asked: Approvals) -> int:
    """How many other people must approve: what the runbook asks for, and never less than the tier's minimum."""
    return max(MINIMUM[tier], asked.people)


def may_run(person: str, *, tier: Tier, circle: Circle) -> bool:
    """Whether a grant lets this person run an action of this tier for this service. Unknown people may nothing."""
    return any(grant is not None and not tier.above(grant) for grant in _grants(person, circle, approving=False))


def may_approve(person: str, *, tier: Tier, circle: Circle) -> bool:
    """Whether a grant lets this person approve an action of this tier for this service."""
    return any(grant is not None and not tier.above(grant) for grant in _grants(person, circle, approving=True))


def is_admin(person: str, *, circle: Circle) -> bool:
    """Whether this person may pause, resume and change settings."""
    return circle.directory.person(person) is not None and any(
        grant.admin and grant.who in circle.subjects(person) and _covers(grant.services, circle.service)
        for grant in circle.directory.grants
    )


def may_override(person: str, *, tier: Tier, circle: Circle) -> bool:
    """Whether this person may lift a freeze for an action of this tier: whoever may approve it, and an admin (rule S9)."""
    return may_approve(person, tier=tier, circle=circle) or is_admin(person, circle=circle)


def overriders(*, tier: Tier, circle: Circle) -> tuple[Person, ...]:
    """Everyone who may lift a freeze for an action of this tier, in the directory's order."""
    return tuple(person for person in circle.directory.people if may_override(person.id, tier=tier, circle=circle))


def approvers(*, tier: Tier, circle: Circle, but: Collection[str] = ()) -> tuple[Person, ...]:
    """Everyone who may approve, in the directory's order, without those in `but`."""
    return tuple(person for person in circle.directory.people if person.id not in but and may_approve(person.id, tier=tier, circle=circle))


def runners(*, tier: Tier, circle: Circle) -> tuple[Person, ...]:
    """Everyone who may run an action of this tier, in the directory's order."""
    return tuple(person for person in circle.directory.people if may_run(person.id, tier=tier, circle=circle))


def counted(
    approvals: Iterable[Approval],
    *,
    plan_hash: str,
    tier: Tier,
    requester: str,
    circle: Circle,
    now: datetime,
    valid_for: float = VALID_FOR,
) -> tuple[str, ...]:
    """Who has validly approved: another human who may, for this very plan, lately, not withdrawn. Each counts once."""
    given = (
        approval.person
        for approval in approvals
        if approval.granted
        and approval.plan_hash == plan_hash
        and approval.withdrawn_at is None
        and approval.person != requester
        and approval.given_at <= now < approval.given_at + timedelta(seconds=valid_for)
        and may_approve(approval.person, tier=tier, circle=circle)
    )
    return tuple(dict.fromkeys(given))


def decide(
    *,
    plan: Plan,
    asked: Approvals,
    requester: Actor,
    circle: Circle,
    approvals: Iterable[Approval] = (),
    requested_hash: str | None = None,
    until_at: datetime | None = None,
    break_glass: str | None = None,
    break_glass_used: int = 0,
    break_glass_limit: int = BREAK_GLASS_LIMIT,
    valid_for: float = VALID_FOR,
    now: datetime,
) -> Decision:
    """May `requester` run `plan` now?

    `asked` is the runbook's word on approval. `requested_hash` is the plan that the requester saw; any other is void (rule S7).
    `until_at` is when the request for approval lapses. `break_glass` is the reason for doing without approval, and
    `break_glass_used` how often this person did so in the last 24 hours: it skips approval and nothing else (rule S25), not even a
    veto, which is somebody's no and not the absence of a yes.
    """
    given = tuple(approvals)
    refused = _not_entitled(plan, requester, circle) or _void(plan, given, requester, circle, requested_hash)
    if refused:
        return refused
    many = needed(plan.tier, asked)
    have = counted(given, plan_hash=plan.hash, tier=plan.tier, requester=requester.id, circle=circle, now=now, valid_for=valid_for)
    if len(have) >= many:
        text = f"Approved by {_names(have, circle)}." if many else "No approval is needed."
        return Decision(verdict=Verdict.ALLOWED, reason=Reason.ALLOWED, text=text, needed=many, approved_by=have)
    if break_glass is not None:
        return _broken_glass(break_glass, used=break_glass_used, limit=break_glass_limit, needed_=many, have=have)
    helpers = approvers(tier=plan.tier, circle=circle, but={requester.id, *have})
    if until_at is not None and now >= until_at:
        text = "Not run: the time for approval is over. Plan again to see what would change now."
        return Decision(verdict=Verdict.REFUSED, reason=Reason.EXPIRED, text=text, needed=many, approved_by=have, helpers=helpers)
    return Decision(
        verdict=Verdict.NEEDS_APPROVAL,
        reason=Reason.NEEDS_APPROVAL,
        text=_waits(plan.tier, many - len(have), helpers),
        needed=many,
        approved_by=have,
        helpers=helpers,
    )


def may_decide(person: Actor, *, plan: Plan, requester: str, circle: Circle) -> Decision:
    """Whether this person's approval or veto of `plan` counts; said at the click, so that nobody believes to have approved."""
    if not person.is_human:
        return _no(Reason.NOT_HUMAN, "Only a person can approve.")
    if circle.directory.person(person.id) is None:
        return _no(Reason.UNKNOWN_PERSON, "Muster does not know you; ask whoever keeps muster.yaml to add you.")
    helpers = approvers(tier=plan.tier, circle=circle, but={requester})
    if person.id == requester:
        text = f"You asked for this yourself; somebody else has to approve: {_listed(helpers) or 'nobody may'}."
        return _no(Reason.OWN_REQUEST, text, helpers)
    if not may_approve(person.id, tier=plan.tier, circle=circle):
        text = f"You may not approve {plan.tier.value} here. These can: {_listed(helpers) or 'nobody'}."
        return _no(Reason.NOT_GRANTED, text, helpers)
    return Decision(verdict=Verdict.ALLOWED, reason=Reason.ALLOWED, text="Your word counts.")


def stale(
    *, version: int | None, present: int, expires_at: datetime | None, is_open: bool, incident: str, now: datetime
) -> Decision | None:
    """Why a button is dead, or None for a live one (rule S10). `version` is the runbook's version that the button was drawn from."""
    if not is_open:
        return _no(Reason.INCIDENT_OVER, f"{incident} is resolved; nothing was changed.")
    if version is not None and version != present:
        text = f"This button is from version {version} of the runbook; version {present} is in force now. Open the current plan."
        return _no(Reason.BUTTON_OLD, text)
    if expires_at is not None and now >= expires_at:
        ago = in_words((now - expires_at).total_seconds())
        return _no(Reason.BUTTON_EXPIRED, f"This button expired {ago} ago; the card above has a fresh one.")
    return None


def _grants(person: str, circle: Circle, *, approving: bool) -> list[Tier | None]:
    if circle.directory.person(person) is None:
        return []
    subjects = circle.subjects(person)
    return [
        grant.approve if approving else grant.run
        for grant in circle.directory.grants
        if grant.who in subjects and _covers(grant.services, circle.service)
    ]


def _covers(services: Collection[str], service: str | None) -> bool:
    """An incident without a service is covered by grants for all services only."""
    return "*" in services or (service is not None and service in services)


def _not_entitled(plan: Plan, requester: Actor, circle: Circle) -> Decision | None:
    if not requester.is_human:
        return _no(Reason.NOT_HUMAN, "Not run: only a person can ask for a change.")
    if circle.directory.person(requester.id) is None:
        text = "Not run: Muster does not know who you are. Ask whoever keeps muster.yaml to add you; until then you can read everything."
        return _no(Reason.UNKNOWN_PERSON, text)
    if may_run(requester.id, tier=plan.tier, circle=circle):
        return None
    helpers = runners(tier=plan.tier, circle=circle)
    where = f" for {circle.service}" if circle.service else ""
    text = (
        f"Not run: you may not run actions of {plan.tier.risk} risk ({plan.tier.value}){where}. These can: {_listed(helpers) or 'nobody'}."
    )
    return _no(Reason.NOT_GRANTED, text, helpers)


def _void(plan: Plan, approvals: Iterable[Approval], requester: Actor, circle: Circle, requested_hash: str | None) -> Decision | None:
    if requested_hash is not None and requested_hash != plan.hash:
        text = "Not run: the plan has changed since you saw it. Open it again and look at what would change now."
        return _no(Reason.PLAN_CHANGED, text)
    for approval in approvals:
        stands = not approval.granted and approval.withdrawn_at is None and approval.plan_hash == plan.hash
        if stands and approval.person != requester.id and may_approve(approval.person, tier=plan.tier, circle=circle):
            because = f": {approval.reason}" if approval.reason else ""
            return _no(Reason.VETOED, f"Not run: {_names((approval.person,), circle)} declined it{because}.")
    return None


def _broken_glass(reason: str, *, used: int, limit: int, needed_: int, have: tuple[str, ...]) -> Decision:
    if len(reason.strip()) < SHORTEST_REASON:
        return _no(Reason.BREAK_GLASS_REASON, "Not run: say in a sentence why this cannot wait for approval; it will be reviewed.")
    if used >= limit:
        text = f"Not run: you have gone without approval {used} times in 24 hours, and {limit} is the limit. Call somebody who can approve."
        return _no(Reason.BREAK_GLASS_LIMIT, text)
    text = "Allowed without approval; the leads are told, and it will be reviewed."
    return Decision(verdict=Verdict.ALLOWED, reason=Reason.BREAK_GLASS, text=text, needed=needed_, approved_by=have, review=True)


def _waits(tier: Tier, missing: int, helpers: tuple[Person, ...]) -> str:
    people = "one other person" if missing == 1 else f"{missing} other people"
    if len(helpers) < missing:
        can = f"only {_listed(helpers)} can" if helpers else "nobody else can"
        return f"{tier.value} needs the approval of {people}, and {can} give it now."
    return f"{tier.value} needs the approval of {people}: {_listed(helpers)}."


def _no(reason: Reason, text: str, helpers: tuple[Person, ...] = ()) -> Decision:
    return Decision(verdict=Verdict.REFUSED, reason=reason, text=text, helpers=helpers)


def _listed(people: tuple[Person, ...]) -> str:
    """Names, at most five: a longer list is no help at night."""
    names = [person.name for person in people[:5]]
    return ", ".join(names) + (f" and {len(people) - 5} more" if len(people) > 5 else "")


def _names(ids: Iterable[str], circle: Circle) -> str:
    found = ((circle.directory.person(one), one) for one in ids)
    return ", ".join(person.name if person else one for person, one in found)
