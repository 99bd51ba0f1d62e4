"""One mail over a connection that stands: its octets and size, the server's words, commands in one piece."""

import re
from dataclasses import replace
from email.parser import BytesParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, TooLarge
from tests.transport.ways import ENVELOPE, PATIENT, SET_UP, mail, taken, through, unguarded

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
        message = mail("x" * ((1 << 18) - base - 2 + shift) + "\n.\n.\nend\n")
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


def test_a_recipient_refused_on_a_used_connection_is_asked_for_once_whatever_data_is_told(plain):
    transport = unguarded(plain)
    assert isinstance(transport.send(ENVELOPE, mail("first\n")), Delivered)
    plain.say("RCPT", "550 5.1.1 nobody", times=1)
    plain.say("NOBODY", "354 go on", times=1)
    assert transport.send(ENVELOPE, mail("second\n")) == Bounced(550, "5.1.1 nobody")
    assert isinstance(transport.send(ENVELOPE, mail("third\n")), Delivered)
    assert (taken(plain), plain.connections) == ([b"first", b"third"], 1)


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
