"""What the pages of the four kinds say can be copied: the configuration builds, and the roles hold what is asked for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from actions.backends import istio, kserve, kubernetes, rollouts
from actions.kinds import BackendKind, Options
from actions.operations import CLUSTER_SCALE

ROOT = Path(__file__).parents[4]
KINDS = {kind.name: kind for kind in (kubernetes.KIND, rollouts.KIND, kserve.KIND, istio.KIND)}
NEEDED = {
    "kubernetes": {"cluster.scale": kubernetes.NEEDED[CLUSTER_SCALE.name]},
    "rollouts": rollouts.NEEDED,
    "kserve": kserve.NEEDED,
    "istio": istio.NEEDED,
}
"""What each role is for; that of Kubernetes only scales."""


def blocks(name: str) -> list[Any]:
    """The YAML on a page."""
    text = (ROOT / "docs" / "backends" / f"{name}.md").read_text()
    return [yaml.safe_load(found) for found in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_configuration_of_the_page_builds(kind: BackendKind) -> None:
    """Every option on the page is known, and the backend is bound to the environment that stands there."""
    entry = next(iter(blocks(kind.name)[0]["backends"].values()))
    secrets = {name: lambda: "a-token" for name in entry.pop("secrets")}
    assert entry.pop("kind") == kind.name
    options = Options(entry)
    options.only(kind.options)
    backend = kind.build(options, secrets)
    assert (backend.name, backend.environment) == (kind.name, "production")


@pytest.mark.parametrize("name", KINDS)
def test_the_role_of_the_page_is_what_is_asked_for(name: str) -> None:
    """Each right that the backend asks the API server about is in the role, and nothing beyond reading and patching is."""
    role = next(block for block in blocks(name) if block.get("kind") == "Role")
    given = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    wanted = {(one.group, f"{one.resource}/{one.subresource}".rstrip("/"), one.verb) for needed in NEEDED[name].values() for one in needed}
    assert wanted <= given
    assert {verb for _, _, verb in given} <= {"get", "list", "patch"}
