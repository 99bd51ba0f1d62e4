"""A journal that an older version wrote opens, and nothing of it is lost."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.model import CallResult
from esl_voicemail.verdict import Delivered
from tests.support.service import command, running, settled, until

OLDER = Path(__file__).parent / "journals"
SALES = {"mailboxes": {"sales": {"recipients": ["anna@example.com", "jan@example.com"]}}}
NOW = datetime(2026, 11, 20, 10, 32, tzinfo=UTC)


def restored(folder: Path, version: str = "v0001") -> Path:
    """Lay a journal of an older version into a storage folder, as the older program left it."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.executescript((OLDER / f"{version}.sql").read_text())
        db.execute("PRAGMA journal_mode=WAL")
    return folder


def rows(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / FILE)) as db:
        return db.execute(statement).fetchall()


def test_every_row_of_an_older_journal_is_there_afterwards(tmp_path: Path) -> None:
    tables = {
        "voicemails": "message_id, call_id, state, caller_name, recording_file, closed_at, audio_removed_at",
        "deliveries": "delivery_id, message_id, recipient, state, attempts, crashes, queued_at, due_at",
        "attempts": "*",
    }
    folder = restored(tmp_path)
    statements = [f"SELECT {columns} FROM {table} ORDER BY 1" for table, columns in tables.items()]
    before = [rows(folder, one) for one in statements]
    Journal(url_of(folder), folder).close()
    assert [rows(folder, one) for one in statements] == before
    assert [len(found) for found in before] == [8, 8, 5]
    assert rows(folder, "PRAGMA foreign_key_check") == []
    assert rows(folder, "SELECT DISTINCT about, mail_domain FROM deliveries") == [(0, None)]


def test_an_upgraded_journal_refuses_what_the_older_one_refused(tmp_path: Path) -> None:
    folder = restored(tmp_path)
    journal = Journal(url_of(folder), folder)
    columns = "message_id, recipient, state, attempts, crashes, queued_at, due_at"
    twice = f"INSERT INTO deliveries ({columns}) SELECT {columns}"
    with closing(sqlite3.connect(folder / FILE)) as db, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute(f"{twice} FROM deliveries WHERE delivery_id = 1")
    journal.close()


def test_what_an_older_version_had_not_sent_is_sent(tmp_path: Path) -> None:
    folder = restored(tmp_path)
    journal = Journal(url_of(folder), folder)
    assert journal.queue.reclaim((), NOW, crashed=True) == (1, 0)
    claimed = journal.queue.claim(10, NOW + timedelta(minutes=5), "example.com")
    assert sorted(one.voicemail.call.caller.name for one in claimed) == [
        "Ewa Bounced",
        "Ola Sending",
        "Piotr Queued",
        "Piotr Queued",
    ]
    for one in claimed:
        assert journal.queue.mark(one, Delivered(250, "ok"), NOW, 5)
    assert journal.queue.backlog().counts == {"queued": 0, "sending": 0, "held": 1}
    journal.close()


def test_a_service_serves_on_with_an_older_journal(tmp_path: Path) -> None:
    restored(tmp_path / "var")
    with running(tmp_path, SALES) as service:
        # The open call has no file: its caller left nothing that could be found.
        until(
            lambda: (
                rows(tmp_path / "var", "SELECT state FROM voicemails WHERE caller_name = 'Adam Open'")
                == [("discarded",)]
            ),
            "recovery settles the open call",
        )
        assert service.stop() == 0
    story = JournalReader(tmp_path / "var", tmp_path).show("01KABCDEFGHJKMNPQRSTVWXY04")
    assert story is not None
    assert story.summary.result == CallResult.CONTROL_LOST


def test_a_row_that_no_version_knows_is_held_and_keeps_no_other_from_being_sent(tmp_path: Path) -> None:
    folder = restored(tmp_path)
    journal = Journal(url_of(folder), folder)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE voicemails SET reason = 'telepathy' WHERE caller_name = 'Piotr Queued'")
        db.execute("UPDATE voicemails SET reason = 'telepathy' WHERE state = 'open'")
        db.commit()
    claimed = journal.queue.claim(10, NOW + timedelta(minutes=5), "example.com")
    assert [one.voicemail.call.caller.name for one in claimed] == ["Ewa Bounced"]
    held = rows(folder, "SELECT reply FROM deliveries WHERE state = 'held' AND message_id LIKE '%03'")
    assert held == [("its row cannot be read: 'telepathy' is not a valid Reason",)] * 2
    assert journal.open_calls()[0] == []
    journal.close()


