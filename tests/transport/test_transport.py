"""What becomes of one mail, against a real SMTP server process: delivered, refused, or neither."""

import base64
import inspect
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import astuple, replace
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import SmtpTransport
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, TooLarge
from tests.support.smtp import scripted_smtp
from tests.support.turns import turns
from tests.transport.ways import (
    ENVELOPE,
    PASSWORD,
    PATIENT,
    RESET_BEFORE_TLS,
    SET_UP,
    SHORT,
    STEPS,
    USER,
    mail,
    through,
    unguarded,
    used,
)


def native_thread() -> int:
    """The thread that is asked, not the greenlet."""
    return get_original("_thread", "get_ident")()


# --- delivered ---------------------------------------------------------------------------------------


def test_a_mail_accepted_after_data_is_delivered_with_the_servers_words(plain):
    plain.say("FINAL", "250 2.0.0 Ok: queued as 4XyZ")
    message = mail()
    assert unguarded(plain).send(ENVELOPE, message) == Delivered(250, "2.0.0 Ok: queued as 4XyZ")
    [accepted] = plain.accepted
    assert (accepted.sender, accepted.recipient) == (ENVELOPE.sender, ENVELOPE.recipient)
    assert accepted.content == bytes(message)
    assert plain.connections == 1


@pytest.mark.parametrize(
    "final", ["250 ok", "251 forwarded", "252 perhaps", "250-first\r\n250 second", "250"]
)
def test_every_2xx_after_the_dot_is_delivered(plain, final):
    plain.say("FINAL", final)
    assert isinstance(unguarded(plain).send(ENVELOPE, mail()), Delivered)


@pytest.mark.parametrize(
    "mishap", ["421", "554", "garbage", "binary", "too long", "drop", "reset", "silence"]
)
def test_an_accepted_mail_stays_delivered_whatever_happens_at_quit(plain, mishap):
    if mishap in ("421", "554"):
        plain.say("QUIT", f"{mishap} 4.3.0 going down", then_drop=True)
    elif mishap == "garbage":
        plain.say("QUIT", "and goodbye to you")
    elif mishap == "binary":
        plain.say("QUIT", bytes(range(256)))
    elif mishap == "too long":
        plain.say("QUIT", "221 " + "x" * 20_000)
    else:
        getattr(plain, mishap)("QUIT")
    transport = unguarded(plain)
    assert transport.send(ENVELOPE, mail()) == Delivered(250, "2.0.0 Ok: queued as T1")
    transport.close()
    assert plain.commands("QUIT")
    assert len(plain.accepted) == 1


def test_a_server_that_knows_no_ehlo_is_greeted_with_helo(plain):
    plain.say("EHLO", "502 5.5.1 unknown")
    assert isinstance(unguarded(plain).send(ENVELOPE, mail()), Delivered)
    assert plain.commands("HELO")


@pytest.mark.parametrize(
    "mechanisms", [["PLAIN", "LOGIN"], ["LOGIN", "PLAIN"], ["PLAIN"], ["LOGIN"], ["NTLM", "LOGIN"]]
)
def test_starttls_and_a_password_by_whatever_mechanism_is_offered(guarded, password_file, mechanisms):
    guarded.change(mechanisms=mechanisms)
    assert isinstance(through(guarded, password_file).send(ENVELOPE, mail()), Delivered)
    said = guarded.transcript
    assert said.index("C: STARTTLS") < next(n for n, line in enumerate(said) if line.startswith("C: AUTH"))
    assert len(guarded.commands("EHLO")) == 2


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_password_may_hold_any_character(tmp_path, mechanism):
    password = "zażółć 🔑 %s\\"
    (tmp_path / "password").write_text(password + "\n", encoding="utf-8")
    with scripted_smtp(security="tls", user=USER, password=password, mechanisms=(mechanism,)) as server:
        assert isinstance(through(server, tmp_path / "password", "tls").send(ENVELOPE, mail()), Delivered)


def test_implicit_tls_delivers(password_file):
    with scripted_smtp(security="tls", user=USER, password=PASSWORD) as server:
        assert isinstance(through(server, password_file, "tls").send(ENVELOPE, mail()), Delivered)
        assert not server.commands("STARTTLS")
        assert len(server.accepted) == 1


