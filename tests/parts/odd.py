"""Answers of another shape than documented: each part of a far side's answers is replaced by what was not expected there."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import httpx

from actions.toolkit.wire import Wire
from runbooks.errors import MusterError

GONE = object()
ODD: tuple[Any, ...] = (None, [], {}, "x", -1, True, [None], {"key": None}, 10**400, float("nan"), "9" * 30, GONE)
MOST_ENTRIES = 2  # of a list; the others are of the same kind

Place = tuple[str | int, ...]


def never_a_traceback(wire: Wire, work: Callable[[], object], *, things: Sequence[Any] = ODD) -> int:
    """Do the reading `work` with every part of every answer replaced in turn; anything else than an error for people fails.

    Returns:
        how many answers were tried.
    """
    answers = _kept(wire, work)
    tried = 0
    for number, answer in enumerate(answers):
        for changed in odd(json.loads(answer), things=things):
            _answering(wire, [*answers[:number], json.dumps(changed).encode(), *answers[number + 1 :]])
            tried += 1
            with suppress(MusterError):
                work()
    return tried


def odd(document: Any, *, things: Sequence[Any] = ODD) -> Iterator[Any]:
    """The document with each of its parts, itself too, replaced by each odd thing."""
    for place in _places(document, ()):
        for thing in things:
            if place or thing is not GONE:
                yield _with(document, place, thing)


def _kept(wire: Wire, work: Callable[[], object]) -> list[bytes]:
    """What the far side answers, as it comes over the wire."""
    kept: list[bytes] = []

    def keep(answer: httpx.Response) -> None:
        kept.append(answer.read())

    wire._client.event_hooks = {"response": [keep]}
    work()
    return kept


def _answering(wire: Wire, answers: list[bytes]) -> None:
    rest = iter(answers)
    wire._client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=next(rest, answers[-1]))))


def _places(document: Any, place: Place) -> Iterator[Place]:
    yield place
    if isinstance(document, dict):
        for name, one in document.items():
            yield from _places(one, (*place, name))
    elif isinstance(document, list):
        for at, one in enumerate(document[:MOST_ENTRIES]):
            yield from _places(one, (*place, at))


def _with(document: Any, place: Place, thing: Any) -> Any:
    if not place:
        return thing
    changed = deepcopy(document)
    inside = changed
    for step in place[:-1]:
        inside = inside[step]
    if thing is GONE:
        del inside[place[-1]]
    else:
        inside[place[-1]] = thing
    return changed
