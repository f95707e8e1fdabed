"""K1 and K2 at the intake: a process that is killed just before or just after COMMIT loses nothing that it promised."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import inbox
from storage.database import Database

REPOSITORY = Path(__file__).parents[2]
SAMPLE = Path(__file__).parents[1] / "samples" / "alertmanager_webhook_firing.json"
PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.testclient import TestClient
from bot.configuration import parse
from bot.ingress.measures import IntakeCounters
from bot.ingress.server import routes
from bot.killing import arm
from bot.secret import Secrets
from storage.database import Database

class SystemClock:
    def now(self):
        return datetime.now(UTC)

url, point, sample = sys.argv[1:]
database = Database(url=url)
configuration = parse("sources: {alertmanager: {kind: alertmanager, auth: bearer, secret: {env: TOKEN}}}")
senders = configuration.senders(Secrets(environ={"TOKEN": "right"}, folder=Path()))
app = Starlette(routes=routes(
    database=database, sources=senders, change_sources={}, clock=SystemClock(), on_accepted=lambda: None,
    metrics=IntakeCounters(CollectorRegistry()),
))
with TestClient(app) as client:
    body, headers = Path(sample).read_bytes(), {"Authorization": "Bearer right"}
    for _ in range(3):
        answer = client.post("/alerts/alertmanager", content=body, headers=headers)
        print(answer.status_code, flush=True)
        arm(point)
"""


@pytest.mark.crash
@pytest.mark.parametrize(("point", "kept"), [("K1", 1), ("K2", 2)])
def test_a_killed_intake_keeps_what_it_promised(database_url: str, point: str, kept: int) -> None:
    """After one 202 the process dies at the second delivery: the first is on disk, and the second only once it was committed."""
    command = [sys.executable, "-c", PROGRAM, database_url, point, str(SAMPLE)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert ended.stdout.split() == ["202"]
    database = Database(url=database_url)
    deliveries = database.write(lambda tx: inbox.take(tx, 10))
    database.close()
    assert len(deliveries) == kept
    assert all(json.loads(delivery.raw) == json.loads(SAMPLE.read_bytes()) for delivery in deliveries)
