"""Alembic's entry: runs the revisions on the connection that `storage.migrations` hands over."""

from typing import Any

from alembic import context

from storage import killpoints
from storage.tables import METADATA


def _step_done(*_args: Any, **_kwargs: Any) -> None:
    killpoints.reach("migration.step")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    on_version_apply=_step_done,
)
with context.begin_transaction():
    context.run_migrations()
