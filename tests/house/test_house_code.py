"""What every file of the project keeps to, whoever wrote it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("runbooks", "actions", "storage", "bot")
ASIDE = {".git", ".venv", "__pycache__", "build", "node_modules", ".muster", "screens"}
BINARY = {".png", ".jpg", ".ico", ".woff2", ".gz", ".sqlite"}
EMPTY_WORDS = {"utils", "util", "helpers", "helper", "common", "core", "manager", "managers", "base", "misc", "shared"}


def python(*folders: str) -> list[Path]:
    """The Python files below some folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if not ASIDE & set(path.parts))


def texts() -> Iterator[Path]:
    """Every file of the project that is text, as a fresh clone has it."""
    tops = ("runbooks", "actions", "storage", "bot", "tests", "docker", "docs", ".ci")
    for top in (
        *(ROOT / name for name in tops),
        *(path for path in ROOT.glob("*.*") if path.is_file()),
        ROOT / "Makefile",
        ROOT / "LICENSE",
    ):
        for path in [top] if top.is_file() else top.rglob("*"):
            if (
                path.is_file()
                and not ASIDE & set(path.relative_to(ROOT).parts)
                and path.suffix not in BINARY
                and ".egg-info" not in str(path)
            ):
                yield path


def name_of(path: Path) -> str:
    """A file's path from the root, for messages."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """A parsed file."""
    return ast.parse(path.read_text(), filename=str(path))


def test_every_test_states_its_promise() -> None:
    """Each test function begins with a sentence that says what it promises."""
    silent = [
        f"{name_of(path)}: {node.name}"
        for path in python("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and path.name.startswith("test_")
        and not (ast.get_docstring(node) or "").strip().endswith(".")
    ]
    assert silent == []


def test_every_test_can_fail() -> None:
    """Each test function asserts, expects an exception, or calls something that does; one that only runs proves nothing."""
    idle = [
        f"{name_of(path)}: {node.name}"
        for path in python("tests")
        if path.name.startswith("test_")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any(isinstance(one, ast.Assert | ast.Call) for one in ast.walk(node))
    ]
    assert idle == []


def test_test_files_have_names_of_their_own() -> None:
    """No two test modules share a name, so that every report says which one it means."""
    names = Counter(path.name for path in python("tests") if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_our_own_modules_are_never_mocked() -> None:
    """Vendors are faked at the wire; nobody patches the product's own modules or replaces an attribute of theirs."""
    found = []
    for path in python("tests"):
        for node in ast.walk(tree(path)):
            imported = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(name.split(".")[:2] == ["unittest", "mock"] or name.split(".")[0] in {"mock", "pytest_mock"} for name in imported):
                found.append(f"{name_of(path)}:{node.lineno} imports mocks")
            if isinstance(node, ast.Call) and _patches_ours(node):
                found.append(f"{name_of(path)}:{node.lineno} patches {ast.unparse(node.args[0])}")
    assert found == []


def _patches_ours(call: ast.Call) -> bool:
    """`monkeypatch.setattr("bot.…", …)` replaces a name inside one of our modules. A constant, such as a wait made shorter, is no mock."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr in {"setattr", "patch", "delattr"} and call.args
    first = call.args[0] if named else None
    return (
        isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and first.value.split(".")[0] in ROOMS
        and not first.value.rpartition(".")[2].isupper()
    )


def test_nothing_names_one_machine() -> None:
    """No file holds a path of the machine that it was written on, the host of a package registry, or where this project is discussed."""
    traces = re.compile(
        "|".join(
            (
                r"/w[o]rk/[a-z.]+/",
                r"/t[m]p/[a-z]+/",
                r"/r[o]ot/(?!\.)",
                r"/o[p]t/(wheels|pypi)",
                r"^--(extra-)?index-url",
                "files.python" + "hosted.org",
                "registry.npm" + r"js\.org",
                r"/home/(?!runner)[a-z]+/",
            )
        ),
        re.MULTILINE,
    )
    here = Path(__file__)
    found = [
        f"{name_of(path)}: {hit.group(0)}" for path in texts() if path != here and (hit := traces.search(path.read_text(errors="replace")))
    ]
    assert found == []


def test_modules_are_nouns_that_say_something() -> None:
    """No module is called utils, helpers, common or the like, and no folder of ours shadows a package by an empty promise."""
    assert [name_of(path) for path in python(*ROOMS) if EMPTY_WORDS & {path.stem, *path.relative_to(ROOT).parent.parts}] == []


def test_public_modules_say_what_they_are_for() -> None:
    """Every module of a room that holds code begins with a docstring."""
    silent = [name_of(path) for path in python(*ROOMS) if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert [name for name in silent if "/versions/" not in name] == []


def test_only_settings_read_the_environment() -> None:
    """`os.environ` and `os.getenv` stand in bot/settings.py; the demo alone hands its own environment on to its parts."""
    allowed = {"bot/settings.py", "bot/cli/demo.py"}
    found = {
        name_of(path)
        for path in python(*ROOMS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert found <= allowed


def test_the_core_has_no_clock() -> None:
    """`runbooks` takes `now`: nothing in it asks for the time, the date or chance."""
    asked = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|monotonic|sleep)|random\.)\b")
    assert [name_of(path) for path in python("runbooks") if asked.search(path.read_text())] == []


def test_importing_a_module_does_nothing() -> None:
    """No module of a room calls a function for its effect while it is imported, but `main()` where it is run as a program."""
    found = [
        f"{name_of(path)}:{statement.lineno}"
        for path in python(*ROOMS)
        if path.name != "__main__.py" and "migrations" not in path.parts
        for statement in tree(path).body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and not _fills_a_table(statement.value)
    ]
    assert found == []


def _fills_a_table(call: ast.Call) -> bool:
    """The tables that are written as calls: `app.command("serve")(serve)`, `app.add_typer(…)`, what `singledispatch` registers, and a constant's own."""
    text = ast.unparse(call.func)
    return ".command(" in text or text.endswith((".add_typer", ".register")) or text.partition(".")[0].isupper()


ERROR_MODULES = [path for path in python(*ROOMS) if path.name in {"errors.py", "contract.py"}]


@pytest.mark.parametrize("path", ERROR_MODULES, ids=name_of)
def test_the_tree_of_errors_is_drawn(path: Path) -> None:
    """Where a module defines a family of errors, the tree in its docstring names each of them, and no other."""
    classes = {
        node.name for node in tree(path).body if isinstance(node, ast.ClassDef) and _is_error(node) and not node.name.startswith("_")
    }
    drawn = set(re.findall(r"^(?:[│ ]*[├└]── )?([A-Z][A-Za-z]+)(?= {2,}|$)", ast.get_docstring(tree(path)) or "", flags=re.MULTILINE))
    if len(classes) < 2:
        pytest.skip("a single error needs no tree")
    assert drawn == classes


def _is_error(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Error", "Exception", "_Problems", "Refused")) for base in node.bases)
