"""The journal read beside its writer."""

import time
from itertools import islice
from pathlib import Path

import gevent
import pytest
from gevent.monkey import get_original
from sqlalchemy import event, select

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.journal.schema import attempts
from esl_voicemail.verdict import Delivered
from tests.journal.rows import DOMAIN, MINUTE, NOW, begun, kept, new_call, recording
from tests.support.service import until


def test_the_reader_sees_what_is_committed_while_the_writer_goes_on(journal, reader):
    assert list(reader.find()) == []
    first = kept(journal, "anna@example.com", "jan@example.com")
    assert [(one.message_id, one.state, one.recipients, one.delivered) for one in list(reader.find())] == [
        (first, "kept", 2, 0)
    ]
    attempt = journal.queue.claim(1, NOW, DOMAIN)[0]
    assert journal.queue.mark(attempt, Delivered(250, "ok"), NOW, 1)
    second = begun(journal, NOW + MINUTE)
    assert [(one.message_id, one.state, one.recipients, one.delivered) for one in list(reader.find())] == [
        (second, "open", 0, 0),
        (first, "kept", 2, 1),
    ]
    assert [one.message_id for one in islice(reader.find(at_once=1), 1)] == [second]


def test_the_reader_holds_up_no_writer_in_the_middle_of_a_read(journal, reader):
    kept(journal)
    with reader._connected() as db:
        db.execute(select(attempts)).all()
        begun(journal)
    assert len(list(reader.find())) == 2


def test_a_story_is_found_by_message_and_by_call(journal, reader, tmp_path):
    message_id = kept(journal)
    for name in (message_id, message_id.lower(), new_call().call_id):
        story = reader.show(name)
        assert story is not None
        assert story.summary.message_id == message_id
        found = reader.voicemail(name)
        assert found is not None
        assert found.recording == recording(tmp_path, message_id)
    assert reader.show("nobody") is None
    assert reader.voicemail("nobody") is None


def test_the_reader_needs_a_journal(tmp_path):
    with pytest.raises(JournalError, match="no journal yet"):
        JournalReader(tmp_path, tmp_path)


def test_the_reader_refuses_what_is_no_journal(tmp_path):
    (tmp_path / FILE).write_bytes(b"nothing to see" * 1000)
    with pytest.raises(JournalError, match="cannot be read"):
        list(JournalReader(tmp_path, tmp_path).find())


def test_the_writers_thread_ends_with_the_journal(tmp_path):
    tasks = Path("/proc/self/task")
    Journal(url_of(tmp_path), tmp_path).close()
    before = len(list(tasks.iterdir()))
    for _ in range(5):
        Journal(url_of(tmp_path), tmp_path).close()
    until(lambda: len(list(tasks.iterdir())) <= before, "the threads have ended", 10)


def test_the_database_is_closed_by_the_writers_thread_as_that_waits_for_the_disk(tmp_path):
    journal = Journal(url_of(tmp_path), tmp_path)
    own_thread = get_original("_thread", "get_ident")
    closed_by: list[int] = []
    event.listen(journal._writer._engine, "close", lambda *_: closed_by.append(own_thread()))
    journal.close()
    assert len(closed_by) == 1
    assert closed_by != [own_thread()]


def test_a_thousand_open_calls_are_read_off_the_event_loop(journal):
    begin = [gevent.spawn(begun, journal) for _ in range(1000)]
    gevent.joinall(begin, raise_error=True)
    everything, ours = time.process_time(), time.thread_time()
    assert len(journal.open_calls()[0]) == 1000
    everything, ours = time.process_time() - everything, time.thread_time() - ours
    assert ours < everything / 2
