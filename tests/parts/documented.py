"""Systems that only their documented wire format stands for here, each with one change of it; see `tests.parts.changing`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract import test_backend_call as declared
from tests.contract import test_backend_consul as consul
from tests.contract import test_backend_flagsmith as flagsmith
from tests.contract import test_backend_github as github
from tests.contract import test_backend_growthbook as growthbook
from tests.contract import test_backend_launchdarkly as launchdarkly
from tests.contract import test_backend_litellm as litellm
from tests.contract import test_backend_rundeck as rundeck
from tests.parts.answering import answering
from tests.parts.changing import Part
from tests.parts.flagging import FLAG, TOKEN
from tests.parts.trouble import troubled
from tests.parts.vendor import serving

Found = Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Part]]


def _flag(kind: str, vendor: Callable[[], Any], **options: Any) -> Found:
    """A flag that is switched off."""

    @contextmanager
    def part(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
        state = vendor()
        with serving(state) as url, troubled(url) as trouble:
            yield Part(
                trouble=trouble,
                backend={"kind": kind, "url": trouble.url, **options},
                uses="flag.disable",
                arguments={"flag": FLAG},
                stands=lambda: state.on,
                before=True,
                after=False,
                secrets={"token": TOKEN},
            )

    return part


@contextmanager
def a_router(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """Consul's router, whose retries are taken away."""
    state = consul.Documented()
    state.put(consul.ROUTER)
    with serving(state) as url, troubled(url) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "consul", "url": trouble.url, "datacenter": "dc1"},
            uses="retries.cap",
            arguments={"target": "answers", "attempts": 1},
            stands=lambda: state.entries["answers"]["Routes"][0]["Destination"].get("NumRetries"),
            before=5,
            after=None,
            secrets={"token": consul.TOKEN},
        )


@contextmanager
def a_gateway(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """LiteLLM's limit for a team, from 600 to 20 requests a minute."""
    state = litellm.Documented(rows={"team": {"search-team": {"rpm_limit": 600}}})
    with serving(state) as url, troubled(url) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "litellm", "url": trouble.url},
            uses="limit.set",
            arguments={"target": litellm.LIMITS["team"], "value": 20},
            stands=lambda: state.rows["team"]["search-team"]["rpm_limit"],
            before=600,
            after=20,
            which=lambda _method, path: path == "/team/update",
            secrets={"token": litellm.TOKEN},
        )


@contextmanager
def a_workflow(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A workflow that is started."""
    state = github.Vendor()
    with answering(state.answer) as url, troubled(url) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "github", "url": trouble.url, "repositories": ["example/answers"]},
            uses="workflow.dispatch",
            arguments={"workflow": github.WORKFLOW, "ref": "main"},
            stands=lambda: len(state.runs),
            before=0,
            after=1,
            secrets={"token": "right"},
            told=": run 700 is queued (https://github.com/example/answers/actions/runs/700). Watching again.",
        )


@contextmanager
def a_job(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A job that is run."""
    state = rundeck.Vendor()
    with answering(state.answer) as url, troubled(url) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "rundeck", "url": trouble.url, "jobs": [rundeck.JOB], "key_option": "muster_key"},
            uses="job.run",
            arguments={"job": rundeck.JOB},
            stands=lambda: len(state.executions),
            before=0,
            after=1,
            secrets={"token": "right"},
            told=": execution 17 is running (http://rundeck/project/answers/execution/show/17). Watching again.",
        )


@contextmanager
def a_declared_call(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A call that is fired, with a lookup."""
    state = declared.Service()
    state.workers["w1"] = {}
    with answering(state.answer) as url, troubled(url) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "call", "base": trouble.url, "calls": {"reboot": declared.CALLS["reboot"]}},
            uses="http.fire",
            arguments={"target": "reboot/w1"},
            stands=lambda: len(state.reboots),
            before=0,
            after=1,
            secrets={"token": "right"},
            told=": reboot/w1, reboots[0].state is pending. Watching again.",
        )


DOCUMENTED = [
    pytest.param(_flag("launchdarkly", launchdarkly.Fake, project="shop"), id="launchdarkly"),
    pytest.param(_flag("flagsmith", lambda: flagsmith.Fake(versioned=True), environment_key=flagsmith.KEY), id="flagsmith"),
    pytest.param(_flag("growthbook", growthbook.Fake), id="growthbook"),
    pytest.param(a_router, id="consul"),
    pytest.param(a_gateway, id="litellm"),
]
STARTED = [
    pytest.param(a_workflow, id="github"),
    pytest.param(a_job, id="rundeck"),
    pytest.param(a_declared_call, id="call"),
]