def test_so_is_a_row_with_a_day_that_is_none(tmp_path: Path) -> None:
    folder = restored(tmp_path)
    journal = Journal(url_of(folder), folder)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE voicemails SET promised_day = 'some day' WHERE caller_name = 'Piotr Queued'")
        db.commit()
    told: list[tuple[str, str]] = []
    claimed = journal.queue.claim(
        10, NOW + timedelta(minutes=5), "example.com", unreadable=lambda *about: told.append(about)
    )
    assert [one.voicemail.call.caller.name for one in claimed] == ["Ewa Bounced"]
    [(message_id,)] = rows(folder, "SELECT message_id FROM voicemails WHERE caller_name = 'Piotr Queued'")
    assert [one[0] for one in told] == [message_id] * 2
    journal.close()


def test_a_row_that_no_version_knows_is_said_in_a_line_and_hides_no_other(tmp_path: Path) -> None:
    folder = restored(tmp_path / "var")
    Journal(url_of(folder), folder).close()
    readable = len(command("messages", "list", "--json", folder=tmp_path).stdout.splitlines())
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE voicemails SET reason = 'telepathy' WHERE caller_name = 'Piotr Queued'")
        db.commit()
    [(message_id,)] = rows(folder, "SELECT message_id FROM voicemails WHERE reason = 'telepathy'")
    said = f"message {message_id}: its row cannot be read: 'telepathy' is not a valid Reason\n"
    listed = command("messages", "list", "--json", folder=tmp_path)
    assert (len(listed.stdout.splitlines()), listed.stderr, listed.returncode) == (readable - 1, said, 1)
    for verb in (("messages", "show"), ("messages", "audio"), ("render",)):
        done = command(*verb, str(message_id), folder=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("", said, 1)


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = restored(tmp_path)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    with pytest.raises(JournalError, match="written by a newer version"):
        Journal(url_of(folder), folder)


def test_pages_that_a_first_version_left_are_written_anew_also_when_the_first_try_was_cut_off(
    tmp_path: Path,
) -> None:
    folder = restored(tmp_path)
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE voicemails SET caller_name = 'Somebody Erased' WHERE state = 'lost'")
        db.commit()
    Journal(url_of(folder), folder).close()
    with closing(sqlite3.connect(folder / FILE)) as db:
        # As it stands when the process is killed between the migration and the rewriting.
        db.execute("PRAGMA user_version=1")
    Journal(url_of(folder), folder).close()
    assert rows(folder, "PRAGMA user_version") == [(0,)]


def test_only_a_first_version_s_journal_is_written_anew(tmp_path: Path) -> None:
    """A large one takes as long as it takes to copy it, and later versions left nothing in its pages."""
    Journal(url_of(tmp_path), tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript("DROP INDEX deliveries_suspect; DROP INDEX voicemails_probe")
        db.execute("UPDATE alembic_version SET version_num = '0005'")
        db.execute("CREATE TABLE room AS SELECT zeroblob(1000000) AS taken")
        db.execute("DROP TABLE room")
        db.commit()
    Journal(url_of(tmp_path), tmp_path).close()
    assert rows(tmp_path, "SELECT version_num FROM alembic_version") == [("0006",)]
    [(free,)] = rows(tmp_path, "PRAGMA freelist_count")
    assert isinstance(free, int)
    assert free > 200


def test_whoever_asks_while_the_journal_is_brought_up_to_date_is_answered(tmp_path: Path) -> None:
    """It may take minutes: without an answer, an alert would say that the service is down."""
    restored(tmp_path / "var")
    with socket.create_server(("127.0.0.1", 0)) as free:
        http = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(settled({**SALES, "http": {"listen": http}})))
    with (
        closing(sqlite3.connect(tmp_path / "var" / FILE)) as held,
        (tmp_path / "log").open("wb") as log,
    ):
        held.execute("BEGIN IMMEDIATE")  # for up to five seconds, a migration waits for it
        process = subprocess.Popen(
            [sys.executable, "-m", "esl_voicemail", "serve"], cwd=tmp_path, stderr=log, stdout=log
        )
        try:

            def asked(path: str) -> tuple[int, str]:
                with suppress(OSError), closing(HTTPConnection(http, timeout=10)) as connection:
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    return answer.status, answer.read().decode()
                return 0, ""

            until(lambda: asked("/healthz") == (200, "ok\n"), "it is said to live")
            assert asked("/readyz") == (503, "starting: the journal is brought up to date\n")
            assert "voicemail_ready 0.0" in asked("/metrics")[1]
            assert not (tmp_path / "var" / "serve.json").exists()
            held.rollback()
            until(lambda: asked("/readyz") == (200, "ready\n"), "calls are taken")
        finally:
            process.kill()
            process.wait()
