"""The contract of an alert source: one pure function, and how the source proves who it is, declared as data.

Sources are found by the entry point group `muster.sources`; ours come through the same door as a stranger's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictStr, field_validator

from runbooks.alert import Alert
from runbooks.duration import Duration
from runbooks.errors import MusterError
from runbooks.value import Value


class PayloadInvalid(MusterError):
    """A delivery cannot be understood.

    `status` is the HTTP answer: 400 not readable, 413 too large, 415 another format, 422 wrong content.
    """

    def __init__(self, reason: str, *, status: int = 422) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class Scheme(StrEnum):
    """How a sender proves who it is. There is no `none`: unverified is refused (mission A2)."""

    BEARER = "bearer"
    BASIC = "basic"
    HMAC = "hmac"


class SignatureForm(Value):
    """How an HMAC-SHA256 signature travels, in hexadecimal digits.

    `header` may carry several, separated by commas, of which any may match (rotation). `prefix` stands before each. Where
    `timestamp_header` is set, the signed text is the timestamp (seconds since 1970), a full stop, and the body, and a delivery
    older or newer than `window` is refused.
    """

    header: StrictStr = Field(pattern=r"^[A-Za-z0-9-]+$")
    prefix: StrictStr = ""
    timestamp_header: StrictStr | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    window: Duration = 300.0

    @field_validator("prefix")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "," in value or not value.isascii():
            raise ValueError("holds a comma or a letter that no header carries")
        return value


OWN_SIGNATURE = SignatureForm(header="X-Muster-Signature", prefix="v1=", timestamp_header="X-Muster-Timestamp")
"""For senders that have no form of their own."""


class SourceSettings(BaseModel):
    """What a source lets the configuration say about it. Unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `parse` may know besides the delivery: the source's configured name, when it came, and the source's settings."""

    source: str
    received_at: datetime
    settings: SourceSettings = field(default_factory=SourceSettings)


T_co = TypeVar("T_co", covariant=True)


class Parse(Protocol[T_co]):
    """Body and headers (names in small letters) to alerts, or to changes; pure.

    Raises:
        PayloadInvalid: and nothing else.
    """

    def __call__(self, body: bytes, headers: Mapping[str, str], options: Options, /) -> Sequence[T_co]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One kind of source. `schemes` are those that it really speaks, the usual one first; `signature` is its own form of HMAC."""

    name: str
    parse: Parse[Alert]
    schemes: tuple[Scheme, ...]
    signature: SignatureForm = OWN_SIGNATURE
    settings: type[SourceSettings] = SourceSettings
    signature_is_fixed: bool = False


def installed() -> dict[str, SourceKind]:
    """Every kind of source that is installed, by name.

    Raises:
        TypeError: an entry point gives something else, or another kind's name; a fault of its package.
    """
    kinds: dict[str, SourceKind] = {}
    for point in sorted(entry_points(group="muster.sources"), key=lambda p: p.name):
        kind = point.load()
        if not isinstance(kind, SourceKind) or kind.name != point.name or point.name in kinds:
            raise TypeError(f"the entry point {point.name} of muster.sources ({point.value}) is not one SourceKind of that name")
        kinds[point.name] = kind
    return kinds
