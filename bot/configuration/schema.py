"""What `muster.yaml` may say: shapes only. What one part says about another is checked in `checks`."""

from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from bot.ingress.source import Scheme, SignatureForm
from bot.secret import SecretRef
from runbooks.duration import Duration
from runbooks.people import Grant
from runbooks.recurrence import DayRule
from runbooks.service import OwnerRole
from runbooks.severity import IncidentClass, Severity, Tier
from runbooks.value import Json, Slug


class Part(BaseModel):
    """A part of the file: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _clock_time(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError('YAML reads this as a number; put it in quotes, such as "10:00"')  # noqa: TRY004 - pydantic's word
    if not isinstance(value, str):
        return value
    hour, _, minute = value.partition(":")
    if not (hour.isdigit() and minute.isdigit() and len(minute) == 2 and int(hour) < 24 and int(minute) < 60):
        raise ValueError('must be a time of day in quotes, such as "09:30"')
    return time(int(hour), int(minute))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; write a name such as Europe/Berlin or UTC") from None
    return value


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _day(value: Any) -> Any:
    if isinstance(value, datetime):
        raise ValueError("must be a day, such as 2026-12-24")  # noqa: TRY004 - pydantic's word
    return value


Text = Annotated[StrictStr, Field(min_length=1, max_length=500)]
LocalTime = Annotated[time, BeforeValidator(_clock_time)]
"""A time of day, written `"09:30"`; its zone stands beside it."""
Zone = Annotated[StrictStr, AfterValidator(_zone)]
Day = Annotated[date, BeforeValidator(_day)]
SecretRefs = Annotated[tuple[SecretRef, ...], BeforeValidator(_several), Field(min_length=1, max_length=5)]
"""One reference, or a list of them while a secret is rotated."""
Channel = Annotated[StrictStr, Field(pattern=r"^#?[^\s#@,]{1,80}$"), AfterValidator(lambda name: name.removeprefix("#"))]
"""A Slack channel: its name, with or without `#`, or its id."""


def _scheme(value: Any) -> Any:
    if value is None or value == "none":
        raise ValueError("an unverified source is refused; use bearer, basic or hmac")
    return value


class Door(Part):
    """How a sender proves itself; common to sources of alerts and of changes. `user` belongs to basic, `signature` to hmac."""

    auth: Annotated[Scheme, BeforeValidator(_scheme)]
    secret: SecretRefs
    user: Text | None = None
    signature: SignatureForm | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Door":
        if (self.auth is Scheme.BASIC) != (self.user is not None):
            raise ValueError("user belongs to basic authentication, and basic needs it")
        if self.signature is not None and self.auth is not Scheme.HMAC:
            raise ValueError("signature belongs to hmac")
        return self


class SourceEntry(Door):
    """A source of alerts. Its other fields belong to its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Text


class ChangeEntry(Door):
    """A source of changes. `services` maps the sender's names to services."""

    services: dict[StrictStr, StrictStr] = {}


class ServiceEntry(Part):
    """One service; its name is the key. `owners` are teams by class of incident, or by what they answer for."""

    owner: Slug
    channel: Channel | None = None
    environment: Text = "production"
    customers: tuple[Text, ...] = ()
    owners: dict[IncidentClass | OwnerRole, Slug] = {}
    links: dict[Text, Annotated[StrictStr, Field(pattern=r"^https?://\S+$")]] = {}


