"""Speaks to Slack: posts a card once, updates it after. Implements `ports.Messenger` over slack_sdk's client.

A message carries its key in its metadata, so that after a crash or a lost answer the next attempt can look for it before it posts
again. slack_sdk's own retries are off: they posted a message twice when only the answer was lost.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from slack_sdk import WebClient

from bot.ports import DeliveryError, Location
from bot.slack import cards
from bot.slack.cards import Drawn
from bot.slack.delivery import TRANSPORT, UNDRAWABLE, Pace, SlackRefused, in_doubt, translated
from bot.slack.text import MESSAGE_TEXT, size
from runbooks.screens import Dialog, HomeScreen, Message
from runbooks.value import Json

EVENT_TYPE = "muster_card"
LOOK_BACK = timedelta(hours=24)
_PAGE = 200
_PAGES = 50
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]+")
_PLAIN_NOTE = "\n(The card could not be drawn. Use /muster to act.)"
_log = logging.getLogger(__name__)


def client(*, bot_token: str, api_url: str | None = None, timeout: int = 10) -> WebClient:
    """A client that never retries by itself: retries belong to the engine, which looks first.

    `api_url` is where Slack's Web API stands, for example `http://127.0.0.1:8089/api/`; Slack's own by default. `timeout` in seconds.
    """
    base = api_url or WebClient.BASE_URL
    return WebClient(token=bot_token, base_url=base if base.endswith("/") else f"{base}/", timeout=timeout, retry_handlers=[])


class SlackMessenger:
    """`ports.Messenger` over the Web API. Safe to use from several threads; a card's lane keeps its own order."""

    def __init__(
        self,
        *,
        client: WebClient,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace | None = None,
        installation: str = "",
    ) -> None:
        """`installation` is this database's own name, kept with every key: another database on the same workspace counts its own cards."""
        self._installation = installation
        self._client = client
        self._now = now
        self._pace = pace or Pace(monotonic=monotonic)
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()

    def post(self, screen: Message, *, channel: str, key: str, thread: str | None = None, look_first: bool = False) -> Location:
        """Post once. With `look_first`, search the channel's last day for `key` before posting.

        Slack's refusal of the blocks costs the buttons, not the message: the text is posted alone, and the log says why.

        Raises:
            DeliveryError: not delivered, or perhaps. Until the look has an answer, every error leaves the earlier attempt in doubt.
        """
        drawn = cards.draw(screen)
        place = self._settled(lambda: self._channel_id(channel), look_first=look_first)
        return self._deliver(drawn, place, key, thread, look_first=look_first)

    def update(self, screen: Message, *, at: Location, key: str) -> None:
        """Redraw a message in place, `text` and blocks together.

        Raises:
            DeliveryError: not redrawn, or perhaps; doing it again is harmless.
        """
        drawn = cards.draw(screen)
        self._pace.take("chat.update")
        arguments = {"channel": at.channel, "ts": at.ts, "metadata": self._metadata(key)}
        try:
            self._call(self._client.chat_update, **arguments, text=drawn.text, blocks=list(drawn.blocks))
        except SlackRefused as refused:
            if refused.code not in UNDRAWABLE:
                raise
            _log.error("slack refused the blocks of %s (%s); only its text is shown", key, refused.code)
            self._call(self._client.chat_update, **arguments, text=_alone(drawn), blocks=[])

    def whisper(self, screen: Message, *, channel: str, slack_id: str, thread: str | None = None) -> None:
        """An ephemeral line for one person; a direct message where the person is not in the channel. At most once.

        Raises:
            DeliveryError: not said, or perhaps.
        """
        drawn = cards.draw(screen)
        place = self._channel_id(channel)
        self._pace.take("chat.postEphemeral")
        try:
            self._call(
                self._client.chat_postEphemeral,
                channel=place,
                user=slack_id,
                text=drawn.text,
                blocks=list(drawn.blocks),
                thread_ts=thread,
            )
        except SlackRefused as refused:
            if refused.code not in {"user_not_in_channel", "not_in_channel", "channel_not_found"}:
                raise
            self._send(drawn, self._open(slack_id), None, None)

    def direct(self, screen: Message, *, slack_id: str, key: str, look_first: bool = False) -> Location:
        """A direct message to one person.

        Raises:
            DeliveryError: as `post`.
        """
        drawn = cards.draw(screen)
        place = self._settled(lambda: self._open(slack_id), look_first=look_first)
        return self._deliver(drawn, place, key, None, look_first=look_first)

    def view(self, screen: Dialog, *, view_id: str) -> None:
        """Replace an open dialog. At most once: one that is closed by now is no error.

        Raises:
            DeliveryError: not shown, or perhaps.
        """
        drawn = cards.draw_view(screen)
        self._pace.take("views.update")
        try:
            self._call(self._client.views_update, view_id=view_id, view=drawn)
        except SlackRefused as refused:
            if refused.code != "not_found":
                raise

    def home(self, screen: HomeScreen, *, slack_id: str) -> None:
        """Publish one person's App Home.

        Raises:
            DeliveryError: not published, or perhaps; doing it again is harmless.
        """
        drawn = cards.draw_home(screen)
        self._pace.take("views.publish")
        self._call(self._client.views_publish, user_id=slack_id, view=drawn)

    def _deliver(self, drawn: Drawn, channel: str, key: str, thread: str | None, *, look_first: bool) -> Location:
        if look_first and (found := self._look(channel, key, thread)) is not None:
            _log.info("found %s at %s %s", key, found.channel, found.ts)
            return found
        return self._send(drawn, channel, key, thread)

    def _send(self, drawn: Drawn, channel: str, key: str | None, thread: str | None) -> Location:
        self._pace.take("chat.postMessage", channel=channel)
        try:
            location = self._post(drawn.text, list(drawn.blocks), channel, key, thread)
        except SlackRefused as refused:
            if refused.code not in UNDRAWABLE:
                raise
            _log.error("slack refused the blocks of %s (%s); only its text is posted", key, refused.code)
            location = self._post(_alone(drawn), None, channel, key, thread)
        _log.info("posted %s at %s %s", key, location.channel, location.ts)
        return location

    def _post(self, text: str, blocks: list[Json] | None, channel: str, key: str | None, thread: str | None) -> Location:
        def once() -> Json:
            return self._call(
                self._client.chat_postMessage,
                channel=channel,
                text=text,
                blocks=blocks,
                thread_ts=thread,
                metadata=self._metadata(key) if key else None,
                unfurl_links=False,
                unfurl_media=False,
            )

        answer = self._joining(channel, once)
        return Location(channel=str(answer.get("channel") or channel), ts=str(answer["ts"]))

    def _joining(self, channel: str, call: Callable[[], Json]) -> Json:
        """Call; where Muster is not in a public channel, join it and call once more."""
        try:
            return call()
        except SlackRefused as refused:
            if refused.code != "not_in_channel":
                raise
            try:
                self._call(self._client.conversations_join, channel=channel)
            except SlackRefused:
                raise refused from None
            return call()

    def _metadata(self, key: str) -> Json:
        return {"event_type": EVENT_TYPE, "event_payload": self._payload(key)}

    def _payload(self, key: str) -> dict[str, str]:
        return {"key": key, **({"installation": self._installation} if self._installation else {})}

    def _look(self, channel: str, key: str, thread: str | None) -> Location | None:
        """Search for the key. Any failure proves nothing: the earlier attempt stays in doubt."""
        try:
            for message in self._messages(channel, thread):
                metadata = message.get("metadata") or {}
                if metadata.get("event_type") == EVENT_TYPE and metadata.get("event_payload") == self._payload(key):
                    return Location(channel=channel, ts=str(message["ts"]))
        except DeliveryError as error:
            raise in_doubt(error) from error
        return None

    def _messages(self, channel: str, thread: str | None) -> Iterator[Json]:
        method = "conversations.replies" if thread else "conversations.history"
        oldest = f"{(self._now() - LOOK_BACK).timestamp():.6f}"
        cursor: str | None = None
        for _ in range(_PAGES):
            self._pace.take(method)
            page = self._joining(channel, partial(self._page, channel, thread, oldest, cursor))
            yield from page.get("messages") or ()
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
        raise DeliveryError(f"More than {_PAGES * _PAGE} messages to search; a person must look.", certain=False, permanent=True)

    def _page(self, channel: str, thread: str | None, oldest: str, cursor: str | None) -> Json:
        arguments: dict[str, Json] = {"channel": channel, "limit": _PAGE, "oldest": oldest, "include_all_metadata": True, "cursor": cursor}
        if thread:
            return self._call(self._client.conversations_replies, ts=thread, **arguments)
        return self._call(self._client.conversations_history, **arguments)

    def _settled(self, find: Callable[[], str], *, look_first: bool) -> str:
        try:
            return find()
        except DeliveryError as error:
            if look_first:
                raise in_doubt(error) from error
            raise

    def _open(self, slack_id: str) -> str:
        self._pace.take("conversations.open")
        answer = self._call(self._client.conversations_open, users=slack_id)
        return str(answer["channel"]["id"])

    def _channel_id(self, channel: str) -> str:
        """The id for a name such as `#incidents`; names are looked up once."""
        if _CHANNEL_ID.fullmatch(channel):
            return channel
        name = channel.removeprefix("#")
        with self._lock:
            known = self._names.get(name)
        return known or self._find_channel(name)

    def _find_channel(self, name: str) -> str:
        cursor: str | None = None
        for _ in range(_PAGES):
            page = self._call(
                self._client.conversations_list,
                exclude_archived=True,
                limit=_PAGE,
                types="public_channel,private_channel",
                cursor=cursor,
            )
            names = {str(item.get("name")): str(item.get("id")) for item in page.get("channels") or ()}
            with self._lock:
                self._names.update(names)
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if name in names or not cursor:
                break
        if name not in self._names:
            raise SlackRefused(f"There is no channel #{name} that Muster can see.", code="channel_not_found", certain=True, permanent=True)
        return self._names[name]

    def _call(self, method: Callable[..., Json], **arguments: Json) -> Json:
        try:
            return method(**arguments).data
        except TRANSPORT as error:
            raise translated(error) from error


def _alone(drawn: Drawn) -> str:
    return drawn.text + _PLAIN_NOTE if size(drawn.text + _PLAIN_NOTE) <= MESSAGE_TEXT else drawn.text
