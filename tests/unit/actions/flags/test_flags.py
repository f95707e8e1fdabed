"""What every flag system has in common: names, on and off, times, and refusals that help."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.backends import flagd, flagsmith, growthbook, launchdarkly, unleash
from actions.contract import CallInvalid, NotPermitted, Unreachable
from actions.kinds import BackendKind, Options
from actions.operations import SHARED
from actions.toolkit.flags import OPERATIONS, entry, flag_name, moment, rows, text, wanted
from runbooks.errors import MusterError, SettingsInvalid
from runbooks.operation import Call, Reading
from tests.parts.flagging import disable, switch
from tests.parts.vendor import Answered, serving

REMOTE = {
    "unleash": (unleash.KIND, {}),
    "launchdarkly": (launchdarkly.KIND, {"project": "shop"}),
    "flagsmith": (flagsmith.KIND, {"environment_key": "key"}),
    "growthbook": (growthbook.KIND, {}),
}
remote = pytest.mark.parametrize(("kind", "more"), REMOTE.values(), ids=REMOTE)


@pytest.mark.parametrize("name", ["long-answers", "a.b_c:d|e", "Größe", "two words", "a%2fb", "...x", "x" * 200])
def test_a_flags_key_is_taken_as_it_is(name: str) -> None:
    """Whatever vendors allow in a key is allowed here."""
    assert flag_name(disable(name)) == name


@pytest.mark.parametrize("name", ["", " ", ".", "..", "...", "a/b", "/", "a\\b", "a\nb", "a\x00b", "a\u2028b", "a\u202eb", "x" * 201])
def test_what_is_no_key_is_refused_in_words(name: str) -> None:
    """Slashes, dots alone, control and direction characters, emptiness and length are refused with the form that is wanted."""
    with pytest.raises(CallInvalid, match="write the flag's key alone, such as long-answers"):
        flag_name(disable(name))


def test_no_target_is_no_flag() -> None:
    """A call without a target names no flag."""
    with pytest.raises(CallInvalid):
        flag_name(Call(operation="flag.disable"))


def test_on_and_off_are_what_the_call_says() -> None:
    """Disabling is off; setting is what `on` says."""
    assert (wanted(disable()), wanted(switch(on=True)), wanted(switch(on=False))) == (False, True, False)


@pytest.mark.parametrize("call", [switch(on="true"), switch(on=1), switch(on=None), Call(operation="cluster.scale", target="x")])
def test_neither_on_nor_off_is_refused(call: Call) -> None:
    """A text, a number, nothing, or another operation is no answer to on or off."""
    with pytest.raises(CallInvalid, match="neither on nor off"):
        wanted(call)


def test_the_operations_are_the_shared_ones() -> None:
    """A runbook's flag.disable means the same for every flag system."""
    assert {one.name: one for one in OPERATIONS} == {name: SHARED[name] for name in ("flag.disable", "flag.set")}


