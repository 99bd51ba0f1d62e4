"""One mail out of the house, against a real SMTP server process and real folders."""

import base64
import inspect
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esl_voicemail.mail.connections import Connections
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import MaildirTransport, SmtpTransport
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, TooLarge
from tests.support.service import running, until
from tests.support.smtp import ScriptedSmtp, scripted_smtp

USER, PASSWORD = "voicemail", "s3cret-and-long"
ENVELOPE = Envelope("voicemail@example.com", "anna@example.com")
PATIENT = Timeouts(20, 20, 20, 20, 20, 20, 20)
SHORT = Timeouts(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)

# gevent 26.9 leaves a socket for the garbage collector that was reset before its handshake began.
RESET_BEFORE_TLS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# The steps before a mail is offered: a server that fails there takes none at all now.
SET_UP = ("CONNECT", "EHLO", "STARTTLS", "TLS", "AUTH")
# Every step at which a server that wants STARTTLS and a password can misbehave before it has the mail.
STEPS = ["CONNECT", "EHLO", "STARTTLS", "TLS", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT", "FINAL"]


@pytest.fixture(scope="module")
def plain_server() -> Iterator[ScriptedSmtp]:
    with scripted_smtp() as server:
        yield server


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[ScriptedSmtp]:
    with scripted_smtp(security="starttls", user=USER, password=PASSWORD) as server:
        yield server


@pytest.fixture
def plain(plain_server: ScriptedSmtp) -> ScriptedSmtp:
    """Plain text, no password, commands taken in one piece."""
    plain_server.forget()
    plain_server.change(size=None, pipelining=True)
    return plain_server


@pytest.fixture
def step_by_step(plain: ScriptedSmtp) -> ScriptedSmtp:
    """One that takes a command at a time."""
    plain.change(pipelining=False)
    return plain


@pytest.fixture(params=["plain", "step_by_step"])
def either(request: pytest.FixtureRequest) -> ScriptedSmtp:
    return request.getfixturevalue(request.param)


@pytest.fixture
def guarded(guarded_server: ScriptedSmtp) -> ScriptedSmtp:
    """STARTTLS and a password."""
    guarded_server.forget()
    guarded_server.change(starttls_offered=True, mechanisms=["PLAIN", "LOGIN"])
    return guarded_server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


USED: list[SmtpTransport] = []


@pytest.fixture(autouse=True)
def parted() -> Iterator[None]:
    """Leave the servers after each test."""
    yield
    while USED:
        USED.pop().close()


def used(transport: SmtpTransport) -> SmtpTransport:
    USED.append(transport)
    return transport


def unguarded(server: ScriptedSmtp, timeouts: Timeouts = PATIENT) -> SmtpTransport:
    return used(SmtpTransport(server.host, server.port, "none", timeouts=timeouts))


def through(
    server: ScriptedSmtp, password_file: Path, security: str = "starttls", timeouts: Timeouts = PATIENT
) -> SmtpTransport:
    return used(
        SmtpTransport(server.host, server.port, security, USER, password_file, server.ca_file, timeouts)
    )


def mail(text: str = "Good morning.\n", sound: bytes = b"") -> Entity:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = "A message"
    message["From"] = ENVELOPE.sender
    message["To"] = ENVELOPE.recipient
    message.set_content(text, cte="7bit")
    if sound:
        message.add_attachment(sound, maintype="audio", subtype="wav", filename="message.wav")
    return Entity((message.as_bytes(),))


@contextmanager
def others_counted() -> Iterator[list[int]]:
    """Count the turns another greenlet gets during a block."""
    turns = [0]

    def take_turns() -> None:
        while True:
            turns[0] += 1
            gevent.sleep(0)

    other = gevent.spawn(take_turns)
    try:
        yield turns
    finally:
        other.kill()


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
    with others_counted() as turns, gevent.Timeout(60):
        verdict = unguarded(plain).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert turns[0] >= 128


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


# --- the bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ".\n",
        "..\n",
        ".\n.\n.\n",
        "before\n.\nafter\n",
        ".hidden\n..twice hidden\n... thrice\n",
        "x.\n.x\n",
        "\n.\n\n.\n",
        ".",
        "no line end at all",
        "\n\n\n",
        "QUIT\nRSET\n.\nMAIL FROM:<a@b.example>\n",
    ],
    ids=repr,
)
def test_lines_that_begin_with_dots_arrive_byte_for_byte(plain, text):
    message = mail(text)
    assert isinstance(unguarded(plain).send(ENVELOPE, message), Delivered)
    [accepted] = plain.accepted
    assert accepted.content == bytes(message)
    body = accepted.content.partition(b"\r\n\r\n")[2]
    assert body.replace(b"\r\n", b"\n").rstrip(b"\n") == text.encode().rstrip(b"\n")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(". a", max_size=4), max_size=6).map("\n".join))
