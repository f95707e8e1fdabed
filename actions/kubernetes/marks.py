"""Which releases are known to be good: by the annotations that a pipeline or a person put on them, or by the controller's own word.

`muster/good` is "true" or "false", `muster/score` the evaluation's score. They stand on what holds the release (for a Deployment its
ReplicaSet, or the pod template), never on the Deployment itself, from where they would be copied to the next release.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from numbers import Number

from actions.contract import CallInvalid
from actions.kinds import Options
from runbooks.operation import Call, Proposal, Reading
from runbooks.value import Json

GOOD, SCORE = "muster/good", "muster/score"
LAST_KNOWN_GOOD = "last_known_good"
MOST = 10  # releases that a person is given to choose from
OPTIONS = frozenset({"minimum_score", "previous_is_good"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts as good beside the mark itself.

    A release with at least `minimum_score`; and, where no release has any mark, the one before the present with `previous_is_good`.
    """

    minimum_score: float | None = None
    previous_is_good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release with its annotations. `vouched`: its controller itself says that it is stable."""

    version: str
    at: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)
    note: str = ""
    vouched: bool = False

    @property
    def score(self) -> float | None:
        """The evaluation's score, where there is one."""
        try:
            found = float(str(self.annotations.get(SCORE)))
        except ValueError:
            return None
        return found if isfinite(found) else None

    def good(self, policy: Policy) -> bool | None:
        """Whether it is known to be good; None: nothing is known."""
        word = str(self.annotations.get(GOOD)).strip().lower()
        if word in {"true", "false"}:
            return word == "true"
        if policy.minimum_score is not None and self.score is not None:
            return self.score >= policy.minimum_score
        return True if self.vouched else None


def policy(options: Options) -> Policy:
    """As configured.

    Raises:
        SettingsInvalid: an option is of the wrong type.
    """
    least = options.get("minimum_score", Number, None)
    return Policy(minimum_score=least, previous_is_good=options.get("previous_is_good", bool, False))


def facts(releases: Sequence[Release], *, present: str, policy: Policy) -> dict[str, Json]:
    """What a rollback needs to know: `releases` newest first, of which `present` runs now; the last one known to be good before it."""
    good = {one.version: one.good(policy) for one in releases}
    names = list(good)
    earlier = names[names.index(present) + 1 :] if present in names else names
    notes = {one.version: one.note for one in releases}
    if policy.previous_is_good and earlier and not any(found is not None for found in good.values()):
        good[earlier[0]], notes[earlier[0]] = True, f"{notes[earlier[0]]}, the one before".lstrip(", ")
    last = next((name for name in earlier if good[name]), None)
    kept = _kept(names, present=present, last=last)
    listed = [
        {"version": one.version, "at": one.at, "score": one.score, "good": good[one.version], "note": notes[one.version]}
        for one in releases
        if one.version in kept
    ]
    return {"releases": listed, "last_known_good": last, "versions": names, "bad": [name for name in names if good[name] is False]}


def proposal(call: Call, reading: Reading) -> Proposal:
    """The release asked for: a named one, or the last before the present one that is known to be good. `facts["words"]` says each.

    Raises:
        CallInvalid: there is none such, or it is marked as bad.
    """
    present, wanted, words = reading.value["version"], str(call.arguments["to"]), reading.facts.get("words") or {}
    known = {one["version"]: one for one in reading.facts.get("releases") or ()}
    if wanted == LAST_KNOWN_GOOD:
        wanted = reading.facts.get("last_known_good") or ""
    if not wanted:
        raise CallInvalid(
            f"{call.target} has no release before the present one that is known to be good; there is nothing to roll back to. "
            f'There are {", ".join(known) or "none"}: mark a good one with the annotation {GOOD}: "true".'
        )
    if wanted not in (reading.facts.get("versions") or ()):
        raise CallInvalid(f"{call.target} has no release {wanted}; there are {', '.join(known) or 'none'}.")
    if wanted in (reading.facts.get("bad") or ()) and wanted != present:
        why = (known.get(wanted) or {}).get("note") or "by its score"
        raise CallInvalid(f"Release {wanted} of {call.target} is marked as bad ({why}). Choose another.")
    return Proposal(
        value={"version": wanted},
        before_text=words.get(present, f"release {present}"),
        after_text=words.get(wanted, f"release {wanted}"),
        note=_note(known.get(present) or {}, known.get(wanted) or {}),
    )


def _kept(names: Sequence[str], *, present: str, last: str | None) -> set[str]:
    """At most ten, with the present one and the one to go back to among them."""
    needed = [name for name in names if name in {present, last}]
    return {*needed, *[name for name in names if name not in needed][: MOST - len(needed)]}


def _note(before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    """Both evaluation scores, which is what a person decides by; and what is not known of the wanted release."""
    was, will = before.get("score"), after.get("score")
    said = [f"Evaluation score {was:g} → {will:g}."] if was is not None and will is not None else []
    if after.get("good") is None:
        said.append("Nothing says whether it is good.")
    return " ".join(said)
