"""Several changes as one: sequences, ramps, and what must be cleaned up afterwards (safe-actions.md S13, S24)."""

from collections import Counter
from collections.abc import Iterator

from runbooks.checks.guarding import overlap
from runbooks.checks.scene import Scene
from runbooks.checks.steps import action_operation, arguments, extremes_taken, target_allowed
from runbooks.duration import in_words
from runbooks.frontmatter import Path
from runbooks.operation import SEVERAL, Operation
from runbooks.runbook import Action, CleanUp
from runbooks.severity import Tier

LONGEST_PAUSE = 1800.0
"""Seconds between two stages of a ramp. Nobody stays awake beside a longer one, and the target is locked all the while."""


def check(scene: Scene) -> None:
    """Every sequence says what it does in one way only, and each of its changes could stand as an action of its own."""
    for index, action in enumerate(scene.header.actions):
        path: Path = ("actions", index)
        _one_way(scene, path, action)
        if action.is_several:
            _parts(scene, path, action)
            for field in ("most", "floor"):
                if getattr(action.guards, field) is not None:
                    scene.report((*path, "guards", field), "is for a single change; several are kept narrow by ramp")
        if action.ramp is not None:
            _ramp(scene, path, action)
        for number, item in enumerate(action.cleanup):
            _cleanup(scene, (*path, "cleanup", number), item)
        for name, parameter in action.parameters.items():
            if parameter.type == "release":
                _release(scene, (*path, "parameters", name), action, parameter.default)


def _one_way(scene: Scene, path: Path, action: Action) -> None:
    given = action.model_fields_set
    if not action.steps:
        if action.uses == SEVERAL:
            scene.report((*path, "uses"), "is missing: name the operation that it uses, or list several under steps")
        return
    for field in ("uses", "with_", "targets"):
        if field in given:
            scene.report((*path, field.rstrip("_")), "belongs to each of the steps; leave it out here")
    if len(action.steps) < 2:
        scene.report((*path, "steps"), "lists one change only; write it as uses and with")


def _parts(scene: Scene, path: Path, action: Action) -> None:
    touched: Counter[tuple[str, str]] = Counter()
    for inside, part, operation in _alone(scene, path, action):
        arguments(scene, inside, part, operation)
        extremes_taken(scene, path, part, operation)
        target_allowed(scene, inside, part, operation)
        _fits(scene, inside, action, operation)
        touched[operation.name, str(part.with_.get(operation.target or ""))] += 1
    for (name, target), times in touched.items():
        if times > 1:
            scene.report((*path, "steps"), f"{name} changes {target} twice; what is put back would not be clear")


def _alone(scene: Scene, path: Path, action: Action) -> Iterator[tuple[Path, Action, Operation]]:
    """Each change as an action of its own; of a ramp over targets the first, because they differ in nothing else."""
    single = {"steps": (), "ramp": None}
    for number, step in enumerate(action.steps):
        inside: Path = (*path, "steps", number)
        part = action.model_copy(update={**single, "uses": step.uses, "with_": step.with_, "targets": step.targets})
        operation = action_operation(scene, inside, part)
        if operation:
            yield inside, part, operation
    if action.steps:
        return
    operation = action_operation(scene, path, action)
    if operation is None or not action.targets:
        return
    if operation.target in action.with_:
        scene.report((*path, "with", str(operation.target)), "is each of targets in turn, because of ramp; leave it out")
        return
    filled = {**action.with_, str(operation.target): action.targets[0]}
    yield path, action.model_copy(update={**single, "with_": filled}), operation


def _fits(scene: Scene, path: Path, action: Action, operation: Operation) -> None:
    if not (operation.looks and operation.plans and operation.target):
        reason = f"{operation.name} cannot be one of several: after a crash nobody could look up whether it was done; make it an action"
        scene.report((*path, "uses"), reason)
    if operation.tier.above(action.tier):
        scene.report((*path, "uses"), f"{operation.name} is {operation.tier.value}, so the whole action is at least that; raise its tier")
    if not operation.reversible and (action.undo.to == "prior" or action.tier is not Tier.R3):
        scene.report(
            (*path, "uses"), f"{operation.name} cannot be undone, so the whole cannot; write undo: {{to: not-possible}} and tier: R3"
        )


def _ramp(scene: Scene, path: Path, action: Action) -> None:
    assert action.ramp is not None
    if not action.steps and len(action.targets) < 2:
        scene.report((*path, "ramp"), "needs several targets or steps: first one, then two, then four")
    if not 0 < action.ramp.pause <= LONGEST_PAUSE:
        scene.report((*path, "ramp", "pause"), f"must be more than nothing and at most {in_words(LONGEST_PAUSE)}")
    if action.ramp.stop_when is not None and overlap(action.verify.holds, action.ramp.stop_when):
        said = f"{action.ramp.stop_when} and verify.holds {action.verify.holds} can both be true; it would stop where it succeeds"
        scene.report((*path, "ramp", "stop_when"), said)
    if action.undo.to != "prior":
        scene.report((*path, "ramp"), "takes back what was done when it stops, and this cannot be undone; leave it out")
    if action.confirm == "card":
        scene.report((*path, "confirm"), "one click on the card is for a single change; leave confirm out")


def _cleanup(scene: Scene, path: Path, item: CleanUp) -> None:
    if (item.diagnostic is None) == (item.manual is None):
        scene.report(path, "is either measured (diagnostic and holds) or done by a person (manual says what)")
    if item.diagnostic is None:
        if item.holds is not None:
            scene.report((*path, "holds"), "belongs to a diagnostic; leave it out")
        return
    if item.holds is None:
        scene.report((*path, "holds"), 'is missing: say when it is clean, for example "< 1"')
    if scene.known((*path, "diagnostic"), item.diagnostic, scene.diagnostics, "diagnostic"):
        operation = scene.operation(scene.diagnostics[item.diagnostic])
        if operation is not None and not (isinstance(operation.sample, dict) and "value" in operation.sample):
            scene.report((*path, "diagnostic"), f"{item.diagnostic} gives no number to compare: {operation.name} has no value")


def _release(scene: Scene, path: Path, action: Action, default: object) -> None:
    if default not in {None, "last_known_good"}:
        scene.report((*path, "default"), "is last_known_good, or left out: a version that is written here grows old unseen")
    operation = None if action.is_several else scene.operation(action)
    if operation is not None and operation.target is not None and "to" not in operation.arguments:
        scene.report(path, f"{operation.name} knows no releases; a release belongs to model.rollback")
