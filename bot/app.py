"""The composition root: builds each object once, starts, stops. The only place that knows everybody."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry
from slack_sdk import WebClient

from actions import kinds
from actions.registry import Registry
from actions.runner import Runner
from actions.simulation.faults import FAULTS
from bot import backends
from bot.clock import DatabaseClock
from bot.configuration import Configuration
from bot.duty import Duty
from bot.engine.assembly import Engine
from bot.engine.scheduler import Spec, declare, fire_due
from bot.flows import (
    act,
    auditing,
    autonomy,
    cleanup,
    dialogs,
    escalate,
    execute,
    home,
    mitigate,
    pausing,
    proposing,
    ramp,
    receive,
    rehearse,
    respond,
    review,
    speak,
    trouble,
    undo,
)
from bot.flows.context import Context, Policy, Shelf
from bot.flows.front import Desk
from bot.flows.records import say
from bot.flows.wording import name_of
from bot.ingress.measures import IntakeCounters
from bot.killing import arm
from bot.membership import Membership
from bot.metrics import MeasuredFront, Metrics
from bot.oncall import OnCallFile, PagerDutyOnCall
from bot.paging import SlackPager
from bot.ports import Messenger
from bot.secret import Secrets
from bot.settings import Settings
from bot.settlement import Handler, Settlement
from bot.slack import app as slack_app
from bot.slack.messenger import SlackMessenger, client
from bot.slack.socketmode import SocketDoor
from bot.worlds import Worlds
from runbooks.loading import Library, load_folder
from storage import evidence, inbox, incidents, migrations, retention, runbook_versions, switches, tasks
from storage.database import Database, Tx
from storage.errors import StorageError
from storage.tasks import Task

log = structlog.get_logger(__name__)

WELCOMED = "demo.welcomed"
INSTALLATION = "installation"

URGENT = ("page", "execute", "stage", "undo", "look", "measure", "plan", "begin_proposed", "upstream", "open_drill")
"""Kinds of tasks that must wait neither for the chat nor for the diagnoses of a storm; there are never many of them at once."""

EVERY = {"escalations": 5.0, "audit": 5.0}
"""Seconds between two turns of a sweep where one would be too often: this one looks at every open incident."""

QUARTERLY = Spec(kind="plan_drills", fields={"month": "1,4,7,10", "day": "1", "hour": "0", "minute": "0"}, zone="UTC")
"""The first minute of each quarter plans that quarter's drills; each then falls on its runbook's own day."""


def load_library(settings: Settings) -> Library:
    """The runbooks that this environment names, checked against everything that is installed."""
    faults = {kind: {one.name for one in fault.parameters} for kind, fault in FAULTS.items()}
    return load_folder(settings.runbooks, catalogue=kinds.declared(), faults=faults)


class Muster:
    """One process of Muster. Built whole, then started; building it opens the database and calls nobody else."""

    def __init__(self, *, settings: Settings, configuration: Configuration, secrets: Secrets, library: Library) -> None:
        arm(settings.kill_point)
        self.running = False  # true while the engine works; the command line may open a Muster only to read and write
        self.settings, self.configuration, self.library, self.secrets = settings, configuration, library, secrets
        self._closing = ExitStack()
        self.database = Database(url=settings.database_url)
        self._closing.callback(self.database.close)
        migrations.ready(self.database)
        self.clock = DatabaseClock(database=self.database)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.intake_counters = IntakeCounters(self.registry)
        self._trouble: tuple[str, ...] = ()
        self._slack_pool = ThreadPoolExecutor(16, thread_name_prefix="slack")
        self.web_client = client(
            bot_token=settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else "xoxb-not-set",
            api_url=settings.slack_api_url,
        )
        self.messenger: Messenger = SlackMessenger(
            client=self.web_client, installation=self.database.write(_installation, name="installation")
        )
        self.membership = Membership(configuration=configuration, database=self.database, client=self.web_client)
        self.on_call = Duty(**self._people())
        self.worlds = Worlds(
            url=settings.simulation_url,
            folder=self.database.file.parent if self.database.dialect == "sqlite" else None,
            now=self.clock.now,
        )
        self._closing.callback(self.worlds.stop)
        self.context = self._context()
        self.desk = Desk(self.context)
        self.engine = self._engine()
        self.slack = self._slack(self.web_client)
        self.socket = self._socket()

    def start(self) -> None:
        """Take the lock on an embedded database, keep the runbooks' versions, plan the calendar, and begin.

        Raises:
            LockedByAnother: another server uses this database file.
        """
        self._closing.enter_context(self.database.serve_lock())
        self.database.write(self._prepare, name="prepare")
        self._warn()
        self.engine.start()
        self.running = True
        Thread(target=self._learn_people, name="people", daemon=True).start()
        if self.socket:
            self.socket.start()
        log.info("muster.started", database=self.database.dialect, runbooks=len(self.library.all), slack=bool(self.slack))

    def stop(self) -> None:
        """Take nothing more on, let what runs finish, and close."""
        if self.socket:
            self.socket.stop()
        self.engine.stop()
        self._slack_pool.shutdown(wait=False, cancel_futures=True)
        self._closing.close()
        log.info("muster.stopped")

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is not working at present, in sentences."""
        return self._trouble

    def _warn(self) -> None:
        """What is wrong and does not stop the start: said now, and not at the first alert of the night."""
        for problem in self.configuration.unreadable(self.secrets):
            log.error("secret.unreadable", problem=str(problem))
        named = {rule.page for runbook in self.library.all for rule in runbook.header.escalation}
        for target in self.configuration.targets_missing(named):
            log.error("page_target.missing", target=target, advice="add it under on_call.targets in muster.yaml")

    def _wake(self) -> None:
        self.engine.wake()

    def _prepare(self, tx: Tx) -> None:
        now = self.clock.now()
        for runbook in self.library.all:
            runbook_versions.keep(tx, runbook, seen_at=now)
        declare(tx, "drills", QUARTERLY.model_copy(update={"zone": self.context.policy.time_zone}), now=now)
        rehearse.plan_now(tx, self.context, now=now)
        if self.settings.simulation_url and self.settings.slack_api_url and not switches.get(tx, WELCOMED):
            switches.put(tx, WELCOMED, value=True)
            said: dict[str, Any] = {
                "simulation": self.settings.simulation_url,
                "channel": self.context.policy.default_channel,
            }
            tasks.enqueue(tx, say(key="welcome", screen="welcome", lane="welcome", **said))

    def _people(self) -> dict[str, Any]:
        """Everybody, as Slack knows them."""
        configuration = self.membership.known()
        plan, directory, token = configuration.file.on_call, configuration.directory, self.settings.pagerduty_api_token
        file = OnCallFile(plan=plan, directory=directory, time_zone=configuration.file.time_zone)
        url = self.settings.pagerduty_api_url
        pagerduty = PagerDutyOnCall.of(plan, file=file, directory=directory, token=token, base_url=url) if token else None
        return {"directory": directory, "file": file, "pagerduty": pagerduty}

    def _learn_people(self) -> None:
        """Ask Slack who people are and who is in which group, and PagerDuty for who is on duty."""
        if self.slack and self.membership.learn():
            self.on_call.replace(**self._people())
        self.on_call.refresh(self.clock.now())

    def _context(self) -> Context:
        file = self.configuration.file
        policy = Policy(
            default_channel=file.channels.incidents,
            public_url=self.settings.public_url,
            review_days=self.configuration.review_days,
            holidays=self.configuration.holidays,
            time_zone=self.configuration.drill_zone,
            drill_hour=file.drills.at.hour,
            frozen=self.configuration.frozen,
            escalates=self.configuration.escalates,
            autonomous=frozenset(file.autonomy.services),
            automatic_per_day=file.autonomy.most,
            freezes=self.configuration.freezes,
            rates=self.configuration.rates,
            bad_ends=file.limits.breaker,
            break_glass_per_day=file.limits.break_glass,
            deploy_life=timedelta(seconds=file.limits.deploy),
        )
        return Context(
            database=self.database,
            clock=self.clock,
            messenger=self.messenger,
            on_call=self.on_call,
            shelf=Shelf(self.library),
            services=self.configuration.services,
            policy=policy,
            runner=Runner(registry=self._outside(), now=self.clock.now),
            drill_runner=self.worlds.runner,
            open_world=self.worlds.open,
            close_world=self.worlds.close,
            wake=self._wake,
            degraded=lambda: self.degraded,
        )

    def _outside(self) -> Registry:
        slack_pager = SlackPager(
            messenger=self.messenger,
            on_call=self.on_call,
            clock=self.clock,
            database=self.database,
            public_url=self.settings.public_url,
        )
        vault = evidence.Vault(self.database)
        return backends.registry(self.configuration, secrets=self.secrets, settings=self.settings, slack_pager=slack_pager, vault=vault)

    def _engine(self) -> Engine:
        flows: Mapping[str, Callable[[Context, Task], Settlement]] = {
            "card": respond.draw_card,
            "say": speak.say,
            "redraw": speak.redraw,
            "redraw_known": speak.redraw,
            "diagnose": respond.diagnose,
            "plan": act.plan,
            "dialog": dialogs.show_plan,
            "execute": execute.execute,
            "stage": ramp.stage,
            "measure": execute.watch,
            "look": execute.look,
            "clean": cleanup.check,
            "undo": undo.undo,
            "page": escalate.page,
            "consider": proposing.consider,
            "begin_proposed": autonomy.begin,
            "upstream": respond.answer_upstream,
            "home": home.publish,
            "plan_drills": rehearse.plan_quarter,
            "open_drill": rehearse.open_drill,
            "close_drill": rehearse.close_drill,
        }
        sweeps: Mapping[str, Callable[[Context], int]] = {
            "runs": execute.sweep,
            "mitigations": mitigate.sweep,
            "proposals": autonomy.sweep,
            "escalations": escalate.sweep,
            "reviews": review.sweep,
            "drills": rehearse.sweep,
            "measurements": respond.remeasure,
            "audit": auditing.watch,
        }
        verifier = auditing.Verifier(self.context)
        return Engine(
            database=self.database,
            handlers={kind: self._handler(flow) for kind, flow in flows.items()},
            on_buried=lambda tx, task, error: trouble.buried(tx, self.context, task, error),
            triage=lambda: receive.triage(self.context),
            urgent=URGENT,
            sweeps={
                **{name: (EVERY.get(name, 1.0), self._swept(sweep)) for name, sweep in sweeps.items()},
                "schedules": (2.0, lambda: self.context.write(lambda tx: fire_due(tx, now=self.clock.now()), name="schedule")),
                "clock": (1.0, self._keep_time),
                "self": (5.0, self._look_at_self),
                "people": (45.0, self._learn_people),
                "retention": (3600.0, self._forget),
                "record": (10.0, verifier),
            },
        )

    def _handler(self, flow: Callable[[Context, Task], Settlement]) -> Handler:
        def handle(task: Task) -> Settlement:
            if task.attempt == 1 and task.first_claimed_at:
                waited = (task.first_claimed_at - task.created_at).total_seconds()
                self.metrics.task_wait_seconds.labels(task.kind).observe(waited)
            with self.metrics.task_seconds.labels(task.kind).time():
                settlement = flow(self.context, task)
            self.metrics.tasks.labels(task.kind, type(settlement).__name__.lower()).inc()
            return settlement

        return handle

    def _swept(self, sweep: Callable[[Context], int]) -> Callable[[], None]:
        def run() -> None:
            try:
                sweep(self.context)
            except StorageError as error:
                log.warning("sweep.storage_unavailable", sweep=sweep.__module__, error=str(error))

        return run

    def _keep_time(self) -> None:
        try:
            self.clock.keep()
        except StorageError as error:
            log.warning("clock.storage_unavailable", error=str(error))

    def _look_at_self(self) -> None:
        """What is not working, for the card's last line, health and metrics (mission J3)."""
        try:
            backlog, waiting, paused, open_ones = self.database.read(
                lambda tx: (tasks.backlog(tx), inbox.waiting(tx), pausing.present(tx), incidents.open_ones(tx))
            )
        except StorageError as error:
            self._trouble = (f"The database cannot be reached: {error}",)
            return
        self.metrics.open_tasks.set(backlog.open)
        self.metrics.dead_tasks.set(backlog.dead)
        self.metrics.overdue_seconds.set(backlog.overdue_by)
        self.metrics.inbox_waiting.set(waiting)
        self.metrics.open_incidents.clear()
        for incident in open_ones:
            self.metrics.open_incidents.labels(incident.severity.value, str(incident.is_drill).lower()).inc()
        connected = self.socket is None or self.socket.state.connected
        self.metrics.slack_connected.set(connected)
        said = [*self.on_call.degraded()]
        paused = self.context.fuse.pause or paused
        if paused:
            said.append(f"All actions are paused by {name_of(self.context, paused.by)}: {paused.reason}")
        if not connected:
            said.append("Slack cannot reach Muster at present; use the command line")
        self._trouble = tuple(said)

    def _forget(self) -> None:
        """Retention, in batches small enough that nobody waits for them."""
        log.info("retention.swept", **retention.sweep(self.database, self.database.now()))

    def _slack(self, web: WebClient) -> slack_app.SlackApp | None:
        if self.settings.slack_bot_token is None:
            return None
        signing = self.settings.slack_signing_secret
        return slack_app.build(
            front=MeasuredFront(self.desk, self.metrics),
            client=web,
            bot_token=self.settings.slack_bot_token.get_secret_value(),
            signing_secret=signing.get_secret_value() if signing else None,
            executor=self._slack_pool,
        )

    def _socket(self) -> SocketDoor | None:
        if self.slack is None or self.settings.slack_app_token is None:
            return None
        return SocketDoor(app=self.slack, client=self.web_client, app_token=self.settings.slack_app_token.get_secret_value())


def _installation(tx: Tx) -> str:
    """This database's own name, given once: it tells its messages from those of another database on the same workspace."""
    known = switches.get(tx, INSTALLATION)
    if known is None:
        known = uuid4().hex
        switches.put(tx, INSTALLATION, known)
    return str(known)
