"""The journal's file: what is in it survives, and what is none is refused."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.journal.schema import metadata
from tests.journal.rows import DOMAIN, NOW, begun

_KEEPS_AND_WAITS = """
from gevent import monkey
monkey.patch_all()
import sys
from itertools import islice
from pathlib import Path
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import url_of
from tests.journal.rows import begun, kept
folder = Path(sys.argv[1])
journal = Journal(url_of(folder), folder)
print(kept(journal, "anna@example.com", "jan@example.com"), flush=True)
print(begun(journal), flush=True)
sys.stdin.read()
"""


def test_what_was_answered_survives_a_kill_right_after(tmp_path):
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _KEEPS_AND_WAITS, str(tmp_path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        message_id = process.stdout.readline().strip()
        open_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    journal = Journal(url_of(tmp_path), tmp_path)
    found = journal.queue.claim(10, NOW, DOMAIN)
    assert [(one.voicemail.message_id, one.recipient) for one in found] == [
        (message_id, "anna@example.com"),
        (message_id, "jan@example.com"),
    ]
    assert [one.message_id for one in journal.open_calls()[0]] == [open_id]
    journal.close()


def test_every_commit_is_synchronous_and_the_log_is_written_ahead(writer):
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    assert [
        writer.write(lambda db, name=name: db.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in pragmas
    ] == ["wal", 2, 1]


def test_opening_again_migrates_nothing_and_loses_nothing(tmp_path):
    ids = []
    for _ in range(3):
        journal = Journal(url_of(tmp_path), tmp_path)
        ids.append(begun(journal))
        assert [one.message_id for one in journal.open_calls()[0]] == ids
        journal.close()
    database = sqlite3.connect(tmp_path / FILE)
    assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0006",)]
    database.close()


def test_the_migrations_make_the_tables_that_the_code_expects(writer):
    def differences(db: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(db), metadata))

    assert writer.write(differences) == []


def test_a_journal_of_a_newer_version_is_refused(tmp_path):
    Journal(url_of(tmp_path), tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    with pytest.raises(JournalError, match="newer version"):
        Journal(url_of(tmp_path), tmp_path)
    assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"These are not the rows you are looking for. " * 100)
    with pytest.raises(JournalError, match="not a database"):
        Journal(url_of(tmp_path), tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(JournalError, match="unable to open"):
        Journal(url_of(tmp_path / "gone"), tmp_path)
