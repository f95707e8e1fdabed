"""An answer of another shape than documented is no answer: something else lives at that address, or another version."""

from collections.abc import Iterator
from contextlib import contextmanager

from actions.contract import OutcomeUnknown


@contextmanager
def understood(who: str) -> Iterator[None]:
    """Take an answer apart; also a decorator of what reads or proposes only. Errors of the contract pass.

    Raises:
        OutcomeUnknown: it cannot be read, whatever its status said.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise OutcomeUnknown(f"{who} answers something that cannot be read; look at the configured address, and at its version.") from error
