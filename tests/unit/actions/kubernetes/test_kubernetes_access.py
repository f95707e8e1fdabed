"""The way into a cluster: what a configuration may say, what is read when, and what a person is told where it fails."""

import base64
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actions.contract import NotPermitted, Unreachable
from actions.kinds import Options
from actions.kubernetes.access import Access, access
from actions.kubernetes.cluster import Cluster
from runbooks.errors import MusterError, SettingsInvalid

SECRET = "the-very-secret-token"


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for this machine and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certified, private = folder / f"{name}.crt", folder / f"{name}.key"
    certified.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certified, private


class Api:
    """An API server that says what it was shown: the token and the client's certificate."""

    def __init__(self, folder: Path) -> None:
        self.ca, key = certificate(folder, "server")
        self.client, self.client_key = certificate(folder, "client")
        self.shown: list[tuple[str | None, str | None]] = []
        shown = self.shown

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer: Any = self.connection.getpeercert()  # type: ignore[attr-defined]
                who = dict(pair[0] for pair in peer["subject"])["commonName"] if peer else None
                shown.append((self.headers.get("Authorization"), who))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that does not trust us hangs up; that is what is tested."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.client))
        context.load_cert_chain(self.ca, key)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture(scope="module")
def running_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    api = Api(tmp_path_factory.mktemp("api"))
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def api(running_api: Api) -> Api:
    running_api.shown.clear()
    return running_api


def way(options: dict[str, Any], token: str | None = None, **more: Any) -> Access:
    return access(Options(options), {"token": lambda: token} if token else {}, **more)


def ask(enter: Access) -> None:
    Cluster(enter).get("/apis", what="list", timeout=5)


def kubeconfig(folder: Path, url: str, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    """A kubeconfig in a file; YAML takes JSON."""
    path = folder / "config"
    said = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(json.dumps(said))
    return path


def packed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_a_token_is_read_for_each_request(api: Api) -> None:
    """Renewed between two requests, the second shows the new one (rule S18)."""
    tokens = iter(["old", "new"])
    enter = access(Options({"server": api.url, "ca": str(api.ca)}), {"token": lambda: next(tokens)})
    assert api.shown == []
    ask(enter)
    ask(enter)
    assert api.shown == [("Bearer old", None), ("Bearer new", None)]


def test_a_pods_own_account_is_read_for_each_request(api: Api, tmp_path: Path) -> None:
    """The token that Kubernetes renews in the pod is taken as it is at the moment."""
    (tmp_path / "ca.crt").write_bytes(api.ca.read_bytes())
    (tmp_path / "token").write_text("first\n")
    enter = way({"in_cluster": True}, account=tmp_path)
    assert enter().headers["Authorization"] == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert enter().headers["Authorization"] == "Bearer second"
    assert enter().server == "https://kubernetes.default.svc"
    (tmp_path / "token").unlink()
    with pytest.raises(NotPermitted, match=r"The credentials for https://kubernetes\.default\.svc cannot be read: .*token: No such file"):
        enter()


def test_a_client_certificate_is_shown(api: Api, tmp_path: Path) -> None:
    """From files, and from what a kubeconfig carries within it; nothing of it is left on disk."""
    ask(way({"server": api.url, "ca": str(api.ca), "client_certificate": str(api.client), "client_key": str(api.client_key)}))
    cluster = {"certificate-authority-data": packed(api.ca)}
    user = {"client-certificate-data": packed(api.client), "client-key-data": packed(api.client_key)}
    ask(way({"kubeconfig": str(kubeconfig(tmp_path, api.url, cluster=cluster, user=user))}))
    assert api.shown == [(None, "client"), (None, "client")]
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


def test_a_kubeconfig_is_read_for_each_request(api: Api, tmp_path: Path) -> None:
    """Relative files lie beside it; a token that is renewed in it counts at once; one that breaks is named, without what stands in it."""
    (tmp_path / "ca.crt").write_bytes(api.ca.read_bytes())
    cluster = {"certificate-authority": "ca.crt"}
    path = kubeconfig(tmp_path, api.url, cluster=cluster, user={"token": "one"})
    enter = way({"kubeconfig": str(path), "context": "here"})
    ask(enter)
    (tmp_path / "token").write_text("two")
    kubeconfig(tmp_path, api.url, cluster=cluster, user={"tokenFile": "token"})
    ask(enter)
    assert [token for token, _ in api.shown] == ["Bearer one", "Bearer two"]
    path.write_text(f"users: [{SECRET}")
    with pytest.raises(NotPermitted, match=r"The way into the cluster cannot be read: .*config is no YAML\.") as error:
        enter()
    assert SECRET not in str(error.value)


def test_a_certificate_that_is_not_trusted_is_said_so(api: Api, tmp_path: Path) -> None:
    """It is not a network that is down, and the token was not sent."""
    other, _ = certificate(tmp_path, "other")
    with pytest.raises(Unreachable, match=rf"The certificate of {api.url} is not trusted .*nothing was sent. Check its authority\."):
        ask(way({"server": api.url, "ca": str(other)}, SECRET))
    assert api.shown == []


def test_nothing_secret_is_shown() -> None:
    """Neither the open way nor an error of it holds the token in its text."""
    door = way({"server": "http://127.0.0.1:1"}, SECRET)()
    assert SECRET not in repr(door)
    with pytest.raises(Unreachable) as error:
        ask(way({"server": "http://127.0.0.1:1"}, SECRET))
    assert SECRET not in str(error.value)


ENTERING = """
import sys
from actions.contract import NotPermitted
from actions.kinds import Options
from actions.kubernetes.access import access

try:
    access(Options({"server": "https://127.0.0.1:1", "client_certificate": sys.argv[1], "client_key": sys.argv[2]}), {})()
except NotPermitted as error:
    print(error)
"""


def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    """An encrypted key is refused at once, even at a terminal: there OpenSSL would ask for its password and wait for ever."""
    certified, private = certificate(tmp_path, "client")
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"a-password")
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    entering = [sys.executable, "-c", ENTERING, str(certified), str(private)]
    at_a_terminal = [sys.executable, "-c", f"import pty; pty.spawn({entering!r})"]
    done = subprocess.run(at_a_terminal, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert "pass phrase" not in done.stdout
    assert "is encrypted" in done.stdout


def test_a_secret_that_cannot_be_read_is_a_refusal(api: Api) -> None:
    """A token whose place is empty ends in a sentence, not in a crash, and nothing is sent."""

    def missing() -> str:
        raise MusterError("The environment variable KUBERNETES_TOKEN is not set; set it to the secret and try again")

    with pytest.raises(NotPermitted, match="KUBERNETES_TOKEN is not set"):
        ask(access(Options({"server": api.url, "ca": str(api.ca)}), {"token": missing}))
    assert api.shown == []


def test_a_key_that_does_not_fit_is_named(api: Api, tmp_path: Path) -> None:
    """The certificate of one and the key of another are refused before anything is sent."""
    _, other = certificate(tmp_path, "other")
    with pytest.raises(NotPermitted, match="not valid PEM, is encrypted, or they do not belong together"):
        ask(way({"server": api.url, "ca": str(api.ca), "client_certificate": str(api.client), "client_key": str(other)}))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "server"),
        ({"server": "https://a", "in_cluster": True}, "server"),
        ({"server": "http://10.0.0.1:6443"}, "server"),
        ({"server": "a"}, "server"),
        ({"server": "https://a", "client_certificate": "a.crt"}, "client_key"),
        ({"kubeconfig": "no-such-file"}, "kubeconfig"),
        ({"in_cluster": "yes"}, "in_cluster"),
    ],
)
def test_a_way_that_cannot_be_is_refused_at_the_start(options: dict[str, Any], field: str) -> None:
    """None, two, an unencrypted one, half a certificate, a missing file: with the field in question."""
    with pytest.raises(SettingsInvalid) as error:
        way(options, SECRET)
    assert [problem.field for problem in error.value.problems] == [f"backends.{field}"]


