"""What `muster check` tried, one line each."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried."""

    state: Literal["ok", "note", "WRONG"]
    what: str
    text: str


def ok(what: str, text: str) -> Finding:
    """It works."""
    return Finding(state="ok", what=what, text=text)


def wrong(what: str, text: str) -> Finding:
    """It does not, and the night would show it."""
    return Finding(state="WRONG", what=what, text=text)


def note(what: str, text: str) -> Finding:
    """Good to know."""
    return Finding(state="note", what=what, text=text)
