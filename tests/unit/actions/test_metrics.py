import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.backends.metrics import MOST_BOUND, Metrics, bound, quoted
from actions.contract import CallInvalid, Rejected
from actions.toolkit.wire import Answer
from runbooks.operation import Call


@pytest.mark.parametrize(
    ("query", "bind", "expected"),
    [
        ("up{a=$x}", {"x": "b"}, 'up{a="b"}'),
        ("up{a = $x, c!=$y}", {"x": "b", "y": "d"}, 'up{a = "b", c!="d"}'),
        ("up{a=$x}", {"x": 'b"} or up{c="'}, 'up{a="b\\"} or up{c=\\""}'),
        ("up{a=$x}", {"x": "b\\"}, 'up{a="b\\\\"}'),
        ("up{a=$x}", {"x": "b\nc\x00"}, 'up{a="b\\nc\\u0000"}'),
        ("up{a=~$x}", {"x": ".*|b"}, 'up{a=~"\\\\.\\\\*\\\\|b"}'),
        ("up{a=$x}", {"x": "$y"}, 'up{a="$y"}'),
        ("x > $limit", {"limit": "0.5"}, "x > (0.5)"),
        ("x - $limit", {"limit": "-3"}, "x - (-3)"),
        ('up{a=~"b$"} # $c', {}, 'up{a=~"b$"} # $c'),
        ("up{a=`$`}", {"x": "b"}, "up{a=`$`}"),
        ("x == $n", {"n": "5"}, "x == (5)"),
        ("x >= $n", {"n": "5"}, "x >= (5)"),
    ],
)
def test_bound_values_are_values(query: str, bind: dict[str, str], expected: str) -> None:
    """A value behind a matcher is one quoted text, elsewhere a number; it never becomes syntax."""
    assert bound(query, bind) == expected


@pytest.mark.parametrize(
    ("query", "bind"),
    [
        ("up{a=$x}", {}),
        ("x > $limit", {"limit": "0.5 or up"}),
        ("x > $limit", {"limit": "nan"}),
        ("x > $limit", {"limit": ""}),
        ("x > $limit", {"limit": "1e5"}),
        ("x > $limit", {"limit": "٣"}),
        ("x == $name", {"name": "text"}),
        ('up{a="$x"}', {"x": "b"}),
        ("up{a=$x}", {"x": "b" * (MOST_BOUND + 1)}),
    ],
)
def test_what_cannot_be_bound_is_refused(query: str, bind: dict[str, str]) -> None:
    """A name without value, a text where a number stands, a name inside quotes and an endless value are refused."""
    with pytest.raises(CallInvalid):
        bound(query, bind)


@given(value=st.text(max_size=60))
def test_s29_no_value_ends_its_quotes(value: str) -> None:
    """Whatever a label says, the query keeps its shape: one text, closed where it was opened."""
    text = quoted("x", value)
    assert re.fullmatch(r'"(?:[^"\\\x00-\x1f\x7f]|\\.)*"', text)
    query = bound("sum(up{a=$x, b=$y})", {"x": value, "y": "z"})
    assert query == f'sum(up{{a={text}, b="z"}})'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)", lambda found: _letter(found[1]), text[1:-1])


def _letter(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) > 1 else {"n": "\n"}.get(escape, escape)


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_quoted_value_reads_back_as_itself(value: str) -> None:
    """Escaping loses nothing: read by Go's rules, the text is the label again."""
    assert _unquoted(quoted("x", value)) == value


class Told(Metrics):
    """A metrics backend whose server's answer is laid ready."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__(url="http://127.0.0.1:1")
        self._wire.send = lambda *_, **__: Answer(status=status, body=body)  # type: ignore[method-assign]

    def ask(self) -> Any:
        return self.read(Call(operation="metrics.query", arguments={"query": "up"}), timeout=1).value


def vector(*rows: str) -> bytes:
    return f'{{"status":"success","data":{{"resultType":"vector","result":[{",".join(rows)}]}}}}'.encode()


def row(value: str, **labels: str) -> str:
    metric = ",".join(f'"{name}":"{text}"' for name, text in labels.items())
    return f'{{"metric":{{{metric}}},"value":[1700000000,"{value}"]}}'


def test_one_row_is_a_number_and_several_are_none() -> None:
    """A threshold can mean one value only; with several rows there are rows and no number."""
    assert Told(vector(row("0.5", __name__="up", a="b"))).ask() == {"rows": [{"a": "b", "value": 0.5}], "value": 0.5}
    assert Told(vector(row("1", a="b"), row("2", a="c"))).ask()["value"] is None
    assert Told(b'{"status":"success","data":{"resultType":"scalar","result":[1700000000,"3"]}}').ask()["value"] == 3.0


def test_missing_data_is_never_zero() -> None:
    """No rows, and rows that are not a finite number, are no data."""
    for body in (vector(), vector(row("NaN")), vector(row("+Inf", a="b"))):
        assert Told(body).ask() == {"rows": [], "value": None}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"status":"error","error":"x"}', b'{"status":"success","data":{}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":7}}',
        b'{"status":"success","data":{"resultType":"scalar","result":null}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
    ],
)  # fmt: skip
def test_what_is_not_prometheus_is_an_error_and_not_no_data(body: bytes) -> None:
    """An answer of another shape is an error of the contract, so that it is not mistaken for silence."""
    with pytest.raises((Rejected, CallInvalid)):
        Told(body).ask()


def test_a_part_of_an_answer_is_none() -> None:
    """A cluster that says that some of its storage is out of reach gives no number that a verdict could rest on."""
    whole = vector(row("0.5"))
    assert Told(whole.replace(b'"success"', b'"success","isPartial":false')).ask()["value"] == 0.5
    with pytest.raises(Rejected, match="answers only in part"):
        Told(whole.replace(b'"success"', b'"success","isPartial":true')).ask()


def test_a_query_error_carries_the_servers_words() -> None:
    """What the server says about a bad query reaches the author."""
    with pytest.raises(Rejected, match="parse error"):
        Told(b'{"status":"error","errorType":"bad_data","error":"parse error at 3"}', status=400).ask()
