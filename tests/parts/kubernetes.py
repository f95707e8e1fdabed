"""A real Kubernetes API: etcd, kube-apiserver and kube-controller-manager as processes of their own, with no kubelet and no scheduler.

The two Kubernetes programs are taken from the folder that MUSTER_TEST_KUBERNETES names, else from `../shared/kubernetes` beside the
repository (as `.xz`), else from KUBEBUILDER_ASSETS; etcd is Debian's. `Kubelet` says of pods that they are ready, as a kubelet would.
"""

import json
import lzma
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PROGRAMS = ("kube-apiserver", "kube-controller-manager")
ADMIN = "token-of-the-admin"
READY_WITHIN = 60.0  # seconds; usually four
CONTROLLERS = "deployment,replicaset,statefulset,namespace,garbagecollector"


def lacking() -> str | None:
    """Why the real part cannot be started here; None where it can."""
    if not shutil.which("etcd"):
        return "etcd is not installed (Debian's etcd-server)"
    if missing := [name for name in PROGRAMS if _found(name) is None]:
        folders = ", ".join(str(folder) for folder in _folders())
        return f"{' and '.join(missing)} are in none of: {folders or 'no folder at all'}"
    return None


def _folders() -> list[Path]:
    named = os.environ.get("MUSTER_TEST_KUBERNETES")
    first = Path(named) if named else ROOT.parent / "shared" / "kubernetes"
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return [first, *([Path(assets)] if assets else [])]


def _found(name: str) -> Path | None:
    return next((path for folder in _folders() for path in (folder / f"{name}.xz", folder / name) if path.is_file()), None)


@dataclass(slots=True)
class Running:
    """A running API. `client` is the admin's."""

    url: str
    ca: Path
    client: httpx.Client
    folder: Path
    etcd: str
    api: subprocess.Popen[bytes] | None = None

    @property
    def trust(self) -> ssl.SSLContext:
        """Trusts this API's certificate alone."""
        return ssl.create_default_context(cafile=str(self.ca))

    def create(self, path: str, thing: Mapping[str, Any]) -> Any:
        """Make an object as the admin."""
        answer = self.client.post(path, json=dict(thing))
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """Read an object as the admin."""
        answer = self.client.get(path)
        assert answer.is_success, answer.text
        return answer.json()

    def patch(self, path: str, change: Any, *, by: str = "ben") -> Any:
        """Change an object as another person would."""
        kind = "json-patch" if isinstance(change, list) else "merge-patch"
        headers = {"Content-Type": f"application/{kind}+json"}
        answer = self.client.patch(path, content=json.dumps(change), params={"fieldManager": by}, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def until(self, path: str, holds: Callable[[Any], Any], *, within: float = 20.0) -> Any:
        """Read an object until it is as wanted; fails with how it stood last."""
        ends = time.monotonic() + within
        while True:
            found = self.get(path)
            if holds(found):
                return found
            assert time.monotonic() < ends, f"{path} did not get there: {json.dumps(found.get('status') or found)[:2000]}"
            time.sleep(0.05)

    def next_second(self) -> None:
        """Wait until a change is known to be later than those before: the API server keeps the times of changes in whole seconds."""
        began = int(time.time())
        while int(time.time()) == began:
            time.sleep(0.02)

    def define(self, group: str, version: str, plural: str, kind: str, spec: Mapping[str, Any]) -> None:
        """A custom resource with a status of its own; `spec` is what its schema checks, everything else is taken as it comes."""
        loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"type": "object", "properties": {"spec": {**loose, "properties": dict(spec)}, "status": loose}}
        self.create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            {
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
                    "versions": [
                        {
                            "name": version,
                            "served": True,
                            "storage": True,
                            "subresources": {"status": {}},
                            "schema": {"openAPIV3Schema": schema},
                        }
                    ],
                },
            },
        )
        ends = time.monotonic() + 20
        while not self.client.get(f"/apis/{group}/{version}/namespaces/default/{plural}").is_success:
            assert time.monotonic() < ends, f"{plural}.{group} is not served"
            time.sleep(0.05)

    def account(self, name: str, *, namespace: str, rules: list[dict[str, Any]]) -> str:
        """A person with these rights in one namespace; answers the token."""
        role = {"metadata": {"name": name}, "rules": rules}
        self.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", role)
        self.create(
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}],
            },
        )
        return f"token-of-{name}"


