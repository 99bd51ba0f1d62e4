"""Kept messages on their way: a real journal, real files, a real SMTP server, a clock that obeys."""

import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes

import gevent
import pytest
from gevent.monkey import get_original
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import FILE
from esl_voicemail.mail import rendering
from esl_voicemail.mail.composer import Composed, Composer
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import MaildirTransport, SmtpTransport, Stage
from esl_voicemail.model import Attempt
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, Expired, Held, Verdict
from esl_voicemail.workers import Workers
from tests.support.post import (
    ANNA,
    JAN,
    MINUTE,
    NOW,
    SENDER,
    Post,
    attached,
    mailbox,
    parsed,
    smtp_transport,
    sound,
)
from tests.support.service import until
from tests.support.smtp import ScriptedSmtp


def odd_sound(channels: int = 9) -> bytes:
    """A WAV whose header is right, but which no codec takes."""
    data = bytes(2 * channels * 800)
    form = struct.pack("<HHIIHH", 1, channels, 8000, 16000 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.fixture
def post(posts: Callable[..., Post], server: ScriptedSmtp) -> Post:
    return posts(smtp_transport(server))


# --- at least once, and once where it can be helped --------------------------------------------------


def test_each_recipient_gets_a_mail_of_its_own(post, server):
    message_id = post.keep(ANNA, JAN)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered", JAN: "delivered"}
    assert sorted(one.recipient for one in server.accepted) == [ANNA, JAN]
    for accepted in server.accepted:
        mail = parsed(accepted)
        assert accepted.sender == SENDER.address
        assert [address.addr_spec for address in mail["To"].addresses] == [accepted.recipient]
        assert attached(accepted) == ("audio/wav", sound())
    assert len({parsed(accepted)["Message-ID"] for accepted in server.accepted}) == 2


def test_a_recipient_refused_for_now_is_tried_again_alone(post, server):
    server.say("RCPT", "450 4.2.0 greylisted", times=1, recipient=JAN)
    message_id = post.keep(ANNA, JAN)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered", JAN: "queued"}
    assert post.to(message_id)[JAN].due_at == NOW + MINUTE
    post.advance(MINUTE - timedelta(seconds=1))
    assert len(server.commands("MAIL")) == 2
    post.advance(timedelta(seconds=1))
    assert post.states(message_id) == {ANNA: "delivered", JAN: "delivered"}
    assert sorted(one.recipient for one in server.accepted) == [ANNA, JAN]
    assert len(server.commands("MAIL")) == 3
    line = next(line for line in post.lines() if line["result"] == "deferred")
    assert (line["level"], line["rcpt"], line["code"]) == ("warning", JAN, "450")
    assert (line["reply"], line["next_try"]) == ("4.2.0 greylisted", "2026-07-15T10:31:00Z")
    assert (post.metric("deferred", "4xx"), post.metric("delivered", "2xx")) == (1, 2)


@pytest.mark.parametrize("mishap", ["451 4.3.0 disk full", "drop"])
def test_a_mail_sent_again_carries_the_same_message_id(post, server, mishap):
    if mishap == "drop":
        server.drop("FINAL", times=1, accept=True)
    else:
        server.say("FINAL", mishap, times=1)
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "queued"}
    post.advance(MINUTE)
    assert post.states(message_id) == {ANNA: "delivered"}
    # A server that hung up after the dot may have the mail: it gets it again, recognisable as the same.
    assert len(server.accepted) == (2 if mishap == "drop" else 1)
    ids = {parsed(one)["Message-ID"] for one in server.accepted}
    assert len(ids) == 1
    assert ids.pop().startswith(f"<{message_id.lower()}.")


def test_one_of_five_recipients_refused_for_good_leaves_four_mails(post, server):
    everyone = [f"r{n}@example.com" for n in range(5)]
    server.say("RCPT", "550 5.1.1 no such user", recipient=everyone[2])
    message_id = post.keep(*everyone)
    post.run()
    states = post.states(message_id)
    assert states == {one: "bounced" if one == everyone[2] else "delivered" for one in everyone}
    assert sorted(one.recipient for one in server.accepted) == everyone[:2] + everyone[3:]
    [line] = [line for line in post.lines() if line["result"] == "bounced"]
    assert (line["level"], line["code"], line["reply"]) == ("error", "550", "5.1.1 no such user")
    post.advance(timedelta(days=1))
    assert len(server.commands("MAIL")) == 5


