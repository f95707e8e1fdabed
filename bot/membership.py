"""Who people and teams are in Slack: ids found by e-mail, members taken from user groups. Asked rarely, kept in the database.

What Slack said last stays until it says something else: a minute without Slack must not take anybody's rights away.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.configuration import Configuration
from runbooks.value import Json
from storage import switches
from storage.database import Database, Tx

log = structlog.get_logger(__name__)

IDS = "people.slack_ids"
GROUPS = "people.slack_groups"

MISSING_AGAIN_AFTER = 900.0
"""Seconds until somebody whom Slack does not know is asked for again."""

GROUPS_AGAIN_AFTER = 180.0
"""Seconds until a user group's members are asked for again: somebody who left a team must not keep its rights for an hour."""


class Membership:
    """The configuration joined with what Slack knows. Used by one thread at a time, and by every reader of `known`."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        database: Database,
        client: WebClient,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration, self._database, self._client, self._monotonic = configuration, database, client, monotonic
        self._asked: dict[str, float] = {}

    def known(self) -> Configuration:
        """The configuration with every id and every member that was heard of."""
        ids, groups = self._database.read(lambda tx: (switches.get(tx, IDS), switches.get(tx, GROUPS)))
        return self._configuration.with_slack_ids(_ids_of(ids, self._configuration.known_by_email)).with_user_groups(_lists(groups))

    def learn(self) -> bool:
        """Ask Slack for what is not known or may have changed; whether anything did."""
        return any([self._learned(IDS, self._ids()), self._learned(GROUPS, self._groups())])

    def _ids(self) -> dict[str, Json]:
        known, emails = self._kept(IDS), self._configuration.known_by_email
        wanted = {person: email for person, email in emails.items() if _email_of(known.get(person)) != email}
        asked = {person: self._by_email(email) for person, email in wanted.items() if self._due(f"id:{person}", MISSING_AGAIN_AFTER)}
        return {person: {"id": slack_id, "email": emails[person]} for person, slack_id in asked.items() if slack_id}

    def _groups(self) -> dict[str, Json]:
        groups = self._configuration.user_groups
        asked = {team: self._members(group) for team, group in groups.items() if self._due(f"group:{team}", GROUPS_AGAIN_AFTER)}
        return {team: members for team, members in asked.items() if members is not None}

    def _learned(self, name: str, found: Mapping[str, Json]) -> bool:
        """Add what was found to what is kept by now: another replica may have kept more since this one asked."""

        def merge(tx: Tx) -> bool:
            known = _kept(tx, name)
            if all(known.get(key) == value for key, value in found.items()):
                return False
            switches.put(tx, name, {**known, **found})
            return True

        return bool(found) and self._database.write(merge, name="people")

    def _kept(self, name: str) -> dict[str, Any]:
        return self._database.read(lambda tx: _kept(tx, name))

    def _due(self, name: str, seconds: float) -> bool:
        now = self._monotonic()
        if now - self._asked.get(name, float("-inf")) <= seconds:
            return False
        self._asked[name] = now
        return True

    def _by_email(self, email: str) -> str | None:
        try:
            return str(self._client.users_lookupByEmail(email=email)["user"]["id"])
        except (SlackApiError, OSError) as error:
            log.warning("person.not_found", email=email, error=str(error))
            return None

    def _members(self, group: str) -> list[Json] | None:
        try:
            return sorted(str(one) for one in self._client.usergroups_users_list(usergroup=group)["users"])
        except (SlackApiError, OSError) as error:
            log.warning("user_group.not_read", group=group, error=str(error))
            return None


def _kept(tx: Tx, name: str) -> dict[str, Any]:
    found = switches.get(tx, name)
    return dict(found) if isinstance(found, Mapping) else {}


def _ids_of(found: Json, emails: Mapping[str, str]) -> dict[str, str]:
    """The ids by person. One that was found by another e-mail address than today's is somebody else's, perhaps, and is left out."""
    kept = found if isinstance(found, Mapping) else {}
    mine = {person: one for person, one in kept.items() if _email_of(one) in {None, emails.get(person)}}
    return {person: str(one["id"]) if isinstance(one, Mapping) else str(one) for person, one in mine.items()}


def _email_of(one: Json) -> str | None:
    """The address that an id was found by; None where it was not kept: older versions wrote the id's text alone."""
    return str(one["email"]) if isinstance(one, Mapping) else None


def _lists(found: Json) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
