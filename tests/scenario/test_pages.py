"""The pages in a real browser: nothing is cut off at 390 px, nothing is blocked, and the picture's marks lead to their entries."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette

from bot import pages
from runbooks.people import MUSTER
from runbooks.run import RunState, Sample, Verdict
from runbooks.timeline import EntryKind, NewEntry
from storage import incidents, ledger, runs
from tests import browsing, remembering
from tests.opened import BEN, client, opened
from tests.ports import free_port

pytestmark = [
    pytest.mark.debian,
    pytest.mark.slow,
    pytest.mark.skipif(bool(browsing.MISSING), reason=browsing.MISSING or "there is a browser"),
]

PATHS = [
    "/incidents",
    "/incidents/1",
    "/postmortems",
    "/postmortems/1",
    "/drills",
    "/drills/1",
    "/readiness",
    "/runbooks",
    "/runbooks/inference-latency",
]
LONG = "Answers are late for everybody who asks in a language with very-long-compound-words-that-nobody-can-break " + "x" * 30


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with an incident that was mended by one verified run, its drill planned."""
    folder = tmp_path_factory.mktemp("pages")
    with opened(folder, f"sqlite:///{folder}/muster.sqlite") as muster:
        ben = client(muster, token=BEN)
        ben.post("/api/v1/incidents", json={"title": LONG[:140], "service": "answers", "severity": "SEV1"})
        ben.post("/api/v1/incidents/1/runbook", json={"runbook": "inference-latency"})
        ben.post("/api/v1/incidents/1/acknowledge")
        ben.post("/api/v1/drills", json={"runbook": "inference-latency"})
        muster.database.write(lambda tx: _run(tx, muster.clock.now()))
        ben.post("/api/v1/incidents/1/resolve", json={"resolution": "Scaled out"})
        port = free_port()
        config = uvicorn.Config(Starlette(routes=list(pages.routes(muster))), host="127.0.0.1", port=port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(timeout=20)


def _run(tx, now) -> None:
    """A run of three minutes with its samples, as the engine would leave it."""
    began = now - timedelta(minutes=3)
    samples = tuple(Sample(at=began + timedelta(seconds=20 * n), value=5.0 / (n + 1)) for n in range(9))
    facts = {"state": RunState.VERIFIED, "started_at": began, "executed_at": began, "verdict_at": now, "verdict": Verdict.VERIFIED}
    incident = incidents.get(tx, 1)
    incidents.save(tx, incident.model_copy(update={"opened_at": now - timedelta(minutes=5)}), was=incident.revision)
    one = runs.add(tx, remembering.run(incident_id=1, requested_at=began, samples=samples, value_before=5.2, **facts))
    said = NewEntry(
        kind=EntryKind.RUN_VERDICT,
        occurred_at=now,
        actor=MUSTER,
        summary="Scale out: verified",
        payload={"run": one.id, "verdict": "verified"},
    )
    ledger.record(tx, 1, [said], now=now)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=browsing.CHROMIUM, args=browsing.FLAGS)
        yield one
        one.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_and_nothing_in_it_is_blocked(base, browser, scheme, width):
    """At both widths and in both themes no page scrolls sideways, and the browser complains about nothing."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    for path in PATHS:
        answer = page.goto(base + path)
        assert answer is not None
        assert answer.status == 200, path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, (path, wide)
        assert page.locator("h1").count() == 1
    assert complaints == []
    context.close()


def test_a_mark_leads_to_its_entry_and_a_citation_to_its_source(base, browser):
    """Pressing the run's bar shows its entry; pressing a sentence's number shows the entry on the incident's page."""
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(f"{base}/incidents/1")
    bar = page.locator("svg a.bar").first
    target = bar.get_attribute("href")
    bar.click()
    assert page.url.endswith(target)
    assert page.locator(f"tr{target}").is_visible()
    assert page.locator("svg polyline.value").count() == 1
    page.goto(f"{base}/postmortems/1")
    page.locator(".cites a").first.click()
    page.wait_for_url("**/incidents/1#e*")
    page.close()


def test_the_pages_read_without_their_style(base, browser):
    """With the sheet blocked everything is still there, in order: a screen reader and a terminal browser get the same."""
    page = browser.new_page()
    page.route("**/muster.css", lambda route: route.abort())
    page.goto(f"{base}/incidents/1")
    assert page.locator("main").inner_text().index("Timeline") < page.locator("main").inner_text().index("Every entry")
    page.close()
