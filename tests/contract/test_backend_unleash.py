"""Unleash: the real server, and what a real UnleashClient sees of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from UnleashClient import UnleashClient

from actions.backends.unleash import KIND, Unleash
from actions.contract import CallInvalid, NotPermitted, TargetMissing
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.operation import OutcomeStatus
from tests.parts import npm, unleash
from tests.parts.flagging import PATIENCE, TROUBLES, Row, check_class, check_look, check_trouble, disable, night, switch
from tests.parts.trouble import troubled
from tests.parts.unleash import Running

pytestmark = [
    pytest.mark.debian,
    pytest.mark.skipif(npm.missing(unleash.PACKAGE) is not None, reason=str(npm.missing(unleash.PACKAGE))),
]
_number = count()


@pytest.fixture(scope="module")
def server(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log: Path = tmp_path_factory.mktemp("unleash") / "log"
    with unleash.running(postgres_server.create(migrated=False), log=log) as found:
        yield found


@pytest.fixture
def flag(server: Running) -> str:
    """A fresh flag that is on in production."""
    name = f"flag-{next(_number)}"
    server.flag(name)
    return name


def build(url: str, *, token: str = unleash.ADMIN, **more: Any) -> Unleash:
    """The backend as configured."""
    options = Options({"url": url, "environment": "production", **more})
    found = KIND.build(options, {"token": lambda: token})
    assert isinstance(found, Unleash)
    return found


def subject(server: Running, operation: str) -> Subject:
    name = f"flag-{next(_number)}"
    server.flag(name, on=operation == "flag.disable")

    def change_outside(value: Any) -> None:
        """To its other value and back again: only the events tell."""
        server.switch(name, on=not value)
        server.switch(name, on=value)

    return Subject(
        backend=build(server.url),
        call=disable(name) if operation == "flag.disable" else switch(on=True, flag=name),
        missing=disable("no-such-flag"),
        other=operation == "flag.disable",
        change_outside=change_outside,
        invalid=switch(on="yes", flag=name),
        atomic=False,
    )


@pytest.mark.parametrize("operation", [one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_unleash_keeps_the_contract(check: Check, operation: str, server: Running) -> None:
    """Each operation passes every check against the real server."""
    check(subject(server, operation))


@contextmanager
def application(server: Running, folder: Path) -> Iterator[Callable[[str], bool]]:
    """An application that asks a flag by the real client, its cache in a folder of its own."""
    client = UnleashClient(
        f"{server.url}/api", "shop", custom_headers={"Authorization": unleash.CLIENT}, refresh_interval=1,
        disable_metrics=True, disable_registration=True, cache_directory=str(folder),
    )  # fmt: skip
    client.initialize_client()
    try:
        yield client.is_enabled
    finally:
        client.destroy()


def until(ask: Callable[[], bool], *, said: bool) -> None:
    """Wait until the application says so."""
    ends = time.monotonic() + 30
    while ask() is not said:
        assert time.monotonic() < ends, f"the application still says {not said}"
        time.sleep(0.05)


def test_an_application_sees_the_flag_off_and_on_again(server: Running, flag: str, tmp_path: Path) -> None:
    """Disabling turns the flag off for a running application, and the undo turns it on again."""
    story = night(build(server.url), flag=flag)
    with application(server, tmp_path) as enabled:
        until(lambda: enabled(flag), said=True)
        plan = story.plan()
        assert (plan.proposal.before_text, plan.proposal.after_text) == ("on", "off")
        done = story.click(plan)
        assert done.status is OutcomeStatus.APPLIED
        until(lambda: enabled(flag), said=False)
        assert story.undo(plan, done).status is OutcomeStatus.APPLIED
        until(lambda: enabled(flag), said=True)


@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_the_change_is_told_as_it_is(row: Row, server: Running) -> None:
    """Whatever goes wrong with the change, the person reads what is certain, and a look tells whether it took effect."""
    name = "long-answers"
    if not _exists(server, name):
        server.flag(name)
    server.switch(name, on=True)
    with troubled(server.url) as trouble:
        backend, row = build(trouble.url), replace(row, hanging=4.0)  # a real server answers the looks before it more slowly
        check_trouble(backend, trouble, row)
        server.switch(name, on=True)
        check_class(backend, trouble, row)
        server.switch(name, on=True)
        check_look(backend, trouble, row)


def _exists(server: Running, name: str) -> bool:
    return server.client.get(f"/api/admin/projects/default/features/{name}").is_success


def test_someone_elses_switch_between_plan_and_click_is_named(server: Running, flag: str) -> None:
    """A flag that was switched off and on again after the plan is left alone, and the sentence says by whom."""
    story = night(build(server.url), flag=flag)
    plan = story.plan()
    server.switch(flag, on=False)
    server.switch(flag, on=True)
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert f"{flag} was changed and changed back by admin since the plan was made" in refused.reason
    assert build(server.url).read(disable(flag), timeout=PATIENCE).value is True


def test_someone_elses_switch_between_run_and_undo_is_not_overwritten(server: Running, flag: str) -> None:
    """An undo leaves a flag alone that somebody switched on and off again after the run, and says so."""
    story = night(build(server.url), flag=flag)
    plan = story.plan()
    done = story.click(plan)
    server.switch(flag, on=True)
    server.switch(flag, on=False)
    refused = story.undo(plan, done)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Not undone: ")
    assert "by admin" in refused.reason
    assert build(server.url).read(disable(flag), timeout=PATIENCE).value is False


def test_what_is_not_there_is_named_while_planning(server: Running, flag: str) -> None:
    """A missing flag, project and environment each give a sentence that says where to look; nothing is planned."""
    with pytest.raises(PlanRefused, match="Unleash has no flag nowhere in production") as refused:
        night(build(server.url), flag="nowhere").plan()
    assert refused.value.reason == "target_missing"
    with pytest.raises(TargetMissing, match="project"):
        build(server.url, project="elsewhere").read(disable(flag), timeout=PATIENCE)
    with pytest.raises(TargetMissing, match=r"no environment prod for flag .* it has development, production"):
        build(server.url, environment_key="prod").read(disable(flag), timeout=PATIENCE)


def test_an_archived_flag_is_refused_for_certain(server: Running, flag: str) -> None:
    """A flag that is put away between plan and click is not there; nothing was changed."""
    story = night(build(server.url), flag=flag)
    plan = story.plan()
    server.archive(flag)
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert f"Unleash has no flag {flag}" in refused.reason


def test_turning_on_a_flag_without_a_strategy_says_what_is_added(server: Running) -> None:
    """The plan says that Unleash adds a strategy for everyone where the flag has none."""
    server.flag("bare", on=False)
    backend = build(server.url)
    call = switch(on=True, flag="bare")
    assert "turns it on for everyone" in backend.propose(call, backend.read(call, timeout=PATIENCE)).note


def test_a_strategy_that_is_disabled_is_none(server: Running) -> None:
    """Where every strategy is disabled Unleash adds one as if there were none, and the plan says so, also of the way back."""
    server.flag("half-bare", on=False)
    server.strategy("half-bare", disabled=True)
    backend = build(server.url)
    call = switch(on=True, flag="half-bare")
    before = backend.read(call, timeout=PATIENCE)
    assert "no active strategy" in backend.propose(call, before).note
    assert "with the undo Unleash adds one" in backend.propose(disable("half-bare"), before).note
    after = backend.apply(call, True, expected=before, key="k", timeout=PATIENCE)
    assert (before.facts["strategies"], after.facts["strategies"]) == (0, 1)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\nb", "a\\b", "x" * 300, " "])
def test_s29_no_name_leads_elsewhere(name: str, server: Running) -> None:
    """A hostile name is refused before anything is sent."""
    with troubled(server.url) as trouble:
        with pytest.raises(CallInvalid, match="no name of a flag"):
            build(trouble.url).read(disable(name), timeout=PATIENCE)
        assert trouble.seen == []


@pytest.mark.parametrize("name", ["%2e%2e", "x?y=1", "x#y", "é", "a b", "x:IS"])
def test_s29_strange_names_stay_names(name: str, server: Running) -> None:
    """A name full of syntax is looked up as it stands, and is not there."""
    with pytest.raises(TargetMissing):
        build(server.url).read(disable(name), timeout=PATIENCE)


def test_the_check_says_who_signed_in_and_what_is_missing(server: Running) -> None:
    """`muster check` names the account and its reach; a wrong token, a client's token and a missing place are refused in words."""
    assert build(server.url).probe(timeout=PATIENCE) == "signed in to Unleash as admin, may switch flags of project default in production"
    with pytest.raises(NotPermitted, match="does not know this token"):
        build(server.url, token="*:*.wrong").probe(timeout=PATIENCE)
    with pytest.raises(NotPermitted):
        build(server.url, token=unleash.CLIENT).probe(timeout=PATIENCE)
    with pytest.raises(TargetMissing, match="project elsewhere"):
        build(server.url, project="elsewhere").probe(timeout=PATIENCE)
    with pytest.raises(TargetMissing, match="no environment prod"):
        build(server.url, environment_key="prod").probe(timeout=PATIENCE)
