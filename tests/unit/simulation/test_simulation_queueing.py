"""The queue keeps the laws of queueing theory."""

from itertools import pairwise
from math import factorial, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.simulation.latency import Latency, fit, in_series
from actions.simulation.queueing import Pool, Stationary, advance

pools = st.builds(Pool, replicas=st.integers(1, 24), rate=st.floats(2.0, 80.0), patience=st.floats(0.5, 10.0))
loads = st.floats(0.01, 6.0)


def _impatient_by_hand(*, replicas: int, rate: float, arrivals: float) -> float:
    """The mean wait of M/M/c (Erlang C), written as the textbook has it, for a queue without impatience."""
    offered = arrivals / rate
    tail = offered**replicas / factorial(replicas) * replicas / (replicas - offered)
    waiting = tail / (sum(offered**k / factorial(k) for k in range(replicas)) + tail)
    return waiting / (replicas * rate - arrivals)


@settings(deadline=None)
@given(replicas=st.integers(1, 12), rate=st.floats(2.0, 80.0), load=st.floats(0.05, 0.85))
def test_patient_queue_is_erlang_c(replicas, rate, load):
    """With endless patience the mean latency is that of the textbook's M/M/c queue."""
    arrivals = load * replicas * rate
    found = Stationary(pool=Pool(replicas=replicas, rate=rate, patience=1e4 / rate), load=load)
    assert found.mean == pytest.approx(_impatient_by_hand(replicas=replicas, rate=rate, arrivals=arrivals) + 1 / rate, rel=1e-5)


@settings(deadline=None)
@given(pool=pools, load=loads)
def test_utilisation_law(pool, load):
    """Utilisation is what gets through, times the time one request takes, over the replicas; and never above one."""
    found = Stationary(pool=pool, load=load)
    through = load * pool.capacity * (1 - found.late_ratio)
    assert found.utilisation == pytest.approx(through / (pool.replicas * pool.rate), rel=1e-9)
    assert 0 <= found.utilisation <= 1 + 1e-9


@settings(deadline=None)
@given(pool=pools, load=loads)
def test_littles_law_against_the_distribution(pool, load):
    """The mean number in flight is the throughput times the mean of the latency distribution, integrated numerically."""
    found = Stationary(pool=pool, load=load)
    end = pool.patience + 25 / pool.rate
    step = end / 1500
    area = step * (0.5 + sum(found.over(step * i) for i in range(1, 1500)))
    assert found.in_flight == pytest.approx(pool.capacity * found.utilisation * area, rel=2e-2, abs=1e-3)


@settings(deadline=None)
@given(pool=pools, lighter=loads, factor=st.floats(1.01, 4.0))
def test_p99_does_not_fall_with_load(pool, lighter, factor):
    """More traffic never makes the 99th percentile shorter."""
    light, heavy = Stationary(pool=pool, load=lighter), Stationary(pool=pool, load=lighter * factor)
    assert heavy.quantile(0.99) >= light.quantile(0.99) - 1e-4


@settings(deadline=None)
@given(pool=pools, load=loads)
def test_p99_does_not_rise_with_replicas(pool, load):
    """One more replica for the same traffic never makes the 99th percentile longer."""
    more = Pool(replicas=pool.replicas + 1, rate=pool.rate, patience=pool.patience)
    arrivals = load * pool.capacity
    grown = Stationary(pool=more, load=arrivals / more.capacity)
    assert grown.quantile(0.99) <= Stationary(pool=pool, load=load).quantile(0.99) + 1e-4


@settings(deadline=None)
@given(pool=pools, load=loads)
def test_longer_than_nothing_is_everything(pool, load):
    """Every request takes longer than no time, and the share that takes longer falls with the time."""
    found = Stationary(pool=pool, load=load)
    shares = [found.over(pool.patience * part / 8) for part in range(12)]
    assert shares[0] == pytest.approx(1.0, abs=1e-6)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(shares))


@settings(deadline=None)
@given(pool=pools, load=st.floats(0.05, 4.0), held=st.floats(0.0, 300.0), seconds=st.floats(0.1, 10.0))
def test_flow_is_conserved(pool, load, held, seconds):
    """What is in the system after a step is what was in it, plus what came in, minus what was completed."""
    arrivals = load * pool.capacity
    most = Stationary(pool=pool, load=100.0).in_flight
    held = min(held, 0.9 * most)
    found = advance(pool=pool, in_flight=held, arrivals=arrivals, seconds=seconds)
    balance = held + seconds * (arrivals * (1 - found.late_ratio) - pool.capacity * found.utilisation)
    assert found.in_flight == pytest.approx(balance, abs=1e-3 * (1 + arrivals * seconds + found.in_flight))


@settings(deadline=None)
@given(pool=pools, load=st.floats(0.05, 3.0), held=st.floats(0.0, 50.0))
def test_a_long_step_comes_to_rest(pool, load, held):
    """After a long time the queue is the stationary one, whatever it held before."""
    found = advance(pool=pool, in_flight=held, arrivals=load * pool.capacity, seconds=1e7)
    assert found.load == pytest.approx(load, rel=1e-3)


@settings(deadline=None)
@given(median=st.floats(0.001, 2.0), sigma=st.floats(0.1, 1.5), stuck=st.floats(0.0, 0.9), share=st.floats(0.05, 0.999))
def test_latency_quantile_undoes_the_share(median, sigma, stuck, share):
    """The quantile is where the distribution reaches the share."""
    latency = Latency(median=median, sigma=sigma, stuck=stuck, limit=median * 200 if stuck else inf)
    found = latency.quantile(share)
    assert latency.under(found * 1.0001) >= share - 1e-6
    assert latency.under(found * 0.999) <= share + 1e-2


@settings(deadline=None)
@given(mean=st.floats(0.001, 5.0), factor=st.floats(1.3, 10.0))
def test_fit_keeps_mean_and_p99(mean, factor):
    """The fitted distribution has the mean and the 99th percentile that were asked for."""
    fitted = fit(mean=mean, p99=mean * factor)
    assert fitted.mean == pytest.approx(mean, rel=1e-6)
    assert fitted.p99 == pytest.approx(mean * factor, rel=1e-3)


def test_stages_in_series_add_up():
    """Means of stages add, and the whole is slower than its slowest stage and faster than all worst cases at once."""
    whole = in_series([(0.1, 0.3), (0.4, 1.0), (0.01, 0.02)])
    assert whole.mean == pytest.approx(0.51)
    assert 1.0 < whole.p99 < 1.32
