"""Pictures of the whole product, made by walking through the demo in a browser: `python -m tests.screens [--only NAME …]`.

Every picture is one that a user can come to by the same presses. They are kept in docs/screens with a page that shows them in order,
to be looked at by whoever changes a screen: a picture is judged by eyes, not by a comparison of pixels.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, sync_playwright

from tests.walking import BEN, Demo, Visitor, browser_of

OUT = Path(__file__).parents[1] / "docs" / "screens"
MOST_BYTES = 200_000
HOUR = 3600.0


class Album:
    """The pictures in order, each with a sentence that says what to see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages: list[tuple[str, list[tuple[str, str]]]] = []

    def chapter(self, title: str) -> None:
        """The pictures from here on belong together."""
        self.pages.append((title, []))

    def take(self, name: str, caption: str, page: Page, *, of: Locator | None = None) -> None:
        """Take a picture of the window, or of a part of it."""
        count = sum(len(pictures) for _, pictures in self.pages) + 1
        path = self.folder / f"{count:02d}-{name}.png"
        page.mouse.move(0, 0)
        page.evaluate("document.querySelector('dialog[open]') ?? document.activeElement?.blur()")
        (of or page).screenshot(path=path, animations="disabled", caret="hide")
        if path.stat().st_size > MOST_BYTES:
            raise SystemExit(f"{path.name} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are kept.")
        self.pages[-1][1].append((path.name, caption))
        print(path.name, flush=True)  # noqa: T201 - a tool for the command line

    def write(self) -> None:
        """The page that shows them."""
        lines = [
            "# What it looks like",
            "",
            "Made by `python -m tests.screens` from a running demo. Times are the demo's driven clock.",
            "",
        ]
        for title, pictures in self.pages:
            lines += [f"## {title}", ""]
            for name, caption in pictures:
                lines += [caption, "", f"![{caption}]({name})", ""]
        (self.folder / "README.md").write_text("\n".join(lines).rstrip() + "\n")


class Tour:
    """The demo, its visitors at their windows, and the album."""

    def __init__(self, demo: Demo, visitor: Callable[..., Visitor], album: Album) -> None:
        self.demo, self.album = demo, album
        self.ana, self.phone = visitor(), visitor(phone=True)
        self.night = visitor(phone=True, dark=True)
        self.dark = visitor(dark=True)
        self.ben = visitor(user=BEN)
        service = self.service()
        self.simulation = service.url.rstrip("/")
        service.close()

    def service(self) -> Page:
        """The simulated service's page, by the welcome's button."""
        with self.ana.page.expect_popup() as opened:
            self.ana.press("Open the simulated service")
        return opened.value

    def broken(self, kind: str, **parameters: object) -> int:
        """Break the simulated service and wait until its card stands with its diagnosis; the incident's number."""
        before = self.demo.newest()
        httpx.post(f"{self.simulation}/faults", json={"kind": kind, "parameters": parameters}).raise_for_status()
        return self.stands(before)

    def stands(self, before: int) -> int:
        """Wait for a new incident's card and its diagnosis."""
        self.demo.until(lambda: self.demo.newest() > before, within=180)
        number = self.demo.newest()
        self.card(self.ana, number).get_by_text("Stage:").wait_for()
        return number

    def mended(self, kind: str) -> None:
        """End the fault itself."""
        httpx.delete(f"{self.simulation}/faults/{kind}").raise_for_status()

    def card(self, visitor: Visitor, number: int) -> Locator:
        """An incident's card in a visitor's channel."""
        return visitor.page.locator("#main [data-ts]").filter(has_text=f"INC-{number} · ").first

    def thread(self, visitor: Visitor, number: int) -> Locator:
        """Open an incident's thread."""
        self.card(visitor, number).get_by_role("button", name=re.compile(r"\d+ repl")).click()
        thread = visitor.page.locator("#thread")
        thread.wait_for()
        return thread

    def show(self, visitor: Visitor, number: int) -> None:
        """Bring the card's beginning to the top of the window."""
        visitor.to_top(self.card(visitor, number))

    def acknowledge(self, number: int) -> None:
        """Ana takes it."""
        self.ana.press("Acknowledge", within=self.card(self.ana, number))
        self.card(self.ana, number).get_by_text("Acknowledged by").wait_for()

    def home(self, visitor: Visitor) -> None:
        """Muster's App Home."""
        visitor.go("#/home")
        visitor.page.get_by_role("heading", name="Waiting for me").wait_for()
        time.sleep(1)

    def run(self, visitor: Visitor, number: int, action: str) -> None:
        """Plan an action from its card and run it; an action whose plan stands on the card runs at one click."""
        direct = self.card(visitor, number).get_by_text(f"{action} runs at one click").count() > 0
        visitor.press(action, within=self.card(visitor, number))
        if direct:
            return
        visitor.dialog.get_by_role("button", name="Run it", exact=True).wait_for()
        visitor.submit("Run it")

    def recovered(self, number: int) -> None:
        """Wait for the verdict."""
        self.demo.until(lambda: self.demo.state(number) == "mitigated")
        self.card(self.ana, number).get_by_text("Mitigated ·").wait_for()
        time.sleep(1.5)

    def closed(self, number: int, *, revert: bool = True) -> None:
        """Resolve it; what still stands is undone, or kept until it ends."""
        card = self.card(self.ana, number)
        if not card.get_by_role("button", name="Resolve").count():
            self.ana.press("More about", within=card)
            self.ana.dialog.get_by_role("button", name="Set severity").wait_for()
            card = self.ana.dialog
        self.ana.press("Resolve", within=card)
        dialog = self.ana.dialog
        dialog.get_by_role("button", name="Resolve", exact=True).wait_for()
        if revert and dialog.get_by_text("still in force").count():
            self.ana.choose("Revert now", among="still in force")
        if dialog.get_by_text("Still to be cleaned up").count():
            self.ana.choose("Ana Silva", among="Carrier")
        self.ana.submit("Resolve")
        self.ana.dismiss()
        self.demo.until(lambda: self.demo.state(number) == "resolved", within=120)


