"""Mail servers that are away, refuse, break and lie: what becomes of each mail, and what the server meets."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import gevent
import pytest

from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.editor import HOLD, RELEASE
from esl_voicemail.mail.connections import Connections
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import SmtpTransport
from esl_voicemail.model import CallResult
from tests.support.post import ANNA, JAN, MINUTE, NOW, Post, parsed, smtp_transport
from tests.support.service import until
from tests.support.smtp import Accepted, ScriptedSmtp, scripted_smtp

OPERATOR = "ops@example.com"
QUICK = Timeouts(3, 3, 3, 3, 3, 3, 0.5)
PATIENT = Timeouts(60, 60, 60, 60, 60, 60, 0.5)
DAY = timedelta(days=1)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at, kept from all but a server that is started at it."""
    with socket.socket() as kept:
        # With it on both sides, as it is on the server's, Linux lets one of them listen.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def away(port: int) -> SmtpTransport:
    return SmtpTransport("127.0.0.1", port, "none", timeouts=QUICK)


def reports(server: ScriptedSmtp) -> list[str]:
    """Return the texts of the mails the operator got."""
    mails = [parsed(one) for one in server.accepted if one.recipient == OPERATOR]
    return [mail.get_body(("plain",)).get_content() for mail in mails]


# --- the server is away ----------------------------------------------------------------------------------


def test_a_server_away_for_days_is_asked_by_one_mail_at_a_time_and_the_backlog_waits(
    posts: Callable[..., Post], closed_port: int
) -> None:
    post = posts(away(closed_port))
    ids = [post.keep(ANNA) for _ in range(40)]
    post.run()
    first = len(post.lines())
    assert first <= 4
    for _ in range(48):
        post.advance(timedelta(hours=1))
    # By the mails' own schedules it would be more than a thousand tries.
    assert len(post.lines()) - first == 48
    tried = Counter(line["message"] for line in post.lines())
    assert all(post.states(one) == {ANNA: "queued"} for one in ids)
    assert tried[ids[0]] > 1
    assert tried[ids[-1]] > 1
    assert len(post.lines("mail_server_unreachable")) == 1


def test_when_the_server_is_back_the_backlog_goes_out_oldest_and_newest_in_turn_without_a_stampede(
    posts: Callable[..., Post], closed_port: int
) -> None:
    post = posts(away(closed_port), connections=4)
    ids = []
    for _ in range(20):
        ids.append(post.keep(ANNA))
        post.now += MINUTE
        post.ran += 60
    post.run()
    with scripted_smtp(port=closed_port) as server:
        post.advance(timedelta(minutes=10))
        until(lambda: len(server.accepted) == 20, "the backlog is gone")
        order = [ids.index(message_of(one)) for one in server.accepted]
        assert server.most_at_once <= 4
    assert [line["level"] for line in post.lines("mail_server_back")] == ["info"]
    assert all(post.states(one) == {ANNA: "delivered"} for one in ids)
    # Among the first eight there are the oldest and the newest alike.
    assert len([n for n in order[:8] if n < 6]) >= 2
    assert len([n for n in order[:8] if n >= 14]) >= 2


def message_of(accepted: Accepted) -> str:
    """Return which message a mail brought."""
    return str(parsed(accepted)["Message-ID"]).strip("<").split(".")[0].upper()


def test_no_connection_is_made_while_the_server_rests_not_even_for_a_new_message(
    posts: Callable[..., Post], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = posts(away(closed_port))
    claim, rounds = post.delivery._claim, []
    monkeypatch.setattr(post.delivery, "_claim", lambda: rounds.append(claim()) or rounds[-1])

    def another_round(after: int) -> bool:
        post.delivery.wake()
        # The first to end may have begun before.
        return len(rounds) >= after + 2

    old = post.keep(ANNA)
    post.run()
    with scripted_smtp(port=closed_port) as server:
        new, before = post.keep(JAN), len(rounds)
        until(lambda: another_round(before), "the runner has looked for something to send")
        assert not any(rounds[before:])
        assert (post.states(old), post.states(new)) == ({ANNA: "queued"}, {JAN: "queued"})
        assert server.connections == 0
        post.advance(timedelta(seconds=10))
        until(lambda: len(server.accepted) == 2, "both, once its rest is over")


def test_a_mail_expires_by_its_age_only_after_a_last_try(
    posts: Callable[..., Post], closed_port: int
) -> None:
    post = posts(away(closed_port), operator=OPERATOR)
    message_id = post.keep(ANNA)
    post.run()
    post.advance(6 * DAY)
    assert post.states(message_id)[ANNA] == "expired"
    assert len(post.to(message_id)[ANNA].attempts) == 2


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
def test_no_name_and_no_server_are_waited_out(
    posts: Callable[..., Post], closed_port: int, host: str
) -> None:
    post = posts(SmtpTransport(host, closed_port, "none", timeouts=QUICK))
    message_id = post.keep(ANNA, JAN)
    post.run()
    assert set(post.states(message_id).values()) == {"queued"}
    [line] = post.lines("mail_server_unreachable")
    assert host in line["why"]


# --- the server refuses ----------------------------------------------------------------------------------

STEPS = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "FINAL"]