def test_any_pattern_of_dots_and_line_ends_arrives_byte_for_byte(plain, text):
    plain.forget()
    message = mail(text + "\n")
    assert isinstance(unguarded(plain).send(ENVELOPE, message), Delivered)
    [accepted] = plain.accepted
    assert accepted.content == bytes(message)


def test_a_dot_at_the_edge_of_a_block_is_doubled_too(plain):
    base = len(bytes(mail("")))
    for shift in range(-4, 5):
        plain.forget()
        message = mail("x" * ((1 << 16) - base - 2 + shift) + "\n.\n.\nend\n")
        assert isinstance(unguarded(plain).send(ENVELOPE, message), Delivered)
        assert plain.accepted[0].content == bytes(message)


def test_a_large_mail_arrives_whole_with_crlf_line_ends_only(guarded, password_file):
    sound = bytes(range(256)) * 20 * 1024
    assert isinstance(through(guarded, password_file).send(ENVELOPE, mail(sound=sound)), Delivered)
    [accepted] = guarded.accepted
    assert len(accepted.content) > 5 * 1024 * 1024
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", accepted.content) is None
    parsed = BytesParser().parsebytes(accepted.content)
    assert parsed.get_payload()[1].get_payload(decode=True) == sound


def test_the_size_is_said_to_a_server_that_asks_so_that_it_refuses_before_it_is_sent(either):
    either.change(size=10_000_000)
    either.say("MAIL", "552 5.3.4 more than your quota")
    message = mail()
    assert unguarded(either).send(ENVELOPE, message) == TooLarge(552, "5.3.4 more than your quota", None)
    assert f"size={len(bytes(message))}" in either.commands("MAIL")[0].lower()
    assert [line for line in either.transcript if "bytes of mail" in line] == []


def test_a_mail_above_the_servers_size_is_too_large_with_both_numbers_before_it_is_offered(plain):
    message = mail(".\n" * 1000)
    bytes_of_it = len(bytes(message))
    plain.change(size=bytes_of_it - 1)
    verdict = unguarded(plain).send(ENVELOPE, message)
    words = f"the mail has {bytes_of_it} bytes, the server takes at most {bytes_of_it - 1}"
    assert verdict == TooLarge(552, words, bytes_of_it - 1)
    assert plain.commands("MAIL") == []


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize(
    ("said", "about_size"),
    [
        ("552 message size exceeds fixed maximum message size", True),
        ("552 5.3.4 too big", True),
        ("554 5.3.4 too big", True),
        ("552-5.2.3 exceeds our\r\n552 5.2.3 size limits", True),
        ("550 5.2.3 too long", True),
        ("552 5.2.2 mailbox full", False),
        ("552 5.7.0 blocked for what is in it", False),
        ("550 5.3.40 no such code", False),
        ("550 what of 5.3.4", False),
        ("554 no", False),
        ("452 4.3.4 too big now", False),
    ],
)
def test_what_a_server_says_of_a_mail_s_size_is_told_from_other_refusals(either, step, said, about_size):
    either.say(step, said)
    verdict = unguarded(either).send(ENVELOPE, mail())
    code, reply = int(said[:3]), verdict.reply
    assert verdict == (
        TooLarge(code, reply, None) if about_size else (Bounced if code >= 500 else Deferred)(code, reply)
    )