def first_minute(tour: Tour) -> None:
    """The latency story, from the welcome to the draft."""
    album, ana = tour.album, tour.ana
    album.chapter("The first minute: break it, mend it, close it")
    album.take("welcome", "The demo greets its visitor: one button leads to the service that can be broken.", ana.page)
    service = tour.service()
    service.get_by_role("button", name="Break").first.wait_for()
    time.sleep(1.5)
    before = tour.demo.newest()
    service.locator(".faults").get_by_role("button", name="Break").first.click()
    tour.demo.advance(60)
    time.sleep(1)
    album.take("simulated-service", "The simulated AI service a minute after the fault was pressed.", service)
    number = tour.stands(before)
    tour.show(ana, number)
    album.take("card", "The card: what broke, who owns it, who is affected, what may safely be done, what is over its limit.", ana.page)
    tour.show(tour.night, number)
    album.take("card-phone", "The same on a phone at night.", tour.night.page)
    tour.show(tour.dark, number)
    album.take("card-dark", "The same in the dark.", tour.dark.page)
    ana.press("Cap retries", within=tour.card(ana, number))
    ana.page.get_by_text("Only visible to you").wait_for()
    time.sleep(0.5)
    album.take("withheld", "An action that would not help now says why, to the person who pressed it.", ana.page)
    ana.page.get_by_role("button", name="Dismiss").click()
    tour.acknowledge(number)
    ana.press("Scale out", within=tour.card(ana, number))
    ana.dialog.get_by_role("button", name="Run it", exact=True).wait_for()
    time.sleep(0.5)
    album.take("plan", "The plan: what will change, what it should bring, when it ends, what it costs, what was checked.", ana.page)
    ana.dismiss()
    tour.phone.press("Scale out", within=tour.card(tour.phone, number))
    tour.phone.dialog.get_by_role("button", name="Run it", exact=True).wait_for()
    time.sleep(0.5)
    album.take("plan-phone", "The plan on a phone; the button that counts is under the thumb.", tour.phone.page)
    tour.phone.submit("Run it")
    tour.card(ana, number).get_by_text("Watching").wait_for()
    tour.demo.advance(70)
    tour.show(ana, number)
    album.take("watching", "It runs once, and Muster watches until the recovery is proven.", ana.page)
    tour.recovered(number)
    tour.show(ana, number)
    album.take("verified", "Verified, with the value before and after. The next step leads.", ana.page)
    tour.show(tour.night, number)
    album.take("verified-phone", "Verified, on the phone.", tour.night.page)
    thread = tour.thread(ana, number)
    time.sleep(1)
    album.take("thread", "The run in the thread: undo, extend, keep.", ana.page, of=thread)
    ana.page.keyboard.press("Escape")
    _close(tour, number)


