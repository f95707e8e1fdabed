"""Socket Mode: one connection that is made, watched and made again, however long Slack is away.

slack_sdk reconnects by itself, but not out of everything: when Slack announces a new connection and cannot give one, its reading
thread ends and the bot stays deaf while it looks connected. So the connection is watched from outside and replaced when it is
deaf or gone.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from slack_bolt.adapter.socket_mode.internals import build_headers, send_response
from slack_bolt.request import BoltRequest
from slack_sdk import WebClient
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.slack.app import SlackApp

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectedness:
    """Whether Slack can reach Muster. `since` is in seconds of the monotonic clock; `trouble` says what was tried last."""

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
        look_every: float = 1.0,
        patience: float = 30.0,
        slowest_retry: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._web = client
        self._token = app_token
        self._look_every, self._patience, self._slowest_retry = look_every, patience, slowest_retry
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._socket: SocketModeClient | None = None
        self._state = Connectedness(connected=False, since=monotonic(), trouble="not connected yet")
        self._thread = threading.Thread(target=self._watch, name="slack-socket", daemon=True)

    @property
    def state(self) -> Connectedness:
        """How it stands, for health and for the card's line about what is not working."""
        return self._state

    def start(self) -> None:
        """Begin to connect, and keep at it."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection; returns when it is closed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _watch(self) -> None:
        wait = self._look_every
        while not self._stop.is_set():
            try:
                self._look()
                wait = self._look_every
            except Exception as error:  # noqa: BLE001 - the outermost loop: a bot that stops trying is deaf for ever
                self._close()
                self._note(connected=False, trouble=str(error))
                wait = min(max(wait, self._look_every) * 2, self._slowest_retry)
            self._stop.wait(wait)
        self._close()

    def _look(self) -> None:
        if self._socket is None:
            self._socket = self._connect()
        alive = self._socket.is_connected() and self._socket.message_processor.is_alive()
        self._note(connected=alive, trouble=None if alive else "the connection to Slack was lost")
        deaf = not self._socket.message_processor.is_alive()
        gone = not alive and self._monotonic() - self._state.since > self._patience
        if deaf or gone:
            self._close()

    def _connect(self) -> SocketModeClient:
        socket = SocketModeClient(app_token=self._token, logger=_log, web_client=self._web, ping_interval=10)
        socket.socket_mode_request_listeners.append(self._arrived)
        try:
            socket.connect()
        except Exception:
            socket.close()
            raise
        return socket

    def _close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _note(self, *, connected: bool, trouble: str | None) -> None:
        before = self._state
        if before.connected != connected:
            _log.log(logging.INFO if connected else logging.WARNING, "slack socket %s", "connected" if connected else f"lost: {trouble}")
        since = before.since if before.connected == connected else self._monotonic()
        self._state = Connectedness(connected=connected, since=since, trouble=trouble)

    def _arrived(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        started = time.time()
        bolt_request = BoltRequest(mode="socket_mode", body=request.payload, headers=build_headers(request))
        response, after = self._app.answer(bolt_request)
        send_response(client, request, response, started)
        after()
