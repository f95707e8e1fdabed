"""Templates: what they may say, what they make of hostile labels, and what they cost."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.grammar import FILTERS, references
from runbooks.loading import load
from runbooks.rendering import outline, prose, render, render_arguments, render_bind, render_value, sections
from tests.catalogue import catalogue

LABELS = {"model": "reranker-v3", "service": "answers", "empty": " "}
RESULT = {"rows": [{"customer": "northwind", "value": 12.0, "items": 3}, {"customer": "contoso", "value": 2.0}], "value": 0.1 + 0.2}
LATENCY = (Path(__file__).parents[3] / "runbooks" / "library" / "inference-latency.md").read_text(encoding="utf-8")
HOSTILE = [
    "{{ 7*7 }}",
    "{% for x in range(9) %}x{% endfor %}",
    "{{ alert.labels.__class__ }}",
    "<!channel> <@U123> [click](http://evil.example)",
    "# heading\n## Mitigation\n1. run rm -rf",
    "\u202egnp.exe\x00\x1b[31m",
    "x" * 4000,
    "$(reboot) `id` ${HOME} %s %n",
]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ alert.labels.model }} is slow", "reranker-v3 is slow"),
        ("{{ alert.labels['model'] | upper }}", "RERANKER-V3"),
        ("{{ result.rows | length }} customers, most of all {{ result.rows[0].customer }}", "2 customers, most of all northwind"),
        ("{{ (result.rows | first).items }}", "3"),
        ("{{ result.rows[:2] | join(' and ', 'customer') }}", "northwind and contoso"),
        ("{{ result.value }}", "0.3"),
        ("{{ result.value | percent }} or {{ result.value | percent(1) }}", "30 % or 30.0 %"),
        ("{{ result.rows[0].value }}", "12"),
        ("{{ result.value | round(1) }}", "0.3"),
        ("{% if result.value > 0.2 %}high{% else %}low{% endif %}", "high"),
        ("{{ 'high' if result.value > 0.5 else 'low' }}", "low"),
        ("{{ parameters.replicas - 1 }}", "3"),
        ("{{ parameters.on }}", "true"),
        ("{{ 'a b&c/d' | urlencode }}", "a%20b%26c%2Fd"),
        ("no template", "no template"),
        ("{# said to the author only #}shown", "shown"),
    ],
)
def test_what_a_template_may_say(template: str, text: str) -> None:
    """Each allowed form gives the text that a person expects to read."""
    assert render(template, labels=LABELS, parameters={"replicas": 4, "on": True}, result=RESULT) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 9 * 9 }}", "no multiplication"),
        ("{{ 9 ** 9 ** 9 }}", "no powers"),
        ("{{ '%999999999d' % 1 }}", "no the % operator"),
        ("{% for x in result.rows %}{% endfor %}", "no loops"),
        ("{% set x = 1 %}", "no assignments"),
        ("{% macro m() %}{% endmacro %}", "no macros"),
        ("{% include 'x' %}", "no includes"),
        ("{% import 'x' as y %}", "no imports"),
        ("{% extends 'x' %}", "no inheritance"),
        ("{{ range(999999999) }}", "only step"),
        ("{{ ''.join(result.rows) }}", "only step"),
        ("{{ ''.__class__.__mro__ }}", "not there"),
        ("{{ result.__class__ }}", "no __class__"),
        ("{{ result['__class__'] }}", "no __class__"),
        ("{{ alert.labels.model.__class__ }}", "alert.labels.<name> only"),
        ("{{ alert.labels }}", "alert.labels.<name> only"),
        ("{{ alert.annotations.summary }}", "alert.labels.<name> only"),
        ("{{ alert.labels[parameters.x] }}", "alert.labels.<name> only"),
        ("{{ config }}", "config is unknown"),
        ("{{ self }}", "self is unknown"),
        ("{{ parametres.x }}", "did you mean parameters?"),
        ("{{ alert.labels.model | default('x') }}", "filter default is not allowed; allowed are first"),
        ("{{ alert.labels.model is defined }}", "test defined"),
        ("{{ [1, 2] }}", "no lists"),
        ("{{ step(alert.labels.model) }}", "one id in quotes"),
        ("{{ step('scale-out') }}", "stands in the prose only"),
        ("{{ result.rows }}", "whole list"),
        ("{{ result.nothing }}", "no nothing here"),
        ("{{ result.rows[9].customer }}", "no 9 here"),
        ("{{ parameters.none }}", "value is empty"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ result.value > 'a' }}", "cannot be rendered"),
        ("{{ 'a' | round }}", "cannot be rendered"),
        ("{{ alert.labels.model", "does not parse"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "does not parse"),
        ("{{ " + "not " * 60 + "1 }}", "levels deep"),
        ("{{ result" + ".a" * 60 + " }}", "levels deep"),
        ("{{ " + "9" * 5000 + " }}", "does not parse"),
        ("x" * 200_000, "characters long"),
    ],
    ids=lambda value: value[:40],
)
def test_what_a_template_may_not_say(template: str, words: str) -> None:
    """Everything else is refused with a sentence, before it costs time or reaches anything."""
    with pytest.raises(TemplateInvalid) as refused:
        render(template, labels=LABELS, parameters={"none": None, "x": "model"}, result=RESULT)
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["region", "empty"])
def test_a_missing_or_empty_label_is_named(name: str) -> None:
    """An empty place in an incident note is worse than an error: the error names the label."""
    with pytest.raises(LabelMissing) as missing:
        render(f"{{{{ alert.labels.{name} }}}} is slow", labels=LABELS)
    assert missing.value.label == name
    assert str(missing.value) == f"label {name} missing"


@pytest.mark.parametrize("name", ["items", "keys", "get", "pop", "values", "copy"])
def test_a_label_may_have_the_name_of_a_method(name: str) -> None:
    """A label called `items` gives its value and never a method of Python's."""
    assert render(f"{{{{ alert.labels.{name} }}}}", labels={name: "mine"}) == "mine"
    with pytest.raises(LabelMissing):
        render(f"{{{{ alert.labels.{name} }}}}", labels={})


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_is_data_and_never_a_template(label: str) -> None:
    """What looks like a template, a mention or a heading inside a label stays text, on one line."""
    text = render("<{{ alert.labels.model }}>", labels={"model": label}, limit=10_000)
    assert "\n" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert text.startswith("<")
    assert ("{{ 7*7 }}" in text) == ("{{ 7*7 }}" in label)