def test_a_mail_of_just_the_servers_size_is_sent(plain):
    message = mail(".\n" * 1000)
    plain.change(size=len(bytes(message)))
    assert isinstance(unguarded(plain).send(ENVELOPE, message), Delivered)


def test_the_size_that_counts_is_the_one_said_under_tls(guarded, password_file):
    guarded.say("EHLO", "250-test.invalid\r\n250-SIZE 10\r\n250 STARTTLS", times=1)
    assert isinstance(through(guarded, password_file).send(ENVELOPE, mail()), Delivered)


@pytest.mark.parametrize(
    "said", ["SIZE", "SIZE 0", "SIZE none", "SIZE -1", "SIZE ²", "SIZE " + "9" * 20, "SIZE " + "9" * 5000]
)
def test_a_size_that_limits_nothing_or_is_none_stops_no_mail(plain, said):
    plain.say("EHLO", f"250-test.invalid\r\n250 {said}")
    assert isinstance(unguarded(plain).send(ENVELOPE, mail()), Delivered)


def test_no_size_is_said_to_a_server_that_does_not_ask(plain):
    unguarded(plain).send(ENVELOPE, mail())
    assert "size" not in plain.commands("MAIL")[0].lower()


# --- the server's words ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
def test_a_reply_of_many_lines_becomes_one(guarded, password_file, step):
    guarded.say(step, "450-4.2.0 greylisted,\r\n450-4.2.0 see\r\n450 4.2.0 https://example.com/")
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    words = "4.2.0 greylisted, 4.2.0 see 4.2.0 https://example.com/"
    assert verdict == Deferred(450, words, unreachable=step in SET_UP)


HOSTILE = {
    "control characters": b"\x1b[2J\x00\x07\x08 cleared\r alone \x9b31m\x7f",
    "not UTF-8": b"odm\xf3wiono \xff\xfe\xc5",
    "line separators": "a\u2028b\u2029c\x85d\u202ee".encode(),
    "a log line of its own": b'x" level=info event=delivery result=delivered y="',
    "long": b"x" * 8000,
    "very long": b"x" * 10_000,
    "long, of many lines": b"\r\n550-".join([b"y" * 100] * 100),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "FINAL"])
def test_hostile_words_of_a_server_stay_one_bounded_printable_line(guarded, password_file, step, hostile):
    separator = b"-" if b"\r\n" in HOSTILE[hostile] else b" "
    guarded.say(step, b"550" + separator + HOSTILE[hostile] + (b"\r\n550 end" if separator == b"-" else b""))
    guarded.say("HELO", b"550 " + HOSTILE[hostile].replace(b"\r\n", b" "))
    verdict = through(guarded, password_file).send(ENVELOPE, mail())
    assert isinstance(verdict, Bounced | Deferred)
    assert 0 < len(verdict.reply) <= 400
    assert len(verdict.reply.splitlines()) == 1
    assert verdict.reply.isprintable()
    assert guarded.accepted == []


# --- commands in one piece ---------------------------------------------------------------------------


@pytest.mark.parametrize(("pipelining", "together"), [(True, 3), (False, 1)])
def test_commands_go_together_where_the_server_takes_them_so_and_one_by_one_elsewhere(
    plain, pipelining, together
):
    plain.change(pipelining=pipelining)
    transport = unguarded(plain)
    for text in ("first\n", "second\n"):
        assert isinstance(transport.send(ENVELOPE, mail(text)), Delivered)
    assert plain.most_together == together
    assert taken(plain) == [b"first", b"second"]


@pytest.mark.parametrize("said", ["550 5.1.1 nobody", "450 4.2.1 not now"])
def test_a_server_that_wants_the_content_of_a_mail_to_nobody_gets_a_dot(plain, said):
    plain.say("RCPT", said, times=1)
    plain.say("NOBODY", "354 go on", times=1)
    transport = unguarded(plain)
    verdict = transport.send(ENVELOPE, mail("first\n"))
    assert (verdict.code, verdict.reply) == (int(said[:3]), said[4:])
    assert "C: (0 bytes of mail)" in plain.transcript
    assert plain.accepted == []
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert (taken(plain), plain.connections) == ([b"second"], 1)