def _close(tour: Tour, number: int) -> None:
    album, ana = tour.album, tour.ana
    ana.press("Resolve", within=tour.card(ana, number))
    ana.dialog.get_by_role("button", name="Resolve", exact=True).wait_for()
    time.sleep(0.5)
    album.take("resolve", "Resolve: what fixed it is proposed from the record; what still stands needs a carrier.", ana.page)
    ana.submit("Resolve")
    tour.card(ana, number).get_by_text("Resolved ·").wait_for()
    time.sleep(2)
    tour.show(ana, number)
    album.take("resolved", "Resolved: the outcome on the card; times, what worked and the post-mortem's date in the thread.", ana.page)
    base = _page_base(tour, number)
    sheet = ana.page.context.new_page()
    for name, path, caption in (
        ("timeline", f"/incidents/{number}", "The timeline as a picture and as a table that says the same."),
        ("post-mortem", f"/postmortems/{number}", "The draft: every sentence cites what was recorded; gaps name whom to ask."),
    ):
        sheet.goto(base + path)
        time.sleep(0.5)
        album.take(name, caption, sheet)
    sheet.close()
    tour.mended("traffic")
    _afterwards(tour, number)


def _page_base(tour: Tour, number: int) -> str:
    href = str(tour.card(tour.ana, number).get_by_role("link", name="Timeline").get_attribute("href"))
    return href.rsplit("/incidents/", 1)[0]


def _class(tour: Tour, *, kind: str, action: str, name: str, told: str, approved: bool = False) -> None:
    """One class of AI incident: its card, and the recovery that its own runbook proves."""
    tour.demo.jump(HOUR / 3)  # past the cool-down of what was run before
    number = tour.broken(kind)
    tour.acknowledge(number)
    tour.show(tour.ana, number)
    tour.album.take(name, f"{told}: the first look.", tour.ana.page)
    if approved:
        _wanted(tour, tour.ana, number, action)
        tour.ana.press("Ask", within=tour.ana.dialog)
        tour.ben.go("#/home/messages")
        tour.ben.press("Approve")
        tour.ana.dismiss()
        tour.ben.go("#/")
    else:
        tour.run(tour.ana, number, action)
    tour.recovered(number)
    tour.show(tour.ana, number)
    tour.album.take(f"{name}-verified", f"{told}: recovered by {action}.", tour.ana.page)
    if not approved:
        tour.mended(kind)
    tour.closed(number, revert=not approved)


def provider(tour: Tour) -> None:
    """The model provider refuses calls."""
    tour.album.chapter("The model provider is degraded")
    _class(tour, kind="provider_degraded", action="Switch to backup", name="provider", told="The provider refuses calls")


def retrieval(tour: Tour) -> None:
    """Both ways in which vector search fails."""
    tour.album.chapter("Vector search fails, or is stale")
    _class(tour, kind="retrieval_timeout", action="Keyword search", name="retrieval", told="Searches time out")
    _class(tour, kind="retrieval_stale", action="Previous index build", name="stale-index", told="The index is stale", approved=True)


def quality(tour: Tour) -> None:
    """Everything is green and the answers are bad: the release unit goes back, with a second person."""
    album, ana, ben = tour.album, tour.ana, tour.ben
    album.chapter("Answers have got worse")
    number = tour.broken("quality_regression")
    tour.acknowledge(number)
    tour.show(ana, number)
    album.take("quality", "Answer quality has dropped, and no signal of availability shows it: the first look.", ana.page)
    _wanted(tour, ana, number, "Roll back the release")
    album.take("approval-plan", "A rollback needs a second person: the dialog asks instead of running.", ana.page)
    ana.submit("Ask, or run with reason")
    ana.dismiss()
    ben.go("#/home/messages")
    ben.page.get_by_role("button", name="Approve").wait_for()
    album.take("approval", "Ben is asked in person: the same plan, and until when.", ben.page)
    thread = tour.thread(ana, number)
    ana.press("Approve", within=thread)
    thread.get_by_text("Only visible to you").wait_for()
    time.sleep(0.5)
    album.take("own-approval", "Ana's own click is refused with the reason.", ana.page, of=thread)
    ana.page.keyboard.press("Escape")
    ben.press("Approve")
    ben.page.get_by_text("Decided").wait_for()
    album.take("approved", "Approved: the request says so and has no buttons any more.", ben.page)
    tour.recovered(number)
    tour.show(ana, number)
    album.take("quality-verified", "Rolled back as one unit, and proven by the evaluation score.", ana.page)
    tour.closed(number, revert=False)


