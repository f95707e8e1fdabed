"""SSM parameters, against moto; what a service reads of them is asked through a client of its own."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from actions.backends.ssm import KIND
from actions.contract import CallInvalid, OutcomeUnknown
from actions.planning import PlanRefused
from actions.testing import CHECKS, Check, Subject
from runbooks.errors import SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.parts.amazon import PATIENT, TROUBLES, act, built, check_class, check_trouble, documented
from tests.parts.moto import Moto, moto
from tests.parts.trouble import Ill, troubled

PATH = "/production/answers"
_number = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Moto]:
    with moto() as running:
        yield running


@pytest.fixture
def limit(aws: Moto) -> str:
    """A parameter that holds 1200."""
    return made(aws, "1200")


def made(aws: Moto, value: str, **more: Any) -> str:
    """A fresh parameter."""
    name = f"{PATH}/parameter-{next(_number)}"
    aws.client("ssm").put_parameter(Name=name, Value=value, **{"Type": "String", **more})
    return name


def outside(aws: Moto, name: str) -> str:
    """What a service reads."""
    return str(aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def write(aws: Moto, name: str, value: str) -> None:
    """What another person would do."""
    aws.client("ssm").put_parameter(Name=name, Value=value, Overwrite=True)


def backend(url: str, **more: Any) -> Any:
    return built(KIND, url, below=[PATH], **more)


def cap(name: str, value: float = 600) -> Call:
    return Call(operation="limit.set", target=name, arguments={"target": name, "value": value})


def route(name: str, to: str = "backup") -> Call:
    return Call(operation="route.switch", target=name, arguments={"target": name, "route": to})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_setting_a_limit_keeps_the_contract(check: Check, aws: Moto, limit: str) -> None:
    """Writing a number passes every check."""
    check(
        Subject(
            backend=backend(aws.url, bounds={limit: {"minimum": 100, "maximum": 4000}}),
            call=cap(limit),
            missing=cap(f"{PATH}/nothing"),
            other={"value": 300},
            change_outside=lambda value: write(aws, limit, str(value["value"])),
            invalid=cap(limit, 99),
            atomic=False,
        )
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_switching_a_route_keeps_the_contract(check: Check, aws: Moto) -> None:
    """Writing a text passes every check."""
    name = made(aws, "primary")
    check(
        Subject(
            backend=backend(aws.url, choices={name: ["primary", "backup", "cached"]}),
            call=route(name),
            missing=route(f"{PATH}/nothing"),
            other={"route": "cached"},
            change_outside=lambda value: write(aws, name, value["route"]),
            invalid=route(name, "nowhere"),
            atomic=False,
        )
    )


def test_a_service_reads_the_new_limit_and_the_old_one_again(aws: Moto, limit: str) -> None:
    """The number written is what a service reads, without a fraction, and the undo puts back what stood there."""
    story = act(backend(aws.url), cap(limit))
    plan = story.plan()
    assert plan.proposal.step == "1,200 → 600"
    done = story.execute(plan)
    assert done.status is OutcomeStatus.APPLIED, done.reason
    assert outside(aws, limit) == "600"
    assert story.undo(plan, after=done.after).status is OutcomeStatus.APPLIED
    assert outside(aws, limit) == "1200"


@pytest.mark.parametrize(("value", "text"), [(0.25, "0.25"), (7.0, "7"), (0, "0"), (1e6, "1000000")])
def test_a_number_is_written_as_a_service_would_write_it(value: float, text: str, aws: Moto, limit: str) -> None:
    """Whole numbers are written without a fraction or an exponent."""
    story = act(backend(aws.url), cap(limit, value))
    assert story.execute(story.plan()).status is OutcomeStatus.APPLIED
    assert outside(aws, limit) == text


def test_description_and_pattern_stay(aws: Moto) -> None:
    """A change leaves the parameter's description and pattern as they are."""
    name = made(aws, "1200", Description="Tokens of one answer", AllowedPattern="[0-9]+")
    story = act(backend(aws.url), cap(name))
    assert story.execute(story.plan()).status is OutcomeStatus.APPLIED
    found = aws.client("ssm").describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])["Parameters"][0]
    assert (found["Description"], found["AllowedPattern"], found["Version"]) == ("Tokens of one answer", "[0-9]+", 2)


def test_what_the_parameters_own_pattern_forbids_is_refused(aws: Moto) -> None:
    """A value that the pattern does not allow gives no plan."""
    name = made(aws, "1200", AllowedPattern="[0-9]{4}")
    with pytest.raises(PlanRefused, match="takes only what its pattern"):
        act(backend(aws.url), cap(name)).plan()


@pytest.mark.parametrize("kind", ["SecureString", "StringList"])
def test_only_plain_parameters_are_touched(kind: str, aws: Moto) -> None:
    """An encrypted parameter and a list are refused, and nothing of the secret is shown."""
    name = made(aws, "hunter2", Type=kind)
    with pytest.raises(
        PlanRefused, match="encrypted, and secrets are not changed" if kind == "SecureString" else "a StringList"
    ) as refused:
        act(backend(aws.url), route(name)).plan()
    assert "hunter2" not in str(refused.value)


