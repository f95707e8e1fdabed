"""Real systems, each with one change of it that a person may press, behind a border that keeps the change or its answer back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.parts import alerting, envoy, haproxy, kubernetes, npm, unleash
from tests.parts.haproxy import Meddling, meddled, said
from tests.parts.mlflow import mlflow
from tests.parts.moto import KEYS, REGION, moto
from tests.parts.trouble import Trouble, troubled

ENVOY = "gateway-1"  # the proxy that starts in front of everything


@dataclass(frozen=True, kw_only=True)
class Part:
    """A system with one target, how Muster reaches it, what the action does, and how the target stands to somebody else.

    `told` is what a look tells of a change whose answer nobody got.
    """

    trouble: Trouble | Meddling
    backend: dict[str, Any]
    uses: str
    arguments: dict[str, Any]
    stands: Callable[[], Any]
    before: Any
    after: Any
    which: Callable[..., bool] | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    told: str = " took effect. Watching again."

    @property
    def asked(self) -> int:
        """How many requests for the change have come as far as the border."""
        return len(self._changes(self.trouble.seen))

    @property
    def made(self) -> int:
        """How many of them have been passed on."""
        return len(self._changes(self.trouble.passed))

    def _changes(self, requests: list[Any]) -> list[Any]:
        which = self.which or self.trouble.which
        return [one for one in requests if which(*([one] if isinstance(one, str) else one))]


@contextmanager
def an_mlflow(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A model registry, whose alias moves back to the good version."""
    with mlflow() as registry, troubled(registry.url) as trouble:
        registry.model("answers", {"evaluation_score": "0.9", "validation_status": "approved"}, {"evaluation_score": "0.5"})
        yield Part(
            trouble=trouble,
            backend={"kind": "mlflow", "url": trouble.url},
            uses="model.rollback",
            arguments={"unit": "answers", "to": "1"},
            stands=lambda: registry.get("registered-models/alias", name="answers", alias="champion")["model_version"]["version"],
            before="2",
            after="1",
            which=lambda method, path: method == "POST" and path.endswith("/registered-models/alias"),
        )


def _amazon(trouble: Trouble, *, kind: str, operation: str, **more: Any) -> Part:
    """A change by AWS' API, which posts everything to one address."""
    options = more.pop("options", {})
    return Part(
        trouble=trouble,
        backend={"kind": kind, "region": REGION, "endpoint_url": trouble.url, **options},
        which=lambda _method, path: path.endswith(f"#{operation}"),
        secrets=dict(KEYS),
        **more,
    )


