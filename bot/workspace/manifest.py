"""The app manifest: what the installed app is called, may do and wants to hear.

Limits are those of Slack's manifest schema 2.0. Errors: ``ManifestInvalid`` names the field and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bot.workspace.protocol import Json

EVENT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "app_mention": ("app_mentions:read",),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "pin_added": ("pins:read",),
    "pin_removed": ("pins:read",),
    "member_joined_channel": ("channels:read", "groups:read"),
    "member_left_channel": ("channels:read", "groups:read"),
    "channel_archive": ("channels:read",),
    "channel_unarchive": ("channels:read",),
    "channel_created": ("channels:read",),
    "channel_rename": ("channels:read",),
    "app_home_opened": (),
}
"""Events this workspace can send, with the scopes of which one must be held (Slack refuses the subscription else)."""


class ManifestInvalid(ValueError):
    """The manifest breaks a rule of Slack's schema; the text names field and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the workspace needs to know of the installed app."""

    name: str
    display_name: str
    scopes: tuple[str, ...]
    events: frozenset[str]
    commands: tuple[Json, ...]
    shortcuts: tuple[Json, ...]
    home_tab: bool
    messages_tab: bool
    interactive: bool
    socket_mode: bool

    def command(self, name: str) -> Json | None:
        """The declared slash command of that name, or None."""
        return next((entry for entry in self.commands if entry["command"] == name), None)

    def shortcut(self, *, callback_id: str, kind: str) -> Json | None:
        """The declared shortcut (``kind`` is global or message), or None."""
        same = (s for s in self.shortcuts if s["callback_id"] == callback_id and s["type"] == kind)
        return next(same, None)


def load(source: Path | Mapping[str, Any]) -> Manifest:
    """Read a manifest (YAML, of which JSON is a part) or a mapping, and check it.

    Raises:
        ManifestInvalid: a limit is broken or an event lacks its scope.
    """
    raw = yaml.safe_load(source.read_text("utf-8")) if isinstance(source, Path) else source
    if not isinstance(raw, Mapping):
        raise ManifestInvalid("manifest: must be a mapping")
    features = raw.get("features", {})
    settings = raw.get("settings", {})
    scopes = raw.get("oauth_config", {}).get("scopes", {})
    bot_scopes = (*scopes.get("bot", []), *scopes.get("bot_optional", []))
    events = frozenset(settings.get("event_subscriptions", {}).get("bot_events", []))
    home = features.get("app_home", {})
    manifest = Manifest(
        name=raw.get("display_information", {}).get("name", ""),
        display_name=features.get("bot_user", {}).get("display_name", ""),
        scopes=bot_scopes,
        events=events,
        commands=tuple(dict(c) for c in features.get("slash_commands", [])),
        shortcuts=tuple(dict(s) for s in features.get("shortcuts", [])),
        home_tab=bool(home.get("home_tab_enabled")),
        messages_tab=bool(home.get("messages_tab_enabled")),
        interactive=bool(settings.get("interactivity", {}).get("is_enabled")),
        socket_mode=bool(settings.get("socket_mode_enabled")),
    )
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    _length("display_information.name", manifest.name, 1, 35)
    _length("features.bot_user.display_name", manifest.display_name, 1, 80)
    _at_most("features.slash_commands", manifest.commands, 50)
    _at_most("features.shortcuts", manifest.shortcuts, 10)
    _at_most("oauth_config.scopes.bot", manifest.scopes, 255)
    _at_most("settings.event_subscriptions.bot_events", manifest.events, 100)
    for command in manifest.commands:
        _check_command(command)
    for shortcut in manifest.shortcuts:
        _check_shortcut(shortcut)
    if (manifest.commands or manifest.shortcuts) and "commands" not in manifest.scopes:
        raise ManifestInvalid("oauth_config.scopes.bot: slash commands and shortcuts need the scope commands")
    for event in sorted(manifest.events):
        _check_event(event, manifest.scopes)


def _check_command(command: Json) -> None:
    name = command.get("command", "")
    _length("features.slash_commands.command", name, 2, 32)
    if not name.startswith("/"):
        raise ManifestInvalid(f"features.slash_commands.command: {name!r} must start with /")
    _length("features.slash_commands.description", command.get("description", ""), 1, 2000)
    _length("features.slash_commands.usage_hint", command.get("usage_hint", ""), 0, 1000)


def _check_shortcut(shortcut: Json) -> None:
    _length("features.shortcuts.name", shortcut.get("name", ""), 1, 24)
    _length("features.shortcuts.callback_id", shortcut.get("callback_id", ""), 1, 255)
    _length("features.shortcuts.description", shortcut.get("description", ""), 1, 150)
    if shortcut.get("type") not in ("message", "global"):
        raise ManifestInvalid("features.shortcuts.type: must be message or global")


def _check_event(event: str, scopes: tuple[str, ...]) -> None:
    if event not in EVENT_SCOPES:
        raise ManifestInvalid(f"settings.event_subscriptions.bot_events: {event} is not sent by this workspace")
    needed = EVENT_SCOPES[event]
    if needed and not set(needed) & set(scopes):
        raise ManifestInvalid(f"settings.event_subscriptions.bot_events: {event} needs the scope {' or '.join(needed)}")


def _length(field: str, value: str, least: int, most: int) -> None:
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise ManifestInvalid(f"{field}: must be {least} to {most} characters")


def _at_most(field: str, items: Iterable[Any], most: int) -> None:
    if len(tuple(items)) > most:
        raise ManifestInvalid(f"{field}: at most {most}")
