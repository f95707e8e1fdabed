"""The change feed: deploys, flags, models, prompts and index builds, as their senders report them (mission B2).

One format of our own, and the two GitHub events that tell of a deployment.
Source of the latter: https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_status
"""

from collections.abc import Mapping
from typing import Any

from pydantic import StrictStr

from bot.ingress.payload import (
    LONGEST_LABEL,
    LONGEST_TEXT,
    fingerprint_of,
    identity_of,
    link_of,
    list_of,
    moment_of,
    object_of,
    read_json,
    text_of,
)
from bot.ingress.source import Options, PayloadInvalid, SourceSettings
from runbooks.change import Change, ChangeKind, ChangeState

MOST_CHANGES = 1_000  # in one delivery; more is a mistake, not a day's work
_FIELDS = {"key", "kind", "title", "service", "target", "author", "link", "changed_at", "state"}
_GITHUB_STATES = {
    "success": ChangeState.FINISHED,
    "in_progress": ChangeState.STARTED,
    "failure": ChangeState.FAILED,
    "error": ChangeState.FAILED,
}
_GITHUB_WORDS = {ChangeState.FINISHED: "deployed", ChangeState.STARTED: "is being deployed", ChangeState.FAILED: "failed to deploy"}
_KINDS = {kind.value: kind for kind in ChangeKind}


class ChangeSettings(SourceSettings):
    """`services` maps the sender's names (for GitHub: `owner/repository`) to services of this configuration."""

    services: dict[StrictStr, StrictStr] = {}


def parse_changes(body: bytes, headers: Mapping[str, str], options: Options) -> list[Change]:
    """Every change of one delivery: an object, a list of them, or a GitHub event (by the header `X-GitHub-Event`).

    A change that is said to be `started` ends with a delivery under the same key that says `finished` or `failed`. A GitHub event that
    tells of no deployment that has begun or ended is accepted and carries no change.

    Raises:
        PayloadInvalid: it is none of these.
    """
    document = read_json(body)
    if event := headers.get("x-github-event"):
        return _of_github(event, object_of(document, "the body"), options)
    entries = list_of(document, "the body", most=MOST_CHANGES) if isinstance(document, list) else [document]
    return [_of_ours(object_of(entry, f"change {at}"), f"change {at}", options) for at, entry in enumerate(entries, start=1)]


def _of_ours(entry: dict[str, Any], where: str, options: Options) -> Change:
    if unknown := sorted(set(entry) - _FIELDS):
        raise PayloadInvalid(f"{where} has a field {unknown[0][:80]!r}; known are {', '.join(sorted(_FIELDS))}")
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PayloadInvalid(f"{where}: kind must be one of {', '.join(_KINDS)}")
    title = text_of(entry.get("title"), f"{where}: title", longest=LONGEST_TEXT)
    if not title:
        raise PayloadInvalid(f"{where}: title is missing; it says what was changed")
    state = entry.get("state", ChangeState.FINISHED.value)
    if state not in {one.value for one in ChangeState}:
        raise PayloadInvalid(f"{where}: state must be one of {', '.join(one.value for one in ChangeState)}")
    if state == ChangeState.STARTED.value and not entry.get("key"):
        raise PayloadInvalid(f"{where}: key is missing; a change that has started ends under the same key")
    texts = {name: text_of(entry.get(name), f"{where}: {name}", longest=LONGEST_LABEL) for name in ("service", "target", "author")}
    changed_at = moment_of(entry.get("changed_at"), f"{where}: changed_at", received_at=options.received_at)
    facts = {"kind": kind, "title": title, "changed_at": changed_at.isoformat(), **texts}
    return Change(
        key=f"{options.source}/{identity_of(entry.get('key'), f'{where}: key') or fingerprint_of(facts)}",
        source=options.source,
        kind=_KINDS[kind],
        title=title,
        service=_service(texts["service"], options) or None,
        target=texts["target"] or None,
        author=texts["author"] or None,
        link=link_of(entry.get("link")),
        state=ChangeState(state),
        changed_at=changed_at,
    )


def _of_github(event: str, body: dict[str, Any], options: Options) -> list[Change]:
    if event != "deployment_status":
        return []
    status = object_of(body.get("deployment_status"), "deployment_status")
    state = _GITHUB_STATES.get(str(status.get("state")))
    if state is None:
        return []
    deployment = object_of(body.get("deployment"), "deployment")
    repository = text_of(object_of(body.get("repository"), "repository").get("full_name"), "repository.full_name", longest=LONGEST_LABEL)
    number = deployment.get("id")
    if not isinstance(number, int):
        raise PayloadInvalid("deployment.id must be a number")
    ref = text_of(deployment.get("ref"), "deployment.ref", longest=LONGEST_LABEL)
    creator = deployment.get("creator")
    author = (
        text_of(object_of(creator, "deployment.creator").get("login"), "deployment.creator.login", longest=LONGEST_LABEL) if creator else ""
    )
    environment = text_of(deployment.get("environment"), "deployment.environment", longest=LONGEST_LABEL)
    return [
        Change(
            key=f"{options.source}/{number}",
            source=options.source,
            kind=ChangeKind.DEPLOY,
            title=f"{repository} {ref} {_GITHUB_WORDS[state]} to {environment or 'an environment without a name'}",
            service=_service(repository, options),
            target=environment or None,
            author=author or None,
            link=link_of(status.get("log_url")) or link_of(status.get("target_url")),
            state=state,
            changed_at=moment_of(status.get("created_at"), "deployment_status.created_at", received_at=options.received_at),
        )
    ]


def _service(name: str, options: Options) -> str:
    known = options.settings.services if isinstance(options.settings, ChangeSettings) else {}
    return known.get(name, name.rpartition("/")[2] if "/" in name else name)
