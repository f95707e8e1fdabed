"""A stage for proposals: one incident over the recording backend, with a history of measurements, and a past that earned autonomy."""

from datetime import datetime, timedelta
from typing import Any

from actions.testing import RecordingBackend
from bot.configuration import Configuration
from bot.duty import Duty
from bot.engine.worker import Worker
from bot.flows import act, autonomy, execute, proposals, proposing, respond, speak, undo
from bot.flows.context import Context, Policy, Shelf, person_actor
from bot.oncall import OnCallFile
from bot.ports import Press, PressKind, Reply
from runbooks.incident import Incident, Match, RunbookRef
from runbooks.loading import Library
from runbooks.operation import Measurement
from runbooks.people import Actor
from runbooks.proposing import Suggestion
from runbooks.run import ActionRun, RunState, Sample, Verdict
from runbooks.runbook import Runbook
from runbooks.severity import IncidentClass, Severity, Tier
from runbooks.timeline import Entry
from storage import incidents, measurements, runbook_versions, runs, suggestions, tasks, timeline
from storage.database import Database, Tx
from tests import acting
from tests.flowing import StandingClock, context

ANA = person_actor("ana", slack_id="U01ANA0000")
EVA = person_actor("eva", slack_id="U01EVA0000")
WHEN = {"diagnostic": "load", "holds": "> 0.5", "for": "2m"}
EARNS = {"clean_runs": 3, "countdown": "2m"}
ALLOWED = Policy(autonomous=frozenset({"answers"}))


def action(**changed: Any) -> Any:
    """The story's action, which proposes itself and may earn autonomy."""
    return acting.action(**{"propose_when": WHEN, "autonomy": EARNS, **changed})


