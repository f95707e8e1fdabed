"""The API's description of itself, made from its table and models: OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0)."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from bot.api.endpoint import PREFIX, Endpoint
from bot.api.models import Asked
from runbooks.value import Json

_REF = "#/components/schemas/{model}"
_CONVERTER = re.compile(r"\{(\w+)(?::(\w+))?\}")
_ERRORS = {
    "401": "Nobody: no token, or one that is not known",
    "403": "This caller may not do that",
    "404": "It is not there",
    "409": "Asked rightly, and not possible now; the text says why and what can be done instead",
    "422": "Something in it cannot be used; `fields` says what",
}


class ErrorText(BaseModel):
    """Why nothing was done. `reason` is a short stable name, `text` a sentence for a person."""

    reason: str
    text: str
    fields: dict[str, str] = {}


class Error(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorText


def describe(endpoints: Iterable[Endpoint]) -> dict[str, Json]:
    """The whole document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    _schema(Error, schemas)
    for endpoint in endpoints:
        path = PREFIX + _CONVERTER.sub(lambda found: "{" + found.group(1) + "}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": "1",
            "description": "What Muster knows and does, for scripts. Reading needs a token; changing needs a person who may.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _schema(endpoint.answer, schemas)}}
    content |= {media: {"schema": {"type": "string"}} for media in endpoint.media}
    said: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*_in_path(endpoint), *_in_query(endpoint, schemas)],
        "responses": {"200": {"description": "Done", "content": content}, **_errors()},
    }
    if endpoint.changes:
        key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}, "description": "The same key twice is one request"}
        said["parameters"].append(key)
    if endpoint.body:
        said["requestBody"] = {"content": {"application/json": {"schema": _schema(endpoint.body, schemas)}}}
    return said


def _in_path(endpoint: Endpoint) -> list[dict[str, Any]]:
    kinds = {"int": "integer"}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": kinds.get(kind, "string")}}
        for name, kind in _CONVERTER.findall(endpoint.path)
    ]


def _in_query(endpoint: Endpoint, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = TypeAdapter(endpoint.query).json_schema(ref_template=_REF)
    schemas |= schema.pop("$defs", {})
    required = schema.get("required", [])
    return [{"name": name, "in": "query", "required": name in required, "schema": one} for name, one in schema["properties"].items()]


def _errors() -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    return {status: {"description": text, "content": body} for status, text in _ERRORS.items()}


def _schema(answer: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the model's schema, which is put among the components with those that it needs."""
    name, made = _made(answer)
    schemas |= made
    return {"$ref": _REF.format(model=name)}


@cache
def _made(answer: Any) -> tuple[str, dict[str, Any]]:
    schema = TypeAdapter(answer).json_schema(ref_template=_REF, mode="validation" if issubclass(answer, Asked) else "serialization")
    beside = schema.pop("$defs", {})
    name = re.sub(r"\W+", "_", str(schema.get("title", "Answer"))).strip("_")
    return name, {**beside, name: schema}