@pytest.mark.parametrize("step", STEPS)
def test_a_refusal_for_now_at_any_step_is_tried_again_until_it_goes(
    posts: Callable[..., Post], server: ScriptedSmtp, step: str
) -> None:
    server.say(step, "451 4.3.0 not now", times=3)
    post = posts(smtp_transport(server), operator=OPERATOR)
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "queued"}
    for _ in range(5):
        post.advance(timedelta(minutes=10))
    assert post.states(message_id) == {ANNA: "delivered"}
    assert len(server.accepted) == 1


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "FINAL"])
def test_a_refusal_for_good_of_the_message_bounces_and_the_operator_is_told_once(
    posts: Callable[..., Post], server: ScriptedSmtp, step: str
) -> None:
    server.say(step, "550 5.7.1 never", times=1)
    post = posts(smtp_transport(server), operator=OPERATOR)
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id)[ANNA] == "bounced"
    until(lambda: reports(server), "the report")
    [report] = reports(server)
    assert ANNA in report
    assert "550" in report
    assert "5.7.1 never" in report
    for _ in range(3):
        post.advance(DAY)
    assert len(reports(server)) == 1


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("CONNECT", "554 5.7.1 we do not know you"),
        ("EHLO", "554 5.7.1 we do not know you"),
        ("MAIL", "530 5.7.0 must issue a STARTTLS command first"),
        ("RCPT", "530 5.7.0 authentication required"),
    ],
)
def test_a_refusal_for_good_of_us_bounces_nothing(
    posts: Callable[..., Post], server: ScriptedSmtp, step: str, reply: str
) -> None:
    server.say(step, reply)
    server.say("HELO", reply)
    post = posts(smtp_transport(server), operator=OPERATOR)
    ids = [post.keep(ANNA) for _ in range(3)]
    post.run()
    post.advance(DAY)
    assert all(post.states(one) == {ANNA: "queued"} for one in ids)
    server.forget()
    post.advance(timedelta(hours=3))
    until(lambda: len(server.accepted) == 3, "all of them, once it knows us again")
    assert reports(server) == []


