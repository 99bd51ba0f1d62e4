"""The first tables: a row a call, a recipient and an attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "voicemails",
        sa.Column("message_id", sa.String(26), primary_key=True),
        sa.Column("call_id", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("mailbox", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("caller_number", sa.String(40), nullable=False),
        sa.Column("caller_name", sa.String(80), nullable=False),
        sa.Column("caller_withheld", sa.Boolean, nullable=False),
        sa.Column("dialled", sa.String(40), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("queue", sa.String(60), nullable=False),
        sa.Column("queue_wait_seconds", sa.Integer),
        sa.Column("reference", sa.String(60), nullable=False),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.Column("recipients", sa.Text, nullable=False),
        sa.Column("recording_file", sa.String(80), nullable=False),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("size", sa.Integer),
        sa.Column("sha256", sa.String(64)),
        sa.Column("repaired", sa.Boolean),
        sa.Column("ended_by", sa.String(16)),
        sa.Column("result", sa.String(32)),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("audio_removed_at", sa.BigInteger),
    )
    op.create_index("voicemails_call_id", "voicemails", ["call_id"])
    op.create_index("voicemails_state", "voicemails", ["state", "arrived_at"])
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(26), sa.ForeignKey("voicemails.message_id"), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("code", sa.Integer),
        sa.Column("reply", sa.Text),
        sa.Column("finished_at", sa.BigInteger),
        sa.UniqueConstraint("message_id", "recipient", name="deliveries_once"),
    )
    op.create_index("deliveries_due", "deliveries", ["state", "due_at"])
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("delivery_id", sa.Integer, sa.ForeignKey("deliveries.delivery_id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("code", sa.Integer),
        sa.Column("reply", sa.Text, nullable=False),
    )
    op.create_index("attempts_delivery", "attempts", ["delivery_id"])
