"""Journals as years of calls leave them, and as an outage of the mail server does: written in bulk.

The schema is the service's own; rows are made by SQLite itself, as a million of them through the journal's
verbs would take an hour.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from esl_voicemail.checks import prepare, spool_of
from esl_voicemail.config import Config, load
from esl_voicemail.journal.engine import FILE, migrate, open_engine, url_of
from tests.support.service import settled

_DAY_MS = 86_400_000
_KEPT_DAYS = 30
_OLD_DAYS = 365

_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)"
# Everybody who called longer ago than the retention is forgotten; the others called a few times each.
_OLD_CALLS = f"""
INSERT INTO voicemails (message_id, call_id, state, mailbox, reason, caller_number, caller_name,
  caller_withheld, dialled, language, queue, reference, arrived_at, recipients, recording_file, duration_ms,
  size, sha256, repaired, ended_by, content, speech_ms, level_db, clipped, result, closed_at,
  audio_removed_at, forgotten_at)
{_NUMBERS}, calls AS (
  SELECT n, printf('01OLD%021d', n) AS id, :now - {_OLD_DAYS} * {_DAY_MS} / :rows * n AS at FROM numbers)
SELECT id, printf('%08x-0000-4000-8000-000000000000', n), 'kept', 'sales', 'no-answer',
  iif(at < :kept, '', printf('+4860%07d', n % 20000)), '', 0, '48221234567', 'pl', '', '', at,
  '["sales@example.com"]', printf('sales.%s.wav', id), 8600, 137644,
  printf('%064x', n), 0, 'key', 'speech', 5000, -24.0, 0, 'recorded', at + 20000,
  iif(at < :kept, at + {_KEPT_DAYS} * {_DAY_MS}, NULL), iif(at < :kept, at + {_KEPT_DAYS} * {_DAY_MS}, NULL)
FROM calls
"""
_OLD_DELIVERIES = """
INSERT INTO deliveries (message_id, recipient, about, mail_domain, state, attempts, crashes, queued_at,
  due_at, code, reply, finished_at)
SELECT message_id, 'sales@example.com', 0, 'example.com', 'delivered', 1, 0, closed_at, closed_at, 250,
  iif(forgotten_at IS NULL, 'Ok: queued', ''), closed_at + 1000 FROM voicemails
"""
_OLD_ATTEMPTS = """
INSERT INTO attempts (delivery_id, number, ended_at, duration_ms, result, code, reply)
SELECT delivery_id, 1, finished_at, 50, 'delivered', 250, reply FROM deliveries
"""
_WAITING_CALLS = f"""
INSERT INTO voicemails (message_id, call_id, state, mailbox, reason, caller_number, caller_name,
  caller_withheld, dialled, language, queue, reference, arrived_at, recipients, recording_file, duration_ms,
  size, sha256, repaired, ended_by, content, speech_ms, level_db, clipped, result, closed_at)
{_NUMBERS}
SELECT printf('01NEW%021d', n), printf('%08x-0000-4000-8000-000000000001', n), 'kept', 'sales', 'no-answer',
  printf('+4850%07d', n), 'Jan Kowalski', 0, '48221234567', 'pl', '', '', :now - 60000,
  '["sales@example.com"]', printf('sales.01NEW%021d.wav', n), 8600, :size, :sha256, 0, 'key', 'speech', 5000,
  -24.0, 0, 'recorded', :now - 40000
FROM numbers
"""
_WAITING_DELIVERIES = """
INSERT INTO deliveries (message_id, recipient, about, state, attempts, crashes, queued_at, due_at)
SELECT message_id, 'sales@example.com', 0, 'queued', 0, 0, closed_at, closed_at
FROM voicemails WHERE message_id LIKE '01NEW%'
"""


def old_calls(folder: Path, settings: Mapping[str, Any], rows: int) -> None:
    """Make a storage of a year's calls, all of them mailed."""
    config = _storage(folder, settings)
    now = _now_ms()
    asked = {"rows": rows, "now": now, "kept": now - _KEPT_DAYS * _DAY_MS}
    with closing(sqlite3.connect(config.directory / FILE, isolation_level=None)) as journal:
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-200000"):
            journal.execute(f"PRAGMA {pragma}")
        found = journal.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL")
        indexes = found.fetchall()
        for name, _ in indexes:
            journal.execute(f"DROP INDEX {name}")
        journal.execute("BEGIN")
        for statement in (_OLD_CALLS, _OLD_DELIVERIES, _OLD_ATTEMPTS):
            journal.execute(statement, asked)
        for _, statement in indexes:
            journal.execute(statement)
        journal.execute("COMMIT")
        journal.execute("PRAGMA journal_mode=WAL")


def queued_messages(folder: Path, settings: Mapping[str, Any], rows: int, audio: Path) -> None:
    """Add messages that wait to be mailed, each with its recording: the same audio under every name."""
    config = _storage(folder, settings)
    whole = audio.read_bytes()
    asked = {
        "rows": rows,
        "now": _now_ms(),
        "size": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }
    for n in range(1, rows + 1):
        os.link(audio, config.recordings / f"sales.01NEW{n:021d}.wav")
    with closing(sqlite3.connect(config.directory / FILE)) as journal, journal:
        journal.execute(_WAITING_CALLS, asked)
        journal.execute(_WAITING_DELIVERIES)


def _storage(folder: Path, settings: Mapping[str, Any]) -> Config:
    """Make an empty storage, if there is none yet, as the service would."""
    path = folder / "voicemail.yaml"
    path.write_text(yaml.safe_dump(settled(settings), allow_unicode=True))
    config = load(path)
    prepare(config)
    spool_of(config).take()
    engine = open_engine(url_of(config.directory), writing=True)
    migrate(engine)
    engine.dispose()
    return config


def _now_ms() -> int:
    return round(time.time() * 1000)
