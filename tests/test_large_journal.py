"""What a call or a scrape asks of the journal costs the same whatever lies in it."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.model import PROBE, Caller, CallResult
from esl_voicemail.verdict import Bounced, Deferred, Delivered
from tests.journal.rows import DOMAIN, MINUTE, NOW, begun, claimed, kept, new_call, new_id

# Of all callers one calls again and again; half of the calls are forgotten, every other was empty.
_OLD = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
INSERT INTO voicemails (message_id, call_id, state, mailbox, reason, caller_number, caller_name,
    caller_withheld, dialled, language, queue, reference, arrived_at, recipients, recording_file,
    result, closed_at, forgotten_at)
SELECT printf('01OLD%021d', i), 'c' || i, CASE i % 2 WHEN 0 THEN 'kept' ELSE 'discarded' END,
    CASE i % 3 WHEN 0 THEN :probe ELSE 'sales' END, 'busy', '4860' || i % 1000, '', 0, '1', 'pl', '', '',
    :now - i * 60000, '[]', 'sales.wav', 'recorded', :now - i * 60000, CASE i % 4 WHEN 0 THEN :now END
FROM n
"""
_OLD_MAILS = """
INSERT INTO deliveries (message_id, recipient, about, state, attempts, crashes, queued_at, due_at,
    finished_at)
SELECT message_id, 'a@example.com', 0, CASE arrived_at % 3 WHEN 0 THEN 'bounced' ELSE 'delivered' END,
    1, 0, closed_at, closed_at, closed_at FROM voicemails WHERE message_id LIKE '01OLD%'
"""
_OLD_ATTEMPTS = """
INSERT INTO attempts (delivery_id, number, ended_at, duration_ms, result, reply)
SELECT delivery_id, 1, due_at, 5, state, '' FROM deliveries WHERE message_id IN (
    SELECT message_id FROM voicemails WHERE message_id LIKE '01OLD%')
"""


def grow(folder: Path, rows: int) -> None:
    """Lay calls into a journal that are all over and done with."""
    with closing(sqlite3.connect(folder / FILE)) as db, db:
        db.execute("PRAGMA synchronous=OFF")
        now = round(NOW.timestamp() * 1000)
        db.execute(_OLD, {"rows": rows, "now": now, "probe": PROBE})
        db.execute(_OLD_MAILS)
        db.execute(_OLD_ATTEMPTS)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(url_of(tmp_path), tmp_path)
    yield opened
    opened.close()


def driver(journal: Journal) -> Any:
    """The connection that the journal's thread writes through."""
    return journal._writer._engine.raw_connection().driver_connection


def plans(journal: Journal, verb: Callable[[], object]) -> list[str]:
    """Do what a verb does and say how the database finds what that asks for."""
    asked: list[str] = []
    driver(journal).set_trace_callback(asked.append)
    verb()
    driver(journal).set_trace_callback(None)
    return [
        step[3]
        for statement in asked
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE")
        for step in driver(journal).execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    ]


def steps(journal: Journal, verb: Callable[[], object]) -> int:
    """Do what a verb does and count the steps that takes the database."""
    count = 0

    def one() -> None:
        nonlocal count
        count += 1

    driver(journal).set_progress_handler(one, 1)
    verb()
    driver(journal).set_progress_handler(None, 0)
    return count


def marked(journal: Journal, verdict: Any, due_at: datetime | None = None) -> Callable[[], object]:
    kept(journal)
    attempt = claimed(journal)
    return lambda: journal.queue.mark(attempt, verdict, NOW, 5, due_at, operator="ops@example.com")


def to_keep(journal: Journal) -> Callable[[], object]:
    message_id = begun(journal)
    return lambda: journal.discard(message_id, CallResult.TOO_SHORT, NOW, ["anna@example.com"])


def to_claim(journal: Journal, **asked: Any) -> Callable[[], object]:
    for _ in range(3):
        kept(journal)
    return lambda: journal.queue.claim(2, NOW, DOMAIN, **asked)


def to_send_again(journal: Journal) -> Callable[[], object]:
    kept(journal)
    claimed(journal)
    return lambda: journal.queue.reclaim((), NOW, crashed=True, operator="ops@example.com")