class PersonEntry(Part):
    """One person; the id is the key. `login` is the name on Muster's own machine, for the command line."""

    name: Text
    email: Annotated[StrictStr, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    slack_id: Annotated[StrictStr, Field(pattern=r"^[UW][A-Z0-9]{4,20}$")] | None = None
    login: Text | None = None


class TeamEntry(Part):
    """One team; the id is the key. `user_group` is the id of a Slack user group whose members are members too."""

    name: StrictStr = ""
    lead: Slug | None = None
    members: tuple[Slug, ...] = ()
    user_group: Annotated[StrictStr, Field(pattern=r"^S[A-Z0-9]{4,20}$")] | None = None
    channel: Channel | None = None


class GrantEntry(Grant):
    """One line of permissions; see `runbooks.people.Grant`."""


def _no_number(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError('YAML reads this as a number; put it in quotes, such as "18:00"')  # noqa: TRY004 - pydantic's word
    return value


When = Annotated[datetime | date | StrictStr, BeforeValidator(_no_number)]


class Override(Part):
    """Somebody else is on duty from (included) until (excluded). A time without a zone is local to the rotation; a day is its midnight."""

    person: Slug
    from_: When = Field(alias="from")
    until: When


class Target(Part):
    """Who stands behind one paging target: one person, or a rotation; `pagerduty` names the escalation policy to ask first.

    A rotation hands over at `hand_over` in `zone`, every day or every week, counted from the day `starts`, when the first person
    begins. Before `starts` it counts backwards.
    """

    person: Slug | None = None
    rotation: tuple[Slug, ...] = ()
    every: Literal["day", "week"] = "week"
    starts: Day | None = None
    hand_over: LocalTime = time(9)
    zone: Zone | None = None
    overrides: tuple[Override, ...] = ()
    pagerduty: Annotated[StrictStr, Field(pattern=r"^[A-Z0-9]{5,20}$")] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Target":
        if bool(self.person) == bool(self.rotation):
            raise ValueError("say either person or rotation")
        if self.rotation and self.starts is None:
            raise ValueError("a rotation needs starts, the day on which its first person begins")
        return self


class OnCallPlan(Part):
    """Paging targets by name, and for each team its targets in the order in which they are tried."""

    targets: dict[Slug, Target] = {}
    teams: dict[Slug, Annotated[tuple[Slug, ...], BeforeValidator(_several)]] = {}


class SeverityEntry(Part):
    """`review_days`: business days until the post-mortem is due, or none is asked for. `escalates`: whether people are paged."""

    review_days: StrictInt | None = Field(default=None, ge=1, le=60)
    escalates: StrictBool = True


class TokenEntry(Part):
    """A caller of the API. Without a person it may only read: what changes something needs somebody who did it.

    `propose` is for language models and automations (rule S28): they may read, plan and propose, and never run, approve, undo, stop or
    pause. The person answers for what the token proposes.
    """

    secret: SecretRefs
    person: Slug | None = None
    may: Literal["read", "propose", "write"] = "read"


class BackendEntry(Part):
    """One backend; its other fields belong to its kind. `secrets` are by the names that the kind uses.

    `services` confines it to the incidents of these services: two teams may each have their own of one kind. `operations` names
    which of its operations are wanted, where another backend serves the rest.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Text
    services: tuple[StrictStr, ...] = ()
    operations: tuple[StrictStr, ...] = ()
    secrets: dict[Text, SecretRef] = {}

    @property
    def options(self) -> dict[str, Json]:
        """The fields that belong to the kind, among them the environment that it is bound to."""
        return dict(self.model_extra or {})


class Freeze(Part):
    """No drills from one day to another, both included."""

    from_: Day = Field(alias="from")
    until: Day
    reason: Text


def _days(value: Any) -> Any:
    return [DayRule.read(one) if isinstance(one, str) else one for one in _several(value)]


class ChangeFreeze(Part):
    """No changes from `from` (included) until `until` (excluded): a day is its midnight, a time without a zone is local to `zone`.

    With `every` it comes again on such days (`runbooks.recurrence.DayRule`): from one time of day until another, which may name its own
    weekday, by the clocks of `zone`; without times, all day. `zone` is `time_zone` where it is left out. `environments`, `services` and
    `tiers` confine it; left out they mean all. A maintenance window is a freeze of what is worked on.
    """

    every: Annotated[tuple[InstanceOf[DayRule], ...], BeforeValidator(_days), Field(max_length=10)] = ()
    from_: When | None = Field(default=None, alias="from")
    until: When | None = None
    zone: Zone | None = None
    reason: Text
    environments: tuple[Text, ...] = ()
    services: tuple[StrictStr, ...] = ()
    tiers: tuple[Tier, ...] = ()


Times = Annotated[StrictInt, Field(ge=1, le=10_000)]


class Limits(Part):
    """How much may happen before somebody must think again (rules S5, S13, S14, S15, S25).

    Runs within `window` by action, target, person and everywhere; `targets` that one run may touch; bad ends in a row until the `breaker`
    opens; times that one person may `break_glass` in 24 hours; for how long a `deploy` counts as running whose end nobody reports.
    """

    window: Annotated[Duration, Field(gt=0, le=604_800)] = 3600.0
    action: Times = 10
    target: Times = 6
    person: Times = 12
    everywhere: Times = 30
    targets: Times = 10
    breaker: Annotated[StrictInt, Field(ge=2, le=100)] = 3
    break_glass: Annotated[StrictInt, Field(ge=0, le=100)] = 2
    deploy: Annotated[Duration, Field(gt=0, le=86_400)] = 3600.0


class Drills(Part):
    """When drills are asked for."""

    at: LocalTime = time(10)
    zone: Zone | None = None
    freezes: tuple[Freeze, ...] = ()


def _a_day(value: Any) -> Any:
    number, _, rest = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if rest != "per day" or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MOST_A_DAY:
        raise ValueError(f'must be how many runs may begin by themselves, 1 to {MOST_A_DAY}, such as "3 per day"')
    return int(number)


MOST_A_DAY = 50
"""More changes in a day that nobody asked for are no longer help."""


class AutonomyEntry(Part):
    """Where actions that have earned it may run by themselves (rule S30). Absent, or without services: nowhere."""

    services: tuple[Text, ...] = ()
    most: Annotated[int, BeforeValidator(_a_day)] = 3


class Channels(Part):
    """Where cards go whose service has no channel of its own."""

    incidents: Channel = "incidents"


_REVIEWS = {Severity.SEV1: 5, Severity.SEV2: 5, Severity.SEV3: 10}  # mission G3: five business days for what hurt most


def _severities(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    defaults = {s.value: {"review_days": _REVIEWS.get(s), "escalates": s is not Severity.SEV4} for s in Severity}
    merged = {name: {**defaults.get(name, {}), **entry} if isinstance(entry, dict) else entry for name, entry in value.items()}
    return defaults | merged


class UnitPartEntry(Part):
    """One part of a release unit: which operation sets it, on which target; `argument` where more than one could be meant."""

    uses: Text
    target: Text
    argument: Text | None = None


class ReleaseEntry(Part):
    """One known release: the value of every part, its evaluation score, whether it has proven good, and when it was released."""

    version: Text
    values: dict[Text, Json]
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    good: StrictBool = False
    at: When | None = None
    note: Annotated[StrictStr, Field(max_length=200)] = ""


class ReleaseUnitEntry(Part):
    """Several settings that are released and rolled back as one (rule S24). Its name is the target of `model.rollback`.

    The known releases stand here, newest first, or in a file of their own under `releases`, which is read anew at each look.
    """

    environment: Text
    parts: dict[Slug, UnitPartEntry] = Field(min_length=1, max_length=20)
    releases: tuple[ReleaseEntry, ...] = ()
    manifest: Text | None = None


class Manifest(Part):
    """A file of known releases, newest first, as a release pipeline writes it."""

    releases: tuple[ReleaseEntry, ...]


class File(Part):
    """The whole file."""

    time_zone: Zone = "UTC"
    holidays: tuple[Day, ...] = ()
    channels: Channels = Channels()
    sources: dict[Slug, SourceEntry] = {}
    changes: dict[Slug, ChangeEntry] = {}
    services: dict[Text, ServiceEntry] = {}
    people: dict[Slug, PersonEntry] = {}
    teams: dict[Slug, TeamEntry] = {}
    permissions: tuple[GrantEntry, ...] = ()
    on_call: OnCallPlan = OnCallPlan()
    severities: Annotated[dict[Severity, SeverityEntry], BeforeValidator(_severities), Field(validate_default=True)] = {}
    tokens: dict[Slug, TokenEntry] = {}
    backends: dict[Slug, BackendEntry] = {}
    release_units: dict[Text, ReleaseUnitEntry] = {}
    drills: Drills = Drills()
    autonomy: AutonomyEntry = AutonomyEntry()
    freezes: tuple[ChangeFreeze, ...] = ()
    limits: Limits = Limits()