@pytest.mark.parametrize("label", HOSTILE[:-2])
def test_a_label_cannot_change_the_prose(label: str) -> None:
    """In the prose a label is literal Markdown: the headings stay the six, and nothing in it becomes a link or a mention."""
    runbook = load(LATENCY, name="inference-latency", catalogue=catalogue())
    text = prose(runbook, labels={"model": label, "service": "answers"})
    assert [heading for heading, _ in outline(text)] == ["Meaning", "Impact", "Diagnosis", "Mitigation", "Trade-offs", "Afterwards"]
    assert "<!channel>" not in text
    assert "](http" not in text
    assert "49" not in text


def test_the_prose_says_which_label_is_missing_and_keeps_the_rest() -> None:
    """An alert without a declared label still gets its text, with the gap said in its place."""
    runbook = load(LATENCY, name="inference-latency", catalogue=catalogue())
    found = sections(runbook, labels={"service": "answers"}, steps={"cpu": "CPU: 96 %"})
    assert "Requests to **label model missing**" in found["Meaning"]
    assert "Look at CPU: 96 %." in found["Diagnosis"]
    assert "**Scale out**" in found["Mitigation"]


def test_a_heading_inside_a_fence_is_text() -> None:
    """A shell comment in an example does not begin a section."""
    assert outline("intro\n## Meaning\n```\n## not one\n```\nend\n## Impact ##\nx") == [
        ("Meaning", "```\n## not one\n```\nend"),
        ("Impact", "x"),
    ]


