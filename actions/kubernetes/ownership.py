"""Who changed a field last, and when: from the field managers that the API server records.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from collections.abc import Mapping
from datetime import datetime

from actions.kubernetes.cluster import MANAGER, Thing, dig
from runbooks.value import Json

KEY = "muster/key"
"""The annotation that holds the idempotency key of Muster's last change."""


def key_of(thing: Thing) -> str | None:
    """The key of Muster's last change of this object, where it could be written beside it."""
    found = dig(thing, "metadata", "annotations", KEY)
    return found if isinstance(found, str) else None


def changed(thing: Thing, *path: str) -> tuple[str | None, datetime | None]:
    """The manager of the field at `path` and the time of its change; several managers of its parts: the last one. UTC.

    (None, None) where the server does not record it, and where two have changed parts of it in the same second: times are kept in
    whole seconds, and nobody is named by chance. Muster's own is `muster/` and the key.
    """
    entries = dig(thing, "metadata", "managedFields") or ()
    owners = [entry for entry in entries if isinstance(entry, Mapping) and _owns(entry, path)]
    if not owners:
        return None, None
    last = max(owners, key=lambda entry: str(entry.get("time") or ""))
    manager, at = str(last.get("manager") or ""), _moment(last.get("time"))
    if any(entry.get("time") == last.get("time") and entry.get("manager") != manager for entry in owners):
        return None, None
    if manager == MANAGER:
        return f"{MANAGER}/{key_of(thing) or ''}".rstrip("/"), at
    return manager or None, at


def records_scaling(thing: Thing) -> bool:
    """Whether this server notes who wrote through a subresource (from 1.22 on); before, `replicas` keeps its former owner."""
    return any(isinstance(entry, Mapping) and "subresource" in entry for entry in dig(thing, "metadata", "managedFields") or ())


def _owns(entry: Mapping[str, Json], path: tuple[str, ...]) -> bool:
    return dig(entry.get("fieldsV1"), *(f"f:{key}" for key in path)) is not None


def _moment(found: Json) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return at if at.tzinfo else None
