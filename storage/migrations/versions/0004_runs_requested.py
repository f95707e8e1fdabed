"""A quick way to the runs of the last day: what the guards count in every decision."""

from alembic import op

revision = "0004_runs_requested"
down_revision = "0003_evidence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only adds an index; older code uses it too."""
    op.create_index("runs_requested", "runs", ["requested_at"], unique=False)
