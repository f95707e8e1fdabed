"""What is measured, one part after the other, each in processes of its own."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bot.ports import Press, PressKind
from bot.slack.intents import encode
from storage import inbox
from storage.database import Database
from tests.bench import matching
from tests.bench.figures import Spread, middle
from tests.bench.outside import Outside, open_outside
from tests.bench.requesting import Sent, alert, flood, paced, post
from tests.bench.serving import (
    CHANNELS,
    CONNECTIONS,
    RUNBOOKS,
    SERVICES_A_RUNBOOK,
    SIGNING_SECRET,
    TOKEN,
    Process,
    alert_name,
    limit,
    muster,
    service,
    upgraded,
    write_configuration,
    write_runbooks,
)

PATH = "/alerts/alertmanager"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "User-Agent": "Alertmanager/0.25.0"}
BATCH = 100
STORMING = 12  # services in the floods: a storm is many hosts of few services
_SERVICE = re.compile(r"service-(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. Durations in seconds. `card_every` keeps below Slack's several hundred messages a minute."""

    rounds: int = 3
    flood: float = 2.0
    singles: int = 20_000
    batches: int = 400
    cards: int = RUNBOOKS * SERVICES_A_RUNBOOK
    card_every: float = 0.2
    clicks: int = 300
    click_every: float = 0.02
    starts: int = 3
    matches: int = 2_000
    sizes: tuple[int, ...] = matching.SIZES
    drain: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run of the bench keeps its files, and how it gets a fresh database."""

    folder: Path
    fresh: Callable[[str], str]

    @property
    def configuration(self) -> Path:
        """The muster.yaml of this run."""
        return self.folder / "muster.yaml"

    @property
    def runbooks(self) -> Path:
        """The runbooks of this run."""
        return self.folder / "runbooks"


Report = dict[str, Any]


def requests_of(bodies: Iterable[bytes]) -> list[bytes]:
    """Deliveries, ready to be sent."""
    return [post(PATH, body, HEADERS) for body in bodies]


def singles(count: int) -> list[bytes]:
    """Deliveries of one alert each, every alert another one."""
    return requests_of(alert(_labels(number), starts_at=_now()) for number in range(count))


def batches(count: int) -> list[bytes]:
    """Deliveries of a hundred alerts each, every alert another one, as a storm brings them."""
    return requests_of(alert(*(_labels(number * BATCH + one) for one in range(BATCH)), starts_at=_now()) for number in range(count))


def _labels(number: int) -> dict[str, str]:
    """One host of a storm: many hosts, few services."""
    return {**_trouble(number % STORMING), "instance": f"host-{number}:9100"}


def _trouble(number: int) -> dict[str, str]:
    """What is wrong with one service; each runbook of the bench has four of them."""
    return {"alertname": alert_name(number % RUNBOOKS), "service": service(number), "severity": "critical"}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def limits(plan: Plan, place: Place) -> Report:
    """The bare endpoints and Muster's intake in turn, so that a busy moment spoils all of them alike."""
    one, hundred = singles(plan.singles), batches(plan.batches)
    rates: dict[str, list[float]] = {}
    for turn in range(plan.rounds):
        for mode in ("parse", "durable", "intake"):
            with limit(mode, folder=place.folder, database=place.fresh(f"{mode}-{turn}"), configuration=place.configuration) as process:
                sent = (await flood(process.port, one, connections=CONNECTIONS, seconds=plan.flood)).check()
                rates.setdefault(f"{mode}_singles", []).append(sent.rate)
                sent = (await flood(process.port, hundred, connections=CONNECTIONS, seconds=plan.flood)).check()
                rates.setdefault(f"{mode}_batched", []).append(sent.rate * BATCH)
    return {name: middle(values) for name, values in rates.items()}


async def whole(plan: Plan, place: Place) -> Report:
    """The whole of Muster: alert to card, click to acknowledgement, then floods until triage is through, and its memory."""
    outside, server = await open_outside()
    write_configuration(place.folder, outside.port)
    url = upgraded(place.fresh("whole"))
    try:
        with muster(
            folder=place.folder, database=url, configuration=place.configuration, outside_port=outside.port, runbooks=place.runbooks
        ) as process:
            await asyncio.to_thread(process.wait_ready)
            memory = {"ready": process.memory()}
            cards = await _cards(plan, process, outside)
            clicks = await _clicks(plan, process, outside)
            floods = await _floods(plan, process, url)
            memory["after_floods"] = process.memory()
    finally:
        server.close()
    return {"alert_to_card": cards, "click_to_acknowledgement": clicks, "floods": floods, "memory_mb": memory}


async def _cards(plan: Plan, process: Process, outside: Outside) -> Spread:
    """From just before the alert is sent until its card has arrived whole at Slack; a card that never comes is an error."""
    sent_at: dict[int, float] = {}
    deliveries = requests_of(alert({**_trouble(number), "instance": "the-only-one:9100"}, starts_at=_now()) for number in range(plan.cards))
    (await paced(process.port, deliveries, every=plan.card_every, on_sent=sent_at.__setitem__)).check()
    await _until(lambda: len(_arrivals(outside)) >= plan.cards, within=plan.drain, what="a card for each alert")
    arrived = _arrivals(outside)
    return Spread.of([arrived[number] - at for number, at in sent_at.items()])


