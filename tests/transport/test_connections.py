"""Connections that serve one mail after the other, and what of one mail is none of the next."""

from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from esl_voicemail.mail.connections import Connections
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import SmtpTransport
from esl_voicemail.verdict import Bounced, Deferred, Delivered, TooLarge
from tests.support.service import until
from tests.support.smtp import ScriptedSmtp, scripted_smtp
from tests.transport.ways import ENVELOPE, mail, taken, through, unguarded, used

WAYS_TO_GO = ["drop", "reset", "421"]


@pytest.fixture(params=["plain", "step_by_step", "guarded"])
def line(request: pytest.FixtureRequest, password_file: Path) -> tuple[ScriptedSmtp, SmtpTransport]:
    """A server that has just taken a mail, and the way to it."""
    server = request.getfixturevalue(request.param)
    transport = through(server, password_file) if request.param == "guarded" else unguarded(server)
    assert isinstance(transport.send(ENVELOPE, mail("first\n")), Delivered)
    return server, transport


def go(server: ScriptedSmtp, way: str, step: str) -> None:
    if way == "421":
        server.say(step, "421 4.4.2 that was enough for one connection", times=1, then_drop=True)
    else:
        getattr(server, way)(step, times=1)


def test_mails_that_follow_one_another_share_a_connection_and_no_transaction(line):
    server, transport = line
    for text in ("second\n", "third\n"):
        assert isinstance(transport.send(ENVELOPE, mail(text)), Delivered)
    assert taken(server) == [b"first", b"second", b"third"]
    assert server.connections == 1
    assert len(server.commands("AUTH")) == len(server.commands("STARTTLS"))
    assert [len(server.commands(verb)) for verb in ("MAIL", "RCPT", "DATA", "RSET")] == [3, 3, 3, 0]


@pytest.mark.parametrize("way", WAYS_TO_GO)
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_a_used_connection_that_ends_before_the_content_is_replaced_and_no_try_fails(line, step, way):
    server, transport = line
    go(server, way, step)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert taken(server) == [b"first", b"second"]
    assert server.connections == 2


@pytest.mark.parametrize("way", ["drop", "reset"])
@pytest.mark.parametrize("step", ["CONTENT", "FINAL"])
def test_a_used_connection_that_ends_once_the_content_is_on_its_way_defers_as_any_other(line, step, way):
    server, transport = line
    getattr(server, way)(step, times=1)
    verdict = transport.send(ENVELOPE, mail("second\n"))
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.unreachable) == (None, False)
    assert taken(server) == [b"first"]
    assert server.connections == 1


def test_a_mail_taken_on_a_used_connection_whose_answer_is_lost_is_not_sent_twice_by_itself(line):
    server, transport = line
    server.drop("FINAL", times=1, accept=True)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Deferred)
    assert taken(server) == [b"first", b"second"]


@pytest.mark.parametrize("reply", ["550 5.7.0 enough mails in one session", "452 4.5.3 too many", "503 no"])
def test_what_a_used_connection_is_refused_at_mail_is_asked_again_on_a_new_one(line, reply):
    server, transport = line
    server.say("MAIL", reply, times=1)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"second"], 2)


def test_the_word_of_a_new_connection_counts(plain):
    transport = unguarded(plain)
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    plain.say("MAIL", "550 5.1.8 no such sender")
    assert transport.send(ENVELOPE, mail()) == Bounced(550, "5.1.8 no such sender")
    assert plain.connections == 2


@pytest.mark.parametrize(("step", "code"), [("RCPT", 550), ("RCPT", 450), ("DATA", 554), ("FINAL", 554)])
def test_a_refusal_of_one_mail_leaves_the_connection_to_the_next(line, step, code):
    server, transport = line
    server.say(step, f"{code} 5.1.1 not this one", times=1)
    verdict = transport.send(ENVELOPE, mail("second\n"))
    assert verdict == (Bounced if code >= 500 else Deferred)(code, "5.1.1 not this one")
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"third"], 1)
    # With the answer to its content a mail is over (RFC 5321 section 4.1.1.4).
    assert len(server.commands("RSET")) == (step != "FINAL")


