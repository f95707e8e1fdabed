"""`kill -9` for real, at the points of this room: what was answered is there, what was not is there whole or not at all."""

import signal
import subprocess
import sys

import pytest

from storage import inbox, ledger, tasks
from storage.database import Database

pytestmark = pytest.mark.crash

PROGRAM = """
import os, signal, sys
from storage import inbox, killpoints, ledger, tasks
from storage.database import Database
from storage.tasks import NewTask
from runbooks.people import MUSTER
from runbooks.timeline import EntryKind, NewEntry
from tests.remembering import NOW

database = Database(url=sys.argv[1])
point, at = killpoints.POINTS[sys.argv[2]], int(sys.argv[3])
reached = []

def die(name):
    if name == point:
        reached.append(name)
        if len(reached) == at:
            os.kill(os.getpid(), signal.SIGKILL)

def accept(number):
    return lambda tx: inbox.append(tx, source="s", raw=b"{}", alerts_json=b"[]", count=number, received_at=NOW)

def triage(number):
    def fn(tx):
        (request,) = inbox.take(tx, 1)
        note = NewEntry(kind=EntryKind.NOTE_ADDED, occurred_at=NOW, actor=MUSTER, summary=str(request.count))
        ledger.record(tx, 1, [note], NOW)
        tasks.enqueue(tx, NewTask(key=f"card:{request.count}", kind="post", lane="inc:1"))
        inbox.done(tx, [request.id], NOW)
    return fn

killpoints.arm(die)
for number in range(1, 6):
    database.write(accept(number), name="inbox", ordered=False)
    print("accepted", number, flush=True)
    database.write(triage(number), name="triage")
    (task,) = database.write(lambda tx: tasks.claim(tx, 1, 600.0), ordered=False)
    database.write(lambda tx: tasks.settle(tx, task, number), name="settle")
    print("settled", number, flush=True)
"""


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("point", ["K1", "K2", "K3", "K7", "K8"])
def test_nothing_answered_is_lost_and_nothing_is_half(database_url: str, point: str, at: int) -> None:
    """Every accepted request is there; entry, task and done mark of a triage stand together; every settled task is done; the chain verifies."""
    died = subprocess.run(
        [sys.executable, "-c", PROGRAM, database_url, point, str(at)], check=False, capture_output=True, text=True, timeout=60
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    accepted = died.stdout.count("accepted")
    settled = died.stdout.count("settled")
    database = Database(url=database_url)
    waiting = len(database.read(lambda tx: inbox.take(tx, 1000)))
    report = database.read(ledger.verify)
    stored = [database.read(lambda tx, number=number: tasks.get(tx, f"card:{number}")) for number in range(1, 6)]
    database.close()
    enqueued = [task for task in stored if task is not None]
    assert report.ok
    assert report.entries == len(enqueued)
    assert accepted <= waiting + report.entries <= accepted + 1
    assert settled <= sum(task.state == "done" for task in enqueued) <= settled + 1
    expected = {
        "K1": (at - 1, at - 1, 0),
        "K2": (at - 1, at - 1, 1),
        "K3": (at, at - 1, 1),
        "K7": (at, at - 1, 0),
        "K8": (at, at - 1, 0),
    }
    assert (accepted, settled, waiting) == expected[point]
    assert sum(task.state == "done" for task in enqueued) == settled + (point == "K8")