# --- refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize("then_drop", [False, True], ids=["stays", "hangs up"])
def test_4xx_defers_with_the_servers_code_and_words(guarded, password_file, step, then_drop):
    guarded.say(step, "421 4.7.0 try again later", then_drop=then_drop)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    # Later than MAIL it may be about this recipient or this content, and others need not wait.
    whoever = step not in ("RCPT", "DATA", "FINAL")
    assert verdict == Deferred(421, "4.7.0 try again later", unreachable=whoever)
    assert guarded.accepted == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize("then_drop", [False, True], ids=["stays", "hangs up"])
def test_5xx_on_the_message_or_its_recipient_bounces(guarded, password_file, step, then_drop):
    guarded.say(step, "550 5.1.1 no such user here", then_drop=then_drop)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert verdict == Bounced(550, "5.1.1 no such user here")
    assert guarded.accepted == []


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "STARTTLS", "AUTH"])
@pytest.mark.parametrize("then_drop", [False, True], ids=["stays", "hangs up"])
def test_5xx_on_our_set_up_defers_and_says_it_is_ours(guarded, password_file, step, then_drop):
    guarded.say(step, "554 5.7.1 not you", then_drop=then_drop)
    guarded.say("HELO", "554 5.7.1 not you", then_drop=then_drop)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    if step == "EHLO" and then_drop:
        assert isinstance(verdict, Deferred)
    else:
        assert verdict == Deferred(554, "5.7.1 not you", ours=True, unreachable=True)
    assert guarded.accepted == []


def test_a_wrong_password_defers_is_ours_and_is_not_repeated_to_the_log(guarded, tmp_path):
    (tmp_path / "wrong").write_text("wrong-password")
    verdict = through(guarded, tmp_path / "wrong").send(ENVELOPE, mail())
    assert verdict == Deferred(535, "5.7.8 wrong user or password", ours=True, unreachable=True)
    assert guarded.commands("MAIL") == []


def test_a_wrong_password_is_offered_once_so_that_no_account_is_locked(guarded, tmp_path):
    (tmp_path / "wrong").write_text("wrong-password")
    through(guarded, tmp_path / "wrong").send(ENVELOPE, mail())
    assert len(guarded.commands("AUTH")) == 1


@pytest.mark.parametrize("mechanisms", [["GSSAPI", "NTLM"], []])
def test_no_mechanism_we_know_defers_and_is_ours(guarded, password_file, mechanisms):
    guarded.change(mechanisms=mechanisms)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.ours
    assert guarded.commands("AUTH") == guarded.commands("MAIL") == []


def test_a_missing_password_file_defers_is_ours_and_is_named(guarded, tmp_path):
    verdict = through(guarded, tmp_path / "gone").send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.ours
    assert str(tmp_path / "gone") in verdict.reply


def test_a_missing_ca_file_defers_is_ours_and_is_named(guarded, password_file, tmp_path):
    transport = SmtpTransport(
        guarded.host, guarded.port, "starttls", USER, password_file, tmp_path / "gone.pem", PATIENT
    )
    verdict = transport.send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.ours
    assert "gone.pem" in verdict.reply


def test_one_recipient_refused_is_no_matter_of_another(plain):
    plain.say("RCPT", "550 5.1.1 unknown", recipient="gone@example.com")
    transport = unguarded(plain)
    assert isinstance(transport.send(Envelope(ENVELOPE.sender, "gone@example.com"), mail()), Bounced)
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    assert [one.recipient for one in plain.accepted] == [ENVELOPE.recipient]


# --- neither accepted nor refused --------------------------------------------------------------------


def test_a_refused_connection_defers_and_names_the_server():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    verdict = SmtpTransport("127.0.0.1", port, "none").send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)
    assert f"127.0.0.1:{port}" in verdict.reply


@RESET_BEFORE_TLS
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mishap", ["drop", "reset"])
def test_a_connection_lost_at_any_step_defers(guarded, password_file, step, mishap):
    getattr(guarded, mishap)(step)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)
    assert verdict.reply
    assert guarded.accepted == []


@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_falls_silent_at_any_step_defers(guarded, password_file, step):
    guarded.silence(step)
    with gevent.Timeout(10):
        verdict = through(guarded, password_file, timeouts=SHORT).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)
    assert verdict.reply


@pytest.mark.parametrize("mishap", ["silence", "drop"])
def test_a_tls_handshake_that_is_not_answered_defers(password_file, mishap):
    with scripted_smtp(security="tls", user=USER, password=PASSWORD) as server:
        getattr(server, mishap)("TLS")
        verdict = through(server, password_file, "tls", SHORT).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)


