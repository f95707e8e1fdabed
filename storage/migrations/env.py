"""Alembic's entry: runs the revisions on the connection that `storage.migrations` hands over, in the one transaction it has begun."""

from typing import Any

from alembic import context

from storage import killpoints
from storage.tables import METADATA


def _step_done(*_args: Any, **_kwargs: Any) -> None:
    killpoints.reach("migration.step")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    on_version_apply=_step_done,
)
with context.begin_transaction():
    context.run_migrations()
