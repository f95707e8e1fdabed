"""The workspace itself: who it is, what it holds, and how a change becomes known."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from bot.workspace import ids
from bot.workspace.hub import Hub
from bot.workspace.limits import Limiter, Rates
from bot.workspace.manifest import Manifest
from bot.workspace.protocol import EVENTS_PER_HOUR, Clock, Json, Timing
from bot.workspace.store.database import Database
from bot.workspace.store.outbox import OutboxTable
from bot.workspace.store.rooms import Channel, Rooms
from bot.workspace.store.surfaces import Surfaces
from bot.workspace.store.talk import Talk

SLACKBOT = "USLACKBOT"
_MESSAGE_EVENTS = {"channel": "message.channels", "group": "message.groups", "im": "message.im"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The team and its one installed app, with the app's secrets."""

    team_id: str
    team_name: str
    team_domain: str
    app_id: str
    bot_id: str
    bot_user_id: str
    bot_token: str
    app_token: str
    signing_secret: str
    verification_token: str


class Workspace:
    """Everything one workspace knows. Used from the event loop's thread only."""

    def __init__(self, *, data_dir: Path, manifest: Manifest, clock: Clock, timing: Timing, rates: Rates) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.manifest = manifest
        self.clock = clock
        self.timing = timing
        self.db = Database(data_dir / "workspace.sqlite3")
        self.rooms = Rooms(self.db)
        self.talk = Talk(self.db)
        self.surfaces = Surfaces(self.db)
        self.outbox = OutboxTable(self.db)
        self.hub = Hub()
        self.limiter = Limiter(rates=rates, clock=clock)
        self.counters: Counter[str] = Counter()
        self.outbox_changed = asyncio.Event()
        self.tickets: set[str] = set()
        self.identity = _identity(data_dir / "app.json")
        self._last_ts = _micros(self.talk.latest_ts())
        self._minutes: Counter[int] = Counter()
        with self.transaction():
            seed(self)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Change something: browsers and the app hear of it after the commit, or not at all. Inside another it joins that one."""
        if self.db.in_transaction:
            yield
            return
        try:
            with self.db.transaction():
                yield
        except BaseException:
            self.hub.discard()
            raise
        self.hub.flush()
        self.outbox_changed.set()

    def new_ts(self) -> str:
        """The present as a Slack ts, unlike any before."""
        self._last_ts = max(int(self.clock() * 1_000_000), self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def audience(self, channel: Channel) -> list[str] | None:
        """Who may see a channel: everybody (None) or its members."""
        return None if channel.kind == "public" else self.rooms.members(channel.id)

    def emit(self, event: Json) -> None:
        """Queue an event for the app, if its manifest asks for it."""
        name = _MESSAGE_EVENTS[event["channel_type"]] if event["type"] == "message" else event["type"]
        if name in self.manifest.events and self._within_hour():
            self.outbox.add(self.envelope(event), due=self.clock())

    def envelope(self, event: Json) -> Json:
        """An event as Slack's Events API wraps it."""
        who = self.identity
        authorization = {
            "enterprise_id": None,
            "team_id": who.team_id,
            "user_id": who.bot_user_id,
            "is_bot": True,
            "is_enterprise_install": False,
        }
        return {
            "token": who.verification_token,
            "team_id": who.team_id,
            "api_app_id": who.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": ids.new_id("Ev"),
            "event_time": int(self.clock()),
            "authorizations": [authorization],
            "is_ext_shared_channel": False,
            "event_context": f"4-{ids.token('ctx')}",
        }

    def _within_hour(self) -> bool:
        """Slack delivers 30,000 events an hour, then one ``app_rate_limited`` for each minute that is cut."""
        minute = int(self.clock()) // 60
        for old in [m for m in self._minutes if m <= minute - 60]:
            del self._minutes[old]
        self._minutes[minute] += 1
        total = sum(self._minutes.values())
        if total == EVENTS_PER_HOUR + 1 or (total > EVENTS_PER_HOUR and self._minutes[minute] == 1):
            self.outbox.add(self._rate_limited(minute * 60), due=self.clock())
        return total <= EVENTS_PER_HOUR

    def _rate_limited(self, minute: int) -> Json:
        return {
            "token": self.identity.verification_token,
            "type": "app_rate_limited",
            "team_id": self.identity.team_id,
            "minute_rate_limited": minute,
            "api_app_id": self.identity.app_id,
        }


