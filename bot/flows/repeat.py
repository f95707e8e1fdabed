"""A request that comes again under its caller's own key is answered with what it made the first time (rule S11)."""

from collections.abc import Mapping
from hashlib import sha256

from bot.flows.errors import Refused
from runbooks.run import ActionRun, Request
from runbooks.timeline import canonical
from runbooks.value import Json
from storage import runs
from storage.database import Tx


def request(interaction: str, parameters: Mapping[str, Json]) -> Request:
    """A request as it is known again; no client's key is kept."""
    return Request(key=sha256(interaction.encode()).hexdigest(), parameters=sha256(canonical(dict(parameters))).hexdigest())


def made_by(tx: Tx, incident_id: int, step: str, asked: Request) -> ActionRun | None:
    """The run of this step that the request has made in this incident.

    Raises:
        Refused: its key was used with other parameters.
    """
    mine = (run for run in runs.of_incident(tx, incident_id) if run.step == step and run.request and run.request.key == asked.key)
    run = next(mine, None)
    if run and run.request != asked:
        text = f"Nothing was planned: this idempotency key made run {run.id} with other parameters. A new request needs a new key."
        raise Refused("key_reused", text, audit=False)
    return run
