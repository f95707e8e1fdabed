"""What systems of feature flags have in common: two operations, how a flag is named, the words of a plan, and refusals over HTTP."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from actions.comparing import Comparing
from actions.contract import CallInvalid, NotPermitted, OutcomeUnknown, TargetMissing
from actions.kinds import Options, Secrets
from actions.operations import FLAG_DISABLE, FLAG_SET
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.errors import MusterError
from runbooks.operation import Call, Operation, Proposal, Reading
from runbooks.value import Json

OPERATIONS: tuple[Operation, ...] = (FLAG_DISABLE, FLAG_SET)
MOST_NAME = 200  # characters; no vendor's flag keys are longer


def flag_name(call: Call) -> str:
    """The flag's key: one line without slashes, so that no label can lead to another flag, project or environment.

    Raises:
        CallInvalid: the target is no such key.
    """
    name = call.target or ""
    if not name.isprintable() or not name.strip() or len(name) > MOST_NAME or set(name) <= {"."} or set(name) & set("/\\"):
        raise CallInvalid(f"{name[:60]!r} is no name of a flag; write the flag's key alone, such as long-answers.")
    return name


def wanted(call: Call) -> bool:
    """On or off, as the call asks for it.

    Raises:
        CallInvalid: it is another operation, or `on` is neither true nor false.
    """
    asked = {FLAG_DISABLE.name: False, FLAG_SET.name: call.arguments.get("on")}.get(call.operation)
    if not isinstance(asked, bool):
        raise CallInvalid(f"{call.operation} with on={call.arguments.get('on')!r} says neither on nor off.")
    return asked


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


class Flags(Comparing):
    """Flags that are on or off, in one environment. Subclasses read and write them."""

    name: str
    world: str | None = None
    operations: tuple[Operation, ...] = OPERATIONS

    def __init__(self, *, environment: str) -> None:
        self.environment: str | None = environment

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """On or off, and what that means to whoever asks for the flag."""
        flag_name(call)
        value = wanted(call)
        return Proposal(
            value=value,
            before_text="on" if reading.value else "off",
            after_text="on" if value else "off",
            note=self._note(value=value, reading=reading),
        )

    @abstractmethod
    def _note(self, *, value: bool, reading: Reading) -> str:
        """What the change means, in a sentence, for the one who is about to make it."""


class RemoteFlags(Flags):
    """Flags of a system that is reached over HTTP.

    `who` is its name in sentences and `needs` the permission that the token must have, for the sentence after a refusal. `place` is
    the environment's name over there; `token` is called for each request (rule S18).
    """

    who: str
    needs: str

    def __init__(self, *, url: str, environment: str, place: str, token: Callable[[], str]) -> None:
        super().__init__(environment=environment)
        self._place, self._token = place, token
        self._wire = Wire(who=self.who, base=url, headers=self._headers)

    def _headers(self) -> Mapping[str, str]:
        """What every request carries."""
        try:
            return self._signed(self._token())
        except MusterError as error:  # the secret's place says why, and never what it is
            raise NotPermitted(f"The token for {self.who} cannot be read: {error}.") from error

    @abstractmethod
    def _signed(self, token: str) -> Mapping[str, str]:
        """The headers that carry `token`, as this system wants it."""

    def _ask(self, method: str, path: str, *, what: str, timeout: float, **more: Any) -> Answer:
        """One request, answered with 2xx; `what` is the target in words.

        Raises:
            BackendError: the subclass that says what is certain.
        """
        answer = self._wire.send(method, path, timeout=timeout, **more)
        self._refuse(answer, what=what)
        return answer

    def _refuse(self, answer: Answer, *, what: str) -> None:
        said = f" It says: {answer.said}" if answer.said else ""
        if answer.status == 401:
            raise NotPermitted(f"{self.who} does not know this token (401): it is wrong, expired or revoked. Renew the secret `token`.")
        if answer.status == 403:
            raise NotPermitted(f"{self.who} does not let this token do it (403). It needs {self.needs}.{said}")
        if answer.status == 404:
            raise TargetMissing(f"{self.who} has no {what}. Check its name, the project and the environment.{said}")
        refuse(answer, who=self.who, what=what)

    def _what(self, name: str) -> str:
        return f"flag {name} in {self._place}"

    def _odd(self, what: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"{self.who} describes {what} in a way that Muster does not understand.")


def entry(found: Json, *keys: str) -> Json:
    """What lies under these keys, or None where the way there ends."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def rows(found: Json, *keys: str) -> list[Json]:
    """The list that lies under these keys, empty where there is none."""
    listed = entry(found, *keys)
    return listed if isinstance(listed, list) else []


def text(found: Json) -> str | None:
    """A text that is not empty, else None: who changed a flag is good to know, and no reason to fail."""
    return found if isinstance(found, str) and found else None


def moment(found: Json) -> datetime | None:
    """An aware time from ISO 8601, UTC where it names no zone, or from milliseconds since 1970; None where it is neither."""
    try:
        if isinstance(found, str):
            at = datetime.fromisoformat(found)
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return datetime.fromtimestamp(found / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def token_of(options: Options, secrets: Secrets) -> Callable[[], str]:
    """The secret `token`.

    Raises:
        SettingsInvalid: none is configured.
    """
    if "token" not in secrets:
        raise options.invalid("secrets.token", "is needed")
    return secrets["token"]
