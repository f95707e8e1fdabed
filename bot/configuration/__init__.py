"""`muster.yaml`: who there is, what is run, where alerts come from, who may do what. Loaded once, immutable; a reload loads another."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path

from actions.situation import Freeze, Rates, RecurringFreeze
from bot.configuration import checks, freezing
from bot.configuration.reading import Document, fitted, read, read_file
from bot.configuration.schema import Door, File, OnCallPlan, SourceEntry
from bot.configuration.tokens import Tokens
from bot.ingress.authentication import Check
from bot.ingress.changes import ChangeSettings, parse_changes
from bot.ingress.sender import AlertSender, ChangeSender
from bot.ingress.source import OWN_SIGNATURE, Scheme, SignatureForm, SourceKind, SourceSettings, installed
from bot.secret import SecretMissing, SecretRef, Secrets
from runbooks.errors import Problem, SettingsInvalid
from runbooks.people import Directory, Grant, Person, Team
from runbooks.service import Service
from runbooks.severity import Severity
from runbooks.value import Json

__all__ = ["BackendPlan", "Configuration", "OnCallPlan", "Tokens", "load", "parse"]

DEFAULT = Path(__file__).parent / "default.yaml"
"""What holds without a file: the people of the local workspace and the simulated service. Nobody can sign in from outside with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlan:
    """One backend as `actions.kinds.build` wants it."""

    name: str
    kind: str
    options: Mapping[str, Json]
    secrets: Mapping[str, Callable[[], str]]
    services: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)  # without slots, for the cached properties
