"""The world behaves as its faults and its mending actions promise."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.simulation.errors import Unacceptable, UnknownThing, VersionConflict
from actions.simulation.faults import FAULTS
from actions.simulation.promql import evaluate, parse
from actions.simulation.world import STEP, World

SHORT = timedelta(seconds=90)
# What mends each fault, as (target, value); "good" stands for the release unit's last known good version.
MENDING = {
    "traffic": [
        ("pool/inference/reranker-v3", {"replicas": 4}), ("flag/rerank", False), ("route/answers", {"route": "no-retrieval"}),
        ("route/answers", {"route": "cached"}),
    ],
    "slow_release": [("release/reranker-v3", "good")],
    "provider_degraded": [("route/answers", {"route": "backup"})],
    "retrieval_timeout": [
        ("route/answers", {"route": "no-retrieval"}), ("route/answers", {"route": "cached"}), ("flag/hybrid-search", False),
        ("release/search-index", "good"),
    ],
    "retrieval_stale": [
        ("route/answers", {"route": "no-retrieval"}), ("route/answers", {"route": "cached"}), ("flag/hybrid-search", False),
        ("release/search-index", "good"),
    ],
    "quality_regression": [("release/answers-v7", "good")],
    "cost_spike": [
        ("retries/gateway/answers", {"attempts": 1}), ("limit/answers/max_output_tokens", {"value": 600}), ("flag/long-answers", False),
    ],
    "safety_failure": [("route/answers", {"route": "strict"}), ("flag/safety-filter-v2", True), ("release/answers-v7", "good")],
}  # fmt: skip
# Actions that are the right ones for some other fault, and for which faults they also help because of the physics.
ALSO_HELPS = {
    "slow_release": {"pool/inference/reranker-v3", "flag/rerank", "route/answers"},
    "cost_spike": {"route/answers"},
    "traffic": {"route/answers"},
}
EVERY_ACTION = sorted({(path, repr(value)) for found in MENDING.values() for path, value in found})
SIGNALS = (
    "model:latency_seconds:p99", "provider:rate_limited:ratio", "retrieval:timeouts:ratio", "retrieval:index_age_seconds", "quality:score",
    "cost:usd_per_hour", "safety:unsafe:ratio",
)  # fmt: skip


def fresh(seed=7, **plan):
    return World(seed=seed, warm_up=SHORT, **plan)


def live(world, seconds):
    world.advance_to(world.now + timedelta(seconds=seconds))
    return world


def broken(kind, parameters=None, *, seed=7, seconds=60):
    world = fresh(seed)
    world.apply({"do": "fault", "kind": kind, "parameters": parameters or {}, "by": "test"})
    return live(world, seconds)


def put(world, path, value, **given):
    if value == "good":
        unit = path.removeprefix("release/")
        value = {"version": world.register.view(path)["value"]["last_known_good"]}
        assert world.register.releases[unit]
    return world.apply({"do": "put", "path": path, "value": value, "if_version": None, "by": "test", "key": None, **given})


def test_untouched_service_is_inside_every_limit():
    """A service that nobody breaks keeps every signal of every fault inside its limit, for half an hour."""
    world = fresh()
    for _ in range(30):
        live(world, 60)
        assert all(world.mended(kind) for kind in FAULTS)


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_shows_within_half_a_minute_and_persists(kind):
    """Every fault pushes its signals over their limits within 30 s and keeps them there as long as nobody mends it."""
    world = broken(kind, seconds=30)
    assert not world.mended(kind)
    for _ in range(10):
        live(world, 60)
        assert not world.mended(kind)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(FAULTS)), seed=st.integers(0, 10_000))
def test_fault_breaks_with_any_parameters(data, kind, seed):
    """Within the whole declared range of its parameters, a fault breaks the service."""
    chosen = {}
    for one in FAULTS[kind].parameters:
        if one.type == "choice":
            chosen[one.name] = data.draw(st.sampled_from(one.choices))
        elif one.type == "integer":
            chosen[one.name] = data.draw(st.integers(int(one.minimum), int(one.maximum)))
        else:
            chosen[one.name] = data.draw(st.floats(one.minimum, one.maximum))
    assert not broken(kind, chosen, seed=seed).mended(kind)


@pytest.mark.parametrize(("kind", "path", "value"), [(kind, *one) for kind, found in MENDING.items() for one in found])
def test_right_action_mends_and_its_undo_breaks_again(kind, path, value):
    """The right action brings the signals back inside within four minutes; undoing it lets them out again, for the cause persists."""
    world = broken(kind)
    before = put(world, path, value)["previous"]
    live(world, 240)
    assert world.mended(kind)
    put(world, path, {name: entry for name, entry in before.items() if name in {"replicas", "attempts", "value", "route", "version"}}
        if isinstance(before, dict) else before)  # fmt: skip
    live(world, 120)
    assert not world.mended(kind)


@pytest.mark.parametrize("kind", FAULTS)
def test_wrong_action_does_not_mend(kind):
    """An action that is right for some other fault leaves this one as it is."""
    right = {path for path, _ in MENDING[kind]} | ALSO_HELPS.get(kind, set())
    wrong = [(path, value) for other in MENDING.values() for path, value in other if path not in right]
    assert len(wrong) >= 4
    for path, value in wrong:
        world = broken(kind)
        if value == "good":
            versions = [one.version for one in world.register.releases[path.removeprefix("release/")]]
            value = {"version": versions[0]}  # noqa: PLW2901
            if path.removeprefix("release/") == world.broken[kind].unit:
                continue
        put(world, path, value)
        live(world, 240)
        assert not world.mended(kind), (path, value)


@pytest.mark.parametrize(
    ("kind", "route"),
    [("provider_degraded", "no-retrieval"), ("provider_degraded", "strict"), ("retrieval_timeout", "backup"), ("retrieval_stale", "strict"),
     ("safety_failure", "backup"), ("quality_regression", "backup"), ("cost_spike", "backup"), ("traffic", "backup"), ("traffic", "strict")],
)  # fmt: skip
def test_wrong_route_does_not_mend(kind, route):
    """A route that avoids another part of the service leaves the fault as it is."""
    world = broken(kind)
    put(world, "route/answers", {"route": route})
    assert not live(world, 240).mended(kind)


@pytest.mark.parametrize("kind", FAULTS)
def test_first_look_tells_which_class(kind):
    """Each fault moves its own signal, and of the other classes' signals none, past the limit; so the first look tells them apart."""
    world = broken(kind, seconds=120)
    group = FAULTS[kind].group
    others = [other for other, fault in FAULTS.items() if fault.group != group]
    assert [other for other in others if not world.mended(other)] == []


