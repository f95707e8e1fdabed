"""A step that a person does outside Muster and then says so. It reaches nothing."""

from actions.kinds import BackendKind, Options, Secrets
from runbooks.operation import Argument, ArgumentType, Call, Operation, Proposal, Reading
from runbooks.severity import Tier
from runbooks.value import Json

ASKED = "asked"

OPERATION = Operation(
    name="manual",
    title="A person does it",
    reads=False,
    tier=Tier.R1,
    arguments={"instruction": Argument(type=ArgumentType.TEXT, help="what to do, in one or two sentences")},
    sample=ASKED,
    looks=False,
)


class Manual:
    """Asks a person. Implements `actions.contract.Backend`; nothing of it can fail."""

    name = "manual"
    environment: str | None = None
    operations: tuple[Operation, ...] = (OPERATION,)

    def __init__(self, *, world: str | None = None) -> None:
        self.world = world

    def read(self, call: Call, *, timeout: float) -> Reading:  # noqa: ARG002 - the contract's signature
        """Nothing is known about what people do outside."""
        return Reading()

    def propose(self, call: Call, reading: Reading) -> Proposal:  # noqa: ARG002 - the contract's signature
        """That a person is asked."""
        return Proposal(value=ASKED, before_text="not asked yet", after_text="a person does it", note=str(call.arguments["instruction"]))

    def apply(self, call: Call, value: Json, *, expected: Reading, key: str, timeout: float) -> Reading:  # noqa: ARG002
        """The person has been asked; with `value` None (an undo), asked to take it back."""
        return Reading(value=value)


def build(options: Options, secrets: Secrets) -> Manual:  # noqa: ARG001 - the factory's signature
    """No options but a drill's world."""
    return Manual(world=options.text("world", None))


KIND = BackendKind(name="manual", operations=(OPERATION,), build=build, options=frozenset({"world"}))
