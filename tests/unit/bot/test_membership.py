"""Who people and teams are in Slack, asked at the wire of a scripted Slack."""

from collections.abc import Iterator
from typing import Any

import pytest

from bot.configuration import parse
from bot.membership import GROUPS, GROUPS_AGAIN_AFTER, IDS, Membership
from bot.slack.messenger import client
from storage import switches
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


def membership(wire: Wire, database: Database, time: Time, *, file: str = FILE) -> Membership:
    """The file above, joined with what this Slack knows."""
    return Membership(configuration=parse(file), database=database, client=client(bot_token="xoxb-1", api_url=wire.url), monotonic=time)


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


def ben(known: Membership) -> str | None:
    """Ben's Slack id."""
    found = known.known().directory.person("ben")
    return found.slack_id if found else None


def test_another_email_is_another_slack_id(wire: Wire, database: Database) -> None:
    """After the file names another address, Slack is asked anew, and the old address's id is nobody's until it has answered."""
    wire.emails = {"ben@example.com": "U0BEN12345", "ben@example.org": "U0BEN67890"}
    first = membership(wire, database, Time())
    assert first.learn()
    assert ben(first) == "U0BEN12345"
    moved = membership(wire, database, Time(), file=FILE.replace("ben@example.com", "ben@example.org"))
    assert ben(moved) is None
    assert moved.learn()
    assert ben(moved) == "U0BEN67890"
    asked = len(wire.of("users.lookupByEmail"))
    assert not membership(wire, database, Time(), file=FILE.replace("ben@example.com", "ben@example.org")).learn()
    assert len(wire.of("users.lookupByEmail")) == asked


def test_an_id_from_before_addresses_were_kept_holds_until_slack_is_asked(wire: Wire, database: Database) -> None:
    """The id alone, as older versions wrote it, is read; Slack is asked once, and its answer takes its place."""
    database.write(lambda tx: switches.put(tx, IDS, {"ben": "U0BEN12345"}))
    found = membership(wire, database, Time())
    assert ben(found) == "U0BEN12345"
    wire.emails = {"ben@example.com": "U0BEN67890"}
    assert found.learn()
    assert ben(found) == "U0BEN67890"


def test_a_slower_replica_does_not_put_back_an_old_list(wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another replica wrote about another team between this one's question and its word stays."""
    wire.groups = {"S0WEB12345": ["U0CHIKA123"]}
    found = membership(wire, database, Time())
    database.write(lambda tx: switches.put(tx, GROUPS, {"ops": ["U0OLD12345"]}))
    write = database.write

    def late(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(database, "write", write)
        write(lambda tx: switches.put(tx, GROUPS, {"ops": []}))
        return write(*args, **more)

    monkeypatch.setattr(database, "write", late)
    assert found.learn()
    assert database.read(lambda tx: switches.get(tx, GROUPS)) == {"ops": [], "web": ["U0CHIKA123"]}
