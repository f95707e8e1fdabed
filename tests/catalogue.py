"""The operations that runbooks are checked against, for tests that need no backend."""

from runbooks.operation import Argument, ArgumentType, Operation
from runbooks.severity import Tier

_ROWS = {"rows": [{"customer": "northwind", "value": 12.0}], "value": 12.0}


def _text(*, required: bool = True) -> Argument:
    return Argument(type=ArgumentType.TEXT, required=required)


def _changes(name: str, touches: str, /, *, tier: Tier = Tier.R1, **arguments: Argument) -> Operation:
    declared = {touches: _text(), **arguments}
    return Operation(name=name, title=name, reads=False, tier=tier, target=touches, arguments=declared)


def catalogue() -> dict[str, Operation]:
    """Every operation by name, as the shipped backends declare them."""
    integer, number, boolean = ArgumentType.INTEGER, ArgumentType.NUMBER, ArgumentType.BOOLEAN
    operations = (
        Operation(
            name="metrics.query",
            title="Ask a metric",
            reads=True,
            arguments={"query": _text(), "ago": Argument(type=number, required=False)},
            sample=_ROWS,
        ),
        Operation(
            name="http.get",
            title="Ask an address",
            reads=True,
            arguments={"url": _text(), "path": _text(required=False), "expect": Argument(type=ArgumentType.ANY, required=False)},
            sample={"status": 200, "body": "ok", **_ROWS},
        ),
        Operation(
            name="evidence.preserve",
            title="Preserve evidence",
            reads=True,
            arguments={"set": _text()},
            sample={"pieces": 1, "size": 2, "sha256": "00", "taken_at": "2026-11-21T01:00:00Z", "missing": [], **_ROWS},
        ),
        _changes("cluster.scale", "target", replicas=Argument(type=integer, minimum=0, maximum=1000)),
        _changes("retries.cap", "target", attempts=Argument(type=integer, minimum=0, maximum=10)),
        _changes("flag.disable", "flag"),
        _changes("flag.set", "flag", on=Argument(type=boolean)),
        _changes("model.rollback", "unit", tier=Tier.R2, to=_text()),
        _changes("route.switch", "target", route=_text()),
        _changes("limit.set", "target", value=Argument(type=number)),
        Operation(name="manual", title="A person does it", reads=False, tier=Tier.R1, arguments={"instruction": _text()}, looks=False),
        Operation(
            name="page.send",
            title="Page somebody",
            reads=False,
            tier=Tier.R1,
            arguments={"person": _text()},
            target="person",
            internal=True,
        ),
    )
    return {operation.name: operation for operation in operations}
