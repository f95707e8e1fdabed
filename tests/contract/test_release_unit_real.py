"""A release unit over real and different systems: two SSM parameters (moto) and a flag in a flagd file, rolled back as one (D3, S24)."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actions.backends import flagd, ssm
from actions.kinds import Options
from actions.registry import Bound, Registry
from actions.runner import Runner
from actions.together.units import KnownRelease, ReleaseUnits, Unit, UnitPart
from runbooks.operation import Outcome, OutcomeStatus, Plan
from tests.acting import LABELS, NOW, action, runbook
from tests.parts.amazon import built
from tests.parts.moto import Moto, moto
from tests.parts.trouble import Ill, Trouble, troubled

PATH = "/production/answers"
_number = count()
NEW, OLD = ("support-24", "1200", True), ("support-23", "800", False)
BOOK = runbook(
    action(
        **{
            "tier": "R2",
            "uses": "model.rollback",
            "with": {"unit": "answers", "to": "{{ parameters.to }}"},
            "targets": ["answers"],
            "parameters": {"to": {"type": "release", "title": "Release"}},
            "cost": {"money": "none", "quality": "none", "latency": "none"},
        }
    )
)


@pytest.fixture(scope="module")
def aws() -> Iterator[Moto]:
    """AWS's parameters."""
    with moto() as running:
        yield running


class Living:
    """The unit's three settings in their own systems, and a runner that reaches them through what spoils changes."""

    def __init__(self, aws: Moto, trouble: Trouble, folder: Path) -> None:
        number = next(_number)
        self.aws, self.trouble = aws, trouble
        self.prompt, self.tokens, self.file = f"{PATH}/prompt-{number}", f"{PATH}/tokens-{number}", folder / "flags.json"
        self.put(*NEW)
        parts = (
            UnitPart(name="prompt", operation="route.switch", target=self.prompt, argument="route"),
            UnitPart(name="long-answers", operation="flag.set", target="long-answers", argument="on"),
            UnitPart(name="tokens", operation="limit.set", target=self.tokens, argument="value"),
        )
        releases = (self.release("v7.4", NEW, good=False), self.release("v7.3", OLD, good=True))
        far = [
            Bound(name="parameters", backend=built(ssm.KIND, trouble.url, below=[PATH])),
            Bound(name="flags", backend=flagd.KIND.build(Options({"file": str(self.file), "environment": "production"}), {})),
        ]
        unit = Unit(name="answers", parts=parts, releases=lambda: releases)
        units = ReleaseUnits([unit], environment="production", registry=Registry(far))
        whole = Bound(name=units.name, backend=units, targets=frozenset({"answers"}))
        self.runner = Runner(registry=Registry([whole, *far]), now=lambda: NOW)

    def release(self, version: str, values: tuple[str, str, bool], *, good: bool) -> KnownRelease:
        """A known release of the three."""
        prompt, tokens, long = values
        return KnownRelease(version=version, good=good, values={"prompt": prompt, "long-answers": long, "tokens": int(tokens)})

    def put(self, prompt: str, tokens: str, long: bool) -> None:
        """Set all three from outside."""
        for name, value in ((self.prompt, prompt), (self.tokens, tokens)):
            self.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on" if long else "off"}
        self.file.write_text(json.dumps({"flags": {"long-answers": flag}}))

    def stands(self) -> tuple[str, str, bool]:
        """What the services read."""
        values = {name: self.aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] for name in (self.prompt, self.tokens)}
        flag = json.loads(self.file.read_text())["flags"]["long-answers"]
        return values[self.prompt], values[self.tokens], flag["state"] == "ENABLED" and flag["defaultVariant"] == "on"

    def plan(self) -> Plan:
        """The rollback to the last known good release."""
        made = BOOK.action("turn-up")
        assert made is not None
        return self.runner.plan(made, runbook=BOOK, labels=LABELS, parameters={}, environment="production", plan_id="p")

    def roll_back(self, plan: Plan) -> Outcome:
        """The rollback itself."""
        return self.runner.execute(plan, runbook=BOOK, labels=LABELS, key="k")

    def spoil(self, ill: Ill, *, once: bool = False, **more: Any) -> None:
        """Spoil the writing of the second parameter, the last of the three parts; `once` leaves what is put back alone."""
        writes = iter(range(100))
        spoilt = {1} if once else set(range(1, 100))
        self.trouble.which = lambda _method, path: path.endswith("#PutParameter") and next(writes) in spoilt
        self.trouble.ill = ill
        for name, value in more.items():
            setattr(self.trouble, name, value)


