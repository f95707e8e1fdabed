"""One row of the API's table, and the door that every request to it passes: who asks, what is asked, what came of it."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, RootModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot.access import Access, Guest
from bot.app import Muster
from bot.flows import machines
from bot.flows.errors import Refused
from bot.flows.machines import Machine
from bot.ports import Press, Reply, Visitor
from runbooks.errors import MusterError, NotFound, TransitionRefused
from runbooks.screens import Notice, Refusal
from runbooks.value import Json
from storage import mitigations, runs, suggestions
from storage.database import Tx
from storage.errors import StorageUnavailable, Unreadable

PREFIX = "/api/v1"
LARGEST_BODY = 262_144  # bytes; the largest honest body is a status update

FORBIDDEN = frozenset({"unknown_person", "not_human", "not_granted", "own_request", "read_only", "propose_only"})
INVALID = frozenset({"unknown_button", "unknown_dialog", "undeclared", "no_number", "invalid", "key_reused"})
"""Reasons by which a refusal is 403 or 422; every other one is 409: asked rightly, and not possible now."""


class Parsed(RootModel[Any]):
    """Any JSON."""


class Failed(MusterError):
    """What was asked for cannot be answered with what was wanted. `fields` says what is wrong by field."""

    def __init__(self, status: int, reason: str, text: str, *, fields: Mapping[str, str] | None = None) -> None:
        self.status, self.reason, self.fields = status, reason, dict(fields or {})
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An answer that is no JSON object: an export. `name` is what a browser calls the file."""

    body: str
    media: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, decoded."""

    muster: Muster
    guest: Guest
    path: Mapping[str, Any]
    query: Any
    body: Any
    interaction: str

    @property
    def visitor(self) -> Visitor:
        """Who asks, as the flows see it."""
        return self.guest.visitor(self.interaction)

    def press(self, press: Press) -> Reply:
        """Press a button; a refusal is raised."""
        return told(self.muster.desk.press(press, self.visitor))

    def submit(self, press: Press, form: dict[str, Json]) -> Reply:
        """Submit a dialog; a refusal and wrong fields are raised."""
        return told(self.muster.desk.submit(press, form, self.visitor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path. `media` are the forms of an answer that is not JSON alone; `changes` needs somebody who may write.

    `needs` is "propose" for what a machine may do that changes nothing but the thread (rule S28).
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    handler: Callable[[Call], BaseModel | Document]
    answer: Any
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    media: tuple[str, ...] = ()
    needs: Literal["write", "propose"] = "write"
    offered: Callable[[Muster], bool] = lambda _muster: True

    @property
    def changes(self) -> bool:
        """Whether it may change anything."""
        return self.method == "POST"

    def lets(self, guest: Guest) -> bool:
        """Whether this caller may ask for it. A machine may do the one thing that it is for, and nothing else that changes anything."""
        if not self.changes or (guest.may_write and not guest.may_propose):
            return True
        return guest.may_propose and self.needs == "propose"


class Door:
    """Answers one endpoint's requests."""

    def __init__(self, endpoint: Endpoint, muster: Muster, access: Access, pool: Executor) -> None:
        self._endpoint, self._muster, self._access, self._pool = endpoint, muster, access, pool

    async def answer(self, request: Request) -> Response:
        """Every answer is JSON or the export that was asked for; every error is `{"error": {"reason", "text", "fields"}}`."""
        try:
            call = await self._decoded(request)
            found = await asyncio.get_running_loop().run_in_executor(self._pool, self._endpoint.handler, call)
        except Failed as failed:
            return failure(failed.status, failed.reason, str(failed), failed.fields)
        except Refused as refused:
            return failure(status_of(refused.reason), refused.reason, str(refused))
        except NotFound as error:
            return failure(404, "not_found", str(error))
        except TransitionRefused as error:
            return failure(409, "transition", str(error))
        except StorageUnavailable as error:
            return failure(503, "storage_unavailable", str(error))
        except Unreadable as error:
            return failure(500, "unreadable", str(error))
        if isinstance(found, Document):
            headers = {"Content-Disposition": f'inline; filename="{found.name}"', "X-Content-Type-Options": "nosniff"}
            return Response(found.body, media_type=found.media, headers=headers)
        return Response(found.model_dump_json(), media_type="application/json")

    async def _decoded(self, request: Request) -> Call:
        guest = self._access.guest(request.scope)
        if guest is None:
            text = "Send a token: Authorization: Bearer …. Tokens stand under `tokens` in muster.yaml; over the Unix socket none is needed."
            raise Failed(401, "token_needed", text)
        if not self._endpoint.lets(guest):
            if guest.may_propose and guest.person:
                await self._overstepped(request, Machine(token=guest.name, person=guest.person))
            raise Failed(403, "propose_only" if guest.may_propose else "read_only", _read_only(guest))
        endpoint = self._endpoint
        query = fitted(endpoint.query, dict(request.query_params)) if endpoint.query else None
        body = fitted(endpoint.body, await _json(request)) if endpoint.body else None
        interaction = f"api:{guest.name}:{request.headers.get('idempotency-key') or uuid4().hex}"[:200]
        return Call(muster=self._muster, guest=guest, path=request.path_params, query=query, body=body, interaction=interaction)

    async def _overstepped(self, request: Request, machine: Machine) -> None:
        """A machine tried more than to propose: on record before it is refused (rule S28)."""
        endpoint, path, context = self._endpoint, dict(request.path_params), self._muster.context
        what = f"tried to {endpoint.name.replace('_', ' ')} ({request.method} {request.url.path[:200]}), which no machine may."

        def work(tx: Tx) -> None:
            machines.attempted(tx, context, machine, what, reason="propose_only", incident_id=_incident_in(tx, path))

        await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.write(work, name="overstepped"))