def _arrivals(outside: Outside) -> dict[int, float]:
    """When the first message about each service arrived."""
    found: dict[int, float] = {}
    for at, arguments in outside.posted:
        if match := _SERVICE.search(arguments):
            found.setdefault(int(match.group(1)), at)
    return found


async def _clicks(plan: Plan, process: Process, outside: Outside) -> Spread:
    """A signed press of *Take command*, each time by the other of two people, until Muster's acknowledgement."""
    presses = [_press(number, 1 + number % plan.cards, outside.port) for number in range(plan.clicks)]
    return Spread.of((await paced(process.port, presses, every=plan.click_every)).check().took)


def _press(number: int, incident: int, outside_port: int) -> bytes:
    intent = encode(Press(kind=PressKind.TAKE_COMMAND, incident_id=incident))
    channel = f"C0BENCH{incident % CHANNELS:03}"
    container = {"type": "message", "message_ts": f"1800000000.{incident:06}", "channel_id": channel, "is_ephemeral": False}
    payload = {
        "type": "block_actions",
        "user": {"id": ("U01ANA0000", "U01BEN0000")[number // 2 % 2], "team_id": "T01BENCH00"},
        "api_app_id": "A01BENCH00",
        "team": {"id": "T01BENCH00", "domain": "bench"},
        "container": container,
        "channel": {"id": channel, "name": "bench"},
        "message": {"type": "message", "ts": container["message_ts"], "text": "a card"},
        "trigger_id": f"{number}.1800000000.{number:032x}",
        "response_url": f"http://127.0.0.1:{outside_port}/actions/answer",
        "actions": [{"type": "button", "action_id": intent.name, "block_id": "b", "value": intent.value, "action_ts": "1800000000.000001"}],
    }
    return signed(urlencode({"payload": json.dumps(payload)}).encode())


def signed(body: bytes) -> bytes:
    """A request as Slack signs it (docs.slack.dev, "Verifying requests from Slack")."""
    stamp = str(int(time.time()))
    code = hmac.new(SIGNING_SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={code}"}
    return post("/slack/events", body, headers)


async def _floods(plan: Plan, process: Process, url: str) -> Report:
    """Accepted while triage works at the same time, then how long triage needs for all of it."""
    database = Database(url=url)
    try:
        one = await _flood(process, database, singles(plan.singles), plan, alerts_each=1)
        hundred = await _flood(process, database, batches(plan.batches), plan, alerts_each=BATCH)
    finally:
        database.close()
    return {"singles": one, "batched": hundred}


async def _flood(process: Process, database: Database, requests: list[bytes], plan: Plan, *, alerts_each: int) -> Report:
    began = time.perf_counter()
    sent: Sent = (await flood(process.port, requests, connections=CONNECTIONS, seconds=plan.flood)).check()
    left = await asyncio.to_thread(database.read, inbox.waiting)
    accepted, drained_from = sent.accepted * alerts_each, time.perf_counter()
    await _until(lambda: database.read(inbox.waiting) == 0, within=plan.drain, what="triage of everything")
    ended = time.perf_counter()
    return {
        "accepted_per_second": sent.rate * alerts_each,
        "answer": Spread.of(sent.took),
        "alerts": accepted,
        "triaged_while_flooded_per_second": (accepted - left) / sent.seconds,
        "triaged_per_second": accepted / (ended - began),
        "triaged_afterwards_per_second": left / (ended - drained_from) if left else None,
    }


async def _until(look: Callable[[], bool], *, within: float, what: str) -> None:
    ends = time.perf_counter() + within
    while not await asyncio.to_thread(look):
        if time.perf_counter() > ends:
            raise AssertionError(f"{what} did not come within {within:g} s")
        await asyncio.sleep(0.02)


async def starts(plan: Plan, place: Place) -> Report:
    """From the start of the process until it says that it is ready: with a new database, and with one that is there."""
    outside, server = await open_outside()
    write_configuration(place.folder, outside.port)
    took: dict[str, list[float]] = {"new": [], "again": []}
    try:
        for turn in range(plan.starts):
            url = upgraded(place.fresh(f"start-{turn}"))
            for kind in ("new", "again"):
                with muster(
                    folder=place.folder, database=url, configuration=place.configuration, outside_port=outside.port, runbooks=place.runbooks
                ) as process:
                    took[kind].append(await asyncio.to_thread(process.wait_ready))
    finally:
        server.close()
    return {kind: middle(values) for kind, values in took.items()}


async def matches(plan: Plan, place: Place) -> Report:
    """Microseconds of one match against each size of library."""
    seed = next(iter(sorted(place.runbooks.glob("*.md"))))
    measured = {size: Spread.of(matching.durations(size, plan.matches, seed)) for size in plan.sizes}
    return {str(size): spread for size, spread in measured.items()}


Part = Callable[[Plan, Place], Awaitable[Report]]
PARTS: dict[str, Part] = {"starts": starts, "limits": limits, "whole": whole, "matching": matches}


async def measure(plan: Plan, place: Place, *, said: Callable[[str], None]) -> Report:
    """Everything, in order."""
    write_configuration(place.folder, 1)
    write_runbooks(place.runbooks)
    found: Report = {}
    for name, part in PARTS.items():
        said(name)
        found[name] = await part(plan, place)
    return found
