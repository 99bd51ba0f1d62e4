"""Opening the journal's database: its address, its durability, its migrations."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from esl_voicemail.errors import DiskError, JournalError, StorageBusyError, VoicemailError
from esl_voicemail.journal.statement import Statement

FILE = "journal.sqlite"
_BUSY_MS = 5000
_REWRITE_OWED = 1  # in the database's user_version
# The only schema that was written without secure_delete.
_FIRST = "0001"


# What is forgotten must not linger in a free page: secure_delete writes zeros over it.
_WRITING = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    f"busy_timeout={_BUSY_MS}",
)
_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_NO_DATABASE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_READING = ("query_only=ON", f"busy_timeout={_BUSY_MS}")


def url_of(directory: Path) -> str:
    """Return the journal's address within a storage directory; what is special in an address is escaped."""
    return f"sqlite:///{quote(os.fsencode(directory.absolute() / FILE))}"


def expect_one(directory: Path) -> None:
    """JournalError when a storage directory has no journal that could be looked into."""
    path = directory / FILE
    if not path.is_file():
        raise JournalError(f"{path}: there is no journal yet; start `esl-voicemail serve` once")
    if not path.stat().st_size:
        raise _empty(path)


def open_engine(url: str, *, writing: bool) -> Engine:
    """Open the database; on SQLite with WAL and full synchronous, so that a commit survives a power cut."""
    if not url.startswith("sqlite"):
        return create_engine(url)
    path = os.fsdecode(unquote_to_bytes(url.removeprefix("sqlite:///")))
    engine = create_engine(
        URL.create("sqlite", database=path),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes late, at the first change; ours is below.
        connection.isolation_level = None
        # Of text that is no UTF-8, as a hand or a broken disk leaves it, the rest is worth reading.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        cursor = connection.cursor()
        for pragma in _WRITING if writing else _READING:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    begin = Statement(text("BEGIN IMMEDIATE" if writing else "BEGIN"))
    event.listen(engine, "begin", begin.execute)

    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to this version's.

    JournalError when a newer one wrote it, or none of ours; StorageBusyError when it stays locked.
    """
    config = _migrations()
    try:
        with _references_unchecked(engine), engine.begin() as connection:
            before = MigrationContext.configure(connection).get_current_heads()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if _FIRST in before and engine.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA user_version={_REWRITE_OWED}")
        if rewrite_owed(engine):
            _rewrite(engine)
    except CommandError as error:
        raise _newer(engine, error) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise refused(engine, "cannot be opened", error) from error


def bring_up_to_date(url: str) -> None:
    """Migrate a journal before it is opened, on any thread; raises what `migrate` does."""
    engine = open_engine(url, writing=True)
    try:
        migrate(engine)
    finally:
        engine.dispose()


def rewrite_owed(engine: Engine) -> bool:
    """Whether a first version's pages still hold between their rows what these once said."""
    if engine.dialect.name != "sqlite":
        return False
    with closing(engine.raw_connection()) as connection:
        found = connection.cursor().execute("PRAGMA user_version").fetchone()
    return bool(found[0] == _REWRITE_OWED)


def _rewrite(engine: Engine) -> None:
    """Write the whole file anew; where that fails, the next start tries again."""
    # Needs room for a second copy; a disk without it is no reason not to serve.
    with suppress(sqlite3.Error), closing(engine.raw_connection()) as connection:
        connection.cursor().execute("VACUUM")
        connection.cursor().execute("PRAGMA user_version=0")
        empty_log(engine)


def empty_log(engine: Engine) -> bool:
    """Empty the write-ahead log, which repeats what rows said before; False while others are reading it."""
    try:
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            # Whoever waits here for readers keeps all writers waiting, calls among them.
            cursor.execute("PRAGMA busy_timeout=100")
            try:
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    except sqlite3.Error:
        return False
    return not busy


@contextmanager
def _references_unchecked(engine: Engine) -> Iterator[None]:
    """Let a migration put a copy in a table's place (https://sqlite.org/lang_altertable.html, section 7)."""
    if engine.dialect.name != "sqlite":
        yield
        return
    # Has no effect within a transaction; the pool holds one connection, so it is the one that migrates.
    with closing(engine.raw_connection()) as connection:
        connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
    try:
        yield
    finally:
        with closing(engine.raw_connection()) as connection:
            connection.driver_connection.execute("PRAGMA foreign_keys=ON")  # type: ignore[union-attr]


def examine(directory: Path) -> None:
    """Read the journal of a storage directory.

    JournalError when this version could not work with it, StorageBusyError when it stays locked.
    """
    engine = open_engine(url_of(directory), writing=False)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM sqlite_master"))
            script = ScriptDirectory.from_config(_migrations())
            for revision in MigrationContext.configure(connection).get_current_heads():
                script.get_revision(revision)
    except CommandError as error:
        raise _newer(engine, error) from error
    except SQLAlchemyError as error:
        raise refused(engine, "cannot be read", error) from error
    finally:
        engine.dispose()


def expect_current(engine: Engine) -> None:
    """Hold the schema against this version's; JournalError says what to do where they differ."""
    try:
        with engine.connect() as connection:
            heads = MigrationContext.configure(connection).get_current_heads()
            tables = connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar()
        script = ScriptDirectory.from_config(_migrations())
        for revision in heads:
            script.get_revision(revision)
    except CommandError as error:
        raise _newer(engine, error) from error
    if not tables:
        raise _empty(engine.url.database)
    if set(heads) != set(script.get_heads()):
        raise JournalError(
            f"{engine.url.database}: the journal is an older version's; "
            "start `esl-voicemail serve` of this version once, it brings it up to date"
        )


def refused(engine: Engine, how: str, error: Exception) -> VoicemailError:
    """Return what the database said, with its file: StorageBusyError when another only holds it."""
    said = getattr(error, "orig", None) or error
    code = getattr(said, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageBusyError(f"{engine.url.database}: the journal is busy; try again")
    if code in _DISK:
        return DiskError(f"{engine.url.database}: the journal {how}: {said}; is its disk full or read-only?")
    remedy = "; put it back from a backup" if code in _NO_DATABASE else ""
    return JournalError(f"{engine.url.database}: the journal {how}: {said}{remedy}")


def _empty(path: Path | str | None) -> JournalError:
    return JournalError(f"{path}: is empty, there is no journal yet; start `esl-voicemail serve` once")


def _newer(engine: Engine, error: CommandError) -> JournalError:
    return JournalError(
        f"{engine.url.database}: the journal was written by a newer version: {error}; install that one"
    )


def _migrations() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