class Configuration:
    """A configuration that holds together. `file` is what it says; the rest gives it in the core's words.

    `kinds` and `source_settings` are by the name of a source.
    """

    file: File
    path: str = ""
    kinds: Mapping[str, SourceKind] = field(default_factory=dict, repr=False)
    source_settings: Mapping[str, SourceSettings] = field(default_factory=dict)

    @classmethod
    def default(cls) -> "Configuration":
        """The configuration of the demo, and of `check` where there is no file."""
        return load(DEFAULT)

    @cached_property
    def directory(self) -> Directory:
        """All people, teams and grants."""
        people = tuple(
            Person(id=key, name=entry.name, email=entry.email or "", slack_id=entry.slack_id) for key, entry in self.file.people.items()
        )
        teams = tuple(
            Team(id=key, name=entry.name or key, lead=entry.lead, members=entry.members, channel=entry.channel)
            for key, entry in self.file.teams.items()
        )
        return Directory(people=people, teams=teams, grants=tuple(Grant(**grant.model_dump()) for grant in self.file.permissions))

    @cached_property
    def services(self) -> dict[str, Service]:
        """Services by name. A service without a channel of its own uses its owner's."""
        return {
            name: Service(
                name=name,
                owner=entry.owner,
                channel=entry.channel or self.file.teams[entry.owner].channel,
                environment=entry.environment,
                customers=entry.customers,
                owners={kind.value: owner for kind, owner in entry.owners.items()},
                links=dict(entry.links),
            )
            for name, entry in self.file.services.items()
        }

    @property
    def review_days(self) -> dict[Severity, int]:
        """Business days until a post-mortem is due; a severity that asks for none is absent."""
        return {severity: entry.review_days for severity, entry in self.file.severities.items() if entry.review_days is not None}

    @property
    def holidays(self) -> frozenset[str]:
        """ISO dates on which nobody is asked to work."""
        return frozenset(day.isoformat() for day in self.file.holidays)

    @property
    def drill_zone(self) -> str:
        """The time zone of `drills.at`."""
        return self.file.drills.zone or self.file.time_zone

    def frozen(self, day: date) -> str | None:
        """Why no drill may be held on this local day, or None."""
        return checks.today_is_frozen(day, self.file)

    @cached_property
    def freezes(self) -> tuple[Freeze | RecurringFreeze, ...]:
        """When no changes are made (rule S9)."""
        return freezing.freezes_of(self.file)

    @property
    def rates(self) -> Rates:
        """How much may happen in how short a time (rule S14)."""
        names = ("window", "action", "target", "person", "everywhere", "targets")
        return Rates(**{name: getattr(self.file.limits, name) for name in names})

    def escalates(self, severity: Severity) -> bool:
        """Whether people are paged about incidents of this severity."""
        return self.file.severities[severity].escalates

    @property
    def known_by_email(self) -> dict[str, str]:
        """People whose Slack id the file does not give: e-mail addresses by person, for Slack to be asked (`users.lookupByEmail`)."""
        return {key: entry.email for key, entry in self.file.people.items() if entry.slack_id is None and entry.email is not None}

    def with_slack_ids(self, found: Mapping[str, str]) -> "Configuration":
        """This configuration with the Slack ids that Slack gave, by person. What the file says stays, and nobody gets another's id."""
        taken = {entry.slack_id for entry in self.file.people.values() if entry.slack_id}
        people = dict(self.file.people)
        for key, slack_id in found.items():
            if key in self.known_by_email and slack_id not in taken:
                people[key] = people[key].model_copy(update={"slack_id": slack_id})
                taken.add(slack_id)
        return replace(self, file=self.file.model_copy(update={"people": people}))

    @property
    def user_groups(self) -> dict[str, str]:
        """Teams whose members Slack keeps: the user group's id by team."""
        return {key: entry.user_group for key, entry in self.file.teams.items() if entry.user_group is not None}

    def with_user_groups(self, found: Mapping[str, Collection[str]]) -> "Configuration":
        """This configuration with the members that Slack's user groups have, by team: people of this file by their Slack ids.

        Members that the file itself names stay; whoever is in the group and not in the file may still do nothing.
        """
        by_slack_id = {entry.slack_id: key for key, entry in self.file.people.items() if entry.slack_id}
        teams = dict(self.file.teams)
        for team, slack_ids in found.items():
            if team in self.user_groups:
                named = teams[team].members
                joined = (by_slack_id[one] for one in slack_ids if one in by_slack_id and by_slack_id[one] not in named)
                teams[team] = teams[team].model_copy(update={"members": (*named, *joined)})
        return replace(self, file=self.file.model_copy(update={"teams": teams}))

    def person_for_login(self, login: str) -> Person | None:
        """The person whose login on Muster's own machine this is; None may only read."""
        found = next((key for key, entry in self.file.people.items() if entry.login == login), None)
        return self.directory.person(found) if found else None

    def targets_missing(self, names: set[str]) -> list[str]:
        """Paging targets that runbooks name and `on_call` lacks."""
        return checks.targets_missing(self.file.on_call, names)

    def senders(self, secrets: Secrets) -> dict[str, AlertSender]:
        """The sources of alerts, ready for the intake."""
        return {
            name: AlertSender(
                name=name,
                check=_check(entry, self.kinds[name].signature),
                secret=secrets.bind(*entry.secret),
                parse=self.kinds[name].parse,
                settings=self.source_settings[name],
            )
            for name, entry in self.file.sources.items()
        }

    def change_senders(self, secrets: Secrets) -> dict[str, ChangeSender]:
        """The sources of changes, ready for the intake."""
        return {
            name: ChangeSender(
                name=name,
                check=_check(entry, OWN_SIGNATURE),
                secret=secrets.bind(*entry.secret),
                parse=parse_changes,
                settings=ChangeSettings(services=entry.services),
            )
            for name, entry in self.file.changes.items()
        }

    def tokens(self, secrets: Secrets) -> Tokens:
        """The API's callers."""
        return Tokens(
            {name: secrets.bind(*entry.secret) for name, entry in self.file.tokens.items()},
            people={name: self.directory.person(entry.person) for name, entry in self.file.tokens.items() if entry.person},
            writers={name for name, entry in self.file.tokens.items() if entry.may == "write"},
            proposers={name for name, entry in self.file.tokens.items() if entry.may == "propose"},
        )

    def backends(self, secrets: Secrets) -> list[BackendPlan]:
        """The backends to build, each with its options and its secrets, which are read at the moment of use."""
        return [
            BackendPlan(
                name=name,
                kind=entry.kind,
                options=entry.options,
                secrets={key: partial(_revealed, secrets, ref) for key, ref in entry.secrets.items()},
                services=entry.services,
                operations=entry.operations,
            )
            for name, entry in self.file.backends.items()
        ]

    def unreadable(self, secrets: Secrets) -> list[Problem]:
        """Secrets that cannot be read at present: said at the start, not at the first alert of the night."""
        found: list[Problem] = []
        for place, refs in self._secret_refs():
            for ref in refs:
                try:
                    secrets.reveal(ref)
                except SecretMissing as error:
                    found.append(Problem(file=self.path, field=place, reason=str(error)))
        return found

    def _secret_refs(self) -> list[tuple[str, tuple[SecretRef, ...]]]:
        places: list[tuple[str, tuple[SecretRef, ...]]] = [
            (f"sources.{name}.secret", entry.secret) for name, entry in self.file.sources.items()
        ]
        places += [(f"changes.{name}.secret", entry.secret) for name, entry in self.file.changes.items()]
        places += [(f"tokens.{name}.secret", token.secret) for name, token in self.file.tokens.items()]
        places += [
            (f"backends.{name}.secrets.{key}", (ref,))
            for name, backend in self.file.backends.items()
            for key, ref in backend.secrets.items()
        ]
        return places


