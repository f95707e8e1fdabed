"""The timeline as one picture: time from left to right, a lane for each kind of actor, runs as bars, what was measured below.

Pure arithmetic from the record to places on a canvas; the template draws it. Units are the picture's own, 1000 wide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from runbooks.duration import Threshold
from runbooks.incident import Incident
from runbooks.people import ActorKind
from runbooks.run import ActionRun, Verdict
from runbooks.timeline import Entry, EntryKind

WIDTH, LEFT, RIGHT = 1000.0, 84.0, 976.0
ROW, BAR, GAP = 24.0, 30.0, 14.0
CHART = 120.0
TOP = 16.0
LETTER = 6.6  # width of one letter of the marks' font
NEAR = 12.0  # marks nearer than this are one


class Lane(StrEnum):
    """Who acted."""

    ALERTS = "Alerts"
    PEOPLE = "People"
    MUSTER = "Muster"
    ACTIONS = "Actions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One entry, or several that lie too close to be told apart. `first` is the entry that it leads to."""

    x: float
    y: float
    width: float
    label: str
    first: int
    title: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run from its start to its verdict. `held_to` is until when its change stands within the picture."""

    x: float
    y: float
    width: float
    held_to: float | None
    label: str
    label_x: float
    anchor: str
    first: int
    title: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place in time, or a height in the chart, with its label."""

    at: float
    label: str
    row: int = 0
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One lane's place."""

    name: str
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What was measured over time; None is missing data."""

    title: str
    unit: str
    samples: tuple[tuple[datetime, float | None], ...]
    limit: Threshold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The measured value under the lanes. `lines` are unbroken stretches: a gap is missing data."""

    title: str
    y: float
    height: float
    lines: tuple[str, ...]
    points: tuple[Point, ...]
    levels: tuple[Tick, ...]
    limit: Tick | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that is drawn. `later` counts entries after the end of the incident, which only the table shows."""

    height: float
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    phases: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    chart: Chart | None
    foot: float
    later: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Time to place."""

    start: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        """The place of a moment, kept within the picture."""
        share = (at - self.start) / (self.end - self.start)
        return round(LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT), 1)


def draw(incident: Incident, entries: Sequence[Entry], runs: Sequence[ActionRun], series: Series | None, *, now: datetime) -> Picture:
    """The picture of one incident's record, until its end or until now."""
    end = incident.resolved_at or now
    shown = [entry for entry in entries if entry.occurred_at <= end]
    scale = _scale(incident, shown, end)
    phases = _phases(incident, scale)
    y = TOP + (max((tick.row for tick in phases), default=0) + 1) * 16.0
    bands: list[Band] = []
    marks: list[Mark] = []
    bars: list[Bar] = []
    for lane in Lane:
        placed, rows = _marks([entry for entry in shown if lane_of(entry) is lane], scale, y + GAP / 2)
        done = _bars(runs, shown, scale, y + GAP / 2 + rows * ROW, end) if lane is Lane.ACTIONS else ()
        height = max(rows * ROW + len(done) * BAR, ROW) + GAP
        bands.append(Band(name=lane.value, y=y, height=height))
        marks += placed
        bars += done
        y += height
    chart = _chart(series, scale, y + 34.0) if series else None
    foot = chart.y + chart.height if chart else y
    return Picture(
        height=foot + 28.0,
        bands=tuple(bands),
        marks=tuple(marks),
        bars=tuple(bars),
        phases=tuple(phases),
        ticks=tuple(_ticks(scale)),
        chart=chart,
        foot=foot,
        later=len(entries) - len(shown),
    )


def lane_of(entry: Entry) -> Lane:
    """Whose lane an entry stands in."""
    group = entry.kind.value.split(".")[0]
    if group in {"alert", "alerts", "change"}:
        return Lane.ALERTS
    if group in {"run", "mitigation"}:
        return Lane.ACTIONS
    return Lane.PEOPLE if entry.actor.kind is ActorKind.PERSON else Lane.MUSTER