def test_a_mail_taken_by_a_server_that_then_drops_the_line_goes_again(plain):
    plain.drop("FINAL", times=1, accept=True)
    transport, message = unguarded(plain), mail()
    assert isinstance(transport.send(ENVELOPE, message), Deferred)
    assert isinstance(transport.send(ENVELOPE, message), Delivered)
    first, second = plain.accepted
    assert first == second


def test_a_server_that_stops_reading_defers(plain):
    plain.stop_reading()
    timeouts = Timeouts(block=0.5, final=0.5, quit=0.2)
    with gevent.Timeout(20):
        verdict = unguarded(plain, timeouts).send(ENVELOPE, mail("x" * 76 + "\n" + "y" * 20_000_000 + "\n"))
    assert isinstance(verdict, Deferred)
    assert verdict.code is None


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize("reply", ["no reply at all", "", "99 short"], ids=repr)
def test_a_reply_that_is_none_defers_without_a_code(guarded, password_file, step, reply):
    guarded.say(step, reply)
    guarded.say("HELO", reply)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.code is None
    assert guarded.accepted == []


@pytest.mark.parametrize(
    ("step", "code"),
    [("DATA", 250), ("DATA", 221), ("MAIL", 251), ("MAIL", 354), ("RCPT", 354), ("FINAL", 354)],
)
def test_a_positive_reply_out_of_place_is_no_delivery(plain, step, code):
    plain.say(step, f"{code} fine by me")
    verdict = unguarded(plain).send(ENVELOPE, mail())
    assert verdict == Deferred(code, "fine by me")
    assert plain.accepted == []


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
def test_a_reply_without_end_defers(guarded, password_file, step):
    guarded.pour(step, "250-spam and spam\r\n")
    with gevent.Timeout(20):
        verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)
    assert "128 lines" in verdict.reply


@pytest.mark.parametrize(
    "step", ["CONNECT", "EHLO", "STARTTLS", "TLS", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"]
)
def test_a_reply_that_dribbles_for_ever_defers_when_the_steps_time_is_over(guarded, password_file, step):
    guarded.dribble(step, "\x16\x03\x03" if step == "TLS" else "2")
    timeouts = Timeouts(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    with gevent.Timeout(20):
        verdict = through(guarded, password_file, timeouts=timeouts).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, False)


def test_others_get_their_turn_at_each_line_of_a_reply_without_end(plain):
    plain.pour("CONNECT", "220-spam\r\n")
    with turns() as others, gevent.Timeout(60):
        verdict = unguarded(plain).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert others.taken >= 128


def test_a_greeting_without_end_defers_over_tls(password_file):
    with scripted_smtp(security="tls") as server:
        server.pour("CONNECT", "220-spam\r\n")
        transport = SmtpTransport(server.host, server.port, "tls", ca_file=server.ca_file)
        with gevent.Timeout(20):
            verdict = transport.send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert "128 lines" in verdict.reply


@pytest.mark.parametrize("how", ["pour", "dribble"])
@pytest.mark.parametrize("piece", ["221-bye\r\n", "2"])
def test_a_goodbye_without_end_holds_no_verdict_up(plain, how, piece):
    getattr(plain, how)("QUIT", piece)
    transport = unguarded(plain, Timeouts(quit=0.3))
    with gevent.Timeout(20):
        assert transport.send(ENVELOPE, mail()) == Delivered(250, "2.0.0 Ok: queued as T1")
        transport.close()
        # One that is left at once, as no mail is to follow it.
        plain.say("RCPT", "421 4.3.2 going down")
        assert transport.send(ENVELOPE, mail()) == Deferred(421, "4.3.2 going down")


@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("552 5.3.4 too big", TooLarge(552, "5.3.4 too big", None)),
        ("552 5.2.2 mailbox full", Bounced(552, "5.2.2 mailbox full")),
        ("421 4.3.1 disk full", Deferred(421, "4.3.1 disk full")),
        ("250 2.0.0 fine", Deferred),
        ("nothing of sense", Deferred),
    ],
    ids=str,
)
def test_a_refusal_in_the_middle_of_the_mail_is_heard(security, reply, verdict):
    large = mail("x" * 76 + "\n" + "y" * 20_000_000 + "\n")
    with scripted_smtp(security=security) as server:
        server.refuse_content(reply)
        transport = SmtpTransport(
            server.host, server.port, security, ca_file=server.ca_file, timeouts=PATIENT
        )
        got = transport.send(ENVELOPE, large)
    if verdict is Deferred:
        assert isinstance(got, Deferred)
        assert (got.code, got.ours) == (None, False)
    else:
        assert got == verdict