class Stage:
    """See the module. `service` is the incident's; the runbook's one action is `action`."""

    def __init__(self, database: Database, *, policy: Policy = ALLOWED, book: Runbook | None = None, **changed: Any) -> None:
        self.book = book or acting.runbook(action(**changed))
        self.backend: RecordingBackend = acting.backend()
        self.clock = StandingClock()
        runner = acting.runner(self.backend)
        runner._now = self.clock.now
        people = Configuration.default()
        file = OnCallFile(plan=people.file.on_call, directory=people.directory, time_zone="UTC")
        on_call = Duty(directory=people.directory, file=file, pagerduty=None)
        self.ctx: Context = context(
            database, clock=self.clock, shelf=Shelf(Library(runbooks=(self.book,))), runner=runner, on_call=on_call, policy=policy
        )
        self.ctx.write(lambda tx: runbook_versions.keep(tx, self.book, seen_at=self.clock.now()) and None)
        self.incident: Incident = self.opened()

    def opened(self, *, drill: int | None = None, service: str = "answers", group: str = "g") -> Incident:
        """An incident that follows the small runbook."""

        def work(tx: Tx) -> Incident:
            return incidents.add(
                tx,
                Incident(
                    id=0,
                    title="Slow",
                    severity=Severity.SEV2,
                    incident_class=IncidentClass.AVAILABILITY,
                    service=service,
                    environment="production",
                    owner="ml-platform",
                    labels=acting.LABELS,
                    match=Match(runbook=self.book.ref, score=1.0, reason="given"),
                    group_key=group,
                    drill_id=drill,
                    world=f"drill-{drill}" if drill else None,
                    began_at=self.clock.now(),
                    opened_at=self.clock.now(),
                ),
            )

        return self.ctx.write(work)

    def ran(
        self,
        *,
        days_ago: float = 10,
        verdict: Verdict | None = Verdict.VERIFIED,
        drill: int | None = None,
        book: Runbook | None = None,
        **more: Any,
    ) -> ActionRun:
        """A run of the past in an incident of its own; by default proven by measurement."""
        at, ref = self.clock.now() - timedelta(days=days_ago), (book or self.book).ref
        incident = self.opened(drill=drill, group=f"past-{days_ago}")
        self.ctx.write(lambda tx: runbook_versions.keep(tx, book or self.book, seen_at=at) and None)
        state = {Verdict.VERIFIED: RunState.VERIFIED, Verdict.FAILED: RunState.FAILED}.get(verdict, RunState.INCONCLUSIVE)  # type: ignore[arg-type]
        given: dict[str, Any] = {
            "id": 0, "incident_id": incident.id, "runbook": ref, "step": "turn-up", "title": "Turn it up", "state": state, "tier": "R1",
            "key": f"past-{incident.id}", "target": "thing/reranker-v3", "requested_by": "ana", "requested_at": at, "started_at": at,
            "executed_at": at, "verdict": verdict, "verdict_at": at + timedelta(minutes=4), "value_before": 0.9, "value_after": 0.3,
            "samples": (Sample(at=at + timedelta(minutes=4), value=0.3),), "verify_until_at": at + timedelta(minutes=5),
        }  # fmt: skip
        run = ActionRun(**{**given, **more})
        self.ctx.write(lambda tx: incidents.save(tx, incident.resolved(by="ana", resolution="", now=at), was=incident.revision))
        return self.ctx.write(lambda tx: runs.add(tx, run))

    def earned(self, count: int = 3, **more: Any) -> None:
        """So many clean runs in a row."""
        for number in range(count):
            self.ran(days_ago=20 - number, **more)

    def measured(self, *values: float | None, every: float = 60.0) -> None:
        """What the card measured up to now, oldest first, one each minute; time passes between them."""
        for number, value in enumerate(values):
            if number:
                self.clock.pass_(seconds=every)
            found = Measurement(diagnostic="load", title="Load", text=f"{value}", value=value, unit="ratio", measured_at=self.clock.now())
            self.ctx.write(lambda tx, found=found: measurements.add(tx, self.incident.id, found))
        if values and values[-1] is not None:
            self.answers(values[-1])

    def answers(self, value: float | None) -> None:
        """What the diagnostic answers when it is asked now."""
        self.backend.answers["load"] = {"rows": [{"value": value}] if value is not None else [], "value": value}

    def consider(self) -> Suggestion | None:
        """One look at the incident; the newest proposal, if there is any."""
        stamp = f"consider:{self.incident.id}:{self.clock.now().timestamp()}:{len(self.proposals())}"
        task = tasks.NewTask(key=stamp, kind="consider", args={"incident": self.incident.id})
        self.ctx.write(lambda tx: tasks.enqueue(tx, task) and None)
        self.work("consider")
        return self.proposals()[-1] if self.proposals() else None

    def pass_(self, seconds: float, *, step: float = 5.0) -> None:
        """Let time pass, with the sweep and what it begins."""
        while seconds > 0:
            self.clock.pass_(seconds=min(step, seconds))
            seconds -= step
            autonomy.sweep(self.ctx)
            self.work("begin_proposed")

    def work(self, *kinds: str) -> int:
        """Do every open task of these kinds; how many there were."""
        flows = {
            "consider": proposing.consider, "begin_proposed": autonomy.begin, "plan": act.plan, "execute": execute.execute,
            "measure": execute.watch, "undo": undo.undo, "say": speak.say, "redraw": speak.redraw,
            "diagnose": respond.diagnose,
        }  # fmt: skip
        handlers = {kind: (lambda task, flow=flow: flow(self.ctx, task)) for kind, flow in flows.items()}
        worker = Worker(database=self.ctx.database, handlers=handlers, on_buried=lambda _tx, _task, error: self.fail(error))
        done = 0
        while claimed := self.ctx.database.write(lambda tx: tasks.claim(tx, 1, 45.0, kinds=list(kinds))):
            worker.run(claimed[0])
            done += 1
        return done

    def fail(self, error: str) -> None:
        """Nothing on this stage may be given up."""
        raise AssertionError(error)

    def press(self, kind: PressKind, *, by: Actor = ANA, number: int | None = None) -> Reply:
        """Press a button of a proposal, by default of the newest."""
        one = number or self.proposals()[-1].id
        pressed = Press(kind=kind, incident_id=self.incident.id, subject_id=one)
        return self.ctx.write(lambda tx: proposals.press(tx, self.ctx, pressed, by=by, now=self.clock.now()))

    def proposals(self) -> list[Suggestion]:
        """All of the incident."""
        return self.ctx.read(lambda tx: suggestions.of_incident(tx, self.incident.id))

    def runs(self) -> list[ActionRun]:
        """All of the incident."""
        return self.ctx.read(lambda tx: runs.of_incident(tx, self.incident.id))

    def entries(self, kind: str) -> list[Entry]:
        """Of one kind on the incident's timeline."""
        return [entry for entry in self.ctx.read(lambda tx: timeline.of(tx, self.incident.id)) if entry.kind.value == kind]


def earn(database: Database, ref: RunbookRef, step: str, *, count: int, now: datetime) -> None:
    """So many clean runs of a step in incidents of the last weeks, for a product that was not there then."""

    def work(tx: Tx) -> None:
        for number in range(count):
            at = now - timedelta(days=20 + number)
            past = Incident(
                id=0, title="Past", severity=Severity.SEV3, incident_class=IncidentClass.DATA, service="answers", environment="production",
                owner="search", labels={}, match=Match(runbook=ref, score=1.0, reason="given"), group_key=f"past-{number}", began_at=at,
                opened_at=at,
            )  # fmt: skip
            incident = incidents.add(tx, past)
            incidents.save(tx, incident.resolved(by="ana", resolution="", now=at), was=incident.revision)
            runs.add(
                tx,
                ActionRun(
                    id=0, incident_id=incident.id, runbook=ref, step=step, title=step, state=RunState.VERIFIED, tier=Tier.R1,
                    key=f"past-{step}-{number}", target=f"past/{number}", requested_by="ana", requested_at=at, started_at=at, executed_at=at,
                    verdict=Verdict.VERIFIED, verdict_at=at, value_before=3.0, value_after=0.1, samples=(Sample(at=at, value=0.1),),
                    verify_until_at=at,
                ),
            )  # fmt: skip

    database.write(work)
