"""What is run: a service, who owns it, who uses it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from runbooks.severity import IncidentClass
from runbooks.value import Value


class OwnerRole(StrEnum):
    """What a team may answer for in a service."""

    PLATFORM = "platform"
    DATA = "data"
    ML = "ml"
    PRODUCT = "product"
    RISK = "risk"
    SUPPORT = "support"


ANSWERS_FOR: Mapping[IncidentClass, OwnerRole] = MappingProxyType(
    {
        IncidentClass.AVAILABILITY: OwnerRole.PLATFORM,
        IncidentClass.QUALITY: OwnerRole.ML,
        IncidentClass.SAFETY: OwnerRole.RISK,
        IncidentClass.COST: OwnerRole.PRODUCT,
        IncidentClass.DATA: OwnerRole.DATA,
        IncidentClass.SECURITY: OwnerRole.RISK,
    }
)
"""Whose kind of trouble it is where neither the service nor a runbook names a team (mission E2)."""


class Service(Value):
    """One service of muster.yaml. `channel` is where its cards go; `customers` are who to name when nothing is measured.

    `owners` names teams by class of incident or by role (mission E2), for example {"quality": "ml-quality", "support": "support"};
    `owner` is for the rest.
    """

    name: str
    owner: str
    channel: str | None = None
    environment: str = "production"
    customers: tuple[str, ...] = ()
    owners: dict[str, str] = {}
    links: dict[str, str] = {}

    def owner_of(self, kind: IncidentClass, *, runbook_owner: str, known: bool) -> str:
        """Who owns an incident of this class: the team named for the class, else the runbook's owner.

        Trouble that no runbook is written for (`known` is false) belongs to the role whose kind of trouble it is.
        """
        role = None if known else self.owners.get(ANSWERS_FOR[kind].value)
        return self.owners.get(kind.value) or role or runbook_owner or self.owner

    @property
    def roles(self) -> dict[OwnerRole, str]:
        """The teams by role, in the order of `OwnerRole`."""
        return {role: self.owners[role.value] for role in OwnerRole if role.value in self.owners}
