"""The Bolt app, and its two entrances: HTTP requests signed by Slack, and Socket Mode.

Building it calls nobody: Muster starts while Slack is down, and says so (mission E5).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

from bot.ports import Front
from bot.slack import listeners

_log = logging.getLogger(__name__)
_bolt_log = logging.getLogger("muster.bolt")
_LONGEST_STAMP = 12  # digits; seconds since 1970 have ten


class SlackApp(App):
    """Bolt's app that acknowledges first: what needs the network runs on the executor, after the answer has left."""

    def __init__(self, *, front: Front, client: WebClient, bot_token: str, signing_secret: str | None, executor: Executor) -> None:
        def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
            return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=bot_token)

        super().__init__(
            name="muster",
            logger=_bolt_log,
            # An empty secret would verify what anybody signs with an empty secret: `answer_http` refuses before that.
            signing_secret=signing_secret or "",
            client=WebClient(base_url=client.base_url, timeout=client.timeout, retry_handlers=[]),
            authorize=authorize,
            process_before_response=True,
            token_verification_enabled=False,
            ignoring_self_events_enabled=False,  # it asks Slack who we are; `listeners.events` reads it from the event
            attaching_conversation_kwargs_enabled=False,
            listener_executor=executor,
        )
        self._after = executor
        self.accepts_http = bool(signing_secret)
        listeners.register(self, front=front, client=client)

    def answer(self, request: BoltRequest) -> tuple[BoltResponse, Callable[[], None]]:
        """The answer, and what to call once it has been sent."""
        response = super().dispatch(request)
        return response, partial(self._start, listeners.jobs(request.context))

    def dispatch(self, req: BoltRequest) -> BoltResponse:
        """The answer; what follows it starts at once."""
        response, after = self.answer(req)
        after()
        return response

    def _start(self, jobs: Sequence[Callable[[], None]]) -> None:
        for job in jobs:
            self._after.submit(_guarded, job)


def _guarded(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:  # noqa: BLE001 - the outermost edge of a thread: an executor swallows what nobody reads
        _log.exception("showing an answer failed")


def build(*, front: Front, client: WebClient, bot_token: str, signing_secret: str | None, executor: Executor) -> SlackApp:
    """The app with every listener. `client` comes from `messenger.client`; `signing_secret` is None where only Socket Mode is used."""
    return SlackApp(front=front, client=client, bot_token=bot_token, signing_secret=signing_secret, executor=executor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send back to Slack; then call `after`."""

    status: int
    headers: Mapping[str, str]
    body: str
    after: Callable[[], None]


def answer_http(app: SlackApp, *, body: bytes, headers: Mapping[str, str], query: str = "") -> Answer:
    """One request to /slack/events: signature checked over the raw body, then dispatched.

    It blocks for one short transaction: call it in a thread, not in an event loop.
    """
    if not app.accepts_http:
        return Answer(status=404, headers={}, body="Muster takes Slack's events over Socket Mode only.", after=_nothing)
    stamp = next((value for name, value in headers.items() if name.lower() == "x-slack-request-timestamp"), "")
    if stamp and not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _LONGEST_STAMP):  # Bolt fails at it, and does not refuse
        return Answer(status=401, headers={}, body="This is not a request of Slack's.", after=_nothing)
    try:
        request = BoltRequest(body=body.decode("utf-8"), query=query, headers=dict(headers))
    except Exception:  # noqa: BLE001 - Bolt reads the body before it checks the signature, and raises whatever rubbish makes it raise
        return Answer(status=400, headers={}, body="This is not a request of Slack's.", after=_nothing)
    response, after = app.answer(request)
    return Answer(status=response.status, headers=response.first_headers_without_set_cookie(), body=response.body or "", after=after)


def _nothing() -> None:
    return None
