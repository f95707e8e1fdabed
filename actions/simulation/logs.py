"""What the stages of the service would have logged: lines made from the series, the same for the same moment."""

from datetime import UTC, datetime

from .errors import UnknownThing
from .metrics import Metrics
from .noise import uniform
from .world import STEP, World

STAGES = ("app", "retrieval", "model", "provider")


def lines(world: World, stage: str, *, limit: int = 50) -> list[str]:
    """Return the newest lines of a stage, oldest first.

    Raises:
        UnknownThing: no such stage.
    """
    if stage not in STAGES:
        raise UnknownThing(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    now = world.now.timestamp()
    moments = world.metrics.times_after(now - STEP * limit)[-limit:]
    return [_line(world, stage, at) for at in moments]


def _line(world: World, stage: str, at: float) -> str:
    metrics, step = world.metrics, int(at / STEP)
    p99 = _at(metrics, "stage:latency_seconds:p99", at, stage=stage)
    failing = _at(metrics, "stage:errors:ratio", at, stage=stage)
    draw = uniform(world.plan.seed, step, f"log/{stage}")
    bad = draw < max(failing, 0.0 if failing < 0.01 else 0.35)
    stamp = datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    request = f"req-{int(uniform(world.plan.seed, step, f'request/{stage}') * 16**8):08x}"
    took = p99 * (1.0 if bad else 0.2 + 0.3 * draw)
    text = _bad(world, stage, at, took) if bad else _good(world, stage, at, took)
    return f"{stamp} {'ERROR' if bad else 'INFO '} {stage} {request} {text}"


def _good(world: World, stage: str, at: float, took: float) -> str:
    metrics = world.metrics
    match stage:
        case "app":
            filtering = _at(metrics, "safety:filter_enabled", at) > 0
            score = _at(metrics, "quality:score", at, service="answers")
            verdict = "safety=checked" if filtering else "safety=SKIPPED filter disabled by rules"
            return (
                f"answered in {took * 1000:.0f} ms prompt={world.register.running('answers-v7').prompt} {verdict} sampled_score={score:.2f}"
            )
        case "retrieval":
            age = _at(metrics, "retrieval:index_age_seconds", at)
            return f"8 passages in {took * 1000:.0f} ms index={world.register.running('search-index').version} index_age={age:.0f}s"
        case "model":
            waiting = _at(metrics, "inference:queue_depth", at, pool="reranker-v3")
            return (
                f"reranked 50 passages in {took * 1000:.0f} ms release={world.register.running('reranker-v3').version} queue={waiting:.0f}"
            )
    tokens = _at(metrics, "tokens_per_answer", at)
    return f"200 from {_active(metrics, at)} in {took * 1000:.0f} ms tokens_per_answer={tokens:.0f}"


def _bad(world: World, stage: str, at: float, took: float) -> str:
    metrics = world.metrics
    match stage:
        case "app":
            return "429 to client: over our own limit (tokens per minute or daily budget)"
        case "retrieval":
            return f"vector search timed out after {took * 1000:.0f} ms, attempt 1, index={world.register.running('search-index').version}"
        case "model":
            waiting = _at(metrics, "inference:queue_depth", at, pool="reranker-v3")
            return f"504 reranker-v3: would wait over 5 s, {waiting:.0f} requests queued"
    return f"429 Too Many Requests from {_active(metrics, at)}, retry-after 2"


def _active(metrics: Metrics, at: float) -> str:
    return next((dict(one.labels)["provider"] for one in metrics.named("provider:active") if metrics.latest(one, at) == 1.0), "no provider")


def _at(metrics: Metrics, name: str, at: float, **labels: str) -> float:
    wanted = set(labels.items())
    found = next((one for one in metrics.named(name) if wanted <= set(one.labels)), None)
    value = None if found is None else metrics.latest(found, at)
    return 0.0 if value is None else value
