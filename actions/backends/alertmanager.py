"""Alertmanager (API v2): silence exactly one kind of alert for a while, and list what fires.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. A silence has no idempotency key and no compare-and-set, so it
is looked for before and after; its target is the list of its matchers, each of them "is exactly".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from actions.comparing import Comparing, deadline
from actions.contract import BackendError, CallInvalid, OutcomeUnknown, Rejected, TargetMissing
from actions.kinds import BackendKind, Options, Secrets
from actions.redaction import redact
from actions.toolkit.credentials import signed_in
from actions.toolkit.flags import entry, text
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

WHO = "Alertmanager"
LONGEST = 24 * 60  # minutes; what must be quiet for longer is no mitigation but a change of the rule
MOST_ROWS = 200
MOST_VALUE = 500  # characters of one label
MOST_COMMENT = 500
MOST_TEXT = 2000  # characters of a target
MAKER = "muster/"  # what a silence's maker begins with, if Muster made it
LEEWAY = timedelta(minutes=5)  # by which our clock may be ahead; Alertmanager takes a past beginning for the present
RECENT = timedelta(days=1)  # what ended longer before the newest change is forgotten by Alertmanager some day, which is no change
FORM = "write its labels as alertname=ModelLatencyP99High,service=answers; a value with a comma or a quote in it stands in quotes"

SILENCE = Operation(
    name="alert.silence",
    title="Silence an alert",
    reads=False,
    tier=Tier.R1,
    target="matchers",
    arguments={
        "matchers": Argument(type=ArgumentType.TEXT, help="the alert's labels, such as alertname=ModelLatencyP99High,service=answers"),
        "minutes": Argument(type=ArgumentType.INTEGER, minimum=1, maximum=LONGEST, help="for how long, at most a day"),
        "reason": Argument(type=ArgumentType.TEXT, help="why; it stands in the silence's comment"),
    },
    sample={"silenced": True},
)
LIST = Operation(
    name="alerts.list",
    title="List alerts",
    reads=True,
    arguments={"matchers": Argument(type=ArgumentType.TEXT, required=False, help="only alerts with these labels")},
    sample={"rows": [{"alertname": "ModelLatencyP99High", "state": "active", "value": 1.0}], "value": 1.0},
)

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_MATCHER = re.compile(rf'\s*(?P<name>{_NAME})\s*=\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<bare>[^",\s~][^",]*?))\s*(?:,|\Z)')


def matchers(text: str) -> dict[str, str]:
    """The labels that a target names. Each is compared exactly: a label's value is never a pattern (rule S29).

    Raises:
        CallInvalid: it is no such list, a label is named twice, or one is empty, which would mean every alert that lacks it.
    """
    if len(text) > MOST_TEXT:
        raise CallInvalid(f"A target of {len(text):,} characters is too long; {FORM}. Nothing was sent.")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _MATCHER.match(text, position)
        if match is None:
            raise CallInvalid(f"{text[:80]!r} names no alert; {FORM}.")
        name = match["name"]
        value = match["bare"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
        if name in found or not value or len(value) > MOST_VALUE or not value.isprintable():
            raise CallInvalid(f"{name} is named twice, empty, too long or unprintable; {FORM}. Nothing was sent.")
        found[name] = value
        position = match.end()
    return found


class Alertmanager(Comparing):
    """One Alertmanager. Implements `actions.contract.Backend`. `needs` are labels without which a silence would be too wide."""

    name = "alertmanager"
    world: str | None = None
    operations: tuple[Operation, ...] = (SILENCE, LIST)

    def __init__(
        self,
        *,
        url: str,
        environment: str | None = None,
        needs: tuple[str, ...] = ("alertname",),
        headers: Callable[[], Mapping[str, str]] = dict,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.environment, self._needs, self._now = environment, needs, now
        self._wire = Wire(who=WHO, base=url.rstrip("/") + "/api/v2", headers=headers)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Whether the target is silenced by a silence of exactly these matchers, until when and by whom; or the list of alerts."""
        left = deadline(timeout)
        if call.operation == LIST.name:
            return Reading(value=_listed(self._alerts(matchers(str(call.arguments.get("matchers") or "")), timeout=left())))
        wanted = self._target(call)
        known = [one for one in self._silences(wanted, timeout=left()) if _is_of(one, wanted)]
        alerts = self._alerts(wanted, timeout=left())
        if not known and not alerts:
            raise TargetMissing(f"{WHO} has neither an alert nor a silence with {call.target}; there is nothing to silence.")
        return _reading(known, alerts)

    def propose(self, call: Call, reading: Reading) -> Proposal:
        """That the alert is silenced for so many minutes, from the moment of the change."""
        minutes = call.arguments.get("minutes")
        if not isinstance(minutes, int) or not 1 <= minutes <= LONGEST:
            raise CallInvalid(f"A silence takes 1 to {LONGEST} minutes, not {minutes}; write a number of minutes.")
        count = int(reading.facts.get("alerts", 0))
        note = (
            f"{count} {'alert fires' if count == 1 else 'alerts fire'} with these labels now. Silenced alerts go on; nobody hears of them."
        )
        if planned := reading.facts.get("planned"):
            note += f" A silence of the same labels is planned from {str(planned)[:16]}Z on; it stays."
        return Proposal(value={"silenced": True}, before_text=_words(reading), after_text=f"silenced for {minutes} minutes", note=note)

    def probe(self, *, timeout: float) -> str:
        """Whether silences may be listed; whether they may be made cannot be seen without making one."""
        answer = self._wire.send("GET", "/status", timeout=timeout)
        refuse(answer, who=WHO, what="API v2")
        found = answer.json()
        version = text(entry(found, "versionInfo", "version")) or "unknown"
        return f"{WHO} {version} answers; whether it takes silences from these credentials shows only when one is made."

    def _write(self, call: Call, value: Json, *, present: Reading, key: str, timeout: float) -> None:
        """Make the silence, or expire those of Muster that are there: they are known, because they were just compared."""
        if value == {"silenced": True}:
            self._silence(call, key=key, timeout=timeout)
            return
        left, ours = deadline(timeout), present.facts.get("silences", [])
        if not ours:
            raise Rejected(f"{call.target} is silenced by {present.changed_by}, not by Muster; that silence is left alone.")
        for number, one in enumerate(ours):
            try:
                answer = self._wire.send("DELETE", f"/silence/{quote(str(one), safe='')}", timeout=left())
                refuse(answer, who=WHO, what=f"silence {one}")
            except BackendError as error:
                if number:
                    raise OutcomeUnknown(f"Some silences of {call.target} were ended, and then: {error}") from error
                raise

    def _silence(self, call: Call, *, key: str, timeout: float) -> None:
        wanted, now = self._target(call), self._now()
        minutes = int(call.arguments.get("minutes") or 0)
        if not 1 <= minutes <= LONGEST:
            raise CallInvalid(f"A silence takes 1 to {LONGEST} minutes, not {minutes}. Nothing was sent.")
        body = {
            "matchers": [{"name": name, "value": text, "isRegex": False, "isEqual": True} for name, text in sorted(wanted.items())],
            "startsAt": (now - LEEWAY).isoformat(),
            "endsAt": (now + timedelta(minutes=minutes)).isoformat(),
            "createdBy": f"{MAKER}{key}",
            "comment": redact(str(call.arguments.get("reason") or "Silenced by Muster."), limit=MOST_COMMENT),
        }
        refuse(self._wire.send("POST", "/silences", body=body, timeout=timeout), who=WHO, what="silences")

    def _target(self, call: Call) -> dict[str, str]:
        wanted = matchers(call.target or "")
        if missing := [name for name in self._needs if name not in wanted]:
            raise CallInvalid(f"A silence without {', '.join(missing)} would be too wide; {FORM}. Nothing was sent.")
        return wanted

    def _silences(self, wanted: Mapping[str, str], *, timeout: float) -> list[Any]:
        return _list(self._wire.send("GET", f"/silences?{_filter(wanted)}", timeout=timeout), what="silences")

    def _alerts(self, wanted: Mapping[str, str], *, timeout: float) -> list[Any]:
        return _list(self._wire.send("GET", f"/alerts?{_filter(wanted)}", timeout=timeout), what="alerts")


