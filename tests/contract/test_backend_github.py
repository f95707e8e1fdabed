"""Starting workflows against GitHub's documented wire format (REST API 2022-11-28), served here with its state; not the real service."""

from collections.abc import Iterator
from typing import Any

import pytest

from actions.backends.github import KIND, GitHub
from actions.contract import CallInvalid, NotPermitted, Rejected, TargetMissing, Throttled
from actions.kinds import Options
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus, Reading
from runbooks.severity import Tier
from tests.parts.acted import CASES, Act, Case, suffer
from tests.parts.answering import Answer, Asked, answering
from tests.parts.trouble import Ill, Trouble, troubled

WORKFLOW = "example/answers/failover.yml"
PATH = f"/repos/{WORKFLOW.replace('/failover', '/actions/workflows/failover')}"


class Vendor:
    """One repository with one workflow whose run-name repeats the key."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.state = "active"
        self.details = True
        self.limited = False

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("authorization") != "Bearer right":
            return 401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}
        if self.limited:
            return 403, {"message": "You have exceeded a secondary rate limit"}, {"Retry-After": "60"}
        if asked.path == "/repos/example/answers/actions/workflows":
            return 200, {"total_count": 1, "workflows": []}
        if not asked.path.startswith(PATH):
            return 404, {"message": "Not Found"}
        rest = asked.path.removeprefix(PATH)
        if rest == "/dispatches" and asked.method == "POST":
            return self._dispatch(asked.body)
        if rest == "/runs":
            return 200, {"total_count": len(self.runs), "workflow_runs": self.runs[: int(asked.query["per_page"][0])]}
        return 200, {"id": 7, "name": "Failover", "path": ".github/workflows/failover.yml", "state": self.state}

    def _dispatch(self, body: Any) -> Answer:
        if unknown := set(body["inputs"]) - {"muster_key", "region"}:
            return 422, {"message": f"Unexpected inputs provided: {sorted(unknown)}"}
        number = 700 + len(self.runs)
        run = {
            "id": number, "event": "workflow_dispatch", "status": "queued", "conclusion": None, "created_at": "2026-11-21T01:00:00Z",
            "display_title": f"Failover {body['inputs'].get('muster_key', '')}", "html_url": f"https://github.com/example/answers/actions/runs/{number}",
        }  # fmt: skip
        self.runs.insert(0, run)
        if not (self.details and body.get("return_run_details")):
            return 204, None
        return 200, {"workflow_run_id": number, "run_url": f"https://api.github.com/…/{number}", "html_url": run["html_url"]}


@pytest.fixture
def vendor() -> Iterator[tuple[Vendor, str]]:
    found = Vendor()
    with answering(found.answer) as url:
        yield found, url


def backend(url: str, token: str = "right", **options: Any) -> GitHub:
    given = {"url": url, "environment": "production", "repositories": ["example/answers"], **options}
    return KIND.build(Options(given), {"token": lambda: token})


def act(url: str, **options: Any) -> Act:
    arguments = {"workflow": WORKFLOW, "ref": "main", "inputs": {"region": "eu-west-1"}}
    return Act(backend(url, **options), "workflow.dispatch", arguments, tier="R3", approval="two")


def test_a_workflow_is_started_once_for_each_key(vendor: tuple[Vendor, str]) -> None:
    """The run carries the key, its id comes back, the same key again starts nothing, and no undo is pretended."""
    state, url = vendor
    it = act(url)
    plan = it.plan()
    assert (plan.tier, plan.proposal.note) == (Tier.R3, "This backend cannot say beforehand what will change.")
    done = it.execute(plan, key="run-7")
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert done.after is not None
    assert (done.after.revision, done.after.facts["state"]) == ("700", "queued")
    assert state.asked[-1].body == {"ref": "main", "inputs": {"region": "eu-west-1", "muster_key": "run-7"}, "return_run_details": True}
    assert it.execute(plan, key="run-7").status is OutcomeStatus.APPLIED
    assert len(state.runs) == 1
    undone = it.undo(plan, after=done.after)
    assert (undone.status, "cannot be undone" in undone.reason) == (OutcomeStatus.REFUSED, True)


def test_an_older_server_that_names_no_run_is_enough(vendor: tuple[Vendor, str]) -> None:
    """A 204 without a body means that it was taken."""
    vendor[0].details = False
    it = act(vendor[1])
    assert it.execute(it.plan()).status is OutcomeStatus.APPLIED
    assert len(vendor[0].runs) == 1


def test_the_latest_run_is_a_measurement(vendor: tuple[Vendor, str]) -> None:
    """Success is 1, any other end 0, a run on its way and no run at all are no number."""
    state, url = vendor

    def latest() -> Any:
        return backend(url).read(Call(operation="workflow.latest", arguments={"workflow": WORKFLOW}), timeout=5).value

    assert latest() == {"rows": [], "value": None}
    it = act(url)
    it.execute(it.plan())
    assert (latest()["value"], latest()["rows"][0]["state"]) == (None, "queued")
    for conclusion, value in (("success", 1.0), ("failure", 0.0), ("cancelled", 0.0)):
        state.runs[0] |= {"status": "completed", "conclusion": conclusion}
        assert (latest()["value"], latest()["rows"][0]["state"]) == (value, conclusion)


@pytest.mark.parametrize(
    "target",
    [
        "example/other/failover.yml", "stranger/answers/failover.yml", "example/answers", "example/answers/x/y", "../../user", "example/answers/..",
        "example/answers/a?b", "example/answers/a%2fb", "", "example/answers/é", "example//failover.yml",
    ],
)  # fmt: skip
def test_s29_only_listed_repositories_are_asked(target: str, vendor: tuple[Vendor, str]) -> None:
    """A workflow elsewhere, or a name that is none, is refused before anything is sent."""
    state, url = vendor
    with pytest.raises(CallInvalid):
        backend(url).read(Call(operation="workflow.dispatch", target=target, arguments={"ref": "main"}), timeout=5)
    assert state.asked == []


def test_a_workflow_that_cannot_be_started_is_not_planned(vendor: tuple[Vendor, str]) -> None:
    """Missing, switched off or not let in: said while planning, with what to do."""
    state, url = vendor
    call = Call(operation="workflow.dispatch", target="example/answers/missing.yml", arguments={"ref": "main"})
    with pytest.raises(TargetMissing, match=r"no workflow example/answers/missing\.yml, for these credentials"):
        backend(url).read(call, timeout=5)
    here = call.model_copy(update={"target": WORKFLOW})
    state.state = "disabled_manually"
    with pytest.raises(Rejected, match="switch it on there first"):
        backend(url).read(here, timeout=5)
    with pytest.raises(NotPermitted) as refused:
        backend(url, token="sw0rdfish").read(here, timeout=5)
    assert "sw0rdfish" not in str(refused.value)
    state.limited = True
    with pytest.raises(Throttled) as wait:
        backend(url).read(here, timeout=5)
    assert wait.value.retry_after == 60


@pytest.mark.parametrize("inputs", [{"muster_key": "mine"}, {"x": {"y": 1}}, ["x"], {str(number): "x" for number in range(30)}])
def test_inputs_that_make_no_sense_are_not_sent(inputs: Any, vendor: tuple[Vendor, str]) -> None:
    """The key's own input, nested values and too many are refused."""
    state, url = vendor
    call = Call(operation="workflow.dispatch", target=WORKFLOW, arguments={"ref": "main", "inputs": inputs})
    with pytest.raises(CallInvalid):
        backend(url).apply(call, {}, expected=Reading(), key="k", timeout=5)
    assert [one for one in state.asked if one.method == "POST"] == []