@pytest.mark.parametrize("then", ["drop", "silence"])
def test_a_server_that_says_no_more_after_the_dot_is_left_and_its_refusal_counts(plain, then):
    plain.say("RCPT", "550 5.1.1 nobody", times=1)
    plain.say("NOBODY", "354 go on", times=1)
    getattr(plain, then)("FINAL", times=1)
    transport = unguarded(plain, replace(PATIENT, quit=0.2))
    assert transport.send(ENVELOPE, mail("first\n")) == Bounced(550, "5.1.1 nobody")
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert (taken(plain), plain.connections) == ([b"second"], 2)


def test_nobody_gets_an_empty_mail_from_a_sender_that_was_refused(plain):
    plain.say("MAIL", "550 5.1.8 no such sender", times=1)
    plain.say("NOBODY", "354 go on", times=1)
    transport = unguarded(plain)
    assert transport.send(ENVELOPE, mail()) == Bounced(550, "5.1.8 no such sender")
    assert [line for line in plain.transcript if "bytes of mail" in line] == []
    assert plain.accepted == []
    assert isinstance(transport.send(ENVELOPE, mail()), Delivered)
    assert plain.connections == 2


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
def test_what_is_said_to_the_commands_behind_a_refused_one_answers_no_later_mail(plain, step):
    plain.say(step, "550 5.7.1 no", times=1)
    transport = unguarded(plain)
    assert transport.send(ENVELOPE, mail("first\n")) == Bounced(550, "5.7.1 no")
    assert isinstance(transport.send(ENVELOPE, mail("second\n")), Delivered)
    assert (taken(plain), plain.connections) == ([b"second"], 1)


@pytest.mark.parametrize("address", ["anna@example.com>\r\nDATA", "anna@example.com\n", "a\rb@example.com"])
def test_an_address_with_a_line_end_in_it_is_sent_to_nobody(either, address):
    with pytest.raises(ValueError, match="a line end"):
        unguarded(either).send(Envelope(ENVELOPE.sender, address), mail())
    assert either.commands("RCPT") == []


# --- a connection used again -------------------------------------------------------------------------

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


def taken(server: ScriptedSmtp) -> list[bytes]:
    return [one.content.rpartition(b"\r\n\r\n")[2].strip() for one in server.accepted]


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


# --- Maildir -----------------------------------------------------------------------------------------


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    made = Maildir(tmp_path / "mail")
    made.create()
    return made


def test_a_maildir_holds_the_mail_in_new_and_nothing_in_tmp(maildir):
    message = mail("Grüße.\n".encode("ascii", "replace").decode())
    verdict = MaildirTransport(maildir).send(ENVELOPE, message)
    [path] = (maildir.folder / "new").iterdir()
    assert verdict == Delivered(250, f"stored as {path.name}")
    assert list((maildir.folder / "tmp").iterdir()) == []
    head = f"Return-Path: <{ENVELOPE.sender}>\nDelivered-To: {ENVELOPE.recipient}\n".encode()
    assert path.read_bytes() == head + bytes(message).replace(b"\r\n", b"\n")