def _micros(ts: str) -> int:
    seconds, _, micros = ts.partition(".")
    return int(seconds) * 1_000_000 + int(micros or 0)


def _seed_file() -> Json:
    raw: Json = yaml.safe_load(Path(__file__).with_name("seed.yaml").read_text("utf-8"))
    return raw


def _identity(path: Path) -> Identity:
    """Read the app's identity and secrets, or make them on the first start (mode 0600, appears whole or not at all)."""
    if path.exists():
        return Identity(**json.loads(path.read_text("utf-8")))
    raw = _seed_file()
    team = raw["team"]
    identity = Identity(
        team_id=team["id"],
        team_name=team["name"],
        team_domain=team["domain"],
        **raw["app"],
        bot_token=ids.token("xoxb"),
        app_token=ids.token("xapp"),
        signing_secret=ids.token("s").removeprefix("s-").replace("-", "")[-32:],
        verification_token=ids.token("v").removeprefix("v-"),
    )
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(identity), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return identity


def seed(ws: Workspace) -> None:
    """Fill an empty workspace from ``seed.yaml``, and let the app's name follow its manifest."""
    raw = _seed_file()
    ws.rooms.put_user(_bot_user(ws))
    if ws.rooms.channel(raw["channels"][0]["id"]) is not None:
        return
    people = [entry["id"] for entry in raw["people"]]
    ws.rooms.put_user(_user(ws, {"id": SLACKBOT, "name": "slackbot", "real_name": "Slackbot", "is_bot": True}))
    for person in raw["people"]:
        ws.rooms.put_user(_user(ws, person))
    for group in raw["usergroups"]:
        ws.rooms.put_usergroup(_usergroup(ws, group))
    for entry in raw["channels"]:
        ws.rooms.add_channel(_channel(ws, entry, creator=people[0]))
        for member in (*entry.get("members", people), ws.identity.bot_user_id):
            ws.rooms.join(entry["id"], member)


def _channel(ws: Workspace, entry: Json, *, creator: str) -> Channel:
    now = int(ws.clock())
    return Channel(
        id=entry["id"],
        name=entry["name"],
        kind="public",
        archived=False,
        creator=creator,
        created=now,
        general=entry.get("is_general", False),
        topic={"value": entry["topic"], "creator": creator, "last_set": now},
        purpose={"value": entry["purpose"], "creator": creator, "last_set": now},
    )


def _usergroup(ws: Workspace, group: Json) -> Json:
    now = int(ws.clock())
    return {
        "id": group["id"],
        "team_id": ws.identity.team_id,
        "is_usergroup": True,
        "name": group["name"],
        "handle": group["handle"],
        "description": "",
        "date_create": now,
        "date_update": now,
        "date_delete": 0,
        "user_count": len(group["users"]),
        "users": group["users"],
    }


def _bot_user(ws: Workspace) -> Json:
    name = ws.manifest.display_name
    entry = {"id": ws.identity.bot_user_id, "name": name.lower().replace(" ", "_"), "real_name": name, "is_bot": True}
    return _user(ws, entry) | {"profile": _profile(entry) | {"api_app_id": ws.identity.app_id, "bot_id": ws.identity.bot_id}}


def _user(ws: Workspace, entry: Json) -> Json:
    return {
        "id": entry["id"],
        "team_id": ws.identity.team_id,
        "name": entry["name"],
        "deleted": False,
        "color": entry.get("color", "4a154b"),
        "real_name": entry["real_name"],
        "tz": entry.get("tz", "Etc/UTC"),
        "is_admin": False,
        "is_owner": False,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "is_bot": entry.get("is_bot", False),
        "is_app_user": False,
        "updated": int(ws.clock()),
        "profile": _profile(entry),
    }


def _profile(entry: Json) -> Json:
    profile: dict[str, Any] = {
        "title": entry.get("title", ""),
        "real_name": entry["real_name"],
        "real_name_normalized": entry["real_name"],
        "display_name": entry["name"],
        "display_name_normalized": entry["name"],
    }
    if "email" in entry:
        profile["email"] = entry["email"]
    return profile
