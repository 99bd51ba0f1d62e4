"""The queue of mails: what is claimed, marked and due again, and reports of what did not arrive."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event

from esl_voicemail.errors import JournalError
from esl_voicemail.journal import Journal, JournalEditor, picking
from esl_voicemail.journal.editor import DROP, HOLD, RETRY
from esl_voicemail.journal.engine import FILE
from esl_voicemail.journal.forgetting import Kept
from esl_voicemail.journal.writer import Writer
from esl_voicemail.model import PROBE, Backlog, Caller, CallResult, EarlierCall, EndedBy
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held
from tests.journal.rows import DOMAIN, MINUTE, NOW, begun, claimed, kept, new_call, new_id, recording

# --- deliveries --------------------------------------------------------------------------------------


def test_a_kept_message_is_due_at_once_for_each_recipient_and_claimed_as_it_was_kept(journal, tmp_path):
    message_id = kept(journal, "anna@example.com", "jan@example.com")
    found = journal.queue.claim(10, NOW, DOMAIN)
    assert [one.recipient for one in found] == ["anna@example.com", "jan@example.com"]
    for attempt in found:
        assert attempt.voicemail.message_id == message_id
        assert attempt.voicemail.call == new_call()
        assert attempt.voicemail.recording == recording(tmp_path, message_id)
        assert attempt.voicemail.ended_by is EndedBy.KEY
        assert attempt.voicemail.closed_at == NOW
        assert (attempt.number, attempt.queued_at, attempt.mail_domain) == (1, NOW, DOMAIN)


def called(journal: Journal, at: datetime, *, left_message: bool = False, **changes: Any) -> str:
    """A call before the one that matters, its mails long gone."""
    message_id = new_id()
    journal.begin(message_id, new_call(at, **changes), f"sales.{message_id}.wav", 10)
    if left_message:
        journal.keep(message_id, recording(Path("/r"), message_id), EndedBy.KEY, (), now=at)
    else:
        journal.discard(message_id, CallResult.TOO_SHORT, at)
    return message_id


def test_a_mail_knows_its_caller_s_calls_of_the_day_before(journal, reader):
    hour = timedelta(hours=1)
    another = Caller("48601234568", "Jan", withheld=False)
    called(journal, NOW - 26 * hour, left_message=True)
    called(journal, NOW - 25 * hour, left_message=True)
    called(journal, NOW - 2 * hour)
    called(journal, NOW - hour, caller=another)
    called(journal, NOW - hour, mailbox="service")
    called(journal, NOW + hour, left_message=True)
    message_id = kept(journal)
    earlier = (
        EarlierCall(NOW - 25 * hour, message=True),
        EarlierCall(NOW - 2 * hour, message=False),
    )
    assert claimed(journal).voicemail.earlier == earlier
    voicemail = reader.voicemail(message_id)
    assert voicemail is not None
    assert voicemail.earlier == earlier


@pytest.mark.parametrize(
    "caller", [Caller("", "", True), Caller("", "Jan", False), Caller("48601234567", "", True)]
)
def test_nobody_is_taken_for_another_who_has_no_number_either(journal, caller):
    called(journal, NOW - timedelta(minutes=5), caller=caller)
    message_id = new_id()
    journal.begin(message_id, new_call(caller=caller), f"sales.{message_id}.wav", 10)
    journal.keep(message_id, recording(Path("/r"), message_id), EndedBy.KEY, ("a@example.com",), now=NOW)
    assert claimed(journal).voicemail.earlier == ()


def test_earlier_calls_are_bounded(journal):
    for n in range(250):
        called(journal, NOW - timedelta(seconds=n + 1))
    kept(journal)
    earlier = claimed(journal).voicemail.earlier
    assert len(earlier) == 200
    assert earlier[-1].arrived_at == NOW - timedelta(seconds=1)


TO_WAIT = NOW + MINUTE


def waiting(journal: Journal) -> str:
    """Keep a message for two whose mails wait for a transcript."""
    message_id = begun(journal)
    audio, people = recording(Path("/recordings"), message_id), ("anna@example.com", "jan@example.com")
    assert journal.keep(message_id, audio, EndedBy.KEY, people, now=NOW, due_at=TO_WAIT)
    return message_id


@pytest.mark.parametrize("transcript", ["Dzień dobry.\nPo południu.", ""])
def test_a_transcript_is_written_and_the_mails_that_waited_for_it_are_due(journal, reader, transcript):
    message_id, other = waiting(journal), waiting(journal)
    assert journal.queue.claim(9, NOW, DOMAIN) == []
    assert journal.transcribe(message_id, transcript, TO_WAIT, NOW) is bool(transcript)
    found = journal.queue.claim(9, NOW, DOMAIN)
    assert [(one.voicemail.message_id, one.voicemail.transcript) for one in found] == [
        (message_id, transcript)
    ] * 2
    assert reader.show(message_id).transcript == transcript
    assert reader.show(other).transcript == ""
    assert {to.due_at for to in reader.show(other).deliveries} == {TO_WAIT}


@pytest.mark.parametrize(
    ("verb", "state"), [(HOLD, "held"), (DROP, "dropped"), (RETRY, "queued")], ids=["hold", "drop", "retry"]
)
def test_a_transcript_changes_nothing_of_what_a_person_has_settled(journal, reader, tmp_path, verb, state):
    message_id = waiting(journal)
    (tmp_path / f"sales.{message_id}.wav").touch()
    earlier = NOW + MINUTE / 2
    with JournalEditor(tmp_path, tmp_path) as editor:
        editor.change(message_id, verb, earlier, "anna@example.com")
    before = reader.show(message_id).deliveries[0]
    journal.transcribe(message_id, "said", TO_WAIT, NOW)
    anna, jan = reader.show(message_id).deliveries
    assert anna == before
    assert anna.state == state
    assert (jan.state, jan.due_at) == ("queued", NOW)


@pytest.mark.parametrize("later", [NOW + 9 * MINUTE, TO_WAIT])
def test_a_transcript_hastens_no_mail_that_was_tried(journal, reader, later):
    message_id = waiting(journal)
    for attempt in journal.queue.claim(9, TO_WAIT, DOMAIN):
        journal.queue.mark(attempt, Deferred(450, "not now"), TO_WAIT, 1, later)
    assert journal.transcribe(message_id, "said", TO_WAIT, NOW)
    assert {to.due_at for to in reader.show(message_id).deliveries} == {later}


def test_of_who_is_forgotten_nothing_is_written_down(journal, reader):
    message_id = waiting(journal)
    journal.forget(message_id, NOW)
    assert not journal.transcribe(message_id, "said", TO_WAIT, NOW)
    assert reader.show(message_id).transcript == ""


def test_what_was_written_down_is_forgotten_with_the_caller(journal, reader):
    message_id = waiting(journal)
    assert journal.transcribe(message_id, "said", TO_WAIT, NOW)
    journal.forget(message_id, NOW)
    assert reader.show(message_id).transcript == ""


def test_text_that_is_no_utf8_keeps_no_mail_from_being_sent(journal, reader, tmp_path):
    spoilt, other = kept(journal), kept(journal)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        spoil = "UPDATE voicemails SET caller_name = CAST(x'4af6ff' AS TEXT) WHERE message_id = ?"
        database.execute(spoil, (spoilt,))
        database.commit()
    found = journal.queue.claim(10, NOW, DOMAIN)
    names = {one.voicemail.message_id: one.voicemail.call.caller.name for one in found}
    assert names == {spoilt: "J\ufffd\ufffd", other: "Jan"}
    assert {one.message_id for one in reader.find()} == {spoilt, other}


def test_what_is_claimed_is_not_claimed_again(journal):
    kept(journal, *(f"r{n}@example.com" for n in range(10)))
    parts = [journal.queue.claim(3, NOW, DOMAIN) for _ in range(5)]
    assert [len(part) for part in parts] == [3, 3, 3, 1, 0]
    assert len({one.recipient for part in parts for one in part}) == 10
    assert journal.queue.claim(0, NOW, DOMAIN) == []


def test_greenlets_that_claim_at_once_share_what_is_due(journal):
    kept(journal, *(f"r{n}@example.com" for n in range(40)))
    workers = [gevent.spawn(journal.queue.claim, 5, NOW, DOMAIN) for _ in range(10)]
    found = [one.delivery_id for worker in workers for one in worker.get(timeout=20)]
    assert len(found) == len(set(found)) == 40


def test_nothing_is_claimed_before_it_is_due(journal):
    second, first = kept(journal, at=NOW + MINUTE), kept(journal, at=NOW)
    third = kept(journal, at=NOW + 2 * MINUTE)
    assert journal.queue.claim(10, NOW - MINUTE, DOMAIN) == []
    found = journal.queue.claim(10, NOW + MINUTE, DOMAIN)
    assert [one.voicemail.message_id for one in found] == [first, second]
    assert journal.queue.next_due() == NOW + 2 * MINUTE
    assert [one.voicemail.message_id for one in journal.queue.claim(10, NOW + 2 * MINUTE, DOMAIN)] == [third]
    assert journal.queue.next_due() is None


@pytest.mark.parametrize(
    ("verdict", "state", "result"),
    [
        (Delivered(250, "2.0.0 queued as 1"), "delivered", "delivered"),
        (Bounced(550, "5.1.1 no such user"), "bounced", "bounced"),
        (Expired(450, "4.2.0 greylisted"), "expired", "expired"),
        (Held("template of the mail: x"), "held", "held"),
        (Deferred(450, "4.2.0 greylisted"), "queued", "deferred"),
        (Deferred(None, "connection refused", ours=True), "queued", "deferred"),
    ],
)
def test_a_verdict_is_recorded_with_the_servers_words(journal, reader, verdict, state, result):
    message_id = kept(journal)
    due_at = NOW + 5 * MINUTE if state == "queued" else None
    assert journal.queue.mark(claimed(journal), verdict, NOW + MINUTE, 1234, due_at)
    story = reader.show(message_id)
    assert story is not None
    [to] = story.deliveries
    assert to.state == state
    assert to.finished_at == (None if due_at else NOW + MINUTE)
    [tried] = to.attempts
    assert (tried.number, tried.ended_at, tried.duration_ms) == (1, NOW + MINUTE, 1234)
    assert (tried.result, tried.code, tried.reply) == (result, verdict.code, verdict.reply)
    assert journal.queue.next_due() == due_at
    assert journal.queue.claim(10, NOW + 4 * MINUTE, DOMAIN) == []
    assert [one.number for one in journal.queue.claim(10, NOW + 5 * MINUTE, DOMAIN)] == (
        [2] if due_at else []
    )


def test_a_deferred_verdict_needs_its_next_try(journal):
    kept(journal)
    with pytest.raises(JournalError):
        journal.queue.mark(claimed(journal), Deferred(450, "later"), NOW, 1)


def test_marking_an_attempt_twice_changes_nothing_the_second_time(journal, reader):
    message_id = kept(journal)
    attempt = claimed(journal)
    assert journal.queue.mark(attempt, Deferred(450, "later"), NOW, 1, NOW + MINUTE)
    assert not journal.queue.mark(attempt, Bounced(550, "no"), NOW, 1)
    assert reader.show(message_id).deliveries[0].state == "queued"


@pytest.mark.parametrize("crashed", [True, False])
def test_what_is_marked_as_being_sent_and_is_not_is_due_again_at_once(journal, crashed):
    kept(journal)
    claimed(journal)
    assert journal.queue.reclaim((), NOW, crashed=crashed) == (1, 0)
    assert journal.queue.reclaim((), NOW, crashed=crashed) == (0, 0)
    assert claimed(journal).number == 2


def test_what_is_being_sent_is_left_alone(journal):
    kept(journal, "a@example.com", "b@example.com")
    first, second = journal.queue.claim(2, NOW, DOMAIN)
    assert journal.queue.reclaim([first.delivery_id], NOW, crashed=False) == (1, 0)
    assert claimed(journal).delivery_id == second.delivery_id


def test_only_crashes_count_as_crashes(journal):
    kept(journal)
    for _ in range(9):
        claimed(journal)
        assert journal.queue.reclaim((), NOW, crashed=False) == (1, 0)
    for outcome in [(1, 0), (1, 0), (0, 1)]:
        claimed(journal)
        assert journal.queue.reclaim((), NOW, crashed=True) == outcome


def test_the_domain_of_a_mail_is_settled_by_its_first_claim(journal):
    kept(journal)
    [first] = journal.queue.claim(1, NOW, "old.example.com")
    assert journal.queue.mark(first, Deferred(450, "later"), NOW, 1, NOW)
    [second] = journal.queue.claim(1, NOW, "new.example.com")
    assert (first.mail_domain, second.mail_domain) == ("old.example.com", "old.example.com")


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_oldest_and_the_newest_are_claimed_in_turn(journal, newest_first):
    ids = [kept(journal, at=NOW + n * MINUTE) for n in range(5)]
    found = journal.queue.claim(5, NOW + 9 * MINUTE, DOMAIN, newest_first=newest_first)
    order = [4, 0, 3, 1, 2] if newest_first else [0, 4, 1, 3, 2]
    assert [one.voicemail.message_id for one in found] == [ids[n] for n in order]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(st.integers(0, 5), min_size=1, max_size=7),
    most=st.integers(1, 8),
    newest_first=st.booleans(),
)
def test_the_same_go_first_whether_all_that_is_due_or_only_some_of_it_is_asked_for(
    journal, ages, most, newest_first
):
    ids = [kept(journal, at=NOW + n * MINUTE) for n in ages]
    now = NOW + 9 * MINUTE
    oldest_first = [ids[n] for n in sorted(range(len(ids)), key=lambda n: (ages[n], n))]
    left, order = list(oldest_first), []
    while left:
        order.append(left.pop(-1 if newest_first ^ (len(order) % 2) else 0))
    some = journal.queue.claim(most, now, DOMAIN, newest_first=newest_first)
    assert [one.voicemail.message_id for one in some] == order[:most]
    under_way = [one.delivery_id for one in some]
    rest = journal.queue.claim(9, now, DOMAIN, under_way=under_way, asking=True)
    assert [one.voicemail.message_id for one in rest] == [one for one in oldest_first if one in order[most:]]
    for one in (*some, *rest):
        assert journal.queue.mark(one, Delivered(250, "ok"), now, 1)


def test_what_is_due_is_found_by_index_among_any_number_that_wait_for_their_time(writer):
    statement = picking._SOME
    values = {"most": 5, "now": 1, "not_ours": 2}

    def plan(db: Connection) -> list[str]:
        words = statement._put_into_words(db.dialect, list(values))
        explained = f"EXPLAIN QUERY PLAN {words.text}"
        return [row[3] for row in db.exec_driver_sql(explained, words.values(values.values()))]

    found = [line for line in writer.write(plan) if "deliveries" in line]
    assert found == [
        "SEARCH deliveries USING INDEX deliveries_due (state=? AND due_at<?)",
        "SEARCH deliveries USING INDEX deliveries_due (state=? AND due_at>?)",
    ]


def test_a_due_time_that_only_a_wrong_clock_can_have_written_is_due(journal):
    kept(journal)
    assert journal.queue.mark(claimed(journal), Deferred(450, "later"), NOW, 1, NOW + timedelta(hours=2))
    assert journal.queue.claim(1, NOW, DOMAIN) == []
    # Set back by an hour and a half, the clock would make it wait three and a half.
    assert len(journal.queue.claim(1, NOW - timedelta(minutes=90), DOMAIN)) == 1


def test_a_server_that_took_the_mail_after_all_has_the_last_word(journal, reader):
    message_id = kept(journal)
    attempt = claimed(journal)
    assert journal.queue.reclaim((), NOW, crashed=False) == (1, 0)
    assert journal.queue.mark(attempt, Delivered(250, "ok"), NOW, 1)
    assert reader.show(message_id).deliveries[0].state == "delivered"
    assert not journal.queue.mark(attempt, Delivered(250, "ok"), NOW, 1)


# --- notices and reports -------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [("anna@example.com", "jan@example.com"), ()])
@pytest.mark.parametrize("way", ["discard", "lose"])
def test_who_is_told_of_a_call_without_audio_has_a_notice_queued_with_its_fate(journal, told, way):
    message_id = begun(journal)
    close = getattr(journal, way)
    assert close(message_id, CallResult.RECORD_FAILED, NOW, told)
    assert not close(message_id, CallResult.RECORD_FAILED, NOW, told)
    found = journal.queue.claim(10, NOW, DOMAIN)
    assert tuple(one.recipient for one in found) == told
    for one in found:
        assert one.voicemail.recording is None
        assert one.voicemail.ended_by is None
        assert one.voicemail.result is CallResult.RECORD_FAILED


@pytest.mark.parametrize(
    "verdict", [Bounced(550, "no such user"), Expired(450, "later"), Held("no such file")], ids=str
)
def test_the_operator_is_told_once_of_a_recipient_who_will_not_get_it(journal, verdict):
    kept(journal, "anna@example.com")
    attempt = claimed(journal)
    assert journal.queue.mark(attempt, verdict, NOW, 1, operator="ops@example.com")
    assert not journal.queue.mark(attempt, verdict, NOW, 1, operator="ops@example.com")
    report = claimed(journal)
    assert report.recipient == "ops@example.com"
    assert report.voicemail == attempt.voicemail
    assert report.undelivered.recipient == "anna@example.com"
    assert (report.undelivered.code, report.undelivered.reply) == (verdict.code, verdict.reply)
    # Of a report that comes to nothing itself, nobody is told by mail.
    assert journal.queue.mark(report, Bounced(550, "no"), NOW, 1, operator="ops@example.com")
    assert journal.queue.claim(10, NOW, DOMAIN) == []


def test_an_operator_who_is_a_recipient_too_gets_both(journal):
    kept(journal, "anna@example.com", "ops@example.com")
    anna, ops = journal.queue.claim(2, NOW, DOMAIN)
    assert journal.queue.mark(anna, Bounced(550, "no"), NOW, 1, operator="ops@example.com")
    assert journal.queue.mark(ops, Delivered(250, "ok"), NOW, 1, operator="ops@example.com")
    assert claimed(journal).undelivered.recipient == "anna@example.com"


def test_what_crashed_the_service_again_and_again_is_reported_when_it_is_held(journal):
    kept(journal)
    for _ in range(3):
        claimed(journal)
        journal.queue.reclaim((), NOW, crashed=True, operator="ops@example.com")
    report = claimed(journal)
    assert report.undelivered.state == "held"
    assert "crashed 3 times" in report.undelivered.reply


def test_without_an_operator_nothing_is_reported(journal):
    kept(journal)
    assert journal.queue.mark(claimed(journal), Bounced(550, "no"), NOW, 1)
    assert journal.queue.claim(10, NOW, DOMAIN) == []


def test_backlog_counts_what_is_not_final_and_says_how_old_the_oldest_is(journal):
    assert journal.queue.backlog() == Backlog({"queued": 0, "sending": 0, "held": 0}, None, None)
    kept(journal, at=NOW - 3 * MINUTE)
    assert journal.queue.mark(claimed(journal), Held("look at this"), NOW, 1)
    kept(journal, "a@example.com", "b@example.com", "c@example.com", "d@example.com", at=NOW - MINUTE)
    first, *_ = journal.queue.claim(2, NOW, DOMAIN)
    assert journal.queue.mark(first, Delivered(250, "ok"), NOW, 1)
    backlog = journal.queue.backlog()
    assert backlog.counts == {"queued": 2, "sending": 1, "held": 1}
    assert backlog.oldest == NOW - MINUTE


def test_the_oldest_is_as_old_as_its_caller_s_end_whenever_it_was_queued(journal, tmp_path):
    message_id = begun(journal, NOW - 180 * MINUTE)
    audio = recording(tmp_path, message_id)
    ended_at = NOW - 179 * MINUTE
    assert journal.keep(message_id, audio, EndedBy.CUT, ["a@example.com"], now=NOW, ended_at=ended_at)
    assert journal.queue.backlog().oldest == ended_at
    one = claimed(journal)
    assert (one.queued_at, one.voicemail.closed_at) == (NOW, ended_at)


def test_a_report_and_a_probe_s_mail_are_no_message_that_waits(journal, tmp_path):
    kept(journal, at=NOW - 30 * MINUTE)
    assert journal.queue.mark(claimed(journal), Bounced(550, "no"), NOW, 1, operator="ops@example.com")
    probe_s(journal, tmp_path)
    backlog = journal.queue.backlog()
    assert backlog.counts["queued"] == 2
    assert backlog.oldest is None


@pytest.mark.parametrize(
    ("verdict", "stalled"),
    [
        (None, True),
        (Deferred(450, "later"), True),
        (Bounced(550, "no"), True),
        (Expired(450, "later"), True),
        (Held("look at this"), False),
        (Delivered(250, "ok"), False),
    ],
)
def test_stalled_since_is_when_the_first_came_of_which_none_was_accepted(journal, verdict, stalled):
    kept(journal, at=NOW - 9 * MINUTE)
    if verdict is not None:
        assert journal.queue.mark(claimed(journal), verdict, NOW, 1, NOW)
    assert journal.queue.backlog().stalled_since == (NOW - 9 * MINUTE if stalled else None)


def test_what_came_before_a_mail_was_accepted_is_not_stalled(journal):
    kept(journal, at=NOW - 9 * MINUTE)
    kept(journal, at=NOW - 5 * MINUTE)
    kept(journal, at=NOW - 3 * MINUTE)
    assert journal.queue.backlog(NOW - 9 * MINUTE).stalled_since == NOW - 5 * MINUTE
    assert journal.queue.backlog(NOW - 5 * MINUTE).stalled_since == NOW - 3 * MINUTE
    assert journal.queue.backlog(NOW).stalled_since is None


def test_neither_a_report_nor_a_probe_s_mail_nor_what_a_person_dropped_is_stalled(journal, tmp_path):
    kept(journal, at=NOW - 30 * MINUTE)
    assert journal.queue.mark(claimed(journal), Bounced(550, "no"), NOW, 1, operator="ops@example.com")
    probe_s(journal, tmp_path)
    dropped = kept(journal)
    with JournalEditor(tmp_path, tmp_path) as editor:
        assert editor.change(dropped, DROP, NOW)
    assert journal.queue.backlog(NOW - 20 * MINUTE).stalled_since is None


def test_when_a_customer_s_mail_was_last_accepted_is_known_to_the_next_process(journal, tmp_path):
    assert journal.queue.last_accepted() is None
    kept(journal)
    assert journal.queue.mark(claimed(journal), Bounced(550, "no"), NOW, 1, operator="ops@example.com")
    assert journal.queue.last_accepted() is None
    assert journal.queue.mark(claimed(journal), Delivered(250, "the report"), NOW + MINUTE, 1)
    probe_s(journal, tmp_path)
    assert journal.queue.mark(claimed(journal), Delivered(250, "the probe"), NOW + 2 * MINUTE, 1)
    assert journal.queue.last_accepted() is None
    kept(journal)
    assert journal.queue.mark(claimed(journal), Delivered(250, "a message"), NOW + 3 * MINUTE, 1)
    kept(journal)
    assert journal.queue.mark(claimed(journal), Deferred(450, "later"), NOW + 4 * MINUTE, 1, NOW)
    assert journal.queue.last_accepted() == NOW + 3 * MINUTE


def probe_s(journal: Journal, folder: Path) -> None:
    """Keep a message of the probe's."""
    message_id = new_id()
    journal.begin(message_id, new_call(mailbox=PROBE), f"{PROBE}.{message_id}.wav", 10)
    audio = recording(folder, message_id)
    assert journal.keep(message_id, audio, EndedBy.KEY, ["probe@example.com"], now=NOW)


