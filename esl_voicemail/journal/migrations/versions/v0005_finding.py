"""Indexes by which calls are found: by when they came, by mailbox, by the number that was left."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the indexes; few callers leave a number, so theirs holds only those."""
    op.create_index("voicemails_arrived", "voicemails", ["arrived_at"])
    op.create_index("voicemails_mailbox", "voicemails", ["mailbox", "arrived_at"])
    op.create_index("voicemails_callback", "voicemails", ["callback"], sqlite_where=sa.text("callback != ''"))
