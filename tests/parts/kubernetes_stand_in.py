"""A stand-in for the Kubernetes API in this process, at the wire: quick, and lenient.

It neither validates nor compares versions, so it is never the only proof; tests/parts/kubernetes.py starts the real one.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kmock import KubernetesEmulator, Server


@dataclass(frozen=True, slots=True)
class StandIn:
    """Its address and its objects, by (group/version/plural, namespace, name)."""

    url: str
    emulator: KubernetesEmulator

    def put(self, resource: str, namespace: str, name: str, thing: Mapping[str, Any]) -> None:
        """An object that is there."""
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-of-{name}", "resourceVersion": "1", **thing.get("metadata", {})}
        self.emulator.objects[resource, namespace, name] = {**thing, "metadata": metadata}

    def get(self, resource: str, namespace: str, name: str) -> Any:
        """How it stands."""
        return self.emulator.objects[resource, namespace, name].raw


@contextmanager
def standing_in(*resources: str) -> Iterator[StandIn]:
    """Serve these resources, such as `apps/v1/deployments`, on a free port of this machine."""
    started, ready, loop = threading.Event(), [], asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with KubernetesEmulator() as emulator, Server(emulator) as server:
            for resource in resources:
                emulator.resources[resource] = {}
            ready.append(StandIn(str(server.url).rstrip("/"), emulator))
            started.set()
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(20)
    assert ready, "the stand-in did not start"
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