@pytest.mark.parametrize(
    ("found", "at"),
    [
        ("2026-11-20T02:00:00.500Z", datetime(2026, 11, 20, 2, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20T04:00:00+02:00", datetime(2026, 11, 20, 2, tzinfo=UTC)),
        ("2026-11-20T02:00:00", datetime(2026, 11, 20, 2, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1500, datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        ("yesterday", None),
        (10**30, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_times_of_vendors_become_aware(found: Any, at: datetime | None) -> None:
    """ISO times and milliseconds become aware times in UTC; anything else is no time."""
    assert moment(found) == at


def test_what_is_not_there_is_nothing() -> None:
    """Reading strange JSON gives None and empty lists, never an error."""
    strange = {"a": {"b": [1]}, "c": "", "d": 5}
    assert (entry(strange, "a", "b"), entry(strange, "a", "x", "y"), entry(5, "a"), entry(strange)) == ([1], None, None, strange)
    assert (rows(strange, "a", "b"), rows(strange, "c"), rows(None, "a"), rows([2])) == ([1], [], [], [2])
    assert (text(strange["c"]), text(5), text("ben")) == (None, None, "ben")


@remote
def test_a_token_that_cannot_be_read_is_said_and_nothing_is_sent(kind: BackendKind, more: dict[str, Any]) -> None:
    """Where the secret's place is empty, the sentence names the place; the far side is not asked."""

    def unreadable() -> str:
        raise MusterError("the environment variable FLAGS_TOKEN is not set; set it to the secret and try again")

    asked = []
    with serving(lambda one: asked.append(one) or Answered()) as url:
        backend = kind.build(Options({"url": url, "environment": "production", **more}), {"token": unreadable})
        with pytest.raises(NotPermitted, match=r"cannot be read: the environment variable FLAGS_TOKEN is not set"):
            backend.read(disable(), timeout=5)
    assert asked == []


@remote
def test_the_token_is_read_anew_for_each_request(kind: BackendKind, more: dict[str, Any]) -> None:
    """A rotated token is used at once (rule S18), and stands in no sentence."""
    numbers = count(1)
    seen: list[str] = []
    with serving(lambda one: seen.append(one.headers["authorization"]) or Answered(status=401, body={"message": "no"})) as url:
        backend = kind.build(Options({"url": url, "environment": "production", **more}), {"token": lambda: f"secret-token-{next(numbers)}"})
        for _ in range(2):
            with pytest.raises(NotPermitted) as refused:
                backend.read(disable(), timeout=5)
            assert "secret-token" not in str(refused.value)
    assert [one.rpartition(" ")[2] for one in seen] == [f"secret-token-{number}" for number in range(1, len(seen) + 1)]
    assert len(seen) >= 2
    assert "secret-token" not in repr(backend)


@remote
def test_each_kind_is_bound_to_an_environment(kind: BackendKind, more: dict[str, Any]) -> None:
    """Without an environment no backend is built that changes flags, and an unknown option is refused."""
    with pytest.raises(SettingsInvalid, match="environment"):
        kind.build(Options({"url": "http://127.0.0.1:1", **more}), {"token": lambda: "t"})
    with pytest.raises(SettingsInvalid, match="enviroment"):
        Options({"enviroment": "x"}).only(kind.options)
    assert "environment" in kind.options


@remote
def test_a_far_side_that_is_down_is_said_to_be_unreachable(kind: BackendKind, more: dict[str, Any]) -> None:
    """Where nobody listens, nothing was sent, for a look and for a change alike."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        backend = kind.build(Options({"url": url, "environment": "production", **more}), {"token": lambda: "t"})
        with pytest.raises(Unreachable, match="cannot be reached; nothing was sent"):
            backend.read(disable(), timeout=5)
        with pytest.raises(Unreachable, match="cannot be reached; nothing was sent"):
            backend.apply(disable(), False, expected=Reading(value=True), key="k", timeout=5)


class Scripted:
    """An Unleash that answers by path, for what a real one does not do on demand."""

    def __init__(self, **answers: Answered) -> None:
        self.answers = answers

    def __call__(self, asked: Any) -> Answered:
        return self.answers["events" if asked.parts[-1] == "events" else "feature"]


FEATURE = Answered(body={"name": "long-answers", "environments": [{"name": "production", "enabled": True, "strategies": [{}]}]})


def event(number: int, **changed: Any) -> dict[str, Any]:
    """An event that switched the flag in production."""
    usual = {"type": "feature-environment-enabled", "featureName": "long-answers", "environment": "production", "createdBy": "ana"}
    return {"id": number, **usual, "createdAt": "2026-11-20T02:00:00.000Z", **changed}


@pytest.fixture
def scripted() -> Iterator[Any]:
    """Builds an Unleash backend before a scripted server."""
    opened = []

    def build(**answers: Answered) -> Any:
        server = serving(Scripted(**answers))
        opened.append(server)
        options = Options({"url": server.__enter__(), "environment": "production"})
        return unleash.KIND.build(options, {"token": lambda: "t"})

    yield build
    for server in opened:
        server.__exit__(None, None, None)


@pytest.mark.parametrize("status", [403, 404])
def test_an_unleash_that_shows_no_events_is_compared_by_value(status: int, scripted: Any) -> None:
    """An older Unleash, or a token without the right to see events, still lets flags be read; who switched them stays unknown."""
    read = scripted(feature=FEATURE, events=Answered(status=status)).read(disable(), timeout=5)
    assert (read.value, read.revision, read.changed_by, read.changed_at) == (True, None, None, None)


def test_only_switches_of_this_flag_here_count(scripted: Any) -> None:
    """Events of other flags, environments and kinds, which an older Unleash sends along, are not taken for a switch."""
    events = [
        event(9, environment="development", createdBy="eve"),
        event(8, featureName="long-answers-2", createdBy="eve"),
        event(7, type="feature-strategy-update", createdBy="eve"),
        event(3, createdBy="bob"),
        event(5, type="feature-environment-disabled"),
        "rubbish",
        {"id": None},
    ]
    read = scripted(feature=FEATURE, events=Answered(body={"events": events})).read(disable(), timeout=5)
    assert (read.revision, read.changed_by) == ("5", "ana")
    assert read.changed_at == datetime(2026, 11, 20, 2, tzinfo=UTC)
    never = scripted(feature=FEATURE, events=Answered(body={"events": []})).read(disable(), timeout=5)
    assert (never.revision, never.changed_by) == ("never switched", None)


@pytest.mark.parametrize(
    "permission", [{"permission": "ADMIN"}, {"permission": "UPDATE_FEATURE_ENVIRONMENT", "project": "default", "environment": "production"}]
)
def test_the_check_sees_the_permission(permission: dict[str, str]) -> None:
    """`muster check` takes the permission for this project and environment, or all of them, for enough."""
    with serving(_account(permission)) as url:
        backend = unleash.KIND.build(Options({"url": url, "environment": "production"}), {"token": lambda: "t"})
        assert backend.probe(timeout=5) == "signed in to Unleash as muster, may switch flags of project default in production"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "permission",
    [
        {"permission": "READ_PROJECT"},
        {"permission": "UPDATE_FEATURE_ENVIRONMENT", "project": "default", "environment": "development"},
        {"permission": "UPDATE_FEATURE_ENVIRONMENT", "project": "other", "environment": "production"},
    ],
)
def test_the_check_sees_a_missing_permission(permission: dict[str, str]) -> None:
    """`muster check` says which permission is missing when it is there for another place or not at all."""
    with serving(_account(permission)) as url:
        backend = unleash.KIND.build(Options({"url": url, "environment": "production"}), {"token": lambda: "t"})
        with pytest.raises(NotPermitted, match="lacks the permission to enable and disable flags"):
            backend.probe(timeout=5)  # type: ignore[attr-defined]


def _account(permission: dict[str, str]) -> Any:
    def answer(asked: Any) -> Answered:
        if asked.parts[-1] == "user":
            return Answered(body={"user": {"username": "muster"}, "permissions": [permission]})
        return Answered(body={"environments": [{"environment": "production"}]})

    return answer


@pytest.mark.parametrize("kind", [*(kind for kind, _ in REMOTE.values()), flagd.KIND], ids=lambda kind: kind.name)
def test_the_example_on_each_page_is_a_configuration(kind: BackendKind) -> None:
    """What docs/backends shows builds the backend as it stands: no option unknown, none missing, bound to its environment."""
    page = (Path(__file__).parents[4] / "docs" / "backends" / f"{kind.name}.md").read_text()
    example = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["backends"]["flags"]
    assert example.pop("kind") == kind.name
    secrets = {name: lambda: "t" for name in example.pop("secrets", {})}
    options = Options(example)
    options.only(kind.options)
    assert kind.build(options, secrets).environment == "production"
