"""What falls due, row by row: one row that cannot be dealt with must not stop all that come after it."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import structlog

from runbooks.value import Value
from storage.database import Tx
from storage.errors import StorageUnavailable

log = structlog.get_logger(__name__)

N = TypeVar("N", bound=Value)

PUT_OFF = timedelta(minutes=5)
"""How long a row that failed is left alone: long enough to hold up nobody, short enough to go on soon after it is mended."""


def each(tx: Tx, due: Sequence[N], deal_with: Callable[[N], object], *, put_off: Callable[[N], None]) -> int:
    """Deal with every row in a savepoint of its own; what fails is written to the log, undone, and put off. Answers how many were due.

    `put_off` moves the row's `next_at`, so that it does not come first again at once.
    """
    for row in due:
        point = tx.begin_nested()
        try:
            deal_with(row)
        except StorageUnavailable:
            raise
        except Exception:
            point.rollback()
            log.exception("sweep.row_failed", row=repr(row)[:200])
            put_off(row)
        else:
            point.commit()
    return len(due)
