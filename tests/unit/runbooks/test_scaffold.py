"""A new runbook to edit."""

from datetime import date

import pytest

from runbooks.errors import RunbookInvalid
from runbooks.loading import load
from runbooks.scaffold import new
from runbooks.severity import IncidentClass, Severity
from tests.catalogue import catalogue

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize("incident_class", list(IncidentClass))
def test_a_new_runbook_is_valid_as_it_stands(incident_class: IncidentClass) -> None:
    """The author begins with something that `check` accepts, whatever the class and the title."""
    title = 'The "queue" is: full # of {braces} & ünïcode'
    text = new("queue-full", title=title, incident_class=incident_class, owner="search", reviewed=TODAY, severity=Severity.SEV2)
    header = load(text, name="queue-full", catalogue=catalogue()).header
    assert (header.title, header.owner, header.class_, header.severity, header.reviewed) == (
        title,
        "search",
        incident_class,
        Severity.SEV2,
        TODAY,
    )
    assert header.match == ({"alertname": "QueueFull"},)


@pytest.mark.parametrize(
    ("runbook_id", "title", "owner", "field"),
    [
        ("Queue Full", "Full", "search", "id"),
        ("queue-full", "{{ 7*7 }}", "search", "title"),
        ("queue-full", "two\nlines", "search", "title"),
        ("queue-full", "Full", "The Search Team", "owner"),
        ('x"\nowner: evil', "Full", "search", "id"),
    ],
)
def test_a_wrong_name_is_refused_and_breaks_nothing_else(runbook_id: str, title: str, owner: str, field: str) -> None:
    """What is given is only ever a value: loading names the field that is wrong."""
    text = new(runbook_id, title=title, incident_class=IncidentClass.COST, owner=owner, reviewed=TODAY)
    with pytest.raises(RunbookInvalid) as refused:
        load(text, name=runbook_id, catalogue=catalogue())
    assert field in {problem.field for problem in refused.value.problems}
