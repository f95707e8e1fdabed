"""What is set, which releases there are, what changed and what was answered: the settings of a world and their compare-and-set."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .errors import Unacceptable, VersionConflict
from .release import UNITS, Release, history, last_known_good
from .targets import Setting, Target, accepted, declared, find

SERVICE = "answers"
_CHANGES_KEPT = 500
_ANSWERS_KEPT = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a change is made, and the step from which replicas ordered now answer."""

    at: datetime
    ready_at_step: int


class Register:
    """Targets, releases, the change feed, and the answer that each idempotency key had."""

    def __init__(self, *, replicas: Mapping[str, int], at: datetime) -> None:
        self.releases: dict[str, tuple[Release, ...]] = history(at)
        self.changes: list[dict[str, Any]] = []
        self._answers: dict[str, dict[str, Any]] = {}
        running = {unit: self.releases[unit][-1].version for unit in UNITS}
        self.targets = {
            path: Target(declared=one, setting=one.first, changed_at=at, ready=int(one.first) if one.kind == "pool" else 0)
            for path, one in declared(replicas=replicas, running=running).items()
        }

    def setting(self, path: str) -> Setting:
        """Return what a target is set to."""
        return find(self.targets, path).setting

    def of_kind(self, kind: str) -> dict[str, Target]:
        """Return the targets of a kind by name."""
        return {target.declared.name: target for target in self.targets.values() if target.declared.kind == kind}

    def running(self, unit: str) -> Release:
        """Return the release that a unit runs."""
        return next(one for one in self.releases[unit] if one.version == self.setting(f"release/{unit}"))

    def change(self, path: str, setting: Setting, *, moment: Moment, by: str, note: str = "") -> None:
        """Set a target and note the change; setting what is set already changes nothing. A release brings its flags with it."""
        target = self.targets[path]
        if target.setting == setting:
            return
        before, target.setting = target.setting, setting
        target.version += 1
        target.changed_by, target.changed_at = by, moment.at
        if target.declared.kind == "pool":
            target.order(int(setting), ready_at_step=moment.ready_at_step)
        self._note(target, before=before, at=moment.at, by=by, note=note)
        if target.declared.kind == "release":
            release = self.running(target.declared.name)
            for flag, enabled in release.flags.items():
                self.change(f"flag/{flag}", enabled, moment=moment, by=by, note=f"part of {release.version}")

    def release(self, release: Release, *, moment: Moment) -> None:
        """Add a version to its unit and run it."""
        self.releases[release.unit] = (*self.releases[release.unit], release)
        self.change(f"release/{release.unit}", release.version, moment=moment, by=release.by, note=release.note)

    def view(self, path: str) -> dict[str, Any]:
        """Return a target as the wire shows it."""
        target = find(self.targets, path)
        one = target.declared
        bounds = {"versions": [r.version for r in self.releases[one.name]]} if one.kind == "release" else one.bounds
        return {
            "kind": one.kind, "name": one.name, "value": self._value(target), "version": target.version, "changed_by": target.changed_by,
            "changed_at": target.changed_at.isoformat(), "bounds": bounds, "description": one.about,
        }  # fmt: skip

    def _value(self, target: Target) -> object:
        match target.declared.kind:
            case "pool":
                return {"replicas": target.setting, "ready": target.ready}
            case "retries":
                return {"attempts": target.setting}
            case "release":
                name = target.declared.name
                return {"version": target.setting, "last_known_good": last_known_good(self.releases[name], str(target.setting))}
            case "route":
                return {"route": target.setting}
            case "limit":
                return {"value": target.setting}
        return target.setting

    def prepare(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """Check a put without carrying it out. Returns the first answer if its key was seen before.

        Raises:
            UnknownThing: no such target.
            VersionConflict: the target's version is not the one given.
            Unacceptable: the value cannot be taken, or the key was used for something else.
        """
        target = find(self.targets, event["path"])
        setting = self._accepted(target, event["value"])
        first = self._answers.get(event["key"]) if event["key"] else None
        if first is not None:
            if first["path"] != event["path"] or first["setting"] != setting:
                raise Unacceptable(f"key {event['key']!r} was used before, to set {first['path']} to {first['setting']!r}")
            return {**first["answer"], "replayed": True}
        if event["if_version"] is not None and event["if_version"] != target.version:
            raise VersionConflict(current=self.view(event["path"]))
        return None

    def _accepted(self, target: Target, value: object) -> Setting:
        unit = target.declared.name if target.declared.kind == "release" else None
        versions = tuple(one.version for one in self.releases[unit]) if unit else ()
        return accepted(target.declared, value, versions=versions)

    def put(self, event: Mapping[str, Any], *, moment: Moment) -> dict[str, Any]:
        """Carry out a put that has been checked, and return its answer."""
        target = self.targets[event["path"]]
        setting = self._accepted(target, event["value"])
        before, version = self._value(target), target.version
        self.change(event["path"], setting, moment=moment, by=event["by"])
        answer = self.view(event["path"]) | {"previous": before, "changed": target.version != version, "replayed": False}
        if event["key"]:
            self._answers[event["key"]] = {"path": event["path"], "setting": setting, "answer": answer}
            while len(self._answers) > _ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
        return answer

    def to_json(self) -> dict[str, Any]:
        """Return what a snapshot keeps."""
        releases = {unit: [one.model_dump(mode="json") for one in found] for unit, found in self.releases.items()}
        targets = {path: target.to_json() for path, target in self.targets.items()}
        return {"releases": releases, "targets": targets, "changes": self.changes, "answers": self._answers}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Become what the snapshot kept."""
        self.releases = {unit: tuple(Release.model_validate(one) for one in found) for unit, found in kept["releases"].items()}
        self.changes, self._answers = kept["changes"], kept["answers"]
        for path, found in kept["targets"].items():
            changed_at = datetime.fromisoformat(found["changed_at"])
            self.targets[path] = Target(**{**found, "declared": self.targets[path].declared, "changed_at": changed_at})

    def _note(self, target: Target, *, before: Setting, at: datetime, by: str, note: str) -> None:
        number = self.changes[-1]["number"] + 1 if self.changes else 1
        what = f"{target.declared.name}: {_text(before)} → {_text(target.setting)}"
        self.changes.append(
            {
                "number": number,
                "id": f"change-{number}",
                "at": at.isoformat(),
                "kind": target.declared.kind,
                "target": target.declared.name,
                "before": before,
                "after": target.setting,
                "by": by,
                "service": SERVICE,
                "environment": "production",
                "summary": f"{what} ({note})" if note else what,
            }
        )
        del self.changes[:-_CHANGES_KEPT]


def _text(setting: Setting) -> str:
    return ("on" if setting else "off") if isinstance(setting, bool) else str(setting)