def _wanted(tour: Tour, visitor: Visitor, number: int, action: str) -> None:
    visitor.press("More about", within=tour.card(visitor, number))
    visitor.dialog.get_by_role("button", name="Set severity").wait_for()
    visitor.press(action, within=visitor.dialog)
    visitor.dialog.get_by_role("button", name="Ask").wait_for()
    time.sleep(0.5)


def alone(tour: Tour) -> None:
    """At night, alone: break-glass, with a reason."""
    album, phone = tour.album, tour.night
    album.chapter("Alone at night")
    tour.demo.jump(HOUR)
    number = tour.broken("slow_release", factor=5.0)
    phone.press("Acknowledge", within=tour.card(phone, number))
    tour.card(phone, number).get_by_text("Acknowledged by").wait_for()
    time.sleep(1)
    _wanted(tour, phone, number, "Roll back the release")
    reason = phone.dialog.get_by_label("Why this cannot wait")
    reason.fill("Nobody answers, and no question gets through.")
    reason.scroll_into_view_if_needed()
    album.take("break-glass", "Nobody else is awake: with a reason it runs now, the leads are told, a review follows.", phone.page)
    phone.dialog.get_by_role("button", name="Ask").last.click()
    phone.page.get_by_text("Only visible to you").or_(tour.card(phone, number).get_by_text("Roll back the release")).first.wait_for()
    phone.dismiss()
    tour.recovered(number)
    tour.thread(phone, number)
    time.sleep(1)
    album.take("break-glass-thread", "What the thread says of it.", phone.page)
    phone.go("#/")
    tour.closed(number, revert=False)


def corners(tour: Tour) -> None:
    """What does not go smoothly: a refusal, an action that did not help, one that nobody can judge."""
    album, ana = tour.album, tour.ana
    album.chapter("When it does not go smoothly")
    tour.demo.jump(HOUR)
    number = tour.broken("slow_release", factor=5.0)
    tour.acknowledge(number)
    tour.run(ana, number, "Scale out")
    tour.demo.until(lambda: tour.card(ana, number).get_by_text("did not help").count() > 0)
    time.sleep(1)
    tour.show(ana, number)
    album.take("failed", "The wrong action: it is said that it did not help, with the value measured.", ana.page)
    thread = tour.thread(ana, number)
    time.sleep(1)
    album.take("failed-thread", "What to do next stands in the thread.", ana.page, of=thread)
    ana.page.keyboard.press("Escape")
    tour.mended("slow_release")
    tour.demo.advance(60)
    tour.closed(number)
    _unclear(tour)


def _unclear(tour: Tour) -> None:
    album, ana = tour.album, tour.ana
    tour.demo.jump(HOUR)
    number = tour.broken("provider_degraded", rate_limited=0.9)
    tour.acknowledge(number)
    tour.run(ana, number, "Serve from cache")
    tour.demo.until(lambda: tour.card(ana, number).get_by_text("inconclusive").count() > 0)
    thread = tour.thread(ana, number)
    time.sleep(1)
    album.take("unclear", "Neither proven nor disproven: a person says what is true.", ana.page, of=thread)
    thread.get_by_text("It worked", exact=True).click()
    tour.recovered(number)
    ana.page.keyboard.press("Escape")
    tour.mended("provider_degraded")
    tour.demo.advance(60)
    for item in tour.demo.get("/incidents")["items"]:
        if item["status"] != "resolved":  # what the same faults have set off besides
            tour.closed(item["id"])


