"""What callers type, and when they were told that somebody calls back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Change the table of calls."""
    op.add_column("voicemails", sa.Column("callback", sa.String(40), nullable=False, server_default=""))
    op.add_column("voicemails", sa.Column("typed", sa.String(40), nullable=False, server_default=""))
    op.add_column("voicemails", sa.Column("promise", sa.String(20)))
    op.add_column("voicemails", sa.Column("promised_day", sa.Date))
