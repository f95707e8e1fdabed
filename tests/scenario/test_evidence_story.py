"""Evidence in the whole product: copied by itself when unsafe answers get out, before anybody presses anything."""

import re
from typing import Any

import pytest

from storage import evidence
from tests.inside import Inside
from tests.stack import words

pytestmark = [pytest.mark.slow]


def test_unsafe_answers_are_kept_before_anybody_acts(stack: Inside) -> None:
    """The card and the timeline name a digest; behind it stand the unsafe answers word for word, and Slack sees none of the words."""
    stack.fault("safety_failure")
    stack.advance_until(stack.card, what="the card", most=600)

    def shown() -> Any:
        return re.search(r"SHA-256 ((?:[0-9a-f]{8}:?){8})", words(stack.card() or {}))

    found = stack.advance_until(shown, what="the digest on the card", most=120)
    kept = stack.database.read(lambda tx: evidence.get(tx, found[1]))
    bodies = {one.source: stack.database.read(lambda tx, one=one: evidence.body(tx, one.sha256)) for one in kept.pieces}
    assert b"breaks the policy" in (bodies["prompts and outputs"] or b"")
    assert "breaks the policy" not in words(stack.card() or {})
    measured = [one for one in stack.entries(kind="diagnostic.measured") if one.payload["diagnostic"] == "evidence"]
    assert len(measured) == 1
    digest = re.sub("[^0-9a-f]", "", measured[0].summary.rpartition("SHA-256 ")[2])
    assert stack.database.read(lambda tx: evidence.get(tx, digest)).pieces
    assert not stack.entries(kind="run.started")
    assert "policy" not in measured[0].model_dump_json()
    assert stack.chain_holds()
    assert stack.database.read(lambda tx: list(evidence.damaged(tx))) == []
