"""Each limit of Block Kit: one payload just inside it is taken, one just outside is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.workspace.blocks.judge import judge_message, judge_view, message_report, view_report
from bot.workspace.protocol import SlackError

Block = dict[str, Any]


def plain(size: int, kind: str = "plain_text") -> Block:
    return {"type": kind, "text": "x" * size}


def section(**fields: Any) -> Block:
    return {"type": "section", **({"text": plain(3)} if "text" not in fields and "fields" not in fields else {}), **fields}


def button(**fields: Any) -> Block:
    return {"type": "button", "text": plain(2), **fields}


def actions(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def option(text: int = 1, **fields: Any) -> Block:
    return {"text": plain(text), "value": "v", **fields}


def select(**fields: Any) -> Block:
    return {"type": "static_select", **({"options": [option()]} if "option_groups" not in fields else {}), **fields}


def answers(element: Block, **fields: Any) -> Block:
    return {"type": "input", "label": plain(3), "element": element, **fields}


def text_input(**fields: Any) -> Block:
    return {"type": "plain_text_input", "action_id": "t", **fields}


def confirm(**sizes: int) -> Block:
    sizes = {"title": 1, "text": 1, "confirm": 1, "deny": 1, **sizes}
    return {name: plain(size) for name, size in sizes.items()}


def image(**fields: Any) -> Block:
    source = {} if "slack_file" in fields or "image_url" in fields else {"image_url": "https://example.com/a.png"}
    return {"type": "image", "alt_text": "a", **source, **fields}


def many(count: int, make: Any = option) -> list[Block]:
    return [make() for _ in range(count)]


def table(rows: int, cells: int, text: str = "x") -> Block:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": text}] * cells for _ in range(rows)]}


def data_table(rows: int, cells: int, text: str = "x", **fields: Any) -> Block:
    grid = [[{"type": "raw_text", "text": text}] * cells for _ in range(rows)]
    return {"type": "data_table", "caption": "c", "rows": grid, **fields}


def pie(segments: int = 1, label: int = 5, value: float = 1, title: int = 5) -> Block:
    parts = [{"label": f"{i:02d}" + "x" * (label - 2), "value": value} for i in range(segments)]
    return {"type": "data_visualization", "title": "t" * title, "chart": {"type": "pie", "segments": parts}}


def line(series: int = 1, points: int = 2, name: int = 4, axis: int = 5, *, spare: int = 0) -> Block:
    categories = [f"c{i}" for i in range(points)]
    data = [{"label": c, "value": 1.5} for c in categories[: len(categories) - spare]]
    named = [{"name": f"{i:02d}" + "n" * (name - 2), "data": data} for i in range(series)]
    config = {"categories": categories, "x_label": "x" * axis}
    return {"type": "data_visualization", "title": "t", "chart": {"type": "line", "series": named, "axis_config": config}}


def rich(*elements: Block) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def rich_list(indent: int) -> Block:
    return rich({"type": "rich_text_list", "style": "bullet", "indent": indent, "elements": []})


def leaf(**fields: Any) -> Block:
    return rich({"type": "rich_text_section", "elements": [fields]})


def card(**fields: Any) -> Block:
    return {"type": "card", **fields}


def container(**fields: Any) -> Block:
    return {"type": "container", "title": plain(2), "child_blocks": [{"type": "divider"}], **fields}


def number(**fields: Any) -> Block:
    return answers({"type": "number_input", "is_decimal_allowed": False, **fields})


def video(**fields: Any) -> Block:
    urls = {"video_url": "https://v.example.com/1", "thumbnail_url": "https://v.example.com/t.png"}
    return {"type": "video", "title": plain(3), "alt_text": "a", **urls, **fields}


def choices(kind: str, count: int) -> Block:
    return section(accessory={"type": kind, "options": [option(value=str(i)) for i in range(count)]})


def task(title: int = 5, status: str = "pending") -> Block:
    return {"type": "task_card", "task_id": "1", "title": "t" * title, "status": status}


def feedback(text: int = 2, value: int = 1) -> Block:
    one = {"text": plain(text), "value": "v" * value}
    return {"type": "feedback_buttons", "positive_button": one, "negative_button": one}


def icon(**fields: Any) -> Block:
    return {"type": "icon_button", "icon": "trash", "text": plain(2), **fields}


def context_actions(*elements: Block) -> Block:
    return {"type": "context_actions", "elements": list(elements)}


USERS = [f"U{i:05d}" for i in range(101)]
DIVIDER = {"type": "divider"}
FILE = {"type": "file_input"}

# name: (a list of blocks just inside, one just outside, the place of the first problem)
MESSAGE: dict[str, tuple[list[Block], list[Block], str]] = {
    "section text 3000": ([section(text=plain(3000))], [section(text=plain(3001))], "/blocks/0/text/text"),
    "section text not empty": ([section(text=plain(1))], [section(text=plain(0))], "/blocks/0/text/text"),
    "section needs text or fields": ([section()], [{"type": "section"}], "/blocks/0"),
    "section fields 10": ([section(fields=many(10, lambda: plain(1)))], [section(fields=many(11, lambda: plain(1)))], "/blocks/0/fields"),
    "section field 2000": ([section(fields=[plain(2000)])], [section(fields=[plain(2001)])], "/blocks/0/fields/0/text"),
    "section expand is a flag": ([section(expand=True)], [section(expand="yes")], "/blocks/0/expand"),
    "one accessory": ([section(accessory=button())], [section(accessory=[button()])], "/blocks/0/accessory"),
    "accessory of a known kind": ([section(accessory=image())], [section(accessory=text_input())], "/blocks/0/accessory/type"),
    "mrkdwn verbatim": (
        [section(text={**plain(1, "mrkdwn"), "verbatim": True})],
        [section(text={**plain(1), "verbatim": True})],
        "/blocks/0/text",
    ),
    "header 150": ([{"type": "header", "text": plain(150)}], [{"type": "header", "text": plain(151)}], "/blocks/0/text/text"),
    "header is plain": ([{"type": "header", "text": plain(5)}], [{"type": "header", "text": plain(5, "mrkdwn")}], "/blocks/0/text/type"),
    "header has no level": ([{"type": "header", "text": plain(5)}], [{"type": "header", "text": plain(5), "level": 1}], "/blocks/0"),
    "no unknown field": ([DIVIDER], [{"type": "divider", "colour": "red"}], "/blocks/0"),
    "no unknown block": ([DIVIDER], [{"type": "marquee"}], "/blocks/0/type"),
    "block_id 255": ([section(block_id="b" * 255)], [section(block_id="b" * 256)], "/blocks/0/block_id"),
    "block_id unique": (
        [section(block_id="a"), section(block_id="b")],
        [section(block_id="a"), section(block_id="a")],
        "/blocks/1/block_id",
    ),
    "context 10": (
        [{"type": "context", "elements": many(10, lambda: plain(1))}],
        [{"type": "context", "elements": many(11, lambda: plain(1))}],
        "/blocks/0/elements",
    ),
    "context not empty": ([{"type": "context", "elements": [image()]}], [{"type": "context", "elements": []}], "/blocks/0/elements"),
    "context takes no button": (
        [{"type": "context", "elements": [plain(1)]}],
        [{"type": "context", "elements": [button()]}],
        "/blocks/0/elements/0/type",
    ),
    "actions 25": ([actions(*many(25, button))], [actions(*many(26, button))], "/blocks/0/elements"),
    "actions not empty": ([actions(button())], [actions()], "/blocks/0/elements"),
    "action_id unique in a block": (
        [actions(button(action_id="a"), button(action_id="b"))],
        [actions(button(action_id="a"), button(action_id="a"))],
        "/blocks/0/elements/1/action_id",
    ),
    "action_id 255": ([actions(button(action_id="a" * 255))], [actions(button(action_id="a" * 256))], "/blocks/0/elements/0/action_id"),
    "no text input in actions": ([actions(select())], [actions(text_input())], "/blocks/0/elements/0/type"),
    "context_actions 5": ([context_actions(*many(5, icon))], [context_actions(*many(6, icon))], "/blocks/0/elements"),
    "context_actions kinds": ([context_actions(feedback())], [context_actions(button())], "/blocks/0/elements/0/type"),
    "image alt_text 2000": ([image(alt_text="a" * 2000)], [image(alt_text="a" * 2001)], "/blocks/0/alt_text"),
    "image alt_text required": ([image()], [{"type": "image", "image_url": "https://e.com/a.png"}], "/blocks/0"),
    "image_url 3000": ([image(image_url="https://" + "a" * 2992)], [image(image_url="https://" + "a" * 2993)], "/blocks/0/image_url"),
    "image title 2000": ([image(title=plain(2000))], [image(title=plain(2001))], "/blocks/0/title/text"),
    "image url or file": ([image(slack_file={"id": "F1"})], [image(slack_file={"id": "F1"}, image_url="https://e.com/a")], "/blocks/0"),
    "slack_file id or url": (
        [image(slack_file={"url": "https://e.com/f"})],
        [image(slack_file={"id": "F1", "url": "https://e.com/f"})],
        "/blocks/0/slack_file",
    ),
    "input label 2000": ([answers(text_input(), label=plain(2000))], [answers(text_input(), label=plain(2001))], "/blocks/0/label/text"),
    "input hint 2000": ([answers(text_input(), hint=plain(2000))], [answers(text_input(), hint=plain(2001))], "/blocks/0/hint/text"),
    "input takes no button": ([answers(select())], [answers(button())], "/blocks/0/element/type"),
    "rich_text indent 8": ([rich_list(8)], [rich_list(9)], "/blocks/0/elements/0/indent"),
    "rich_text leaves": ([leaf(type="user", user_id="U1")], [leaf(type="button", text="x")], "/blocks/0/elements/0/elements/0/type"),
    "rich_text date": (
        [leaf(type="date", timestamp=1, format="{time}")],
        [leaf(type="date", timestamp=1)],
        "/blocks/0/elements/0/elements/0",
    ),
    "rich_text broadcast": (
        [leaf(type="broadcast", range="here")],
        [leaf(type="broadcast", range="all")],
        "/blocks/0/elements/0/elements/0/range",
    ),
    "rich_text parts": (
        [rich({"type": "rich_text_quote", "elements": []})],
        [rich({"type": "rich_text_table", "elements": []})],
        "/blocks/0/elements/0/type",
    ),
    "markdown 12000 in all": (
        [{"type": "markdown", "text": "m" * 6000}] * 2,
        [{"type": "markdown", "text": "m" * 6000}, {"type": "markdown", "text": "m" * 6001}],
        "/blocks/1/text",
    ),
    "table rows 100": ([table(100, 1)], [table(101, 1)], "/blocks/0/rows"),
    "table cells 20": ([table(1, 20)], [table(1, 21)], "/blocks/0/rows/0"),
    "table settings 20": (
        [{**table(1, 1), "column_settings": [None] * 20}],
        [{**table(1, 1), "column_settings": [None] * 21}],
        "/blocks/0/column_settings",
    ),
    "table characters 10000": ([table(10, 10, "x" * 100)], [table(10, 10, "x" * 101)], "/blocks/0/rows"),
    "one table a message": ([table(1, 1)], [table(1, 1), table(1, 1)], "/blocks/1"),
    "table cell kinds": ([{"type": "table", "rows": [[rich()]]}], [{"type": "table", "rows": [[plain(1)]]}], "/blocks/0/rows/0/0/type"),
    "data_table rows 2": ([data_table(2, 1)], [data_table(1, 1)], "/blocks/0/rows"),
    "data_table rows 201": ([data_table(201, 1)], [data_table(202, 1)], "/blocks/0/rows"),
    "data_table columns 20": ([data_table(2, 20)], [data_table(2, 21)], "/blocks/0/rows/0"),
    "data_table equal rows": (
        [data_table(2, 2)],
        [{**data_table(2, 2), "rows": [data_table(1, 2)["rows"][0], data_table(1, 1)["rows"][0]]}],
        "/blocks/0/rows",
    ),
    "data_table caption": ([data_table(2, 1)], [{k: v for k, v in data_table(2, 1).items() if k != "caption"}], "/blocks/0"),
    "data_table plain header": (
        [{**data_table(2, 1), "rows": [[{"type": "raw_text", "text": "h"}], [rich()]]}],
        [{**data_table(2, 1), "rows": [[rich()], [rich()]]}],
        "/blocks/0/rows/0/0",
    ),
    "data_table page_size 100": ([data_table(2, 1, page_size=100)], [data_table(2, 1, page_size=101)], "/blocks/0/page_size"),
    "data_table page_size 1": ([data_table(2, 1, page_size=1)], [data_table(2, 1, page_size=0)], "/blocks/0/page_size"),
    "data_table characters 20000": ([data_table(10, 20, "x" * 100)], [data_table(10, 20, "x" * 101)], "/blocks/0/rows"),
    "charts 2 a message": ([pie(), pie()], [pie(), pie(), pie()], "/blocks/2"),
    "chart title 50": ([pie(title=50)], [pie(title=51)], "/blocks/0/title"),
    "pie segments 12": ([pie(12)], [pie(13)], "/blocks/0/chart/segments"),
    "pie label 20": ([pie(label=20)], [pie(label=21)], "/blocks/0/chart/segments/0/label"),
    "pie value over 0": ([pie(value=0.1)], [pie(value=0)], "/blocks/0/chart/segments/0/value"),
    "series 12": ([line(12)], [line(13)], "/blocks/0/chart/series"),
    "series name 20": ([line(name=20)], [line(name=21)], "/blocks/0/chart/series/0/name"),
    "series points 20": ([line(points=20)], [line(points=21)], "/blocks/0/chart/series/0/data"),
    "one point per category": ([line(points=3)], [line(points=3, spare=1)], "/blocks/0/chart/series/0/data"),
    "axis label 50": ([line(axis=50)], [line(axis=51)], "/blocks/0/chart/axis_config/x_label"),
    "card title 150": ([card(title=plain(150))], [card(title=plain(151))], "/blocks/0/title/text"),
    "card subtitle 150": (
        [card(title=plain(1), subtitle=plain(150))],
        [card(title=plain(1), subtitle=plain(151))],
        "/blocks/0/subtitle/text",
    ),
    "card body 200": ([card(body=plain(200))], [card(body=plain(201))], "/blocks/0/body/text"),
    "card subtext 200": ([card(body=plain(1), subtext=plain(200))], [card(body=plain(1), subtext=plain(201))], "/blocks/0/subtext/text"),
    "card buttons 3": ([card(actions=many(3, button))], [card(actions=many(4, button))], "/blocks/0/actions"),
    "card has something": ([card(hero_image=image())], [card(subtitle=plain(1))], "/blocks/0"),
    "card one icon": ([card(body=plain(1), icon=image())], [card(body=plain(1), icon=image(), slack_icon={"name": "x"})], "/blocks/0"),
    "carousel 10": (
        [{"type": "carousel", "elements": [card(body=plain(1))] * 10}],
        [{"type": "carousel", "elements": [card(body=plain(1))] * 11}],
        "/blocks/0/elements",
    ),
    "carousel not empty": (
        [{"type": "carousel", "elements": [card(body=plain(1))]}],
        [{"type": "carousel", "elements": []}],
        "/blocks/0/elements",
    ),
    "container title 150": ([container(title=plain(150))], [container(title=plain(151))], "/blocks/0/title/text"),
    "container subtitle 150": ([container(subtitle=plain(150))], [container(subtitle=plain(151))], "/blocks/0/subtitle/text"),
    "container 10 children": ([container(child_blocks=[DIVIDER] * 10)], [container(child_blocks=[DIVIDER] * 11)], "/blocks/0/child_blocks"),
    "container children kinds": (
        [container(child_blocks=[section()])],
        [container(child_blocks=[{"type": "markdown", "text": "x"}])],
        "/blocks/0/child_blocks/0/type",
    ),
    "collapsed needs collapsible": (
        [container(is_collapsible=True, default_collapsed=True)],
        [container(default_collapsed=True)],
        "/blocks/0",
    ),
    "header divider excludes collapsed": (
        [container(has_header_divider=True)],
        [container(has_header_divider=True, is_collapsible=True, default_collapsed=True)],
        "/blocks/0",
    ),
    "task title 256": ([task(256)], [task(257)], "/blocks/0/title"),
    "task status": ([task(status="in_progress")], [task(status="running")], "/blocks/0/status"),
    "plan of tasks": (
        [{"type": "plan", "title": "p", "tasks": [task()]}],
        [{"type": "plan", "title": "p", "tasks": [DIVIDER]}],
        "/blocks/0/tasks/0/type",
    ),
    "video title under 200": ([video(title=plain(199))], [video(title=plain(200))], "/blocks/0/title/text"),
    "video author under 50": ([video(author_name="a" * 49)], [video(author_name="a" * 50)], "/blocks/0/author_name"),
    "video is https": ([video()], [video(video_url="http://v.example.com/1")], "/blocks/0/video_url"),
    "button text 75": ([actions(button(text=plain(75)))], [actions(button(text=plain(76)))], "/blocks/0/elements/0/text/text"),
    "button text is plain": ([actions(button())], [actions(button(text=plain(5, "mrkdwn")))], "/blocks/0/elements/0/text/type"),
    "button value 2000": ([actions(button(value="v" * 2000))], [actions(button(value="v" * 2001))], "/blocks/0/elements/0/value"),
    "button url 3000": (
        [actions(button(url="https://" + "u" * 2992))],
        [actions(button(url="https://" + "u" * 2993))],
        "/blocks/0/elements/0/url",
    ),
    "button label 75": (
        [actions(button(accessibility_label="l" * 75))],
        [actions(button(accessibility_label="l" * 76))],
        "/blocks/0/elements/0/accessibility_label",
    ),
    "button style": ([actions(button(style="danger"))], [actions(button(style="warning"))], "/blocks/0/elements/0/style"),
    "button agent_prompt 4000": (
        [actions(button(agent_prompt="p" * 4000))],
        [actions(button(agent_prompt="p" * 4001))],
        "/blocks/0/elements/0/agent_prompt",
    ),
    "icon_button value 2000": (
        [context_actions(icon(value="v" * 2000))],
        [context_actions(icon(value="v" * 2001))],
        "/blocks/0/elements/0/value",
    ),
    "icon_button trash": ([context_actions(icon())], [context_actions(icon(icon="star"))], "/blocks/0/elements/0/icon"),
    "icon_button 10 people": (
        [context_actions(icon(visible_to_user_ids=USERS[:10]))],
        [context_actions(icon(visible_to_user_ids=USERS[:11]))],
        "/blocks/0/elements/0/visible_to_user_ids",
    ),
    "feedback text 75": (
        [context_actions(feedback(75))],
        [context_actions(feedback(76))],
        "/blocks/0/elements/0/positive_button/text/text",
    ),
    "feedback value 2000": (
        [context_actions(feedback(1, 2000))],
        [context_actions(feedback(1, 2001))],
        "/blocks/0/elements/0/positive_button/value",
    ),
    "select options 100": (
        [section(accessory=select(options=many(100)))],
        [section(accessory=select(options=many(101)))],
        "/blocks/0/accessory/options",
    ),
    "select groups 100": (
        [section(accessory=select(option_groups=[{"label": plain(1), "options": [option()]}] * 100))],
        [section(accessory=select(option_groups=[{"label": plain(1), "options": [option()]}] * 101))],
        "/blocks/0/accessory/option_groups",
    ),
    "group label 75": (
        [section(accessory=select(option_groups=[{"label": plain(75), "options": [option()]}]))],
        [section(accessory=select(option_groups=[{"label": plain(76), "options": [option()]}]))],
        "/blocks/0/accessory/option_groups/0/label/text",
    ),
    "options or groups": (
        [section(accessory=select())],
        [section(accessory={**select(), "option_groups": [{"label": plain(1), "options": [option()]}]})],
        "/blocks/0/accessory",
    ),
    "placeholder 150": (
        [section(accessory=select(placeholder=plain(150)))],
        [section(accessory=select(placeholder=plain(151)))],
        "/blocks/0/accessory/placeholder/text",
    ),
    "initial option on offer": (
        [section(accessory=select(initial_option=option()))],
        [section(accessory=select(initial_option=option(2)))],
        "/blocks/0/accessory/initial_option",
    ),
    "option text 75": (
        [section(accessory=select(options=[option(75)]))],
        [section(accessory=select(options=[option(76)]))],
        "/blocks/0/accessory/options/0/text/text",
    ),
    "option value 150": (
        [section(accessory=select(options=[option(value="v" * 150)]))],
        [section(accessory=select(options=[option(value="v" * 151)]))],
        "/blocks/0/accessory/options/0/value",
    ),
    "option description 75": (
        [section(accessory=select(options=[option(description=plain(75))]))],
        [section(accessory=select(options=[option(description=plain(76))]))],
        "/blocks/0/accessory/options/0/description/text",
    ),
    "option url in overflow only": (
        [section(accessory={"type": "overflow", "options": [option(url="https://e.com")]})],
        [section(accessory=select(options=[option(url="https://e.com")]))],
        "/blocks/0/accessory/options/0",
    ),
    "option mrkdwn in radio only": (
        [section(accessory={"type": "radio_buttons", "options": [{"text": plain(1, "mrkdwn"), "value": "v"}]})],
        [section(accessory=select(options=[{"text": plain(1, "mrkdwn"), "value": "v"}]))],
        "/blocks/0/accessory/options/0/text/type",
    ),
    "overflow 5": ([choices("overflow", 5)], [choices("overflow", 6)], "/blocks/0/accessory/options"),
    "checkboxes 10": ([choices("checkboxes", 10)], [choices("checkboxes", 11)], "/blocks/0/accessory/options"),
    "radio_buttons 10": ([choices("radio_buttons", 10)], [choices("radio_buttons", 11)], "/blocks/0/accessory/options"),
    "text input min_length 3000": (
        [answers(text_input(min_length=3000))],
        [answers(text_input(min_length=3001))],
        "/blocks/0/element/min_length",
    ),
    "text input max_length 1": ([answers(text_input(max_length=1))], [answers(text_input(max_length=0))], "/blocks/0/element/max_length"),
    "text input max_length 3000": (
        [answers(text_input(max_length=3000))],
        [answers(text_input(max_length=3001))],
        "/blocks/0/element/max_length",
    ),
    "text input min before max": (
        [answers(text_input(min_length=2, max_length=2))],
        [answers(text_input(min_length=3, max_length=2))],
        "/blocks/0/element/min_length",
    ),
    "number input decimals said": ([number()], [answers({"type": "number_input"})], "/blocks/0/element"),
    "number input bounds are text": ([number(min_value="1")], [number(min_value=1)], "/blocks/0/element/min_value"),
    "rich_text_input lines 100": (
        [answers({"type": "rich_text_input", "max_lines": 100})],
        [answers({"type": "rich_text_input", "max_lines": 101})],
        "/blocks/0/element/max_lines",
    ),
    "datepicker date": (
        [section(accessory={"type": "datepicker", "initial_date": "2026-11-20"})],
        [section(accessory={"type": "datepicker", "initial_date": "20.11.2026"})],
        "/blocks/0/accessory/initial_date",
    ),
    "timepicker time": (
        [section(accessory={"type": "timepicker", "initial_time": "23:59"})],
        [section(accessory={"type": "timepicker", "initial_time": "24:00"})],
        "/blocks/0/accessory/initial_time",
    ),
    "datetimepicker ten digits": (
        [actions({"type": "datetimepicker", "initial_date_time": 1795000000})],
        [actions({"type": "datetimepicker", "initial_date_time": 179500000})],
        "/blocks/0/elements/0/initial_date_time",
    ),
    "confirm title 100": (
        [actions(button(confirm=confirm(title=100)))],
        [actions(button(confirm=confirm(title=101)))],
        "/blocks/0/elements/0/confirm/title/text",
    ),
    "confirm text 300": (
        [actions(button(confirm=confirm(text=300)))],
        [actions(button(confirm=confirm(text=301)))],
        "/blocks/0/elements/0/confirm/text/text",
    ),
    "confirm confirm 30": (
        [actions(button(confirm=confirm(confirm=30)))],
        [actions(button(confirm=confirm(confirm=31)))],
        "/blocks/0/elements/0/confirm/confirm/text",
    ),
    "confirm deny 30": (
        [actions(button(confirm=confirm(deny=30)))],
        [actions(button(confirm=confirm(deny=31)))],
        "/blocks/0/elements/0/confirm/deny/text",
    ),
    "multi select not in actions": (
        [section(accessory={**select(), "type": "multi_static_select"})],
        [actions({**select(), "type": "multi_static_select"})],
        "/blocks/0/elements/0/type",
    ),
    "workflow button text 75": (
        [actions({"type": "workflow_button", "text": plain(75), "workflow": {"trigger": {"url": "https://slack.com/shortcuts/1"}}})],
        [actions({"type": "workflow_button", "text": plain(76), "workflow": {"trigger": {"url": "https://slack.com/shortcuts/1"}}})],
        "/blocks/0/elements/0/text/text",
    ),
    "conversations filter": (
        [actions({"type": "conversations_select", "filter": {"include": ["public"]}})],
        [actions({"type": "conversations_select", "filter": {"include": ["secret"]}})],
        "/blocks/0/elements/0/filter/include/0",
    ),
    "no alert in a message": ([section()], [{"type": "alert", "text": plain(5)}], "/blocks/0/type"),
    "no remote file in a message": ([section()], [{"type": "file", "external_id": "e", "source": "remote"}], "/blocks/0/type"),
    "no file input in a message": ([answers(text_input())], [answers(FILE)], "/blocks/0/element"),
}


@pytest.mark.parametrize("name", MESSAGE)
def test_a_message_just_inside_a_limit_is_taken(name: str) -> None:
    """What Slack's documentation allows is allowed."""
    assert message_report(MESSAGE[name][0]).problems == []


