"""What people read: the first screen, the links, the prose (rules 5, 7, 8)."""

import re
from collections.abc import Iterator

from runbooks.checks.scene import Scene, near
from runbooks.errors import TemplateInvalid
from runbooks.frontmatter import Path
from runbooks.grammar import references
from runbooks.rendering import has_template, render
from runbooks.runbook import Approvals
from runbooks.severity import Tier
from runbooks.value import Json

HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation", "Trade-offs", "Afterwards")
MOST_WHAT_BROKE = 300  # characters; about three lines on a phone, so that the actions still stand on the first screen

_ADDRESS = re.compile(r"https?://[^/{}\s?#]+(?:[/?#]|$)")
_RENDERED = re.compile(
    r"first_screen\.what_broke|links\..+|diagnostics\.\d+\.(with|bind|shows)\b.*|actions\.\d+\.(with|cost)\b.*|drill\.injects\.\d+\.message"
)


def check(scene: Scene) -> None:
    """The first screen fits and points to what exists, links lead somewhere, the prose is whole."""
    _first_screen(scene)
    _links(scene)
    _dead_templates(scene)
    _prose(scene)


def _first_screen(scene: Scene) -> None:
    screen = scene.header.first_screen
    scene.known(("first_screen", "customers"), screen.customers, scene.diagnostics, "diagnostic")
    path: Path = ("first_screen", "what_broke")
    if scene.refers(path, screen.what_broke):
        text = scene.tried(path, render, screen.what_broke, labels=scene.labels, limit=10 * MOST_WHAT_BROKE)
        if text is not None and len(text) > MOST_WHAT_BROKE:
            scene.report(path, f"has {len(text)} characters; {MOST_WHAT_BROKE} fit on the first screen")
        if text is not None and ("\n" in text.strip() or not text.strip()):
            scene.report(path, "must be one line that says something")
    seen: set[str] = set()
    for index, step in enumerate(screen.safe_actions):
        _safe(scene, ("first_screen", "safe_actions", index), step)
        if step in seen:
            scene.report(("first_screen", "safe_actions", index), f"{step} is listed twice")
        seen.add(step)


def _safe(scene: Scene, path: Path, step: str) -> None:
    if not scene.known(path, step, scene.actions, "action"):
        return
    action = scene.actions[step]
    if action.tier.above(Tier.R1):
        scene.report(path, f"{step} is {action.tier.value}; safe actions are R0 or R1")
    if action.approval is not Approvals.NONE:
        scene.report(path, f"{step} needs approval; safe actions are allowed without")


def _links(scene: Scene) -> None:
    for name, template in scene.header.links.items():
        path: Path = ("links", name)
        found = scene.refers(path, template)
        if found is None:
            continue
        for label in sorted(found.bare_labels):
            reason = f"the label {label} goes raw into an address; write {{{{ alert.labels.{label} | urlencode }}}}"
            scene.report(path, reason)
        address = scene.tried(path, render, template, labels=scene.labels)
        if not _ADDRESS.match(template):
            scene.report(path, "must begin with http:// or https:// and a host that is written out, not a template")
        elif address is not None and re.search(r"\s", address.strip()):
            scene.report(path, "holds a space; an address has none (write %20)")


def _dead_templates(scene: Scene) -> None:
    """Text that is shown as it stands must not look like a template: nobody would ever render it."""
    for path, text in _walk(scene.header.model_dump(mode="python", by_alias=True), ()):
        if has_template(text) and not _RENDERED.fullmatch(".".join(str(part) for part in path)):
            scene.report(path, "is shown as it stands, so a template here is dead; write plain text")


def _walk(value: Json, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _walk(entry, (*path, name))
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            yield from _walk(entry, (*path, index))


def headings(outline: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """What is wrong with the prose's headings: (heading, reason) pairs. Needs nothing but the prose."""
    names = [name for name, _ in outline]
    for heading in HEADINGS:
        if heading not in names:
            yield heading, f"the prose needs the heading `## {heading}`"
    for position, (name, text) in enumerate(outline):
        if name not in HEADINGS:
            yield name, f"`## {name}` is not one of the headings{near(name, HEADINGS)}; deeper headings (###) are free"
        elif names.index(name) != position:
            yield name, f"`## {name}` stands twice"
        elif not text:
            yield name, f"nothing stands under `## {name}`"
    known = [name for name in names if name in HEADINGS]
    if sorted(set(known), key=HEADINGS.index) != list(dict.fromkeys(known)):
        yield known[0], f"the headings must come in this order: {', '.join(HEADINGS)}"


def _prose(scene: Scene) -> None:
    steps = {**scene.diagnostics, **scene.actions}
    mentioned: set[str] = set()
    for heading, text in scene.outline:
        path: Path = ("body", heading)
        try:
            found = references(text)
        except TemplateInvalid as error:
            scene.report(path, str(error))
            continue
        mentioned |= found.steps
        for step in sorted(found.steps - set(steps)):
            scene.report(path, f'step("{step}") names no step{near(step, steps)}')
        for label in sorted(found.labels - set(scene.header.labels)):
            scene.report(path, f"uses the label {label}, which the header does not declare in labels{near(label, scene.header.labels)}")
        if found.parameters or found.result:
            scene.report(path, "the prose is written before anything runs: it has neither parameters nor result")
    for index, action in enumerate(scene.header.actions):
        if action.id not in mentioned:
            scene.report(
                ("actions", index), f'the prose never mentions it; say when to use {{{{ step("{action.id}") }}}}, best under Mitigation'
            )
