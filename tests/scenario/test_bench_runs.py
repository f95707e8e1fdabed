"""The bench measures what it says: its pieces run, with counts so small that no figure means anything. Nothing here is timed."""

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import measuring
from tests.bench.__main__ import aims, plain, run, text
from tests.bench.figures import Aim, Spread, percentile
from tests.bench.measuring import PATH, Plan
from tests.bench.requesting import alert, flood, paced, post
from tests.bench.serving import Process, limit, write_configuration

TINY = Plan(rounds=1, flood=0.2, singles=40, batches=4, cards=3, card_every=0.05, clicks=4, starts=1, matches=20, sizes=(10, 40))


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Process]:
    """Muster's intake alone."""
    configuration = write_configuration(tmp_path, 1)
    with limit("intake", folder=tmp_path, database=f"sqlite:///{tmp_path / 'muster.sqlite'}", configuration=configuration) as process:
        yield process


@pytest.mark.slow
def test_the_bench_measures_every_part() -> None:
    """A whole run finds every figure, says each aim with its verdict, and can be read by a machine."""
    parts: list[str] = []
    found = run("sqlite", TINY, said=parts.append)
    assert parts == list(measuring.PARTS)
    assert found["whole"]["alert_to_card"].count == TINY.cards
    assert found["whole"]["click_to_acknowledgement"].count == TINY.clicks
    assert all(rate > 0 for rate in found["limits"].values())
    said = text(found)
    assert all(aim.what in said for aim in aims(found))
    assert said.count("aim ≥") + said.count("aim ≤") == len(aims(found))
    assert json.loads(json.dumps(plain({**found, "aims": aims(found)})))["aims"][0]["met"] in {True, False}


def test_a_refusal_is_no_speed(intake: Process) -> None:
    """Where a server refuses, the bench stops with the statuses and prints no rate."""
    unsigned = post(PATH, alert({"alertname": "Bench0"}, starts_at="2026-11-20T02:00:00Z"), {})
    sent = asyncio.run(flood(intake.port, [unsigned], connections=2, seconds=0.1))
    assert set(sent.statuses) == {401}
    with pytest.raises(AssertionError, match="not everything was accepted"):
        sent.check()


def test_paced_requests_are_all_answered(intake: Process) -> None:
    """Each paced request is sent once, in order, and each answer counts."""
    heard: list[int] = []
    requests = measuring.singles(5)
    sent = asyncio.run(paced(intake.port, requests, every=0.0, on_sent=lambda number, _: heard.append(number)))
    assert heard == [0, 1, 2, 3, 4]
    assert sent.check().accepted == len(sent.took) == 5


def test_deliveries_differ() -> None:
    """Every alert of a flood is another one, so that deduplication cannot make triage look quick."""
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in [*measuring.singles(30), *measuring.batches(2)]]
    fingerprints = [one["fingerprint"] for body in bodies[30:] for one in body["alerts"]]
    assert len(set(fingerprints)) == len(fingerprints) == 200
    assert len({body["alerts"][0]["fingerprint"] for body in bodies[:30]}) == 30


def test_percentiles_are_nearest_ranks() -> None:
    """A percentile is a value that was measured; of nothing it is infinite and meets no aim."""
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, q) for q in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0], 1) == 3.0
    nothing = Spread.of([])
    assert math.isinf(nothing.p99)
    assert not Aim(what="a card", aim=75, measured=nothing.p99, unit="ms", least=False).met


@pytest.mark.parametrize(("measured", "least", "met"), [(5, True, True), (4.9, True, False), (5, False, True), (5.1, False, False)])
def test_an_aim_is_met_or_not(measured: float, least: bool, met: bool) -> None:
    """An aim says in which direction it counts, and its line says the verdict."""
    aim = Aim(what="something", aim=5, measured=measured, unit="ms", least=least)
    assert aim.met is met
    assert ("NOT MET" not in aim.line()) is met
