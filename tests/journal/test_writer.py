"""What many write at once is committed together, and answered when it is on disk."""

import sqlite3
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original
from sqlalchemy import Connection, event, func, insert, select

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.journal.schema import deliveries, voicemails
from esl_voicemail.journal.writer import Writer
from esl_voicemail.model import CallResult
from tests.journal.rows import NOW, begun, kept, new_id


def row(message_id: str) -> Any:
    call = {"message_id": message_id, "call_id": "c", "state": "open", "mailbox": "m", "reason": "direct"}
    texts = (
        "caller_number",
        "caller_name",
        "dialled",
        "language",
        "queue",
        "reference",
        "recording_file",
        "recipients",
    )
    return insert(voicemails).values(**call, **dict.fromkeys(texts, ""), caller_withheld=False, arrived_at=0)


def count(db: Connection) -> int:
    return db.execute(select(func.count()).select_from(voicemails)).scalar_one()


def refused_or_not(writer: Writer, work: Any) -> Any:
    try:
        return writer.write(work, 20)
    except Exception as error:  # noqa: BLE001 - looked at by the test
        return error


def together(writer: Writer, *works: Any) -> list[Any]:
    """Ask for all in one turn of the event loop, so that one commit takes them."""
    greenlets = [gevent.spawn(refused_or_not, writer, work) for work in works]
    return [greenlet.get(timeout=20) for greenlet in greenlets]


# --- committed together ------------------------------------------------------------------------------


def test_what_two_hundred_greenlets_write_at_once_lands_in_few_commits(writer):
    commits: list[None] = []
    event.listen(writer._engine, "commit", lambda _: commits.append(None))
    works = [lambda db, n=n: (db.execute(row(str(n))), n)[1] for n in range(200)]
    assert together(writer, *works) == list(range(200))
    assert writer.write(count) == 200
    assert len(commits) <= 5


def test_work_that_fails_does_not_take_along_what_is_committed_with_it(writer):
    def half(db: Connection) -> None:
        db.execute(row("half"))
        db.execute(row("half"))

    def ours(db: Connection) -> None:
        db.execute(row("ours"))
        raise JournalError("no")

    def bug(db: Connection) -> None:
        db.execute(row("bug"))
        raise ZeroDivisionError

    outcomes = together(
        writer,
        lambda db: (db.execute(row("first")), "first")[1],
        half,
        ours,
        bug,
        lambda db: (db.execute(row("last")), "last")[1],
    )
    assert [type(one) for one in outcomes] == [str, JournalError, JournalError, ZeroDivisionError, str]
    found = writer.write(lambda db: db.execute(select(voicemails.c.message_id)).scalars().all())
    assert sorted(found) == ["first", "last"]


def test_one_work_that_fails_costs_the_others_one_commit_more_and_not_one_each(writer):
    commits = []
    event.listen(writer._engine, "commit", commits.append)

    def bug(db: Connection) -> None:
        db.execute(row("bug"))
        raise ZeroDivisionError

    others = [lambda db, n=n: db.execute(row(f"call-{n}")).rowcount for n in range(50)]
    outcomes = together(writer, *others[:30], bug, *others[30:])
    assert outcomes[:30] + outcomes[31:] == [1] * 50
    assert type(outcomes[30]) is ZeroDivisionError
    assert len(commits) <= 2


def test_a_commit_that_fails_answers_everybody_with_a_journal_error(writer):
    def breaks_the_commit(db: Connection) -> str:
        db.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        orphan = {"message_id": "nobody", "recipient": "r", "state": "queued", "attempts": 0, "crashes": 0}
        db.execute(insert(deliveries).values(**orphan, queued_at=0, due_at=0))
        return "unharmed so far"

    def harmless(name: str) -> Any:
        return lambda db: (db.execute(row(name)), name)[1]

    outcomes = together(writer, harmless("a"), breaks_the_commit, harmless("b"))
    assert [type(one) for one in outcomes] == [JournalError] * 3
    assert "FOREIGN KEY" in str(outcomes[0])
    assert writer.write(count) == 0
    assert together(writer, harmless("c")) == ["c"]
    assert writer.write(count) == 1


def test_a_full_disk_refuses_what_has_no_room_and_undoes_nothing_that_was_answered(writer):
    pages = writer.write(lambda db: db.exec_driver_sql("PRAGMA page_count").scalar_one())
    writer.write(lambda db: db.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}").scalar_one())

    def large(db: Connection) -> str:
        db.execute(row("large").values(reference="x" * 100_000))
        return "large"

    outcomes = together(writer, lambda db: (db.execute(row("small")), "small")[1], large, count)
    assert (outcomes[0], outcomes[2]) == ("small", 1)
    assert isinstance(outcomes[1], JournalError)
    assert str(outcomes[1]) == "the journal refused: database or disk is full"
    assert writer.write(count) == 1
    writer.write(lambda db: db.exec_driver_sql(f"PRAGMA max_page_count={pages + 1000}").scalar_one())
    assert together(writer, large) == ["large"]


def test_a_database_that_another_holds_refuses_and_recovers(writer, tmp_path):
    writer.write(lambda db: db.exec_driver_sql("PRAGMA busy_timeout=50"))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes = together(writer, count, count)
    assert [str(one) for one in outcomes] == ["the journal refused: database is locked"] * 2
    other.execute("ROLLBACK")
    other.close()
    assert writer.write(count) == 0


def test_a_disk_that_hangs_holds_neither_the_caller_nor_the_event_loop(writer):
    # A lock of the threads, not of the greenlets: the writer's thread waits at it.
    stuck = get_original("_thread", "allocate_lock")()
    stuck.acquire()

    def slow(db: Connection) -> None:
        with stuck:
            db.execute(row("late"))

    with pytest.raises(JournalError, match=r"0\.1 s"):
        writer.write(slow, 0.1)
    waiting = gevent.spawn(writer.write, count)
    gevent.sleep(0)
    assert not waiting.ready()
    stuck.release()
    assert waiting.get(timeout=20) == 1


def test_each_commit_is_measured_whatever_came_of_the_work(tmp_path):
    took: list[float] = []
    journal = Journal(url_of(tmp_path), tmp_path, took.append)
    try:
        kept(journal)
        commits = len(took)
        assert commits >= 2
        with pytest.raises(JournalError, match="no call"):
            journal.discard(new_id(), CallResult.NO_AUDIO, NOW)
        assert len(took) == commits + 1
        assert all(seconds > 0 for seconds in took)
    finally:
        journal.close()


def test_what_fails_in_measuring_is_not_the_end_of_all_writing(tmp_path):
    def unable(_seconds: float) -> None:
        raise ZeroDivisionError

    journal = Journal(url_of(tmp_path), tmp_path, unable)
    message_ids = [begun(journal), begun(journal)]
    journal.close()
    assert [one.message_id for one in JournalReader(tmp_path, tmp_path).find()] == message_ids[::-1]
