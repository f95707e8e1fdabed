"""Text from outside, made safe to keep: PostgreSQL takes no NUL, and UTF-8 takes no half of a surrogate pair."""

import json
import re

from runbooks.value import Json

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with what cannot be stored replaced by U+FFFD, which says that something stood there."""
    return _UNSTORABLE.sub("\ufffd", text)


def json_text(value: Json) -> str:
    """JSON that every reader takes back: NUL stays as an escape, half a surrogate pair becomes U+FFFD."""
    return storable(json.dumps(value, ensure_ascii=False))
