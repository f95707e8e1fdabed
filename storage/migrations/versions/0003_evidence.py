"""Evidence and its pieces: added to and never changed, but that a piece's bytes can be erased where the law asks."""

import sqlalchemy as sa
from alembic import op

revision = "0003_evidence"
down_revision = "0002_suggestions"
branch_labels = None
depends_on = None

_ERASED = "NEW.erased = 1 AND NEW.body IS NULL AND NEW.sha256 = OLD.sha256 AND NEW.size = OLD.size"
"""What erasing a piece may do to it, and nothing else may be done."""

_SQLITE = (
    "CREATE TRIGGER evidence_update BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'muster: append-only'); END",
    "CREATE TRIGGER evidence_delete BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'muster: append-only'); END",
    f"""
    CREATE TRIGGER evidence_pieces_update BEFORE UPDATE ON evidence_pieces WHEN NOT ({_ERASED})
    BEGIN SELECT RAISE(ABORT, 'muster: append-only'); END
    """,
    "CREATE TRIGGER evidence_pieces_delete BEFORE DELETE ON evidence_pieces BEGIN SELECT RAISE(ABORT, 'muster: append-only'); END",
)

_POSTGRES = (
    "CREATE TRIGGER evidence_change BEFORE UPDATE OR DELETE ON evidence FOR EACH ROW EXECUTE FUNCTION muster_refuse()",
    "CREATE TRIGGER evidence_truncate BEFORE TRUNCATE ON evidence EXECUTE FUNCTION muster_refuse()",
    f"""
    CREATE TRIGGER evidence_pieces_update BEFORE UPDATE ON evidence_pieces FOR EACH ROW
    WHEN (NOT ({_ERASED})) EXECUTE FUNCTION muster_refuse()
    """,
    "CREATE TRIGGER evidence_pieces_delete BEFORE DELETE ON evidence_pieces FOR EACH ROW EXECUTE FUNCTION muster_refuse()",
    "CREATE TRIGGER evidence_pieces_truncate BEFORE TRUNCATE ON evidence_pieces EXECUTE FUNCTION muster_refuse()",
)


def upgrade() -> None:
    """Add two tables and the triggers that keep them; older code knows nothing of them."""
    op.create_table(
        "evidence",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_index("evidence_taken", "evidence", ["name", "taken_at"], unique=False)
    op.create_table(
        "evidence_pieces",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("erased", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    for statement in _POSTGRES if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)
