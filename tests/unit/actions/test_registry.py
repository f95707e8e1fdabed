from typing import Any

import pytest

from actions.backends.manual import ASKED, Manual
from actions.backends.metrics import Metrics
from actions.kinds import BackendKind, Options, build, declared, installed
from actions.operations import SHARED
from actions.registry import Bound, Registry, RegistryInvalid
from actions.runner import Runner
from actions.testing import ASK, SET, RecordingBackend
from actions.worlds import confined
from runbooks.errors import NotFound, SettingsInvalid
from runbooks.operation import Call, OutcomeStatus
from tests.acting import LABELS, NOW, action, runbook


def test_our_backends_come_by_entry_point() -> None:
    """Every shipped backend is found by the same door as a stranger's."""
    assert set(installed()) >= {"http", "manual", "metrics", "pagerduty", "simulation"}
    assert all(isinstance(kind, BackendKind) for kind in installed().values())


def test_s18_an_address_that_holds_a_password_is_refused_and_not_repeated() -> None:
    """Options are shown by `muster check` and in errors, secrets never: whoever wrote a password into an address is told where it belongs."""
    with pytest.raises(SettingsInvalid, match=r"backends\.mlflow\.url: holds a password; .* give it as a secret") as refused:
        build("mlflow", {"url": "https://muster:geheim@mlflow.example", "environment": "production"}, secrets={})
    assert "geheim" not in str(refused.value)
    assert build("mlflow", {"url": "https://mlflow.example/a@b:c", "environment": "production"}, secrets={}).name == "mlflow"


def test_the_catalogue_is_known_without_configuration() -> None:
    """Runbooks can be checked anywhere: the ten operations they may use are declared, Muster's own are not among them."""
    assert set(declared()) >= {
        "metrics.query", "http.get", "manual", "cluster.scale", "flag.disable", "flag.set", "limit.set", "model.rollback", "retries.cap",
        "route.switch",
    }  # fmt: skip
    assert not {"page.send", "incident.resolve"} & set(declared())


@pytest.mark.parametrize("operation", declared().values(), ids=declared().keys())
def test_each_operation_declares_what_it_needs(operation: Any) -> None:
    """An operation that changes a target names the argument for it, and everything that reads has a sample."""
    assert operation.target is None or operation.target in operation.arguments
    assert operation.sample is not None
    assert operation.reads or operation.tier.rank >= 1


def test_a_configured_backend_is_built() -> None:
    """From its kind and options a backend comes out, bound to its environment."""
    built = build("simulation", {"url": "http://127.0.0.1:8090", "environment": "staging"}, secrets={})
    assert built.environment == "staging"
    assert Registry([built]).backend("cluster.scale", "staging") is built


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("nonsense", {}, "backends.b.kind"),
        ("simulation", {}, "backends.b.url"),
        ("simulation", {"url": 7}, "backends.b.url"),
        ("simulation", {"url": "x", "enviroment": "p"}, "backends.b.enviroment"),
        ("http", {"allow": "x"}, "backends.b.allow"),
        ("http", {"allow": [7]}, "backends.b.allow"),
    ],
)
def test_a_wrong_option_stops_with_its_field(kind: str, options: dict[str, Any], field: str) -> None:
    """An unknown kind, a missing, misspelt or mistyped option is refused by name; nothing is silently ignored."""
    with pytest.raises(SettingsInvalid) as refused:
        build(kind, options, secrets={}, name="b")
    assert [problem.field for problem in refused.value.problems] == [field]


def test_s18_a_secret_is_read_at_the_moment_of_use() -> None:
    """Building a backend reads no secret."""

    def secret() -> str:
        raise AssertionError("the secret was read")

    assert isinstance(build("metrics", {"url": "http://127.0.0.1:1"}, secrets={"token": secret}), Metrics)
    assert build("pagerduty", {}, secrets={"default": secret, "api_token": secret}).name == "pagerduty"


def test_options_say_what_they_expect() -> None:
    """A truth value is no number, and a default stands in for what is missing."""
    with pytest.raises(SettingsInvalid):
        Options({"n": True}).get("n", int)
    assert Options({}).get("n", int, 3) == 3


def test_one_backend_serves_one_operation_in_one_environment() -> None:
    """Two for the same operation and environment are refused; two environments each have their own."""
    production, staging = RecordingBackend(), RecordingBackend(environment="staging")
    registry = Registry([production, staging])
    assert registry.backend("thing.set", "production") is production
    assert registry.backend("thing.set", "staging") is staging
    with pytest.raises(RegistryInvalid, match="served by recording and by recording"):
        Registry([production, RecordingBackend()])


def test_an_environment_that_nobody_serves_is_not_guessed() -> None:
    """Staging does not fall back to production, and without an environment nothing is changed."""
    registry = Registry([RecordingBackend()])
    for environment in ("staging", None):
        with pytest.raises(NotFound, match="there is one for production"):
            registry.backend("thing.set", environment)
    with pytest.raises(NotFound, match=r"No backend is configured for x\.y\."):
        registry.backend("x.y", "production")


