"""Running jobs against Rundeck's documented wire format (API version 41), served here with its state; not the real service."""

from collections.abc import Iterator
from typing import Any

import pytest

from actions.backends.rundeck import KIND, Rundeck
from actions.contract import CallInvalid, NotPermitted, Rejected, TargetMissing
from actions.kinds import Options
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus, Reading
from runbooks.severity import Tier
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.answering import Answer, Asked, answering
from tests.parts.trouble import Ill, Trouble, troubled

JOB, GONE = "5b0e0a4e-3f0e-4bb0-9d3b-3a2a8c2f0b11", "00000000-0000-0000-0000-000000000000"
PATH = f"/api/41/job/{JOB}"


class Vendor:
    """One project with one job."""

    def __init__(self) -> None:
        self.executions: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.enabled = True

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("x-rundeck-auth-token") != "right":
            return 403, {"error": True, "errorCode": "unauthorized", "message": "Not authorized", "apiversion": 41}
        if not asked.path.startswith(PATH):
            return 404, {"error": True, "errorCode": "api.error.item.doesnotexist", "message": "Job ID does not exist", "apiversion": 41}
        match asked.path.removeprefix(PATH), asked.method:
            case "/run", "POST":
                return self._run(asked.body["options"])
            case "/executions", "GET":
                most = int(asked.query["max"][0])
                return 200, {"paging": {"max": most, "total": len(self.executions)}, "executions": self.executions[:most]}
        return 200, {"id": JOB, "name": "failover", "project": "answers", "executionEnabled": self.enabled, "scheduleEnabled": True}

    def _run(self, options: dict[str, str]) -> Answer:
        number = 17 + len(self.executions)
        execution = {
            "id": number, "href": f"http://rundeck/api/41/execution/{number}", "permalink": f"http://rundeck/project/answers/execution/show/{number}",
            "status": "running", "project": "answers", "user": "muster", "job": {"id": JOB, "name": "failover", "options": options},
        }  # fmt: skip
        self.executions.insert(0, execution)
        return 200, execution


@pytest.fixture
def vendor() -> Iterator[tuple[Vendor, str]]:
    found = Vendor()
    with answering(found.answer) as url:
        yield found, url


def backend(url: str, token: str = "right", **options: Any) -> Rundeck:
    given = {"url": url, "environment": "production", "jobs": [JOB, GONE], "key_option": "muster_key", **options}
    return KIND.build(Options(given), {"token": lambda: token})


def act(url: str, **options: Any) -> Act:
    arguments = {"job": JOB, "options": {"region": "eu-west-1", "force": True}}
    return Act(backend(url, **options), "job.run", arguments, tier="R3", approval="two")


def test_a_job_is_run_once_for_each_key(vendor: tuple[Vendor, str]) -> None:
    """The execution carries the key, its id and state come back, the same key again runs nothing, and no undo is pretended."""
    state, url = vendor
    it = act(url)
    plan = it.plan()
    assert plan.tier is Tier.R3
    done = it.execute(plan, key="run-7")
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert done.after is not None
    assert (done.after.revision, done.after.facts["state"]) == ("17", "running")
    assert state.executions[0]["job"]["options"] == {"region": "eu-west-1", "force": "true", "muster_key": "run-7"}
    assert it.execute(plan, key="run-7").status is OutcomeStatus.APPLIED
    assert len(state.executions) == 1
    undone = it.undo(plan, after=done.after)
    assert (undone.status, "cannot be undone" in undone.reason) == (OutcomeStatus.REFUSED, True)


def test_the_latest_execution_is_a_measurement(vendor: tuple[Vendor, str]) -> None:
    """Success is 1, any other end 0, one on its way and none at all are no number."""
    state, url = vendor

    def latest() -> Any:
        return backend(url).read(Call(operation="job.latest", arguments={"job": JOB}), timeout=5).value

    assert latest() == {"rows": [], "value": None}
    it = act(url)
    it.execute(it.plan())
    for status, value in (("running", None), ("scheduled", None), ("succeeded", 1.0), ("failed", 0.0), ("aborted", 0.0), ("timedout", 0.0)):
        state.executions[0]["status"] = status
        assert (latest()["value"], latest()["rows"][0]["state"]) == (value, status)


@pytest.mark.parametrize("target", ["other-job", f"{JOB}/run", "..", "", f"{JOB}?x=1", "é", f"{JOB}%2f.."])
def test_s29_only_listed_jobs_are_run(target: str, vendor: tuple[Vendor, str]) -> None:
    """Another job, or a name that is none, is refused before anything is sent."""
    state, url = vendor
    with pytest.raises(CallInvalid):
        backend(url).read(Call(operation="job.run", target=target, arguments={}), timeout=5)
    assert state.asked == []


