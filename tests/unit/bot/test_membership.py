"""Who people and teams are in Slack, asked at the wire of a scripted Slack."""

from collections.abc import Iterator

import pytest

from bot.configuration import parse
from bot.membership import GROUPS_AGAIN_AFTER, Membership
from bot.slack.messenger import client
from storage.database import Database
from tests.slack_wire import Wire, serving

FILE = """
people:
  ana: {name: Ana, slack_id: U0ANA12345}
  ben: {name: Ben, email: ben@example.com}
  chika: {name: Chika, slack_id: U0CHIKA123}
teams:
  web: {members: [ana], lead: ana, user_group: S0WEB12345}
"""


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A scripted Slack."""
    with serving() as found:
        yield found


class Time:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        """The present."""
        return self.now


def membership(wire: Wire, database: Database, time: Time) -> Membership:
    """The file above, joined with what this Slack knows."""
    return Membership(configuration=parse(FILE), database=database, client=client(bot_token="xoxb-1", api_url=wire.url), monotonic=time)


def members(known: Membership) -> list[str]:
    """Who is in the team."""
    return [person.id for person in known.known().directory.members("web")]


def test_a_user_groups_members_are_the_teams(wire: Wire, database: Database) -> None:
    """People of the file join by their Slack ids, found by e-mail or written; a stranger of the group does not, and nobody twice."""
    wire.emails, wire.groups = {"ben@example.com": "U0BEN12345"}, {"S0WEB12345": ["U0ANA12345", "U0BEN12345", "U0STRANGER"]}
    found = membership(wire, database, Time())
    assert members(found) == ["ana"]
    assert found.learn()
    assert members(found) == ["ana", "ben"]
    assert [person.id for person in found.known().directory.people] == ["ana", "ben", "chika"]


def test_who_leaves_the_group_loses_its_rights_at_the_next_look(wire: Wire, database: Database) -> None:
    """The group is asked again after its time and not before; what did not change is not said to have."""
    time = Time()
    wire.groups = {"S0WEB12345": ["U0CHIKA123"]}
    found = membership(wire, database, time)
    assert found.learn()
    wire.groups = {"S0WEB12345": []}
    assert not found.learn()
    assert members(found) == ["ana", "chika"]
    time.now += GROUPS_AGAIN_AFTER + 1
    assert found.learn()
    assert members(found) == ["ana"]


def test_a_slack_that_does_not_answer_takes_nobodys_rights(wire: Wire, database: Database) -> None:
    """What was heard last stays, over a restart too, until Slack says something else."""
    time = Time()
    wire.groups = {"S0WEB12345": ["U0CHIKA123"]}
    membership(wire, database, time).learn()
    wire.groups = {}
    later = membership(wire, database, time)
    assert not later.learn()
    assert members(later) == ["ana", "chika"]
