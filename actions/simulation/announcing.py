"""Tells Muster's change feed what was changed in the main world: releases, flags, routes, limits, pools.

Muster knows a change by its key, so after a restart everything is simply told again.
"""

import asyncio
import logging
from typing import Any

import httpx

from .hosting import Hosted

_LOG = logging.getLogger(__name__)
_LOOK_EVERY = 1.0
_LONGEST_WAIT = 15.0
_MOST = 200  # changes in one delivery
_KINDS = {"flag": "flag", "release": "release"}
_OWN = "muster/"  # what Muster itself has changed stands on its timeline already


class Announcer:
    """One receiver of the change feed."""

    def __init__(self, hosted: Hosted, *, url: str, client: httpx.AsyncClient, token: str | None = None) -> None:
        self._hosted, self._url, self._client, self._token = hosted, url, client, token
        self._told = 0
        self._failures = 0

    async def run(self) -> None:
        """Look and tell until cancelled."""
        while True:
            try:
                told = await self.tell_due()
            except Exception:  # noqa: BLE001 (an outermost loop: the feed must not end with one failure)
                _LOG.exception("changes not told")
                told = False
            self._failures = 0 if told else self._failures + 1
            await asyncio.sleep(_LOOK_EVERY if told else min(_LONGEST_WAIT, 2.0 ** min(self._failures, 10)))

    async def tell_due(self) -> bool:
        """Tell what has not been told yet; returns whether the receiver has taken all of it."""
        due = [change for change in self._hosted.world.register.changes if change["number"] > self._told][:_MOST]
        if not due:
            return True
        foreign = [_told(change) for change in due if not str(change["by"]).startswith(_OWN)]
        if foreign and not await self._post(foreign):
            return False
        self._told = due[-1]["number"]
        return True

    async def _post(self, changes: list[dict[str, Any]]) -> bool:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            response = await self._client.post(self._url, json=changes, headers=headers)
        except httpx.HTTPError as problem:
            _LOG.warning("changes not told: %s", problem or type(problem).__name__)
            return False
        if not response.is_success:
            _LOG.warning("changes not told: %s", response.status_code)
        return response.is_success


def _told(change: dict[str, Any]) -> dict[str, Any]:
    """One change in Muster's own format."""
    return {
        "key": f"{change['at']}/{change['number']}",
        "kind": _KINDS.get(change["kind"], "configuration"),
        "title": change["summary"],
        "service": change["service"],
        "target": change["target"],
        "author": change["by"],
        "changed_at": change["at"],
    }
