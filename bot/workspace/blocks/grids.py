"""Blocks that hold data: table, data_table and data_visualization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.workspace.blocks.elements import BLOCK_ID
from bot.workspace.blocks.engine import (
    Choice,
    Flag,
    Number,
    OrNull,
    Quiet,
    Report,
    Rows,
    Rule,
    Shape,
    Tagged,
    Text,
    typed,
)
from bot.workspace.blocks.rich import RICH_TEXT
from bot.workspace.protocol import Json

_LABEL = Text(most=20)
_RAW = {
    "raw_text": typed("raw_text", {"text": Text(least=0, most=10_000)}, ("text",)),
    "raw_number": typed("raw_number", {"value": Number(fraction=True), "text": Text(most=100)}, ("value", "text")),
}
_CELL = Tagged({**_RAW, "rich_text": RICH_TEXT})


def characters(value: Any) -> int:
    """How many characters a cell (or any part of a block) shows."""
    if isinstance(value, list):
        return sum(characters(item) for item in value)
    if not isinstance(value, dict):
        return 0
    own = value.get("text", value.get("value") if value.get("type") == "raw_number" else "")
    size = len(own) if isinstance(own, str) else len(f"{own}") if isinstance(own, int | float) else 0
    return size + characters(value.get("elements"))


def _within(what: str, most: int, code: str) -> Callable[[Json, str, Report], None]:
    def judge(value: Json, pointer: str, report: Report) -> None:
        if report.count(what, characters_of_rows(value)) > most:
            report.add(f"tables of one message must have less than {most + 1} characters", f"{pointer}/rows", code)

    return judge


def characters_of_rows(value: Json) -> int:
    """The characters of all cells of a table."""
    rows = value.get("rows")
    return sum(characters(row) for row in rows) if isinstance(rows, list) else 0


def _only_one(value: Json, pointer: str, report: Report) -> None:
    del value
    if report.count("table") > 1:
        report.add("only one table allowed", pointer, "only_one_table_allowed")


def _same_width(value: Json, pointer: str, report: Report) -> None:
    rows = value.get("rows")
    if isinstance(rows, list) and len({len(row) for row in rows if isinstance(row, list)}) > 1:
        report.add("all rows must have the same number of cells", f"{pointer}/rows")


def _plain_header(value: Json, pointer: str, report: Report) -> None:
    rows = value.get("rows")
    header = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], list) else []
    for index, cell in enumerate(header):
        if isinstance(cell, dict) and cell.get("type") == "rich_text":
            report.add("header cells must not be rich_text", f"{pointer}/rows/0/{index}")


TABLE = typed(
    "table",
    {
        "block_id": BLOCK_ID,
        "rows": Quiet(of=Rows(of=Rows(of=_CELL, most=20), most=100)),
        "column_settings": Rows(
            of=OrNull(Shape(fields={"align": Choice(("left", "center", "right")), "is_wrapped": Flag()})),
            least=0,
            most=20,
        ),
    },
    ("rows",),
    (_only_one, _within("table characters", 10_000, "table_too_large")),
)

DATA_TABLE = typed(
    "data_table",
    {
        "block_id": BLOCK_ID,
        "caption": Text(most=2000),
        "rows": Quiet(of=Rows(of=Rows(of=_CELL, most=20), least=2, most=201)),
        "page_size": Number(least=1, most=100),
        "row_header_column_index": Number(least=0, most=19),
    },
    ("caption", "rows"),
    (_same_width, _plain_header, _within("data_table characters", 20_000, "table_too_large")),
)

_POINT = Shape(fields={"label": _LABEL, "value": Number(fraction=True)}, required=("label", "value"))
_SERIES = Shape(
    fields={"name": _LABEL, "data": Rows(of=_POINT, most=20)},
    required=("name", "data"),
)
_AXIS = Shape(
    fields={
        "categories": Rows(of=_LABEL, most=20),
        "x_label": Text(most=50),
        "y_label": Text(most=50),
    },
    required=("categories",),
)


def _point_per_category(value: Json, pointer: str, report: Report) -> None:
    axis = value.get("axis_config")
    categories = axis.get("categories") if isinstance(axis, dict) else None
    series = value.get("series")
    if not isinstance(categories, list) or not isinstance(series, list):
        return
    names = [one.get("name") for one in series if isinstance(one, dict)]
    if len(set(map(str, names))) != len(names):
        report.add("series names must be unique", f"{pointer}/series")
    for index, one in enumerate(series):
        labels = [p.get("label") for p in one.get("data") or [] if isinstance(p, dict)] if isinstance(one, dict) else []
        if sorted(map(str, labels)) != sorted(map(str, categories)):
            report.add("must have exactly one point per category", f"{pointer}/series/{index}/data")


def _lines(kind: str) -> Rule:
    return typed(kind, {"series": Rows(of=_SERIES, most=12), "axis_config": _AXIS}, ("series", "axis_config"), (_point_per_category,))


def _positive(value: Json, pointer: str, report: Report) -> None:
    amount = value.get("value")
    if isinstance(amount, int | float) and amount <= 0:
        report.add("must be greater than 0", f"{pointer}/value")


_SEGMENT = Shape(fields={"label": _LABEL, "value": Number(fraction=True)}, required=("label", "value"), extras=(_positive,))
_CHART = Tagged(
    {
        "pie": typed("pie", {"segments": Rows(of=_SEGMENT, most=12)}, ("segments",)),
        "bar": _lines("bar"),
        "area": _lines("area"),
        "line": _lines("line"),
    }
)


def _two_charts(value: Json, pointer: str, report: Report) -> None:
    del value
    if report.surface == "message" and report.count("data_visualization") > 2:
        report.add("no more than 2 data_visualization blocks allowed", pointer)


DATA_VISUALIZATION = typed(
    "data_visualization",
    {"block_id": BLOCK_ID, "title": Text(most=50), "chart": _CHART},
    ("title", "chart"),
    (_two_charts,),
)
