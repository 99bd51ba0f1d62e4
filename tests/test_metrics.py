"""What is measured: each series from 0 on, and each measure by something that really happened."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import gevent
import pytest

from esl_voicemail.errors import JournalError
from esl_voicemail.log import Log
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import MaildirTransport
from esl_voicemail.metrics import CLASSES, DELIVERY_STAGES, RESULT_OF, SET_UP_FAULTS
from esl_voicemail.model import (
    Attempt,
    Backlog,
    Call,
    Caller,
    CallResult,
    EndedBy,
    Reason,
    Recording,
    Voicemail,
    VoicemailState,
)
from esl_voicemail.pulse import Pulse
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Verdict
from esl_voicemail.workers import Workers
from tests.support.post import ANNA, Post, smtp_transport
from tests.support.service import Service, until
from tests.support.turns import turns

NOW = datetime(2026, 7, 15, 10, 30, tzinfo=UTC)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(["sales"], lambda: NOW, log=Log(lambda _: None, lambda: NOW))


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(2)
    yield pool
    pool.close()


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"voicemail_{name}", labels)


# --- from 0 on ---------------------------------------------------------------------------------------


def test_every_series_begins_at_0(telemetry):
    samples = [sample for family in telemetry.registry.collect() for sample in family.samples]
    moved = {one.name for one in samples if one.value and one.name.startswith("voicemail_")}
    assert moved == {"voicemail_build_info"}
    # A family with labels but without a value of theirs would have no sample at all.
    assert [family.name for family in telemetry.registry.collect() if not family.samples] == []


def test_every_outcome_has_its_series_before_it_happens(telemetry):
    for reason, result in product(Reason, CallResult):
        assert value(telemetry, "calls_total", mailbox="sales", reason=reason, result=result) == 0
    for result in CallResult:
        assert value(telemetry, "calls_total", mailbox="unknown", reason="unknown", result=result) == 0
    for state in VoicemailState:
        # A call that is open is counted by the stage it is in.
        begun = None if state is VoicemailState.OPEN else 0
        assert value(telemetry, "messages_total", mailbox="sales", state=state) == begun
    for result, smtp_class in product(RESULT_OF.values(), CLASSES):
        assert value(telemetry, "delivery_attempts_total", result=result, smtp_class=smtp_class) == 0
    for result in RESULT_OF.values():
        assert value(telemetry, "delivery_reports_total", result=result) == 0
    for stage in DELIVERY_STAGES:
        assert value(telemetry, "delivery_duration_seconds_count", stage=stage) == 0
    for kind in SET_UP_FAULTS:
        assert value(telemetry, "delivery_setup_faults_total", kind=kind) == 0


def test_what_a_dialplan_or_a_server_says_never_becomes_a_label(telemetry):
    before = {tuple(one.labels.items()) for family in telemetry.registry.collect() for one in family.samples}
    call = Call("632a12f3", "elsewhere", Reason.BUSY, Caller("1", "x", withheld=False), "9", NOW, "pl")
    telemetry.call_ended(CallResult.RECORDED, 1, call=call)
    telemetry.message_closed("elsewhere", VoicemailState.KEPT)
    attempt = Attempt(1, Voicemail("01M", call, None, None, NOW), ANNA, 1, NOW, "example.com")
    for verdict in (Delivered(299, "odd"), Bounced(777, "odder"), Deferred(-5, "x", ours=True)):
        telemetry.delivery_attempt(attempt, verdict, 1, NOW, NOW)
    after = {tuple(one.labels.items()) for family in telemetry.registry.collect() for one in family.samples}
    assert {dict(labels).get("mailbox") for labels in after - before} <= {"unknown"}
    assert {"reason", "result", "mailbox"} >= {name for labels in after - before for name, _ in labels}


def test_mailboxes_of_a_reload_let_others_have_their_turn_and_known_ones_take_none(telemetry):
    """Five hundred new ones would hold all calls up for half a second."""
    with turns() as others:
        telemetry.know_mailboxes([f"box{n}" for n in range(100)])
        assert others.taken >= 100
        others.taken = 0
        telemetry.know_mailboxes([f"box{n}" for n in range(100)])
        assert others.taken == 0
    assert value(telemetry, "messages_total", mailbox="box99", state="kept") == 0


# --- deliveries --------------------------------------------------------------------------------------


def test_each_part_of_a_try_is_measured(posts, server):
    post: Post = posts(smtp_transport(server))
    post.keep()
    post.run()
    for stage in DELIVERY_STAGES:
        assert value(post.telemetry, "delivery_duration_seconds_count", stage=stage) == 1
        assert (value(post.telemetry, "delivery_duration_seconds_sum", stage=stage) or 0) > 0


@pytest.mark.parametrize("step", ["CONNECT", "EHLO"])
def test_a_server_that_does_not_let_us_in_costs_time_of_connecting_and_none_of_sending(
    posts, server, step: str
):
    server.silence(step)
    impatient = Timeouts(greeting=0.5, quit=0.5)
    post: Post = posts(replace(smtp_transport(server), timeouts=impatient))
    post.keep(ANNA)
    post.run()
    found = spent(post)
    assert (found["encode"][0], found["connect"][0]) == (1, 1)
    assert found["connect"][1] >= 0.5
    assert found["send"] == (0, 0)


def test_a_server_slow_to_take_a_mail_costs_time_of_sending_and_not_of_connecting(posts, server):
    server.silence("FINAL")
    impatient = Timeouts(final=1.0, quit=0.5)
    post: Post = posts(replace(smtp_transport(server), timeouts=impatient))
    post.keep(ANNA)
    post.run()
    found = spent(post)
    assert (found["connect"][0], found["send"][0]) == (1, 1)
    assert found["send"][1] >= 1 > found["connect"][1]


def test_a_maildir_connects_to_nobody(posts, tmp_path: Path):
    post: Post = posts(MaildirTransport(Maildir(tmp_path / "mail")))
    post.keep(ANNA)
    post.run()
    found = spent(post)
    assert {stage for stage, (count, _) in found.items() if count} == {"compose", "send", "note"}


def spent(post: Post) -> dict[str, tuple[float, float]]:
    """How often each part of a try was measured, and the seconds of all."""
    return {
        stage: (
            value(post.telemetry, "delivery_duration_seconds_count", stage=stage) or 0,
            value(post.telemetry, "delivery_duration_seconds_sum", stage=stage) or 0,
        )
        for stage in DELIVERY_STAGES
    }


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Deferred(535, "bad password", ours=True, unreachable=True), "authentication"),
        (Deferred(530, "log in first", ours=True), "authentication"),
        (Deferred(554, "not from your address", ours=True), "refused"),
        (Deferred(None, "certificate verify failed", ours=True), "other"),
        (Deferred(450, "greylisted"), None),
        (Deferred(None, "connection refused", unreachable=True), None),
        (Bounced(550, "no such user"), None),
        (Delivered(250, "ok"), None),
    ],
)
def test_a_fault_of_our_set_up_is_counted_by_its_kind(telemetry, verdict: Verdict, kind: str | None):
    call = Call("632a12f3", "sales", Reason.BUSY, Caller("1", "x", withheld=False), "9", NOW, "pl")
    attempt = Attempt(1, Voicemail("01M", call, None, None, NOW), ANNA, 1, NOW, "example.com")
    telemetry.delivery_attempt(attempt, verdict, 1, NOW, NOW)
    counted = {one: value(telemetry, "delivery_setup_faults_total", kind=one) for one in SET_UP_FAULTS}
    assert counted == {one: float(one == kind) for one in SET_UP_FAULTS}


def test_a_report_to_the_operator_counts_among_no_caller_s_mails(posts, server):
    server.say("RCPT", "550 5.1.1 no such user", recipient=ANNA)
    post: Post = posts(smtp_transport(server), operator="operator@example.com")
    post.keep()
    post.run()
    until(lambda: value(post.telemetry, "delivery_reports_total", result="delivered"), "the report is out")
    assert [mail.recipient for mail in server.accepted] == ["operator@example.com"]
    assert value(post.telemetry, "delivery_attempts_total", result="delivered", smtp_class="2xx") == 0
    assert value(post.telemetry, "delivery_attempts_total", result="bounced", smtp_class="5xx") == 1
    assert value(post.telemetry, "delivery_lag_seconds_count") == 0
    assert value(post.telemetry, "last_delivery_timestamp_seconds") == 0


def test_the_lag_counts_from_a_caller_s_end_whenever_his_mail_was_queued(telemetry):
    call = Call("632a12f3", "sales", Reason.BUSY, Caller("1", "x", withheld=False), "9", NOW, "pl")
    audio = Recording(Path("sales.01M.wav"), 1000, 16_044, "ab" * 32)
    ended_at = NOW - timedelta(minutes=20)
    message = Voicemail("01M", call, audio, EndedBy.CUT, ended_at)
    recovered = Attempt(1, message, ANNA, 1, NOW, "example.com")
    telemetry.delivery_attempt(recovered, Delivered(250, "ok"), 1, None, NOW + timedelta(seconds=5))
    assert value(telemetry, "delivery_lag_seconds_sum") == 1205
    notice = replace(recovered, voicemail=replace(message, recording=None))
    telemetry.delivery_attempt(notice, Delivered(250, "ok"), 1, None, NOW)
    assert value(telemetry, "delivery_lag_seconds_count") == 1


def test_mails_are_stalled_from_the_first_that_came_after_the_last_one_that_was_accepted(posts, server):
    post: Post = posts(smtp_transport(server))
    post.keep()
    post.run()
    post.telemetry.watch(post.journal.queue.backlog, {})
    server.say("RCPT", "450 4.2.1 later")
    post.now += timedelta(minutes=1)
    post.keep()
    post.now += timedelta(minutes=30)
    assert value(post.telemetry, "delivery_stalled_seconds") == 1800
    assert value(post.telemetry, "queue_oldest_age_seconds") == 1800


def test_a_restart_forgets_no_mail_that_was_accepted_before_it(posts, server):
    post: Post = posts(smtp_transport(server))
    server.say("RCPT", "450 4.2.1 full", recipient="jan@example.com")
    post.keep("jan@example.com")
    post.now += timedelta(seconds=10)
    post.keep()
    post.run()
    assert value(post.telemetry, "last_delivery_timestamp_seconds") == post.now.timestamp()
    after = Telemetry(["sales"], post.clock, log=Log(lambda _: None, post.clock))
    after.watch(post.journal.queue.backlog, {})
    post.now += timedelta(minutes=30)
    assert (value(after, "delivery_stalled_seconds") or 0) > 1800
    after.accepted_before(post.journal.queue.last_accepted())
    assert value(after, "delivery_stalled_seconds") == 0
    assert value(after, "last_delivery_timestamp_seconds") == (NOW + timedelta(seconds=10)).timestamp()


# --- the process -------------------------------------------------------------------------------------


def test_an_event_loop_that_is_held_is_seen(telemetry):
    pulse = Pulse(telemetry)
    running = gevent.spawn(pulse.run)
    try:
        until(lambda: value(telemetry, "event_loop_lag_seconds_count") or gevent.sleep(0.01), "a first pulse")
        before = value(telemetry, "event_loop_lag_seconds_sum")
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
        assert before is not None
        until(
            lambda: (
                (value(telemetry, "event_loop_lag_seconds_sum") or 0) - before >= 0.3 or gevent.sleep(0.01)
            ),
            "the pulse was as late as that",
        )
    finally:
        pulse.stop()
        running.join(10)
    assert running.ready()


def test_who_works_and_who_waits_for_a_thread_is_counted(telemetry, workers):
    telemetry.watch(lambda _: Backlog({}, None, None), {"disk": workers})
    held, release = os.pipe()
    try:
        assert pools(telemetry) == (2, 0, 0)
        asked = [gevent.spawn(workers.run, os.read, held, 1) for _ in range(5)]
        gevent.sleep(0)
        assert pools(telemetry) == (2, 2, 3)
        os.write(release, b".....")
        gevent.joinall(asked, timeout=10, raise_error=True)
        until(lambda: pools(telemetry) == (2, 0, 0), "all threads are free")
    finally:
        os.close(release)
        os.close(held)


def test_a_thread_that_a_disk_holds_is_busy_though_nobody_waits_for_it(telemetry, workers):
    telemetry.watch(lambda _: Backlog({}, None, None), {"disk": workers})
    held, release = os.pipe()
    try:
        for _ in range(2):
            assert workers.run_within(0.02, lambda: os.read(held, 1), b"late") == b"late"
        assert pools(telemetry) == (2, 2, 0)
        os.write(release, b"..")
        until(lambda: pools(telemetry) == (2, 0, 0), "all threads are free")
    finally:
        os.close(release)
        os.close(held)


def pools(telemetry: Telemetry) -> tuple[float | None, ...]:
    measures = ("worker_threads", "workers_busy", "workers_waiting")
    return tuple(value(telemetry, measure, pool="disk") for measure in measures)


def test_a_journal_that_does_not_answer_costs_its_own_gauges_only(telemetry):
    answers = [Backlog({"queued": 3}, NOW - timedelta(minutes=11), NOW - timedelta(minutes=9))]

    def backlog(_accepted_at: datetime | None) -> Backlog:
        if not answers:
            raise JournalError("the disk is stuck")
        return answers.pop()

    telemetry.watch(backlog, {})
    found = {one.name: one.samples for one in telemetry.registry.collect()}
    assert found["voicemail_journal_up"][0].value == 1
    assert found["voicemail_queue_oldest_age_seconds"][0].value == 660
    assert found["voicemail_delivery_stalled_seconds"][0].value == 540
    assert "voicemail_queue_messages" in found
    silent = {one.name: one.samples for one in telemetry.registry.collect()}
    assert silent["voicemail_journal_up"][0].value == 0
    assert found.keys() - silent.keys() == {
        "voicemail_queue_messages",
        "voicemail_queue_oldest_age_seconds",
        "voicemail_delivery_stalled_seconds",
    }


def test_a_disk_that_does_not_say_has_no_number_of_bytes_rather_than_none_free(service: Service):
    recordings = service.folder / "var" / "recordings"
    recordings.rename(recordings.with_name("away"))
    until(lambda: math.isnan(service.metric("voicemail_recordings_free_bytes")), "it is looked at")
    assert math.isnan(service.metric("voicemail_recordings_size_bytes"))
    assert service.metric("voicemail_journal_free_bytes") > 0


def test_a_service_says_how_much_room_it_has_and_measures_itself(service: Service):
    now = service.metrics()
    size = now["voicemail_recordings_size_bytes"]
    assert 0 < now["voicemail_recordings_free_bytes"] <= size
    assert now["voicemail_journal_free_bytes"] > 0
    assert now["voicemail_storage_min_free_bytes"] == 100 << 20
    assert now["voicemail_journal_up"] == 1
    assert now["voicemail_journal_commit_seconds_count"] > 0
    assert now['voicemail_worker_threads{pool="disk"}'] == 8
    assert now['voicemail_workers_waiting{pool="mail"}'] == 0
    until(lambda: service.metric("voicemail_event_loop_lag_seconds_count") > 2, "pulses")
