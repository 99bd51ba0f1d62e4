"""Reports to the operator, a mail's domain fixed at its first try, calls that were forgotten; no leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change the tables; deliveries are copied, as SQLite cannot change a constraint in place."""
    op.add_column("voicemails", sa.Column("forgotten_at", sa.BigInteger))
    op.create_index("voicemails_caller", "voicemails", ["caller_number"])
    op.create_index("voicemails_forgotten", "voicemails", ["forgotten_at", "closed_at"])
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.add_column(sa.Column("about", sa.Integer, nullable=False, server_default="0"))
        deliveries.add_column(sa.Column("mail_domain", sa.String(255)))
        deliveries.drop_column("lease_until")
        deliveries.drop_constraint("deliveries_once", type_="unique")
        deliveries.create_unique_constraint("deliveries_once", ["message_id", "recipient", "about"])
    op.create_index("deliveries_age", "deliveries", ["state", "queued_at"])