def test_mending_ends_every_cause():
    """Ending all faults at once brings every signal back and rolls every bad release back."""
    world = fresh()
    for kind in FAULTS:
        world.apply({"do": "fault", "kind": kind, "parameters": {}, "by": "test"})
    live(world, 60)
    world.apply({"do": "mend", "kind": None, "by": "test"})
    live(world, 300)
    assert world.broken == {}
    assert [kind for kind in FAULTS if not world.mended(kind)] == []
    assert all(world.register.running(unit).known_good for unit in world.register.releases)


def test_filter_that_catches_nothing_looks_on():
    """When only the rules are bad, the filter counts as running while unsafe answers pass: the ratio must be looked at."""
    world = broken("safety_failure", {"mode": "rules"}, seconds=120)
    assert world.metrics.value("safety:filter_enabled") == 1
    assert not world.mended("safety_failure")
    put(world, "flag/safety-filter-v2", True)
    assert not live(world, 120).mended("safety_failure")


def test_capping_retries_helps_a_saturated_pool_in_part():
    """Under a traffic surge fewer attempts shorten the list of failing questions' causes: less load, but still too slow."""
    world, capped = broken("traffic", seconds=240), broken("traffic")
    put(capped, "retries/gateway/answers", {"attempts": 1})
    live(capped, 180)
    load = {one: one.metrics.value("inference:offered_load:ratio", pool="reranker-v3") for one in (world, capped)}
    assert load[capped] < 0.8 * load[world]
    assert not capped.mended("traffic")


def test_replicas_take_their_start_up_time():
    """A pool scaled out shows the new replicas as ordered at once and as ready twenty seconds later; scaled in, at once."""
    world = fresh()
    put(world, "pool/inference/reranker-v3", {"replicas": 5})
    assert world.register.view("pool/inference/reranker-v3")["value"] == {"replicas": 5, "ready": 2}
    live(world, 18)
    assert world.register.targets["pool/inference/reranker-v3"].ready == 2
    live(world, 4)
    assert world.register.targets["pool/inference/reranker-v3"].ready == 5
    put(world, "pool/inference/reranker-v3", {"replicas": 1})
    assert world.register.targets["pool/inference/reranker-v3"].ready == 1


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31), portions=st.lists(st.integers(1, 40), min_size=1, max_size=6), kind=st.sampled_from(sorted(FAULTS)),
    arrivals=st.floats(5, 80),
)  # fmt: skip
def test_same_events_same_series(seed, portions, kind, arrivals):
    """Two worlds with the same seed and events have the same series, in whatever portions their time was advanced."""
    one, other = fresh(seed, arrival_rate=arrivals), fresh(seed, arrival_rate=arrivals)
    live(one, 20), live(other, 20)
    for world in (one, other):
        world.apply({"do": "fault", "kind": kind, "parameters": {}, "by": "test"})
    end = one.now + timedelta(seconds=60)
    one.advance_to(end)
    for portion in portions:
        other.advance_to(min(end, other.now + timedelta(seconds=portion)))
    other.advance_to(end)
    assert one.metrics.exposition(timestamps=True) == other.metrics.exposition(timestamps=True)


def test_another_seed_is_another_series():
    """Another seed gives other noise."""
    assert fresh(1).metrics.exposition() != fresh(2).metrics.exposition()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), arrivals=st.floats(5, 58), replicas=st.integers(2, 6))
