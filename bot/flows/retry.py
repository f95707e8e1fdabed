"""What Muster gave up on is tried again by a person's word, on record with its reason (rule S26)."""

from datetime import datetime

from bot.flows.errors import Refused
from bot.flows.records import entry
from runbooks.errors import NotFound
from runbooks.people import Actor
from runbooks.timeline import OWN, EntryKind
from storage import incidents, ledger, runs, tasks
from storage.database import Tx
from storage.tasks import Task


def again(tx: Tx, task_id: int, *, reason: str, by: Actor, now: datetime) -> str:
    """Try a given-up task again, with a new budget; it is written where what it was for stands.

    Raises:
        NotFound: no task of this number was given up.
        Refused: there is no reason.
    """
    if not reason.strip():
        raise Refused("no_reason", "Not tried again: say why, for the record.", audit=False)
    task = tasks.revive(tx, task_id)
    if task is None:
        raise NotFound(f"No task {task_id} was given up.")
    text = f"{by.id} has it tried again ({task.kind}): {reason.strip()[:300]}"
    said = entry(
        EntryKind.TASK_RETRIED, text, now=now, actor=by, task=task.key, attempts=task.attempt, error=task.error, reason=reason.strip()
    )
    ledger.record(tx, _place(tx, task), [said], now=now)
    return f"Task {task_id} is tried again."


def _place(tx: Tx, task: Task) -> int:
    """The incident that the task was for, by itself or by its run; else Muster's own record."""
    number = task.args.get("incident")
    if number is None and "run" in task.args:
        number = runs.get(tx, int(task.args["run"])).incident_id
    return number if isinstance(number, int) and incidents.find(tx, number) else OWN