def test_a_hundred_mails_stored_at_once_get_a_hundred_names(maildir):
    transport = MaildirTransport(maildir)
    greenlets = [
        gevent.get_hub().threadpool.spawn(transport.send, ENVELOPE, mail(f"{n}\n")) for n in range(100)
    ]
    verdicts = [greenlet.get(timeout=30) for greenlet in greenlets]
    assert all(isinstance(verdict, Delivered) for verdict in verdicts)
    stored = list((maildir.folder / "new").iterdir())
    assert len(stored) == len({verdict.reply for verdict in verdicts}) == 100
    bodies = {path.read_text().rpartition("\n\n")[2] for path in stored}
    assert bodies == {f"{n}\n" for n in range(100)}
    assert list((maildir.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("part", ["tmp", "new"])
def test_a_maildir_that_cannot_be_written_defers_is_ours_and_leaves_nothing_behind(maildir, part):
    (maildir.folder / part).rmdir()
    (maildir.folder / part).write_text("a file where a folder is expected")
    verdict = MaildirTransport(maildir).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, True)
    assert verdict.reply.startswith("Maildir: ")
    assert [path.name for path in maildir.folder.rglob("*") if path.is_file()] == [part]


@pytest.mark.parametrize("gone", ["tmp", "new", "cur", "."])
def test_folders_that_disappeared_are_made_again(maildir, gone):
    shutil.rmtree(maildir.folder / gone)
    assert isinstance(MaildirTransport(maildir).send(ENVELOPE, mail()), Delivered)
    assert len(list((maildir.folder / "new").iterdir())) == 1
    assert list((maildir.folder / "tmp").iterdir()) == []


def test_making_a_maildir_twice_harms_nothing(maildir):
    MaildirTransport(maildir).send(ENVELOPE, mail())
    maildir.create()
    assert sorted(path.name for path in maildir.folder.iterdir()) == ["cur", "new", "tmp"]
    assert len(list((maildir.folder / "new").iterdir())) == 1


# Killed when the mail is written and not moved yet.
_DIES_STORING = """
import os, signal, sys
from pathlib import Path
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.parts import text
from esl_voicemail.verdict import Envelope
message = text("plain", "what a caller said")
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
Maildir(Path(sys.argv[1])).store(Envelope("vm@example.com", "anna@example.com"), message)
"""


def killed_while_storing(folder: Path) -> Path:
    """Return the half-written mail that a process left which was killed."""
    died = subprocess.run([sys.executable, "-c", _DIES_STORING, str(folder)], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    [left] = (folder / "tmp").iterdir()
    return left


def test_a_mail_that_a_killed_process_left_half_written_is_swept_away_and_no_other(maildir):
    left = killed_while_storing(maildir.folder)
    tmp = maildir.folder / "tmp"
    seconds, middle, _ = left.name.split(".", 2)
    (tmp / f"{seconds}.{middle}.an-earlier-container").touch()
    others = [
        "1767225600.M042137P4711.mail",
        "1767225600.M042137P4711Q5.mail",
        "1767225600.V801I2M42137.mail",
        "1767225600.M042137P4711R0123456789ABCDEF.mail",
        f".{left.name}",
        f"x{left.name}",
        f"{seconds}.{middle}",
        f"{seconds}.M9{middle[1:]}.mail",
        "notes",
    ]
    for name in others:
        (tmp / name).touch()
    for folder in ("new", "cur"):
        (maildir.folder / folder / left.name).touch()

    maildir.sweep()
    maildir.sweep()

    assert {path.name for path in tmp.iterdir()} == set(others)
    assert all((maildir.folder / folder / left.name).exists() for folder in ("new", "cur"))


@pytest.mark.parametrize("fault", ["gone", "a file", "a folder by that name"])
def test_what_cannot_be_swept_keeps_nobody_from_starting(maildir, fault):
    tmp = maildir.folder / "tmp"
    if fault == "a folder by that name":
        left = killed_while_storing(maildir.folder)
        (tmp / f"0{left.name}").mkdir()
        maildir.sweep()
        assert not left.exists()
        return
    tmp.rmdir()
    if fault == "a file":
        tmp.touch()
    maildir.sweep()


def test_a_mail_that_is_swept_away_while_it_is_written_is_written_again(maildir, monkeypatch):
    synced = os.fsync
    swept = []

    def sweep_once(descriptor: int) -> None:
        synced(descriptor)
        if not swept:
            swept.extend((maildir.folder / "tmp").iterdir())
            maildir.sweep()

    monkeypatch.setattr("esl_voicemail.mail.maildir.os.fsync", sweep_once)
    assert isinstance(MaildirTransport(maildir).send(ENVELOPE, mail()), Delivered)
    [stored] = (maildir.folder / "new").iterdir()
    assert stored.name != swept[0].name


def test_a_service_sweeps_at_its_start(tmp_path):
    Maildir(tmp_path / "var" / "mail").create()
    left = killed_while_storing(tmp_path / "var" / "mail")
    with running(tmp_path) as service:
        assert not left.exists()
        assert service.stop() == 0