def test_a_server_needs_credentials() -> None:
    """Without token and certificate the field of the secret is named."""
    with pytest.raises(SettingsInvalid, match=r"secrets\.token"):
        way({"server": "https://a"})


@pytest.mark.parametrize(
    ("cluster", "user", "why"),
    [
        ({"insecure-skip-tls-verify": True}, {}, "leaves the server's certificate unchecked"),
        ({}, {"exec": {"command": "aws"}}, "Muster starts no programs"),
        ({}, {"auth-provider": {"name": "gcp"}}, "Muster starts no programs"),
        ({}, {"username": "ana", "password": SECRET}, "signs in by password"),
        ({"server": "http://10.0.0.1"}, {}, "not reached by https"),
        ({"certificate-authority-data": "%%%"}, {}, "certificate-authority-data is not base64"),
    ],
)
def test_a_kubeconfig_that_asks_too_much_is_refused(cluster: dict[str, Any], user: dict[str, Any], why: str, tmp_path: Path) -> None:
    """Unchecked certificates, programs to start, passwords: each is refused at the start, with what to do instead."""
    path = kubeconfig(tmp_path, "https://a", cluster=cluster, user=user)
    with pytest.raises(SettingsInvalid, match=why) as error:
        way({"kubeconfig": str(path)})
    assert SECRET not in str(error.value)


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With those that are."""
    path = kubeconfig(tmp_path, "https://a")
    with pytest.raises(SettingsInvalid, match="has no context there; there are: here"):
        way({"kubeconfig": str(path), "context": "there"})
    path.write_text("[]")
    with pytest.raises(SettingsInvalid, match="is no kubeconfig"):
        way({"kubeconfig": str(path)})
