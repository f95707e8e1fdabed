"""Who calls the API: tokens, compared in constant time by their SHA-256."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bot.secret import Secret, SecretMissing
from runbooks.people import Actor, ActorKind, Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose token it is. Without a person, `may_write` and `may_propose` are false; never are both true (rule S28)."""

    token: str
    person: Person | None
    may_write: bool
    may_propose: bool = False

    @property
    def actor(self) -> Actor:
        """How the timeline names this caller: a machine that only proposes never as its person."""
        if self.person is None or not self.may_write:
            return Actor(kind=ActorKind.TOKEN, id=self.token, via="api")
        return Actor(kind=ActorKind.PERSON, id=self.person.id, slack_id=self.person.slack_id, via="api")


class Tokens:
    """All tokens of the configuration."""

    def __init__(
        self,
        secrets: Mapping[str, Secret],
        *,
        people: Mapping[str, Person | None],
        writers: Collection[str],
        proposers: Collection[str] = (),
    ) -> None:
        self._secrets, self._people, self._writers, self._proposers = secrets, people, writers, proposers

    def caller(self, token: str) -> Caller | None:
        """Whose token this is, or None. Every token is compared, so that the time taken tells nothing."""
        sent = _digest(token)
        matches = [name for name, secret in self._secrets.items() if _fits(sent, secret)]
        if not matches:
            return None
        person = self._people.get(matches[0])
        name, known = matches[0], person is not None
        return Caller(token=name, person=person, may_write=known and name in self._writers, may_propose=known and name in self._proposers)


def _fits(sent: bytes, secret: Secret) -> bool:
    try:
        known = secret.all()
    except SecretMissing:  # a token whose secret cannot be read lets nobody in; `Configuration.unreadable` says so at the start
        return False
    return sum(hmac.compare_digest(sent, _digest(one.get_secret_value())) for one in known) > 0


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
