"""The post-mortem as one Markdown document. Text that came from outside is written literally: it can format nothing."""

import re
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from runbooks.duration import in_words
from runbooks.incident import Incident
from runbooks.postmortem import Phases, Postmortem

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_BULLET = re.compile(r"^[-+=]")
_NUMBER = re.compile(r"^(\d+)([.)])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]+")


def literal(text: str) -> str:
    """One line of Markdown that reads exactly as the text."""
    line = _SPECIAL.sub(r"\\\1", _CONTROL.sub(" ", text).strip())
    return _NUMBER.sub(r"\1\\\2", _BULLET.sub(r"\\\g<0>", line))


def phase_words(phases: Phases) -> list[tuple[str, str]]:
    """Each phase with its duration in words; what is not known says so and is never zero (mission I2)."""
    named = phases.model_dump()
    return [(name, "unknown" if value is None else in_words(value)) for name, value in named.items()]


def markdown(postmortem: Postmortem, incident: Incident) -> str:
    """The whole document, ready to be pasted where the team keeps its post-mortems."""
    template = files("runbooks").joinpath("templates", "postmortem.md.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters["literal"] = literal
    rendered = environment.from_string(template).render(postmortem=postmortem, incident=incident, phases=phase_words(postmortem.phases))
    return rendered.strip() + "\n"
