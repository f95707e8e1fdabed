"""The other way to the app: signed HTTP requests to its request URL."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import httpx

from bot.workspace import ids
from bot.workspace.delivery import Reply
from bot.workspace.protocol import Json
from bot.workspace.state import Workspace


class SignedHttp:
    """Posts to one URL, as Slack does with a request URL; a ``Carrier``."""

    def __init__(self, *, ws: Workspace, url: str) -> None:
        self._ws = ws
        self._url = url
        self._client = httpx.AsyncClient(timeout=ws.timing.ack, follow_redirects=False, trust_env=False)

    def ready(self) -> bool:
        """Always: only a try can tell."""
        return True

    async def close(self) -> None:
        """Let go of open connections."""
        await self._client.aclose()

    async def send(self, kind: str, body: Json, *, accepts: bool, attempt: int = 0, reason: str = "") -> Reply:
        """Deliver one payload: JSON for events, a form for commands and interactions."""
        content, content_type = _encoded(kind, body)
        headers = {"content-type": content_type, "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)"}
        if attempt:
            headers |= {"x-slack-retry-num": str(attempt), "x-slack-retry-reason": reason}
        timestamp = str(int(self._ws.clock()))
        signed = ids.signature(secret=self._ws.identity.signing_secret, timestamp=timestamp, body=content)
        headers |= {"x-slack-request-timestamp": timestamp, "x-slack-signature": signed}
        try:
            answer = await self._client.post(self._url, content=content, headers=headers)
        except httpx.TimeoutException:
            return Reply(reason="http_timeout")
        except httpx.TransportError:
            return Reply(reason="connection_failed")
        return _reply(answer, accepts=accepts)


def _encoded(kind: str, body: Json) -> tuple[bytes, str]:
    if kind == "events_api":
        return json.dumps(body).encode(), "application/json"
    fields = {"payload": json.dumps(body)} if kind == "interactive" else body
    return urlencode(fields).encode(), "application/x-www-form-urlencoded"


def _reply(answer: httpx.Response, *, accepts: bool) -> Reply:
    if not answer.is_success:
        return Reply(reason="http_error", final=answer.headers.get("x-slack-no-retry") == "1")
    if not accepts or not answer.content:
        return Reply()
    return Reply(payload=_payload(answer))


def _payload(answer: httpx.Response) -> Any:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return {"text": answer.text}
    try:
        return answer.json()
    except json.JSONDecodeError:
        return {"text": answer.text}