def test_of_five_recipients_one_refused_costs_the_others_nothing(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    everyone = [f"r{n}@example.com" for n in range(5)]
    server.say("RCPT", "550 5.1.1 no such user", recipient=everyone[2])
    post = posts(smtp_transport(server), operator=OPERATOR)
    message_id = post.keep(*everyone)
    post.run()
    until(lambda: reports(server), "the report")
    assert Counter(one.recipient for one in server.accepted) == Counter(
        [everyone[0], everyone[1], everyone[3], everyone[4], OPERATOR]
    )
    assert post.states(message_id)[everyone[2]] == "bounced"


def test_an_operator_who_cannot_be_reached_either_starts_no_circle(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.say("RCPT", "550 5.1.1 no such user")
    post = posts(smtp_transport(server), operator=OPERATOR)
    post.keep(ANNA)
    post.run()
    post.advance(DAY)
    assert [line["rcpt"] for line in post.lines()] == [ANNA, OPERATOR]
    assert [line.get("about") for line in post.lines()] == [None, ANNA]


def test_a_server_that_says_421_is_closing_is_given_a_rest(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.say("MAIL", "421 4.3.2 shutting down", times=4)
    post = posts(smtp_transport(server))
    ids = [post.keep(ANNA) for _ in range(20)]
    post.run()
    assert server.connections <= 4
    for _ in range(4):
        post.advance(MINUTE)
    until(lambda: len(server.accepted) == 20, "all of them")
    assert all(post.states(one) == {ANNA: "delivered"} for one in ids)


def test_a_server_that_says_421_to_one_recipient_keeps_nobody_else_waiting(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.say("RCPT", "421 4.7.0 too many for you", recipient=JAN)
    post = posts(smtp_transport(server))
    post.keep(JAN)
    good = [post.keep(ANNA) for _ in range(10)]
    post.keep(JAN)
    post.run()
    assert all(post.states(one) == {ANNA: "delivered"} for one in good)


def test_a_mail_at_which_the_server_breaks_off_does_not_ask_for_all_the_others(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.say("MAIL", "421 4.3.2 busy", times=12)
    post = posts(smtp_transport(server), connections=1)
    ids = [post.keep(ANNA) for _ in range(6)]
    post.run()
    for _ in range(5):
        post.advance(timedelta(minutes=6))
    assert {line["message"] for line in post.lines()} == set(ids)


def test_our_own_fault_expires_nothing(posts: Callable[..., Post], server: ScriptedSmtp) -> None:
    server.say("CONNECT", "554 5.7.1 we do not know you")
    post = posts(smtp_transport(server))
    message_id = post.keep(ANNA)
    post.run()
    post.advance(30 * DAY)
    assert post.states(message_id) == {ANNA: "queued"}
    server.forget()
    post.advance(timedelta(minutes=10))
    assert post.states(message_id) == {ANNA: "delivered"}


def test_a_stop_in_the_last_try_expires_nothing(posts: Callable[..., Post], server: ScriptedSmtp) -> None:
    post = posts(smtp_transport(server))
    message_id = post.keep(ANNA)
    post.now += 6 * DAY
    post.ran += 6 * DAY.total_seconds()
    server.silence("FINAL")
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: server.commands("DATA"), "it is on its way")
    assert post.delivery.stop(0.1) is False
    assert post.states(message_id) == {ANNA: "queued"}


# --- the server breaks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["EHLO", "MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize("way", ["drop", "reset", "silence"])
def test_a_connection_lost_anywhere_loses_no_mail(
    posts: Callable[..., Post], server: ScriptedSmtp, step: str, way: str
) -> None:
    getattr(server, way)(step, times=1)
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=Timeouts(1, 1, 1, 1, 1, 1, 0.5)))
    message_id = post.keep(ANNA)
    post.run()
    assert post.states(message_id) == {ANNA: "queued"}
    post.advance(timedelta(minutes=10))
    assert post.states(message_id) == {ANNA: "delivered"}
    assert len(server.accepted) == 1


@pytest.mark.parametrize("way", ["drop", "silence"])
def test_a_mail_taken_without_a_word_is_repeated_and_known_by_its_id(
    posts: Callable[..., Post], server: ScriptedSmtp, way: str
) -> None:
    getattr(server, way)("FINAL", times=1, accept=True)
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=Timeouts(1, 1, 1, 1, 1, 1, 0.5)))
    post.keep(ANNA)
    post.run()
    post.advance(timedelta(minutes=10))
    assert len(server.accepted) == 2
    assert len({parsed(one)["Message-ID"] for one in server.accepted}) == 1


@pytest.mark.parametrize("way", ["drop", "reset", "silence", "421 4.3.2 enough", "999 what"])
def test_a_bad_goodbye_repeats_nothing(posts: Callable[..., Post], server: ScriptedSmtp, way: str) -> None:
    if way[0].isdigit():
        server.say("QUIT", way)
    else:
        getattr(server, way)("QUIT")
    post = posts(smtp_transport(server))
    message_id = post.keep(ANNA)
    post.run()
    until(lambda: server.commands("QUIT"), "it is left, as no other mail comes")
    post.advance(DAY)
    assert post.states(message_id) == {ANNA: "delivered"}
    assert len(server.accepted) == 1


def test_a_server_that_stops_reading_holds_up_one_mail_and_no_other(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.stop_reading(times=1)
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=Timeouts(5, 5, 5, 5, 1, 5, 0.5)))
    large = bytes(3_000_000)
    post.keep(ANNA, audio=large)
    post.keep(JAN)
    post.run()
    assert [one.recipient for one in server.accepted] in ([JAN], [ANNA])
    post.advance(timedelta(minutes=10))
    assert sorted(one.recipient for one in server.accepted) == [ANNA, JAN]


