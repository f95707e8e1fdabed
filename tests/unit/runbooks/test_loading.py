"""Reading runbooks: the good one, every way to spoil it, and rubbish."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runbooks.errors import RunbookInvalid
from runbooks.loading import load, load_folder
from runbooks.runbook import Runbook
from tests.catalogue import catalogue

LIBRARY = Path(__file__).parents[3] / "runbooks" / "library"
LATENCY = (LIBRARY / "inference-latency.md").read_text(encoding="utf-8")
FAULTS = {"traffic": ["factor"], "slow_release": ["unit", "factor"]}
CATALOGUE = catalogue()


def read(text: str, name: str = "inference-latency") -> Runbook:
    """Load this text against the test catalogue."""
    return load(text, name=name, catalogue=CATALOGUE, faults=FAULTS)


def problems(text: str) -> dict[str, str]:
    """What is wrong with this text, by field."""
    with pytest.raises(RunbookInvalid) as refused:
        read(text)
    found: dict[str, str] = {}
    for problem in refused.value.problems:
        found[problem.field] = f"{found.get(problem.field, '')}{problem.reason}\n"
    return found


def assert_read_or_refused(text: str) -> None:
    """A Runbook, or RunbookInvalid with reasons; any other error is a failure of the test."""
    try:
        found: Runbook | list[str] = read(text)
    except RunbookInvalid as refused:
        found = [problem.reason for problem in refused.problems]
    assert isinstance(found, Runbook) or (found and all(found))


def test_the_example_of_the_format_page_loads() -> None:
    """The latency runbook loads, with its text, its hash and its values typed."""
    runbook = read(LATENCY)
    scale_out = runbook.action("scale-out")
    assert scale_out is not None
    assert (runbook.id, runbook.header.version, len(runbook.hash)) == ("inference-latency", 2, 64)
    assert scale_out.verify.within == 300
    assert str(scale_out.verify.holds) == "< 0.5"
    assert runbook.source == LATENCY


class Spoiled(NamedTuple):
    """One way to spoil the latency runbook: `old` becomes `new`, and the problem is at `field` and says `words`."""

    old: str
    new: str
    field: str
    words: str


SPOILED = [
    # the file and its YAML
    Spoiled("---\nformat: 1", "format: 1", "", "must begin with a YAML header"),
    Spoiled("owner: ml-platform\n", "owner: ml-platform\nowner: search\n", "owner", "written twice, first in line 6"),
    Spoiled("owner: ml-platform\n", "owner: !!python/name:os.system\n", "owner", "tag"),
    Spoiled("owner: ml-platform\n", "owner: &a [*a]\n", "", "too large"),
    Spoiled("owner: ml-platform\n", "owner: {\n", "", "not YAML"),
    Spoiled("  - id: cpu\n", "  - id: cpu\n    on: yes\n", "diagnostics.cpu.on", "put it in quotes"),
    Spoiled("blast_radius: {", "blast_radius: {<<: {features: [a]}, ", "blast_radius", "merge keys"),
    Spoiled("title: Model answers are slow", "title: 12:30", "title", "YAML reads it as a number"),
    Spoiled("title: Model answers are slow", "title: on", "title", "truth value"),
    Spoiled("title: Model answers are slow", "title: 2026-01-01", "title", "a date"),
    # the shape
    Spoiled("owner: ml-platform\n", "", "owner", "is missing"),
    Spoiled("owner: ml-platform\n", "owner: ML Platform\n", "owner", "small letters"),
    Spoiled("owner: ml-platform\n", "owners: ml-platform\n", "owners", "did you mean owner?"),
    Spoiled("format: 1", "format: 2", "format", "must be 1"),
    Spoiled("version: 2", "version: 2.5", "version", "whole number"),
    Spoiled("class: availability", "class: outage", "class", "'availability'"),
    Spoiled("severity: SEV2", "severity: SEV5", "severity", "'SEV1'"),
    Spoiled("reviewed: 2026-11-16", "reviewed: lately", "reviewed", "date such as"),
    Spoiled("review_every: 180d", "review_every: 180", "review_every", "number with a unit"),
    Spoiled("review_every: 180d", "review_every: 180.0", "review_every", "number with a unit"),
    Spoiled("labels: [model, service]", "labels: model", "labels", "must be a list"),
    Spoiled("with: {query: 'inference:cpu:ratio{pool=$model}'}", "with: cpu", "diagnostics.cpu.with", "mapping"),
    Spoiled('holds: "< 0.5"', "holds: 0.5", "actions.scale-out.verify.holds", "comparison"),
    Spoiled('holds: "< 0.5"', 'holds: "below 0.5"', "actions.scale-out.verify.holds", "comparison"),
    Spoiled("minimum: 2", "minimum: .nan", "actions.scale-out.parameters.replicas.minimum", "finite"),
    Spoiled("minimum: 2", "minimum: '2'", "actions.scale-out.parameters.replicas.minimum", "must be a number"),
    Spoiled("      replicas: {", "      the-replicas: {", "actions.scale-out.parameters.the-replicas", "underscores"),
    Spoiled("{if: not_acknowledged, after: 5m,", "{if: bored, after: 5m,", "escalation.0.if", "'not_acknowledged'"),
    Spoiled("safe_actions: [scale-out,", "safe_actions: [a, b, c, d,", "first_screen.safe_actions", "at most 5"),
    # rule 2, 4: operations and arguments
    Spoiled("uses: cluster.scale", "uses: cluster.scael", "actions.scale-out.uses", "did you mean cluster.scale?"),
    Spoiled("uses: cluster.scale", "uses: metrics.query", "actions.scale-out.uses", "only reads"),
    Spoiled("    uses: metrics.query", "    uses: flag.disable", "diagnostics.affected-customers.uses", "changes something"),
    Spoiled("uses: cluster.scale", "uses: page.send", "actions.scale-out.uses", "Muster's own"),
    Spoiled("with: {flag: rerank}", "with: {flags: rerank}", "actions.skip-reranking.with.flags", "takes no argument flags; did you mean flag?"),
    Spoiled("with: {flag: rerank}", "with: {}", "actions.skip-reranking.with", "needs the argument flag"),
    Spoiled("attempts: 1}", "attempts: 11}", "actions.cap-retries.with.attempts", "at most 10"),
    Spoiled("attempts: 1}", "attempts: many}", "actions.cap-retries.with.attempts", "whole number"),
    Spoiled("maximum: 16}", "maximum: 1600}", "actions.scale-out.parameters.replicas", "at 1600 the argument replicas"),
    Spoiled("type: integer, title", "type: boolean, title", "actions.scale-out.parameters.replicas", "boolean"),
    # rule 8, 10: templates, labels, targets
    Spoiled("{{ alert.labels.model }} is slow", "{{ alert.labels.modle }} answers slowly", "first_screen.what_broke", "did you mean model?"),
    Spoiled("{{ alert.labels.model }} is slow", "{{ alert.name }} answers slowly", "first_screen.what_broke", "alert.labels.<name> only"),
    Spoiled("{{ alert.labels.model }} is slow", "{{ 9 * 9 }} answers slowly", "first_screen.what_broke", "no multiplication"),
    Spoiled("{{ alert.labels.model }} is slow", "{{ alert.labels.model answers", "first_screen.what_broke", "does not parse"),
    Spoiled("{{ alert.labels.model }} is slow", "long " * 70, "first_screen.what_broke", "300 fit"),
    Spoiled("title: CPU of the pool", 'title: "{{ alert.labels.model }}"', "diagnostics.cpu.title", "dead"),
    Spoiled("result.rows[0].customer }}", "result.rows[7].customer }}", "diagnostics.affected-customers.shows", "not there"),
    Spoiled("{{ result.rows | length }}", "{{ result.rows | sort }}", "diagnostics.affected-customers.shows", "filter sort is not allowed"),
    Spoiled("ratio{pool=$model}'", 'ratio{pool="{{ alert.labels.model }}"}\'', "diagnostics.cpu.with.query", "goes raw into query"),
    Spoiled("ratio{pool=$model}'", "ratio{pool=$pool}'", "diagnostics.cpu.with.query", "$pool is not given in bind"),
    Spoiled("ratio{pool=$model}'", "ratio'", "diagnostics.cpu.bind.model", "never uses $model"),
    Spoiled("ratio{pool=$model}'", "ratio{pool=\"$model\"}'", "diagnostics.cpu.bind.model", "inside a quoted text"),
    Spoiled("    targets: [inference/reranker-v3, inference/answers-v7]\n", "", "actions.scale-out.with.target", "targets must list"),
    Spoiled("targets: [inference/reranker-v3, inference", "targets: [inference", "actions.scale-out.targets", "do not allow inference/reranker-v3"),
    Spoiled("{target: gateway/answers, attempts: 1}", '{target: gateway/answers, attempts: "{{ alert.labels.model }}"}', "actions.cap-retries.with.attempts", "would decide attempts"),
    Spoiled("{{ alert.labels.model | urlencode }}", "{{ alert.labels.model }}", "links.dashboard", "raw into an address"),
    Spoiled("https://grafana.example.com/d", "https://{{ alert.labels.model | urlencode }}", "links.dashboard", "written out"),
    Spoiled("https://grafana.example.com/d", "javascript:alert", "links.dashboard", "https://"),
    # safe actions, S2, S3, S8, S21, S22
    Spoiled("safe_actions: [scale-out, skip-reranking, cap-retries]", "safe_actions: [scale-in]", "first_screen.safe_actions.0", "did you mean scale-out?"),
    Spoiled("safe_actions: [scale-out, skip-reranking, cap-retries]", "safe_actions: [previous-release]", "first_screen.safe_actions.0", "R0 or R1"),
    Spoiled("safe_actions: [scale-out, skip-reranking, cap-retries]", "safe_actions: [scale-out, scale-out]", "first_screen.safe_actions.1", "twice"),
    Spoiled("customers: affected-customers", "customers: scale-out", "first_screen.customers", "no diagnostic scale-out"),
    Spoiled("    tier: R2\n", "    tier: R1\n", "actions.previous-release.tier", "never lower it"),
    Spoiled("    approval: one\n", "    approval: none\n", "actions.previous-release.approval", "one other person"),
    Spoiled("    approval: one\n", "    approval: one\n    confirm: card\n", "actions.previous-release.confirm", "R1 only"),
    Spoiled("maximum: 16}\n    approval: none", "maximum: 16}\n    approval: none\n    confirm: card", "actions.scale-out.confirm", "open parameters"),
    Spoiled("undo: {to: prior, after: 24h, then: ask}", "undo: {to: not-possible}", "actions.previous-release.tier", "is R3"),
    Spoiled("undo: {to: prior, after: 24h, then: ask}", "undo: {to: prior}", "actions.previous-release.undo.after", "every mitigation ends"),
    Spoiled("verify: {diagnostic: p99,", "verify: {diagnostic: p98,", "actions.scale-out.verify.diagnostic", "did you mean p99?"),
    Spoiled("within: 5m", "within: 2m", "actions.scale-out.verify.within", "leaves no time"),
    Spoiled('fails: "> 2"', 'fails: "> 0.2"', "actions.scale-out.verify.fails", "can both be true"),
    Spoiled('requires: {cpu: "> 0.8"}', 'requires: {gpu: "> 0.8"}', "actions.scale-out.guards.requires.gpu", "did you mean cpu"),
    Spoiled(", minimum: 2,", ",", "actions.scale-out.parameters.replicas", "minimum and maximum"),
    Spoiled("default: {relative: 2}", "default: 40", "actions.scale-out.parameters.replicas.default", "outside 2 to 16"),
    Spoiled("default: {relative: 2}", "default: {relative: 2.5}", "actions.scale-out.parameters.replicas.default", "relative"),
    Spoiled('replicas: "{{ parameters.replicas }}"}', "replicas: 4}", "actions.scale-out.parameters.replicas", "never used"),
    Spoiled("{{ parameters.replicas }}", "{{ parameters.replica }}", "actions.scale-out.with.replicas", "did you mean replicas?"),
    Spoiled("  - id: cpu\n", "  - id: p99\n", "diagnostics.p99.id", "used by another step"),
    # matching, escalation, drill
    Spoiled("alertname: ModelLatencyP99High, environment: production, service", "alertname: Other, environment: production, service", "drill.alert", "no line of match fits"),
    Spoiled("match:\n", "match:\n  - {}\n", "match.0", "every alert"),
    Spoiled("severity: SEV2\n", "severity: SEV2\nfallback: true\n", "match", "fallback"),
    Spoiled("after: 10m, page: ml-platform-secondary}", "after: 10m, page: ml-platform-secondary, limit: 3}", "escalation.1.limit", "belongs to customers_over"),
    Spoiled("{if: not_mitigated, after: 20m", "{if: cost_over, after: 20m", "escalation.3.limit", "needs a limit"),
    Spoiled("raise_to: SEV1", "raise_to: SEV3", "escalation.3.raise_to", "no worse"),
    Spoiled("page: ml-platform-manager", "page: The Manager", "escalation.3.page", "small letters"),
    Spoiled("service: answers, model: reranker-v3}", "service: answers}", "drill.alert", "lacks the label model"),
    Spoiled("expected: [scale-out]", "expected: [scale]", "drill.expected.0", "no action scale"),
    Spoiled("expected: [scale-out]", "expected: [previous-release]", "drill.forbidden", "expected and forbidden at once"),
    Spoiled("  expected: [scale-out]\n", "", "drill.expected", "proves nothing"),
    Spoiled("unless: scale-out,", "unless: scale-in,", "drill.injects.1.unless", "did you mean scale-out?"),
    Spoiled("{after: 2m, message", "{after: 2h, message", "drill.injects.0.after", "after the drill has ended"),
    Spoiled("fault: {kind: traffic, factor: 2.5}", "fault: {kind: trafic}", "drill.world.fault.kind", "did you mean traffic?"),
    Spoiled("fault: {kind: traffic, factor: 2.5}", "fault: {kind: traffic, faktor: 2.5}", "drill.world.fault.faktor", "did you mean factor?"),
    Spoiled("fault: {kind: traffic, factor: 2.5}", "fault: {factor: 2.5}", "drill.world.fault.kind", "is missing"),
    Spoiled("pass_if: {acknowledged: 5m, first_action: 10m, verified: 15m}", "pass_if: {}", "drill.pass_if", "at least one mark"),
    Spoiled("acknowledged: 5m, first_action: 10m", "acknowledged: 15m, first_action: 10m", "drill.pass_if.acknowledged", "comes after it"),
    Spoiled("verified: 15m}", "verified: 2h}", "drill.pass_if.verified", "drill's end"),
    # the prose
    Spoiled("## Impact\n", "## Effects\n", "body.Impact", "needs the heading"),
    Spoiled("## Impact\n", "## Impakt\n", "body.Impakt", "did you mean Impact?"),
    Spoiled("## Impact\n", "## Impact\n\n## Impact\n", "body.Impact", "twice"),
    Spoiled("## Meaning\n", "## Afterwards\nNothing.\n\n## Meaning\n", "body.Afterwards", "order"),
    Spoiled('{{ step("scale-out") }}', '{{ step("scale-up") }}', "body.Mitigation", "did you mean scale-out"),
    Spoiled('{{ step("skip-reranking") }}', "skipping", "actions.skip-reranking", "never mentions it"),
    Spoiled("Requests to **{{ alert.labels.model }}**", "Requests to **{{ alert.labels.pool }}**", "body.Meaning", "does not declare"),
    Spoiled("Requests to **{{ alert.labels.model }}**", "{% for x in result %}x{% endfor %}", "body.Meaning", "no loops"),
    # addresses, and what only some operations or parameters have
    Spoiled("uses: metrics.query\n    with: {query: 'retries:amplification:ratio'}", "uses: http.get\n    with: {url: 'https://a.example.com/?m={{ alert.labels.model }}'}", "diagnostics.amplification.with.url", "urlencode"),
    Spoiled("uses: metrics.query\n    with: {query: 'retries:amplification:ratio'}", "uses: http.get\n    with: {url: 'https://{{ alert.labels.model | urlencode }}.example.com/'}", "diagnostics.amplification.with.url", "written out"),
    Spoiled("uses: metrics.query\n    with: {query: 'retries:amplification:ratio'}", "uses: http.get\n    with: {url: '//evil.example.com/'}", "diagnostics.amplification.with.url", "written out"),
    Spoiled("uses: metrics.query\n    with: {query: 'retries:amplification:ratio'}", "uses: http.get\n    with: {url: '/log'}\n    bind: {a: b}", "diagnostics.amplification.bind", "no query"),
    Spoiled("result.rows[0].customer }}", "result.rows[0].customer }}{{ parameters.x }}", "diagnostics.affected-customers.shows", "parameter x"),
    Spoiled('shows: "{{ result.rows | length }} customers, most of all {{ result.rows[0].customer }}"', 'shows: "{% if result.value > 99 %}many{% endif %}"', "diagnostics.affected-customers.shows", "shows nothing"),
    Spoiled("{{ alert.labels.model }} is slow", "{{ result.value }} answers slowly", "first_screen.what_broke", "only a diagnostic's shows"),
    Spoiled("{{ alert.labels.model }} is slow", "{{ step('cpu') }} answers slowly", "first_screen.what_broke", "prose only"),
    Spoiled("https://status.provider.example.com", "https://status.provider.example.com/a b", "links.provider_status", "holds a space"),
    Spoiled("with: {flag: rerank}\n", "with: {flag: rerank}\n    targets: [fast-path]\n", "actions.skip-reranking.targets", "do not allow rerank"),
    Spoiled("uses: flag.disable\n    with: {flag: rerank}\n", "uses: manual\n    with: {instruction: do it}\n    targets: [a]\n", "actions.skip-reranking.targets", "no target"),
    Spoiled("with: {flag: rerank}\n    approval: none", "with: {flag: rerank}\n    approval: one\n    confirm: card", "actions.skip-reranking.confirm", "without approval"),
    Spoiled("undo: {to: prior, after: 24h, then: ask}", "undo: {to: not-possible, after: 24h}", "actions.previous-release.undo.after", "leave it out"),
    Spoiled("otherwise: escalate}\n    undo: {to: prior, after: 24h, then: ask}", "otherwise: undo}\n    undo: {to: not-possible}", "actions.previous-release.verify.otherwise", "ask or escalate"),
    Spoiled("{type: integer, title: Replicas, default: {relative: 2}, minimum: 2, maximum: 16}", "{type: integer, title: Replicas, minimum: 20, maximum: 16}", "actions.scale-out.parameters.replicas.minimum", "more than maximum"),
    Spoiled("minimum: 2, maximum: 16}", "minimum: 2.5, maximum: 16}", "actions.scale-out.parameters.replicas", "whole numbers"),
    Spoiled("default: {relative: 2}", "default: 4.5", "actions.scale-out.parameters.replicas.default", "whole number"),
    Spoiled("maximum: 16}", "maximum: 16, choices: [4, 8]}", "actions.scale-out.parameters.replicas.choices", "for type choice"),
    Spoiled("{type: integer, title: Replicas, default: {relative: 2}, minimum: 2, maximum: 16}", "{type: choice, title: Replicas}", "actions.scale-out.parameters.replicas", "needs choices"),
    Spoiled("{type: integer, title: Replicas, default: {relative: 2}, minimum: 2, maximum: 16}", "{type: choice, title: Replicas, choices: [2, 4], default: 3}", "actions.scale-out.parameters.replicas.default", "not one of choices: 2, 4"),
    Spoiled("{type: integer, title: Replicas, default: {relative: 2}, minimum: 2, maximum: 16}", "{type: choice, title: Replicas, choices: [2, lots]}", "actions.scale-out.parameters.replicas", "at lots the argument replicas"),
    Spoiled("If the pool was too small", "<!-- {{ parameters.replicas }} --> If the pool was too small", "body.Afterwards", "neither parameters nor result"),
    Spoiled("## Trade-offs\nTwo", "## Trade-offs\n\n## Notes\nTwo", "body.Trade-offs", "nothing stands under"),
]  # fmt: skip


@pytest.mark.parametrize("spoiled", SPOILED, ids=lambda spoiled: f"{spoiled.field}:{spoiled.words}")
def test_a_spoiled_runbook_is_refused_with_field_and_reason(spoiled: Spoiled) -> None:
    """Each way to spoil it is found at its field, with words that say what to do."""
    assert spoiled.old in LATENCY
    found = problems(LATENCY.replace(spoiled.old, spoiled.new, 1))
    assert spoiled.field in found
    assert spoiled.words in found[spoiled.field]


def test_what_a_backend_cannot_do_binds_the_runbook() -> None:
    """An operation that cannot be undone, cannot plan or gives no number is refused where the runbook claims otherwise."""
    changed = {
        **CATALOGUE,
        "flag.disable": CATALOGUE["flag.disable"].model_copy(update={"reversible": False}),
        "retries.cap": CATALOGUE["retries.cap"].model_copy(update={"plans": False}),
        "metrics.query": CATALOGUE["metrics.query"].model_copy(update={"sample": {"rows": [{"customer": "northwind"}]}}),
    }
    with pytest.raises(RunbookInvalid) as refused:
        load(LATENCY, name="inference-latency", catalogue=changed)
    found = {problem.field: problem.reason for problem in refused.value.problems}
    assert "cannot be undone" in found["actions.skip-reranking.undo.to"]
    assert "cannot say beforehand" in found["actions.cap-retries.tier"]
    assert "no number to compare" in found["actions.scale-out.verify.diagnostic"]


def test_a_runbook_without_actions_needs_no_expected_ones() -> None:
    """A runbook may only look; then its drill cannot ask for a first action."""
    header, body = LATENCY.split("actions:\n")[0], LATENCY.split("---\n", 2)[2]
    kept = header.replace("safe_actions: [scale-out, skip-reranking, cap-retries]", "safe_actions: []")
    drill = (
        "drill:\n  alert: {alertname: ModelLatencyP99High, environment: production, service: answers, model: reranker-v3}\n"
        "  world: {fault: {kind: traffic}}\n  pass_if: {acknowledged: 5m%s}\n---\n"
    )
    prose = re.sub(r'\{\{ step\("(scale-out|skip-reranking|cap-retries|previous-release)"\) \}\}', "call somebody", body)
    assert read(kept + drill % "" + prose).header.actions == ()
    assert "no actions" in problems(kept + drill % ", verified: 9m" + prose)["drill.pass_if.verified"]


def test_every_problem_is_named_at_once() -> None:
    """An author sees all that is wrong in one go, in the order of the file, each with its line."""
    text = LATENCY
    for spoiled in (SPOILED[i] for i in (30, 47, 64)):
        text = text.replace(spoiled.old, spoiled.new, 1)
    with pytest.raises(RunbookInvalid) as refused:
        read(text)
    lines = [problem.line for problem in refused.value.problems]
    assert len(lines) >= 3
    assert None not in lines
    assert lines == sorted(line or 0 for line in lines)


def test_a_wrong_shape_hides_no_wrong_meaning() -> None:
    """A misspelt field in one step does not keep the problems of the others for the next attempt, nor invents any."""
    text = (
        LATENCY.replace("    unit: /s\n", "    units: /s\n")
        .replace('fails: "> 2"', 'fails: "over 2"', 1)
        .replace("review_every: 180d", "review_every: 180")
    )
    shape = {"review_every", "diagnostics.service-time.units", "actions.scale-out.verify.fails"}
    assert set(problems(text)) == shape
    assert set(problems(LATENCY.replace("labels: [model, service]", "labels: model"))) == {"labels"}
    text = text.replace("owner: ml-platform\n", "").replace("class: availability", "class: outage")
    shape |= {"owner", "class"}
    more = text.replace("    tier: R2\n", "    tier: R1\n").replace("attempts: 1}", "attempts: 11}")
    found = problems(more)
    assert set(found) == shape | {"actions.previous-release.tier", "actions.cap-retries.with.attempts"}
    with pytest.raises(RunbookInvalid) as refused:
        read(more)
    lines = more.splitlines()
    place = next(problem.line for problem in refused.value.problems if problem.field == "actions.previous-release.tier")
    assert place is not None
    assert lines[place - 1] == "    tier: R1"


def test_a_problem_points_to_its_line() -> None:
    """The line is that of the field in the file, in the header and in the prose."""
    text = LATENCY.replace("uses: cluster.scale", "uses: cluster.scael").replace("## Impact\n", "## Impakt\n")
    with pytest.raises(RunbookInvalid) as refused:
        read(text)
    lines = text.splitlines()
    for problem in refused.value.problems:
        if problem.field in {"actions.scale-out.uses", "body.Impakt"}:
            assert problem.line is not None
            assert re.search("scael|Impakt", lines[problem.line - 1])


def test_the_id_is_the_files_name() -> None:
    """A copied file that keeps its old id is refused."""
    with pytest.raises(RunbookInvalid, match="must be the file's name, copy"):
        read(LATENCY, name="copy")


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    """A file saved by a Windows editor is the same runbook with another hash."""
    saved = read("\ufeff" + LATENCY.replace("\n", "\r\n"))
    assert saved.header == read(LATENCY).header
    assert saved.hash != read(LATENCY).hash


@pytest.mark.parametrize(
    "bomb",
    [
        "---\n" + "[" * 5000 + "\n---\n",
        "---\n" + "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*a' if i == 0 else f'*b{i - 1}'] * 9)}]\n" for i in range(9)) + "---\n",
        "---\n? {a: b}\n: c\n---\n",
        "---\na: " + "9" * 5000 + "\n---\n",
        "---\na: 0x" + "f" * 5000 + "\n---\n",
        "---\na: 2026-99-99\n---\n",
        '---\na: "\\UFFFFFFFF"\n---\n',
        "---\na: \x00\n---\n",
        "---\n- 1\n---\n",
        "---\n---\n",
        "---\na: !!binary x\n---\n",
        "---\na: 1\n--- \nb: 2\n...\n",
        "x" * 300_000,
        "\ud800",
        "",
    ],
    ids=lambda bomb: repr(bomb[:24]),
)  # fmt: skip
def test_hostile_files_are_refused_and_nothing_else_happens(bomb: str) -> None:
    """Deep nesting, alias bombs, impossible numbers and dates, wrong shapes: a refusal each, at once."""
    with pytest.raises(RunbookInvalid):
        read(bomb)


_LINES = LATENCY.splitlines(keepends=True)
_PIECES = st.sampled_from(
    ["{{", "}}", "{%", "&a", "*a", "<<:", "!!", "- ", ": ", "\t", "'", '"', "[", "}", "on", "~", "0o7", "1e999", "\x85", "{{ 1/0 }}"]
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(_LINES) - 1), st.sampled_from(["drop", "twice", "swap", "put"]), _PIECES, st.integers(0, 40)),
        min_size=1,
        max_size=6,
    )
)
def test_a_mangled_runbook_is_read_or_refused(changes: list[tuple[int, str, str, int]]) -> None:
    """Whatever an editor, a merge or an enemy does to the file: a Runbook or RunbookInvalid, never another error."""
    lines = list(_LINES)
    for place, what, piece, column in changes:
        if what == "drop":
            lines[place] = ""
        elif what == "twice":
            lines[place] *= 2
        elif what == "swap":
            lines[place], lines[-place] = lines[-place], lines[place]
        else:
            lines[place] = lines[place][:column] + piece + lines[place][column:]
    assert_read_or_refused("".join(lines))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.text(max_size=100))
@example("a: &a\n  b: *a", "")
@example("format: 1\nid: x\nid: y", "## Meaning")
def test_any_text_is_refused_without_another_error(header: str, body: str) -> None:
    """Rubbish between the hyphens is a refusal with at least one reason."""
    with pytest.raises(RunbookInvalid) as refused:
        read(f"---\n{header}\n---\n{body}")
    assert refused.value.problems


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates())
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3), max_leaves=8
)
_PATHS = [
    "format",
    "id",
    "version",
    "title",
    "owner",
    "class",
    "match",
    "labels",
    "first_screen",
    "links",
    "diagnostics",
    "actions",
    "escalation",
    "drill",
    "fallback",
    "keywords",
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_PATHS), _TREES)
def test_any_value_in_any_field_is_read_or_refused(field: str, value: object) -> None:
    """A value of any shape in any field of the header gives a runbook or reasons."""
    _, header, body = LATENCY.split("---\n", 2)
    changed = {**yaml.safe_load(header), field: value}
    assert_read_or_refused(f"---\n{yaml.safe_dump(changed)}---\n{body}")


def test_a_folder_keeps_the_good_and_names_the_bad(tmp_path: Path) -> None:
    """One broken file keeps no other out; README is no runbook; the fallback is found."""
    for name in ("inference-latency", "general-fallback"):
        (tmp_path / f"{name}.md").write_text((LIBRARY / f"{name}.md").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "broken.md").write_text("---\nid: broken\n---\n", encoding="utf-8")
    (tmp_path / "latin.md").write_bytes(b"---\ntitle: \xe9\n---\n")
    (tmp_path / "README.md").write_text("# Runbooks", encoding="utf-8")
    library = load_folder([tmp_path], catalogue=CATALOGUE)
    assert [runbook.id for runbook in library.all] == ["general-fallback", "inference-latency"]
    assert {Path(problem.file).name for problem in library.problems} == {"broken.md", "latin.md"}
    assert library.fallback is library.by_id("general-fallback")
    assert library.by_id("broken") is None


def test_one_id_twice_is_refused_and_the_first_folder_wins(tmp_path: Path) -> None:
    """A team's folder cannot silently replace a runbook of an earlier one."""
    (tmp_path / "inference-latency.md").write_text(LATENCY, encoding="utf-8")
    library = load_folder([LIBRARY, tmp_path], catalogue=CATALOGUE)
    assert [problem.field for problem in library.problems] == ["id"]
    kept = library.by_id("inference-latency")
    assert kept is not None
    assert kept.path.startswith(str(LIBRARY))


def test_a_library_without_a_fallback_says_so(tmp_path: Path) -> None:
    """An unknown alert must find something, so a library without a fallback has a problem; so has one with two."""
    (tmp_path / "inference-latency.md").write_text(LATENCY, encoding="utf-8")
    assert [problem.field for problem in load_folder([tmp_path], catalogue=CATALOGUE).problems] == ["fallback"]
    second = (LIBRARY / "general-fallback.md").read_text(encoding="utf-8").replace("id: general-fallback", "id: other-fallback")
    (tmp_path / "other-fallback.md").write_text(second, encoding="utf-8")
    both = load_folder([LIBRARY, tmp_path], catalogue=CATALOGUE)
    assert [problem.reason for problem in both.problems if problem.field == "fallback"] == [
        "general-fallback is the fallback already; there is only one"
    ]


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """A misspelt folder is said, not taken for an empty library."""
    library = load_folder([tmp_path / "nowhere"], catalogue=CATALOGUE)
    assert library.all == ()
    assert [problem.reason for problem in library.problems] == ["there is no such folder"]