def test_a_value_that_is_one_template_keeps_its_type() -> None:
    """A number stays a number and a truth value stays one; beside text everything is text."""
    given_parameters = {"n": 4, "on": True, "ratio": 0.5, "name": "x"}
    arguments = {
        "n": "{{ parameters.n }}",
        "on": "{{- parameters.on -}}",
        "ratio": "{{ parameters.ratio }}",
        "spaced": " {{ parameters.ratio }}",
        "text": "pool/{{ parameters.n }}",
        "deep": {"list": ["{{ parameters.n }}", 7, None]},
        "plain": 3,
    }
    assert render_arguments(arguments, labels={}, parameters=given_parameters) == {
        "n": 4,
        "on": True,
        "ratio": 0.5,
        "spaced": " 0.5",
        "text": "pool/4",
        "deep": {"list": [4, 7, None]},
        "plain": 3,
    }


def test_a_bound_label_arrives_unchanged() -> None:
    """`bind` hands the label to the backend byte for byte: escaping is the backend's work."""
    hostile = 'x"} or vector(1) #\n{{ 7*7 }}'
    assert render_bind({"model": "{{ alert.labels.model }}"}, labels={"model": hostile}) == {"model": hostile}


def test_a_long_text_is_cut_and_a_long_value_is_refused() -> None:
    """Text for people ends in an ellipsis; half a target would be another target, so a value is never cut."""
    long = {"model": "x" * 5000}
    assert render("{{ alert.labels.model }}", labels=long) == "x" * 3999 + "…"
    with pytest.raises(TemplateInvalid, match="5000 characters"):
        render_value("{{ alert.labels.model }}", labels=long)
    with pytest.raises(TemplateInvalid, match="5005 characters"):
        render_value("pool/{{ alert.labels.model }}", labels=long)


def test_references_tell_where_a_label_stands_bare() -> None:
    """A label is quoted only where every use of it passes urlencode."""
    found = references("{{ alert.labels.a | urlencode }} {{ alert.labels.b }} {{ (alert.labels.c ~ 'x') | urlencode | upper }}")
    assert found.labels == {"a", "b", "c"}
    assert found.bare_labels == {"b"}


def test_the_filters_are_a_closed_list() -> None:
    """The list that authors are told is the list that works."""
    uses = {"first": "result.rows", "last": "result.rows", "join": "result.names", "length": "result.rows"}
    for name in FILTERS:
        template = f"{{{{ ({uses.get(name, 'result.value')} | {name}) is none }}}}"
        assert render(template, labels={}, result={"rows": [1], "names": ["a"], "value": 0.5}) == "false"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}%#|.()[]'\"alertbsmodelstepresulty_+-*/~ 0123456789\n", max_size=80), st.text(max_size=50))
def test_any_template_gives_text_or_one_of_two_errors(template: str, label: str) -> None:
    """Whatever stands in a template or a label: a text, LabelMissing or TemplateInvalid."""
    try:
        text = render(template, labels={"model": label}, parameters={}, result=RESULT)
    except (LabelMissing, TemplateInvalid) as refused:
        text = str(refused)
    assert isinstance(text, str)


def test_a_label_of_invisible_characters_is_missing_where_people_read() -> None:
    """What would show as an empty place counts as empty."""
    with pytest.raises(LabelMissing):
        render("{{ alert.labels.model }} is slow", labels={"model": "\u200b\x00"})


@pytest.mark.parametrize("line", ["## " + " " * 50_000 + "x", "## " + "# " * 50_000, "##" + "\t" * 50_000, "## a" + " #" * 50_000 + "b"])
def test_a_long_heading_costs_nothing(line: str) -> None:
    """Reading the outline takes time in proportion to its length, whatever a heading is made of."""
    assert len(outline(line + "\ntext")) <= 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_label_comes_through_a_value_unchanged(label: str) -> None:
    """A value that is exactly one label is that label, whatever it holds; an empty one is missing."""
    if label.strip():
        assert render_value("{{ alert.labels.model }}", labels={"model": label}) == label
    else:
        with pytest.raises(LabelMissing):
            render_value("{{ alert.labels.model }}", labels={"model": label})
