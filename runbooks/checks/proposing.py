"""What may propose itself, and what may ever run by itself (rules S28, S30): only what is reversible, narrow and measured."""

from runbooks.checks.scene import Scene
from runbooks.duration import in_words
from runbooks.frontmatter import Path
from runbooks.runbook import Action, Approvals, ProposeWhen
from runbooks.severity import Tier

SHORTEST_COUNTDOWN, LONGEST_COUNTDOWN = 30.0, 480.0
"""Seconds. Under half a minute nobody can read and stop it; a plan is true for ten minutes, and the run needs some of them."""

SHORTEST_BASELINE, LONGEST_BASELINE = 300.0, 14 * 86400.0
"""Seconds. A nearer past is the trouble itself; a farther one is not kept by every metrics server."""

LONGEST_FOR = 3600.0
"""Seconds that a card measures again by itself; a condition that must hold longer could never be seen."""


def check(scene: Scene) -> None:
    """Every condition can be measured, and every autonomy is one that may be earned."""
    for index, action in enumerate(scene.header.actions):
        path: Path = ("actions", index)
        if action.propose_when is not None:
            _condition(scene, (*path, "propose_when"), action.propose_when)
        if action.autonomy is not None:
            _autonomy(scene, (*path, "autonomy"), action)


def _condition(scene: Scene, path: Path, when: ProposeWhen) -> None:
    _measured(scene, path, when)
    against = [name for name, share in (("up", when.up), ("down", when.down)) if share is not None]
    if len(against) > 1:
        scene.report((*path, "down"), "and up contradict each other; say one of them")
    if when.holds is None and not against:
        scene.report(path, 'says no condition; write holds: "> 2", or up: 20% with baseline: 1h')
    if against and when.baseline is None:
        scene.report((*path, "baseline"), f"is missing: {against[0]} compares with the value so long ago, for example 1h")
    if when.baseline is not None and not against:
        scene.report((*path, "baseline"), "belongs to up or down; leave it out")
    if when.baseline is not None and not SHORTEST_BASELINE <= when.baseline <= LONGEST_BASELINE:
        allowed = f"{in_words(SHORTEST_BASELINE)} to {in_words(LONGEST_BASELINE)}"
        scene.report((*path, "baseline"), f"is {in_words(when.baseline)}; it must be {allowed}")
    if when.for_ > LONGEST_FOR:
        scene.report((*path, "for"), f"is longer than {in_words(LONGEST_FOR)}, the time that an open incident is measured again by itself")


def _measured(scene: Scene, path: Path, when: ProposeWhen) -> None:
    """The diagnostic gives a number; against a baseline its source can be asked about the past."""
    if not scene.known((*path, "diagnostic"), when.diagnostic, scene.diagnostics, "diagnostic"):
        return
    operation = scene.operation(scene.diagnostics[when.diagnostic])
    if operation is None:
        return
    if not (isinstance(operation.sample, dict) and "value" in operation.sample):
        scene.report((*path, "diagnostic"), f"{when.diagnostic} gives no number to compare: {operation.name} has no value")
    if when.baseline is not None and not operation.looks_back:
        scene.report((*path, "baseline"), f"{operation.name} cannot be asked about the past; compare with a number by holds")


def _autonomy(scene: Scene, path: Path, action: Action) -> None:
    if action.propose_when is None:
        scene.report(path, "needs propose_when: what never proposes itself never runs by itself")
    if action.tier.above(Tier.R1):
        scene.report(path, f"is for R0 and R1, and this is {action.tier.value}; leave it out: a person decides")
    if action.approval is not Approvals.NONE:
        scene.report(path, "never takes the place of an approval; leave it out")
    if action.undo.to == "not-possible":
        scene.report(path, "is only for what can be undone; leave it out")
    autonomy = action.autonomy
    if autonomy is not None and not SHORTEST_COUNTDOWN <= autonomy.countdown <= LONGEST_COUNTDOWN:
        allowed = f"{in_words(SHORTEST_COUNTDOWN)} to {in_words(LONGEST_COUNTDOWN)}"
        scene.report((*path, "countdown"), f"is {in_words(autonomy.countdown)}; it must be {allowed}")
