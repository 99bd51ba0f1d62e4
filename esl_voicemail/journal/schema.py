"""The tables. Times are whole milliseconds since 1970 UTC; each change comes by a migration."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from esl_voicemail.model import PROBE

metadata = MetaData()

# Few rows among many, each sort with an index of its own, which only its own words find.
_SUSPECT, _PROBE = text("crashes >= 2"), text(f"mailbox = '{PROBE}'")

voicemails = Table(
    "voicemails",
    metadata,
    Column("message_id", String(26), primary_key=True),
    Column("call_id", String(80), nullable=False),
    Column("state", String(16), nullable=False),
    Column("mailbox", String(32), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("caller_number", String(40), nullable=False),
    Column("caller_name", String(80), nullable=False),
    Column("caller_withheld", Boolean, nullable=False),
    Column("dialled", String(40), nullable=False),
    Column("language", String(8), nullable=False),
    Column("queue", String(60), nullable=False),
    Column("queue_wait_seconds", Integer),
    Column("reference", String(60), nullable=False),
    Column("callback", String(40), nullable=False, server_default=""),
    Column("typed", String(40), nullable=False, server_default=""),
    Column("promise", String(20)),
    Column("promised_day", Date),
    Column("arrived_at", BigInteger, nullable=False),
    Column("recipients", Text, nullable=False),
    Column("recording_file", String(80), nullable=False),
    Column("duration_ms", Integer),
    Column("size", Integer),
    Column("sha256", String(64)),
    Column("repaired", Boolean),
    Column("ended_by", String(16)),
    Column("content", String(16)),
    Column("speech_ms", Integer),
    Column("level_db", Float),
    Column("clipped", Boolean),
    Column("transcript", Text),
    Column("result", String(32)),
    Column("closed_at", BigInteger),
    Column("audio_removed_at", BigInteger),
    Column("forgotten_at", BigInteger),
    Index("voicemails_call_id", "call_id"),
    Index("voicemails_state", "state", "arrived_at"),
    Index("voicemails_caller", "caller_number", "arrived_at"),
    Index("voicemails_arrived", "arrived_at"),
    Index("voicemails_mailbox", "mailbox", "arrived_at"),
    Index("voicemails_callback", "callback", sqlite_where=text("callback != ''")),
    Index("voicemails_forgotten", "forgotten_at", "closed_at"),
    Index("voicemails_probe", "forgotten_at", "closed_at", sqlite_where=_PROBE, postgresql_where=_PROBE),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Integer, primary_key=True, autoincrement=True),
    Column("message_id", String(26), ForeignKey("voicemails.message_id"), nullable=False),
    Column("recipient", String(320), nullable=False),
    # 0, or the delivery that came to nothing and of which this one tells the operator.
    Column("about", Integer, nullable=False, server_default="0"),
    Column("mail_domain", String(255)),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("code", Integer),
    Column("reply", Text),
    Column("finished_at", BigInteger),
    UniqueConstraint("message_id", "recipient", "about", name="deliveries_once"),
    Index("deliveries_due", "state", "due_at"),
    Index("deliveries_age", "state", "queued_at"),
    Index("deliveries_suspect", "state", "due_at", sqlite_where=_SUSPECT, postgresql_where=_SUSPECT),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Integer, primary_key=True, autoincrement=True),
    Column("delivery_id", Integer, ForeignKey("deliveries.delivery_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("result", String(16), nullable=False),
    Column("code", Integer),
    Column("reply", Text, nullable=False),
    Index("attempts_delivery", "delivery_id"),
)


def to_ms(moment: datetime) -> int:
    """Return a moment as the journal keeps it."""
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Return a kept moment, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
