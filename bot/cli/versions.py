"""Rule 12 of the format: a changed text needs a raised version. Compared with git, or with what the database has seen."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from actions import kinds
from bot.settings import Settings
from runbooks.differences import diff
from runbooks.errors import MusterError, Problem, RunbookInvalid
from runbooks.loading import load
from runbooks.operation import Operation
from runbooks.runbook import Runbook
from storage import migrations, runbook_versions
from storage.database import Database

GIT_PATIENCE = 20.0  # seconds


class Unknown(MusterError):
    """Git cannot say how it was then."""


def same_versions(runbooks: Sequence[Runbook], against: str | None) -> list[Problem]:
    """Runbooks whose text changed and whose version did not: since a git reference, or against the database where one is there.

    Raises:
        Unknown: there is no such reference, or no git here.
    """
    if against is not None:
        catalogue = kinds.declared()
        return [_problem(one) for one in runbooks if (then := at_git(one, against, catalogue=catalogue)) and diff(then, one).same_version]
    return _against_database(runbooks)


def at_git(runbook: Runbook, reference: str, *, catalogue: Mapping[str, Operation]) -> Runbook | None:
    """The runbook as it was at a git reference; None where it was not there, or was no runbook then.

    Raises:
        Unknown: there is no such reference, or no git here.
    """
    path = Path(runbook.path).resolve()
    if _git(path.parent, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}") is None:
        raise Unknown(f"Git knows no {reference!r} at {path.parent}.")
    text = _git(path.parent, "show", "--end-of-options", f"{reference}:./{path.name}")
    if text is None:
        return None
    try:
        return load(text, name=path.stem, catalogue=catalogue, path=str(path))
    except RunbookInvalid:
        return None


def _git(folder: Path, *words: str) -> str | None:
    """What git says, or None where it says no.

    Raises:
        Unknown: there is no git.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and a reference cannot be an option
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git the author uses
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=GIT_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unknown(f"Git does not run here: {error}") from error
    return done.stdout if done.returncode == 0 else None


def _against_database(runbooks: Sequence[Runbook]) -> list[Problem]:
    url = Settings.read().database_url
    scheme, _, path = url.partition(":///")
    if not (scheme.startswith("sqlite") and Path(path).is_file()):
        return []
    database = Database(url=url)
    try:
        migrations.check(database)
        seen = {
            one.id: [version.ref for version in database.read(lambda tx, one=one: runbook_versions.history(tx, one.id))]  # type: ignore[misc]
            for one in runbooks
        }
    finally:
        database.close()
    return [_problem(one) for one in runbooks if _reused(one, {ref.version: ref.hash for ref in reversed(seen[one.id])})]


def _reused(runbook: Runbook, hashes: Mapping[int, str]) -> bool:
    return hashes.get(runbook.header.version, runbook.hash) != runbook.hash


def _problem(runbook: Runbook) -> Problem:
    reason = f"the text changed and the version did not; raise it to {runbook.header.version + 1}"
    return Problem(file=runbook.path, field="version", reason=reason)
