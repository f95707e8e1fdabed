"""Steps against the catalogue: operations, arguments, templates, targets (rules 2, 4, 8, 10)."""

import re
from collections.abc import Sequence

from runbooks.checks.arguments import extremes, mentions, samples, texts, unfit
from runbooks.checks.scene import Scene, near
from runbooks.frontmatter import Path
from runbooks.grammar import References
from runbooks.operation import SEVERAL, Operation
from runbooks.rendering import has_template, render, render_bind, render_value
from runbooks.runbook import Action, Diagnostic

_PLACEHOLDER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
_LITERAL_HOST = re.compile(r"https?://[^/{}\s]+(?:/|$)|/(?!/)")


def check(scene: Scene) -> None:
    """Every step uses an operation that exists and may be used there, with arguments that it takes."""
    _unique(scene)
    for index, diagnostic in enumerate(scene.header.diagnostics):
        path: Path = ("diagnostics", index)
        operation = _operation(scene, path, diagnostic, reads=True)
        if operation:
            arguments(scene, path, diagnostic, operation)
            _asked(scene, path, diagnostic, operation)
            _shown(scene, path, diagnostic, operation)
    for index, action in enumerate(scene.header.actions):
        path = ("actions", index)
        operation = None if action.operation == SEVERAL else action_operation(scene, path, action)  # several: see `checks.several`
        if operation:
            arguments(scene, path, action, operation)
            extremes_taken(scene, path, action, operation)
            target_allowed(scene, path, action, operation)
        for field in ("money", "quality", "latency"):
            text = getattr(action.cost, field)
            if scene.refers((*path, "cost", field), text, parameters=action.parameters):
                scene.tried((*path, "cost", field), render, text, labels=scene.labels, parameters=samples(action))


def _unique(scene: Scene) -> None:
    seen: set[str] = set()
    groups: tuple[tuple[str, Sequence[Diagnostic | Action]], ...] = (
        ("diagnostics", scene.header.diagnostics),
        ("actions", scene.header.actions),
    )
    for group, steps in groups:
        for index, step in enumerate(steps):
            if step.id in seen:
                scene.report((group, index, "id"), f"the id {step.id} is used by another step; every step needs its own")
            seen.add(step.id)


def action_operation(scene: Scene, path: Path, action: Action) -> Operation | None:
    """The operation that changes something; None, and reported, where it does not exist or may not be used."""
    return _operation(scene, path, action, reads=False)


def _operation(scene: Scene, path: Path, step: Diagnostic | Action, *, reads: bool) -> Operation | None:
    if not scene.known((*path, "uses"), step.uses, scene.catalogue, "operation"):
        return None
    operation = scene.catalogue[step.uses]
    if operation.internal:
        scene.report((*path, "uses"), f"{step.uses} is Muster's own and cannot be a step; escalation rules page people")
        return None
    if reads and not operation.reads:
        scene.report((*path, "uses"), f"{step.uses} changes something, and a diagnostic only reads; make it an action")
        return None
    if operation.reads and not reads:
        scene.report((*path, "uses"), f"{step.uses} only reads, and an action changes something; make it a diagnostic")
        return None
    return operation


def arguments(scene: Scene, path: Path, step: Diagnostic | Action, operation: Operation) -> None:
    """Every argument is one that the operation takes, and those that it needs are there."""
    parameters = samples(step)
    for name, argument in operation.arguments.items():
        if argument.required and name not in step.with_:
            scene.report((*path, "with"), f"{operation.name} needs the argument {name}{f': {argument.help}' if argument.help else ''}")
    for name, value in step.with_.items():
        inside = (*path, "with", name)
        if name not in operation.arguments:
            scene.report(inside, f"{operation.name} takes no argument {name}{near(name, operation.arguments)}")
            continue
        found = [scene.refers(inside, text, parameters=parameters) for text in texts(value)]
        if None in found:
            continue
        _raw_labels(scene, inside, step, operation, [entry for entry in found if entry])
        rendered = scene.tried(inside, render_value, value, labels=scene.labels, parameters=parameters)
        wrong = unfit(rendered, operation.arguments[name]) if rendered is not None else None
        if wrong:
            scene.report(inside, f"{name} {wrong}")