@contextmanager
def a_group(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """An Auto Scaling group that grows from two to four."""
    with moto() as aws, troubled(aws.url) as trouble:
        client = aws.client("autoscaling")
        client.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-12c6146b", InstanceType="t2.micro")
        client.create_auto_scaling_group(
            AutoScalingGroupName="pool",
            LaunchConfigurationName="l",
            MinSize=1,
            MaxSize=6,
            DesiredCapacity=2,
            AvailabilityZones=[f"{REGION}a"],
        )
        yield _amazon(
            trouble,
            kind="autoscaling",
            operation="SetDesiredCapacity",
            uses="cluster.scale",
            arguments={"target": "pool", "replicas": 4},
            stands=lambda: client.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"],
            before=2,
            after=4,
        )


@contextmanager
def a_service(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """An ECS service that grows from two tasks to four."""
    with moto() as aws, troubled(aws.url) as trouble:
        client = aws.client("ecs")
        client.create_cluster(clusterName="production")
        client.register_task_definition(family="answers", containerDefinitions=[{"name": "answers", "image": "answers:7", "memory": 128}])
        client.create_service(cluster="production", serviceName="answers", taskDefinition="answers", desiredCount=2)
        yield _amazon(
            trouble,
            kind="ecs",
            options={"limits": {"production/answers": {"minimum": 1, "maximum": 9}}},
            operation="UpdateService",
            uses="cluster.scale",
            arguments={"target": "production/answers", "replicas": 4},
            stands=lambda: client.describe_services(cluster="production", services=["answers"])["services"][0]["desiredCount"],
            before=2,
            after=4,
        )


@contextmanager
def a_parameter(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """An SSM parameter that goes from 1200 to 600."""
    name = "/production/answers/max_output_tokens"
    with moto() as aws, troubled(aws.url) as trouble:
        client = aws.client("ssm")
        client.put_parameter(Name=name, Value="1200", Type="String")
        yield _amazon(
            trouble,
            kind="ssm",
            options={"below": ["/production/answers"], "bounds": {name: {"minimum": 100, "maximum": 4000}}},
            operation="PutParameter",
            uses="limit.set",
            arguments={"target": name, "value": 600},
            stands=lambda: client.get_parameter(Name=name)["Parameter"]["Value"],
            before="1200",
            after="600",
        )


@contextmanager
def an_endpoint(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A SageMaker endpoint whose traffic goes from one variant to the other."""
    with moto() as aws, troubled(aws.url) as trouble:
        client = aws.client("sagemaker")
        client.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/x", PrimaryContainer={"Image": "i"})
        variants = [
            {"VariantName": one, "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", "InitialVariantWeight": weight}
            for one, weight in (("blue", 1.0), ("green", 0.0))
        ]
        client.create_endpoint_config(EndpointConfigName="answers-v1", ProductionVariants=variants)
        client.create_endpoint(EndpointName="answers", EndpointConfigName="answers-v1")
        weights = [{"VariantName": one, "DesiredWeight": weight} for one, weight in (("blue", 1.0), ("green", 0.0))]
        client.update_endpoint_weights_and_capacities(EndpointName="answers", DesiredWeightsAndCapacities=weights)

        def stands() -> dict[str, float]:
            found = client.describe_endpoint(EndpointName="answers")["ProductionVariants"]
            return {one["VariantName"]: one["CurrentWeight"] for one in found}

        yield _amazon(
            trouble,
            kind="sagemaker",
            operation="UpdateEndpointWeightsAndCapacities",
            uses="route.switch",
            arguments={"target": "answers", "route": "green"},
            stands=stands,
            before={"blue": 1.0, "green": 0.0},
            after={"blue": 0.0, "green": 1.0},
        )


@contextmanager
def an_envoy(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Part]:
    """A proxy whose retries are capped at the first attempt."""
    with envoy.running(folder) as proxy, troubled(proxy.admin) as trouble:

        def stands() -> str:
            found = httpx.get(f"{proxy.admin}/runtime", timeout=5, trust_env=False).json()["entries"].get("upstream.use_retry", {})
            return str(found.get("final_value", ""))

        yield Part(
            trouble=trouble,
            backend={"kind": "envoy", "admin": trouble.url, "by": "runtime"},
            uses="retries.cap",
            arguments={"target": ENVOY, "attempts": 1},
            stands=stands,
            before="",
            after="0",
        )


@contextmanager
def an_haproxy(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A proxy whose failing service is asked six times a request, and then once."""
    with haproxy.running() as proxy, meddled(lambda command: said(proxy.socket, command)) as trouble:
        yield Part(
            trouble=trouble,
            backend={"kind": "haproxy", "socket": trouble.socket, "retries": str(proxy.retries)},
            uses="retries.cap",
            arguments={"target": "answers", "attempts": 1},
            stands=lambda: proxy.primary.hits(proxy.url),
            before=6,
            after=1,
            told=" took effect. But retries.map says answers-6: change it there, too, or a reload of HAProxy takes it back. Watching again.",
        )


@contextmanager
def an_alertmanager(_request: pytest.FixtureRequest, folder: Path) -> Iterator[Part]:
    """An alert that is silenced."""
    if alerting.ALERTMANAGER is None:
        pytest.skip("prometheus-alertmanager is not installed (Debian's package of that name)")
    with alerting.alertmanager(folder) as url, troubled(url) as trouble:
        alert = {"labels": {"alertname": "SlowAnswers"}, "startsAt": "2026-11-20T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}
        httpx.post(f"{url}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()
        yield Part(
            trouble=trouble,
            backend={"kind": "alertmanager", "url": trouble.url},
            uses="alert.silence",
            arguments={"matchers": "alertname=SlowAnswers", "minutes": 240, "reason": "The pool is being scaled."},
            stands=lambda: [one["status"]["state"] for one in httpx.get(f"{url}/api/v2/alerts", trust_env=False).json()],
            before=["active"],
            after=["suppressed"],
        )


@contextmanager
def an_unleash(request: pytest.FixtureRequest, folder: Path) -> Iterator[Part]:
    """A flag that is switched off."""
    if (why := npm.missing(unleash.PACKAGE)) is not None:
        pytest.skip(str(why))
    url = request.getfixturevalue("postgres_server").create(migrated=False)
    with unleash.running(url, log=folder / "unleash.log") as server, troubled(server.url) as trouble:
        server.flag("long-answers")

        def stands() -> bool:
            path = f"{server.url}/api/admin/projects/default/features/long-answers"
            found = httpx.get(path, headers={"Authorization": unleash.ADMIN}, timeout=10, trust_env=False).json()
            return next(bool(one["enabled"]) for one in found["environments"] if one["name"] == "production")

        yield Part(
            trouble=trouble,
            backend={"kind": "unleash", "url": trouble.url},
            uses="flag.disable",
            arguments={"flag": "long-answers"},
            stands=stands,
            before=True,
            after=False,
            secrets={"token": unleash.ADMIN},
        )


@contextmanager
def a_cluster(_request: pytest.FixtureRequest, _folder: Path) -> Iterator[Part]:
    """A Deployment that grows from two to three."""
    if (why := kubernetes.lacking()) is not None:
        pytest.skip(why)
    with kubernetes.kubernetes() as cluster, troubled(cluster.url, verify=cluster.trust) as trouble:
        cluster.create("/apis/apps/v1/namespaces/default/deployments", kubernetes.deployment("answers"))
        path = "/apis/apps/v1/namespaces/default/deployments/answers"
        yield Part(
            trouble=trouble,
            backend={"kind": "kubernetes", "server": trouble.url, "limits": {"default/answers": {"minimum": 1, "maximum": 9}}},
            uses="cluster.scale",
            arguments={"target": "default/answers", "replicas": 3},
            stands=lambda: cluster.get(path)["spec"]["replicas"],
            before=2,
            after=3,
            secrets={"token": kubernetes.ADMIN},
        )


REAL = [
    pytest.param(an_mlflow, id="mlflow"),
    pytest.param(a_group, id="autoscaling"),
    pytest.param(a_service, id="ecs"),
    pytest.param(a_parameter, id="ssm"),
    pytest.param(an_endpoint, id="sagemaker"),
    pytest.param(an_envoy, id="envoy"),
    pytest.param(an_haproxy, id="haproxy", marks=pytest.mark.debian),
    pytest.param(an_alertmanager, id="alertmanager", marks=pytest.mark.debian),
    pytest.param(an_unleash, id="unleash", marks=pytest.mark.debian),
    pytest.param(a_cluster, id="kubernetes", marks=pytest.mark.debian),
]