def test_a_text_is_no_limit(aws: Moto) -> None:
    """A parameter that holds no number has no limit to set."""
    with pytest.raises(PlanRefused, match="holds 'primary', which is no number"):
        act(backend(aws.url), cap(made(aws, "primary"))).plan()


@pytest.mark.parametrize("value", ["{{ssm:/production/other}}", "a\nb", "x" * 4097])
def test_s29_a_hostile_value_is_refused(value: str, aws: Moto) -> None:
    """A reference to another parameter, several lines and what is too long are not written."""
    known = backend(aws.url)
    before = known.read(route(made(aws, "primary")), timeout=PATIENT)
    with pytest.raises(CallInvalid):
        known.propose(route("x", value), before)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/production/other/x",
        "/production/answersx/y",
        f"{PATH}/../other",
        f"{PATH}/a b",
        f"{PATH}/x:1",
        f"{PATH}",
        "production/answers/x",
    ],
)
def test_s29_only_the_configured_paths_are_reached(name: str, aws: Moto) -> None:
    """What is not below a configured path, or names a version, is refused before anything is sent."""
    with pytest.raises(CallInvalid):
        backend(aws.url).read(cap(name), timeout=PATIENT)


def test_the_version_that_was_written_bears_the_label(aws: Moto, limit: str) -> None:
    """With a label configured, the version that Muster wrote can be found by it, and the label moves on with the next."""
    story = act(backend(aws.url, label="muster"), cap(limit))
    plan = story.plan()
    done = story.execute(plan)
    assert outside(aws, f"{limit}:muster") == "600"
    story.undo(plan, after=done.after)
    assert outside(aws, f"{limit}:muster") == "1200"


def test_a_label_that_cannot_be_set_is_no_failure(aws: Moto, limit: str) -> None:
    """The change stands and is said to, although labelling is not allowed."""
    with troubled(aws.url) as trouble:
        story = act(backend(trouble.url, label="muster"), cap(limit))
        plan = story.plan()
        trouble.which = lambda _method, path: path.endswith("#LabelParameterVersion")
        trouble.ill, trouble.status = TROUBLES["denied"].ill, 403
        assert story.execute(plan).status is OutcomeStatus.APPLIED
    assert outside(aws, limit) == "600"


def test_someone_faster_by_a_moment_is_named(aws: Moto, limit: str) -> None:
    """A write between our look and our write cannot be prevented here, but is noticed and said with what was overwritten."""
    with troubled(aws.url) as trouble:
        known = backend(trouble.url)
        before = known.read(cap(limit), timeout=PATIENT)

        def in_between(_method: str, path: str) -> bool:
            if path.endswith("#PutParameter"):
                write(aws, limit, "300")
            return False

        trouble.which = in_between
        with pytest.raises(OutcomeUnknown, match=r"Someone else set .* to 300 in the same moment \(version 2\), and ours overwrote it"):
            known.apply(cap(limit), {"value": 600}, expected=before, key="k", timeout=PATIENT)
    assert outside(aws, limit) == "600"


def test_someone_who_deleted_it_in_the_same_moment_is_named(aws: Moto, limit: str) -> None:
    """A write makes a parameter anew that was deleted between our look and it: nobody is told that all is well."""
    with troubled(aws.url) as trouble:
        known = backend(trouble.url)
        write(aws, limit, "1300")
        before = known.read(cap(limit), timeout=PATIENT)

        def in_between(_method: str, path: str) -> bool:
            if path.endswith("#PutParameter"):
                aws.client("ssm").delete_parameter(Name=limit)
            return False

        trouble.which = in_between
        with pytest.raises(OutcomeUnknown, match=r"Someone else deleted .* made it anew \(version 1, 600\)"):
            known.apply(cap(limit), {"value": 600}, expected=before, key="k", timeout=PATIENT)


def test_an_answer_without_a_version_leaves_it_unknown(aws: Moto, limit: str) -> None:
    """A change that was made and answered with something else is never called refused, and never ends in a crash."""
    with troubled(aws.url) as trouble:
        known = backend(trouble.url)
        before = known.read(cap(limit), timeout=PATIENT)
        trouble.which = lambda _method, path: path.endswith("#PutParameter")
        trouble.ill, trouble.status, trouble.body = Ill.STATUS, 200, b"<html>"
        with pytest.raises(OutcomeUnknown, match="cannot be read"):
            known.apply(cap(limit), {"value": 600}, expected=before, key="k", timeout=PATIENT)


