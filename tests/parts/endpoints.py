"""SageMaker's endpoints as its API reference describes them, for what moto does not imitate: UpdateEndpoint and its course.

Written from the documented wire format (AWS JSON 1.1), not from the real service.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = "arn:aws:sagemaker:eu-central-1:123456789012"


class Refused(Exception):
    """A ValidationException with its words."""


@dataclass(slots=True)
class Config:
    """An endpoint configuration."""

    variants: tuple[str, ...]
    created: float
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Endpoint:
    """An endpoint; `pending` is the configuration that it is being updated to."""

    config: str
    status: str = "InService"
    pending: str | None = None
    failure: str | None = None
    guarded: bool = False
    weights: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Endpoints:
    """The service's state. `slow` is how many looks an update takes; None means that it goes on until `finish` or `fail`.

    `page` is how many configurations one answer lists at most, whatever was asked for.
    """

    url: str = ""
    slow: int | None = 1
    page: int = 100
    configs: dict[str, Config] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _looks: int = 0

    def config(self, name: str, *variants: str, **tags: str) -> None:
        """A configuration, newer than those before it."""
        self.configs[name] = Config(variants=variants or ("all",), created=1_760_000_000.0 + len(self.configs), tags=tags)

    def endpoint(self, name: str, config: str, **more: Any) -> None:
        """An endpoint in service."""
        variants = self.configs[config].variants
        self.endpoints[name] = Endpoint(config=config, weights=dict.fromkeys(variants, 1.0), counts=dict.fromkeys(variants, 4), **more)

    def update(self, name: str, config: str) -> None:
        """What another person would do, and its end."""
        self.answer("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": config})
        self.finish(name)

    def finish(self, name: str) -> None:
        """The update comes to its end."""
        one = self.endpoints[name]
        if one.pending:
            one.config, one.pending = one.pending, None
        one.status = "InService"

    def fail(self, name: str) -> None:
        """The update fails and is rolled back by SageMaker itself."""
        one = self.endpoints[name]
        one.pending, one.status, one.failure = None, "InService", "The primary container did not pass the ping health check."

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The documented answer.

        Raises:
            Refused: as a ValidationException.
        """
        self.asked.append((operation, asked))
        return {
            "DescribeEndpoint": self._describe,
            "DescribeEndpointConfig": lambda asked: self._config(asked["EndpointConfigName"]),
            "ListEndpointConfigs": self._list,
            "ListTags": self._tags,
            "UpdateEndpoint": self._update,
            "UpdateEndpointWeightsAndCapacities": self._weigh,
        }[operation](asked)

    def _found(self, name: str) -> Endpoint:
        if name not in self.endpoints:
            raise Refused(f'Could not find endpoint "{ACCOUNT}:endpoint/{name}".')
        return self.endpoints[name]

    def _describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["EndpointName"]
        one = self._found(name)
        if one.status == "Updating" and self.slow is not None:
            self._looks += 1
            if self._looks > self.slow:
                self._looks = 0
                self.finish(name)
        variants = [
            {
                "VariantName": variant, "CurrentWeight": weight, "DesiredWeight": weight,
                "CurrentInstanceCount": one.counts[variant], "DesiredInstanceCount": one.counts[variant],
            }
            for variant, weight in one.weights.items()
        ]  # fmt: skip
        return {
            "EndpointName": name,
            "EndpointArn": f"{ACCOUNT}:endpoint/{name}",
            "EndpointConfigName": one.config,
            "EndpointStatus": one.status,
            "CreationTime": 1_760_000_000.0,
            "LastModifiedTime": 1_760_000_000.0,
            "ProductionVariants": variants,
            **({"PendingDeploymentSummary": {"EndpointConfigName": one.pending}} if one.pending else {}),
            **({"FailureReason": one.failure} if one.failure else {}),
            **({"LastDeploymentConfig": {"AutoRollbackConfiguration": {"Alarms": []}}} if one.guarded else {}),
        }

    def _config(self, name: str) -> dict[str, Any]:
        if name not in self.configs:
            raise Refused(f'Could not find endpoint configuration "{ACCOUNT}:endpoint-config/{name}".')
        one = self.configs[name]
        variants = [{"VariantName": variant} for variant in one.variants]
        return {**self._listed(name), "ProductionVariants": variants, "CreationTime": one.created}

    def _listed(self, name: str) -> dict[str, Any]:
        arn = f"{ACCOUNT}:endpoint-config/{name}"
        return {"EndpointConfigName": name, "EndpointConfigArn": arn, "CreationTime": self.configs[name].created}

    def _list(self, asked: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in reversed(self.configs) if asked.get("NameContains", "") in name]
        start, size = int(asked.get("NextToken", 0)), min(asked.get("MaxResults", 10), self.page)
        more = {"NextToken": str(start + size)} if len(names) > start + size else {}
        return {"EndpointConfigs": [self._listed(name) for name in names[start : start + size]], **more}

    def _tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        tags = self.configs[asked["ResourceArn"].rpartition("/")[2]].tags
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        one = self._changing(asked["EndpointName"])
        self._config(asked["EndpointConfigName"])
        one.pending, one.status, one.failure = asked["EndpointConfigName"], "Updating", None
        return {"EndpointArn": f"{ACCOUNT}:endpoint/{asked['EndpointName']}"}

    def _weigh(self, asked: dict[str, Any]) -> dict[str, Any]:
        one = self._changing(asked["EndpointName"])
        one.weights |= {each["VariantName"]: each["DesiredWeight"] for each in asked["DesiredWeightsAndCapacities"]}
        one.status = "Updating"
        return {"EndpointArn": f"{ACCOUNT}:endpoint/{asked['EndpointName']}"}

    def _changing(self, name: str) -> Endpoint:
        one = self._found(name)
        if one.status != "InService":
            raise Refused(f'Cannot update in-progress endpoint "{ACCOUNT}:endpoint/{name}".')
        return one


@contextmanager
def endpoints() -> Iterator[Endpoints]:
    """The service on a free port of this machine."""
    state, lock = Endpoints(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
            """Say nothing."""

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                with lock:
                    status, said = 200, state.answer(self.headers["X-Amz-Target"].removeprefix("SageMaker."), asked)
            except Refused as refused:
                status, said = 400, {"__type": "ValidationException", "message": str(refused)}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
