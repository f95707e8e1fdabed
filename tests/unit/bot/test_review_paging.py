"""Paging when things fail: everybody who can be reached is reached, and what failed is said."""

from typing import Any

import pytest

from actions.contract import BackendError, OutcomeUnknown, Rejected, Unreachable
from actions.registry import Registry
from actions.runner import Runner
from bot.configuration import Configuration
from bot.flows import escalate, receive, trouble
from bot.flows.context import Context
from bot.oncall import OnCallFile
from bot.paging import Pager, SlackPager
from bot.ports import DeliveryError, Location
from bot.settlement import Postponed
from runbooks.operation import Call, OutcomeStatus, Reading
from runbooks.timeline import EntryKind
from storage import tasks, timeline
from storage.database import Database, Tx
from storage.tasks import NewTask
from tests.flowing import StandingClock, alert, context

PEOPLE = Configuration.default()


class Messages:
    """Direct messages; some people's fail in a way of their own."""

    def __init__(self, **failing: DeliveryError) -> None:
        self.failing = failing
        self.sent: list[str] = []

    def direct(self, screen: Any, *, slack_id: str, key: str, look_first: bool = False) -> Location:
        """Send one, or fail."""
        assert look_first, "a page is repeated under its key"
        if slack_id in self.failing:
            raise self.failing[slack_id]
        self.sent.append(slack_id)
        return Location(channel="D", ts="1")


class Team(OnCallFile):
    """Two people behind every target."""

    def rotation(self, name: str, at: Any) -> Any:
        """Ana and Ben."""
        return tuple(person for person in PEOPLE.directory.people if person.id in {"ana", "ben"})


class Way:
    """A first way to page that fails as told."""

    name, environment, world, operations = "first", None, None, SlackPager.operations

    def __init__(self, error: BackendError) -> None:
        self.error = error

    def apply(self, call: Call, value: Any, *, expected: Reading, key: str, timeout: float) -> Reading:
        """Fail."""
        raise self.error


ANA, BEN = "U01ANA0000", "U01BEN0000"
GONE = DeliveryError("Slack refused the call: user_disabled.", certain=True, permanent=True)
AWAY = DeliveryError("Slack cannot be reached.", certain=True)


def _pager(database: Database, messages: Messages) -> SlackPager:
    on_call = Team(plan=PEOPLE.file.on_call, directory=PEOPLE.directory, time_zone="UTC")
    return SlackPager(messenger=messages, on_call=on_call, clock=StandingClock(), database=database, public_url="http://x")  # type: ignore[arg-type]


def _ctx(database: Database) -> Context:
    return context(database)


def _call(ctx: Context) -> Call:
    (incident,) = ctx.write(lambda tx: receive.fold(tx, ctx, [alert()], now=ctx.now()))
    arguments = {"to": "ml-platform-primary", "summary": "It is slow.", "source": incident.ref, "severity": "error", "link": ""}
    return Call(operation="page.send", arguments=arguments)


def _apply(pager: Any, call: Call) -> Reading:
    reading: Reading = pager.apply(call, None, expected=Reading(), key="k", timeout=5.0)
    return reading


def test_one_who_cannot_be_reached_does_not_keep_the_page_from_the_others(database: Database) -> None:
    """The first of two on duty has left Slack: the second is paged, and that counts as paged."""
    messages = Messages(**{ANA: GONE})
    call = _call(_ctx(database))
    _apply(_pager(database, messages), call)
    assert messages.sent == [BEN]


def test_a_page_that_reached_nobody_says_so(database: Database) -> None:
    """When nobody could be reached for good, the page is rejected; when somebody may be later, it is tried again."""
    call = _call(_ctx(database))
    with pytest.raises(Rejected):
        _apply(_pager(database, Messages(**{ANA: GONE, BEN: GONE})), call)
    messages = Messages(**{ANA: AWAY})
    with pytest.raises(Unreachable):
        _apply(_pager(database, messages), call)
    assert messages.sent == [BEN]


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), Unreachable("no connection"), Rejected("no such service")])
def test_slack_says_it_whenever_the_first_way_is_not_certain(database: Database, error: BackendError) -> None:
    """Whatever becomes of the first way, people on duty hear of it in Slack; only a page in doubt is also repeated there."""
    messages = Messages()
    pager = Pager(first=Way(error), second=_pager(database, messages))  # type: ignore[arg-type]
    call = _call(_ctx(database))
    if isinstance(error, OutcomeUnknown):
        with pytest.raises(OutcomeUnknown):
            _apply(pager, call)
    else:
        _apply(pager, call)
    assert messages.sent == [ANA, BEN]


def test_a_network_that_is_away_for_a_moment_costs_nobody_the_page(database: Database) -> None:
    """No connection to any way of paging is tried again, and people are told in the thread while it is."""
    down = _pager(database, Messages(**{ANA: AWAY, BEN: AWAY}))
    ctx = context(database, runner=Runner(registry=Registry([down]), now=StandingClock().now))
    call = _call(ctx)
    assert ctx.runner.page(call, key="k").status is OutcomeStatus.UNKNOWN
    args = {"incident": 1, "page": "ml-platform-primary", "reason": "nobody has acknowledged it", "key": "page:1"}
    ctx.write(lambda tx: tasks.enqueue(tx, NewTask(key="page:1", kind="page", args=args)))
    for _ in range(escalate.DOUBTED_AFTER):
        (task,) = ctx.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=["page"]))
        assert isinstance(escalate.page(ctx, task), Postponed)
        ctx.write(tasks.adopt)
    assert ctx.read(lambda tx: tasks.get(tx, "say:page_doubted:page:1")) is not None


def test_a_page_that_was_given_up_is_said_on_the_timeline_and_in_the_thread(database: Database) -> None:
    """Each page that failed for good is said, also the second one to the same target."""
    ctx = _ctx(database)
    _call(ctx)
    for number in (1, 2):
        args = {"incident": 1, "page": "ml-platform-primary", "reason": "it is not mitigated", "key": f"page:{number}"}

        def give_up(tx: Tx, key: str = f"page:{number}", args: Any = args) -> None:
            tasks.enqueue(tx, NewTask(key=key, kind="page", args=args))
            task = tasks.get(tx, key)
            assert task is not None
            trouble.buried(tx, ctx, task, "nobody is on duty.")

        ctx.write(give_up)
    assert len(ctx.read(lambda tx: timeline.of_kind(tx, 1, EntryKind.PAGE_FAILED))) == 2
    said = ctx.read(lambda tx: [tasks.get(tx, f"say:not_paged:page:{number}") for number in (1, 2)])
    assert None not in said