def test_an_input_that_the_workflow_does_not_know_is_refused_in_its_words(vendor: tuple[Vendor, str]) -> None:
    """GitHub's own sentence about an unexpected input reaches the person; nothing was started."""
    it = Act(
        backend(vendor[1]), "workflow.dispatch", {"workflow": WORKFLOW, "ref": "main", "inputs": {"zone": "b"}}, tier="R3", approval="two"
    )
    refused = it.execute(it.plan())
    assert (refused.status, "Unexpected inputs provided" in refused.reason) == (OutcomeStatus.REFUSED, True)
    assert vendor[0].runs == []


def test_the_probe_reads_and_starts_nothing(vendor: tuple[Vendor, str]) -> None:
    """The probe names the repositories that the token may read, and what it cannot know."""
    assert "example/answers" in backend(vendor[1]).probe(timeout=5)
    assert {one.method for one in vendor[0].asked} == {"GET"}


@pytest.fixture
def trouble(vendor: tuple[Vendor, str]) -> Iterator[Trouble]:
    with troubled(vendor[1]) as found:
        yield found


@pytest.mark.parametrize("case", [case for case in CASES if not case.done], ids=lambda case: case.id)
def test_every_trouble_of_a_start_is_told_truly(case: Case, vendor: tuple[Vendor, str], trouble: Trouble) -> None:
    """Refused is certain; what may have arrived and is not found stays in doubt, with where to look."""
    outcome = suffer(case, act(trouble.url), trouble, looks=False)
    assert vendor[0].runs == []
    if outcome.status is OutcomeStatus.UNKNOWN and case.ill is not Ill.HANG:
        assert "Look there whether example/answers/failover.yml was started under key-1." in outcome.reason