def test_a_mail_that_nobody_takes_for_five_days_expires_loudly(post, server):
    server.say("RCPT", "450 4.2.2 mailbox full")
    message_id = post.keep(ANNA)
    post.run()
    while (due := post.journal.queue.next_due()) is not None:
        assert timedelta(0) < due - post.now <= timedelta(hours=2)
        post.advance(due - post.now)
    to = post.to(message_id)[ANNA]
    assert to.state == "expired"
    assert to.finished_at == post.now == NOW + timedelta(days=5)
    assert 60 < len(to.attempts) < 100
    [line] = [line for line in post.lines() if line["result"] == "expired"]
    assert line["level"] == "error"
    assert (line["code"], line["reply"]) == ("450", "4.2.2 mailbox full")
    assert server.accepted == []
    assert {one["result"] for one in post.lines()} == {"deferred", "expired"}


def test_what_is_our_fault_is_said_to_be_so_and_goes_out_once_it_is_mended(post, server):
    server.say("CONNECT", "554 5.7.1 your address is blocked", times=2)
    message_id = post.keep(ANNA)
    post.run()
    post.advance(MINUTE)
    post.advance(MINUTE)
    assert post.states(message_id) == {ANNA: "delivered"}
    first, second, third = post.lines()
    assert first["level"] == second["level"] == "error"
    assert "our set-up" in first["why"]
    assert (third["level"], third["attempt"]) == ("info", "3")


def test_a_wake_up_has_a_new_message_sent_at_once(post, server):
    post.run()
    post.keep(ANNA)
    post.delivery.wake()
    until(lambda: server.accepted, "the mail")


@pytest.mark.parametrize("connections", [1, 4])
def test_a_connection_that_is_free_again_takes_the_next_mail_at_once(posts, tmp_path, connections):
    maildir = Maildir(tmp_path / "mail")
    maildir.create()
    post = posts(MaildirTransport(maildir), connections=connections)
    post.keep(*(f"r{n}@example.com" for n in range(8 * connections)))
    post._running = gevent.spawn(post.delivery.run)
    stored = maildir.folder / "new"
    until(lambda: len(list(stored.iterdir())) == 8 * connections, "all mails", 15)


def test_a_mail_is_noted_and_the_next_one_taken_in_one_commit(posts):
    sent: list[int] = []

    def accept() -> Verdict:
        sent.append(1)
        return Delivered(250, "ok")

    post = posts(OtherTransport(accept), connections=1)
    post.keep(*(f"r{n}@example.com" for n in range(20)))
    commits: list[float] = []
    post.journal._writer._committed = commits.append
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: len(sent) == 20, "all mails")
    # The others: what a dead server left, the first claim, and when the next is due.
    assert len(commits) <= 20 + 3


def test_a_maildir_takes_mails_as_a_server_does(posts, tmp_path):
    maildir = Maildir(tmp_path / "mail")
    maildir.create()
    post = posts(MaildirTransport(maildir))
    message_id = post.keep(ANNA, JAN)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered", JAN: "delivered"}
    mails = [path.read_bytes() for path in (maildir.folder / "new").iterdir()]
    assert sorted(message_from_bytes(mail)["Delivered-To"] for mail in mails) == [ANNA, JAN]
    assert all(b"\r" not in mail for mail in mails)


# --- what cannot be composed waits for a person ------------------------------------------------------


