from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.contract import CallInvalid, Probing
from actions.kinds import Options
from actions.toolkit import marks, releases
from actions.toolkit.marks import Marked, Marks
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, Reading

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def release(number: int, **more: Any) -> Marked:
    return Marked(version=f"v{number}", order=number, at=NOW, **more)


def reading(*every: Marked, present: Marked) -> Reading:
    return Reading(value={"version": present.version}, facts=marks.facts(every, present=present))


def to(wanted: str = marks.LAST_KNOWN_GOOD) -> Call:
    return Call(operation="model.rollback", target="answers", arguments={"unit": "answers", "to": wanted})


@pytest.mark.parametrize(
    ("tags", "least", "good"),
    [
        ({}, None, None),
        ({"evaluation_score": "0.99"}, None, None),
        ({"evaluation_score": "0.9"}, 0.9, True),
        ({"evaluation_score": "0.89"}, 0.9, False),
        ({"evaluation_score": "nan"}, 0.9, None),
        ({"evaluation_score": "high"}, 0.9, None),
        ({"validation_status": "Approved"}, None, True),
        ({"validation_status": " passed "}, None, True),
        ({"validation_status": "rejected"}, None, False),
        ({"validation_status": "pending"}, None, False),
        ({"validation_status": ""}, None, None),
        ({"validation_status": "approved", "evaluation_score": "0.5"}, 0.9, False),
        ({"validation_status": "rejected", "evaluation_score": "0.99"}, 0.9, False),
        ({"validation_status": "approved"}, 0.9, True),
    ],
)
def test_good_is_what_the_marks_say(tags: dict[str, str], least: float | None, good: bool | None) -> None:
    """A word decides, a score must reach the least one where there is one, and without marks nothing is known."""
    assert Marks(minimum_score=least).release("v1", order=1, at=None, tags=tags).good is good


def test_the_last_known_good_one_is_older_than_the_present() -> None:
    """Rolling back never goes forward, however good a newer release is."""
    every = [release(1, good=True), release(2), release(3, good=False), release(5, good=True)]
    assert marks.rollback(to(), reading(*every, present=release(4))).value == {"version": "v1"}
    with pytest.raises(CallInvalid, match="nothing to roll back to"):
        marks.rollback(to(), reading(*every, present=release(1, good=True)))


def test_ten_are_shown_and_the_good_one_is_among_them() -> None:
    """Of many releases ten are offered, newest first, and the one to go back to is never cut off."""
    every = [release(1, good=True), *(release(number) for number in range(2, 31))]
    facts = marks.facts(every, present=release(30))
    shown = [one["version"] for one in facts["releases"]]
    assert len(shown) == marks.MOST
    assert (shown[0], shown[-1]) == ("v30", "v1")
    assert len(facts["versions"]) == 30


def test_a_bad_release_is_refused_although_it_is_not_shown() -> None:
    """Ten are shown; one that is marked as bad and lies behind them is refused all the same."""
    every = [release(1, good=True), release(2, good=False), *(release(number) for number in range(3, 31))]
    found = reading(*every, present=release(30))
    assert "v2" not in [one["version"] for one in found.facts["releases"]]
    with pytest.raises(CallInvalid, match="v2 of answers is marked as bad"):
        marks.rollback(to("v2"), found)


def test_a_release_whose_marks_nobody_read_is_refused() -> None:
    """That nothing is known of it is only true of what was looked at; one that was not may be a bad one."""
    found = reading(release(1, read=False), release(2), present=release(3))
    with pytest.raises(CallInvalid, match="v1 of answers is too far from v3"):
        marks.rollback(to("v1"), found)
    assert marks.rollback(to("v2"), found).note == "Nothing says whether it is good."


def test_what_is_shown_can_be_chosen_from() -> None:
    """The facts are what `actions.toolkit.releases` reads: only the known good ones are candidates."""
    found = reading(release(1, good=True, score=0.9), release(2), release(3, good=False), present=release(4))
    assert [one.version for one in releases.known(found)] == ["v4", "v3", "v2", "v1"]
    assert [one.version for one in releases.candidates(found)] == ["v1"]


def test_a_named_release_is_taken_unless_it_is_bad() -> None:
    """A person may name a release of which nothing is known, and reads so; a bad or missing one is refused."""
    found = reading(release(1), release(2, good=False, note="rejected"), present=release(3))
    assert marks.rollback(to("v1"), found).note == "Nothing says whether it is good."
    with pytest.raises(CallInvalid, match=r"marked as bad \(rejected\)"):
        marks.rollback(to("v2"), found)
    with pytest.raises(CallInvalid, match="there are v3, v2, v1"):
        marks.rollback(to("v9"), found)


def test_s19_a_note_from_outside_is_redacted_and_short() -> None:
    """Words that somebody left at the far side are cut and hide what looks like a secret."""
    made = Marks().release("v1", order=1, at=None, tags={}, note="token=abcdefghijklmnop " + "x" * 500)
    assert "abcdefghijklmnop" not in made.note
    assert len(made.note) <= 160


@pytest.mark.parametrize(("field", "given"), [("minimum_score", "0.9"), ("minimum_score", True), ("good", "yes"), ("status_tag", 3)])
def test_a_wrong_mark_is_named(field: str, given: Any) -> None:
    """An option of the wrong type stops the start and names the field."""
    with pytest.raises(SettingsInvalid, match=field):
        marks.marks(Options({field: given}))


@pytest.mark.parametrize("name", ["autoscaling", "ecs", "mlflow", "sagemaker", "ssm"])
def test_the_example_on_each_page_is_a_configuration(name: str) -> None:
    """What docs/backends shows builds the backend as it stands: no option unknown, none missing, bound to its environment."""
    kind = import_module(f"actions.backends.{name}").KIND
    page = (Path(__file__).parents[4] / "docs" / "backends" / f"{name}.md").read_text()
    (example,) = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["backends"].values()
    assert example.pop("kind") == kind.name == name
    secrets = {secret: lambda: "t" for secret in example.pop("secrets", {})}
    example.pop("operations", None)
    options = Options(example)
    options.only(kind.options)
    backend = kind.build(options, secrets)
    assert backend.environment == "production"
    assert isinstance(backend, Probing)
