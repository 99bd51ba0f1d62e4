"""Indexes of the few rows that are asked for again and again among all others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SUSPECT, _PROBE = sa.text("crashes >= 2"), sa.text("mailbox = 'voicemail-probe'")


def upgrade() -> None:
    """Add the indexes; what is not in one costs nothing."""
    op.create_index(
        "deliveries_suspect",
        "deliveries",
        ["state", "due_at"],
        sqlite_where=_SUSPECT,
        postgresql_where=_SUSPECT,
    )
    op.create_index(
        "voicemails_probe",
        "voicemails",
        ["forgotten_at", "closed_at"],
        sqlite_where=_PROBE,
        postgresql_where=_PROBE,
    )