def _afterwards(tour: Tour, number: int) -> None:
    album, ana = tour.album, tour.ana
    album.chapter("Hours later")
    tour.demo.jump(HOUR * 4 - 600)
    thread = tour.thread(ana, number)
    thread.get_by_text("Revert now").wait_for()
    time.sleep(1)
    album.take("reminder", "Before a mitigation ends, its owner is reminded and decides.", ana.page, of=thread)
    ana.page.keyboard.press("Escape")
    for visitor, name in ((ana, "home"), (tour.night, "home-phone")):
        tour.home(visitor)
        album.take(name, "App Home: what waits for me, what still stands, what is due.", visitor.page)
        visitor.go("#/")
    tour.demo.jump(900)


def drill(tour: Tour) -> None:
    """A drill falls due, is run like the real thing, and is graded."""
    album, ana, ben = tour.album, tour.ana, tour.ben
    album.chapter("A drill")
    planned = [item["due_at"] for item in tour.demo.get("/drills")["items"] if item["runbook"] == "inference-latency"]
    tour.demo.jump((datetime.fromisoformat(min(planned)) - tour.demo.now()).total_seconds() + 60)
    ben.go("#/home/messages")
    asked = ben.page.locator("#main [data-ts]").filter(has_text="DRILL due · Model answers are slow").last
    asked.get_by_text("Start", exact=True).wait_for()
    ben.to_top(asked)
    album.take("drill-invitation", "A drill is due: its lead starts it or moves it.", ben.page)
    before = tour.demo.newest()
    asked.get_by_text("Start", exact=True).click()
    ben.dialog.get_by_role("button", name="Start", exact=True).click()
    tour.demo.until(lambda: tour.demo.newest() > before, within=300)
    number = tour.demo.newest()
    tour.card(ana, number).get_by_text("Stage:").wait_for()
    tour.acknowledge(number)
    tour.show(ana, number)
    album.take("drill-card", "The drill's card: the real path on a simulated world, marked everywhere.", ana.page)
    tour.run(ana, number, "Scale out")
    tour.recovered(number)
    tour.closed(number)
    report = ana.page.locator("#main [data-ts]").filter(has_text=re.compile("DRILL (passed|failed)")).last
    tour.demo.until(lambda: report.count() > 0 or tour.thread(ana, number).get_by_text("DRILL passed").count() > 0, within=600)
    thread = tour.thread(ana, number)
    time.sleep(1)
    album.take("drill-report", "Graded: what was met and what was missed. Teams are graded, never people.", ana.page, of=thread)


def cost(tour: Tour) -> None:
    """The bill multiplies while every signal of availability is green."""
    tour.album.chapter("Answers cost too much")
    _class(tour, kind="cost_spike", action="Cap retries", name="cost", told="Retries and long answers multiply the bill")


def safety(tour: Tour) -> None:
    """The safety filter has stopped filtering."""
    tour.album.chapter("Unsafe answers reach customers")
    _class(tour, kind="safety_failure", action="Answer strictly", name="safety", told="The filter is off")


STORIES: dict[str, Callable[[Tour], None]] = {
    "first-minute": first_minute,
    "provider": provider,
    "quality": quality,
    "alone": alone,
    "corners": corners,
    "retrieval": retrieval,
    "cost": cost,
    "safety": safety,
    "drill": drill,
}


@contextmanager
def tour_of(album: Album, *, port: int, running: Path | None, url: str) -> Iterator[Tour]:
    """A tour through a demo of its own, or through one that runs already."""
    with ExitStack() as stack:
        demo = Demo(data=running, url=url) if running else stack.enter_context(Demo.started(port=port))
        browser = browser_of(stack.enter_context(sync_playwright()))
        stack.callback(browser.close)
        yield Tour(demo, lambda **how: Visitor(browser, demo, **how), album)


def main() -> None:
    """Walk, and take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.screens", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--port", type=int, default=8689)
    parser.add_argument("--only", nargs="*", choices=STORIES, default=list(STORIES))
    parser.add_argument("--running", type=Path, help="the folder of a demo that runs already, at --url")
    parser.add_argument("--url", default="http://127.0.0.1:8089")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for old in given.out.glob("*.png"):
        if re.match(r"\d\d-", old.name):
            old.unlink()
    album = Album(given.out)
    with tour_of(album, port=given.port, running=given.running, url=given.url) as tour:
        for name in given.only:
            STORIES[name](tour)
    album.write()


if __name__ == "__main__":
    main()
