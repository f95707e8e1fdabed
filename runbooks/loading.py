"""Read a runbook, or refuse it with every problem: file, line, field, and a reason that says what to do (runbook-format.md)."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath

from pydantic import ValidationError

from runbooks import frontmatter
from runbooks.checks import guarding, proposing, rehearsal, screen, several, steps
from runbooks.checks.scene import Faults, Scene
from runbooks.errors import Problem, RunbookInvalid
from runbooks.frontmatter import FrontMatter, Path
from runbooks.operation import Operation
from runbooks.pruning import Pruned, prune
from runbooks.rendering import outline
from runbooks.runbook import Header, Runbook
from runbooks.shape import in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The runbooks of some folders, ordered by id, with what was wrong with the others."""

    runbooks: tuple[Runbook, ...] = ()
    problems: tuple[Problem, ...] = ()

    def by_id(self, runbook_id: str) -> Runbook | None:
        """The runbook with this id."""
        return next((runbook for runbook in self.runbooks if runbook.id == runbook_id), None)

    @property
    def all(self) -> tuple[Runbook, ...]:
        """Every runbook that could be read."""
        return self.runbooks

    @property
    def fallback(self) -> Runbook | None:
        """The runbook for alerts that no other takes: the first by id that says so. None only in a library without one."""
        return next((runbook for runbook in self.runbooks if runbook.header.fallback), None)


def load(
    source: str,
    *,
    name: str,
    catalogue: Mapping[str, Operation],
    faults: Faults | None = None,
    path: str = "",
) -> Runbook:
    """The runbook in this text.

    Args:
        source: the whole file.
        name: the file's name without its ending; it must be the id.
        catalogue: the operations that steps may use, by name.
        faults: the kinds of fault that the simulation declares, with their parameters; None leaves the drill's fault unchecked.
        path: where the file stands, for messages; `<name>.md` when empty.

    Raises:
        RunbookInvalid: with everything that is wrong.
    """
    file = path or f"{name}.md"
    try:
        digest = hashlib.sha256(source.encode("utf-8")).hexdigest()
    except UnicodeEncodeError as error:
        raise RunbookInvalid([Problem(file=file, field="", reason="the file is not UTF-8 text")]) from error
    front = frontmatter.read(source)
    examination = _Examination(file=file, front=front, problems=[])
    header = examination.run(name=name, catalogue=catalogue, faults=faults)
    if header is None or examination.problems:
        raise RunbookInvalid(examination.sorted())
    return Runbook(header=header, body=front.body, source=source, hash=digest, path=path)


def load_folder(folders: Iterable[FilePath | str], *, catalogue: Mapping[str, Operation], faults: Faults | None = None) -> Library:
    """Every `.md` file directly in these folders, README aside. A file that cannot be a runbook is a problem and keeps no other out.

    When two files have one id, the first folder's is kept and the other is a problem.
    """
    good: dict[str, Runbook] = {}
    problems: list[Problem] = []
    for file in (file for folder in folders for file in _files(FilePath(folder), problems)):
        try:
            runbook = load(file.read_text(encoding="utf-8"), name=file.stem, catalogue=catalogue, faults=faults, path=str(file))
        except RunbookInvalid as error:
            problems.extend(error.problems)
        except UnicodeDecodeError:
            problems.append(Problem(file=str(file), field="", reason="the file is not UTF-8 text"))
        except OSError as error:
            problems.append(Problem(file=str(file), field="", reason=f"the file cannot be read: {error.strerror}"))
        else:
            first = good.setdefault(runbook.id, runbook)
            if first is not runbook:
                problems.append(
                    Problem(file=str(file), field="id", reason=f"{runbook.id} stands already in {first.path}; every id is used once")
                )
    runbooks = tuple(good[runbook_id] for runbook_id in sorted(good))
    return Library(runbooks=runbooks, problems=(*problems, *_fallbacks(runbooks)))


def _files(folder: FilePath, problems: list[Problem]) -> list[FilePath]:
    if not folder.is_dir():
        problems.append(Problem(file=str(folder), field="", reason="there is no such folder"))
        return []
    return sorted(file for file in folder.glob("*.md") if file.stem.lower() != "readme" and file.is_file())


