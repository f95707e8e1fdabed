"""A kubeconfig file: one context's server, authority and credentials.

Programs that a kubeconfig names (`exec`, `auth-provider`) are never run, and a cluster whose certificate is not checked is refused: at
2 a.m. nobody looks at what else is started. Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from runbooks.errors import MusterError
from runbooks.value import Json


class KubeconfigUnusable(MusterError):
    """The file cannot be used. The text names it and says why; it continues a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way into one cluster. Files are paths, `_data` is PEM."""

    server: str
    ca_file: str | None = None
    ca_data: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    certificate_file: str | None = None
    certificate_data: str | None = field(default=None, repr=False)
    key_file: str | None = None
    key_data: str | None = field(default=None, repr=False)


def entry(path: Path, *, context: str | None = None) -> Entry:
    """What the file says about `context`, by default its own current one.

    Raises:
        KubeconfigUnusable: it cannot be read, or it asks for what Muster does not do.
    """
    found = _parsed(path)
    name = context or found.get("current-context")
    chosen = _named(path, found, "contexts", "context", name)
    cluster = _named(path, found, "clusters", "cluster", chosen.get("cluster"))
    user = _named(path, found, "users", "user", chosen.get("user"))
    _refuse(path, cluster, user)
    return Entry(
        server=str(cluster.get("server") or ""),
        ca_file=_file(path, cluster, "certificate-authority"),
        ca_data=_data(path, cluster, "certificate-authority-data"),
        token=user.get("token"),
        token_file=_file(path, user, "tokenFile"),
        certificate_file=_file(path, user, "client-certificate"),
        certificate_data=_data(path, user, "client-certificate-data"),
        key_file=_file(path, user, "client-key"),
        key_data=_data(path, user, "client-key-data"),
    )


def _parsed(path: Path) -> Mapping[str, Json]:
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigUnusable(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # its text may hold a secret, so it is not repeated
        raise KubeconfigUnusable(f"{path} is no YAML") from error
    if not isinstance(found, Mapping):
        raise KubeconfigUnusable(f"{path} is no kubeconfig")
    return found


def _named(path: Path, found: Mapping[str, Json], many: str, one: str, name: Json) -> Mapping[str, Json]:
    listed = [each for each in found.get(many) or () if isinstance(each, Mapping)]
    inner = next((each.get(one) for each in listed if name and each.get("name") == name), None)
    if not isinstance(inner, Mapping):
        there = ", ".join(str(each.get("name")) for each in listed) or "none"
        raise KubeconfigUnusable(f"{path} has no {one} {name or 'chosen'}; there are: {there}")
    return inner


def _refuse(path: Path, cluster: Mapping[str, Json], user: Mapping[str, Json]) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigUnusable(f"{path} leaves the server's certificate unchecked; name its certificate-authority instead")
    for name in ("exec", "auth-provider"):
        if user.get(name):
            raise KubeconfigUnusable(f"{path} gets its credentials by {name}, and Muster starts no programs; use a service account's token")
    if user.get("username"):
        raise KubeconfigUnusable(f"{path} signs in by password, which Kubernetes took out; use a service account's token")


def _file(path: Path, found: Mapping[str, Json], name: str) -> str | None:
    """A path in a kubeconfig is relative to the file."""
    value = found.get(name)
    return str(path.parent / value) if isinstance(value, str) and value else None


def _data(path: Path, found: Mapping[str, Json], name: str) -> str | None:
    value = found.get(name)
    if not value:
        return None
    try:
        return base64.b64decode(value, validate=True).decode("ascii")
    except (TypeError, ValueError) as error:
        raise KubeconfigUnusable(f"{path}: {name} is not base64 of a PEM file") from error