def to_forget(journal: Journal) -> Callable[[], object]:
    message_id = begun(journal, NOW - timedelta(days=99))
    journal.discard(message_id, CallResult.TOO_SHORT, NOW - timedelta(days=99))
    return lambda: (
        journal.past_retention(NOW - timedelta(days=30)),
        journal.give_up(message_id, NOW - timedelta(days=30), NOW),
        journal.forget(message_id, NOW),
    )


def of_the_probe(journal: Journal) -> Callable[[], object]:
    message_id = new_id()
    long_ago = NOW - timedelta(days=99)
    journal.begin(message_id, new_call(long_ago, mailbox=PROBE), "a.wav", 10)
    journal.discard(message_id, CallResult.TOO_SHORT, long_ago)
    return lambda: journal.past_retention(NOW - timedelta(days=30), (), PROBE)


def a_caller_again(journal: Journal) -> Callable[[], object]:
    message_id = new_id()
    journal.begin(message_id, new_call(caller=Caller("48601", "Jan", withheld=False)), "a.wav", 10)
    return to_claim(journal)


VERBS: dict[str, Callable[[Journal], Callable[[], object]]] = {
    "begin": lambda journal: lambda: begun(journal),
    "keep": lambda journal: lambda: kept(journal),
    "discard": to_keep,
    "claim": to_claim,
    "claim beside others": lambda journal: to_claim(journal, under_way=[1, 2]),
    "claim while asking": lambda journal: to_claim(journal, asking=True),
    "claim for a caller who is known": a_caller_again,
    "claim nothing": lambda journal: lambda: journal.queue.claim(9, NOW, DOMAIN),
    "mark delivered": lambda journal: marked(journal, Delivered(250, "ok")),
    "mark bounced": lambda journal: marked(journal, Bounced(550, "no")),
    "mark deferred": lambda journal: marked(journal, Deferred(450, "later"), NOW + MINUTE),
    "next due": lambda journal: journal.queue.next_due,
    "scrape": lambda journal: journal.queue.backlog,
    "reclaim": to_send_again,
    "open calls": lambda journal: journal.open_calls,
    "known": lambda journal: lambda: journal.known([new_id() for _ in range(9)]),
    "forget": to_forget,
    "forget the probe's": of_the_probe,
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_row_is_found_by_an_index(journal: Journal, verb: str) -> None:
    found = plans(journal, VERBS[verb](journal))
    # What a statement has put together itself, a subquery say, has no index and needs none.
    assert [step for step in found if re.match(r"SCAN (voicemails|deliveries|attempts)", step)] == []


def test_the_few_rows_among_many_are_found_by_the_index_that_tells_them_best(journal: Journal) -> None:
    claiming = plans(journal, VERBS["claim"](journal))
    assert "SEARCH deliveries USING INDEX deliveries_suspect (state=?)" in claiming
    assert (
        "SEARCH voicemails USING INDEX voicemails_caller (caller_number=? AND arrived_at>? AND arrived_at<?)"
        in claiming
    )
    retiring = plans(journal, VERBS["forget the probe's"](journal))
    assert "SEARCH voicemails USING INDEX voicemails_probe (forgotten_at=? AND closed_at<?)" in retiring


@pytest.mark.parametrize("verb", VERBS)
def test_it_takes_the_same_steps_beside_thousands_of_old_calls(tmp_path: Path, verb: str) -> None:
    taken = []
    for rows in (100, 5000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        journal = Journal(url_of(folder), folder)
        grow(folder, rows)
        taken.append(steps(journal, VERBS[verb](journal)))
        journal.close()
    assert taken[1] <= taken[0] * 1.02


def test_a_large_journal_opens_as_fast_as_a_small_one(tmp_path: Path) -> None:
    Journal(url_of(tmp_path), tmp_path).close()
    grow(tmp_path, 50_000)
    began = time.process_time()
    journal = Journal(url_of(tmp_path), tmp_path)
    journal.queue.reclaim((), NOW, crashed=True)
    assert journal.open_calls() == ([], [])
    assert time.process_time() - began < 0.5
    journal.close()
