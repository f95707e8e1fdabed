"""When the runbook applies, who is called, and how it is rehearsed (rules 8 and 13)."""

import re
from collections.abc import Mapping
from itertools import pairwise

from runbooks.checks.scene import Scene, near
from runbooks.duration import in_words
from runbooks.frontmatter import Path
from runbooks.rendering import render
from runbooks.runbook import DrillPlan

_LIMITED = {"customers_over", "cost_over"}
_PAGED = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")


def check(scene: Scene) -> None:
    """The matches, the escalation rules and the drill make sense."""
    _match(scene)
    _escalation(scene)
    _labels(scene)
    _steps(scene, scene.header.drill)
    _injects(scene, scene.header.drill)
    _marks(scene, scene.header.drill)
    _world(scene, scene.header.drill)


def _match(scene: Scene) -> None:
    header = scene.header
    if header.fallback and header.match:
        scene.report(("match",), "the fallback takes what no other runbook takes, so it has no match; leave one of them out")
    if not header.fallback and not header.match:
        scene.report(("match",), "says which alerts this runbook is for: at least one line, such as {alertname: ModelLatencyP99High}")
    for index, line in enumerate(header.match):
        if not line:
            scene.report(("match", index), "an empty line would match every alert; name at least one label")
    if header.match and not any(_fits(line, header.drill.alert) for line in header.match if line):
        scene.report(("drill", "alert"), "no line of match fits the drill's alert, so the drill would rehearse another runbook")


def _fits(line: Mapping[str, str | tuple[str, ...]], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) in ((wanted,) if isinstance(wanted, str) else wanted) for name, wanted in line.items())


def _escalation(scene: Scene) -> None:
    for index, rule in enumerate(scene.header.escalation):
        path: Path = ("escalation", index)
        if rule.if_ in _LIMITED and rule.limit is None:
            scene.report((*path, "limit"), f"{rule.if_} needs a limit: a number of customers, or US dollars an hour")
        if rule.if_ not in _LIMITED and rule.limit is not None:
            scene.report((*path, "limit"), f"has no meaning for {rule.if_}; it belongs to customers_over and cost_over")
        if not _PAGED.fullmatch(rule.page):
            reason = "names a person or a rotation of the on-call file: small letters, digits and single hyphens"
            scene.report((*path, "page"), reason)
        if rule.raise_to is not None and not rule.raise_to.worse_than(scene.header.severity):
            reason = f"{rule.raise_to.value} is no worse than the runbook's own {scene.header.severity.value}"
            scene.report((*path, "raise_to"), reason)


def _labels(scene: Scene) -> None:
    for label in scene.header.labels:
        if not scene.header.drill.alert.get(label, "").strip():
            scene.report(("drill", "alert"), f"lacks the label {label}, which the header declares in labels")


def _steps(scene: Scene, drill: DrillPlan) -> None:
    for field in ("expected", "forbidden"):
        for index, step in enumerate(getattr(drill, field)):
            scene.known(("drill", field, index), step, scene.actions, "action")
    for step in sorted(set(drill.expected) & set(drill.forbidden)):
        scene.report(("drill", "forbidden"), f"{step} cannot be expected and forbidden at once")
    if scene.header.actions and not drill.expected:
        scene.report(("drill", "expected"), "names the actions that a good responder takes; a drill without any proves nothing")


def _injects(scene: Scene, drill: DrillPlan) -> None:
    for index, inject in enumerate(drill.injects):
        path: Path = ("drill", "injects", index)
        if inject.unless is not None:
            scene.known((*path, "unless"), inject.unless, scene.actions, "action")
        if inject.after >= drill.ends_after:
            scene.report((*path, "after"), f"comes after the drill has ended ({in_words(drill.ends_after)})")
        if scene.refers((*path, "message"), inject.message):
            scene.tried((*path, "message"), render, inject.message, labels=scene.labels)


def _marks(scene: Scene, drill: DrillPlan) -> None:
    given = [(name, getattr(drill.pass_if, name)) for name in ("acknowledged", "first_action", "verified")]
    marks = [(name, value) for name, value in given if value is not None]
    if not marks:
        scene.report(("drill", "pass_if"), "needs at least one mark, such as acknowledged: 5m")
    for (name, value), (later, limit) in pairwise(marks):
        if value > limit:
            reason = f"{in_words(value)} is longer than {later} with {in_words(limit)}, which comes after it"
            scene.report(("drill", "pass_if", name), reason)
    for name, value in marks:
        if value <= 0 or value > drill.ends_after:
            scene.report(("drill", "pass_if", name), f"must lie between 0 and the drill's end ({in_words(drill.ends_after)})")
    for name in ("first_action", "verified"):
        if not scene.header.actions and getattr(drill.pass_if, name) is not None:
            scene.report(("drill", "pass_if", name), "cannot be reached: the runbook has no actions")


def _world(scene: Scene, drill: DrillPlan) -> None:
    path: Path = ("drill", "world", "fault")
    chosen = drill.world.fault.get("kind")
    if not isinstance(chosen, str):
        scene.report((*path, "kind"), "is missing: the kind of fault that the simulated world starts with")
        return
    if scene.faults is None:
        return
    if chosen not in scene.faults:
        scene.report((*path, "kind"), f"the simulation has no fault {chosen}{near(chosen, scene.faults)}")
        return
    takes = scene.faults[chosen]
    for name in sorted(set(drill.world.fault) - {"kind", *takes}):
        scene.report((*path, name), f"the fault {chosen} takes no {name}{near(name, takes)}")
