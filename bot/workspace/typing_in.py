"""What a person types, turned into what Slack sends: names become mentions, addresses become links."""

from __future__ import annotations

import re

from bot.workspace.state import Workspace

_TOKEN = re.compile(r"<(?:@[UW][A-Z0-9]+|#C[A-Z0-9]+|!(?:here|channel|everyone)|!subteam\^S[A-Z0-9]+)(?:\|[^<>\n]*)?>")
_URL = re.compile(r"https?://[^\s<>|]+[^\s<>|.,;:!?)\]'\"]")
_SLASH_TOKEN = re.compile(r"<(@[UW][A-Z0-9]+|#C[A-Z0-9]+)>")


def message_text(ws: Workspace, typed: str) -> str:
    """The mrkdwn of a typed message: special characters escaped, mentions and links as tokens."""
    parts: list[str] = []
    at = 0
    typed = _with_mentions(ws, typed)
    for token in _TOKEN.finditer(typed):
        parts += [_plain(typed[at : token.start()]), token.group()]
        at = token.end()
    return "".join([*parts, _plain(typed[at:])])


def command_text(ws: Workspace, typed: str, *, escape: bool) -> str:
    """The text of a slash command; with ``escape`` (should_escape) names become ``<@U…|name>`` and ``<#C…|name>``."""
    if not escape:
        return typed.strip()
    named = _with_mentions(ws, typed, channels=True)
    return _SLASH_TOKEN.sub(lambda found: _labelled(ws, found.group(1)), named).strip()


def _labelled(ws: Workspace, token: str) -> str:
    if token.startswith("@"):
        user = ws.rooms.user(token[1:])
        return f"<{token}|{user['name']}>" if user else f"<{token}>"
    channel = ws.rooms.channel(token[1:])
    return f"<{token}|{channel.name}>" if channel else f"<{token}>"


def _with_mentions(ws: Workspace, typed: str, *, channels: bool = False) -> str:
    names = {name.lower(): f"<@{user['id']}>" for user in ws.rooms.users() for name in (user["name"], user["real_name"])}
    typed = _swapped(typed, "@", names)
    if channels:
        typed = _swapped(typed, "#", {c.name: f"<#{c.id}>" for c in ws.rooms.channels() if c.kind == "public"})
    return typed


def _swapped(typed: str, sign: str, names: dict[str, str]) -> str:
    """Swap ``@name`` for its token, the longest name first, where a word ends; never inside a token."""
    if not names:
        return typed
    longest = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w<|]){sign}({longest})(?![\w-])", re.IGNORECASE)
    return pattern.sub(lambda found: names[found.group(1).lower()], typed)


def _plain(text: str) -> str:
    parts: list[str] = []
    at = 0
    for url in _URL.finditer(text):
        parts += [_escaped(text[at : url.start()]), f"<{_escaped(url.group())}>"]
        at = url.end()
    return "".join([*parts, _escaped(text[at:])])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
