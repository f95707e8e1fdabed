"""Request bodies: bounded, and read as queries, forms or JSON."""

from __future__ import annotations

import json
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from bot.workspace.protocol import Json, SlackError

BODY_BYTES = 1_000_000


class BodyTooLarge(Exception):
    """A request body above its limit."""


def store(path: Path, content: bytes) -> None:
    """Write a file and the folder it belongs in."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


async def read(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it has more than ``most`` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise BodyTooLarge
        parts.append(part)
    return b"".join(parts)


def bearer(request: Request) -> str | None:
    """The token of the Authorization header, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


async def arguments(request: Request) -> dict[str, Any]:
    """The arguments of a Web API call: query, form or JSON."""
    args: dict[str, Any] = dict(request.query_params)
    if request.method == "GET":
        return args
    content_type = request.headers.get("content-type", "")
    body = await read(request, BODY_BYTES)
    if content_type.startswith("application/json"):
        return {**args, **json_object(body)}
    if content_type.startswith("multipart/form-data"):
        return {**args, **{name: content.decode() for name, content in _parts(content_type, body) if name}}
    try:
        return {**args, **dict(parse_qsl(body.decode(), keep_blank_values=True))}
    except UnicodeDecodeError:
        raise SlackError("invalid_form_data") from None


def json_object(body: bytes) -> Json:
    """A body that must be a JSON object.

    Raises:
        SlackError: invalid_json, json_not_object.
    """
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):  # also no UTF-8, endless numbers, and what nests too deeply
        raise SlackError("invalid_json") from None
    if not isinstance(value, dict):
        raise SlackError("json_not_object")
    return value


def _parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart form, by name."""
    message = BytesParser(policy=HTTP).parsebytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    found = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        found.append((name if isinstance(name, str) else "", content if isinstance(content, bytes) else b""))
    return found


def file_content(request: Request, body: bytes) -> bytes:
    """An uploaded file: the body itself, or the first part of a form."""
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return body
    parts = _parts(content_type, body)
    return parts[0][1] if parts else b""