# --- whether the server takes any mail now -----------------------------------------------------------


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
def test_a_refusal_for_now_before_a_mail_is_offered_is_one_of_every_mail(guarded, password_file, step):
    guarded.say(step, "450 4.7.0 later")
    guarded.say("HELO", "450 4.7.0 later")
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert verdict == Deferred(450, "4.7.0 later", unreachable=step in SET_UP)


@RESET_BEFORE_TLS
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mishap", ["drop", "reset"])
def test_a_connection_lost_before_a_mail_is_offered_is_lost_to_every_mail(
    guarded, password_file, step, mishap
):
    getattr(guarded, mishap)(step)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.unreachable == (step in SET_UP)


def test_a_connection_that_is_refused_or_leads_nowhere_is_so_for_every_mail():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    for host in ("127.0.0.1", "no-such-host.invalid"):
        verdict = SmtpTransport(host, port, "none").send(ENVELOPE, mail())
        assert isinstance(verdict, Deferred)
        assert verdict.unreachable


def test_a_missing_password_file_keeps_every_mail(guarded, tmp_path):
    verdict = through(guarded, tmp_path / "gone").send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.unreachable


def test_a_machine_that_does_not_answer_a_connection_is_not_waited_for_like_its_greeting(monkeypatch):
    monkeypatch.setattr("esl_voicemail.mail.smtp._CONNECT_SECONDS", 0.2)
    with socket.socket() as crowded:
        # Once its queue is full, the system lets further connections wait.
        crowded.bind(("127.0.0.1", 0))
        crowded.listen(0)
        host, port = crowded.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((host, port))
        with gevent.Timeout(20):
            verdict = SmtpTransport(host, port, "none").send(ENVELOPE, mail())
        for one in waiting:
            one.close()
    assert verdict == Deferred(None, f"{host}:{port}: timed out", unreachable=True)


# --- TLS ---------------------------------------------------------------------------------------------


def test_starttls_not_offered_defers_is_ours_and_nothing_more_is_said(guarded, password_file):
    guarded.change(starttls_offered=False)
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert verdict.ours
    assert "STARTTLS" in verdict.reply
    assert guarded.commands("AUTH") == guarded.commands("MAIL") == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("fault", "words"), [("untrusted", "certificate"), ("wrong name", "certificate")])
def test_a_certificate_that_proves_nothing_defers_and_no_password_is_sent(
    password_file, security, fault, words
):
    certificate: dict[str, Any] = {"trusted": False} if fault == "untrusted" else {"name": "else.example.com"}
    with scripted_smtp(security=security, user=USER, password=PASSWORD, **certificate) as server:
        verdict = through(server, password_file, security).send(ENVELOPE, mail())
        assert server.connections == 1
        said = "\n".join(server.transcript)
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, True)
    assert words in verdict.reply
    assert "AUTH PLAIN A" not in said
    assert "MAIL" not in said.upper()


def test_implicit_tls_to_a_port_that_speaks_plain_text_defers_and_is_ours(plain, password_file):
    transport = SmtpTransport(plain.host, plain.port, "tls", USER, password_file, timeouts=PATIENT)
    verdict = transport.send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, True)


@pytest.mark.parametrize("step", ["AUTH", "MAIL", "FINAL"])
def test_the_password_is_in_no_repr_and_no_verdict(guarded, password_file, step):
    guarded.say(step, "550 5.0.0 no")
    transport = through(guarded, password_file)
    shown = repr(transport) + repr(transport.send(ENVELOPE, mail()))
    assert PASSWORD not in shown
    assert base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode() not in shown


def test_certificates_are_read_again_when_their_file_changes(tmp_path):
    trusted = tmp_path / "ca.pem"
    with scripted_smtp(security="tls", trusted=False) as server:
        assert server.ca_file
        assert server.signer_file
        transport = used(SmtpTransport(server.host, server.port, "tls", ca_file=trusted, timeouts=PATIENT))
        trusted.write_bytes(server.ca_file.read_bytes())
        refused = transport.send(ENVELOPE, mail())
        trusted.write_bytes(server.signer_file.read_bytes())
        os.utime(trusted, (0, 0))
        accepted = transport.send(ENVELOPE, mail())
    assert isinstance(refused, Deferred)
    assert "certificate" in refused.reply
    assert isinstance(accepted, Delivered)