def test_missing_audio_is_held_with_words(post, server):
    message_id = post.keep(ANNA)
    [path] = post.folder.glob(f"*{message_id}.wav")
    path.unlink()
    post.run()
    to = post.to(message_id)[ANNA]
    assert to.state == "held"
    assert path.name in to.attempts[0].reply
    [line] = post.lines()
    assert (line["level"], line["result"]) == ("error", "held")
    assert path.name in line["reply"]
    post.advance(timedelta(days=6))
    assert post.states(message_id) == {ANNA: "held"}
    assert server.connections == 0


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Put other templates in the place of those that travel with the project."""

    def put(templates: dict[str, str]) -> None:
        monkeypatch.setattr(rendering, "_SHIPPED", DictLoader(templates))
        rendering._environment.cache_clear()

    yield put
    rendering._environment.cache_clear()


@pytest.mark.parametrize("broken", ["{{ nothing_such }}", "{% if %}", "{{ caller_name.no.such }}", None])
@pytest.mark.parametrize("name", ["subject.j2", "mail.txt.j2", "mail.html.j2"])
def test_a_broken_template_of_ours_is_held_with_words(post, server, shipped, name, broken):
    templates = {"subject.j2": "s", "mail.txt.j2": "t", "mail.html.j2": "h"}
    if broken is None:
        del templates[name]
    else:
        templates[name] = broken
    shipped(templates)
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "held"}
    [line] = post.lines()
    assert (line["level"], line["result"]) == ("error", "held")
    assert "template" in line["reply"] or name in line["reply"]
    assert server.connections == 0


@pytest.mark.parametrize(
    "audio",
    [odd_sound(), odd_sound(300), sound(0), b"RIFF, but nothing more", bytes(1000), b""],
    ids=["9 channels", "300 channels", "no samples", "no WAV", "zeros", "empty"],
)
@pytest.mark.parametrize("attachment", ["mp3", "opus"])
def test_what_a_codec_refuses_goes_out_as_it_was_recorded(posts, server, attachment, audio):
    post = posts(smtp_transport(server), box=mailbox(attachment=attachment))
    message_id = post.keep(ANNA, audio=audio)
    post.run()
    assert post.states(message_id) == {ANNA: "delivered"}
    [accepted] = server.accepted
    assert attached(accepted) == ("audio/wav", audio)
    [part] = parsed(accepted).iter_attachments()
    assert part.get_filename().endswith(".wav")
    [said] = post.lines("not_converted")
    assert (said["level"], said["message"]) == ("error", message_id)
    assert message_id in said["why"]


@pytest.mark.parametrize(
    ("attachment", "kind", "begins"),
    [("mp3", "audio/mpeg", (b"ID3", b"\xff")), ("opus", "audio/ogg", (b"OggS",))],
)
def test_a_recording_goes_out_in_the_format_asked_for(posts, server, attachment, kind, begins):
    post = posts(smtp_transport(server), box=mailbox(attachment=attachment))
    post.keep(ANNA)
    post.run()
    [accepted] = server.accepted
    found, content = attached(accepted)
    assert found == kind
    assert content.startswith(begins)


def test_a_mailbox_no_longer_configured_still_delivers(post, server):
    message_id = post.keep("former@example.com", key="closed")
    post.run()
    assert post.states(message_id) == {"former@example.com": "delivered"}
    [accepted] = server.accepted
    assert accepted.recipient == "former@example.com"
    assert "closed" in parsed(accepted)["Subject"]


def test_a_recipient_no_longer_configured_still_gets_the_mail(post, server):
    post.keep("former@example.com")
    post.run()
    assert [one.recipient for one in server.accepted] == ["former@example.com"]


# --- a sender that dies ------------------------------------------------------------------------------


def test_what_a_dead_server_was_sending_is_sent_by_the_next(post, server):
    message_id = post.keep(ANNA)
    assert len(post.journal.queue.claim(10, NOW, SENDER.domain)) == 1
    post.delivery.start()
    assert post.lines("recovered")[0]["result"] == "requeued"
    post.run()
    assert post.states(message_id) == {ANNA: "delivered"}
    assert [line["attempt"] for line in post.lines()] == ["2"]
    assert len(server.accepted) == 1


def test_what_nobody_sends_though_it_is_marked_so_is_found_while_serving(post, server):
    post.run()
    message_id = post.keep(ANNA)
    # As a commit that came too late to be answered leaves it.
    assert len(post.journal.queue.claim(10, NOW, SENDER.domain)) == 1
    post.advance(MINUTE)
    until(lambda: post.states(message_id) == {ANNA: "delivered"}, "it is found and sent")
    assert len(server.accepted) == 1


def test_the_third_crash_while_sending_holds_the_mail(post, server):
    message_id = post.keep(ANNA)
    outcomes = []
    for _ in range(3):
        assert len(post.journal.queue.claim(10, NOW, SENDER.domain)) == 1
        outcomes.append(post.journal.queue.reclaim((), NOW, crashed=True))
    assert outcomes == [(1, 0), (1, 0), (0, 1)]
    post.run()
    assert post.states(message_id) == {ANNA: "held"}
    assert server.connections == 0


def test_who_was_there_at_the_crashes_of_another_is_sent_and_not_held(post, server):
    ids = [post.keep(ANNA) for _ in range(4)]
    for _ in range(2):
        assert len(post.journal.queue.claim(10, NOW, SENDER.domain)) == 4
        assert post.journal.queue.reclaim((), NOW, crashed=True) == (4, 0)
    # Now each goes alone, so that the third crash can only be its own.
    [alone] = post.journal.queue.claim(10, NOW, SENDER.domain)
    assert post.journal.queue.claim(10, NOW, SENDER.domain, under_way=[alone.delivery_id]) == []
    assert post.journal.queue.reclaim((), NOW, crashed=True) == (0, 1)
    post.run()
    states = sorted(state for one in ids for state in post.states(one).values())
    assert states == ["delivered"] * 3 + ["held"]


def test_a_try_that_ended_in_a_verdict_forgives_the_crashes_before_it(post, server):
    server.say("RCPT", "450 4.2.0 later", times=1)
    message_id = post.keep(ANNA)
    for _ in range(2):
        post.journal.queue.claim(10, NOW, SENDER.domain)
        post.journal.queue.reclaim((), NOW, crashed=True)
    post.run()
    for _ in range(2):
        assert len(post.journal.queue.claim(10, NOW + MINUTE, SENDER.domain)) == 1
        assert post.journal.queue.reclaim((), NOW + MINUTE, crashed=True) == (1, 0)
    post.advance(MINUTE)
    assert post.states(message_id) == {ANNA: "delivered"}


def test_the_verdict_of_a_lost_lease_changes_nothing(post):
    message_id = post.keep(ANNA)
    [lost] = post.journal.queue.claim(10, NOW, SENDER.domain)
    post.journal.queue.reclaim((), NOW, crashed=True)
    assert not post.journal.queue.mark(lost, Bounced(550, "no"), NOW, 1)
    assert post.states(message_id) == {ANNA: "queued"}
    [held] = post.journal.queue.claim(10, NOW, SENDER.domain)
    for verdict in (Delivered(250, "ok"), Bounced(550, "no"), Held("look"), Expired(450, "late")):
        assert not post.journal.queue.mark(lost, verdict, NOW, 1)
    assert not post.journal.queue.mark(lost, Deferred(450, "later"), NOW, 1, NOW)
    assert post.states(message_id) == {ANNA: "sending"}
    assert post.journal.queue.mark(held, Delivered(250, "ok"), NOW, 1)
    assert post.states(message_id) == {ANNA: "delivered"}


VERDICTS: list[Verdict] = [
    Delivered(250, "ok"),
    Bounced(550, "no"),
    Expired(450, "late"),
    Held("look"),
    Deferred(450, "later"),
]
FINAL = {"delivered", "bounced", "expired", "held"}
steps = st.lists(
    st.one_of(
        st.just("claim"),
        st.sampled_from(["reclaim after a crash", "reclaim"]),
        st.tuples(st.sampled_from(["first", "last"]), st.sampled_from(VERDICTS)),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_what_is_final_stays_final_and_nothing_is_lost_on_the_way(post, plan):
    message_id = post.keep(ANNA)
    tried: list[Attempt] = []
    now, final = post.now, ""
    for step in plan:
        before = post.states(message_id)[ANNA]
        now += timedelta(minutes=45)
        if step == "claim":
            claimed = [
                one
                for one in post.journal.queue.claim(10, now, SENDER.domain)
                if one.voicemail.message_id == message_id
            ]
            assert len(claimed) == (1 if before == "queued" else 0)
            tried += claimed
        elif isinstance(step, str):
            post.journal.queue.reclaim((), now, crashed=step == "reclaim after a crash")
        elif tried:
            which, verdict = step
            attempt = tried[0 if which == "first" else -1]
            due_at = now if isinstance(verdict, Deferred) else None
            changed = post.journal.queue.mark(attempt, verdict, now, 1, due_at)
            last = attempt is tried[-1]
            taken = isinstance(verdict, Delivered) and before != "delivered"
            assert changed == (last and (before == "sending" or taken))
        state = post.states(message_id)[ANNA]
        assert state in FINAL | {"queued", "sending"}
        if final:
            # Held, bounced or expired, and yet the server says that it took the mail: it has it.
            assert state in {final, "delivered"}
        final = state if state in FINAL else ""
    numbers = [one.number for one in tried]
    assert numbers == list(range(1, len(numbers) + 1))
    # Leave nothing behind for the next plan.
    post.journal.queue.reclaim((), now, crashed=False)
    for attempt in post.journal.queue.claim(10, now + timedelta(hours=2), SENDER.domain):
        post.journal.queue.mark(attempt, Bounced(550, "end"), now, 1)


# --- faults of our own -------------------------------------------------------------------------------


@dataclass
class OtherTransport:
    """A way out that does what a test says."""

    act: Callable[[], Verdict]
    blocks_on_disk: bool = False

    def send(self, envelope: Envelope, mail: Entity, stage: Stage = nullcontext) -> Verdict:
        return self.act()

    def close(self) -> None:
        """Nothing is kept open."""


@pytest.mark.parametrize("on_a_thread", [False, True])
def test_a_bug_in_the_way_out_is_loud_and_the_mail_is_tried_again(posts, on_a_thread):
    outcomes = [Delivered(250, "ok"), None]

    def act() -> Verdict:
        outcome = outcomes.pop()
        if outcome is None:
            raise ZeroDivisionError('a bug\n" level=info')
        return outcome

    post = posts(OtherTransport(act, on_a_thread))
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "queued"}
    [crash] = post.lines("delivery_crashed")
    assert crash["level"] == "error"
    assert crash["message"] == message_id
    assert "ZeroDivisionError" in crash["why"]
    post.advance(MINUTE)
    assert post.states(message_id) == {ANNA: "delivered"}


def test_an_accepted_mail_is_marked_as_soon_as_the_journal_takes_it(posts, tmp_path):
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)

    def act() -> Verdict:
        other.execute("BEGIN IMMEDIATE")
        return Delivered(250, "ok")

    post = posts(OtherTransport(act))
    post.journal._writer.write(lambda db: db.exec_driver_sql("PRAGMA busy_timeout=50"))
    message_id = post.keep(ANNA)
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: post.lines("journal_refused"), "the journal refuses")
    other.execute("ROLLBACK")
    other.close()
    until(lambda: post.states(message_id) == {ANNA: "delivered"}, "the verdict is recorded")


def test_no_more_connections_are_open_than_allowed_and_a_stop_says_what_is_left(posts, server):
    server.silence("FINAL")
    post = posts(smtp_transport(server), connections=3)
    message_id = post.keep(*(f"r{n}@example.com" for n in range(10)))
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: len(server.commands("(")) == 3, "three mails are sent")
    assert sorted(post.states(message_id).values()) == ["queued"] * 7 + ["sending"] * 3
    assert server.connections == 3
    assert post.delivery.stop(0.1) is False


def test_a_stop_lets_mails_end_and_claims_no_more(posts, server):
    post = posts(smtp_transport(server))
    post.keep(ANNA)
    post.run()
    assert post.delivery.stop(10) is True
    assert post._running is not None
    post._running.join(10)
    assert post._running.ready()
    message_id = post.keep(JAN)
    post.delivery.wake()
    assert post.states(message_id) == {JAN: "queued"}


def test_threads_compose_one_at_a_time(post, shipped):
    """Libraries that compose uses hold locks, which under gevent native threads may wait at for ever."""
    now, most = [0], [0]

    def look() -> str:
        now[0] += 1
        most[0] = max(most[0], now[0])
        get_original("time", "sleep")(0.005)
        now[0] -= 1
        return ""

    names = ("pl.voicemail.j2", "subject.j2", "mail.txt.j2", "mail.html.j2")
    shipped(dict.fromkeys(names, "a{{ look() }}"))
    for escaping in (False, True):
        rendering._environment((), escaping=escaping).globals["look"] = look
    post.keep(ANNA)
    [attempt] = post.journal.queue.claim(1, NOW, SENDER.domain)
    composer, workers = Composer({"sales": mailbox()}, SENDER), Workers(8)
    running = [gevent.spawn(workers.run, composer.compose, attempt) for _ in range(16)]
    assert len(gevent.joinall(running, timeout=20, raise_error=True)) == 16
    assert most == [1]
    workers.close()


# --- what nobody foresaw -----------------------------------------------------------------------------


def test_a_mail_that_cannot_be_composed_for_a_reason_nobody_foresaw_is_held_and_said(
    posts, server, monkeypatch
):
    def fail(_composer: Composer, _attempt: Attempt, _step: int, _most: int | None) -> Composed:
        raise KeyError("language")

    monkeypatch.setattr(Composer, "compose_within", fail)
    post = posts(smtp_transport(server), operator="operator@example.com")
    message_id = post.keep(ANNA)
    post.run()
    assert post.to(message_id)[ANNA].reply == "KeyError: 'language'"
    assert post.states(message_id)[ANNA] == "held"
    assert post.lines("delivery_crashed")


def test_a_server_that_is_never_done_with_a_mail_has_it_until_its_time_is_over(posts, monkeypatch):
    monkeypatch.setattr("esl_voicemail.delivery._ATTEMPT_SECONDS", 0.1)

    def never_done() -> Verdict:
        gevent.sleep(60)
        return Delivered(250, "ok")

    post = posts(OtherTransport(never_done))
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "queued"}
    for _ in range(3):
        post.advance(timedelta(days=2))
    assert post.states(message_id) == {ANNA: "expired"}


def test_a_mail_that_was_there_at_two_crashes_is_sent_though_others_keep_coming(posts):
    post = posts(OtherTransport(lambda: Delivered(250, "ok")))
    suspect = post.keep(ANNA)
    for _ in range(2):
        post.journal.queue.claim(10, NOW, SENDER.domain)
        post.journal.queue.reclaim((), NOW, crashed=True)
    first = post.journal.queue.claim(10, NOW, SENDER.domain)
    assert [one.suspect for one in first] == [True]
    post.journal.queue.reclaim((), NOW, crashed=False)
    other = post.keep(JAN)
    busy = [1000]  # some other mail is being sent all the time
    assert [one.recipient for one in post.journal.queue.claim(10, NOW, SENDER.domain, under_way=busy)] == [
        JAN
    ]
    post.journal.queue.reclaim(busy, NOW, crashed=False)
    later = NOW + 2 * MINUTE
    assert post.journal.queue.claim(10, later, SENDER.domain, under_way=busy) == []
    [alone] = post.journal.queue.claim(10, later, SENDER.domain)
    assert (alone.voicemail.message_id, alone.suspect) == (suspect, True)
    assert post.states(other) == {JAN: "queued"}


def test_a_mail_whose_row_cannot_be_read_is_held_aloud(post):
    message_id = post.keep(ANNA)
    with closing(sqlite3.connect(post.folder / FILE)) as db:
        db.execute("UPDATE voicemails SET reason = 'telepathy'")
        db.commit()
    post._running = gevent.spawn(post.delivery.run)
    [held] = until(lambda: post.lines("held"), "it is said")
    assert (held["message"], held["why"]) == (
        message_id,
        "its row cannot be read: 'telepathy' is not a valid Reason",
    )
    assert post.telemetry.registry.get_sample_value("voicemail_recovered_total", {"kind": "held"}) == 1


def test_what_the_journal_cannot_take_of_a_verdict_does_not_send_the_mail_again(posts):
    sent = []

    def accept() -> Verdict:
        sent.append(1)
        return Delivered(250, "no text for a database: \udcff")

    post = posts(OtherTransport(accept))
    post.keep(ANNA)
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: len(post.lines("delivery_crashed")) >= 2, "marking fails, and is tried again")
    post.now += MINUTE
    post.ran += 60
    post.delivery.wake()
    until(lambda: len(post.lines("delivery_crashed")) >= 3, "and again")
    assert sent == [1]


def test_while_verdicts_cannot_be_noted_no_more_mails_are_sent_than_twice_the_connections(posts, monkeypatch):
    sent: list[int] = []

    def accept() -> Verdict:
        sent.append(1)
        return Delivered(250, "ok")

    def refused(*_given: object, **_named: object) -> bool:
        # What is claimed meanwhile is claimed before the refusal.
        gevent.sleep(0.05)
        raise JournalError("no room for it")

    post = posts(OtherTransport(accept), connections=2)
    message_id = post.keep(*(f"r{n}@example.com" for n in range(12)))
    with monkeypatch.context() as patched:
        patched.setattr(post.journal.queue, "mark", refused)
        post._running = gevent.spawn(post.delivery.run)
        until(lambda: len(post.lines("journal_refused")) >= 8, "each is tried to be noted again")
        assert 2 <= len(sent) <= 4
    until(lambda: set(post.states(message_id).values()) == {"delivered"}, "all are sent", 15)
    assert len(sent) == 12


def test_a_stop_says_goodbye_and_waits_for_no_answer(posts, server):
    server.silence("QUIT")
    post = posts(smtp_transport(server))
    message_id = post.keep(ANNA)
    post.run()
    assert server.commands("QUIT") == []
    with gevent.Timeout(10):
        assert post.delivery.stop(5)
    assert server.commands("QUIT")
    assert post.states(message_id) == {ANNA: "delivered"}


def test_a_stop_while_a_server_is_left_repeats_nothing(posts, server):
    server.say("FINAL", "421 4.3.2 going down")
    server.silence("QUIT")
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=Timeouts(quit=60)))
    message_id = post.keep(ANNA)
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: server.commands("QUIT"), "it says goodbye")
    post.delivery.stop(0.1)
    assert (post.to(message_id)[ANNA].state, post.to(message_id)[ANNA].code) == ("queued", 421)


def test_one_recipient_whom_a_server_wants_a_login_for_keeps_nobody_else_waiting(posts, server):
    server.say("RCPT", "530 5.7.1 authentication required to relay", recipient=JAN)
    post = posts(smtp_transport(server), connections=1)
    asked = [post.keep(JAN) for _ in range(5)]
    others = [post.keep(ANNA) for _ in range(5)]
    post.run()
    assert all(post.states(one) == {ANNA: "delivered"} for one in others)
    assert all(post.states(one) == {JAN: "queued"} for one in asked)


def test_audio_that_changed_since_it_was_kept_is_held_and_not_sent_as_if_whole(post, server):
    message_id = post.keep(ANNA)
    next(post.folder.glob(f"*{message_id}*")).write_bytes(sound(80))
    post.run()
    assert post.states(message_id) == {ANNA: "held"}
    assert "has changed since it was kept" in post.to(message_id)[ANNA].reply
    assert server.accepted == []


def test_while_the_recordings_disk_is_away_mails_wait_and_none_is_held(posts, server):
    folder_is_away = ["recordings: is not the folder used before"]
    post = posts(
        smtp_transport(server), recordings_gone=lambda: folder_is_away[0] if folder_is_away else None
    )
    ids = [post.keep(ANNA, JAN) for _ in range(5)]
    paths = list(post.folder.glob("*.wav"))
    for path in paths:
        path.rename(path.with_suffix(".away"))
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: post.lines("recordings_gone"), "it is said")
    post.now += timedelta(days=9)
    post.ran += timedelta(days=9).total_seconds()
    post.delivery.wake()
    until(lambda: not post.delivery._under_way, "nothing is being sent")
    assert all(set(post.states(one).values()) == {"queued"} for one in ids)
    for path in paths:
        path.with_suffix(".away").rename(path)
    folder_is_away.clear()
    post.delivery.wake()
    until(lambda: len(server.accepted) == 10, "all of them, at once")
    assert len(post.lines("recordings_back")) == 1
