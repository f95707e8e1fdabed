"""`muster runbooks …`: check, list, show, diff, coverage, new. Works on files alone: no database, no configuration, no server."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from actions import kinds
from actions.simulation.faults import FAULTS
from bot.cli.output import ERROR, NOT_FOUND, USAGE, Json, plain, reported, session, show, stop, table
from bot.cli.versions import Unknown, at_git, same_versions
from bot.settings import Settings
from runbooks.coverage import Coverage, coverage
from runbooks.differences import diff
from runbooks.errors import Problem, RunbookInvalid
from runbooks.loading import Library, load, load_folder
from runbooks.matching import Matcher
from runbooks.runbook import Runbook
from runbooks.scaffold import new as scaffold
from runbooks.severity import IncidentClass, Severity

app = typer.Typer(help="Runbooks: check, list, show, diff, coverage, new.", no_args_is_help=True)


class Format(StrEnum):
    """How problems are printed: for people, for machines, or as annotations of GitHub's checks."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


Paths = Annotated[list[Path] | None, typer.Argument(help="Files or folders; by default what MUSTER_RUNBOOKS says.", metavar="PATH...")]


@app.command("check")
def check(
    paths: Paths = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="text, json, or github for annotations.")] = Format.TEXT,
    as_json: Json = False,
    against: Annotated[str | None, typer.Option(help="A git reference: a changed text needs a raised version.", metavar="REF")] = None,
) -> None:
    """Find everything that is wrong, with file, line, field and reason. Exit code 1 when there is anything.

    Example, in CI: muster runbooks check runbooks/ --against origin/main --format github
    """
    with reported():
        library = found(paths)
        problems = [*library.problems, *_unchanged_versions(library.all, against)]
        _print(problems, library, Format.JSON if as_json else form)
        if problems:
            raise typer.Exit(ERROR)


def _unchanged_versions(runbooks: Sequence[Runbook], against: str | None) -> list[Problem]:
    try:
        return same_versions(runbooks, against)
    except Unknown as error:
        stop(str(error), USAGE)


def _print(problems: Sequence[Problem], library: Library, form: Format) -> None:
    match form:
        case Format.JSON:
            said = {"runbooks": [one.id for one in library.all], "problems": [dataclasses.asdict(one) for one in problems]}
            sys.stdout.write(f"{json.dumps(said, indent=2, ensure_ascii=False)}\n")
        case Format.GITHUB:
            sys.stdout.writelines(f"{annotation(one)}\n" for one in problems)
        case Format.TEXT:
            sys.stdout.writelines(f"{one}\n" for one in problems)
            sys.stdout.write(f"{len(library.all)} runbooks hold, {len(problems)} problems.\n")


