"""Evidence: what was preserved, and taking a piece out. Its words are for admins, and each look is on record."""

import base64

from bot.api.endpoint import Call, Endpoint
from bot.api.models import Damage, Done, EvidencePiece, Items, TakeOut
from bot.flows import custody
from runbooks.evidence import Snapshot
from storage import evidence


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
    context, sha256 = call.muster.context, call.path["sha256"]
    by = call.muster.desk.actor(call.visitor)
    found = context.write(
        lambda tx: custody.taken_out(tx, context, sha256, reason=call.body.reason, by=by, now=context.now()), name="evidence"
    )
    return EvidencePiece(sha256=sha256, base64=base64.b64encode(found).decode())


def erased(call: Call) -> Done:
    """Remove a piece's bytes for ever."""
    context, sha256 = call.muster.context, call.path["sha256"]
    by = call.muster.desk.actor(call.visitor)
    said = context.write(lambda tx: custody.erased(tx, context, sha256, reason=call.body.reason, by=by, now=context.now()), name="evidence")
    return Done(said=said)


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
