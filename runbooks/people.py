"""Who: people, teams, roles in an incident, and who may do what (rule S4)."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import Field

from runbooks.severity import Tier
from runbooks.value import Slug, Value


class Role(StrEnum):
    """A role in one incident."""

    COMMANDER = "commander"
    COMMUNICATIONS = "communications"
    SCRIBE = "scribe"
    EXPERT = "expert"


class Person(Value):
    """A human. `slack_id` is mapped by configuration or by e-mail, never guessed from a name."""

    id: Slug
    name: str
    email: str
    slack_id: str | None = None


class Team(Value):
    """People who own things together. `lead` gets drills and overdue notes; `channel` is a Slack channel name or id."""

    id: Slug
    name: str = ""
    lead: Slug | None = None
    members: tuple[Slug, ...] = ()
    channel: str | None = None


class ActorKind(StrEnum):
    """Who or what caused an entry."""

    PERSON = "person"
    MUSTER = "muster"
    SOURCE = "source"
    TOKEN = "token"  # noqa: S105 - a kind of actor, not a secret


class Actor(Value):
    """Who did it: a resolved person, Muster itself, an alert source, or a machine's token.

    `id` is the person's id, `muster`, the source's name, or the token's name. `slack_id` is kept beside it for the audit (rule S26).
    """

    kind: ActorKind
    id: str
    slack_id: str | None = None
    via: Literal["slack", "cli", "api", "sweep", "alert", "drill"] = "sweep"

    @property
    def is_human(self) -> bool:
        """Only a human may approve (rule S8)."""
        return self.kind is ActorKind.PERSON


MUSTER = Actor(kind=ActorKind.MUSTER, id="muster")


class Grant(Value):
    """One line of who may do what. Deny by default: what no grant allows is refused.

    `who` is `anyone`, `person:ana`, `team:ml-platform`, `on-call:ml-platform` or `commander`. `run` and `approve` are the highest
    tier allowed; absent means none. `services` are names from muster.yaml, or `*`. `admin` may pause, resume and change settings.
    """

    who: str = Field(pattern=r"^(anyone|commander|(person|team|on-call):[a-z0-9.-]+)$")
    run: Tier | None = None
    approve: Tier | None = None
    services: tuple[str, ...] = ("*",)
    admin: bool = False


class Directory(Value):
    """All people and teams, with their grants. Immutable: a reload builds a new one."""

    people: tuple[Person, ...] = ()
    teams: tuple[Team, ...] = ()
    grants: tuple[Grant, ...] = ()

    def person(self, person_id: str) -> Person | None:
        """The person with this id."""
        return next((person for person in self.people if person.id == person_id), None)

    def by_slack_id(self, slack_id: str) -> Person | None:
        """The person with this Slack id."""
        return next((person for person in self.people if person.slack_id == slack_id), None)

    def by_email(self, email: str) -> Person | None:
        """The person with this e-mail address; case does not matter."""
        return next((person for person in self.people if person.email.lower() == email.lower()), None)

    def team(self, team_id: str) -> Team | None:
        """The team with this id."""
        return next((team for team in self.teams if team.id == team_id), None)

    def members(self, team_id: str) -> tuple[Person, ...]:
        """The people of a team, in its order; empty for an unknown team."""
        team = self.team(team_id)
        return tuple(p for p in (self.person(m) for m in team.members) if p) if team else ()

    def subjects(self, person_id: str, *, on_call_for: Iterable[str] = (), commander: bool = False) -> frozenset[str]:
        """Every `who` that means this person now."""
        teams = {f"team:{team.id}" for team in self.teams if person_id in team.members}
        duties = {f"on-call:{team}" for team in on_call_for}
        return frozenset({"anyone", f"person:{person_id}", *teams, *duties, *(["commander"] if commander else [])})