def annotation(problem: Problem) -> str:
    """A workflow command of GitHub Actions, escaped as it wants (docs.github.com, "Workflow commands")."""

    def value(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def name(text: str) -> str:
        return value(text).replace(":", "%3A").replace(",", "%2C")

    line = f",line={problem.line}" if problem.line else ""
    return f"::error file={name(problem.file)}{line},title={name(problem.field or 'runbook')}::{value(problem.reason)}"


@app.command("list")
def listed(paths: Paths = None, as_json: Json = False) -> None:
    """The runbooks that hold, with what they are for."""
    with reported():
        library = found(paths)
        items = [
            {
                "id": one.id,
                "version": one.header.version,
                "title": one.header.title,
                "owner": one.header.owner,
                "class": one.header.class_.value,
                "severity": one.header.severity.value,
                "actions": [action.id for action in one.header.actions],
                "reviewed": one.header.reviewed.isoformat(),
                "hash": one.hash,
                "path": one.path,
            }
            for one in library.all
        ]
        rows = [(one["id"], f"v{one['version']}", one["severity"], one["class"], one["owner"], one["title"]) for one in items]
        show(items, as_json, lambda _: table(rows, ("RUNBOOK", "", "SEVERITY", "CLASS", "OWNER", "TITLE"), empty="There is none."))
        if library.problems:
            sys.stderr.write(f"{len(library.problems)} problems; `muster runbooks check` names them.\n")


@app.command("show")
def shown(
    runbook: Annotated[str, typer.Argument(help="A runbook's id, or a file.")],
    levels: Annotated[
        bool, typer.Option("--levels", help="How far its actions go by themselves, and what is missing; asks the server.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One runbook as it is written; with --json its header, complete with defaults."""
    if levels:
        _levels(runbook, as_json)
        return
    with reported():
        one = by_name(runbook)
        if as_json:
            show({**one.header.model_dump(mode="json", by_alias=True), "hash": one.hash, "body": one.body}, True, str)
        else:
            sys.stdout.write(one.source)


def _levels(runbook: str, as_json: bool) -> None:
    """What each action has earned (rule S30): counted from the runs, so only the database knows it."""
    with session() as muster:
        found = muster.get(f"/runbooks/{Path(runbook).stem}")["autonomy"]
        show(found, as_json, lambda lines: "\n".join(lines) or "No action of this runbook proposes itself.")


@app.command("diff")
def difference(
    old: Annotated[str, typer.Argument(help="A runbook's id or a file.")],
    new: Annotated[str | None, typer.Argument(help="Another file to compare with.")] = None,
    against: Annotated[str, typer.Option(help="The git reference to compare with, where no second file is given.", metavar="REF")] = "HEAD",
    text: Annotated[bool, typer.Option("--text", help="The lines too, as a unified diff.")] = False,
    as_json: Json = False,
) -> None:
    """What changed, field by field in words.

    Example: muster runbooks diff inference-latency --against v1.4
    """
    with reported():
        after = by_name(new or old)
        before = by_name(old) if new else _at(after, against)
        made = diff(before, after)
        said = {"same": made.same, "same_version": made.same_version, "changes": [str(one) for one in made.changes], "text": made.text}
        show(said, as_json, lambda it: "\n".join([*(it["changes"] or ["Nothing changed."]), *(["", it["text"]] if text else [])]))
        if made.same_version:
            sys.stderr.write(f"The text of {after.id} changed and its version did not: raise it to {before.header.version + 1}.\n")


def _at(runbook: Runbook, reference: str) -> Runbook:
    try:
        then = at_git(runbook, reference, catalogue=kinds.declared())
    except Unknown as error:
        stop(str(error), USAGE)
    if then is None:
        stop(f"{runbook.id} is not there at {reference}.", NOT_FOUND)
    return then


@app.command("coverage")
def covered(
    rules: Annotated[list[Path], typer.Argument(help="Prometheus rule files, or PrometheusRule objects.", metavar="RULES...")],
    runbooks: Annotated[list[Path] | None, typer.Option(help="Folders of runbooks; by default what MUSTER_RUNBOOKS says.")] = None,
    at_least: Annotated[float, typer.Option(help="Exit code 1 below this share, 0 to 1.", min=0, max=1)] = 0.0,
    as_json: Json = False,
) -> None:
    """Which alerting rules lead to a runbook, and which only to the fallback.

    Example: muster runbooks coverage rules/*.yaml --at-least 0.9
    """
    with reported():
        made = coverage(_texts(rules), Matcher(found(runbooks).all).match)
        said = {**dataclasses.asdict(made), "ratio": made.ratio, "uncovered": len(made.uncovered)}
        show(said, as_json, lambda _: _coverage(made))
        if made.problems or (made.ratio is not None and made.ratio < at_least):
            raise typer.Exit(ERROR)


def _texts(paths: Iterable[Path]) -> dict[str, str]:
    try:
        return {str(path): path.read_text(encoding="utf-8") for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        stop(f"A rule file cannot be read: {error}", USAGE)


def _coverage(made: Coverage) -> str:
    rows = [(one.runbook or "(none)", f"{one.score:.2f}", one.alert, one.group, one.file, one.reason) for one in made.rules]
    share = "there is no alerting rule" if made.ratio is None else f"{made.ratio:.0%} of {len(made.rules)} rules have a runbook"
    problems = "".join(f"\n{problem}" for problem in made.problems)
    return f"{table(rows, ('RUNBOOK', 'SCORE', 'ALERT', 'GROUP', 'FILE', 'WHY'), empty='')}\n\n{share}.{problems}".lstrip()


@app.command("new")
def new(  # noqa: PLR0917 - one parameter for each option
    runbook: Annotated[str, typer.Argument(help="The id, which is the file's name, for example queue-full.")],
    title: Annotated[str, typer.Option(help="What it is about, in one line.")],
    owner: Annotated[str, typer.Option(help="The team that owns it.")],
    incident_class: Annotated[IncidentClass, typer.Option("--class", help="What kind of trouble it is.")] = IncidentClass.AVAILABILITY,
    severity: Annotated[Severity, typer.Option(help="How bad it is by default.")] = Severity.SEV3,
    folder: Annotated[Path, typer.Option(help="Where the file goes.")] = Path("runbooks"),
) -> None:
    """Begin a runbook: complete and valid as it stands, so that you change words and never guess fields.

    Example: muster runbooks new queue-full --title "The queue is full" --owner ml-platform
    """
    with reported():
        today = datetime.now(UTC).date()
        text = scaffold(runbook, title=title, incident_class=incident_class, owner=owner, reviewed=today, severity=severity)
        load(text, name=runbook, catalogue=kinds.declared())
        path = folder / f"{runbook}.md"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            stop(f"{path} is there already; nothing was written.", ERROR)
        except OSError as error:
            stop(f"{path} cannot be written: {error.strerror}.", ERROR)
        sys.stdout.write(f"{path}\n")


def found(paths: list[Path] | None) -> Library:
    """The runbooks of these files and folders; without any, those of the environment."""
    wanted = list(paths or Settings.read().runbooks)
    if missing := [str(path) for path in wanted if not path.exists()]:
        stop(f"There is no {', '.join(missing)}.", USAGE)
    faults = {kind: {one.name for one in fault.parameters} for kind, fault in FAULTS.items()}
    catalogue = kinds.declared()
    library = load_folder([path for path in wanted if path.is_dir()], catalogue=catalogue, faults=faults)
    runbooks = list(library.all)
    # Folders that are named here stand beside the shipped library, which has the fallback.
    problems = [one for one in library.problems if not (paths and one.field == "fallback" and one.reason.startswith("no runbook"))]
    for path in (path for path in wanted if path.is_file()):
        try:
            runbooks.append(load(path.read_text(encoding="utf-8"), name=path.stem, catalogue=catalogue, faults=faults, path=str(path)))
        except RunbookInvalid as error:
            problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(file=str(path), field="", reason=f"cannot be read: {plain(str(error))}"))
    return Library(runbooks=tuple(runbooks), problems=tuple(problems))


def by_name(name: str) -> Runbook:
    """The runbook of a file, or of an id among those of the environment."""
    path = Path(name)
    is_file = path.suffix == ".md" and path.is_file()
    library = found([path] if is_file else None)
    one = next(iter(library.all), None) if is_file else library.by_id(name)
    if one is None and is_file:
        stop("\n".join(str(problem) for problem in library.problems), ERROR)
    if one is None:
        stop(f"There is no runbook {name}; there are: {', '.join(item.id for item in library.all)}.", NOT_FOUND)
    return one
