"""Events reach the app at once, again at the documented times, and are given up in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.workspace import ids, posting
from bot.workspace.delivery import Postman, Reply
from bot.workspace.limits import RATES
from bot.workspace.manifest import load
from bot.workspace.protocol import EVENTS_PER_HOUR, Timing
from bot.workspace.state import Workspace

MANIFEST = Path(__file__).parents[3] / "bot" / "slack" / "manifest.yaml"
INCIDENTS = "C01INCIDNT"


class App:
    """Answers each delivery with the next of its replies, then acknowledges; keeps what it saw and when."""

    def __init__(self, now: Any, *replies: Reply) -> None:
        self.now = now
        self.replies = list(replies)
        self.seen: list[tuple[float, int, str]] = []

    def ready(self) -> bool:
        return True

    async def send(self, kind: str, body: dict[str, Any], *, accepts: bool, attempt: int = 0, reason: str = "") -> Reply:
        assert (kind, accepts) == ("events_api", False)
        self.seen.append((self.now.at, attempt, reason))
        return self.replies.pop(0) if self.replies else Reply()


def say(ws: Workspace, text: str = "x") -> None:
    with ws.transaction():
        posting.post(ws, ws.rooms.channel(INCIDENTS), {"user": "U01ANA0000", "text": text})


def delivered(ws: Workspace, app: App, now: Any, *moments: float) -> None:
    """Run the postman while the clock jumps from moment to moment (seconds from the start)."""
    start = now.at

    async def work() -> None:
        postman = asyncio.create_task(Postman(ws=ws, carrier=app).run())
        for moment in moments:
            now.at = start + moment
            ws.outbox_changed.set()
            for _ in range(20):
                await asyncio.sleep(0)
        postman.cancel()
        await asyncio.gather(postman, return_exceptions=True)

    asyncio.run(work())
    app.seen = [(at - start, attempt, reason) for at, attempt, reason in app.seen]


LATE = Reply(reason="timeout")


def test_an_event_is_tried_at_once_again_at_once_after_a_minute_and_after_five(ws: Workspace, now: Any) -> None:
    """Four tries with their numbers and reasons, then it is given up."""
    app = App(now, LATE, LATE, LATE, LATE)
    say(ws)
    delivered(ws, app, now, 0, 59, 60, 359, 360, 1000)
    assert app.seen == [(0, 0, ""), (0, 1, "timeout"), (60, 2, "timeout"), (360, 3, "timeout")]
    assert (ws.outbox.waiting(), ws.counters["events given up"]) == (0, 1)


def test_an_acknowledged_event_is_never_sent_again(ws: Workspace, now: Any) -> None:
    """One try that is acknowledged ends it, and so does X-Slack-No-Retry after a failure."""
    app = App(now, Reply(), Reply(reason="http_error", final=True))
    say(ws)
    say(ws)
    delivered(ws, app, now, 0, 60, 360)
    assert (len(app.seen), ws.outbox.waiting()) == (2, 0)


def test_events_wait_on_disk_for_the_next_process(ws: Workspace, make_ws: Callable[..., Workspace], now: Any) -> None:
    """An event queued before a restart is delivered after it, with its count of attempts."""
    say(ws)
    delivered(ws, App(now, LATE, LATE), now, 0)
    again = make_ws()
    app = App(now)
    delivered(again, app, now, 60)
    assert app.seen == [(60, 2, "timeout")]


def test_a_flood_is_delivered_completely(ws: Workspace, now: Any) -> None:
    """More events than may be under way at once all arrive, once each, in order."""
    app = App(now)
    for number in range(300):
        say(ws, str(number))
    delivered(ws, app, now, *([0] * 20))
    assert (len(app.seen), ws.outbox.waiting()) == (300, 0)


def test_thirty_thousand_events_an_hour_are_the_most(ws: Workspace, now: Any) -> None:
    """The next one is dropped and app_rate_limited says so, once a minute; after an hour it goes on."""
    event = {"type": "app_mention", "user": "U01ANA0000", "text": "x"}
    with ws.transaction():
        for _ in range(EVENTS_PER_HOUR + 5):
            ws.emit(event)
        now.passes(60)
        ws.emit(event)
    bodies = [ws.outbox.parcel(seq).body for seq in ws.outbox.due(now.at, limit=10**6)]
    limited = [body for body in bodies if body["type"] == "app_rate_limited"]
    assert (len(bodies) - len(limited), len(limited)) == (EVENTS_PER_HOUR, 2)
    assert limited[0]["minute_rate_limited"] % 60 == 0
    now.passes(3600)
    before = ws.outbox.waiting()
    ws.emit(event)
    assert ws.outbox.waiting() == before + 1


def test_the_signature_is_slacks() -> None:
    """The example of Slack's documentation (verifying requests) gives the documented signature."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
        b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
        b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
        b"803a0bc887a14d10d2c447fce8b6703c"
    )
    signed = ids.signature(secret="8f742231b10e8888abcd99yyyzzz85a5", timestamp="1531420618", body=body)
    assert signed == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


@pytest.mark.parametrize("rates", RATES)
def test_a_workspace_starts_with_each_kind_of_limits(tmp_path: Path, now: Any, rates: str) -> None:
    """Every name that the command line offers can be used."""
    ws = Workspace(data_dir=tmp_path, manifest=load(MANIFEST), clock=now, timing=Timing(), rates=RATES[rates])
    assert ws.limiter.rates.name == rates
    ws.db.close()
