"""What makes an action safe: tier, approval, parameters, pre-checks, verification, undo (safe-actions.md S2, S3, S5, S8, S21-S23)."""

from runbooks.checks.scene import Scene
from runbooks.duration import Threshold, in_words
from runbooks.frontmatter import Path, kind
from runbooks.operation import Operation
from runbooks.runbook import Action, Approvals, Parameter, Relative
from runbooks.severity import Tier

APPROVALS = {Tier.R0: Approvals.NONE, Tier.R1: Approvals.NONE, Tier.R2: Approvals.ONE, Tier.R3: Approvals.TWO}
"""The fewest *other* people who must approve, by tier (safe-actions.md, closed lists)."""


def check(scene: Scene) -> None:
    """Every action is guarded as its tier demands."""
    for index, action in enumerate(scene.header.actions):
        path: Path = ("actions", index)
        _tier(scene, path, action)
        _approval(scene, path, action)
        _undo(scene, path, action, scene.operation(action))
        _verify(scene, path, action)
        for step in action.guards.requires:
            scene.known((*path, "guards", "requires", step), step, scene.diagnostics, "diagnostic")
        for name, parameter in action.parameters.items():
            _parameter(scene, (*path, "parameters", name), parameter, action)
            _used(scene, (*path, "parameters", name), name, action)


def _tier(scene: Scene, path: Path, action: Action) -> None:
    operation = scene.operation(action)
    if operation is None or operation.reads:
        return
    lowest = operation.tier if operation.plans else operation.tier.raised()
    if lowest.above(action.tier):
        why = "" if operation.plans else " because it cannot say beforehand what will change"
        scene.report((*path, "tier"), f"{operation.name} is {lowest.value}{why}; a runbook may raise a tier and never lower it")


def _approval(scene: Scene, path: Path, action: Action) -> None:
    fewest = APPROVALS[action.tier]
    if action.approval.people < fewest.people:
        others = "one other person" if fewest.people == 1 else "two other people"
        reason = f"{action.tier.value} needs the approval of at least {others}; write approval: {fewest.value}"
        scene.report((*path, "approval"), reason)
    if action.confirm != "card":
        return
    if action.tier.above(Tier.R1):
        scene.report((*path, "confirm"), f"one click on the card is for R1 only, and this is {action.tier.value}; leave confirm out")
    elif action.parameters:
        scene.report((*path, "confirm"), "one click on the card is for actions without open parameters; leave confirm out")
    elif action.approval is not Approvals.NONE:
        scene.report((*path, "confirm"), "one click on the card is for actions without approval; leave confirm out")


def _undo(scene: Scene, path: Path, action: Action, operation: Operation | None) -> None:
    possible = action.undo.to == "prior"
    if not possible and action.tier is not Tier.R3:
        scene.report((*path, "tier"), f"an action that cannot be undone is R3, not {action.tier.value}")
    if possible and operation is not None and not operation.reversible:
        scene.report((*path, "undo", "to"), f"{operation.name} cannot be undone; write to: not-possible")
    if possible and not action.undo.after:
        scene.report((*path, "undo", "after"), "says when the change ends, for example 4h: every mitigation ends (S23)")
    if not possible and "after" in action.undo.model_fields_set:
        scene.report((*path, "undo", "after"), "has no meaning when there is no way back; leave it out")
    if not possible and action.verify.otherwise == "undo":
        scene.report((*path, "verify", "otherwise"), "cannot be undo when there is no way back; write ask or escalate")


def _verify(scene: Scene, path: Path, action: Action) -> None:
    verify = action.verify
    if scene.known((*path, "verify", "diagnostic"), verify.diagnostic, scene.diagnostics, "diagnostic"):
        operation = scene.operation(scene.diagnostics[verify.diagnostic])
        sample = operation.sample if operation else None
        if operation is not None and not (isinstance(sample, dict) and "value" in sample):
            scene.report((*path, "verify", "diagnostic"), f"{verify.diagnostic} gives no number to compare: {operation.name} has no value")
    if verify.settle + verify.for_ > verify.within:
        needed = in_words(verify.settle + verify.for_)
        scene.report((*path, "verify", "within"), f"leaves no time: settle and for together take {needed}, so it could never be verified")
    if verify.fails is not None and overlap(verify.holds, verify.fails):
        scene.report((*path, "verify", "fails"), f"{verify.fails} and holds {verify.holds} can both be true; leave a gap between them")


def overlap(one: Threshold, other: Threshold) -> bool:
    """Whether some number satisfies both. Between and beside the two limits stands everything that can differ."""
    low, high = sorted((one.limit, other.limit))
    width = max(high - low, 1.0)
    candidates = (low - width, low, (low + high) / 2, high, high + width)
    return any(one.holds(value) and other.holds(value) for value in candidates)


def _parameter(scene: Scene, path: Path, parameter: Parameter, action: Action) -> None:
    match parameter.type:
        case "integer" | "number":
            _bounds(scene, path, parameter)
        case "choice":
            _listed(scene, path, parameter, parameter.choices, "choices")
        case "target":
            _listed(scene, path, parameter, action.targets, "targets")
        case "release":
            pass  # chosen from what the backend knows; see `checks.several`
        case _:
            if parameter.default is not None and not isinstance(parameter.default, bool):
                scene.report((*path, "default"), "must be true or false")
    if parameter.type not in {"integer", "number"}:
        if parameter.minimum is not None or parameter.maximum is not None:
            scene.report(path, f"minimum and maximum are for numbers, and this is a {parameter.type}")
        if isinstance(parameter.default, Relative):
            scene.report((*path, "default"), f"a relative default is for numbers, and this is a {parameter.type}")
    if parameter.type != "choice" and parameter.choices:
        scene.report((*path, "choices"), f"are for type choice, and this is a {parameter.type}")


def _bounds(scene: Scene, path: Path, parameter: Parameter) -> None:
    minimum, maximum, default = parameter.minimum, parameter.maximum, parameter.default
    if minimum is None or maximum is None:
        scene.report(path, "needs minimum and maximum: beyond its bounds there is no plan (S2)")
        return
    if minimum > maximum:
        scene.report((*path, "minimum"), f"{minimum:g} is more than maximum {maximum:g}")
        return
    if parameter.type == "integer" and not (minimum.is_integer() and maximum.is_integer()):
        scene.report(path, "is an integer, so minimum and maximum must be whole numbers")
    if default is None or isinstance(default, Relative):
        return
    if isinstance(default, bool) or not isinstance(default, int | float):
        scene.report((*path, "default"), f"must be a number or {{relative: <whole number>}}, but is {kind(default)}")
    elif parameter.type == "integer" and not isinstance(default, int):
        scene.report((*path, "default"), "must be a whole number")
    elif not minimum <= default <= maximum:
        scene.report((*path, "default"), f"{default:g} lies outside {minimum:g} to {maximum:g}")


def _listed(scene: Scene, path: Path, parameter: Parameter, allowed: tuple[object, ...], field: str) -> None:
    if not allowed:
        scene.report(path, f"needs {field}: the list of values that may be chosen")
    elif parameter.default is not None and not isinstance(parameter.default, Relative) and parameter.default not in allowed:
        scene.report((*path, "default"), f"{parameter.default} is not one of {field}: {', '.join(str(entry) for entry in allowed)}")


def _used(scene: Scene, path: Path, name: str, action: Action) -> None:
    if f"parameters.{name}" not in str(action.rendered):
        scene.report(path, f"is never used; write {{{{ parameters.{name} }}}} in with, or leave it out")