@pytest.fixture
def living(aws: Moto, tmp_path: Path) -> Iterator[Living]:
    """The unit at its bad release."""
    with troubled(aws.url) as trouble:
        yield Living(aws, trouble, tmp_path)


def test_a_rollback_over_three_settings_in_two_systems(living: Living) -> None:
    """The plan names the release that runs and every part; afterwards the services read the good release, and after the undo the other."""
    plan = living.plan()
    assert (plan.proposal.before_text, plan.proposal.after_text) == ("release v7.4", "release v7.3")
    assert [part.name for part in plan.proposal.parts] == ["prompt", "long-answers", "tokens"]
    outcome = living.roll_back(plan)
    assert (outcome.status, living.stands()) == (OutcomeStatus.APPLIED, OLD)
    assert outcome.after is not None
    assert outcome.after.value["version"] == "v7.3"
    assert living.runner.undo(plan, after=outcome.after, key="u").status is OutcomeStatus.APPLIED
    assert living.stands() == NEW


def test_a_part_that_is_refused_leaves_both_systems_as_they_were(living: Living) -> None:
    """The last part is refused: the flag and the first parameter are put back, and nothing is changed."""
    plan = living.plan()
    denied = b'{"__type": "AccessDeniedException", "message": "no"}'
    living.spoil(Ill.STATUS, once=True, status=400, body=denied, headers={"content-type": "application/x-amz-json-1.1"})
    outcome = living.roll_back(plan)
    assert (outcome.status, living.stands()) == (OutcomeStatus.REFUSED, NEW)
    assert "Allow it in their policy. Put back as before: long-answers, prompt." in outcome.reason


@pytest.mark.parametrize("ill", [Ill.LOST, Ill.LIED], ids=lambda ill: ill.value)
def test_a_part_that_succeeds_and_says_that_it_failed_is_seen_to_have_come(living: Living, ill: Ill) -> None:
    """The last answer is lost or a lie: the part is looked at, stands as wanted, and the whole took effect."""
    plan = living.plan()
    living.spoil(ill)
    outcome = living.roll_back(plan)
    assert (outcome.status, living.stands()) == (OutcomeStatus.APPLIED, OLD)


def test_a_mixture_left_by_a_broken_link_is_named_and_put_back(living: Living) -> None:
    """The last part never arrives: each part is read, the mixture is named, and putting back restores both systems."""
    plan = living.plan()
    living.spoil(Ill.RESET)
    outcome = living.roll_back(plan)
    living.trouble.ill = Ill.NONE
    assert (outcome.status, living.stands()) == (OutcomeStatus.UNKNOWN, ("support-23", "1200", False))
    looked = living.runner.reconcile(plan)
    assert looked.mixed
    assert "prompt took effect; long-answers took effect; tokens did not." in looked.reason
    assert (living.runner.restore(plan, key="r").status, living.stands()) == (OutcomeStatus.REFUSED, NEW)


def test_a_hand_at_one_part_is_said_and_never_overwritten(living: Living) -> None:
    """Somebody edits the prompt by hand: before the rollback the plan says so; between rollback and undo nothing is overwritten."""
    living.put("support-99", "1200", long=True)
    plan = living.plan()
    assert "prompt was changed by hand" in plan.proposal.note
    assert living.roll_back(plan).status is OutcomeStatus.APPLIED
    living.put("support-100", "800", long=False)
    back = living.runner.undo(plan, after=None, key="u")
    assert back.status is OutcomeStatus.REFUSED
    assert "support-100" in back.reason
    assert living.stands() == ("support-100", "800", False)