def load(path: Path, *, kinds: Mapping[str, SourceKind] | None = None) -> Configuration:
    """The configuration of a file. `kinds` are the kinds of sources, by default those installed.

    Raises:
        SettingsInvalid: with every problem found, each with file, field, line and reason.
    """
    return _load(read_file(path), folder=path.parent, kinds=kinds)


def parse(
    text: str, *, file: str = "muster.yaml", folder: Path | None = None, kinds: Mapping[str, SourceKind] | None = None
) -> Configuration:
    """`load` for text; files that it names count from `folder`.

    Raises:
        SettingsInvalid: as `load`.
    """
    return _load(read(text, file=file), folder=folder or Path(), kinds=kinds)


def _load(document: Document, *, folder: Path, kinds: Mapping[str, SourceKind] | None) -> Configuration:
    problems: list[Problem] = []
    data = dict(document.data)
    plan_document, prefix = _plan_of(document, folder)
    data["on_call"] = {}
    known = kinds if kinds is not None else installed()
    file = fitted(File, data, document, (), problems)
    plan_data = plan_document.data if not prefix else plan_document.data.get("on_call", {})
    plan = fitted(OnCallPlan, plan_data, plan_document, prefix, problems)
    if file is None or plan is None:
        raise SettingsInvalid(problems)
    file = file.model_copy(update={"on_call": plan})
    settings = {name: _settings(name, entry, known, document, problems) for name, entry in file.sources.items()}
    problems += checks.problems_of(file, document, plan_document, prefix)
    if problems:
        raise SettingsInvalid(problems)
    return Configuration(
        file=file,
        path=document.file,
        source_settings={name: found for name, found in settings.items() if found is not None},
        kinds={name: known[entry.kind] for name, entry in file.sources.items()},
    )


def _plan_of(document: Document, folder: Path) -> tuple[Document, tuple[str, ...]]:
    """The document with the on-call plan, and under which field: `on_call: {file: PATH}` names another one."""
    plan = document.data.get("on_call")
    if isinstance(plan, dict) and set(plan) == {"file"} and isinstance(plan["file"], str):
        return read_file(folder / plan["file"]), ()
    return document, ("on_call",)


def _settings(
    name: str, entry: SourceEntry, kinds: Mapping[str, SourceKind], document: Document, problems: list[Problem]
) -> SourceSettings | None:
    kind = kinds.get(entry.kind)
    if kind is None:
        problems.append(document.problem(("sources", name, "kind"), f"{entry.kind} is not installed; there is {', '.join(sorted(kinds))}"))
        return None
    if entry.auth not in kind.schemes:
        words = " or ".join(scheme.value for scheme in kind.schemes)
        problems.append(document.problem(("sources", name, "auth"), f"{entry.kind} proves itself by {words}"))
    if entry.signature is not None and kind.signature_is_fixed:
        problems.append(document.problem(("sources", name, "signature"), f"{entry.kind} has a form of its own, which is known here"))
    extra: dict[str, Json] = entry.model_extra or {}
    return fitted(kind.settings, extra, document, ("sources", name), problems, names=SourceEntry.model_fields)


def _revealed(secrets: Secrets, ref: SecretRef) -> str:
    return secrets.reveal(ref).get_secret_value()


def _check(entry: Door, usual: SignatureForm) -> Check:
    signature = (entry.signature or usual) if entry.auth is Scheme.HMAC else None
    return Check(scheme=entry.auth, user=entry.user or "", signature=signature)
