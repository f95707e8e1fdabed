"""Runbook text from templates: Jinja2, sandboxed and strict (runbook-format.md, rules 8 and 10).

A template may say `{{ alert.labels.<name> }}`, `{{ parameters.<name> }}`, `{{ result.… }}` and `{{ step("<id>") }}`, pass them
through the filters of `grammar.FILTERS`, and choose with `if`. Everything else is refused before anything runs, so that no template
can take long or reach anything: there are no loops, assignments, method calls or attributes of objects. Labels are data: what looks
like a template inside a label stays as it is.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, UndefinedError

from runbooks.errors import LabelMissing, TemplateInvalid
from runbooks.grammar import References, parsed, references
from runbooks.runbook import Runbook
from runbooks.sandbox import ENVIRONMENT, Labels
from runbooks.value import Json

__all__ = ["References", "has_template", "prose", "references", "render", "render_arguments", "render_bind", "render_value", "sections"]

MOST_TEXT = 4000  # what one Slack message carries; longer text is cut and says so with an ellipsis
MOST_VALUE = 1000  # an argument longer than this is no name, number or query parameter that anybody meant

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")
_FENCE = re.compile(r"^[ ]{0,3}(```|~~~)")


@lru_cache(maxsize=4096)
def _compiled(template: str) -> Template:
    references(template)
    return ENVIRONMENT.from_string(template)


def _render(template: str, context: Mapping[str, Any]) -> str:
    return _compiled(template).render(context)


@lru_cache(maxsize=4096)
def _expression(template: str) -> Callable[..., Any] | None:
    """The one expression that the template consists of, or None where there is text beside it."""
    found = parsed(template).single_expression
    return None if found is None else ENVIRONMENT.compile_expression(found, undefined_to_none=False)


def has_template(text: str) -> bool:
    """Whether the text holds any template syntax at all."""
    return "{{" in text or "{%" in text or "{#" in text


def plain(value: str) -> str:
    """A label as one line of text: control and direction-changing characters become a space."""
    return _CONTROL.sub(" ", value).strip()


def _markdown(value: str) -> str:
    """A label as literal Markdown text: it cannot become a heading, a link, a mention or a code span."""
    return _MARKDOWN.sub(r"\\\1", plain(value).replace("&", "&amp;").replace("<", "&lt;"))


def _asis(value: str) -> str:
    return value


def _no_step(step: str) -> str:
    raise TemplateInvalid(f'step("{step}") stands in the prose only; this field cannot refer to a step')


def _context(
    labels: Mapping[str, str],
    *,
    parameters: Mapping[str, Json] | None,
    result: Json,
    step: Callable[[str], str] = _no_step,
    shown: Callable[[str], str] = plain,
    says_missing: bool = False,
) -> dict[str, Any]:
    return {
        "alert": {"labels": Labels(labels, shown=shown, says_missing=says_missing)},
        "parameters": parameters or {},
        "result": result if result is not None else {},
        "step": step,
    }


def _run(work: Callable[[], Any]) -> Any:
    """Run a template and translate whatever it may raise into this room's errors."""
    try:
        return work()
    except (LabelMissing, TemplateInvalid):
        raise
    except UndefinedError as error:
        raise TemplateInvalid(f"the template asks for something that is not there: {error.message}") from error
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TemplateInvalid(f"the template cannot be rendered: {error}") from error


