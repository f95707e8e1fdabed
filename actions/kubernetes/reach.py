"""What the credentials may do here, asked without changing anything: for `muster check`."""

from collections.abc import Collection, Mapping, Sequence

from actions.comparing import deadline
from actions.contract import NotPermitted
from actions.kubernetes.cluster import WHO, Cluster, Permission

Needed = Mapping[str, Sequence[Permission]]
"""What each operation needs."""


def reach(cluster: Cluster, *, needed: Needed, namespaces: Collection[str], timeout: float) -> str:
    """Which operations they may do, in each namespace that is configured (without any, everywhere), and what the others lack.

    Raises:
        NotPermitted: somewhere they may do none; the text says what is lacking.
        BackendError: it could not be asked.
    """
    left, every = deadline(timeout), dict.fromkeys(one for permissions in needed.values() for one in permissions)
    found = []
    for namespace in sorted(namespaces) or [""]:
        may = {one: cluster.may(one, namespace=namespace, timeout=left()) for one in every}
        lacking = {name: [one.words for one in permissions if not may[one]] for name, permissions in needed.items()}
        where = f"in {namespace}" if namespace else "in all namespaces"
        if all(lacking.values()):
            words = ", ".join(one.words for one in every if not may[one])
            raise NotPermitted(f"{WHO} lets these credentials in, but {where} they may not {words}. Extend their role.")
        found.append(f"{where} they may do {_listed(lacking)}")
    return f"{WHO} lets these credentials in; {'; '.join(found)}."


def _listed(lacking: Mapping[str, Sequence[str]]) -> str:
    able = ", ".join(name for name, words in lacking.items() if not words)
    unable = ", ".join(f"{name} (it lacks {', '.join(words)})" for name, words in lacking.items() if words)
    return f"{able}, but not {unable}" if unable else able