def test_a_job_that_cannot_be_run_is_not_planned(vendor: tuple[Vendor, str]) -> None:
    """Missing, switched off or not let in: said while planning, with what to do."""
    state, url = vendor
    call = Call(operation="job.run", target=GONE, arguments={})
    with pytest.raises(TargetMissing, match="for this token"):
        backend(url).read(call, timeout=5)
    here = call.model_copy(update={"target": JOB})
    state.enabled = False
    with pytest.raises(Rejected, match="switched off at Rundeck"):
        backend(url).read(here, timeout=5)
    with pytest.raises(NotPermitted) as refused:
        backend(url, token="sw0rdfish").read(here, timeout=5)
    assert "sw0rdfish" not in str(refused.value)


@pytest.mark.parametrize("options", [{"muster_key": "mine"}, {"x": {"y": 1}}, ["x"]])
def test_options_that_make_no_sense_are_not_sent(options: Any, vendor: tuple[Vendor, str]) -> None:
    """The key's own option and nested values are refused."""
    state, url = vendor
    call = Call(operation="job.run", target=JOB, arguments={"options": options})
    with pytest.raises(CallInvalid):
        backend(url).apply(call, {}, expected=Reading(), key="k", timeout=5)
    assert state.executions == []


def test_the_probe_reads_and_runs_nothing(vendor: tuple[Vendor, str]) -> None:
    """The probe looks at every job; one that is not there is named."""
    assert "1 jobs" in backend(vendor[1], jobs=[JOB]).probe(timeout=5)
    with pytest.raises(TargetMissing, match=GONE):
        backend(vendor[1]).probe(timeout=5)
    assert {one.method for one in vendor[0].asked} == {"GET"}


@pytest.fixture
def trouble(vendor: tuple[Vendor, str]) -> Iterator[Trouble]:
    with troubled(vendor[1]) as found:
        yield found


@pytest.mark.parametrize("case", [case for case in CASES if not case.done], ids=lambda case: case.id)
def test_every_trouble_of_a_run_is_told_truly(case: Case, vendor: tuple[Vendor, str], trouble: Trouble) -> None:
    """Refused is certain; what may have arrived and is not found stays in doubt."""
    suffer(case, act(trouble.url), trouble, looks=False)
    assert vendor[0].executions == []


@pytest.mark.parametrize("ill", [Ill.LOST, Ill.LIED])
def test_a_run_behind_a_lost_answer_is_found_by_its_key(ill: Ill, vendor: tuple[Vendor, str], trouble: Trouble) -> None:
    """Where the answer is lost or lies, the execution's option tells the truth; without a key nobody pretends to know."""
    it = act(trouble.url)
    plan = it.plan()
    trouble.ill = ill
    found = it.execute(plan, key="run-8")
    assert (found.status, len(vendor[0].executions)) == (OutcomeStatus.APPLIED, 1)
    assert found.after is not None
    assert found.after.facts["url"].endswith("/17")
    blind = act(trouble.url, key_option=None)
    outcome = blind.execute(blind.plan(), key="run-9")
    assert (outcome.status, len(vendor[0].executions)) == (OutcomeStatus.UNKNOWN, 2)


@pytest.mark.parametrize(
    ("status", "tells"),
    [
        ("scheduled", "execution 17 is scheduled"),
        ("running", "execution 17 is running"),
        ("succeeded", "execution 17 ended well: succeeded"),
        ("failed-with-retry", "execution 17 ended badly: failed-with-retry"),
        ("aborted", "execution 17 ended badly: aborted"),
    ],
)
def test_s20_a_run_that_nobody_saw_answered_is_found_by_its_key(status: str, tells: str, vendor: tuple[Vendor, str]) -> None:
    """After a crash the look finds the execution by the option that it was sent with and tells how it stands; it runs nothing."""
    state, url = vendor
    it = act(url)
    plan = it.plan()
    for key in ("run-7", "run-8"):
        assert it.execute(plan, key=key).status is OutcomeStatus.APPLIED
    state.executions[1]["status"] = status
    looked = it.runner.reconcile(plan, key="run-7")
    assert looked.status is OutcomeStatus.APPLIED
    assert looked.reason == f"It was found under its key: {tells} (http://rundeck/project/answers/execution/show/17)."
    assert len(state.executions) == 2


def test_s20_a_run_that_is_not_seen_goes_to_a_person(vendor: tuple[Vendor, str]) -> None:
    """Not to be listed proves nothing, and without the option no look is pretended."""
    it = act(vendor[1])
    plan = it.plan()
    it.execute(plan, key="run-7")
    looked = it.runner.reconcile(plan, key="run-77")
    assert (looked.status, "Nothing is seen there of run-77" in looked.reason) == (OutcomeStatus.UNKNOWN, True)
    blind = act(vendor[1], key_option=None)
    assert blind.runner.reconcile(plan, key="run-7").reason == (
        "It cannot be looked up: `key_option` is not configured, so no execution at Rundeck carries Muster's key."
    )


def test_a_wrong_configuration_stops_the_start() -> None:
    """Without a token or a list of jobs the backend is not built."""
    given = {"url": "http://127.0.0.1:9", "environment": "p"}
    for options, secrets, field in (({**given, "jobs": [JOB]}, {}, "token"), ({**given, "jobs": ["a/b"]}, {"token": str}, "jobs")):
        with pytest.raises(SettingsInvalid, match=field):
            KIND.build(Options(options), secrets)
