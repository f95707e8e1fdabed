from typing import Any

import pytest

from actions.backends.alertmanager import KIND
from actions.contract import Rejected
from actions.kinds import Options
from runbooks.operation import Call, Reading
from tests.parts.vendor import Answered, Asked, serving

TARGET = "alertname=Slow,service=answers"


def silence(number: int, *, state: str, updated: str, maker: str = "muster/run-7") -> dict[str, Any]:
    """A silence of exactly the target, as Alertmanager's API describes it."""
    return {
        "id": f"0000-{number}", "status": {"state": state}, "updatedAt": updated, "startsAt": updated, "endsAt": "2026-11-21T03:00:00.000Z",
        "createdBy": maker, "comment": "why",
        "matchers": [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in (("alertname", "Slow"), ("service", "answers"))],
    }  # fmt: skip


def reading(silences: list[Any]) -> Reading:
    """What the backend makes of these silences."""

    def answers(asked: Asked) -> Answered:
        return Answered(body=silences if asked.parts[-1] == "silences" else [])

    with serving(answers) as url:
        backend = KIND.build(Options({"url": url, "environment": "production"}), {})
        return backend.read(Call(operation="alert.silence", target=TARGET), timeout=10)


def test_a_silence_that_alertmanager_forgets_is_no_change() -> None:
    """Alertmanager drops what ended five days ago; an undo may not take that for a stranger's change."""
    old = silence(1, state="expired", updated="2026-11-15T02:00:00.000Z", maker="ben")
    ours = silence(2, state="active", updated="2026-11-21T02:00:00.000Z")
    assert reading([old, ours]).revision == reading([ours]).revision


@pytest.mark.parametrize("state", ["active", "pending", "expired"])
def test_a_silence_made_meanwhile_is_a_change(state: str) -> None:
    """Whatever became of it, and even where another replica's clock is behind, a stranger's silence changes the revision."""
    ours = silence(2, state="active", updated="2026-11-21T02:00:00.000Z")
    theirs = silence(3, state=state, updated="2026-11-21T01:59:58.000Z", maker="ben")
    assert reading([ours, theirs]).revision != reading([ours]).revision


def test_only_muster_s_silences_are_there_to_be_ended() -> None:
    """Of several in force those of other people are shown and not offered to the undo."""
    found = reading(
        [
            silence(2, state="active", updated="2026-11-21T02:00:00.000Z"),
            silence(3, state="active", updated="2026-11-21T02:00:01.000Z", maker="ben"),
            silence(4, state="pending", updated="2026-11-21T02:00:00.000Z"),
        ]
    )
    assert found.value == {"silenced": True}
    assert found.facts["silences"] == ["0000-2"]
    assert found.facts["planned"] == "2026-11-21T02:00:00.000Z"


@pytest.mark.parametrize("field", ["id", "status", "updatedAt", "createdBy", "endsAt", "matchers"])
def test_a_silence_without_its_parts_is_refused_in_words(field: str) -> None:
    """What is missing in an answer is no crash and no state."""
    broken = silence(2, state="active", updated="2026-11-21T02:00:00.000Z")
    del broken[field]
    with pytest.raises(Rejected, match="in a way that cannot be read"):
        reading([broken])