@contextmanager
def kubernetes(accounts: tuple[str, ...] = ()) -> Iterator[Running]:
    """Start all three; stop them by their ids. `accounts` are names that may sign in as `token-of-<name>`, and may do nothing yet.

    Raises:
        AssertionError: one of them ended or was not ready in time; with the end of its log.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-kubernetes-")))
        ports = _free(5)
        running = _prepared(folder, accounts, api=ports[2], etcd=ports[0])
        stack.callback(running.client.close)
        _start(stack, folder, "etcd", _etcd(folder, ports[0], ports[1]))
        api = _start(stack, folder, "kube-apiserver", _api(folder, running.etcd, ports[2]))
        _wait(folder, api, lambda: running.client.get("/readyz").text == "ok")
        manager = _start(stack, folder, "kube-controller-manager", _manager(folder, ports[3]))
        running.create("/api/v1/namespaces", {"metadata": {"name": "started"}})
        _wait(folder, manager, lambda: _works(running))
        yield running


def _works(running: Running) -> bool:
    """Whether the controllers act: a Deployment of no pods is observed."""
    path = "/apis/apps/v1/namespaces/started/deployments"
    answer = running.client.get(f"{path}/probe")
    if answer.status_code == 404:
        running.create(path, deployment("probe", replicas=0))
        return False
    return (answer.json().get("status") or {}).get("observedGeneration") == 1


def _prepared(folder: Path, accounts: tuple[str, ...], *, api: int, etcd: int) -> Running:
    for name in PROGRAMS:
        _unpack(name, folder / name)
    _certificate(folder)
    lines = [f'{ADMIN},admin,1,"system:masters"', *(f"token-of-{name},{name},{number}" for number, name in enumerate(accounts, start=2))]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    url, ca = f"https://127.0.0.1:{api}", folder / "api.crt"
    (folder / "admin.kubeconfig").write_text(kubeconfig(url, ca=ca, user={"token": ADMIN}))
    client = httpx.Client(
        base_url=url,
        verify=ssl.create_default_context(cafile=str(ca)),
        headers={"Authorization": f"Bearer {ADMIN}"},
        trust_env=False,
        timeout=20,
    )
    return Running(url=url, ca=ca, client=client, folder=folder, etcd=f"http://127.0.0.1:{etcd}")


def kubeconfig(url: str, *, ca: Path, user: Mapping[str, Any]) -> str:
    """A kubeconfig with one context; YAML takes JSON."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": str(ca)}}],
            "users": [{"name": "u", "user": dict(user)}],
        }
    )


def _unpack(name: str, to: Path) -> None:
    found = _found(name)
    assert found is not None, lacking()
    with lzma.open(found) if found.suffix == ".xz" else found.open("rb") as packed, to.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    to.chmod(0o700)


def _certificate(folder: Path) -> None:
    """The API's own certificate, its own authority, and the key that service accounts' tokens are signed with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes in a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (folder / "api.key").write_bytes(pem)
    (folder / "api.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    url = f"http://127.0.0.1:{client}"
    return [
        "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
        "--initial-cluster", f"default=http://127.0.0.1:{peer}",
    ]  # fmt: skip


def _api(folder: Path, etcd: str, port: int) -> list[str]:
    return [
        str(folder / "kube-apiserver"), f"--etcd-servers={etcd}", f"--secure-port={port}", "--bind-address=127.0.0.1",
        f"--tls-cert-file={folder / 'api.crt'}", f"--tls-private-key-file={folder / 'api.key'}", f"--cert-dir={folder / 'certs'}",
        f"--client-ca-file={folder / 'api.crt'}", f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={folder / 'api.key'}",
        f"--service-account-signing-key-file={folder / 'api.key'}", "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
    ]  # fmt: skip


def _manager(folder: Path, port: int) -> list[str]:
    return [
        str(folder / "kube-controller-manager"), f"--kubeconfig={folder / 'admin.kubeconfig'}", "--port=0", f"--secure-port={port}",
        "--bind-address=127.0.0.1", f"--cert-dir={folder / 'certs'}", "--leader-elect=false", f"--controllers={CONTROLLERS}",
    ]  # fmt: skip


def _start(stack: ExitStack, folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=quiet)
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _wait(folder: Path, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    ends = time.monotonic() + READY_WITHIN
    while time.monotonic() < ends and process.poll() is None:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    logs = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in sorted(folder.glob("*.log")))
    raise AssertionError(f"Kubernetes was not ready within {READY_WITHIN:.0f} s.\n{logs}")


def _free(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def deployment(name: str, *, image: str = "registry.example/answers:v7.3", replicas: int = 2, **annotations: str) -> dict[str, Any]:
    """A Deployment, or with another `kind` a StatefulSet, of one container."""
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "model", "image": image}]},
            },
        },
    }


class Kubelet:
    """Says of every pod in a namespace that it is ready, or, of images that hold a word of `broken`, that it is not."""

    def __init__(self, running: Running, namespace: str) -> None:
        self.broken: set[str] = set()
        self.namespace = namespace
        self._running, self._over = running, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        headers = {**self._running.client.headers, "Content-Type": "application/merge-patch+json"}
        with httpx.Client(base_url=self._running.url, verify=self._running.trust, headers=headers, trust_env=False) as client:
            while not self._over.wait(0.05):
                for pod in client.get(f"/api/v1/namespaces/{self.namespace}/pods").json().get("items") or ():
                    self._look_after(client, pod)

    def _look_after(self, client: httpx.Client, pod: Any) -> None:
        image = pod["spec"]["containers"][0]["image"]
        ready = not any(word in image for word in self.broken)
        wanted = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2026-11-21T00:00:00Z"}]
        if [one["status"] for one in (pod.get("status") or {}).get("conditions") or () if one["type"] == "Ready"] == [wanted[0]["status"]]:
            return
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/status"
        client.patch(path, content=json.dumps({"status": {"phase": "Running", "conditions": wanted}}))
