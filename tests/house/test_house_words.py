"""One word for one matter, in what people read: a change is undone, a request is cancelled (the registry in docs/safe-actions.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("bot/flows", "bot/slack", "bot/api", "bot/cli")
SECOND_WORDS = re.compile(r"\b(?:take|takes|taken|took|taking)\b(?: \w+| \{\})? back\b", re.IGNORECASE)


def _said(path: Path) -> Iterator[str]:
    """Every text in a module that is no docstring; what is put in stands as {}."""
    tree = ast.parse(path.read_text())
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    silent = inside | {id(node.body[0].value) for node in scopes if node.body and isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def test_what_is_undone_or_cancelled_has_no_second_word() -> None:
    """No sentence of Muster's says "taken back": that could mean either."""
    modules = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    texts = [(path.relative_to(ROOT).as_posix(), text) for path in modules for text in _said(path)]
    assert len(texts) > 1000
    assert [(path, text) for path, text in texts if SECOND_WORDS.search(text)] == []
    assert SECOND_WORDS.search("is being taken back.")
    assert SECOND_WORDS.search("Ana takes {} back already.")