def kind_of(entry: Entry) -> str:
    """How an entry is coloured: `bad`, `good`, `unsure`, `person` or `plain`."""
    if entry.kind in {EntryKind.ALERT_FIRED, EntryKind.RUN_FAILED, EntryKind.INCIDENT_REOPENED, EntryKind.PAGE_FAILED}:
        return "bad"
    if entry.kind in {EntryKind.ALERT_RESOLVED, EntryKind.ALERTS_CLEAR, EntryKind.INCIDENT_MITIGATED, EntryKind.INCIDENT_RESOLVED}:
        return "good"
    if entry.kind is EntryKind.RUN_VERDICT:
        return {"verified": "good", "failed": "bad"}.get(str(entry.payload.get("verdict")), "unsure")
    if entry.kind in {EntryKind.ATTEMPT_REFUSED, EntryKind.RUN_REFUSED, EntryKind.RUN_UNKNOWN, EntryKind.BREAK_GLASS, EntryKind.ESCALATED}:
        return "unsure"
    return "person" if entry.actor.kind is ActorKind.PERSON else "plain"


def _scale(incident: Incident, shown: Sequence[Entry], end: datetime) -> Scale:
    start = min([incident.opened_at, *(entry.occurred_at for entry in shown)])
    span = max(end - start, timedelta(seconds=10))
    return Scale(start=start - span * 0.02, end=start + span * 1.03)


def _marks(entries: Sequence[Entry], scale: Scale, y: float) -> tuple[list[Mark], int]:
    """Marks in as few rows as let none cover another."""
    groups: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda one: (one.occurred_at, one.seq)):
        if groups and scale.x(entry.occurred_at) - scale.x(groups[-1][0].occurred_at) < NEAR:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    free: list[float] = []
    placed = []
    for group in groups:
        mark = _mark(group, scale)
        row = next((index for index, until in enumerate(free) if until <= mark.x - mark.width / 2), len(free))
        free[row : row + 1] = [mark.x + mark.width / 2 + 3]
        placed.append(replace(mark, y=y + row * ROW))
    return placed, len(free)


def _mark(group: Sequence[Entry], scale: Scale) -> Mark:
    numbers = sorted(entry.seq for entry in group)
    if len(numbers) == 1:
        label = str(numbers[0])
    elif numbers[-1] - numbers[0] == len(numbers) - 1:
        label = f"{numbers[0]}-{numbers[-1]}"
    else:
        label = f"{numbers[0]} +{len(numbers) - 1}"
    kinds = [kind_of(entry) for entry in group]
    loudest = next(kind for kind in ("bad", "unsure", "good", "person", "plain") if kind in kinds)
    width = max(LETTER * len(label) + 12, 20)
    x = min(max(scale.x(group[0].occurred_at), LEFT + width / 2), RIGHT - width / 2)
    title = "\n".join(f"{entry.occurred_at:%H:%M:%S} #{entry.seq} {entry.summary or '(erased)'}" for entry in group[:12])
    return Mark(x=x, y=0.0, width=width, label=label, first=group[0].seq, title=title, kind=loudest)


def _bars(runs: Sequence[ActionRun], shown: Sequence[Entry], scale: Scale, y: float, end: datetime) -> tuple[Bar, ...]:
    begun = [run for run in runs if run.started_at is not None]
    return tuple(_bar(run, shown, scale, y + index * BAR, end) for index, run in enumerate(begun))