@pytest.mark.parametrize("name", MESSAGE)
def test_a_message_just_outside_a_limit_is_refused_where_it_breaks(name: str) -> None:
    """What Slack's documentation forbids is refused, with a pointer to the place."""
    report = message_report(MESSAGE[name][1])
    assert [problem.pointer for problem in report.problems][:1] == [MESSAGE[name][2]]


OWN_NAMES: dict[str, tuple[list[Block], list[Block]]] = {
    "msg_blocks_too_many": ([DIVIDER] * 50, [DIVIDER] * 51),
    "msg_blocks_too_long": ([section(text=plain(2600))] * 5, [section(text=plain(2700))] * 5),
    "only_one_table_allowed": ([table(1, 1)], [table(1, 1)] * 2),
}


@pytest.mark.parametrize("code", OWN_NAMES)
def test_a_limit_with_a_name_of_its_own_is_refused_by_that_name(code: str) -> None:
    """Slack's own error names are used where it has them, invalid_blocks otherwise."""
    inside, outside = OWN_NAMES[code]
    assert judge_message(inside) == inside
    with pytest.raises(SlackError) as refused:
        judge_message(outside)
    assert refused.value.code == code


def modal(**fields: Any) -> Block:
    return {"type": "modal", "title": plain(5), "blocks": [section()], **fields}


