"""`http.get`: a status page, a health check, a few log lines. Only hosts that the configuration lists, and never by a detour.

A label must not be able to turn a diagnostic into a look at a cloud's metadata service (rule S29, OWASP's SSRF sheet): the address
is resolved once, judged, and then connected to as judged; a redirect may change the path and nothing else.
"""

import re
import time
from urllib.parse import urljoin, urlsplit

from actions.comparing import deadline
from actions.contract import BackendError, CallInvalid, NotPermitted, Rejected, Unreachable
from actions.kinds import BackendKind, OnlyReads, Options, Secrets
from actions.toolkit.addresses import Guarded, Host, Resolve, host, resolved
from actions.toolkit.jsonpath import at
from actions.toolkit.wire import Answer, Wire, refuse
from runbooks.operation import Argument, ArgumentType, Call, Operation, Reading
from runbooks.value import Json

WHO = "The page"
MOST_BYTES = 500_000
MOST_BODY = 4000  # characters of a text body that are kept
MOST_REDIRECTS = 3

OPERATION = Operation(
    name="http.get",
    title="Read a page",
    reads=True,
    arguments={
        "url": Argument(type=ArgumentType.TEXT, help="an address on a listed host, or a path such as /log?stage=app below `base`"),
        "path": Argument(type=ArgumentType.TEXT, required=False, help="where the result lies in a JSON body, such as components[0].status"),
        "expect": Argument(
            type=ArgumentType.INTEGER, required=False, minimum=100, maximum=599, help="the status to expect; 200 to 299 without it"
        ),
        "measure": Argument(
            type=ArgumentType.TEXT,
            required=False,
            choices=("status", "seconds"),
            help="what the number is: the status, whatever it is, or how long the whole answer took",
        ),
    },
    sample={
        "status": 200,
        "body": {"status": "ok"},
        "rows": [{"stage": "model", "line": "ok", "value": 1.0}],
        "value": 1.0,
        "seconds": 0.2,
    },
)


class Web(OnlyReads):
    """Pages on listed hosts. Implements `actions.contract.Backend`; it only reads."""

    name = "http"
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(
        self,
        *,
        allow: tuple[Host, ...],
        base: str | None = None,
        environment: str | None = None,
        world: str | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self.environment, self.world = environment, world
        self._base = base
        wire = Wire(who=WHO, headers=lambda: {"Accept": "application/json, text/plain;q=0.9, */*;q=0.1"})
        self._guarded = Guarded(wire=wire, allow=allow, resolve=resolve)

    def read(self, call: Call, *, timeout: float) -> Reading:
        """Status, body, and what lies at `path`: as `value` if it is one thing, as `rows` if it is a list.

        With `measure` the number is the status or the seconds. A page that cannot be reached is an error in either case, and no number.
        """
        asked, measure = str(call.arguments["url"]), call.arguments.get("measure")
        began = time.monotonic()
        answer = self._follow(self._start(asked), timeout=timeout)
        seconds = round(time.monotonic() - began, 4)
        expected = call.arguments.get("expect")
        if expected is not None and answer.status != expected:
            raise Rejected(f"{asked} answers {answer.status}, expected {expected}.")
        if expected is None and measure != "status":
            refuse(answer, who=WHO, what="such address")
        found = {**_result(answer, call.arguments.get("path")), "seconds": seconds}
        return Reading(value={**found, "value": found[measure]} if measure else found)

    def probe(self, *, timeout: float) -> str:  # noqa: ARG002 - resolving has the system's own time limit
        """Whether every listed host has an address that may be asked; no page is read, because none is known to be harmless."""
        wrong = list(self._guarded.unusable())
        if wrong:
            raise Unreachable(" ".join(wrong))
        return "Every listed host has an address that may be asked; no page was read."

    def _start(self, asked: str) -> str:
        """The whole address: a path stands below `base` and cannot leave it."""
        if not asked.startswith("/"):
            if self.world is not None:
                raise NotPermitted("A drill reads only pages of its simulated world.")
            return asked
        if self._base is None:
            raise CallInvalid(f"{asked} has no host, and no base is configured.")
        path = urlsplit(asked).path.lower().replace("%2e", ".").replace("%3b", ";")
        parts = re.split(r"[/\\;]|%2f|%5c", path)  # some servers take `..;` for `..`
        if asked.startswith("//") or not {".", ".."}.isdisjoint(parts):
            raise NotPermitted(f"{asked} leaves the base.")
        return self._base.rstrip("/") + asked

    def _follow(self, address: str, *, timeout: float) -> Answer:
        start, left = self._guarded.placed(address), deadline(timeout)
        place = start
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._guarded.send("GET", place, timeout=left(), most=MOST_BYTES)
            location = answer.headers.get("location")
            if answer.status not in {301, 302, 303, 307, 308} or not location:
                return answer
            if self.world is not None:
                raise NotPermitted("The page sends elsewhere; inside a simulated world that is not followed.")
            address = urljoin(address, location)
            place = self._guarded.placed(address)
            if place.host != start.host:
                raise NotPermitted(f"The page sends to another host ({place.host.name}); that is not followed.")
        raise Rejected(f"The page sends on more than {MOST_REDIRECTS} times.")


def _result(answer: Answer, path: Json) -> dict[str, Json]:
    try:
        body = answer.json()
    except BackendError:
        body = answer.body.decode("utf-8", "replace")[:MOST_BODY]
        if path is not None:
            raise
    found = body if path is None else at(body, str(path))
    rows = found if isinstance(found, list) else []
    value = found if isinstance(found, str | int | float | bool) and path is not None else None
    return {"status": answer.status, "body": body, "rows": rows, "value": value}


def build(options: Options, secrets: Secrets) -> Web:  # noqa: ARG001 - pages are read without credentials
    """`allow`: hosts on the internet; `inside`: hosts of one's own; `base`: where addresses that are only a path begin."""
    base = options.text("base", None)
    try:
        allow = [host(entry) for entry in options.texts("allow", [])]
        allow += [host(entry, inside=True) for entry in options.texts("inside", [])]
        if base is not None:
            parts = urlsplit(base)
            allow.append(host(f"{parts.scheme}://{parts.netloc}", inside=True))
    except ValueError as error:
        raise options.invalid("allow", str(error)) from error
    return Web(allow=tuple(allow), base=base, environment=options.text("environment", None), world=options.text("world", None))


KIND = BackendKind(
    name="http", operations=(OPERATION,), build=build, options=frozenset({"allow", "inside", "base", "environment", "world"})
)
