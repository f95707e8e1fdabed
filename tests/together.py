"""A runbook with a sequence and a ramp, and a release unit, over the simulated service: what scenarios of several as one share."""

RETRIES = "retries/gateway/answers"
RELEASES = {"r2": "reranker-v3.2", "r3": "reranker-v3.3"}

SEQUENCE = """
  - id: relieve
    title: Relieve at once
    tier: R1
    steps:
      - {uses: retries.cap, with: {target: gateway/answers, attempts: 1}}
      - {uses: cluster.scale, with: {target: inference/reranker-v3, replicas: 4}}
    approval: none
    guards: {cooldown: 10m, at_most: 5}
    verify: {diagnostic: p99, settle: 1m, holds: "< 0.5", for: 40s, fails: "> 20", within: 5m, otherwise: ask}
    undo: {to: prior, after: 4h, then: revert}
    cost: {money: none, quality: none, latency: none}

  - id: by-stages
    title: Step by step
    tier: R1
    steps:
      - {uses: cluster.scale, with: {target: inference/reranker-v3, replicas: 4}}
      - {uses: retries.cap, with: {target: gateway/answers, attempts: 1}}
      - {uses: limit.set, with: {target: answers/max_output_tokens, value: 900}}
    ramp: {pause: 1m, stop_when: "> 1"}
    approval: none
    guards: {cooldown: 10m, at_most: 5}
    verify: {diagnostic: p99, settle: 1m, holds: "< 0.5", for: 40s, fails: "> 20", within: 5m, otherwise: ask}
    undo: {to: prior, after: 4h, then: revert}
    cost: {money: none, quality: none, latency: none}
"""

UNITS = f"""
release_units:
  reranker-v3:
    environment: production
    parts:
      model: {{uses: model.rollback, target: reranker-v3}}
      cache: {{uses: flag.set, target: semantic-cache}}
    releases:
      - {{version: r3, at: 2026-11-19, score: 0.93, good: false, values: {{model: {RELEASES["r3"]}, cache: true}}}}
      - {{version: r2, at: 2026-11-04, score: 0.90, good: true, note: longer passages, values: {{model: {RELEASES["r2"]}, cache: true}}}}
"""


def with_actions(text: str) -> str:
    """The latency runbook with the sequence and the ramp, which its prose names."""
    head, rest = text.split("\nescalation:\n", 1)
    prose = rest.replace("## Mitigation\n", '## Mitigation\nAt once: {{ step("relieve") }}, or {{ step("by-stages") }}.\n\n', 1)
    return f"{head}{SEQUENCE}\nescalation:\n{prose}"


def capped(method: str, path: str) -> bool:
    """The change of the retries."""
    return method == "PUT" and "retries" in path


def scaled(method: str, path: str) -> bool:
    """The change of the pool."""
    return method == "PUT" and "pool" in path
