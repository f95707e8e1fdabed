"""What goes wrong with changes at AWS, and what a person must read of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from actions.contract import BackendError, NotPermitted, OutcomeUnknown, Rejected, Throttled
from actions.kinds import BackendKind, Options
from runbooks.operation import Call, OutcomeStatus
from tests.parts.acted import Act
from tests.parts.answering import Asked, answering
from tests.parts.moto import KEYS, REGION
from tests.parts.trouble import Ill, Trouble

PATIENT, BRIEF = 20.0, 2.5  # seconds for a click; brief where nothing answers


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trouble: what AWS does, which error it is, and a part of the sentence. `done` where the change was made all the same."""

    ill: Ill = Ill.STATUS
    status: int = 400
    code: str = ""
    words: str = "out of order"
    error: type[BackendError]
    says: str
    done: bool = False


_DENIED = "User: arn:aws:sts::1:assumed-role/muster/x is not authorized to perform: service:TheAction on resource: arn:aws:x"
TROUBLES = {
    "wrong keys": Row(status=403, code="UnrecognizedClientException", error=NotPermitted, says="does not accept these credentials"),
    "expired": Row(code="ExpiredTokenException", error=NotPermitted, says="Renew them"),
    "denied": Row(
        code="AccessDeniedException", words=_DENIED, error=NotPermitted, says="does not let these credentials do service:TheAction"
    ),
    "throttled": Row(code="ThrottlingException", words="Rate exceeded", error=Throttled, says="asks to wait"),
    "refused": Row(code="ValidationException", words="not so", error=Rejected, says="refuses"),
    "500": Row(status=500, code="InternalFailure", error=OutcomeUnknown, says="with 500"),
    "503": Row(status=503, code="ServiceUnavailable", error=OutcomeUnknown, says="with 503"),
    "hang": Row(ill=Ill.HANG, error=OutcomeUnknown, says="did not answer in time"),
    "reset": Row(ill=Ill.RESET, error=OutcomeUnknown, says="broke off"),
    "lost": Row(ill=Ill.LOST, error=OutcomeUnknown, says="broke off", done=True),
    "lied": Row(ill=Ill.LIED, error=OutcomeUnknown, says="with 500", done=True),
}


def built(kind: BackendKind, url: str, **more: Any) -> Any:
    """The backend as configured, signed in with static keys."""
    options = Options({"region": REGION, "environment": "production", "endpoint_url": url, **more})
    return kind.build(options, {name: lambda value=value: value for name, value in KEYS.items()})


def scale(target: str, replicas: int = 4) -> Call:
    """Scale a target."""
    return Call(operation="cluster.scale", target=target, arguments={"target": target, "replicas": replicas})


def rollback(unit: str, to: str = "last_known_good") -> Call:
    """Roll a unit back."""
    return Call(operation="model.rollback", target=unit, arguments={"unit": unit, "to": to})


def act(backend: Any, call: Call) -> Act:
    """The call as an action of a runbook, pressed by a person."""
    return Act(backend, call.operation, dict(call.arguments))


def check_trouble(row: Row, story: Act, trouble: Trouble, *, operation: str) -> None:
    """Let the one request that changes something meet the trouble: certainty, sentence and the later look must be true."""
    plan = story.plan()
    _arm(row, trouble, operation)
    outcome = story.execute(plan, timeout=BRIEF if row.ill is Ill.HANG else PATIENT)
    trouble.ill = Ill.NONE
    unknown = issubclass(row.error, OutcomeUnknown)
    assert outcome.status is (OutcomeStatus.UNKNOWN if unknown else OutcomeStatus.REFUSED), outcome.reason
    assert row.says in outcome.reason
    assert outcome.reason.startswith("It is not known whether it took effect: " if unknown else "Nothing was changed: ")
    assert outcome.retry_after == (7.0 if row.error is Throttled else None)
    assert KEYS["access_key_id"] not in outcome.reason
    assert [path for _, path in trouble.seen if path.endswith(f"#{operation}")] == [f"/#{operation}"], "sent once, never repeated"
    looked = story.runner.reconcile(plan)
    assert (looked.status, looked.reason) == (
        (OutcomeStatus.APPLIED, "It took effect.") if row.done else (OutcomeStatus.REFUSED, "It did not take effect.")
    )


def check_class(row: Row, backend: Any, call: Call, trouble: Trouble, *, operation: str) -> None:
    """The same at the backend itself: exactly the one error of the contract."""
    before = backend.read(call, timeout=PATIENT)
    wanted = backend.propose(call, before).value
    _arm(row, trouble, operation)
    with pytest.raises(BackendError) as raised:
        backend.apply(call, wanted, expected=before, key="k", timeout=BRIEF if row.ill is Ill.HANG else PATIENT)
    trouble.ill = Ill.NONE
    assert type(raised.value) is row.error, repr(raised.value)


def _arm(row: Row, trouble: Trouble, operation: str) -> None:
    xml = operation == "SetDesiredCapacity"  # the one service here that still speaks the query protocol
    trouble.status, trouble.headers = row.status, {"Retry-After": "7", "Content-Type": "text/xml" if xml else "application/x-amz-json-1.1"}
    trouble.body = _xml(row) if xml else json.dumps({"__type": row.code, "message": row.words}).encode()
    trouble.which = lambda _method, path: path.endswith(f"#{operation}")
    trouble.ill = row.ill
    trouble.seen.clear()


def _xml(row: Row) -> bytes:
    kind = "Sender" if row.status < 500 else "Receiver"
    error = f"<Error><Type>{kind}</Type><Code>{row.code}</Code><Message>{row.words}</Message></Error>"
    return (
        f'<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">{error}<RequestId>1</RequestId></ErrorResponse>'.encode()
    )


@contextmanager
def documented(answer: Callable[[str, Any], Any]) -> Iterator[str]:
    """A service of AWS that speaks JSON, by its documented format: `answer` gets the operation's name and what is asked; its address."""

    def said(asked: Asked) -> tuple[int, Any]:
        return 200, answer(asked.headers["x-amz-target"].rpartition(".")[2], asked.body)

    with answering(said) as url:
        yield url