class Store:
    """One parameter, as the documentation describes the answers about it. `pages` are the empty ones that come before its description."""

    def __init__(self, *, tier: str = "Standard", pages: int = 0) -> None:
        self.tier, self.pages, self.value, self.version = tier, pages, "1200", 1
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The documented answer."""
        self.asked.append((operation, asked))
        if operation == "PutParameter":
            self.value, self.version = asked["Value"], self.version + 1
            return {"Version": self.version, "Tier": self.tier}
        if operation == "DescribeParameters" and int(asked.get("NextToken", 0)) < self.pages:
            return {"Parameters": [], "NextToken": str(int(asked.get("NextToken", 0)) + 1)}
        about = {"Name": PATH + "/limit", "Type": "String", "Version": self.version}
        if operation == "DescribeParameters":
            return {"Parameters": [{**about, "Tier": self.tier}]}
        return {"Parameter": {**about, "Value": self.value, "DataType": "text"}}


def test_a_page_without_entries_is_not_the_last() -> None:
    """AWS may answer an empty page that leads to the next: the parameter is there all the same."""
    store = Store(pages=2)
    with documented(store.answer) as url:
        assert backend(url).read(cap(PATH + "/limit"), timeout=PATIENT).value == {"value": 1200}
    assert [asked.get("NextToken") for operation, asked in store.asked if operation == "DescribeParameters"] == [None, "1", "2"]


@pytest.mark.parametrize(("tier", "named"), [("Advanced", "Advanced"), ("Standard", None)])
def test_a_parameter_of_the_advanced_tier_stays_one(tier: str, named: str | None) -> None:
    """AWS refuses to set a tier back, so the write names it; one of the standard tier is left to the account's default."""
    store = Store(tier=tier)
    with documented(store.answer) as url:
        story = act(backend(url), cap(PATH + "/limit"))
        assert story.execute(story.plan()).status is OutcomeStatus.APPLIED
    assert [asked.get("Tier") for operation, asked in store.asked if operation == "PutParameter"] == [named]


def test_a_value_that_aws_checks_later_is_refused(aws: Moto) -> None:
    """A parameter of another data type is written first and refused afterwards, where nobody looks: it is left alone."""
    name = made(aws, "ami-12345678", DataType="aws:ec2:image")
    with pytest.raises(PlanRefused, match="data type aws:ec2:image"):
        act(backend(aws.url), route(name)).plan()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_written(value: float, aws: Moto, limit: str) -> None:
    """No bounds are needed to refuse it."""
    known = backend(aws.url)
    with pytest.raises(CallInvalid, match="takes a number"):
        known.propose(cap(limit, value), known.read(cap(limit), timeout=PATIENT))


@pytest.mark.slow
@pytest.mark.parametrize("row", TROUBLES.values(), ids=TROUBLES)
def test_every_trouble_with_a_parameter_is_told_as_it_is(row: Any, aws: Moto) -> None:
    """Whatever goes wrong with the change, the error, the sentence and the later look are true, and it is sent once."""
    with troubled(aws.url) as trouble:
        known = backend(trouble.url)
        check_trouble(row, act(known, cap(made(aws, "1200"))), trouble, operation="PutParameter")
        check_class(row, known, route(made(aws, "primary")), trouble, operation="PutParameter")


def test_someone_elses_value_between_plan_and_click_stops_it(aws: Moto, limit: str) -> None:
    """A parameter that was changed and changed back after the plan is left alone: its version tells."""
    story = act(backend(aws.url), cap(limit))
    plan = story.plan()
    write(aws, limit, "300")
    write(aws, limit, "1200")
    refused = story.execute(plan)
    assert refused.status is OutcomeStatus.REFUSED
    assert f"{limit} was changed and changed back since the plan was made" in refused.reason
    assert outside(aws, limit) == "1200"


def test_someone_elses_value_between_run_and_undo_is_not_overwritten(aws: Moto, limit: str) -> None:
    """An undo leaves a value alone that somebody wrote after the run."""
    story = act(backend(aws.url), cap(limit))
    plan = story.plan()
    done = story.execute(plan)
    write(aws, limit, "300")
    refused = story.undo(plan, after=done.after)
    assert refused.status is OutcomeStatus.REFUSED
    assert "now it is: 300. It was not overwritten." in refused.reason
    assert outside(aws, limit) == "300"


def test_a_probe_says_who_we_are(aws: Moto) -> None:
    """The probe names the identity and what may be seen, and changes nothing."""
    assert "may see parameters" in backend(aws.url).probe(timeout=PATIENT)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("below", []), ("below", ["/"]), ("below", ["production"]), ("below", ["/a b"]), ("label", "aws-x"), ("label", "1x"),
        ("bounds", {"/x": {"minimum": 2, "maximum": 1}}), ("bounds", {"/x": {"minimum": 2}}), ("bounds", {"/x": 3}),
        ("choices", {"/x": []}), ("choices", {"/x": "backup"}),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(field: str, given: Any) -> None:
    """An option that cannot be meant stops the start and names the field."""
    with pytest.raises(SettingsInvalid, match=field):
        built(KIND, "http://127.0.0.1:1", **{"below": [PATH], field: given})