def _raw_labels(scene: Scene, path: Path, step: Diagnostic | Action, operation: Operation, found: list[References]) -> None:
    """Labels come from outside: into a query they go by `bind`, into a target by `targets`, into an address quoted (rule 10)."""
    bare = sorted({label for entry in found for label in entry.bare_labels})
    name = str(path[-1])
    text = step.with_[name]
    if operation.reads and name == "url":
        if bare:
            scene.report(path, f"the label {bare[0]} goes raw into an address; write {{{{ alert.labels.{bare[0]} | urlencode }}}}")
        if isinstance(text, str) and not _LITERAL_HOST.match(text):
            scene.report(path, "must begin with https:// and a host that is written out, or be a path such as /log?stage=app")
    elif operation.reads and any(entry.labels for entry in found):
        label = min(label for entry in found for label in entry.labels)
        scene.report(path, f"the label {label} goes raw into {name}; write ${label} there, and bind: {{{label}: …}} passes it as a value")
    elif bare and operation.target is not None and name != operation.target and not operation.arguments[name].choices:
        scene.report(path, f"the label {bare[0]} would decide {name}; labels may only choose the target, from the allow-list in targets")


def _asked(scene: Scene, path: Path, step: Diagnostic, operation: Operation) -> None:
    """`bind` and the query's `$names` are the same set."""
    query = step.with_.get("query")
    asked = set(_PLACEHOLDER.findall(_QUOTED.sub("", query))) if isinstance(query, str) else set()
    inside_quotes = set(_PLACEHOLDER.findall(query)) - asked if isinstance(query, str) else set()
    if step.bind and "query" not in operation.arguments:
        scene.report((*path, "bind"), f"{operation.name} has no query to bind values into")
        return
    for name in sorted(asked - set(step.bind)):
        scene.report((*path, "with", "query"), f"${name} is not given in bind")
    for name, template in step.bind.items():
        inside = (*path, "bind", name)
        if name in inside_quotes:
            scene.report(inside, f"${name} stands inside a quoted text; write it without quotes, as in label=${name}")
        elif name not in asked:
            scene.report(inside, f"the query never uses ${name}")
        if scene.refers(inside, template):
            scene.tried(inside, render_bind, {name: template}, labels=scene.labels)


def _shown(scene: Scene, path: Path, step: Diagnostic, operation: Operation) -> None:
    """`shows` is tried with the operation's own sample, `empty` is plain text."""
    inside = (*path, "shows")
    if step.shows is not None and scene.refers(inside, step.shows, result=True):
        text = scene.tried(inside, render, step.shows, labels=scene.labels, result=operation.sample)
        if text is not None and not text.strip():
            scene.report(inside, f"shows nothing for the sample result of {operation.name}")


def extremes_taken(scene: Scene, path: Path, action: Action, operation: Operation) -> None:
    """Each parameter at each of its bounds must give arguments that the operation takes."""
    usual = samples(action)
    for name, parameter in action.parameters.items():
        for value in extremes(parameter, action):
            for argument, template in action.with_.items():
                declared = operation.arguments.get(argument)
                if declared is None or not mentions(template, name):
                    continue
                inside = (*path, "parameters", name)
                given = {**usual, name: value}
                rendered = scene.tried(inside, render_value, template, labels=scene.labels, parameters=given)
                wrong = unfit(rendered, declared) if rendered is not None else None
                if wrong:
                    scene.report(inside, f"at {value} the argument {argument} of {operation.name} {wrong}")
                    break


def target_allowed(scene: Scene, path: Path, action: Action, operation: Operation) -> None:
    """What decides the target from outside is held to the allow-list `targets`."""
    if operation.target is None:
        if action.targets:
            scene.report((*path, "targets"), f"{operation.name} has no target, so there is nothing to allow")
        return
    wanted = action.with_.get(operation.target)
    if not isinstance(wanted, str):
        return  # missing or of the wrong type: reported with the arguments
    inside = (*path, "with", operation.target)
    if has_template(wanted) and not action.targets:
        scene.report(inside, "a template decides the target, so targets must list what may be touched")
        return
    parameters = samples(action)
    if not action.targets or any(scene.refers(inside, text, parameters=parameters) is None for text in texts(wanted)):
        return
    target = scene.tried(inside, render_value, wanted, labels=scene.labels, parameters=parameters)
    if target is not None and target not in action.targets:
        scene.report(
            (*path, "targets"), f"do not allow {target}, which the drill's alert leads to; allowed are {', '.join(action.targets)}"
        )
