"""The way into a cluster: its address, whom to trust, and the credentials, all read anew for each request (rule S18).

Three forms, of which a backend names one: `server` (with the secret `token`, or a client certificate), `kubeconfig`, or `in_cluster`.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from actions.contract import NotPermitted
from actions.kinds import Options, Secrets
from actions.kubernetes import kubeconfig
from actions.kubernetes.kubeconfig import Entry, KubeconfigUnusable
from runbooks.errors import MusterError

OPTIONS = frozenset({"server", "ca", "client_certificate", "client_key", "kubeconfig", "context", "in_cluster"})
IN_CLUSTER = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/"""
_NONE = ""  # no password: for a key that is encrypted, OpenSSL would ask at the terminal, and wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """All that one request needs. Lives as long as that request."""

    server: str
    headers: Mapping[str, str] = field(repr=False)
    verify: ssl.SSLContext = field(repr=False)


Access = Callable[[], Door]
"""Reads the credentials and opens the way.

Raises:
    NotPermitted: they cannot be read.
"""


def access(options: Options, secrets: Secrets, *, account: Path = ACCOUNT) -> Access:
    """The way in that is configured. `account` is where a pod's service account lies.

    Raises:
        SettingsInvalid: none is configured, or more than one, or what is configured cannot be used.
    """
    ways: dict[str, type] = {"server": str, "kubeconfig": str, "in_cluster": bool}
    named = [name for name, kind in ways.items() if options.get(name, kind, None)]
    if len(named) != 1:
        raise options.invalid("server", "is needed, or instead of it one of kubeconfig and in_cluster: true, and only one of the three")
    if named == ["kubeconfig"]:
        return _by_kubeconfig(options)
    if named == ["in_cluster"]:
        return lambda: _door(Entry(server=IN_CLUSTER, ca_file=str(account / "ca.crt"), token_file=str(account / "token")))
    return _by_server(options, secrets)


def _by_server(options: Options, secrets: Secrets) -> Access:
    server, token = options.text("server"), secrets.get("token")
    certificate, key = options.text("client_certificate", None), options.text("client_key", None)
    if not _safe(server):
        raise options.invalid("server", "must begin with https://; http:// only reaches this machine itself, such as a kubectl proxy")
    if bool(certificate) != bool(key):
        raise options.invalid("client_key", "and client_certificate belong together")
    if token is None and not certificate and server.startswith("https://"):
        raise options.invalid("secrets.token", "is needed, or client_certificate and client_key")
    entry = Entry(server=server, ca_file=options.text("ca", None), certificate_file=certificate, key_file=key)

    def enter() -> Door:
        try:
            said = token() if token else None
        except MusterError as error:
            raise NotPermitted(f"The credentials for {server} cannot be read: {error}") from error
        return _door(entry, token=said)

    return enter


def _by_kubeconfig(options: Options) -> Access:
    path, context = Path(options.text("kubeconfig")).expanduser(), options.text("context", None)

    def entry() -> Entry:
        found = kubeconfig.entry(path, context=context)
        if not _safe(found.server):
            raise KubeconfigUnusable(f"{path} names the server {found.server}, which is not reached by https")
        return found

    def enter() -> Door:
        try:
            return _door(entry())
        except KubeconfigUnusable as error:
            raise NotPermitted(f"The way into the cluster cannot be read: {error}.") from error

    try:
        entry()
    except KubeconfigUnusable as error:
        raise options.invalid("kubeconfig", str(error)) from error
    return enter


def _safe(server: str) -> bool:
    """Whether a token may travel there: encrypted, or no further than this machine."""
    parts = urlsplit(server)
    if parts.scheme == "https" and parts.hostname:
        return True
    try:
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _door(entry: Entry, *, token: str | None = None) -> Door:
    """Open the way of an entry; whatever it names is read now."""
    try:
        said = token or entry.token or (Path(entry.token_file).read_text().strip() if entry.token_file else None)
        verify = _verify(entry)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        raise NotPermitted(f"The credentials for {entry.server} cannot be read: {_reason(error)}. Nothing was sent.") from error
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {said}"} if said else {})}
    return Door(server=entry.server, headers=headers, verify=verify)


def _verify(entry: Entry) -> ssl.SSLContext:
    """Trust the entry's authority alone where it names one, and show its certificate where it has one."""
    if entry.server.startswith("http://"):  # nothing to trust, and reading every authority of this machine takes its time
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context(cafile=entry.ca_file, cadata=entry.ca_data)
    certificate, key = entry.certificate_data, entry.key_data
    if certificate and key:
        with tempfile.NamedTemporaryFile(
            "w", prefix="muster-", suffix=".pem"
        ) as file:  # ssl takes files only; this one is for its owner alone
            file.write(f"{certificate}\n{key}\n")
            file.flush()
            context.load_cert_chain(file.name, password=_NONE)
    elif entry.certificate_file:
        context.load_cert_chain(entry.certificate_file, entry.key_file, password=_NONE)
    return context


def _reason(error: Exception) -> str:
    """Why a file cannot be used, without what stands in it."""
    if isinstance(error, ssl.SSLError):
        return "a certificate or key is not valid PEM, is encrypted, or they do not belong together"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or 'cannot be read'}"
    return "a file holds something that cannot be used"
