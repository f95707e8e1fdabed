"""Evidence over the API: what everybody may see, what only an admin may take out, and that each look is on record."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.access import Guest
from bot.api import evidence as api_evidence
from bot.api.endpoint import Call
from bot.api.models import TakeOut
from bot.app import Muster
from bot.flows.errors import Refused
from runbooks.evidence import Piece, Snapshot, digest, sealed
from runbooks.people import ActorKind
from runbooks.timeline import OWN, EntryKind
from storage import evidence, timeline
from tests.opened import BEN, EVA, client, opened

V1 = "/api/v1"
WORDS = b"a customer's question"


@pytest.fixture
def muster(tmp_path: Path, sqlite_url: str) -> Iterator[Muster]:
    """A Muster without an engine."""
    with opened(tmp_path, sqlite_url) as one:
        yield one


@pytest.fixture
def snapshot(muster: Muster) -> Snapshot:
    """What was preserved when the one open incident began."""
    client(muster, token=BEN).post(f"{V1}/incidents", json={"title": "Unsafe answers", "service": "answers"}).raise_for_status()
    pieces = [Piece(source="exchanges", sha256=digest(WORDS), size=len(WORDS))]
    found = sealed(
        name="unsafe", environment="production", service="answers", taken_at=muster.context.now(), pieces=pieces, missing={"log": "silent"}
    )
    evidence.Vault(muster.database).keep(found, {digest(WORDS): WORDS})
    return found


def own(muster: Muster, kind: EntryKind) -> list[str]:
    """What Muster's own record says of this kind."""
    return [one.summary for one in muster.database.read(lambda tx: timeline.of_kind(tx, OWN, kind))]


def test_everybody_sees_what_was_preserved_and_nobody_its_words(muster: Muster, snapshot: Snapshot) -> None:
    """Names, sizes and digests are listed with the incident; the words are in none of it."""
    caller = client(muster, token=EVA)
    listed = caller.get(f"{V1}/incidents/1/evidence")
    assert [one["sha256"] for one in listed.json()["items"]] == [snapshot.sha256]
    shown = caller.get(f"{V1}/evidence/{snapshot.sha256}")
    assert shown.json()["missing"] == {"log": "silent"}
    assert "customer" not in listed.text + shown.text
    assert caller.get(f"{V1}/evidence/damaged").json() == {"items": []}


def test_only_an_admin_takes_a_piece_out_and_it_is_on_record(muster: Muster, snapshot: Snapshot) -> None:
    """Somebody else is told who may; the admin's look stands in Muster's own record with its reason."""
    path = f"{V1}/evidence/pieces/{snapshot.pieces[0].sha256}/take-out"
    refused = client(muster, token=EVA).post(path, json={"reason": "curious"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "not_granted")
    assert "Ben Okafor" in refused.json()["error"]["text"]
    assert own(muster, EntryKind.EVIDENCE_READ) == []
    taken = client(muster, token=BEN).post(path, json={"reason": "safety review"})
    assert base64.b64decode(taken.json()["base64"]) == WORDS
    assert own(muster, EntryKind.EVIDENCE_READ) == [f"ben took evidence {snapshot.pieces[0].sha256} out: safety review"]


@pytest.mark.parametrize("what", ["take-out", "erase"])
def test_s4_an_attempt_that_was_not_allowed_is_on_record(muster: Muster, snapshot: Snapshot, what: str) -> None:
    """Who tried, what, and why not stands in Muster's own record, and nothing about a slip of the pen."""
    sha256 = snapshot.pieces[0].sha256
    path = f"{V1}/evidence/pieces/{sha256}/{what}"
    assert client(muster, token=EVA).post(path, json={"reason": "curious"}).status_code == 403
    assert client(muster, token=BEN).post(path, json={"reason": " "}).is_error
    (row,) = muster.database.read(lambda tx: timeline.of_kind(tx, OWN, EntryKind.ATTEMPT_REFUSED))
    assert (row.actor.kind, row.actor.id, row.actor.via, row.payload["reason"]) == (ActorKind.PERSON, "eva", "api", "not_granted")
    assert row.summary.startswith(f"eva tried to {what.replace('-', ' ')} evidence {sha256}: ")
    assert muster.database.read(lambda tx: evidence.body(tx, sha256)) == WORDS


def test_s4_an_unknown_persons_attempt_is_on_record(muster: Muster, snapshot: Snapshot) -> None:
    """Somebody whom muster.yaml does not name is refused, and stands on record by the login."""
    guest = Guest(name="stranger", person=None, may_write=True, via="cli")
    path = {"sha256": snapshot.pieces[0].sha256}
    call = Call(muster=muster, guest=guest, path=path, query=None, body=TakeOut(reason="curious"), interaction="1")
    with pytest.raises(Refused, match="does not know you"):
        api_evidence.taken_out(call)
    (row,) = muster.database.read(lambda tx: timeline.of_kind(tx, OWN, EntryKind.ATTEMPT_REFUSED))
    assert (row.actor.kind, row.actor.id, row.payload["reason"]) == (ActorKind.SOURCE, "stranger", "unknown_person")


def test_what_others_preserved_crowds_nothing_out(muster: Muster, snapshot: Snapshot) -> None:
    """However many snapshots of other services and environments came first, the incident's own are listed."""
    for number in range(60):
        for about in ({"service": "other", "environment": "production"}, {"service": "answers", "environment": "elsewhere"}):
            earlier = snapshot.taken_at - timedelta(seconds=number + 1)
            other = sealed(name="unsafe", **about, taken_at=earlier, pieces=snapshot.pieces, missing={})
            evidence.Vault(muster.database).keep(other, {digest(WORDS): WORDS})
    general = sealed(name="host", environment=None, service=None, taken_at=snapshot.taken_at, pieces=snapshot.pieces, missing={})
    evidence.Vault(muster.database).keep(general, {digest(WORDS): WORDS})
    listed = client(muster, token=EVA).get(f"{V1}/incidents/1/evidence").json()["items"]
    assert {one["sha256"] for one in listed} == {snapshot.sha256, general.sha256}


def test_an_erased_piece_is_gone_and_said_to_be(muster: Muster, snapshot: Snapshot) -> None:
    """What the law had erased cannot be taken out again; who did it stays on record, and nothing counts as damaged."""
    ben, sha256 = client(muster, token=BEN), snapshot.pieces[0].sha256
    assert "is erased" in ben.post(f"{V1}/evidence/pieces/{sha256}/erase", json={"reason": "a person asked"}).json()["said"]
    gone = ben.post(f"{V1}/evidence/pieces/{sha256}/take-out", json={"reason": "again"})
    assert gone.json()["error"]["reason"] == "erased"
    assert own(muster, EntryKind.EVIDENCE_ERASED) == [f"ben erased evidence {sha256}: a person asked"]
    assert ben.get(f"{V1}/evidence/damaged").json() == {"items": []}
