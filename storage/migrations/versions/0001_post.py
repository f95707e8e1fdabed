"""Where the second phase begins. Nothing has to be removed after the first version."""

revision = "0001_post"
down_revision = None
branch_labels = ("post",)
depends_on = None


def upgrade() -> None:
    """Nothing: later revisions of this phase follow this one."""
