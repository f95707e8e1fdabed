"""What leaves a backend as text is redacted and cut before anyone stores or posts it (rules S18, S19)."""

import re
from collections.abc import Mapping

from runbooks.value import Json

HIDDEN = "[hidden]"
MOST_TEXT = 2000  # what fits one section of a Slack message, with room to spare
MOST_ITEMS = 500
MOST_DEPTH = 20

_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:pass(?:word|wd)?|pwd|secret|token|api[_-]?key|apikey|authorization|auth|credentials?|private[_-]?key|cookie|session"
    r"|routing[_-]?key|access[_-]?key)(?:$|[_.-])"
)
_NAME = (
    r"(?:pass(?:word|wd)?|pwd|secret|(?:access|api|auth|client|refresh|id|bot|app)?[_-]?token|api[_-]?key|client[_-]?secret|private[_-]?key"
)
_NAME += r"|routing[_-]?key|access[_-]?key(?:[_-]?id)?|secret[_-]?access[_-]?key|cookie|set-cookie|session(?:[_-]?id)?)"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)\b(authorization\s*[:=]\s*)(?:(?:bearer|basic|token|digest)\s+)?[^\s,;\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(rf"(?i)([\"']?\b[\w.-]{{0,40}}{_NAME}[\"']?\s*[:=]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'}}]+)"), rf"\1{HIDDEN}"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@"), f"{HIDDEN}@"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{8,}"), HIDDEN),
    (re.compile(r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"), HIDDEN),
    (re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b"), HIDDEN),
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])")


def redact(text: str, *, limit: int = MOST_TEXT) -> str:
    """The text without tokens, keys, passwords, e-mail addresses and card numbers, at most `limit` characters long.

    Redaction comes before cutting: half a token is still a token. What is far beyond `limit` is dropped first, so that a huge
    text costs little; a secret cut by that lies beyond what is kept.
    """
    kept = text[: limit * 2 + 4096]
    for pattern, put in _PATTERNS:
        kept = pattern.sub(put, kept)
    kept = _CARD.sub(lambda found: HIDDEN if _is_card(found[0]) else found[0], kept)
    return kept if len(kept) <= limit else kept[: max(limit - 1, 0)] + "…"


def clean(value: Json, *, limit: int = MOST_TEXT, depth: int = 0) -> Json:
    """JSON with every text redacted, everything under a secret's name hidden, long lists and deep nesting cut."""
    if isinstance(value, str):
        return redact(value, limit=limit)
    if depth >= MOST_DEPTH and isinstance(value, Mapping | list | tuple):
        return "…"
    if isinstance(value, Mapping):
        some = list(value.items())[:MOST_ITEMS]
        return {
            redact(str(key), limit=200): HIDDEN if _SECRET_NAME.search(str(key)) and entry else clean(entry, limit=limit, depth=depth + 1)
            for key, entry in some
        }
    if isinstance(value, list | tuple):
        return [clean(entry, limit=limit, depth=depth + 1) for entry in value[:MOST_ITEMS]]
    return value


def _is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1): most long numbers are no card."""
    digits = [int(digit) for digit in text if digit.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
