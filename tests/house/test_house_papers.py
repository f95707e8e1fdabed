"""What the papers say is so: commands, variables, links, the map of the tree, the version."""

import re
import tomllib
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from actions import kinds
from bot.cli import app
from bot.settings import VARIABLES
from runbooks.loading import load_folder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docker").glob("*.md")])
ROOMS = ("runbooks", "actions", "storage", "bot")

papers = pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))


def code(paper: Path) -> str:
    """What stands in code on a page: fenced blocks and inline."""
    text = paper.read_text()
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return "\n".join([*fenced, *inline])


@papers
def test_make_targets_exist(paper: Path) -> None:
    """Every `make …` on a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^\s*\$? ?make ([a-z-]+)", code(paper), flags=re.MULTILINE)) <= targets


def commands(group: click.Command, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Every command of the command line, by its words."""
    found = {before: group}
    if isinstance(group, click.Group) or hasattr(group, "commands"):
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            found |= commands(command, (*before, name))
    return found


COMMANDS = commands(typer.main.get_command(app))


@papers
def test_commands_exist(paper: Path) -> None:
    """Every `muster …` on a page is a command, and every option behind it is one of that command's."""
    wrong = []
    for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?muster ([^\n#|;&]+)", code(paper), flags=re.MULTILINE):
        words = line.split()
        name: tuple[str, ...] = ()
        for word in words:
            if (*name, word) not in COMMANDS:
                break
            name = (*name, word)
        known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help",
            "-h",
        }
        unknown = (
            {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            - known
            - {"--install-completion", "--show-completion"}
        )
        group = hasattr(COMMANDS[name], "commands")
        rest = words[len(name) :]
        if unknown or (group and rest and re.fullmatch(r"[a-z][a-z-]*", rest[0])):
            wrong.append(f"muster {line}: {sorted(unknown) or rest[0]}")
    assert wrong == []


@papers
def test_variables_exist(paper: Path) -> None:
    """Every environment variable of ours on a page is one that Muster reads, or a secret that the configuration names."""
    known = {variable.name for variable in VARIABLES}
    named = set(re.findall(r"\b(?:MUSTER|SLACK|PAGERDUTY)_[A-Z_]+\b", paper.read_text()))
    own = {name for name in named if name.startswith(("MUSTER_SECRET_", "PAGERDUTY_WEBHOOK_SECRET"))}
    assert named - known - own == set()


@papers
def test_links_lead_somewhere(paper: Path) -> None:
    """Every link from a page to a file of the project finds it."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"^```.*?^```", "", paper.read_text(), flags=re.DOTALL | re.MULTILINE))
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (paper.parent / target).exists()] == []


def test_every_variable_is_explained() -> None:
    """docs/configuration.md has a row for each variable that Muster reads, and for no other."""
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), flags=re.MULTILINE))
    assert rows == {variable.name for variable in VARIABLES}


def test_the_example_of_the_container_sets_what_there_is() -> None:
    """docker/env.example names only variables that Muster or its example configuration reads."""
    named = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / "docker" / "env.example").read_text(), flags=re.MULTILINE))
    secrets = set(re.findall(r"\{env: ([A-Z_]+)\}", (ROOT / "muster.example.yaml").read_text()))
    assert named <= {variable.name for variable in VARIABLES} | secrets


def test_everything_is_packed() -> None:
    """Every file of the rooms that is no Python is package data, so that an installed Muster has its pages, styles and runbooks, too."""
    patterns = [one.removeprefix("**/") for one in PROJECT["tool"]["setuptools"]["package-data"]["*"]]
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    loose = [str(path.relative_to(ROOT)) for path in files if path.suffix != ".py" and not any(fnmatch(path.name, one) for one in patterns)]
    assert loose == []


@pytest.mark.parametrize("group", ["muster.backends", "muster.sources"])
def test_entry_points_load(group: str) -> None:
    """Every backend and source that the project declares is there and answers to its name."""
    declared = PROJECT["project"]["entry-points"][group]
    found = {point.name: point for point in entry_points(group=group) if point.dist and point.dist.name == "muster"}
    assert {name: point.value for name, point in found.items()} == declared
    assert all(point.load().name == name for name, point in found.items())


def test_runbooks_are_named_by_their_id() -> None:
    """Every runbook of the library loads, and its file bears its id."""
    library = load_folder((ROOT / "runbooks" / "library",), catalogue=kinds.declared())
    files = {path.stem for path in (ROOT / "runbooks" / "library").glob("*.md") if path.stem != "README"}
    assert {runbook.id for runbook in library.all} == files
    assert len(files) >= 7


def test_the_version_stands_in_one_place() -> None:
    """pyproject.toml says the version, CHANGELOG.md speaks of it first, and no module repeats it."""
    version = PROJECT["project"]["version"]
    first = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert first
    assert first.group(1) == version
    own = re.compile(rf"""__version__|["']{re.escape(version)}["']""")
    assert [str(path) for room in ROOMS for path in (ROOT / room).rglob("*.py") if own.search(path.read_text())] == []


def test_the_map_matches_the_tree() -> None:
    """ARCHITECTURE.md names every room and every folder in one, and no folder that is gone."""
    rows = re.findall(r"^\| (`[a-z_/]+/`(?:, `[a-z_/]+/`)*) \|", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)
    drawn = {folder.rstrip("/") for row in rows for folder in re.findall(r"`([^`]+)`", row)}
    there = {f"{room}/{path.name}" for room in ROOMS for path in (ROOT / room).iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert drawn - {"docker", "tests"} == there | set(ROOMS)
    assert [folder for folder in drawn if not (ROOT / folder).is_dir()] == []


def test_contracts_name_what_exists() -> None:
    """Every module that ARCHITECTURE.md's table of contracts names is in its room, and offers each function that its row shows."""
    sections = re.findall(
        r"^### [^\n]*\(`(\w+)/`\)\n(.*?)(?=^##|\Z)", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    rows = [(room, *row) for room, body in sections for row in re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", body, flags=re.MULTILINE)]
    assert rows
    shown = [(f"{room}.{module}", name) for room, module, cell in rows for name in re.findall(r"`(\w+)[^`]*`", cell)]
    assert [f"{module}.{name}" for module, name in shown if not hasattr(import_module(module), name)] == []


def locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """What a lock file pins: version and hashes by name."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for name, version, rest in re.findall(
        r"^([a-z0-9._-]+)==([^ ;\\\n]+)([^\n]*\n(?:    [^\n]*\n)*)", path.read_text(), flags=re.MULTILINE
    ):
        found[name] = (version, frozenset(re.findall(r"sha256:([0-9a-f]{64})", rest)))
    return found


def test_the_image_installs_what_was_tested() -> None:
    """The container's lock files pin the very files of requirements.lock, and hold everything that the product depends on."""
    whole, image = locked(ROOT / "requirements.lock"), locked(ROOT / "docker" / "requirements.lock")
    build = locked(ROOT / "docker" / "build.lock")
    assert {name: pin for name, pin in {**build, **image}.items() if whole.get(name) != pin} == {}
    assert all(hashes for _, hashes in image.values())
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["postgres"]]
    assert {re.split(r"[<>=\[; ]", one)[0] for one in wanted} <= set(image)


def test_compose_keeps_the_container_shut() -> None:
    """compose.yaml starts one process without root's powers, read-only, reachable from this machine alone."""
    service: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["muster"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []
    assert "data:/data" in service["volumes"]
    assert "USER 10001:10001" in (ROOT / "docker" / "Dockerfile").read_text()