def test_a_broken_certificate_and_a_wrong_password_keep_all_mails_until_they_are_mended(
    posts: Callable[..., Post], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with scripted_smtp(security="starttls", user="vm", password="right") as server:
        transport = SmtpTransport(
            server.host, server.port, "starttls", "vm", secret, tmp_path / "other.pem", timeouts=QUICK
        )
        assert server.ca_file is not None
        with scripted_smtp(security="tls", trusted=False) as stranger:
            assert stranger.signer_file is not None
            (tmp_path / "other.pem").write_bytes(stranger.signer_file.read_bytes())
        post = posts(transport, operator=OPERATOR)
        ids = [post.keep(ANNA) for _ in range(3)]
        post.run()
        assert "certificate verify failed" in post.lines()[0]["reply"]
        (tmp_path / "other.pem").write_bytes(server.ca_file.read_bytes())
        post.advance(timedelta(minutes=10))
        assert post.lines()[-1]["code"] == "535"
        assert {line["level"] for line in post.lines()} == {"error"}
        assert all(post.states(one) == {ANNA: "queued"} for one in ids)
        secret.write_text("right\n")
        post.advance(timedelta(minutes=10))
        until(lambda: len(server.accepted) == 3, "all of them")


def test_a_mail_too_large_even_without_its_audio_bounces_before_it_is_sent_and_the_operator_is_told(
    posts: Callable[..., Post], tmp_path: Path
) -> None:
    with scripted_smtp() as server:
        # The whole mail and the one without audio; the report then meets no limit, on another connection.
        server.say("EHLO", "250-test.invalid\r\n250 SIZE 1000", times=2)
        once = replace(smtp_transport(server), connections=Connections(most_mails=1))
        post = posts(once, operator=OPERATOR)
        message_id = post.keep(ANNA, audio=bytes(100_000))
        post.run()
        until(lambda: reports(server), "the report")
        to = post.to(message_id)[ANNA]
        assert (to.state, to.code) == ("bounced", 552)
        assert [one.recipient for one in server.accepted] == [OPERATOR]


# --- clocks that are set ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [timedelta(hours=-1), timedelta(hours=1), timedelta(days=300)], ids=str)
def test_a_clock_that_is_set_sends_nothing_twice_and_gives_nothing_up(
    posts: Callable[..., Post], server: ScriptedSmtp, by: timedelta
) -> None:
    server.say("RCPT", "450 4.2.0 greylisted", times=1, recipient=JAN)
    post = posts(smtp_transport(server))
    message_id = post.keep(ANNA, JAN)
    post.run()
    post.set_clock(by)
    post.advance(timedelta(seconds=90))
    assert post.states(message_id) == {ANNA: "delivered", JAN: "delivered"}
    assert sorted(one.recipient for one in server.accepted) == [ANNA, JAN]


def test_a_clock_set_back_makes_no_haste(posts: Callable[..., Post], server: ScriptedSmtp) -> None:
    server.say("RCPT", "450 4.2.0 greylisted")
    post = posts(smtp_transport(server))
    post.keep(ANNA)
    post.set_clock(timedelta(hours=-1))
    post.run()
    for _ in range(10):
        post.advance(timedelta(seconds=30))
    # No delay is shorter than a minute.
    assert 2 <= len(post.lines()) <= 6


def test_a_clock_set_forward_while_a_mail_is_being_sent_does_not_have_it_sent_by_another(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    server.hold("FINAL", times=1)
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=PATIENT))
    message_id = post.keep(ANNA)
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: server.held, "it is on its way")
    post.set_clock(timedelta(hours=5))
    post.ran += 120
    other = post.keep(JAN)
    post.delivery.wake()
    until(lambda: post.states(other) == {JAN: "delivered"}, "the runner has looked again")
    assert post.states(message_id) == {ANNA: "sending"}
    server.release()
    post.settle()
    assert post.states(message_id) == {ANNA: "delivered"}
    assert [one.recipient for one in server.accepted] == [JAN, ANNA]


# --- calls without audio ---------------------------------------------------------------------------------


def test_a_call_whose_recording_failed_is_mailed_without_audio(
    posts: Callable[..., Post], server: ScriptedSmtp
) -> None:
    post = posts(smtp_transport(server))
    message_id = post.begin()
    assert post.journal.lose(message_id, CallResult.RECORD_FAILED, NOW, [ANNA, JAN])
    post.run()
    assert post.states(message_id) == {ANNA: "delivered", JAN: "delivered"}
    for accepted in server.accepted:
        assert list(parsed(accepted).iter_attachments()) == []
        assert "601 234 567" in parsed(accepted).get_body(("plain",)).get_content()


# --- people in between -----------------------------------------------------------------------------------


def test_a_mail_held_and_released_while_it_is_being_sent_is_not_sent_by_another_too(
    posts: Callable[..., Post], server: ScriptedSmtp, tmp_path: Path
) -> None:
    server.hold("FINAL", times=1)
    post = posts(SmtpTransport(server.host, server.port, "none", timeouts=PATIENT))
    message_id = post.keep(ANNA)
    post._running = gevent.spawn(post.delivery.run)
    until(lambda: server.held, "it is on its way")
    with JournalEditor(tmp_path, tmp_path) as editor:
        for verb in (HOLD, RELEASE):
            assert editor.change(message_id, verb, NOW)
    other = post.keep(JAN)
    post.delivery.wake()
    until(lambda: post.states(other) == {JAN: "delivered"}, "the runner has looked again")
    assert post.states(message_id) == {ANNA: "queued"}
    server.release()
    until(lambda: post.states(message_id) == {ANNA: "delivered"}, "it is taken")
    post.settle()
    assert [one.recipient for one in server.accepted] == [JAN, ANNA]
