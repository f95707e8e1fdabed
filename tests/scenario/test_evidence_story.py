"""Evidence in the whole product: copied by itself when unsafe answers get out, before anybody presses anything."""

import re
from typing import Any

import pytest

from storage import evidence
from tests.inside import Inside
from tests.stack import words

pytestmark = [pytest.mark.slow]


def test_unsafe_answers_are_kept_before_anybody_acts(stack: Inside) -> None:
    """The timeline names a digest, the card how it begins; behind it stand the unsafe answers word for word, and Slack sees none of them."""
    stack.fault("safety_failure")
    stack.advance_until(stack.card, what="the card", most=600)

    def shown() -> Any:
        return re.search(r"SHA-256 ([0-9a-f]{8}:[0-9a-f]{8})…", words(stack.card() or {}))

    found = stack.advance_until(shown, what="the digest on the card", most=120)
    measured = [one for one in stack.entries(kind="diagnostic.measured") if one.payload["diagnostic"] == "evidence"]
    digest = re.sub("[^0-9a-f]", "", measured[0].summary.rpartition("SHA-256 ")[2])
    assert digest.startswith(found[1].replace(":", ""))
    kept = stack.database.read(lambda tx: evidence.get(tx, digest))
    bodies = {one.source: stack.database.read(lambda tx, one=one: evidence.body(tx, one.sha256)) for one in kept.pieces}
    assert b"breaks the policy" in (bodies["prompts and outputs"] or b"")
    assert "breaks the policy" not in words(stack.card() or {})
    assert kept.pieces
    assert len(measured) == 1
    assert not stack.entries(kind="run.started")
    assert "policy" not in measured[0].model_dump_json()
    assert stack.chain_holds()
    assert stack.database.read(lambda tx: list(evidence.damaged(tx))) == []
