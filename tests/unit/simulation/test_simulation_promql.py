"""The PromQL subset: hand-computed values, and every refusal by name."""

from math import inf, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.simulation.metrics import Metrics
from actions.simulation.promql import QueryRefused, evaluate, parse
from actions.simulation.promql.functions import bucket_quantile, quantile, rounded

AT = 1000.0


@pytest.fixture
def source():
    """Eleven samples, ten seconds apart and ending at 1000: gauges, counters with a reset, a histogram."""
    metrics = Metrics()
    for number in range(11):
        metrics.set("speed", number, car="a", road="north")
        metrics.set("speed", 20 - number, car="b", road="south")
        metrics.set("limit", 7.5, road="north")
        metrics.set("mood", number % 3)
        if number < 8:
            metrics.set("gone", 1)
        metrics.counters[("hits_total", (("car", "a"),))] = 5.0 * number + 100
        metrics.counters[("reset_total", ())] = 10.0 * number if number < 6 else 10.0 * (number - 6)
        for bound, count in (("1", 50), ("2", 90), ("4", 100), ("+Inf", 100)):
            metrics.counters[("took_bucket", (("le", bound),))] = count * (1 + number)
        metrics.sample(900.0 + 10.0 * number)
    return metrics


def ask(source, query, at=AT):
    result = evaluate(parse(query), source, at)
    if isinstance(result, float):
        return result
    return {tuple(value for name, value in labels if name != "__name__"): value for labels, value in result}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("speed", {("a", "north"): 10, ("b", "south"): 10}),
        ('speed{car="a"}', {("a", "north"): 10}),
        ('speed{car!="a"}', {("b", "south"): 10}),
        ('speed{car=~"a|c"}', {("a", "north"): 10}),
        ('speed{car=~"."}', {("a", "north"): 10, ("b", "south"): 10}),
        ('speed{road=~"nor"}', {}),
        ('speed{road!~"nor.*"}', {("b", "south"): 10}),
        ('{__name__=~"li.*"}', {("north",): 7.5}),
        ("speed offset 30s", {("a", "north"): 7, ("b", "south"): 13}),
        ("gone", {}),
        ("nothing", {}),
        ("max_over_time(gone[1m])", {(): 1}),
        ("avg_over_time(speed[50s])", {("a", "north"): 8, ("b", "south"): 12}),
        ("sum_over_time(mood[30s])", {(): 2 + 0 + 1}),
        ("min_over_time(speed[1m])", {("a", "north"): 5, ("b", "south"): 10}),
        ("max_over_time(speed[1m] offset 10s)", {("a", "north"): 9, ("b", "south"): 16}),
        ("last_over_time(gone[2m])", {(): 1}),
        ("changes(mood[1m])", {(): 5}),
        ("changes(limit[1m])", {("north",): 0}),
        ('quantile_over_time(0.5, speed{car="a"}[50s])', {("a", "north"): 8}),
        ('quantile_over_time(0.9, speed{car="a"}[50s])', {("a", "north"): 9.6}),
        # 910 … 1000 are in the range, the counter grows by 45 between them and is extrapolated by one more interval.
        ("increase(hits_total[100s])", {("a",): 50}),
        ("rate(hits_total[100s])", {("a",): 0.5}),
        # 60 -> 0 is a reset: 10 … 50, 0 … 40 gains 40 + 40, plus the value before the reset's fall to 0.
        ("increase(reset_total[100s])", {(): 88.88888888888889}),
        ("sum(speed)", {(): 20}),
        ("sum by (road) (speed)", {("north",): 10, ("south",): 10}),
        ("sum(speed) by (car)", {("a",): 10, ("b",): 10}),
        ("sum without (car) (speed)", {("north",): 10, ("south",): 10}),
        ("avg(speed offset 40s)", {(): 10}),
        ("min(speed offset 40s)", {(): 6}),
        ("max(speed offset 40s)", {(): 14}),
        ("count(speed)", {(): 2}),
        ("topk(1, speed offset 40s)", {("b", "south"): 14}),
        ("bottomk(1, speed offset 40s)", {("a", "north"): 6}),
        ("topk(0, speed)", {}),
        ("topk(1 + 1, speed offset 40s)", {("b", "south"): 14, ("a", "north"): 6}),
        ("histogram_quantile(0.5, took_bucket)", {(): 1}),
        ("histogram_quantile(0.7, took_bucket)", {(): 1.5}),
        ("histogram_quantile(0.99, rate(took_bucket[1m]))", {(): 3.8}),
        ("speed + 1", {("a", "north"): 11, ("b", "south"): 11}),
        ("1 - speed", {("a", "north"): -9, ("b", "south"): -9}),
        ("-speed", {("a", "north"): -10, ("b", "south"): -10}),
        ("speed / on (road) limit", {("north",): 10 / 7.5}),
        ("speed - ignoring (car) limit", {("north",): 2.5}),
        ("speed - speed offset 10s", {("a", "north"): 1, ("b", "south"): -1}),
        ("speed > 10", {}),
        ("speed >= 10", {("a", "north"): 10, ("b", "south"): 10}),
        ("speed offset 40s > 10", {("b", "south"): 14}),
        ("speed offset 40s > bool 10", {("a", "north"): 0, ("b", "south"): 1}),
        ("10 < speed offset 40s", {("b", "south"): 14}),
        ("speed == on (road) limit", {}),
        ("speed > on (road) limit", {("north",): 10}),
        ("abs(-limit)", {("north",): 7.5}),
        ("clamp(speed, 11, 12)", {("a", "north"): 11, ("b", "south"): 11}),
        ("clamp_min(limit, 8)", {("north",): 8}),
        ("clamp_max(limit, 7)", {("north",): 7}),
        ("round(limit)", {("north",): 8}),
        ("round(limit, 5)", {("north",): 10}),
        ("time()", 1000),
        ("time() - 400", 600),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("7 % 4", 3),
        ("-7 % 4", -3),
        ("1 / 0", inf),
        ("-1 / 0", -inf),
        ("2 > bool 1", 1),
        ("2 == bool 1", 0),
        ("0x10 + 1e1 + .5", 26.5),
        ("+Inf", inf),
        ("sum(speed) # a comment", {(): 20}),
        ('speed{car="\\x61"}', {("a", "north"): 10}),
        ("speed{car='a',}", {("a", "north"): 10}),
        ("speed{car=`a`}", {("a", "north"): 10}),
        ("avg_over_time(speed[1m30s]) * 0", {("a", "north"): 0, ("b", "south"): 0}),
    ],
)  # fmt: skip
def test_value(source, query, expected):
    """The query has the value computed by hand."""
    found = ask(source, query)
    if isinstance(expected, dict):
        assert found == {labels: pytest.approx(value) for labels, value in expected.items()}
    else:
        assert found == pytest.approx(expected)


