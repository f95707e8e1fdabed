"""Socket Mode: one connection that is made, watched and made again, however long Slack is away.

Muster speaks the protocol itself (docs.slack.dev, Using Socket Mode), over `websockets`. slack_sdk's client reconnects out of much,
but its reading thread ends when Slack announces a new connection and cannot give one, and the bot then stays deaf while it looks
connected; and closing it waits for seconds. Here a thread watches from outside, a silent connection is dropped after its pings, and
a new one stands before Slack takes the old one away.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from slack_bolt import BoltRequest, BoltResponse
from slack_sdk import WebClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bot.slack.app import SlackApp
from runbooks.value import Json

DIAL = 10.0  # seconds to open a connection
PING = 10.0  # seconds between pings; Slack wants to hear from a client at least every 30
SILENCE = 20.0  # seconds without a pong after which the line counts as dead
GRACE = 30.0  # seconds that an old connection may still bring what Slack had put on it
STEADY = 10.0  # seconds that a line must have lived for the next one to be opened without waiting
WORKERS = 8
LARGEST = 4_000_000  # characters of one envelope; a view with its state stays far below
_DELIVERIES = frozenset({"events_api", "interactive", "slash_commands"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectedness:
    """Whether Slack can reach Muster. `since` is in seconds of the monotonic clock; `trouble` says what is wrong."""

    connected: bool
    since: float
    trouble: str | None = None


class SocketDoor:
    """Keeps one connection. `start` returns at once; `state` says how it stands."""

    def __init__(
        self,
        *,
        app: SlackApp,
        client: WebClient,
        app_token: str,
        first_retry: float = 1.0,
        slowest_retry: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._web, self._token = app, client, app_token
        self._first_retry, self._slowest_retry = first_retry, slowest_retry
        self._monotonic = monotonic
        self._state = Connectedness(connected=False, since=monotonic(), trouble="not connected yet")
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._wait, self._opened_at = first_retry, monotonic()
        self._line: _Line | None = None
        self._retired: list[_Line] = []
        self._workers = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="slack-in")
        self._thread = threading.Thread(target=self._watch, name="slack-socket", daemon=True)

    @property
    def state(self) -> Connectedness:
        """How it stands, for health and for the card's line about what is not working."""
        return self._state

    def start(self) -> None:
        """Begin to connect, and keep at it."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection, and finish what has arrived."""
        self._stop.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._workers.shutdown(wait=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._changed.clear()
            try:
                self._keep()
                self._changed.wait(self._slowest_retry)
            except Exception as error:  # noqa: BLE001 - the outermost loop: a bot that stops trying is deaf for ever
                self._note(connected=self._line is not None and self._line.is_open, trouble=str(error))
                self._back_off()
        for line in (self._line, *self._retired):
            if line is not None:
                line.close()

    def _keep(self) -> None:
        """One open line; a new one where there is none, or where Slack has announced the end of this one."""
        line = self._line
        if line is not None and line.is_open and not line.is_leaving:
            self._note(connected=line.is_greeted, trouble=None if line.is_greeted else "Slack has not greeted yet")
            return
        if line is not None:
            self._lost(line)
        self._line = self._open()
        self._opened_at = self._monotonic()
        self._retired = [old for old in (line, *self._retired) if old is not None and old.is_open]
        if line is not None:
            line.retire()

    def _lost(self, line: "_Line") -> None:
        if not line.is_open:
            self._note(connected=False, trouble=line.trouble or "the connection to Slack was lost")
            self._line = None
        if self._monotonic() - self._opened_at > STEADY:
            self._wait = self._first_retry
        else:
            self._back_off()
        if line.is_refused:
            self._line = None
            raise ConnectionRefusedError("Socket Mode is switched off for Muster's Slack app. Switch it on in its settings.")

    def _back_off(self) -> None:
        """Slack takes few connections a minute, and closes what is too many at once."""
        self._stop.wait(self._wait)
        self._wait = min(self._wait * 2, self._slowest_retry)

    def _open(self) -> "_Line":
        url = str(self._web.apps_connections_open(app_token=self._token)["url"])
        dial = partial(
            connect,
            url,
            open_timeout=DIAL,
            close_timeout=1,
            ping_interval=PING,
            ping_timeout=SILENCE,
            max_size=LARGEST,
            proxy=self._web.proxy or None,
            ssl=self._web.ssl if url.startswith("wss:") else None,
        )
        line = _Line(dial=dial, deliver=self._arrived, changed=self._changed)
        line.start()
        return line

    def _note(self, *, connected: bool, trouble: str | None) -> None:
        before = self._state
        if before.connected != connected:
            _log.log(logging.INFO if connected else logging.WARNING, "slack socket %s", "connected" if connected else f"lost: {trouble}")
        since = before.since if before.connected == connected else self._monotonic()
        self._state = Connectedness(connected=connected, since=since, trouble=trouble)

    def _arrived(self, line: "_Line", envelope: Json) -> None:
        if not self._stop.is_set():
            self._workers.submit(self._answer, line, envelope)

    def _answer(self, line: "_Line", envelope: Json) -> None:
        try:
            request = BoltRequest(mode="socket_mode", body=envelope.get("payload") or {}, headers=_headers(envelope))
            response, after = self._app.answer(request)
            if response.status == 200:
                line.send({"envelope_id": envelope.get("envelope_id"), **_payload(response)})
            after()
        except ConnectionClosed:
            _log.warning("the line closed before an acknowledgement; slack sends an event again, and a person sees an error")
        except Exception:  # noqa: BLE001 - the outermost edge of a thread
            _log.exception("an envelope could not be answered")


class _Line:
    """One WebSocket connection, read by its own thread until it closes."""

    def __init__(self, *, dial: Callable[[], Any], deliver: Callable[["_Line", Json], None], changed: threading.Event) -> None:
        self._dial, self._deliver, self._changed = dial, deliver, changed
        self._socket: ClientConnection | None = None
        self._dialled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slack-line", daemon=True)
        self.is_open, self.is_greeted, self.is_leaving, self.is_refused = False, False, False, False
        self.trouble: str | None = None

    def start(self) -> None:
        """Connect; returns when the line is open.

        Raises:
            ConnectionError: it could not be opened.
        """
        self._thread.start()
        self._dialled.wait(2 * DIAL)
        if not self.is_open:
            raise ConnectionError(self.trouble or "Slack did not answer in time.")

    def send(self, message: Json) -> None:
        assert self._socket is not None
        self._socket.send(json.dumps(message))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._thread.join(timeout=5)

    def retire(self) -> None:
        """Close in a while: what Slack has put on this line before it announced its end is still read."""
        timer = threading.Timer(GRACE, self.close)
        timer.daemon = True
        timer.start()

    def _run(self) -> None:
        try:
            with self._dial() as socket:
                self._socket, self.is_open = socket, True
                self._dialled.set()
                for raw in socket:
                    self._take(raw)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a thread; the watch reads what went wrong
            self.trouble = f"the connection to Slack failed: {error}"
        finally:
            self.is_open = False
            self._dialled.set()
            self._changed.set()

    def _take(self, raw: str | bytes) -> None:
        message = json.loads(raw)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "hello":
            self.is_greeted = True
            self._changed.set()
        elif kind == "disconnect":
            self.is_leaving, self.is_refused = True, message.get("reason") == "link_disabled"
            self._changed.set()
        elif kind in _DELIVERIES:
            self._deliver(self, message)


def _headers(envelope: Json) -> dict[str, Any]:
    """The retry headers of HTTP, so that both entrances look alike. The first delivery has none (facts, section 6)."""
    attempt = envelope.get("retry_attempt") or 0
    return {"x-slack-retry-num": str(attempt), "x-slack-retry-reason": str(envelope.get("retry_reason") or "")} if attempt else {}


def _payload(response: BoltResponse) -> Json:
    return {"payload": json.loads(response.body)} if response.body else {}