@pytest.mark.parametrize("way", [*WAYS_TO_GO, "502 5.5.1 what?"])
def test_a_connection_that_does_not_take_a_refused_mail_back_is_replaced(line, way):
    server, transport = line
    server.say("RCPT", "550 5.1.1 not this one", times=1)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Bounced)
    go(server, way, "RSET") if way in WAYS_TO_GO else server.say("RSET", way)
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"third"], 2)


def test_a_mail_made_smaller_for_a_servers_limit_goes_on_the_same_connection(plain):
    plain.change(size=1000)
    transport = unguarded(plain)
    assert isinstance(transport.send(ENVELOPE, mail("x\n" * 1000)), TooLarge)
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    assert plain.connections == 1


def test_a_connection_that_the_server_ended_meanwhile_is_no_failed_try(line):
    server, transport = line
    server.say("FINAL", "250 2.0.0 ok", times=1, then_drop=True, accept=True)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"second", b"third"], 2)


@pytest.mark.parametrize("unasked", ["421 4.4.2 you said nothing for long", "250 2.0.0 ok", "554 no"])
def test_what_a_server_says_unasked_answers_no_later_mail(line, unasked):
    server, transport = line
    server.say("FINAL", f"250 2.0.0 ok\r\n{unasked}", times=1)
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"second", b"third"], 2)


def test_what_a_server_says_unasked_and_later_answers_no_mail_either(line):
    server, transport = line
    server.say_late("FINAL", "250 2.0.0 ok, still")
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    until(lambda: "S: 250 2.0.0 ok, still" in server.transcript, "it is said")
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(server), server.connections) == ([b"first", b"second", b"third"], 2)


def test_a_server_that_has_gone_away_since_is_one_that_cannot_be_reached():
    with scripted_smtp() as server:
        transport = unguarded(server)
        assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    verdict = transport.send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.unreachable) == (None, True)


def test_a_connection_is_left_politely_when_no_mail_comes(plain):
    transport = replace(unguarded(plain), connections=Connections(idle_seconds=0.05))
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    until(lambda: plain.commands("QUIT"), "it is left")
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    until(lambda: len(plain.commands("QUIT")) == 2, "the next one too")
    assert plain.connections == 2


def test_a_connection_is_left_politely_after_so_many_mails(plain):
    transport = used(replace(unguarded(plain), connections=Connections(most_mails=2)))
    for _ in range(5):
        assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    assert plain.connections == 3
    assert len(plain.commands("QUIT")) == 2


def test_no_two_mails_are_on_one_connection_at_once(plain):
    transport = unguarded(plain)
    texts = [f"mail {number}\n" for number in range(40)]
    sending = [gevent.spawn(transport.send, ENVELOPE, mail(text)) for text in texts]
    verdicts = [one.get(timeout=60) for one in sending]
    assert all(isinstance(one, Delivered) for one in verdicts)
    assert sorted(taken(plain)) == sorted(text.strip().encode() for text in texts)
    assert not [line for line in plain.transcript if line.startswith("S: 5")]


def test_a_try_that_is_cut_off_leaves_its_connection_to_nobody(plain):
    transport = unguarded(plain, Timeouts(quit=0.1))
    assert isinstance(transport.send(ENVELOPE, mail("first\n")), Delivered)
    plain.hold("RCPT")
    cut_off = gevent.spawn(transport.send, ENVELOPE, mail("second\n"))
    until(lambda: plain.held == 1, "the server thinks")
    cut_off.kill()
    plain.release()
    plain.say("RCPT", "250 2.1.5 ok")
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(plain), plain.connections) == ([b"first", b"third"], 2)


def test_a_new_password_is_used_by_the_next_connection(guarded, password_file):
    transport = through(guarded, password_file)
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    password_file.write_text("another")
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    transport.close()
    verdict = transport.send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.unreachable) == (535, True)


def test_a_server_that_does_not_say_goodbye_is_left_within_moments(plain):
    transport = unguarded(plain)
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    plain.silence("QUIT")
    with gevent.Timeout(5):
        transport.close()
