"""Calls in the journal: what is begun, kept, noted and closed, and what is final stays so."""

import itertools
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.model import Caller, CallResult, EndedBy, Reason, one_line
from tests.journal.rows import DOMAIN, MINUTE, NOW, begun, kept, new_call, new_id, recording
from tests.support.service import until

texts = st.text().map(lambda text: one_line(text, 40))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=texts,
    name=texts,
    withheld=st.booleans(),
    dialled=texts,
    queue=texts,
    wait=st.none() | st.integers(0, 999_999),
    reference=texts,
    reason=st.sampled_from(Reason),
    milliseconds=st.integers(0, 4_102_444_800_000),
)
def test_a_call_comes_back_as_it_was_begun(
    journal, number, name, withheld, dialled, queue, wait, reference, reason, milliseconds
):
    message_id = new_id()
    call = new_call(
        datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds),
        caller=Caller(number, name, withheld),
        dialled=dialled,
        queue=queue,
        queue_wait_seconds=wait,
        reference=reference,
        reason=reason,
    )
    journal.begin(message_id, call, "a.wav", 10)
    [found] = [one for one in journal.open_calls()[0] if one.message_id == message_id]
    assert (found.call, found.recording_file) == (call, "a.wav")
    assert journal.discard(message_id, CallResult.TOO_SHORT, NOW)


def test_a_message_id_is_begun_once(journal):
    message_id = begun(journal)
    with pytest.raises(JournalError):
        journal.begin(message_id, new_call(mailbox="other"), "other.wav", 10)
    assert [one.call.mailbox for one in journal.open_calls()[0]] == ["sales"]


def test_open_calls_come_oldest_first_and_closed_ones_not_at_all(journal):
    late, early = begun(journal, NOW + MINUTE), begun(journal)
    journal.discard(begun(journal), CallResult.NO_AUDIO, NOW)
    assert [one.message_id for one in journal.open_calls()[0]] == [early, late]


@pytest.mark.parametrize("fates", list(itertools.permutations(["keep", "discard", "lose"])))
def test_a_call_gets_one_fate_whoever_comes_later(journal, reader, fates):
    message_id = begun(journal)
    audio = recording(Path("/recordings"), message_id)
    give = {
        "keep": lambda: journal.keep(message_id, audio, EndedBy.KEY, ["anna@example.com"], now=NOW),
        "discard": lambda: journal.discard(message_id, CallResult.TOO_SHORT, NOW),
        "lose": lambda: journal.lose(message_id, CallResult.RECORD_FAILED, NOW),
    }
    changed = [give[fate]() for fate in (*fates, *fates)]
    assert changed == [True, False, False, False, False, False]
    story = reader.show(message_id)
    assert story is not None
    assert story.summary.state == {"keep": "kept", "discard": "discarded", "lose": "lost"}[fates[0]]
    assert len(story.deliveries) == (1 if fates[0] == "keep" else 0)
    assert journal.open_calls()[0] == []


@pytest.mark.parametrize("fate", ["keep", "discard", "lose"])
def test_a_fate_for_a_call_that_was_never_begun_is_refused(journal, fate):
    audio = recording(Path("/recordings"), "nobody")
    give = {
        "keep": lambda: journal.keep("nobody", audio, EndedBy.KEY, ["anna@example.com"], now=NOW),
        "discard": lambda: journal.discard("nobody", CallResult.TOO_SHORT, NOW),
        "lose": lambda: journal.lose("nobody", CallResult.RECORD_FAILED, NOW),
    }[fate]
    with pytest.raises(JournalError, match="nobody"):
        give()


def test_a_keep_that_fails_half_way_leaves_the_call_open(journal):
    message_id = begun(journal)
    audio = recording(Path("/recordings"), message_id)
    with pytest.raises(JournalError):
        journal.keep(message_id, audio, EndedBy.KEY, ["anna@example.com"] * 2, now=NOW)
    assert [one.message_id for one in journal.open_calls()[0]] == [message_id]
    assert journal.queue.claim(10, NOW, DOMAIN) == []
    assert journal.keep(message_id, audio, EndedBy.KEY, ["anna@example.com"], now=NOW)


def test_known_names_the_messages_that_have_a_row(journal):
    ids = [begun(journal), kept(journal)]
    assert journal.known([*ids, new_id(), "", "x" * 26]) == dict(zip(ids, ["open", "kept"], strict=True))
    assert journal.known([]) == {}
    assert journal.known([new_id() for _ in range(500)]) == {}


def test_a_call_whose_row_came_too_late_is_closed_and_nobody_is_told(tmp_path):
    journal, message_id = Journal(url_of(tmp_path), tmp_path), new_id()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"0\.1 s"):
        journal.begin(message_id, new_call(), "sales.late.wav", 0.1, ["anna@example.com"])
    other.execute("ROLLBACK")
    other.close()
    until(lambda: list(JournalReader(tmp_path, tmp_path).find()), "the row is there")
    assert journal.open_calls() == ([], [])
    [late] = list(JournalReader(tmp_path, tmp_path).find())
    assert (late.state, late.result, late.recipients) == ("discarded", "failed", 0)
    journal.close()