def _bar(run: ActionRun, shown: Sequence[Entry], scale: Scale, y: float, end: datetime) -> Bar:
    assert run.started_at is not None
    left = scale.x(run.started_at)
    right = max(scale.x(run.verdict_at or run.ended_at or end), left + 6)
    kind = "person" if run.verdict is None else {Verdict.VERIFIED: "good", Verdict.FAILED: "bad"}.get(run.verdict, "unsure")
    label = f"{run.title} · {run.state.value}"
    length = len(label) * LETTER
    if length + 12 <= right - left:
        place, anchor = left + 8, "start"
    elif right + 8 + length <= RIGHT:
        place, anchor = right + 8, "start"
    else:
        place, anchor = left - 8, "end"
    stood = run.undone_at or end
    return Bar(
        x=left,
        y=y,
        width=round(right - left, 1),
        held_to=scale.x(stood) if run.executed_at and scale.x(stood) > right + 2 else None,
        label=label,
        label_x=place,
        anchor=anchor,
        first=next((entry.seq for entry in shown if entry.payload.get("run") == run.id), 1),
        title=f"{label}. {run.verdict_reason or run.reason}".strip(),
        kind=kind,
    )


def _phases(incident: Incident, scale: Scale) -> list[Tick]:
    named = (
        ("opened", incident.opened_at),
        ("acknowledged", incident.acknowledged_at),
        ("mitigated", incident.mitigated_at),
        ("resolved", incident.resolved_at),
    )
    free: list[float] = []
    ticks = []
    for name, at in named:
        if at is None:
            continue
        x, width = scale.x(at), LETTER * len(name)
        anchor = "end" if x + width > RIGHT else "start"
        left = x - width if anchor == "end" else x
        row = next((index for index, until in enumerate(free) if until <= left), len(free))
        free[row : row + 1] = [left + width + 10]
        ticks.append(Tick(at=x, label=name, row=row, anchor=anchor))
    return ticks


_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000)
_MOST_TICKS = 9


def _ticks(scale: Scale) -> list[Tick]:
    """Round moments in UTC, few enough to be read."""
    span = (scale.end - scale.start).total_seconds()
    step = next((one for one in _STEPS if span / one <= _MOST_TICKS), _STEPS[-1])
    form = "%H:%M:%S" if step < 60 else "%H:%M" if span < 86400 else "%m-%d %H:%M" if step < 86400 else "%m-%d"
    first = int(scale.start.timestamp() // step + 1) * step
    moments = [datetime.fromtimestamp(at, UTC) for at in range(first, int(scale.end.timestamp()) + 1, step)]
    return [Tick(at=scale.x(at), label=at.strftime(form)) for at in moments if scale.x(at) < RIGHT - 10]


def _chart(series: Series, scale: Scale, y: float) -> Chart | None:
    known = [(at, value) for at, value in series.samples if value is not None and scale.start <= at <= scale.end]
    if len(known) < 2:
        return None
    highest = max([value for _, value in known] + ([series.limit.limit] if series.limit else [])) * 1.08
    lowest = min(0.0, *(value for _, value in known))
    room = (highest - lowest) or 1.0

    def height_of(value: float) -> float:
        return round(y + CHART * (1 - (value - lowest) / room), 1)

    points = [Point(x=scale.x(at), y=height_of(value), title=f"{at:%H:%M:%S}: {value:.4g} {series.unit}".strip()) for at, value in known]
    limit = Tick(at=height_of(series.limit.limit), label=f"must be {series.limit}") if series.limit else None
    levels = tuple(Tick(at=height_of(value), label=f"{value:.3g}") for value in (lowest, highest / 1.08))
    title = f"{series.title}{f', {series.unit}' if series.unit else ''}"
    lines = _lines(series, scale, height_of)
    return Chart(title=title, y=y, height=CHART, lines=lines, points=tuple(points), levels=levels, limit=limit)


def _lines(series: Series, scale: Scale, height_of: Callable[[float], float]) -> tuple[str, ...]:
    stretches: list[list[str]] = [[]]
    for at, value in series.samples:
        if value is None:
            stretches.append([])
        elif scale.start <= at <= scale.end:
            stretches[-1].append(f"{scale.x(at):g},{height_of(value):g}")
    return tuple(" ".join(stretch) for stretch in stretches if len(stretch) > 1)