def test_reading_needs_no_environment_where_there_is_only_one_to_ask() -> None:
    """A diagnostic of an incident without environment asks the only server there is, and none of two."""
    registry = Registry([RecordingBackend()])
    assert registry.backend("thing.ask", None) is registry.backends[0]
    with pytest.raises(NotFound):
        Registry([RecordingBackend(), RecordingBackend(environment="staging")]).backend("thing.ask", None)


def test_what_changes_targets_is_bound_to_an_environment() -> None:
    """A backend that could reach every environment is refused."""
    with pytest.raises(RegistryInvalid, match="bound to one environment"):
        Registry([RecordingBackend(environment=None)])


def test_one_name_means_one_operation() -> None:
    """Two backends may not declare the same name in different ways."""
    other = RecordingBackend(environment="staging", operations=(SET.model_copy(update={"title": "other"}), ASK))
    with pytest.raises(RegistryInvalid, match="two different ways"):
        Registry([RecordingBackend(), other])


def test_s27_a_drill_needs_a_world() -> None:
    """Without the name of a world, or with a backend of the real one, there is no drill."""
    inside = confined(url="http://127.0.0.1:8090", world="w")
    served = set(Registry.for_drill(inside, world="w").catalogue)
    assert served <= set(declared())
    assert served >= set(SHARED) | {"metrics.query", "http.get", "manual"}
    for world in ("", "other"):
        with pytest.raises(RegistryInvalid):
            Registry.for_drill(inside, world=world)


def test_a_manual_step_is_asked_and_left_to_a_person() -> None:
    """A manual step runs without any network, and after a crash nobody but a person can say whether it was done."""
    free = {"money": "none", "quality": "none", "latency": "none"}
    by_hand = action(uses="manual", parameters={}, targets=[], cost=free, **{"with": {"instruction": "Call the provider."}})
    book = runbook(by_hand)
    run = Runner(registry=Registry([Manual()]), now=lambda: NOW)
    made = run.plan(by_hand, runbook=book, labels=LABELS, parameters={}, environment="production", plan_id="p")
    assert made.proposal.note == "Call the provider."
    outcome = run.execute(made, runbook=book, labels=LABELS, key="k")
    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.after is not None
    assert outcome.after.value == ASKED
    assert run.reconcile(made).status is OutcomeStatus.UNKNOWN
    assert run.undo(made, after=outcome.after, key="u").status is OutcomeStatus.APPLIED


def test_a_backend_for_a_service_goes_before_the_one_for_all() -> None:
    """Two teams may each have their own of one kind, and everybody else uses the common one."""
    common, answers = RecordingBackend(), RecordingBackend()
    registry = Registry([common, Bound(name="answers-flags", backend=answers, services=frozenset({"answers"}))])
    assert registry.backend("thing.set", "production", "answers") is answers
    assert registry.backend("thing.set", "production", "search") is common
    assert registry.bound("thing.set", "production", "answers").name == "answers-flags"


def test_two_backends_for_one_service_are_refused() -> None:
    """Nobody could say which of the two is meant."""
    first = Bound(name="a", backend=RecordingBackend(), services=frozenset({"answers", "search"}))
    second = Bound(name="b", backend=RecordingBackend(), services=frozenset({"search"}))
    with pytest.raises(RegistryInvalid, match=r"thing\.set in production is served by a and by b\."):
        Registry([first, second])


def test_a_service_that_nobody_serves_is_named() -> None:
    """What is bound to one service does not serve the incidents of another."""
    registry = Registry([Bound(name="a", backend=RecordingBackend(), services=frozenset({"answers"}))])
    with pytest.raises(NotFound, match=r"of this service; there is one for answers\."):
        registry.backend("thing.set", "production", "search")


def test_a_plan_is_carried_out_by_the_backend_that_it_was_read_from_or_not_at_all() -> None:
    """A configuration that changed between plan and click does not turn the change to another system."""
    first, other = RecordingBackend(), RecordingBackend()
    call = Call(operation="thing.set", environment="production", service="answers", backend="flags")
    bound = Bound(name="flags", backend=first, services=frozenset({"answers"}))
    assert Registry([bound, Bound(name="common", backend=other)]).planned(call) is first
    with pytest.raises(NotFound, match=r"flags no longer serves thing\.set here\. Plan again\."):
        Registry([Bound(name="common", backend=other)]).planned(call)


def test_a_backend_may_be_asked_for_a_part_of_what_it_offers() -> None:
    """One system scales, another one rolls back, in the same environment for the same service."""
    asks = Bound(name="a", backend=RecordingBackend(), only=frozenset({"thing.ask"}))
    sets = Bound(name="b", backend=RecordingBackend(), only=frozenset({"thing.set"}))
    registry = Registry([asks, sets])
    assert registry.bound("thing.ask", "production").name == "a"
    assert registry.bound("thing.set", "production").name == "b"
