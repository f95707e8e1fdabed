"""Delivers the main world's alerts to Muster, in Alertmanager's format, until each is accepted.

What stands and what was delivered are compared again and again, so a stop in between delivers late or twice, never not at all.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx

from .alerts import Alert, fingerprint, payload
from .hosting import Hosted

_LOG = logging.getLogger(__name__)
_LOOK_EVERY = 0.5
_LONGEST_WAIT = 15.0


class Notifier:
    """One receiver. `repeat` is after how long a standing alert is delivered again."""

    def __init__(
        self,
        hosted: Hosted,
        *,
        url: str,
        client: httpx.AsyncClient,
        page: str,
        token: str | None = None,
        repeat: timedelta = timedelta(minutes=5),
    ) -> None:
        self._hosted, self._url, self._client, self._page, self._token = hosted, url, client, page, token
        self._repeat = repeat.total_seconds()
        self._delivered: dict[str, Any] = hosted.delivered()
        self._failures = 0

    async def run(self) -> None:
        """Look and deliver until cancelled; a failure of this process is logged and tried again, like one of the receiver."""
        while True:
            try:
                self._hosted.catch_up()
                delivered = await self.deliver_due()
            except Exception:  # noqa: BLE001 (an outermost loop: alerts must not end with one failure)
                _LOG.exception("alerts not delivered")
                delivered = False
                self._failures += 1
            await asyncio.sleep(_LOOK_EVERY if delivered else min(_LONGEST_WAIT, 2.0 ** min(self._failures, 10)))

    async def deliver_due(self) -> bool:
        """Deliver every group of which something is new or due again; returns whether all were accepted."""
        accepted = True
        for group in self._due():
            if await self._post(group):
                self._note(group)
            else:
                accepted = False
        self._failures = 0 if accepted else self._failures + 1
        return accepted

    def _due(self) -> list[list[Alert]]:
        assert self._hosted.book is not None
        now = self._hosted.world.now.timestamp()
        groups: dict[str, list[Alert]] = {}
        due: set[str] = set()
        for identity, alert in self._hosted.book.alerts.items():
            if alert.status == "pending":
                continue
            groups.setdefault(alert.rule, []).append(alert)
            last = self._delivered.get(identity)
            if last is None or last["status"] != alert.status or last["firing_at"] != alert.firing_at or now - last["at"] >= self._repeat:
                due.add(alert.rule)
        return [groups[name] for name in sorted(due)]

    async def _post(self, group: list[Alert]) -> bool:
        assert self._hosted.book is not None
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            response = await self._client.post(self._url, json=payload(group, self._hosted.book, page=self._page), headers=headers)
        except httpx.HTTPError as problem:
            _LOG.warning("%s not delivered: %s", group[0].rule, problem or type(problem).__name__)
            return False
        if not response.is_success:
            _LOG.warning("%s not delivered: %s", group[0].rule, response.status_code)
        return response.is_success

    def _note(self, group: list[Alert]) -> None:
        book = self._hosted.book
        assert book is not None
        for alert in group:
            identity = fingerprint(alert.labels)
            if alert.status == "resolved":
                self._delivered.pop(identity, None)
                if book.alerts.get(identity) == alert:
                    book.forget(identity)
            else:
                self._delivered[identity] = _receipt(alert, at=self._hosted.world.now.timestamp())
        self._hosted.keep_alerts(self._delivered)


def _receipt(alert: Alert, *, at: float) -> Mapping[str, Any]:
    return {"status": alert.status, "firing_at": alert.firing_at, "at": at}
