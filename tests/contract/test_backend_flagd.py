"""flagd's files of flag definitions, and what OpenFeature's own provider sees of them."""

import errno
import fcntl
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

from actions.backends.flagd import KIND, Flagd
from actions.contract import CallInvalid, Conflict, NotPermitted, Rejected, TargetMissing, Unreachable
from actions.kinds import Options
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import OutcomeStatus
from tests.parts.flagging import FLAG, PATIENCE, disable, night, switch

DEFINITION: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on", "targeting": {}}
AS_JSON = """{
\t"$schema": "https://flagd.dev/schema/v0/flags.json",
\t"metadata": {"state": "ENABLED"},   "flags" :
  {
    "rerank": {"state": "DISABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"},
    "long-answers": { "variants" : {"on": true, "off": false}, "metadata": {"state": "}\\"ENABLED"},
        "state"  :  "ENABLED"  , "defaultVariant": "on", "targeting": {} }
  }, "$evaluators": {}
}

"""
AS_YAML = """# who may edit this: ml-platform
flags:
  rerank: {state: DISABLED, variants: {"on": true, "off": false}, defaultVariant: "off"}
  long-answers:   # the long ones
    state: ENABLED   # see runbook
    variants: {"on": true, "off": false}
    defaultVariant: "on"
"""
TEXTS = {".json": AS_JSON, ".yaml": AS_YAML}


@pytest.fixture(params=TEXTS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = tmp_path / f"flags{request.param}"
    found.write_text(TEXTS[request.param])
    return found


def build(file: Path) -> Flagd:
    """The backend as configured."""
    found = KIND.build(Options({"file": str(file), "environment": "production"}), {})
    assert isinstance(found, Flagd)
    return found


def edit(file: Path, **changed: Any) -> None:
    """Change the flag's definition, as a person with an editor would."""
    document = yaml.safe_load(file.read_text().replace("\t", " "))
    document["flags"][FLAG] |= changed
    file.write_text(json.dumps(document, indent=1))


@pytest.mark.parametrize("operation", [one.name for one in KIND.operations])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_flagd_keeps_the_contract(check: Check, operation: str, file: Path) -> None:
    """Each operation passes every check on a real file, JSON and YAML alike."""
    on = operation == "flag.disable"
    edit(file, state="ENABLED" if on else "DISABLED")
    check(
        Subject(
            backend=build(file),
            call=disable() if on else switch(on=True),
            missing=disable("no-such-flag"),
            other=on,
            change_outside=lambda _value: edit(file, defaultVariant="off"),
            invalid=switch(on="yes"),
            atomic=False,
        )
    )


@contextmanager
def application(file: Path) -> Iterator[Callable[[], bool]]:
    """An application that asks the flag by OpenFeature's own provider, with `False` as the default in its code."""
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file), deadline_ms=50)
    api.set_provider(provider, domain="shop")
    client = api.get_client(domain="shop")
    try:
        yield lambda: client.get_boolean_value(FLAG, False)
    finally:
        api.clear_providers()


def until(ask: Callable[[], bool], *, said: bool) -> None:
    """Wait until the application says so."""
    ends = time.monotonic() + 30
    while ask() is not said:
        assert time.monotonic() < ends, f"the application still says {not said}"
        time.sleep(0.02)


def test_an_application_sees_its_own_default_and_then_the_flag_again(file: Path) -> None:
    """Disabling makes a running application use the default in its code, and the undo brings the flag's own value back."""
    story = night(build(file))
    with application(file) as enabled:
        until(enabled, said=True)
        plan = story.plan()
        assert plan.proposal.step == "on → off"
        assert plan.proposal.note == "Disabled: each application uses the default in its own code."
        done = story.click(plan)
        assert done.status is OutcomeStatus.APPLIED
        until(enabled, said=False)
        assert story.undo(plan, done).status is OutcomeStatus.APPLIED
        until(enabled, said=True)


def test_an_application_notices_although_the_file_came_from_the_future(file: Path) -> None:
    """A file whose time lies ahead is replaced by one that is newer still: readers that compare times see the change."""
    ahead = time.time() + 86_400
    os.utime(file, (ahead, ahead))
    story = night(build(file))
    with application(file) as enabled:
        until(enabled, said=True)
        assert story.click(story.plan()).status is OutcomeStatus.APPLIED
        until(enabled, said=False)