def render(
    template: str,
    *,
    labels: Mapping[str, str],
    parameters: Mapping[str, Json] | None = None,
    result: Json = None,
    limit: int = MOST_TEXT,
) -> str:
    """Text for people. Labels become one line each; text beyond `limit` characters is cut and ends in an ellipsis.

    Raises:
        LabelMissing: the alert lacks a label that the template names, or carries it empty.
        TemplateInvalid: the template is not allowed, or asks for something that is not there.
    """
    context = _context(labels, parameters=parameters, result=result)
    text: str = _run(partial(_render, template, context))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def render_value(template: Json, *, labels: Mapping[str, str], parameters: Mapping[str, Json] | None = None, result: Json = None) -> Json:
    """A value for a machine, walked through lists and mappings. What is exactly one template keeps the type of its value.

    Labels are passed as they are. A text beyond 1,000 characters is refused, never cut: half a target is another target.

    Raises:
        LabelMissing: the alert lacks a label that a template names, or carries it empty.
        TemplateInvalid: a template is not allowed, asks for something that is not there, or grows too long.
    """
    if isinstance(template, Mapping):
        return {key: render_value(entry, labels=labels, parameters=parameters, result=result) for key, entry in template.items()}
    if isinstance(template, list | tuple):
        return [render_value(entry, labels=labels, parameters=parameters, result=result) for entry in template]
    if not isinstance(template, str) or not has_template(template):
        return template
    context = _context(labels, parameters=parameters, result=result, shown=_asis)
    references(template)
    expression = _expression(template)
    value = _run(partial(expression, context) if expression else partial(_render, template, context))
    if isinstance(value, StrictUndefined) or value is None:
        raise TemplateInvalid(f"{template} has no value")
    if isinstance(value, str) and len(value) > MOST_VALUE:
        raise TemplateInvalid(f"the value is {len(value)} characters long; {MOST_VALUE} are allowed")
    return value


def render_arguments(
    arguments: Mapping[str, Json], *, labels: Mapping[str, str], parameters: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """A step's `with`, rendered. Raises as `render_value` does."""
    return {name: render_value(value, labels=labels, parameters=parameters) for name, value in arguments.items()}


def render_bind(bind: Mapping[str, str], *, labels: Mapping[str, str]) -> dict[str, str]:
    """A diagnostic's `bind`, rendered to texts that the backend passes as values and never as part of a query. Raises as `render_value`."""
    return {name: str(render_value(value, labels=labels)) for name, value in bind.items()}


def outline(body: str) -> list[tuple[str, str]]:
    """The prose's level-two headings with the text under each, in order; headings inside code fences are text."""
    found: list[tuple[str, list[str]]] = []
    fenced = False
    for line in body.splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = "" if fenced else _heading(line)
        if heading:
            found.append((heading, []))
        elif found:
            found[-1][1].append(line)
    return [(heading, "\n".join(lines).strip()) for heading, lines in found]


def _heading(line: str) -> str:
    """The text of a level-two heading, without the closing hashes that Markdown allows; empty for any other line."""
    if not line.startswith(("## ", "##\t")):
        return ""
    text = line[2:].strip()
    closed = text.rstrip("#")
    return closed.rstrip() if closed.endswith((" ", "\t")) else text


def sections(runbook: Runbook, *, labels: Mapping[str, str], steps: Mapping[str, str] | None = None) -> dict[str, str]:
    """The prose by heading, as Markdown in which labels are literal text.

    `steps` says what stands for a step, by id; by default its title in bold. A label that the alert lacks is said in its place
    ("label model missing"), because the rest of the text is still wanted.

    Raises:
        TemplateInvalid: only for a runbook that `loading` would refuse.
    """
    titles = {step.id: f"**{step.title}**" for step in runbook.steps()} | dict(steps or {})

    def named(step: str) -> str:
        if step not in titles:
            raise TemplateInvalid(f'step("{step}") names no step of this runbook')
        return titles[step]

    context = _context(labels, parameters=None, result=None, step=named, shown=_markdown, says_missing=True)
    return {heading: _run(partial(_render, text, context)) for heading, text in outline(runbook.body)}


def prose(runbook: Runbook, *, labels: Mapping[str, str], steps: Mapping[str, str] | None = None) -> str:
    """The whole prose as one Markdown text; see `sections`."""
    return "\n\n".join(f"## {heading}\n{text}" for heading, text in sections(runbook, labels=labels, steps=steps).items())
