"""HAProxy without HAProxy: its options, its files, and the contract over its socket's documented language."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.backends.haproxy import KIND, RuntimeSocket
from actions.contract import OutcomeUnknown, TargetMissing, Unreachable
from actions.kinds import Options
from actions.testing import CHECKS, TIMEOUT, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call
from tests.parts.haproxy import Meddling, meddled
from tests.parts.trouble import Ill


class Documented:
    """What HAProxy 2.6 answers to the commands that Muster uses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries = {"answers": "answers-6"}

    def __call__(self, command: str) -> str:
        words = command.split(" ")
        if words[:2] == ["show", "stat"]:
            rows = "".join(f"answers-{number},BACKEND,UP,1,0,\n" for number in (1, 3, 6))
            return f"# pxname,svname,status,act,bck,\n{rows}\n"
        if words[:2] == ["show", "info"]:
            return "Name: HAProxy\nVersion: 2.6.12\n\n"
        if words[2] != self.name:
            return "Unknown map identifier. Please use #<id> or <file>.\n\n"
        if words[0] == "show":
            return "".join(f"0x55d0 {key} {value}\n" for key, value in self.entries.items()) + "\n"
        if words[3] not in self.entries:
            return "entry not found.\n\n"
        self.entries[words[3]] = words[4]
        return "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "retries.map"
    found.write_text("# comment\nanswers answers-6\n")
    return found


@pytest.fixture
def spoken(path: Path) -> Iterator[tuple[Documented, Meddling]]:
    """HAProxy's language, and the socket at which it is spoken."""
    far_side = Documented(str(path))
    with meddled(far_side) as between:
        yield far_side, between


def cap(*, target: str = "answers", attempts: int = 1) -> Call:
    """Cap the attempts."""
    return Call(operation="retries.cap", target=target, arguments={"target": target, "attempts": attempts})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_documented_language_keeps_the_contract(check: Check, path: Path, spoken: tuple[Documented, Meddling]) -> None:
    """Every check passes over the socket's documented language, and the map's file follows."""
    far_side, between = spoken

    def change_outside(value: Any) -> None:
        far_side.entries["answers"] = f"answers-{value['attempts']}"

    check(
        Subject(
            backend=KIND.build(Options({"socket": between.socket, "retries": str(path)}), {}),
            call=cap(),
            missing=cap(target="nobody"),
            other={"attempts": 3},
            change_outside=change_outside,
            invalid=cap(attempts=2),
            atomic=False,
        )
    )
    assert path.read_text().startswith("# comment\nanswers answers-")


def test_a_file_that_cannot_be_written_afterwards_is_said(path: Path, spoken: tuple[Documented, Meddling]) -> None:
    """If the line is gone from the file once HAProxy has changed, the sentence says that a reload would take it back."""
    far_side, _ = spoken

    def and_then(command: str) -> str:
        answer = far_side(command)
        if command.startswith("show map") and far_side.entries["answers"] == "answers-1":
            path.write_text("# nothing left\n")
        return answer

    with meddled(and_then) as between:
        backend = KIND.build(Options({"socket": between.socket, "retries": str(path)}), {})
        reading = backend.read(cap(), timeout=TIMEOUT)
        with pytest.raises(OutcomeUnknown, match="HAProxy uses it, but its file was not written, so a reload would take it back"):
            backend.apply(cap(), {"attempts": 1}, expected=reading, key="k", timeout=TIMEOUT)


@pytest.mark.parametrize("ill", [Ill.HANG, Ill.RESET, Ill.LOST])
def test_an_answer_that_does_not_come_is_never_taken_for_one(ill: Ill, spoken: tuple[Documented, Meddling]) -> None:
    """A command without a whole answer is unknown, within the time limit."""
    _, between = spoken
    between.ill, between.which = ill, lambda _command: True
    with pytest.raises(OutcomeUnknown):
        RuntimeSocket(address=between.socket).ask("show info", timeout=0.3)


@pytest.mark.parametrize("address", ["/nowhere/haproxy.sock", "127.0.0.1:1"])
def test_a_socket_that_is_not_there_is_certain(address: str) -> None:
    """Where no connection is made nothing was sent."""
    with pytest.raises(Unreachable, match="nothing was sent"):
        RuntimeSocket(address=address).ask("show info", timeout=1)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"socket": "haproxy.sock"}, "socket"),
        ({"socket": "10.0.0.4:9999"}, "socket"),
        ({"retries": "retries.map"}, "retries"),
        ({"retries": "/etc/haproxy/a b.map"}, "retries"),
        ({"retries": "/etc/a;disable"}, "retries"),
        ({"retries": None}, "retries"),
        ({"levels": "answers"}, "levels"),
        ({"levels": "{target} {attempts}"}, "levels"),
        ({"persist": "no"}, "persist"),
    ],
)
def test_a_wrong_option_is_named(changed: dict[str, Any], field: str) -> None:
    """Each option that cannot be used is named with what to write."""
    with pytest.raises(SettingsInvalid) as refused:
        KIND.build(Options({"socket": "/run/haproxy.sock", "retries": "/etc/haproxy/retries.map", **changed}), {})
    assert refused.value.problems[0].field == f"backends.{field}"


def test_a_socket_elsewhere_needs_trust(path: Path) -> None:
    """A runtime socket on another machine is used only where somebody says that it may be trusted."""
    built = KIND.build(Options({"socket": "10.0.0.4:9999", "retries": str(path), "trusted": True}), {})
    assert {one.name for one in built.operations} == {"retries.cap"}


def test_an_unknown_map_is_named(tmp_path: Path, spoken: tuple[Documented, Meddling]) -> None:
    """A map that HAProxy was not started with is missing, and the probe finds that, too."""
    other = tmp_path / "other.map"
    other.write_text("answers answers-6\n")
    backend = KIND.build(Options({"socket": spoken[1].socket, "retries": str(other)}), {})
    for asks in (lambda: backend.read(cap(), timeout=TIMEOUT), lambda: backend.probe(timeout=TIMEOUT)):
        with pytest.raises(TargetMissing, match=r"HAProxy has no map .*other\.map"):
            asks()
