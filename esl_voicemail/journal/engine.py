"""Opening the journal's database: its address, its durability, its migrations."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from esl_voicemail.errors import JournalError

FILE = "journal.sqlite"


def url_of(directory: Path) -> str:
    """Return the journal's address within a storage directory."""
    return f"sqlite:///{directory.absolute() / FILE}"


def open_engine(url: str, *, writing: bool) -> Engine:
    """Open the database; on SQLite with WAL and full synchronous, so that a commit survives a power cut."""
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 5})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes late and breaks savepoints; ours is below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to this version's; JournalError when a newer one wrote it, or none of ours."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise JournalError(f"the journal was written by a newer version: {error}") from error
    except SQLAlchemyError as error:
        raise JournalError(
            f"the journal cannot be opened: {getattr(error, 'orig', None) or error}"
        ) from error
