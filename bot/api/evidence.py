"""Evidence: what was preserved, and taking a piece out. Its words are for admins, and each look is on record."""

import base64
from collections.abc import Callable
from typing import TypeVar

from bot.api.endpoint import Call, Endpoint
from bot.api.models import Damage, Done, EvidencePiece, Items, TakeOut
from bot.flows import custody
from bot.flows.errors import Refused
from runbooks.evidence import Snapshot
from runbooks.people import Actor, ActorKind
from storage import evidence
from storage.database import Tx

T = TypeVar("T")


def listed(call: Call) -> Items[Snapshot]:
    """What was preserved around an incident: names, sizes and digests."""
    now = call.muster.context.now()
    return Items(items=tuple(call.muster.database.read(lambda tx: custody.of_incident(tx, call.path["incident"], now=now))))


def shown(call: Call) -> Snapshot:
    """One snapshot."""
    return call.muster.database.read(lambda tx: evidence.get(tx, call.path["sha256"]))


def damaged(call: Call) -> Items[Damage]:
    """Everything that no longer is what its digest says."""
    found = call.muster.database.read(lambda tx: [Damage(sha256=one.sha256, reason=one.reason) for one in evidence.damaged(tx)])
    return Items(items=tuple(found))


def taken_out(call: Call) -> EvidencePiece:
    """A piece's bytes."""
    context, sha256, reason = call.muster.context, call.path["sha256"], call.body.reason
    found = _decided(call, "take out", lambda tx, by: custody.taken_out(tx, context, sha256, reason=reason, by=by, now=context.now()))
    return EvidencePiece(sha256=sha256, base64=base64.b64encode(found).decode())


def erased(call: Call) -> Done:
    """Remove a piece's bytes for ever."""
    context, sha256, reason = call.muster.context, call.path["sha256"], call.body.reason
    return Done(said=_decided(call, "erase", lambda tx, by: custody.erased(tx, context, sha256, reason=reason, by=by, now=context.now())))


def _decided(call: Call, what: str, work: Callable[[Tx, Actor], T]) -> T:
    """One decision about a piece; an attempt that was not allowed stands on record before it is refused (rules S4, S26)."""
    context, tried = call.muster.context, f"{what} evidence {call.path['sha256'][:100]}"
    try:
        by = call.muster.desk.actor(call.visitor)
        return context.write(lambda tx: work(tx, by), name="evidence")
    except Refused as refused:
        if refused.audit:
            said, who = refused, _caller(call)
            context.write(lambda tx: custody.attempted(tx, tried, said, by=who, now=context.now()), name="evidence")
        raise


def _caller(call: Call) -> Actor:
    """Who asks, known or not: somebody whom muster.yaml does not name is called by the token or the login."""
    guest = call.guest
    person = call.muster.context.directory.person(guest.person.id) if guest.person else None
    kind = ActorKind.PERSON if person else ActorKind.SOURCE
    return Actor(kind=kind, id=person.id if person else guest.name, slack_id=call.visitor.slack_id, via=guest.via)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/incidents/{incident:int}/evidence",
        name="list_evidence",
        summary="What was preserved around an incident",
        handler=listed,
        answer=Items[Snapshot],
    ),
    Endpoint(
        method="GET",
        path="/evidence/damaged",
        name="check_evidence",
        summary="What no longer is what its digest says",
        handler=damaged,
        answer=Items[Damage],
    ),
    Endpoint(method="GET", path="/evidence/{sha256}", name="show_evidence", summary="One snapshot", handler=shown, answer=Snapshot),
    Endpoint(
        method="POST",
        path="/evidence/pieces/{sha256}/take-out",
        name="take_out_evidence",
        summary="A piece's bytes, for admins; the look is on record",
        handler=taken_out,
        body=TakeOut,
        answer=EvidencePiece,
    ),
    Endpoint(
        method="POST",
        path="/evidence/pieces/{sha256}/erase",
        name="erase_evidence",
        summary="Remove a piece's bytes for ever, for admins; on record",
        handler=erased,
        body=TakeOut,
        answer=Done,
    ),
)
