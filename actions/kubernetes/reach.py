"""What the credentials may do here, asked without changing anything: for `muster check`."""

from collections.abc import Collection, Sequence

from actions.comparing import deadline
from actions.contract import NotPermitted
from actions.kubernetes.cluster import WHO, Cluster, Permission


def reach(cluster: Cluster, *, needed: Sequence[Permission], namespaces: Collection[str], timeout: float) -> str:
    """What they may do of what is needed, in each namespace that is configured; without any, everywhere.

    Raises:
        NotPermitted: something is lacking; the text says what, and where.
        BackendError: it could not be asked.
    """
    left = deadline(timeout)
    for namespace in sorted(namespaces) or [""]:
        lacking = [one.words for one in needed if not cluster.may(one, namespace=namespace, timeout=left())]
        if lacking:
            raise NotPermitted(
                f"{WHO} lets these credentials in, but {_where(namespace)} they may not {', '.join(lacking)}. Extend their role."
            )
    places = " and ".join(_where(namespace) for namespace in sorted(namespaces) or [""])
    return f"{WHO} lets these credentials in; {places} they may {', '.join(one.words for one in needed)}."


def _where(namespace: str) -> str:
    return f"in {namespace}" if namespace else "in all namespaces"
