"""Release units: model, prompt, retrieval settings, flags and safety rules under one version, with its evaluation score."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

UNITS = ("answers-v7", "reranker-v3", "search-index")


class Release(BaseModel):
    """One version of a release unit, and what running it does.

    `evaluation` is the score (0 to 1) of the evaluation set before release, `released_at` aware UTC. The effects: `slowness` multiplies the
    pool's service time, `recall` is what the index finds (0 to 1), `timeout_ratio` the share of searches that time out, `stale_from`
    the moment up to which the index holds documents (none: it is refreshed), `leak` the share of unsafe answers that the rules let pass.
    `flags` are set to these values whenever the version is released.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    version: str
    released_at: datetime
    by: str
    evaluation: float
    known_good: bool
    note: str
    model: str
    prompt: str
    retrieval: str
    safety_rules: str
    flags: Mapping[str, bool] = {}
    slowness: float = 1.0
    recall: float = 0.93
    timeout_ratio: float = 0.0
    stale_from: datetime | None = None
    leak: float = 0.02


def history(at: datetime) -> dict[str, tuple[Release, ...]]:
    """Return what each unit had released before `at`, oldest first; the last of each is running."""
    return {
        "answers-v7": (
            _answers(at, days=33, number=2, evaluation=0.889, note="shorter citations"),
            _answers(at, days=12, number=3, evaluation=0.902, note="tone guide for support"),
            _answers(at, days=3, number=4, evaluation=0.910, note="asks back when a question has two readings"),
        ),
        "reranker-v3": (
            _reranker(at, days=40, number=0, evaluation=0.874, note="first of the v3 family"),
            _reranker(at, days=19, number=1, evaluation=0.891, note="trained on October's clicks"),
            _reranker(at, days=5, number=2, evaluation=0.900, note="longer passages"),
        ),
        "search-index": (
            _index(at, days=14, number=45, note="weekly build"),
            _index(at, days=7, number=46, note="weekly build"),
        ),
    }


def last_known_good(releases: tuple[Release, ...], running: str) -> str | None:
    """Return the newest version proven good that was released before the running one, or none."""
    versions = [release.version for release in releases]
    earlier = releases[: versions.index(running)]
    return next((release.version for release in reversed(earlier) if release.known_good), None)


def successor(running: Release, *, releases: tuple[Release, ...], at: datetime, by: str, note: str, **effects: object) -> Release:
    """Return the next version of the unit: the running one with `effects`, not yet proven good."""
    stem, _, number = releases[-1].version.rpartition("." if "." in releases[-1].version else "-")
    mark = "." if "." in releases[-1].version else "-"
    version = f"{stem}{mark}{int(number) + 1}"
    changed = {"version": version, "released_at": at, "by": by, "note": note, "known_good": False, **effects}
    return Release.model_validate(running.model_dump() | changed)


def _answers(at: datetime, *, days: int, number: int, evaluation: float, note: str) -> Release:
    return Release(
        unit="answers-v7",
        version=f"answers-v7.{number}",
        released_at=at - timedelta(days=days),
        by="ben@example.com",
        evaluation=evaluation,
        known_good=True,
        note=note,
        model="harbor-7b-2026-08",
        prompt=f"support-{20 + number}",
        retrieval="top 8, 900 tokens",
        safety_rules="rules-2026-09",
        flags={"safety-filter-v2": True},
    )


def _reranker(at: datetime, *, days: int, number: int, evaluation: float, note: str) -> Release:
    return Release(
        unit="reranker-v3",
        version=f"reranker-v3.{number}",
        released_at=at - timedelta(days=days),
        by="ana@example.com",
        evaluation=evaluation,
        known_good=True,
        note=note,
        model=f"cross-encoder-{number + 4}",
        prompt="none",
        retrieval="50 passages in, 8 out",
        safety_rules="none",
    )


def _index(at: datetime, *, days: int, number: int, note: str) -> Release:
    return Release(
        unit="search-index",
        version=f"search-index-{number}",
        released_at=at - timedelta(days=days),
        by="index-builder",
        evaluation=0.930,
        known_good=True,
        note=note,
        model="embedder-2",
        prompt="none",
        retrieval="hybrid, 1.2 M passages",
        safety_rules="none",
    )
