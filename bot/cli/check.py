"""`muster check`: everything that the night will need, tried now. It changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import httpx
import typer
from slack_sdk.errors import SlackApiError, SlackClientError

from actions.contract import Backend, Probing
from actions.situation import Freeze, RecurringFreeze
from bot.app import load_library
from bot.backends import built, release_units, serving
from bot.cli import rights
from bot.cli.findings import Finding, note, ok, wrong
from bot.cli.output import ERROR, USAGE, Json, reported, show, table
from bot.configuration import Configuration, load
from bot.secret import Secrets
from bot.settings import Settings
from bot.slack.messenger import client
from runbooks.errors import MusterError, SettingsInvalid
from storage import migrations
from storage.database import Database

PATIENCE = 10.0  # seconds for each of the outside systems


def check(as_json: Json = False) -> None:
    """Try everything that Muster will need: configuration, secrets, database, Slack, PagerDuty, backends, runbooks. Changes nothing.

    Exit code 0 when nothing is wrong, 1 when something is, 2 when the environment or the configuration cannot be used.
    """
    with reported():
        settings = Settings.read()
    findings: list[Finding] = []
    try:
        configuration = load(settings.config) if settings.config else Configuration.default()
    except SettingsInvalid as error:
        findings = [Finding(state="WRONG", what="configuration", text=str(problem)) for problem in error.problems]
        show([asdict(one) for one in findings], as_json, _words)
        raise typer.Exit(USAGE) from error
    findings += _configuration(settings, configuration)
    findings += freezes(configuration, now=datetime.now(UTC))
    for look in (_database, _slack, _pagerduty, _simulation):
        findings += _tried(look, settings)
    findings += _backends(configuration, settings.secrets())
    findings += _release_units(configuration, settings)
    findings += _runbooks(settings, configuration)
    findings += rights.of(configuration, settings=settings, now=datetime.now(UTC))
    show([asdict(one) for one in findings], as_json, _words)
    if any(one.state == "WRONG" for one in findings):
        raise typer.Exit(ERROR)


def _words(found: list[dict[str, str]]) -> str:
    return table([(one["state"], one["what"], one["text"]) for one in found], ("", "WHAT", "FOUND"))


def _tried(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    what = look.__name__.removeprefix("_")
    try:
        return list(look(settings))
    except MusterError as error:
        return [wrong(what, str(error))]
    except (httpx.HTTPError, SlackClientError, OSError) as error:
        return [wrong(what, f"cannot be reached: {error or type(error).__name__}")]


def _configuration(settings: Settings, configuration: Configuration) -> Iterator[Finding]:
    if settings.config is None:
        yield note("configuration", "there is no muster.yaml; the built-in one of the demo is shown here, and `muster serve` refuses it")
    else:
        yield ok("configuration", f"{settings.config} holds together")
    unreadable = configuration.unreadable(settings.secrets())
    for problem in unreadable:
        yield (wrong if settings.config else note)("secrets", f"{problem.field}: {problem.reason}")
    if not unreadable:
        yield ok("secrets", "every secret that it names can be read")
    for name, source in configuration.file.sources.items():
        yield ok("source", f"{name}: {source.kind}, proven by {source.auth.value}, at {settings.public_url}/alerts/{name}")
    if not configuration.file.sources:
        yield wrong("source", "muster.yaml names no source of alerts")
    for name, change in configuration.file.changes.items():
        yield ok("changes", f"{name}: proven by {change.auth.value}, at {settings.public_url}/changes/{name}")


def freezes(configuration: Configuration, *, now: datetime) -> Iterator[Finding]:
    """When no changes are made: each freeze with what it covers, and whether it is on, to come or over."""
    for freeze in configuration.freezes:
        on, coming = freeze.at(now), freeze.upcoming(now)
        if on:
            state = f"on now, until {on.until_text}"
        elif coming:
            state = f"next at {coming.from_text}, until {coming.until_text}"
        else:
            state = f"over since {freeze.until_text}" if isinstance(freeze, Freeze) else "none begins for six weeks"
        again = f"{freeze.recurrence}; " if isinstance(freeze, RecurringFreeze) else ""
        yield ok("freeze", f"{freeze.name.rstrip('.')}: {again}{state}{_covers(freeze)}")


def _covers(freeze: Freeze | RecurringFreeze) -> str:
    named = (("tiers", sorted(tier.value for tier in freeze.tiers)), ("in", sorted(freeze.environments)), ("of", sorted(freeze.services)))
    return "".join(f"; {word} {', '.join(names)}" for word, names in named if names)


def _database(settings: Settings) -> Iterator[Finding]:
    scheme, _, path = settings.database_url.partition(":///")
    if scheme.startswith("sqlite") and not Path(path).exists():
        yield note("database", f"{path} will be made at the first start")
        return
    database = Database(url=settings.database_url)
    try:
        migrations.check(database)
        yield ok("database", f"{database.dialect}, its schema fits this version")
    finally:
        database.close()


def _slack(settings: Settings) -> Iterator[Finding]:
    if settings.slack_bot_token is None:
        yield note("slack", "not configured: SLACK_BOT_TOKEN is not set; alerts are kept, and nobody is told in Slack")
        return
    web = client(bot_token=settings.slack_bot_token.get_secret_value(), api_url=settings.slack_api_url, timeout=int(PATIENCE))
    try:
        answer = web.auth_test()
    except SlackApiError as error:
        yield wrong("slack", f"auth.test says {error.response['error']}; look at SLACK_BOT_TOKEN")
        return
    yield ok("slack", f"{answer['user']} in {answer['team']}")
    if settings.slack_app_token is None and settings.slack_signing_secret is None:
        yield wrong("slack", "neither SLACK_APP_TOKEN (Socket Mode) nor SLACK_SIGNING_SECRET (HTTP) is set: buttons cannot be heard")
    else:
        yield ok(
            "slack", "hears over Socket Mode" if settings.slack_app_token else f"hears over HTTP at {settings.public_url}/slack/events"
        )


def _pagerduty(settings: Settings) -> Iterator[Finding]:
    if settings.pagerduty_api_token is None:
        yield note("pagerduty", "not configured; the on-call plan of muster.yaml serves")
        return
    headers = {"Authorization": f"Token token={settings.pagerduty_api_token.get_secret_value()}"}
    answer = httpx.get(f"{settings.pagerduty_api_url}/abilities", headers=headers, timeout=PATIENCE)
    if answer.is_success:
        yield ok("pagerduty", "the token is known")
    else:
        yield wrong("pagerduty", f"answers {answer.status_code}; look at PAGERDUTY_API_TOKEN and MUSTER_PAGERDUTY_API_URL")


def _simulation(settings: Settings) -> Iterator[Finding]:
    if settings.simulation_url is None:
        return
    httpx.get(f"{settings.simulation_url}/healthz", timeout=PATIENCE).raise_for_status()
    yield ok("simulation", f"answers at {settings.simulation_url}")


def _backends(configuration: Configuration, secrets: Secrets) -> Iterator[Finding]:
    for plan in configuration.backends(secrets):
        try:
            one = built(plan)
        except MusterError as error:
            yield wrong("backend", str(error))
            continue
        offered = ", ".join(operation.name for operation in one.operations)
        whose = f" of {', '.join(sorted(one.services))}" if one.services else ""
        yield ok("backend", f"{plan.name}: {plan.kind} for {one.environment or 'every environment'}{whose}, offers {offered}")
        yield _credentials(plan.name, one.backend)


def _release_units(configuration: Configuration, settings: Settings) -> Iterator[Finding]:
    """Which release each unit runs, read from its parts."""
    if not configuration.file.release_units:
        return
    try:
        for one in release_units(configuration, serving(configuration, secrets=settings.secrets(), settings=settings)):
            yield ok("release units", f"{', '.join(sorted(one.targets))} in {one.environment}")
            yield _credentials(one.name, one.backend)
    except MusterError as error:
        yield wrong("release units", str(error))


def _credentials(name: str, backend: Backend) -> Finding:
    """Whether the far side lets Muster in, found out without changing anything."""
    if not isinstance(backend, Probing):
        return note("credentials", f"{name}: has nothing to sign in to")
    try:
        return ok("credentials", f"{name}: {backend.probe(timeout=PATIENCE)}")
    except MusterError as error:
        return wrong("credentials", f"{name}: {error}")


def _runbooks(settings: Settings, configuration: Configuration) -> Iterator[Finding]:
    library = load_library(settings)
    for problem in library.problems:
        yield wrong("runbook", str(problem))
    if library.fallback is None:
        yield wrong("runbooks", "none is the fallback, so that some alert would meet silence")
    yield ok("runbooks", f"{len(library.all)} hold: {', '.join(one.id for one in library.all)}")
    named = {rule.page for runbook in library.all for rule in runbook.header.escalation}
    for target in configuration.targets_missing(named):
        yield wrong("on-call", f"runbooks page {target}, and on_call has no such target")
    for owner in sorted({one.header.owner for one in library.all}):
        if not configuration.directory.members(owner):
            yield wrong("owners", f"runbooks belong to {owner}, and muster.yaml has no such team with people in it")
