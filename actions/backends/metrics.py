"""Any server that speaks Prometheus' query API (https://prometheus.io/docs/prometheus/latest/querying/api/): `metrics.query`."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from actions.comparing import deadline
from actions.contract import CallInvalid, Rejected
from actions.kinds import BackendKind, OnlyReads, Options, Secrets
from actions.toolkit.credentials import signed_in
from actions.toolkit.wire import Wire, refuse
from runbooks.operation import AGO, Argument, ArgumentType, Call, Operation, Reading
from runbooks.value import Json

WHO = "The metrics server"
MOST_ROWS = 200  # a card names a handful; more than this is no answer for a person
MOST_BOUND = 1000  # characters of one bound value
FARTHEST = 30 * 86_400.0  # seconds; few servers keep more

OPERATION = Operation(
    name="metrics.query",
    title="Ask a metric",
    reads=True,
    arguments={
        "query": Argument(type=ArgumentType.TEXT, help="PromQL; $name stands for a value of `bind`"),
        AGO: Argument(type=ArgumentType.NUMBER, required=False, minimum=0, maximum=FARTHEST, help="so many seconds before the present"),
    },
    sample={"rows": [{"customer": "northwind", "value": 12.0}], "value": 12.0},
)

# A query's tokens as far as they matter here: texts and comments are left alone, and `$name` is found together with the matcher
# operator in front of it.
_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"""|(?P<comment>\#[^\n]*)"""
    r"""|(?P<matcher>(?:=~|!~|!=|(?<![=<>!])=(?!=))\s*)?\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)""",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_REGEX = re.compile(r"([\\.+*?()|\[\]{}^$])")


def bound(query: str, bind: Mapping[str, str]) -> str:
    """The query with each `$name` replaced by its value: behind a label matcher as a quoted text, elsewhere only if it is a number.

    Behind `=~` and `!~` the value is taken literally. Values come from outside and never become syntax (rule S29).

    Raises:
        CallInvalid: a name without a value, a name inside a quoted text, or a text where only a number can stand.
    """

    def put(found: re.Match[str]) -> str:
        if found["text"] is not None or found["comment"] is not None:
            inside = found["text"] and next((name for name in bind if re.search(rf"\${re.escape(name)}\b", found["text"])), None)
            if inside:
                raise CallInvalid(f"${inside} stands inside a quoted text; write it without quotes, as in label=${inside}.")
            return found[0]
        name, matcher = found["name"], found["matcher"]
        if name not in bind:
            raise CallInvalid(f"The query names ${name}, and `bind` gives it no value.")
        if matcher is None:
            return _figure(name, bind[name])
        literal = _REGEX.sub(r"\\\1", bind[name]) if "~" in matcher else bind[name]
        return matcher + quoted(name, literal)

    return _TOKEN.sub(put, query)


def quoted(name: str, value: str) -> str:
    """The value as a PromQL text: backslash, quote and everything invisible escaped as in Go."""
    if len(value) > MOST_BOUND:
        raise CallInvalid(f"${name} is {len(value)} characters long; {MOST_BOUND} are allowed.")
    return '"' + "".join(_escaped(letter) for letter in value) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter == "\n":
        return "\\n"
    point = ord(letter)
    if 0xD800 <= point <= 0xDFFF:  # half a character: no UTF-8 text holds it
        return "\\ufffd"
    return letter if letter.isprintable() else f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _figure(name: str, value: str) -> str:
    if not _NUMBER.fullmatch(value):
        raise CallInvalid(f"${name} stands where only a number can, and its value is none; texts belong behind a label matcher.")
    return f"({value})"


class Metrics(OnlyReads):
    """One Prometheus-compatible server. Implements `actions.contract.Backend`; it only reads."""

    name = "metrics"
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(
        self,
        *,
        url: str,
        environment: str | None = None,
        world: str | None = None,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.environment, self.world = environment, world
        self._wire = Wire(who=WHO, base=url, headers=headers)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Ask at the server's own present, or so many seconds `ago`. Rows without a finite number are no data and left out.

        `value` is the number of a single row; several rows have none, because no threshold can mean all of them.
        """
        query, left = bound(str(call.arguments["query"]), call.bind), deadline(timeout)
        ago = float(call.arguments.get(AGO) or 0)
        at = self._present(timeout=left()) - ago if ago else None
        rows = list(_rows(self._asked(query, at=at, timeout=left())))[:MOST_ROWS]
        return Reading(value={"rows": rows, "value": rows[0]["value"] if len(rows) == 1 else None})

    def probe(self, *, timeout: float) -> str:
        """Whether queries are let in and there is anything to ask, by counting what the server scrapes; nothing is changed."""
        rows = list(_rows(self._asked("count(up)", timeout=timeout)))
        if not rows:
            return f"{WHO} answers queries, and has no series named up: nothing is scraped, or nothing that these credentials may see."
        return f"{WHO} answers queries; {rows[0]['value']:.0f} targets are scraped."

    def _present(self, *, timeout: float) -> float:
        """The server's own clock, in Unix seconds: ours may differ from it by more than a metric's steps."""
        rows = list(_rows(self._asked("time()", timeout=timeout)))
        if len(rows) != 1:
            raise Rejected(f"{WHO} does not say what time it is, so it cannot be asked about the past.")
        return float(rows[0]["value"])

    def _asked(self, query: str, *, at: float | None = None, timeout: float) -> Mapping[str, Json]:
        moment = {} if at is None else {"time": f"{at:.3f}"}
        answer = self._wire.send("GET", "/api/v1/query", params={"query": query, **moment}, timeout=timeout)
        refuse(answer, who=WHO, what="query API")
        found = answer.json()
        if not isinstance(found, Mapping) or found.get("status") != "success" or not isinstance(found.get("data"), Mapping):
            raise Rejected(f"{WHO} does not answer as Prometheus does.")
        if found.get("isPartial") is True:  # VictoriaMetrics' cluster, where a storage node is out of reach
            raise Rejected(f"{WHO} answers only in part: some of its storage is out of reach, so no number of it can be trusted now.")
        data: Mapping[str, Json] = found["data"]
        return data


def _rows(data: Mapping[str, Json]) -> Iterator[dict[str, Any]]:
    kind, result = data.get("resultType"), data.get("result")
    try:
        if kind == "scalar":
            yield from _row({}, result)
        elif kind == "vector":
            for one in result or ():
                yield from _row(one["metric"], one["value"])
        else:
            raise CallInvalid(f"The query gives a {kind}; write one that gives a single number or one number for each label.")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Rejected(f"{WHO} does not answer as Prometheus does.") from error


def _row(labels: Mapping[str, str], sample: Json) -> Iterator[dict[str, Any]]:
    value = float(sample[1])
    if isfinite(value):
        yield {**{str(name): str(text) for name, text in labels.items() if name != "__name__"}, "value": value}


def build(options: Options, secrets: Secrets) -> Metrics:
    """`url` of the server; `environment` if it serves only one; secrets `token` (bearer), or `username` and `password` (basic)."""
    return Metrics(
        url=options.text("url"),
        environment=options.text("environment", None),
        world=options.text("world", None),
        headers=signed_in(secrets),
    )


KIND = BackendKind(name="metrics", operations=(OPERATION,), build=build, options=frozenset({"url", "environment", "world"}))