def home(**fields: Any) -> Block:
    return {"type": "home", "blocks": [section()], **fields}


FOCUSED = answers(text_input(focus_on_load=True))
SUBMIT = {"submit": plain(2)}
VIEWS: dict[str, tuple[Block, Block, str]] = {
    "title 24": (modal(title=plain(24)), modal(title=plain(25)), "/view/title/text"),
    "title required": (modal(), {k: v for k, v in modal().items() if k != "title"}, "/view"),
    "title is plain": (modal(), modal(title=plain(5, "mrkdwn")), "/view/title/type"),
    "submit 24": (modal(submit=plain(24)), modal(submit=plain(25)), "/view/submit/text"),
    "close 24": (modal(close=plain(24)), modal(close=plain(25)), "/view/close/text"),
    "submit for inputs": (modal(blocks=[answers(text_input())], **SUBMIT), modal(blocks=[answers(text_input())]), "/view"),
    "blocks 100": (modal(blocks=[DIVIDER] * 100), modal(blocks=[DIVIDER] * 101), "/view/blocks"),
    "home blocks 100": (home(blocks=[DIVIDER] * 100), home(blocks=[DIVIDER] * 101), "/view/blocks"),
    "private_metadata 3000": (modal(private_metadata="m" * 3000), modal(private_metadata="m" * 3001), "/view/private_metadata"),
    "callback_id 255": (modal(callback_id="c" * 255), modal(callback_id="c" * 256), "/view/callback_id"),
    "external_id 255": (modal(external_id="e" * 255), modal(external_id="e" * 256), "/view/external_id"),
    "home has no title": (home(), home(title=plain(5)), "/view"),
    "home has no submit": (home(), home(**SUBMIT), "/view"),
    "no echoed id": (modal(), modal(id="V1"), "/view"),
    "alert 200": (
        modal(blocks=[{"type": "alert", "text": plain(200)}]),
        modal(blocks=[{"type": "alert", "text": plain(201)}]),
        "/view/blocks/0/text/text",
    ),
    "alert level": (
        modal(blocks=[{"type": "alert", "text": plain(2), "level": "error"}]),
        modal(blocks=[{"type": "alert", "text": plain(2), "level": "red"}]),
        "/view/blocks/0/level",
    ),
    "no alert on home": (home(), home(blocks=[{"type": "alert", "text": plain(2)}]), "/view/blocks/0/type"),
    "no markdown in a modal": (modal(), modal(blocks=[{"type": "markdown", "text": "x"}]), "/view/blocks/0/type"),
    "no table in a modal": (home(blocks=[table(1, 1)]), modal(blocks=[table(1, 1)]), "/view/blocks/0/type"),
    "no data_table in a modal": (home(blocks=[data_table(2, 1)]), modal(blocks=[data_table(2, 1)]), "/view/blocks/0/type"),
    "no carousel in a modal": (
        home(blocks=[{"type": "carousel", "elements": [card(body=plain(1))]}]),
        modal(blocks=[{"type": "carousel", "elements": [card(body=plain(1))]}]),
        "/view/blocks/0/type",
    ),
    "no context_actions on home": (home(blocks=[section()]), home(blocks=[context_actions(icon())]), "/view/blocks/0/type"),
    "no chart in a modal": (home(blocks=[pie()]), modal(blocks=[pie()]), "/view/blocks/0/type"),
    "no plan on home": (home(), home(blocks=[{"type": "plan", "title": "p"}]), "/view/blocks/0/type"),
    "no task_card in a modal": (modal(), modal(blocks=[task()]), "/view/blocks/0/type"),
    "card in a modal": (modal(blocks=[card(body=plain(1))]), modal(blocks=[card()]), "/view/blocks/0"),
    "no container in a modal": (home(blocks=[container()]), modal(blocks=[container()]), "/view/blocks/0/type"),
    "one focus": (modal(blocks=[FOCUSED], **SUBMIT), modal(blocks=[FOCUSED, FOCUSED], **SUBMIT), "/view/blocks/1/element/focus_on_load"),
    "files 10": (
        modal(blocks=[answers({**FILE, "max_files": 10})], **SUBMIT),
        modal(blocks=[answers({**FILE, "max_files": 11})], **SUBMIT),
        "/view/blocks/0/element/max_files",
    ),
    "no file input on home": (modal(blocks=[answers(FILE)], **SUBMIT), home(blocks=[answers(FILE)]), "/view/blocks/0/element"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_just_inside_a_limit_is_taken(name: str) -> None:
    """What a modal or a Home tab may be, it may be."""
    view = VIEWS[name][0]
    assert view_report(view, kind=view["type"]).problems == []


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_just_outside_a_limit_is_refused_where_it_breaks(name: str) -> None:
    """What a modal or a Home tab may not be is refused with a pointer to the place."""
    view = VIEWS[name][1]
    problems = view_report(view, kind=view["type"]).problems
    assert [problem.pointer for problem in problems][:1] == [VIEWS[name][2]]


def test_a_view_has_at_most_250_kilobytes() -> None:
    """A view just under 250,000 bytes is taken, a bigger one is view_too_large."""
    fields = [plain(2000)] * 10
    assert judge_view(modal(blocks=[section(fields=fields)] * 12), kind="modal")
    with pytest.raises(SlackError) as refused:
        judge_view(modal(blocks=[section(fields=fields)] * 13), kind="modal")
    assert refused.value.code == "view_too_large"


@pytest.mark.parametrize("rubbish", ["{", "3", 7, {"type": "section"}, None])
def test_blocks_that_are_no_list_are_a_format_error(rubbish: Any) -> None:
    """invalid_blocks_format, not a crash."""
    with pytest.raises(SlackError) as refused:
        judge_message(rubbish)
    assert refused.value.code == "invalid_blocks_format"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["section", "actions", "table", "rich_text"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "text", "elements", "rows", "fields", "blocks", "options", "element"]), inner, max_size=5
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_any_json_is_judged_without_a_crash(value: Any) -> None:
    """Whatever arrives, the judge answers with problems, never with an exception of its own."""
    message_report([value])
    view_report(value, kind="modal")


@given(st.sampled_from([name for name in MESSAGE if name != "block_id unique"]))
def test_a_block_that_fits_alone_fits_among_others(name: str) -> None:
    """Limits are local: a good payload stays good after a divider, and a bad one stays bad."""
    assert message_report([DIVIDER, *MESSAGE[name][0]]).problems == []
    assert message_report([DIVIDER, *MESSAGE[name][1]]).problems
