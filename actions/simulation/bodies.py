"""What the wire accepts: bodies with their bounds."""

import json
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

_LARGEST = 64 * 1024
_LONGEST_SKIP = timedelta(days=400).total_seconds()
_By = Field(default="operator", min_length=1, max_length=200)


class BodyRefused(Exception):
    """The body is not JSON (400) or larger than any request needs (413)."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class Body(BaseModel):
    """A JSON object without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Put(Body):
    """A compare-and-set: without `if_version` it sets whatever the version is; the same `key` again has the first answer."""

    value: Any
    if_version: int | None = None
    by: str = Field(min_length=1, max_length=400)
    key: str | None = Field(default=None, min_length=1, max_length=300)


class Break(Body):
    """A fault to begin."""

    kind: str
    parameters: dict[str, Any] = {}
    by: str = _By


class Mend(Body):
    """The end of every fault; `reset` also returns every target to its first setting."""

    by: str = _By
    reset: bool = False


class Advance(Body):
    """Seconds by which the clock is driven forward; `worlds` takes the worlds apart along with the main one."""

    seconds: float = Field(ge=0, le=_LONGEST_SKIP)
    worlds: bool = False


class NewWorld(Body):
    """A world apart. `fault` is `{kind, parameters}` or, as runbooks write it, `{kind, <parameter>: …}`."""

    id: str
    seed: int = 7
    replicas: int | dict[str, int] | None = None
    arrival_rate: float = Field(default=40.0, ge=0.5, le=400.0)
    fault: dict[str, Any] | None = None

    def event(self) -> dict[str, Any] | None:
        """Return the fault as an event, or none."""
        if self.fault is None:
            return None
        flat = {name: value for name, value in self.fault.items() if name not in {"kind", "parameters"}}
        return {"kind": str(self.fault.get("kind")), "parameters": {**self.fault.get("parameters", {}), **flat}, "by": "drill"}


_Wanted = TypeVar("_Wanted", bound=BaseModel)


async def read(request: Request, model: type[_Wanted]) -> _Wanted:
    """Return the request's body as `model`; an empty body counts as `{}`.

    Raises:
        BodyRefused: not JSON, or too large.
        pydantic.ValidationError: JSON of another shape.
    """
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _LARGEST:
            raise BodyRefused(f"the body is larger than {_LARGEST} bytes", status=413)
    try:
        return model.model_validate(json.loads(content or b"{}"))
    except RecursionError:
        raise BodyRefused("the body is nested too deeply", status=400) from None
    except ValueError as problem:
        if type(problem).__module__.startswith("pydantic"):
            raise
        raise BodyRefused(f"the body is not JSON: {problem}", status=400) from problem