def _fallbacks(runbooks: Sequence[Runbook]) -> list[Problem]:
    """Exactly one runbook takes what no other takes."""
    found = [runbook for runbook in runbooks if runbook.header.fallback]
    if runbooks and not found:
        reason = "no runbook is the fallback, so an unknown alert would find none; write `fallback: true` in one"
        return [Problem(file=str(FilePath(runbooks[0].path).parent), field="fallback", reason=reason)]
    reason = f"{found[0].id} is the fallback already; there is only one" if found else ""
    return [Problem(file=runbook.path, field="fallback", reason=reason) for runbook in found[1:]]


@dataclass(slots=True, kw_only=True)
class _Examination:
    """One file under examination."""

    file: str
    front: FrontMatter
    problems: list[Problem]

    def run(self, *, name: str, catalogue: Mapping[str, Operation], faults: Faults | None) -> Header | None:
        """The header, as far as it can be read; everything wrong is in `problems` afterwards."""
        for fault in self.front.faults:
            self._add(fault.path, fault.reason, line=fault.line)
        prose = tuple(outline(self.front.body))
        for heading, reason in screen.headings(prose) if self.front.body or not self.front.faults else ():
            self.report(("body", heading), reason)
        if not self.front.data:
            if not self.front.faults:
                self._add((), "the header is empty", line=1)
            return None
        header, pruned = self._header()
        if header is not None and pruned is None and header.id != name:
            self.report(("id",), f"{header.id} must be the file's name, {name}; rename one of them")
        if header is not None:
            report = partial(self._report_of_rest, pruned) if pruned else self.report
            scene = Scene(header=header, outline=prose, catalogue=catalogue, faults=faults, report=report)
            for check in (steps.check, several.check, guarding.check, proposing.check, screen.check, rehearsal.check):
                check(scene)
        return header

    def _header(self) -> tuple[Header | None, Pruned | None]:
        """The header; or, where its shape is wrong, what can be read of it without the wrong parts."""
        try:
            return Header.model_validate(self.front.data, context={"written": True}), None
        except ValidationError as error:
            wrong = dict(in_words(error, self.front.data))
        known = {fault.path for fault in self.front.faults}
        for path, reason in wrong.items():
            if path not in known:  # what YAML could not read is said already
                self.report(path, reason)
        pruned = prune(self.front.data, wrong)
        if pruned is None:
            return None, None
        try:
            return Header.model_validate(pruned.data, context={"written": True}), pruned
        except ValidationError:
            return None, None

    def _report_of_rest(self, pruned: Pruned, path: Path, reason: str) -> None:
        if not pruned.explains(reason):
            self.report(pruned.place(path), reason)

    def report(self, path: Path, reason: str) -> None:
        """Note a problem at a path of names and indices."""
        self._add(path, reason, line=self._line(path))

    def sorted(self) -> list[Problem]:
        """The problems as they stand in the file."""
        return sorted(dict.fromkeys(self.problems), key=lambda problem: (problem.line or 0, problem.field))

    def _add(self, path: Path, reason: str, *, line: int | None) -> None:
        self.problems.append(Problem(file=self.file, field=self._named(path), reason=reason, line=line))

    def _line(self, path: Path) -> int | None:
        if path[:1] != ("body",):
            return self.front.line(path)
        for number, text in enumerate(self.front.body.splitlines()):
            if len(path) > 1 and text.startswith("##") and text.strip("# \t") == path[1]:
                return self.front.body_line + number
        return self.front.body_line

    def _named(self, path: Path) -> str:
        """The path as people say it: steps by their id, other entries by their place from 0."""
        node: object = self.front.data
        named: list[str] = []
        for part in path:
            inner = None
            if isinstance(node, dict):
                inner = node.get(part)
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                inner = node[part]
            identity = inner.get("id") if isinstance(part, int) and isinstance(inner, dict) else None
            named.append(identity if isinstance(identity, str) and identity else str(part))
            node = inner
        return ".".join(named)
