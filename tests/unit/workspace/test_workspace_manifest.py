"""The manifest's limits: one value inside each, one outside; and the app's own manifest passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from bot.workspace.manifest import ManifestInvalid, load

Change = Callable[[dict[str, Any], int], None]


def command(name: str = "/c", **fields: Any) -> dict[str, Any]:
    return {"command": name, "description": "d", **fields}


def shortcut(**fields: Any) -> dict[str, Any]:
    return {"type": "global", "name": "n", "callback_id": "c", "description": "d", **fields}


LIMITS: dict[str, tuple[Change, int]] = {
    "display_information.name": (lambda m, n: m["display_information"].update(name="n" * n), 35),
    "features.bot_user.display_name": (lambda m, n: m["features"]["bot_user"].update(display_name="n" * n), 80),
    "features.slash_commands": (lambda m, n: m["features"].update(slash_commands=[command()] * n), 50),
    "features.slash_commands.command": (lambda m, n: m["features"].update(slash_commands=[command("/" + "c" * (n - 1))]), 32),
    "features.slash_commands.description": (lambda m, n: m["features"].update(slash_commands=[command(description="d" * n)]), 2000),
    "features.slash_commands.usage_hint": (lambda m, n: m["features"].update(slash_commands=[command(usage_hint="u" * n)]), 1000),
    "features.shortcuts": (lambda m, n: m["features"].update(shortcuts=[shortcut()] * n), 10),
    "features.shortcuts.name": (lambda m, n: m["features"].update(shortcuts=[shortcut(name="n" * n)]), 24),
    "features.shortcuts.callback_id": (lambda m, n: m["features"].update(shortcuts=[shortcut(callback_id="c" * n)]), 255),
    "features.shortcuts.description": (lambda m, n: m["features"].update(shortcuts=[shortcut(description="d" * n)]), 150),
    "oauth_config.scopes.bot": (
        lambda m, n: m["oauth_config"]["scopes"].update(bot_optional=[f"s{i}" for i in range(n - len(m["oauth_config"]["scopes"]["bot"]))]),
        255,
    ),
}


@pytest.mark.parametrize("field", LIMITS)
def test_a_manifest_at_its_limit_is_taken_and_above_refused(field: str, manifest: Any) -> None:
    """The limit passes; one more is refused with the field's name."""
    change, most = LIMITS[field]
    inside, outside = copy.deepcopy(manifest), copy.deepcopy(manifest)
    change(inside, most)
    change(outside, most + 1)
    load(inside)
    with pytest.raises(ManifestInvalid, match=rf"^{field}:"):
        load(outside)


BROKEN: dict[str, Change] = {
    "must start with /": lambda m, _: m["features"].update(slash_commands=[command("cc")]),
    "must be message or global": lambda m, _: m["features"].update(shortcuts=[shortcut(type="local")]),
    "need the scope commands": lambda m, _: m["oauth_config"]["scopes"]["bot"].remove("commands"),
    "reaction_added needs the scope reactions:read": lambda m, _: m["oauth_config"]["scopes"]["bot"].remove("reactions:read"),
    "is not sent by this workspace": lambda m, _: m["settings"]["event_subscriptions"]["bot_events"].append("star_added"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_manifest_that_contradicts_itself_is_refused(reason: str, manifest: Any) -> None:
    """The refusal says what is wrong."""
    BROKEN[reason](manifest, 0)
    with pytest.raises(ManifestInvalid, match=reason):
        load(manifest)


def test_the_apps_own_manifest_offers_what_muster_needs(manifest: Any) -> None:
    """The command, the three shortcuts and the events are declared."""
    loaded = load(manifest)
    assert loaded.command("/muster")["should_escape"] is True
    assert loaded.shortcut(callback_id="declare_incident", kind="global")
    assert loaded.shortcut(callback_id="declare_from_message", kind="message")
    assert loaded.shortcut(callback_id="add_to_timeline", kind="message")
    assert loaded.shortcut(callback_id="add_to_timeline", kind="global") is None
    assert {"app_mention", "app_home_opened", "message.channels", "reaction_added"} <= loaded.events