def _incident_in(tx: Tx, path: Mapping[str, Any]) -> int | None:
    """The incident that a path is about, by itself, by its run, its mitigation or its proposal."""
    try:
        if "run" in path:
            return runs.get(tx, int(path["run"])).incident_id
        if "mitigation" in path:
            return mitigations.get(tx, int(path["mitigation"])).incident_id
        if "proposal" in path:
            return suggestions.get(tx, int(path["proposal"])).incident_id
    except NotFound:
        return None
    return int(path["incident"]) if "incident" in path else None


def fitted(model: type[BaseModel], given: Any) -> BaseModel:
    """The given JSON as what the endpoint wants.

    Raises:
        Failed: 422, with every field that is wrong.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fields = {".".join(str(part) for part in one["loc"]) or "body": one["msg"] for one in error.errors()}
        said = "; ".join(f"{field}: {reason}" for field, reason in fields.items())
        raise Failed(422, "invalid", f"This cannot be used: {said}.", fields=fields) from None


def told(reply: Reply) -> Reply:
    """The flow's answer, or what it refused.

    Raises:
        Failed: 403 or 409 for a refusal, 422 for fields.
    """
    if reply.errors:
        raise Failed(422, "invalid", " ".join(reply.errors.values()), fields=reply.errors)
    if isinstance(reply.whisper, Refusal):
        raise Failed(status_of(reply.whisper.reason), reply.whisper.reason or "refused", reply.whisper.text)
    return reply


def said(reply: Reply) -> str:
    """The sentence that a person would read, if there was one."""
    return reply.whisper.text if isinstance(reply.whisper, Notice) else ""


def status_of(reason: str) -> int:
    """The status of a refusal by its reason."""
    if reason == "not_found":
        return 404
    if reason in FORBIDDEN:
        return 403
    return 422 if reason in INVALID else 409


def failure(status: int, reason: str, text: str, fields: Mapping[str, str] | None = None) -> Response:
    """The one form of every error."""
    error: dict[str, Any] = {"reason": reason, "text": text, **({"fields": dict(fields)} if fields else {})}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


async def _json(request: Request) -> Any:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Failed(413, "too_large", f"The body is larger than {LARGEST_BODY} bytes.")
    if not body.strip():
        return {}
    try:
        return Parsed.model_validate_json(bytes(body)).root
    except ValidationError:
        raise Failed(400, "not_json", "The body is not JSON.") from None


def _read_only(guest: Guest) -> str:
    if guest.via == "cli":
        return f"You may only read: nobody in muster.yaml has the login {guest.name!r}. Add `login: {guest.name}` to a person there."
    if guest.may_propose:
        what = "a person runs, approves, undoes and stops"
        return f"The token {guest.name} may read, plan and propose, and nothing else: {what}. This attempt is on record."
    return f"The token {guest.name} may only read. To change something it needs `may: write` and a `person` in muster.yaml."
