"""What was heard in a recording, what was said in it, and an index for how often somebody called."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Change the table of calls."""
    op.add_column("voicemails", sa.Column("content", sa.String(16)))
    op.add_column("voicemails", sa.Column("speech_ms", sa.Integer))
    op.add_column("voicemails", sa.Column("level_db", sa.Float))
    op.add_column("voicemails", sa.Column("clipped", sa.Boolean))
    op.add_column("voicemails", sa.Column("transcript", sa.Text))
    op.drop_index("voicemails_caller", "voicemails")
    op.create_index("voicemails_caller", "voicemails", ["caller_number", "arrived_at"])
