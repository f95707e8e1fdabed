"""Sequences, ramps, releases and clean-up are checked when a runbook is loaded, each problem with field and reason (rules S13, S24)."""

from pathlib import Path

import pytest

from runbooks.errors import RunbookInvalid
from runbooks.loading import load
from runbooks.runbook import Runbook
from tests.catalogue import catalogue
from tests.together import with_actions

LIBRARY = Path(__file__).parents[3] / "runbooks" / "library"
LATENCY = with_actions((LIBRARY / "inference-latency.md").read_text(encoding="utf-8"))
QUALITY = (LIBRARY / "quality-regression.md").read_text(encoding="utf-8")
CAP = "      - {uses: retries.cap, with: {target: gateway/answers, attempts: 1}}\n      - {uses: cluster.scale"
RAMP = '    ramp: {pause: 1m, stop_when: "> 1"}\n'


def read(text: str, name: str = "inference-latency") -> Runbook:
    """Load this text."""
    return load(text, name=name, catalogue=catalogue())


def problems(text: str, name: str = "inference-latency") -> dict[str, str]:
    """What is wrong with it, by field."""
    with pytest.raises(RunbookInvalid) as refused:
        read(text, name)
    found: dict[str, str] = {}
    for problem in refused.value.problems:
        found[problem.field] = f"{found.get(problem.field, '')}{problem.reason}\n"
    return found


def test_a_sequence_and_a_ramp_load() -> None:
    """The steps are kept in their order, the ramp with its pause and its threshold, and what uses neither is as it was."""
    runbook = read(LATENCY)
    relieve, stages, scale = (runbook.action(step) for step in ("relieve", "by-stages", "scale-out"))
    assert relieve is not None
    assert [step.uses for step in relieve.steps] == ["retries.cap", "cluster.scale"]
    assert (relieve.is_several, relieve.operation) == (True, "sequence")
    assert stages is not None
    assert stages.ramp is not None
    assert (stages.ramp.pause, str(stages.ramp.stop_when)) == (60.0, "> 1")
    assert scale is not None
    assert (scale.is_several, scale.operation) == (False, "cluster.scale")


def test_a_sequence_survives_being_stored() -> None:
    """Written as JSON and read again, a pinned version with a sequence is the same."""
    runbook = read(LATENCY)
    assert Runbook.model_validate_json(runbook.model_dump_json(by_alias=True)) == runbook


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("    title: Relieve at once\n", "    title: Relieve at once\n    uses: retries.cap\n", "actions.relieve.uses", "belongs to each of the steps"),
        ("    title: Relieve at once\n", "    title: Relieve at once\n    targets: [x]\n", "actions.relieve.targets", "belongs to each of the steps"),
        (CAP, "      - {uses: cluster.scale", "actions.relieve.steps", "lists one change only"),
        (CAP, CAP.replace("retries.cap", "retries.cup"), "actions.relieve.steps.0.uses", "did you mean retries.cap"),
        (CAP, CAP.replace("attempts: 1", "attempts: 99"), "actions.relieve.steps.0.with.attempts", "at most 10"),
        (CAP, CAP.replace(", attempts: 1", ""), "actions.relieve.steps.0.with", "needs the argument attempts"),
        (CAP, CAP.replace("attempts: 1", "attempts: 1, more: 2"), "actions.relieve.steps.0.with.more", "takes no argument more"),
        (CAP, CAP.replace("gateway/answers", '"gateway/{{ alert.labels.service }}"'), "actions.relieve.steps.0.with.target", "targets must list"),
        (
            CAP,
            CAP.replace("retries.cap, with: {target: gateway/answers, attempts: 1}", "model.rollback, with: {unit: answers-v7, to: last_known_good}"),
            "actions.relieve.steps.0.uses",
            "raise its tier",
        ),
        (CAP, CAP.replace("retries.cap, with: {target: gateway/answers, attempts: 1}", "manual, with: {instruction: Look}"), "actions.relieve.steps.0.uses", "nobody could look up"),
        (CAP, CAP.replace("retries.cap, with: {target: gateway/answers, attempts: 1}", "metrics.query, with: {query: up}"), "actions.relieve.steps.0.uses", "only reads"),
        (CAP, CAP.replace("retries.cap, with: {target: gateway/answers, attempts: 1}", "cluster.scale, with: {target: inference/reranker-v3, replicas: 3}"), "actions.relieve.steps", "twice"),
        (RAMP, RAMP.replace("1m", "2h"), "actions.by-stages.ramp.pause", "at most 30 min"),
        (RAMP, RAMP.replace("> 1", "< 1"), "actions.by-stages.ramp.stop_when", "stop where it succeeds"),
        (RAMP, RAMP.replace("ramp: {", "ramp: {sizes: [1, 2], "), "actions.by-stages.ramp.sizes", "not a field of the format"),
        (RAMP, f"{RAMP}    confirm: card\n", "actions.by-stages.confirm", "for a single change"),
        ("guards: {cooldown: 10m, at_most: 5}", "guards: {cooldown: 10m, at_most: 5, most: 2}", "actions.relieve.guards.most", "for a single change"),
    ],
)  # fmt: skip
def test_a_wrong_sequence_is_refused_with_field_and_reason(old: str, new: str, field: str, words: str) -> None:
    """Each way to spoil a sequence or a ramp is found at its field, with words that say what to do."""
    assert old in LATENCY
    assert words in problems(LATENCY.replace(old, new, 1)).get(field, "")