def _filter(wanted: Mapping[str, str]) -> str:
    return "&".join("filter=" + quote(f'{name}="{_escaped(value)}"', safe="") for name, value in sorted(wanted.items()))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _list(answer: Answer, *, what: str) -> list[Any]:
    refuse(answer, who=WHO, what=what)
    found = answer.json()
    if not isinstance(found, list):
        raise Rejected(f"{WHO} does not answer as its API v2 does. Look at the configured address.")
    return found


def _is_of(silence: Json, wanted: Mapping[str, str]) -> bool:
    """Whether a silence has these matchers and no others: a wider or a narrower one is somebody else's business."""
    try:
        found = [(one["name"], one["value"]) for one in silence["matchers"] if not one["isRegex"] and one.get("isEqual", True)]
        return len(found) == len(silence["matchers"]) and dict(found) == dict(wanted)
    except (KeyError, TypeError) as error:
        raise Rejected(f"{WHO} describes a silence in a way that cannot be read.") from error


def _reading(known: list[Any], alerts: list[Any]) -> Reading:
    """`revision` is of every silence of these matchers, ended ones too: one that somebody made and took back shows.

    A planned silence does not silence yet. Of those in force, `silences` are the ones that Muster made and may end.
    """
    try:
        changed = {str(one["id"]): datetime.fromisoformat(str(one["updatedAt"])).astimezone(UTC) for one in known}
        known = sorted(known, key=lambda one: changed[str(one["id"])])
        latest = known[-1] if known else None
        newest = changed[str(latest["id"])] if latest else None
        in_force, planned = ([one for one in known if one["status"]["state"] == state] for state in ("active", "pending"))
        counted = [one for one in known if one["status"]["state"] != "expired" or (newest and newest - changed[str(one["id"])] <= RECENT)]
        return Reading(
            value={"silenced": bool(in_force)},
            facts={
                "silences": [str(one["id"]) for one in in_force if str(one["createdBy"]).startswith(MAKER)],
                "until": max((str(one["endsAt"]) for one in in_force), default=None),
                "planned": min((str(one["startsAt"]) for one in planned), default=None),
                "comment": redact(str(in_force[-1].get("comment", "")), limit=MOST_COMMENT) if in_force else "",
                "alerts": len(alerts),
            },
            revision=" ".join(f"{one['id']}@{one['updatedAt']}" for one in counted) or "none",
            changed_by=str(latest["createdBy"]) if latest else None,
            changed_at=newest,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Rejected(f"{WHO} describes a silence in a way that cannot be read.") from error


def _words(reading: Reading) -> str:
    return f"silenced until {str(reading.facts.get('until'))[:16]}Z" if reading.value == {"silenced": True} else "not silenced"


def _listed(alerts: list[Any]) -> dict[str, Json]:
    """Rows of labels with their state, and how many there are: none is zero here, because the list was read."""
    return {"rows": list(_rows(alerts[:MOST_ROWS])), "value": float(len(alerts))}


def _rows(alerts: list[Any]) -> Iterator[dict[str, Json]]:
    try:
        for one in alerts:
            labels = {str(name): str(value) for name, value in one["labels"].items()}
            yield {**labels, "state": str(one["status"]["state"]), "since": str(one["startsAt"]), "value": 1.0}
    except (KeyError, TypeError, AttributeError) as error:
        raise Rejected(f"{WHO} describes an alert in a way that cannot be read.") from error


def build(options: Options, secrets: Secrets) -> Alertmanager:
    """`url`, `environment`; `needs`: labels that every silence must name; secrets `token`, or `username` and `password`."""
    return Alertmanager(
        url=options.text("url"),
        environment=options.text("environment"),
        needs=options.texts("needs", ["alertname"]),
        headers=signed_in(secrets),
    )


KIND = BackendKind(name="alertmanager", operations=(SILENCE, LIST), build=build, options=frozenset({"url", "environment", "needs"}))