def test_names_are_kept_where_prometheus_keeps_them(source):
    """Selectors, filters and topk keep the metric's name; functions, arithmetic and sums drop it."""

    def named(query):
        return {dict(labels).get("__name__") for labels, _ in evaluate(parse(query), source, AT)}

    assert named("limit") == named("limit > 1") == named("topk(1, limit)") == named("last_over_time(limit[1m])") == {"limit"}
    assert named("limit + 0") == named("abs(limit)") == named("sum(limit)") == named("limit > bool 1") == named("-limit") == {None}


def test_bare_range_selector_is_a_matrix(source):
    """A range selector by itself gives the samples after its start, up to and including its end."""
    (series,) = evaluate(parse('speed{car="a"}[30s]'), source, AT)
    assert series.points == [(980.0, 8.0), (990.0, 9.0), (1000.0, 10.0)]


def test_samples_grow_old(source):
    """An instant selector takes the newest sample of the last five minutes, and no older one."""
    assert ask(source, "limit", at=1299.0) == {("north",): 7.5}
    assert ask(source, "limit", at=1300.0) == {}
    assert ask(source, "limit", at=899.0) == {}


def test_nan_is_no_number():
    """Zero over zero is not a number, and a rate needs two samples."""
    metrics = Metrics()
    metrics.counters[("one_total", ())] = 1.0
    metrics.sample(10.0)
    assert isnan(ask(metrics, "0 / 0", at=10.0))
    assert ask(metrics, "rate(one_total[1m])", at=10.0) == {}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "the end of the query"),
        ("sum(", "the end of the query"),
        ("speed{", "matcher"),
        ("speed{car}", "matcher"),
        ('speed{car=~"("}', "regular expression"),
        ("speed[5m", "']'"),
        ("speed[5]", "duration"),
        ("speed speed", "unexpected 'speed'"),
        ("speed $ 1", "unexpected '$ 1'"),
        ("1abc", "unexpected"),
        ("{}", "at least one matcher"),
        ('{car=""}', "at least one matcher"),
        ('{car=~".*"}', "at least one matcher"),
        ("deriv(speed[5m])", "function deriv not supported"),
        ("predict_linear(speed[5m], 60)", "function predict_linear not supported"),
        ("label_replace(speed, 'a', 'b', 'c', 'd')", "function label_replace not supported"),
        ("absent(speed)", "function absent not supported"),
        ("stddev(speed)", "function stddev not supported"),
        ("quantile(0.5, speed)", "function quantile not supported"),
        ("rate(speed)", "a vector stands where a range belongs"),
        ("rate(speed[5m], 2)", "takes range"),
        ("abs(1)", "a scalar stands where a vector belongs"),
        ("sum(speed[5m])", "sum takes one vector"),
        ("sum(1, speed)", "sum takes one vector"),
        ("topk(speed)", "topk takes a scalar and a vector"),
        ("topk(speed, 1)", "topk takes a scalar and a vector"),
        ("topk(0/0, speed)", "finite"),
        ("rate(speed[5m:1m])", "subqueries not supported"),
        ("max_over_time(rate(speed[5m])[1h:])", "subqueries not supported"),
        ("speed @ 5", "the @ modifier not supported"),
        ("speed offset 5m @ 5", "the @ modifier not supported"),
        ("sum(speed) offset 5m", "offset not supported"),
        ("speed and limit", "set operators not supported"),
        ("speed unless limit", "set operators not supported"),
        ("speed * on (road) group_left limit", "group_left not supported"),
        ("speed atan2 limit", "atan2 not supported"),
        ('"text"', "string literals not supported"),
        ("1 > 2", "bool modifier"),
        ("1 + bool 2", "bool modifier"),
        ("speed[5m] + 1", "range selector"),
        ("-speed[5m]", "range selector"),
        ("speed / on () limit", "several series on the left side"),
        ("(" * 100 + "1" + ")" * 100, "nested too deeply"),
        ("1" + "+1" * 3000, "longer than"),
        ('speed{car="\\q"}', "unknown escape"),
    ],
)
def test_refused_by_name(source, query, named):
    """What is no query, or not of the subset, is refused and the refusal names it."""
    with pytest.raises(QueryRefused) as refused:
        evaluate(parse(query), source, AT)
    assert named in str(refused.value)