def test_backlog_is_found_by_index_and_touches_no_delivery_that_is_final(journal, writer):
    asked: list[tuple[str, Any]] = []

    def overheard(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", overheard)
    try:
        journal.queue.backlog(NOW)
    finally:
        event.remove(Engine, "before_cursor_execute", overheard)
    counting, *finding = [one for one in asked if "deliveries" in one[0]]
    assert counting[1] == ("queued", "sending", "held")
    assert [plan[3] for plan in explained(writer, *counting)] == [
        "SEARCH deliveries USING COVERING INDEX deliveries_age (state=?)"
    ]
    assert len(finding) == 6
    for statement, parameters in finding:
        first, second = (plan[3] for plan in explained(writer, statement, parameters))
        assert first.startswith("SEARCH deliveries USING INDEX deliveries_age (state=?")
        assert second.startswith("SEARCH voicemails USING INDEX sqlite_autoindex_voicemails_1 (message_id=?)")


@pytest.mark.parametrize(
    ("fates", "past"),
    [
        (["delivered"], True),
        (["delivered", "bounced"], True),
        (["expired"], True),
        (["delivered", "held"], False),
        (["delivered", "queued"], False),
        (["delivered", "sending"], False),
        (["delivered", "late"], False),
        (["discarded"], True),
        (["lost"], True),
        (["open"], False),
    ],
    ids=str,
)
def test_only_what_nobody_waits_for_is_past_its_retention(journal, fates, past):
    before = NOW + MINUTE
    verdicts = {
        "delivered": Delivered(250, "ok"),
        "bounced": Bounced(550, "no"),
        "expired": Expired(450, "later"),
        "held": Held("look"),
        "late": Delivered(250, "ok"),
    }
    if fates in (["discarded"], ["lost"], ["open"]):
        message_id = begun(journal)
        if fates == ["discarded"]:
            journal.discard(message_id, CallResult.TOO_SHORT, NOW)
        elif fates == ["lost"]:
            journal.lose(message_id, CallResult.RECORD_FAILED, NOW)
    else:
        message_id = kept(journal, *(f"{n}.{fate}@example.com" for n, fate in enumerate(fates)))
        for attempt in journal.queue.claim(len(fates) - ("queued" in fates), NOW, DOMAIN):
            fate = attempt.recipient.split(".")[1].removesuffix("@example")
            if fate in verdicts:
                journal.queue.mark(attempt, verdicts[fate], before if fate == "late" else NOW, 1)
    found = journal.past_retention(before)
    assert found == ([Kept(message_id, f"sales.{message_id}.wav")] if past else [])
    journal.forget(message_id, NOW)
    assert journal.past_retention(before) == []


def test_past_retention_gives_a_bounded_number(journal):
    for _ in range(5):
        journal.discard(begun(journal), CallResult.TOO_SHORT, NOW)
    assert len(journal.past_retention(NOW + MINUTE, most=3)) == 3
    assert journal.past_retention(NOW) == []


def explained(writer: Writer, statement: str, parameters: Any) -> list[Any]:
    return writer.write(lambda db: db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