@pytest.mark.parametrize("ill", [Ill.LOST, Ill.LIED])
def test_a_start_behind_a_lost_answer_is_found_by_its_key(ill: Ill, vendor: tuple[Vendor, str], trouble: Trouble) -> None:
    """Where the answer is lost or lies, the run's name tells the truth; without a key nobody pretends to know."""
    it = act(trouble.url)
    plan = it.plan()
    trouble.ill = ill
    found = it.execute(plan, key="run-8")
    assert (found.status, len(vendor[0].runs)) == (OutcomeStatus.APPLIED, 1)
    assert found.after is not None
    assert found.after.revision == "700"
    blind = act(trouble.url, key_input="")
    outcome = blind.execute(blind.plan(), key="run-9")
    assert (outcome.status, len(vendor[0].runs)) == (OutcomeStatus.UNKNOWN, 2)


@pytest.mark.parametrize(
    ("status", "conclusion", "tells"),
    [
        ("queued", None, "run 700 is queued"),
        ("in_progress", None, "run 700 is in progress"),
        ("completed", "success", "run 700 ended well: success"),
        ("completed", "timed_out", "run 700 ended badly: timed out"),
    ],
)
def test_s20_a_start_that_nobody_saw_answered_is_found_by_its_key(
    status: str, conclusion: str | None, tells: str, vendor: tuple[Vendor, str]
) -> None:
    """After a crash the look finds the run by the key that it was sent with and tells how it stands; it starts nothing."""
    state, url = vendor
    it = act(url)
    plan = it.plan()
    for key in ("run-7", "run-8", "run-9"):
        assert it.execute(plan, key=key).status is OutcomeStatus.APPLIED
    state.runs.reverse()  # ours is not the newest
    state.runs[0] |= {"status": status, "conclusion": conclusion}
    looked = it.runner.reconcile(plan, key="run-7")
    assert looked.status is OutcomeStatus.APPLIED
    assert looked.reason == f"It was found under its key: {tells} (https://github.com/example/answers/actions/runs/700)."
    assert looked.after is not None
    assert (looked.after.revision, looked.after.value) == ("700", plan.proposal.value)
    assert len(state.runs) == 3


def test_s20_a_start_that_is_not_seen_goes_to_a_person(vendor: tuple[Vendor, str]) -> None:
    """Not to be listed proves nothing, a look that fails proves nothing, and without the input no look is pretended."""
    state, url = vendor
    it = act(url)
    plan = it.plan()
    it.execute(plan, key="run-7")
    looked = it.runner.reconcile(plan, key="run-77")
    assert (looked.status, looked.reason) == (
        OutcomeStatus.UNKNOWN, "Nothing is seen there of run-77, which does not prove that it was not done."
    )  # fmt: skip
    blind = act(url, key_input="")
    assert blind.runner.reconcile(plan, key="run-7").reason == (
        "It cannot be looked up: `key_input` is empty, so no run at GitHub carries Muster's key."
    )
    state.limited = True
    waits = it.runner.reconcile(plan, key="run-7")
    assert (waits.status, waits.retry_after) == (OutcomeStatus.UNKNOWN, 60)


def test_a_wrong_configuration_stops_the_start() -> None:
    """Without a token or a list of repositories the backend is not built."""
    for options, secrets, field in (
        ({"environment": "p", "repositories": ["a/b"]}, {}, "token"),
        ({"environment": "p", "repositories": ["a"]}, {"token": str}, "repositories"),
    ):
        with pytest.raises(SettingsInvalid, match=field):
            KIND.build(Options(options), secrets)