def test_laws_on_the_series(seed, arrivals, replicas):
    """On the series themselves: utilisation is completions over capacity, and in-flight is throughput times mean latency."""
    world = live(fresh(seed, arrival_rate=arrivals, replicas=replicas), 120)
    at = world.now.timestamp()

    def ask(query):
        found = evaluate(parse(query), world.metrics, at)
        return found if isinstance(found, float) else found[0].value

    measured = ask('rate(inference_completions_total{pool="reranker-v3"}[1m])') / (replicas * 34.0)
    assert ask('avg_over_time(inference:utilisation:ratio{pool="reranker-v3"}[1m])') == pytest.approx(measured, rel=0.01)
    flow = ask('rate(model_latency_seconds_count{model="reranker-v3"}[1m])')
    latency = ask('rate(model_latency_seconds_sum{model="reranker-v3"}[1m])') / flow
    assert ask('avg_over_time(inference:in_flight{pool="reranker-v3"}[1m])') == pytest.approx(flow * latency, rel=0.03)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), arrivals=st.floats(10, 70), factor=st.floats(1.15, 3.0))
def test_busier_worlds_are_not_faster(seed, arrivals, factor):
    """With the same noise, more traffic never gives a shorter p99, and more replicas never a longer one."""
    worlds = [fresh(seed, arrival_rate=rate, replicas=count) for rate, count in ((arrivals, 2), (arrivals * factor, 2), (arrivals, 3))]
    calm, busy, bigger = (one.metrics.value("model:latency_seconds:p99", model="reranker-v3", service="answers") for one in worlds)
    assert busy >= calm * 0.999
    assert bigger <= calm * 1.001


def test_compare_and_set_refuses_a_version_that_has_passed():
    """A put with an old version changes nothing and says what stands now."""
    world = fresh()
    put(world, "flag/fast-path", False, if_version=1)
    with pytest.raises(VersionConflict) as refused:
        put(world, "flag/fast-path", True, if_version=1)
    assert refused.value.current["version"] == 2
    assert refused.value.current["value"] is False


def test_same_key_same_answer():
    """The same put again has the first answer, even after somebody else changed the target; the key cannot serve another change."""
    world = fresh()
    first = put(world, "retries/gateway/answers", {"attempts": 1}, key="k")
    put(world, "retries/gateway/answers", {"attempts": 2})
    again = put(world, "retries/gateway/answers", {"attempts": 1}, key="k", if_version=1)
    assert again == {**first, "replayed": True}
    assert world.register.setting("retries/gateway/answers") == 2
    with pytest.raises(Unacceptable, match="used before"):
        put(world, "retries/gateway/answers", {"attempts": 3}, key="k")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("pool/inference/reranker-v3", {"replicas": 25}, "between 1 and 24"),
        ("pool/inference/reranker-v3", {"replicas": True}, "whole number"),
        ("pool/inference/reranker-v3", {"replicas": 2.5}, "whole number"),
        ("pool/inference/reranker-v3", 4, "replicas"),
        ("flag/fast-path", "off", "true or false"),
        ("route/answers", {"route": "moon"}, "primary"),
        ("release/answers-v7", {"version": "answers-v7.99"}, "answers-v7.4"),
        ("limit/answers/max_output_tokens", {"value": 1}, "between 64"),
    ],
)
def test_value_out_of_bounds_is_refused_with_the_reason(path, value, reason):
    """A value that cannot be is refused with what would be possible, and nothing is noted."""
    world = fresh()
    with pytest.raises(Unacceptable, match=reason):
        put(world, path, value)
    assert world.register.changes == []


def test_unknown_target_names_the_known():
    """A target that does not exist is refused with the names that do."""
    with pytest.raises(UnknownThing, match="flag/rerank"):
        put(fresh(), "flag/unknown", True)


def test_changes_tell_who_did_what():
    """The change feed has the releases of faults as well as the changes of people, in order, each with its author."""
    world = broken("quality_regression", seconds=4)
    put(world, "release/answers-v7", "good")
    kinds = [(change["kind"], change["after"], change["by"]) for change in world.register.changes]
    assert kinds == [("release", "answers-v7.5", "chika@example.com"), ("release", "answers-v7.4", "test")]
    assert [change["number"] for change in world.register.changes] == [1, 2]


def test_snapshot_is_the_world():
    """A world restored from its snapshot is the same world, and goes on as the first would have."""
    import json

    world = broken("cost_spike")
    put(world, "pool/inference/reranker-v3", {"replicas": 3}, key="k")
    again = World(world.plan, kept=json.loads(json.dumps(world.to_json())))
    assert live(world, 40).metrics.exposition(timestamps=True) == live(again, 40).metrics.exposition(timestamps=True)
    assert world.register.to_json() == again.register.to_json()
    assert put(again, "pool/inference/reranker-v3", {"replicas": 3}, key="k")["replayed"] is True


def test_sample_every_step():
    """Every step of two seconds is a sample, and samples older than the kept span go."""
    world = fresh()
    before = world.metrics.sampled_at
    live(world, 2)
    assert world.metrics.sampled_at - before == STEP
