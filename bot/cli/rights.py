"""Who may do what, as it would be decided at this moment: for `muster check`, by service and tier, with who is on duty now."""

from collections.abc import Iterator
from datetime import datetime

from slack_sdk.errors import SlackApiError, SlackClientError

from bot.cli.findings import Finding, note, ok, wrong
from bot.configuration import Configuration
from bot.oncall import OnCallFile
from bot.settings import Settings
from bot.slack.messenger import client
from runbooks import approval
from runbooks.approval import Circle
from runbooks.people import Person
from runbooks.service import Service
from runbooks.severity import Tier

ASKED = (Tier.R1, Tier.R2, Tier.R3)


def of(configuration: Configuration, *, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Grants, what they come to for each service now, user groups, and people whom nobody could recognise."""
    for grant in configuration.directory.grants:
        may = [f"run up to {grant.run.value}" if grant.run else "", f"approve up to {grant.approve.value}" if grant.approve else ""]
        may += ["pause and resume" if grant.admin else ""]
        services = "" if grant.services == ("*",) else f" for {', '.join(grant.services)}"
        yield ok("grant", f"{grant.who}: {', '.join(one for one in may if one) or 'nothing'}{services}")
    joined = configuration
    for team, group in configuration.user_groups.items():
        found, members = _group(configuration, settings, team=team, group=group)
        yield from found
        joined = joined.with_user_groups({team: members})
    duty = OnCallFile(plan=joined.file.on_call, directory=joined.directory, time_zone=joined.file.time_zone)
    on_call = {team.id: tuple(person.id for person in duty.on_call(team.id, now)) for team in joined.directory.teams}
    for service in joined.services.values():
        circle = Circle(directory=joined.directory, on_call=on_call, service=service.name)
        yield from _service(service, circle)
    unknown = sorted(configuration.known_by_email)
    if unknown:
        yield note("people", f"found in Slack by e-mail at the start: {', '.join(unknown)}")


def _service(service: Service, circle: Circle) -> Iterator[Finding]:
    owners = ", ".join([service.owner, *(f"{role.value} {team}" for role, team in service.roles.items())])
    yield ok("service", f"{service.name} in {service.environment}, cards in #{service.channel or 'incidents'}, owned by {owners}")
    for tier in ASKED:
        runners, approvers = approval.runners(tier=tier, circle=circle), approval.approvers(tier=tier, circle=circle)
        needed = approval.MINIMUM[tier]
        text = f"{service.name} {tier.value}: {_names(runners)} may run it"
        text += f"; {'another' if needed == 1 else 'two others'} must approve: {_names(approvers)}" if needed else ""
        yield ok("may", text) if runners else note("may", f"{service.name} {tier.value}: nobody may run it")
        alone = [person for person in runners if len({one.id for one in approvers} - {person.id}) < needed]
        if alone:
            text = f"{service.name} {tier.value}: {_names(tuple(alone))} would find too few others to approve; break-glass is left"
            yield note("may", text)


def _names(people: tuple[Person, ...]) -> str:
    return ", ".join(person.name for person in people) or "nobody"


def _group(configuration: Configuration, settings: Settings, *, team: str, group: str) -> tuple[list[Finding], tuple[str, ...]]:
    """A user group as Slack has it now."""
    if settings.slack_bot_token is None:
        return [note("team", f"{team}: its members come from the user group {group}, and Slack is not configured")], ()
    web = client(bot_token=settings.slack_bot_token.get_secret_value(), api_url=settings.slack_api_url, timeout=10)
    try:
        members = tuple(str(one) for one in web.usergroups_users_list(usergroup=group)["users"])
    except SlackApiError as error:
        said = error.response["error"]
        return [wrong("team", f"{team}: the user group {group} cannot be read: {said}; look at its id and the scope usergroups:read")], ()
    except (SlackClientError, OSError) as error:
        return [wrong("team", f"{team}: the user group {group} cannot be read: {error or type(error).__name__}")], ()
    known = [one for one in members if configuration.directory.by_slack_id(one)]
    found = [ok("team", f"{team}: {len(known)} people of the user group {group} are members")]
    if strangers := sorted(set(members) - set(known)):
        found.append(note("team", f"{team}: {', '.join(strangers)} of {group} are not in muster.yaml by Slack id, and may do nothing"))
    return found, members