def test_nothing_else_in_the_file_changes(file: Path) -> None:
    """Comments, tabs, spaces, order, permissions and a link stay; only the one word differs, and the undo brings back every byte."""
    before = file.read_bytes()
    file.chmod(0o640)
    link = file.parent / f"link{file.suffix}"
    link.symlink_to(file)
    story = night(build(link))
    plan = story.plan()
    done = story.click(plan)
    place = before.rindex(b"ENABLED") if file.suffix == ".json" else before.index(b"ENABLED")
    assert file.read_bytes() == before[:place] + b"DISABLED" + before[place + len(b"ENABLED") :]
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert story.undo(plan, done).status is OutcomeStatus.APPLIED
    assert file.read_bytes() == before
    assert sorted(one.name for one in file.parent.iterdir()) == sorted([file.name, link.name])


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(lambda name: not set(name) & set("/\\"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6), lambda inner: st.lists(inner) | st.dictionaries(names, inner)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    others=st.dictionaries(names | st.just("state") | st.just("flags"), values, max_size=4),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    ascii_only=st.booleans(),
)
def test_any_json_keeps_everything_else(others: dict[str, Any], indent: Any, ascii_only: bool, tmp_path: Path) -> None:
    """Whatever else stands in a JSON file, however it is laid out, only the flag's state changes."""
    flags = {**{f"x{name}": value for name, value in others.items()}, FLAG: {**others, **DEFINITION}, "z": others}
    document = {**others, "flags": flags}
    file = tmp_path / "flags.json"
    written = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    file.write_text(written)
    backend = build(file)
    before = backend.read(disable(), timeout=PATIENCE)
    after = backend.apply(disable(), False, expected=before, key="k", timeout=PATIENCE)
    document["flags"][FLAG]["state"] = "DISABLED"
    assert json.loads(file.read_text()) == document
    backend.apply(disable(), True, expected=after, key="k2", timeout=PATIENCE)
    assert file.read_text() == written


def test_someone_elses_edit_is_never_overwritten(file: Path) -> None:
    """Between plan and click, and between run and undo, a changed definition is left alone; another flag's change does not matter."""
    story = night(build(file))
    plan = story.plan()
    edit(file, defaultVariant="off")
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "was changed and changed back since the plan was made" in refused.reason
    plan = story.plan()
    file.write_text(file.read_text().replace("rerank", "rerank-2"))
    done = story.click(plan)
    assert done.status is OutcomeStatus.APPLIED
    edit(file, state="DISABLED", defaultVariant="on")
    refused = story.undo(plan, done)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Not undone: ")


def test_an_edit_after_the_look_is_a_conflict(file: Path) -> None:
    """What an editor saved after our look is noticed before we write."""
    backend = build(file)
    before = backend.read(disable(), timeout=PATIENCE)
    edit(file, defaultVariant="off")
    with pytest.raises(Conflict) as refused:
        backend._write(disable(), False, present=before, key="k", timeout=PATIENCE)
    assert refused.value.current.value is True


def test_a_held_lock_is_waited_for_and_then_given_up(file: Path) -> None:
    """While another Muster writes, a change waits; where it does not finish, nothing is changed and the sentence says so."""
    story = night(build(file))
    plan = story.plan()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        refused = story.click(plan, seconds=0.3)
        assert refused.status is OutcomeStatus.REFUSED
        assert "Another Muster is writing" in refused.reason
        with pytest.raises(Unreachable):
            build(file).apply(disable(), False, expected=plan.before, key="k", timeout=0.1)
        done: list[Any] = []
        waiting = threading.Thread(target=lambda: done.append(story.click(plan)))
        waiting.start()
    finally:
        os.close(folder)
    waiting.join(PATIENCE)
    assert [one.status for one in done] == [OutcomeStatus.APPLIED]