def refusal(work):
    """Do something that may be refused; the reason, or none."""
    try:
        work()
    except QueryRefused as refused:
        return str(refused)
    return None


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_query_or_refused(text):
    """Whatever the text, it is parsed or refused with a reason; nothing else happens."""
    assert refusal(lambda: parse(text)) != ""


_words = st.sampled_from(
    'speed limit sum rate ( ) [5m] { } by (car) , > + - * ^ 1 0.5 5m offset topk bool on "a" = =~ car histogram_quantile @ : and'.split()
)


@settings(deadline=None)
@given(st.lists(_words, max_size=14))
def test_any_heap_of_words_is_a_query_or_refused(words):
    """Words of the language in any order are a query with a value, or refused with a reason."""
    metrics = Metrics()
    metrics.set("speed", 1.0, car="a")
    metrics.sample(10.0)
    assert refusal(lambda: evaluate(parse(" ".join(words)), metrics, 10.0)) != ""


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_quantile_lies_between_its_values(values, share):
    """A quantile lies between the least and the greatest value, and grows with its share."""
    found = quantile(share, values)
    assert min(values) - 1e-6 <= found <= max(values) + 1e-6
    assert quantile(share / 2, values) <= found + 1e-6


def test_edges_of_quantiles():
    """Shares outside 0 to 1 are infinite, an empty histogram has no quantile, and one beyond the last bound is that bound."""
    assert quantile(-0.1, [1.0]) == -inf
    assert quantile(1.1, [1.0]) == inf
    assert isnan(bucket_quantile(0.5, [(1.0, 0.0), (inf, 0.0)]))
    assert isnan(bucket_quantile(0.5, [(1.0, 5.0), (2.0, 5.0)]))
    assert isnan(bucket_quantile(nan, [(1.0, 5.0), (inf, 5.0)]))
    assert bucket_quantile(0.9, [(1.0, 5.0), (inf, 10.0)]) == 1.0
    assert bucket_quantile(0.5, [(-1.0, 5.0), (inf, 5.0)]) == -1.0
    assert bucket_quantile(0.5, [(1.0, 6.0), (2.0, 4.0), (inf, 6.0)]) == pytest.approx(0.5)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.sampled_from([0.1, 0.25, 1.0, 5.0]))
def test_rounding_is_to_the_nearest(value, nearest):
    """Rounding moves a value by at most half of what it is rounded to."""
    assert abs(rounded(value, nearest) - value) <= nearest / 2 + 1e-6
