"""Suggestions, and a quick way to the runs of one step: what autonomy is counted from."""

import sqlalchemy as sa
from alembic import op

revision = "0002_suggestions"
down_revision = "0001_pre"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Only adds: the version before knows nothing of it and is not disturbed."""
    op.create_table(
        "suggestions",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("suggestions_incident", "suggestions", ["incident_id"], unique=False)
    op.create_index(
        "suggestions_next",
        "suggestions",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_index("runs_step", "runs", ["step", "requested_at"], unique=False)