def test_an_action_without_uses_and_steps_says_what_is_missing() -> None:
    """What does nothing is no action."""
    assert (
        "name the operation that it uses, or list several under steps"
        in problems(LATENCY.replace("    uses: retries.cap\n", "", 1))["actions.cap-retries.uses"]
    )


def test_a_ramp_over_targets_leaves_the_target_out() -> None:
    """With `ramp` and no steps, the operation is carried out on each of `targets`: one alone is no ramp, and `with` may not name it."""
    scale = """    uses: cluster.scale
    with: {replicas: 4}
    targets: [inference/reranker-v3, inference/answers-v7]
    ramp: {pause: 1m}
"""
    steps = LATENCY[LATENCY.index("    steps:\n", LATENCY.index("id: by-stages")) : LATENCY.index(RAMP) + len(RAMP)]
    good = LATENCY.replace(steps, scale)
    action = read(good).action("by-stages")
    assert action is not None
    assert (action.operation, action.targets) == ("sequence", ("inference/reranker-v3", "inference/answers-v7"))
    single = good.replace("[inference/reranker-v3, inference/answers-v7]\n    ramp", "[inference/reranker-v3]\n    ramp")
    assert "first one, then two, then four" in problems(single)["actions.by-stages.ramp"]
    named = good.replace(
        "with: {replicas: 4}\n    targets: [inference/reranker-v3, inference",
        "with: {target: x, replicas: 4}\n    targets: [inference/reranker-v3, inference",
    )
    assert "each of targets in turn" in problems(named)["actions.by-stages.with.target"]


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ('diagnostic: grounded, holds: ">= 0.85"}', "diagnostic: grounded}", "actions.previous-release.cleanup.0.holds", "say when it is clean"),
        ('diagnostic: grounded, holds: ">= 0.85"}', 'diagnostic: grundd, holds: ">= 0.85"}', "actions.previous-release.cleanup.0.diagnostic", "did you mean grounded"),
        ('diagnostic: grounded, holds: ">= 0.85"}', 'diagnostic: grounded, manual: Look, holds: ">= 0.85"}', "actions.previous-release.cleanup.0", "either measured"),
        ('diagnostic: grounded, holds: ">= 0.85"}', 'manual: Look, holds: ">= 0.85"}', "actions.previous-release.cleanup.0.holds", "belongs to a diagnostic"),
        ("to: {type: release, title: Release}", "to: {type: release, title: Release, default: v7}", "actions.previous-release.parameters.to.default", "grows old unseen"),
        ("to: {type: release, title: Release}", "to: {type: release, title: Release, minimum: 1}", "actions.previous-release.parameters.to", "are for numbers"),
    ],
)  # fmt: skip
def test_a_wrong_clean_up_or_release_is_refused_with_field_and_reason(old: str, new: str, field: str, words: str) -> None:
    """What must be cleaned up is measured or done by a person, and a release is chosen and never written down."""
    assert old in QUALITY
    assert words in problems(QUALITY.replace(old, new, 1), "quality-regression").get(field, "")
