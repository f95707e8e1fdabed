import pytest

from runbooks.service import ANSWERS_FOR, OwnerRole, Service
from runbooks.severity import IncidentClass

SERVICE = Service(name="answers", owner="core", owners={"quality": "judges", "ml": "models", "risk": "safety-team", "support": "desk"})


@pytest.mark.parametrize(
    ("kind", "known", "owner"),
    [
        (IncidentClass.QUALITY, True, "judges"),
        (IncidentClass.QUALITY, False, "judges"),
        (IncidentClass.SAFETY, True, "author"),
        (IncidentClass.SAFETY, False, "safety-team"),
        (IncidentClass.AVAILABILITY, False, "author"),
    ],
)
def test_trouble_has_one_owner(kind: IncidentClass, known: bool, owner: str) -> None:
    """The class's team first; else the runbook's owner, and where only the fallback fits, the role whose kind of trouble it is."""
    assert SERVICE.owner_of(kind, runbook_owner="author", known=known) == owner


def test_every_class_is_somebodys_kind_of_trouble() -> None:
    """No class of incident lacks a role, and roles are shown in one order."""
    assert set(ANSWERS_FOR) == set(IncidentClass)
    assert list(SERVICE.roles) == [OwnerRole.ML, OwnerRole.RISK, OwnerRole.SUPPORT]