BROKEN = {
    "no JSON": ("{", "is not JSON at present"),
    "no object": ("[]", "no object `flags`"),
    "no flags": ("{}", "no object `flags`"),
    "a list of flags": ('{"flags": []}', "no object `flags`"),
    "no state": ('{"flags": {"long-answers": {}}}', "neither ENABLED nor DISABLED"),
    "a strange state": ('{"flags": {"long-answers": {"state": "on"}}}', "neither ENABLED nor DISABLED"),
    "a flag that is none": ('{"flags": {"long-answers": 5}}', "neither ENABLED nor DISABLED"),
    "too deep": ("[" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize(("broken", "words"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_makes_no_sense_is_left_alone(broken: str, words: str, tmp_path: Path) -> None:
    """A file that cannot be understood is refused in words, and stays as it is."""
    file = tmp_path / "flags.json"
    file.write_text(broken)
    with pytest.raises(PlanRefused, match=words) as refused:
        night(build(file)).plan()
    assert refused.value.reason == "rejected"
    assert file.read_text() == broken


def test_yaml_s_truth_values_as_names_are_no_crash(tmp_path: Path) -> None:
    """YAML 1.1 reads an unquoted `on` as a truth value: such variants beside others are read, noticed when changed, and left as they are."""
    file = tmp_path / "flags.yaml"
    written = f"flags:\n  {FLAG}:\n    state: ENABLED\n    variants: {{on: 1, off: 2, blue: 3}}\n    defaultVariant: on\n"
    file.write_text(written)
    story = night(build(file))
    plan = story.plan()
    file.write_text(written.replace("off: 2", "off: 4"))
    assert story.click(plan).status is OutcomeStatus.REFUSED
    file.write_text(written)
    assert story.click(story.plan()).status is OutcomeStatus.APPLIED
    assert file.read_text() == written.replace("ENABLED", "DISABLED")


BOMB = "".join(f"    p{number}: &p{number} [{', '.join([f'*p{number - 1}'] * 10 if number else ['1'] * 10)}]\n" for number in range(9))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("    when: 2026-13-45\n", "neither YAML nor JSON"),
        (f"    deep: {'[' * 3000}{']' * 3000}\n", "neither YAML nor JSON"),
        (BOMB, "repeats its parts by aliases without end"),
        ("    parts: &whole [1, *whole]\n", "holds itself by an alias"),
    ],
    ids=["date", "deep", "bomb", "circle"],
)
def test_yaml_beyond_reason_is_refused_in_words(more: str, words: str, tmp_path: Path) -> None:
    """A date that is none, nesting without end, and aliases that repeat or hold themselves are no crash."""
    file = tmp_path / "flags.yaml"
    file.write_text(f"flags:\n  {FLAG}:\n    state: ENABLED\n{more}")
    with pytest.raises(Rejected, match=words):
        build(file).read(disable(), timeout=PATIENCE)


def test_a_file_system_without_locks_is_a_refusal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked nothing is changed, and the sentence says why."""

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    story = night(build(file))
    plan = story.plan()
    monkeypatch.setattr(fcntl, "flock", none)
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert "cannot be locked: No locks available" in refused.reason


def test_a_state_written_twice_is_left_alone(tmp_path: Path) -> None:
    """Where a key stands twice, nobody can say which one counts, and nothing is changed."""
    file = tmp_path / "flags.json"
    twice = '{"flags": {"long-answers": {"state": "ENABLED", "state": "ENABLED", "variants": {"on": true}}}}'
    file.write_text(twice)
    refused = night(build(file)).click(night(build(file)).plan())
    assert refused.status is OutcomeStatus.REFUSED
    assert "has state more than once" in refused.reason
    assert file.read_text() == twice


def test_what_is_not_there_is_named_while_planning(file: Path) -> None:
    """A missing flag and a missing file give a sentence and no plan."""
    with pytest.raises(PlanRefused, match="has no flag nowhere"):
        night(build(file), flag="nowhere").plan()
    file.unlink()
    with pytest.raises(PlanRefused, match="is not there") as refused:
        night(build(file)).plan()
    assert refused.value.reason == "target_missing"


def test_a_file_that_vanishes_before_the_click_is_refused_for_certain(file: Path) -> None:
    """A file that is taken away after the plan is named; nothing is written in its place."""
    story = night(build(file))
    plan = story.plan()
    file.unlink()
    refused = story.click(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert refused.reason.startswith("Nothing was changed: ")
    assert not file.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a\nb"])
def test_s29_no_name_leads_elsewhere(name: str, file: Path) -> None:
    """A hostile name is refused before the file is opened."""
    with pytest.raises(CallInvalid, match="no name of a flag"):
        build(file).read(disable(name), timeout=PATIENCE)


@contextmanager
def nobody() -> Iterator[None]:
    """Act as a user without rights, where the tests run as root, who may do anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_a_refusal(tmp_path: Path) -> None:
    """Without the right to write beside the file, `muster check` and a change say so, and the file stays."""
    folder = Path(os.path.realpath(tmp_path))
    file = folder / "flags.json"
    file.write_text(AS_JSON)
    backend = build(file)
    assert backend.probe(timeout=PATIENCE) == f"reads 2 flags in {file}, and may replace it"
    before = backend.read(disable(), timeout=PATIENCE)
    closed = [*folder.parents[:3]]
    modes = [one.stat().st_mode for one in closed]
    for one in closed:  # pytest keeps its folders to its own user
        one.chmod(one.stat().st_mode | 0o055)
    folder.chmod(0o555)
    try:
        with nobody(), pytest.raises(NotPermitted):
            backend.apply(disable(), False, expected=before, key="k", timeout=PATIENCE)
    finally:
        folder.chmod(0o755)
        for one, mode in zip(closed, modes, strict=True):
            one.chmod(stat.S_IMODE(mode))
    assert file.read_text() == AS_JSON


@pytest.mark.parametrize("path", ["flags.json", "/etc/flags.txt", "/etc/flags"])
def test_a_path_that_cannot_be_meant_is_a_mistake_in_the_configuration(path: str) -> None:
    """A relative path and a file of another kind are refused before anything starts."""
    with pytest.raises(SettingsInvalid, match="absolute path"):
        KIND.build(Options({"file": path, "environment": "production"}), {})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are refused in words."""
    file = tmp_path / "flags.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Rejected):
        build(file).read(disable(), timeout=PATIENCE)
    with pytest.raises(TargetMissing):
        build(tmp_path / "none.json").read(disable(), timeout=PATIENCE)
