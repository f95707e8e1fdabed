"""Which releases are known to be good, by the tags that people and pipelines left at the far side; for far sides that have tags.

`status_tag` says in a word whether a release was approved, `score_tag` how it was evaluated. A release is good when its word is one
of `good`, or, where there is no word, when its score is at least `minimum_score`; it is bad when it fails either. Of one without marks
nothing is known, and it is never chosen by itself. What is shown of them is what `actions.toolkit.releases` reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from actions.contract import CallInvalid
from actions.kinds import Options
from actions.redaction import redact
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

MOST = 10  # releases that a person is given to choose from
LAST_KNOWN_GOOD = "last_known_good"
OPTIONS = frozenset({"status_tag", "score_tag", "good", "minimum_score"})
GOOD = ("approved", "passed", "good", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One release with what its marks say. The higher its `order`, the newer it is.

    `read` is false where its marks were not asked for: then nothing is known because nobody looked.
    """

    version: str
    order: float
    at: datetime | None = None
    score: float | None = None
    good: bool | None = None
    note: str = ""
    read: bool = True

    @property
    def listed(self) -> dict[str, Json]:
        """As `Reading.facts["releases"]` takes it."""
        at = self.at.astimezone(UTC).isoformat() if self.at else None
        return {"version": self.version, "at": at, "score": self.score, "good": self.good, "note": self.note}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Which tags say that a release is good."""

    status_tag: str = "validation_status"
    score_tag: str = "evaluation_score"
    good: tuple[str, ...] = GOOD
    minimum_score: float | None = None

    def release(self, version: str, *, order: float, at: datetime | None, tags: Mapping[str, Any], note: str = "") -> Marked:
        """The release as its tags describe it."""
        word, score = str(tags.get(self.status_tag) or "").strip(), _number(tags.get(self.score_tag))
        marked = f"{self.status_tag} {word}" if word else ""
        said = ", ".join(part for part in (marked, note) if part)
        return Marked(version=version, order=order, at=at, score=score, good=self._judged(word, score), note=redact(said, limit=160))

    def _judged(self, word: str, score: float | None) -> bool | None:
        enough = None if self.minimum_score is None or score is None else score >= self.minimum_score
        if not word:
            return enough
        return word.lower() in self.good and enough is not False


def marks(options: Options) -> Marks:
    """The marks as configured.

    Raises:
        SettingsInvalid: an option is of the wrong type.
    """
    usual, least = Marks(), options.get("minimum_score", object, None)
    if least is not None and (isinstance(least, bool) or not isinstance(least, int | float)):
        raise options.invalid("minimum_score", f"is {least!r}; it must be a number")
    return Marks(
        status_tag=options.text("status_tag", usual.status_tag),
        score_tag=options.text("score_tag", usual.score_tag),
        good=tuple(word.lower() for word in options.texts("good", list(usual.good))),
        minimum_score=least,
    )


def facts(releases: Sequence[Marked], *, present: Marked) -> dict[str, Json]:
    """What a rollback needs to know, newest first; `present` runs now and may be among them."""
    every = {one.version: one for one in (*releases, present)}
    newest = sorted(every.values(), key=lambda one: one.order, reverse=True)
    good = next((one for one in newest if one.order < present.order and one.good), None)
    return {
        "releases": [one.listed for one in _shown(newest, present=present, good=good)],
        "last_known_good": good.version if good else None,
        "versions": [one.version for one in newest],
        "bad": [one.version for one in newest if one.good is False],
        "unread": [one.version for one in newest if not one.read],
    }


def rollback(call: Call, reading: Reading) -> Proposal:
    """The release asked for: a named one, or the newest older one that is known to be good.

    Raises:
        CallInvalid: there is none, or the named one is known to be bad, or its marks were not read.
    """
    present, wanted = reading.value["version"], call.arguments["to"]
    known = {one["version"]: one for one in reading.facts.get("releases", ())}
    if wanted == LAST_KNOWN_GOOD:
        wanted = reading.facts.get("last_known_good")
        if not wanted:
            raise CallInvalid(
                f"{call.target} has no release older than {present} that is marked as good; there is nothing to roll back to. "
                "Mark one, or name the version."
            )
    if wanted not in reading.facts.get("versions", ()):
        raise CallInvalid(f"{call.target} has no release {wanted}; there are {', '.join(known)}.")
    if wanted in reading.facts.get("bad", ()):
        why = known.get(wanted, {}).get("note") or "by its score"
        raise CallInvalid(f"Release {wanted} of {call.target} is marked as bad ({why}). Choose another.")
    if wanted in reading.facts.get("unread", ()):
        raise CallInvalid(
            f"Release {wanted} of {call.target} is too far from {present}: only of the releases near the present one are the marks read, "
            f"and it may be a bad one. Choose another ({', '.join(known)}), or deploy it by the usual way."
        )
    note = _note(known.get(present, {}), known.get(wanted, {}))
    return Proposal(value={"version": wanted}, before_text=f"release {present}", after_text=f"release {wanted}", note=note)


def _shown(newest: Sequence[Marked], *, present: Marked, good: Marked | None) -> list[Marked]:
    """At most ten, with the present one and the one to go back to among them."""
    needed = {present.version, good.version if good else present.version}
    others = {one.version for one in [one for one in newest if one.version not in needed][: MOST - len(needed)]}
    return [one for one in newest if one.version in needed | others]


def _note(before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    """Both evaluation scores, which is what a person decides by; and that nothing is known of the wanted one."""
    scores = (before.get("score"), after.get("score"))
    said = f"Evaluation score {scores[0]:g} → {scores[1]:g}." if None not in scores else ""
    if after.get("good") is None:
        return f"{said} Nothing says whether it is good.".strip()
    return said


def _number(found: Any) -> float | None:
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None