def test_certificates_are_read_once_and_on_a_thread_of_their_own(
    guarded, password_file, monkeypatch, tmp_path
):
    threads = []
    create = ssl.create_default_context

    def told(**options: Any) -> ssl.SSLContext:
        threads.append(native_thread())
        return create(**options)

    monkeypatch.setattr(ssl, "create_default_context", told)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(guarded.ca_file.read_bytes())
    transport = replace(through(guarded, password_file), ca_file=trusted)
    for _ in range(3):
        assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
        transport.close()
    assert guarded.connections == 3
    assert len(threads) == 1
    assert threads[0] != native_thread()


# --- the event loop ----------------------------------------------------------------------------------


class TellingMail(tuple[bytes, ...]):
    """Remembers which threads went through its pieces to have them ready for a server."""

    threads: list[int]

    def __iter__(self) -> Iterator[bytes]:
        self.threads.append(native_thread())
        return super().__iter__()


@pytest.mark.parametrize(("size", "on_a_thread"), [(100, False), (3 << 20, True)])
def test_a_mail_that_would_hold_the_event_loop_is_made_ready_on_a_thread(plain, size, on_a_thread):
    pieces = TellingMail([b"Subject: x\r\n\r\n", b"x.\r\n" * (size // 4)])
    pieces.threads = []
    message = Entity(pieces)
    assert len(message) > size
    pieces.threads.clear()
    assert isinstance(unguarded(plain).send(ENVELOPE, message), Delivered)
    assert (native_thread() not in pieces.threads[1:]) == on_a_thread


# --- probe -------------------------------------------------------------------------------------------


def test_a_probe_asks_for_each_recipient_and_sends_nothing(guarded, password_file):
    guarded.say("RCPT", "550 5.1.1 unknown", recipient="gone@example.com")
    guarded.say("RCPT", "450 4.2.0 greylisted", recipient="grey@example.com")
    recipients = ["anna@example.com", "gone@example.com", "grey@example.com", "jan@example.com"]
    verdicts = through(guarded, password_file).probe(ENVELOPE.sender, iter(recipients))
    assert verdicts == [
        ("anna@example.com", Delivered(250, "2.1.5 recipient ok")),
        ("gone@example.com", Bounced(550, "5.1.1 unknown")),
        ("grey@example.com", Deferred(450, "4.2.0 greylisted")),
        ("jan@example.com", Delivered(250, "2.1.5 recipient ok")),
    ]
    assert guarded.commands("DATA") == []
    assert guarded.accepted == []
    assert guarded.connections == 1


@RESET_BEFORE_TLS
@pytest.mark.parametrize("step", STEPS[:-3])
@pytest.mark.parametrize("mishap", ["drop", "reset"])
def test_a_probe_of_a_server_that_hangs_up_defers_every_recipient(guarded, password_file, step, mishap):
    getattr(guarded, mishap)(step)
    verdicts = through(guarded, password_file).probe(ENVELOPE.sender, ["a@example.com", "b@example.com"])
    assert [recipient for recipient, _ in verdicts] == ["a@example.com", "b@example.com"]
    assert all(isinstance(verdict, Deferred) for _, verdict in verdicts)


def test_a_probe_of_a_server_that_goes_after_the_first_recipient_keeps_what_it_learnt(plain):
    plain.drop("RSET")
    verdicts = unguarded(plain).probe(ENVELOPE.sender, ["a@example.com", "b@example.com"])
    assert isinstance(verdicts[0][1], Delivered)
    assert isinstance(verdicts[1][1], Deferred)


def test_a_probe_waits_for_no_step_as_long_as_a_delivery_does(plain):
    waits = inspect.signature(SmtpTransport.probe).parameters["timeouts"].default
    assert max(astuple(waits)) <= 15
    plain.silence("MAIL")
    with gevent.Timeout(20):
        verdicts = unguarded(plain, Timeouts()).probe(ENVELOPE.sender, ["a@example.com"], SHORT)
    assert isinstance(verdicts[0][1], Deferred)
