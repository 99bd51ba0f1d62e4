"""The text on the event socket, as FreeSWITCH writes it."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.trial import wire
from esl_voicemail.trial.caller import Mishap, TrialCaller

CALL = "632a12f3-e1e0-465c-93f6-e410df5bf5f5"


def channel(**caller) -> wire.Channel:
    return wire.Channel(
        CALL, TrialCaller(**caller), dialled="48221234567", variables={}, service="127.0.0.1:8084", began=1.0
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("sofia/lo/+48221234567@127.0.0.1", "sofia/lo/%2B48221234567%40127.0.0.1"),
        ("tone_stream://%(500,0,800)", "tone_stream%3A//%25(500,0,800)"),
        ("Mon, 23 Nov", "Mon,%2023%20Nov"),
        ("Żółta", "%C5%BB%C3%B3%C5%82ta"),
        ("a*b'c!$~-._/()", "a*b'c!$~-._/()"),
        ('"#&;<=>?[\\]^`{|}\x7f', "%22%23%26%3B%3C%3D%3E%3F%5B%5C%5D%5E%60%7B%7C%7D%7F"),
        ("", "_undef_"),
        ("Evil%0Avariable_injected: yes", "Evil%0Avariable_injected%3A%20yes"),
        ("100%", "100%25"),
        ("%0a", "%250a"),
        ("%C5%BB", "%C5%BB"),
        ("J\udcf6rg", "J%F6rg"),
    ],
)
def test_values_are_encoded_as_by_freeswitch(value, text):
    assert wire.encode(value) == text


@given(st.text(min_size=1).filter(lambda text: "%" not in text))
def test_a_value_without_percent_signs_is_decoded_to_itself(value):
    assert unquote(wire.encode(value)) == value


def test_an_event_says_its_length_before_its_type_and_counts_the_blank_line():
    frame = wire.event_frame([("Event-Name", "DTMF"), ("DTMF-Digit", "#")])
    body = b"Event-Name: DTMF\nDTMF-Digit: %23\n\n"
    assert frame == b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(body), body)


def test_the_connect_reply_has_no_length_and_ends_with_an_encoded_reply_text():
    reply = wire.connect_reply(channel().event("CHANNEL_DATA")).decode()
    assert reply.startswith("Event-Name: CHANNEL_DATA\nCore-UUID: ")
    assert reply.endswith(
        "\nContent-Type: command/reply\nReply-Text: %2BOK%0A\nSocket-Mode: async\nControl: full\n\n"
    )
    assert "Content-Length" not in reply


def test_a_reply_is_raw_and_cut_at_511_bytes():
    assert wire.command_reply("+OK ż") == "Content-Type: command/reply\nReply-Text: +OK ż\n\n".encode()
    assert len(wire.command_reply("x" * 600)) == len(wire.command_reply("")) + 511


def test_an_api_reply_counts_its_body():
    assert wire.api_reply("+OK\n") == b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"


def test_the_notices_are_not_encoded_and_only_the_final_one_has_a_body():
    assert wire.linger_notice("id", "sofia/lo/+48@127.0.0.1", 10) == (
        b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: id\nContent-Disposition: linger\n"
        b"Channel-Name: sofia/lo/+48@127.0.0.1\nLinger-Time: 10\nContent-Length: 0\n\n"
    )
    assert wire.final_notice("id") == (
        b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: id\n"
        b"Content-Disposition: disconnect\nContent-Length: 67\n\nDisconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
    )


@pytest.mark.parametrize(
    ("data", "line", "headers", "body", "rest"),
    [
        (b"connect\n\n", "connect", {}, "", b""),
        (b"\n\nlinger 10\n\nexit\n\n", "linger 10", {}, "", b"exit\n\n"),
        (b"sendmsg\r\nCall-Command: execute\r\n\r\n", "sendmsg", {"call-command": "execute"}, "", b""),
        (b"sendmsg\ncontent-length: 3\n\na\n:x", "sendmsg", {"content-length": "3"}, "a\n:", b"x"),
    ],
)
def test_a_command_is_a_block_of_lines_and_a_body_of_the_length_it_names(data, line, headers, body, rest):
    command, left = wire.take_command(data)
    assert command is not None
    assert (command.line, command.headers, command.body, left) == (line, headers, body, rest)


@pytest.mark.parametrize("data", [b"", b"connect\n", b"sendmsg\ncontent-length: 3\n\nab"])
def test_half_a_command_is_waited_for(data):
    assert wire.take_command(data) == (None, data)


@pytest.mark.parametrize("length", ["-5", "many", "16777217"])
def test_a_bad_length_of_a_command_is_refused(length):
    with pytest.raises(ValueError, match=r"body|invalid literal"):
        wire.take_command(b"sendmsg\nContent-Length: %s\n\n" % length.encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/a/b.wav 60 200 5", ["/a/b.wav", "60", "200", "5"]),
        ("'/a b/c.wav' 60", ["/a b/c.wav", "60"]),
        (r"/a\ b.wav 60", ["/a b.wav", "60"]),
        ("", []),
    ],
)
def test_arguments_are_split_at_spaces_outside_of_single_quotes(text, words):
    assert wire.split_arguments(text) == words


@pytest.mark.parametrize(
    ("tones", "seconds"),
    [("%(500,0,1000)", 0.5), ("%(200, 100, 640);%(300,0,1,2)", 0.6), ("v=-7;%(8000,0,300)", 8)],
)
def test_a_tone_lasts_as_long_as_it_says(tones, seconds):
    assert wire.tone_seconds(tones) == seconds


def test_variables_in_arguments_are_expanded_unless_escaped():
    assert wire.expand(r"${a}/${none}/\${a}", {"a": "x"}) == r"x//${a}"


def test_a_variable_moves_to_the_end_when_it_is_set_and_is_absent_when_it_is_empty():
    line = channel()
    line.set("direction", "again")
    assert list(line.variables)[-1] == "direction"
    line.set("direction", "")
    assert "direction" not in line.variables


def test_a_withheld_number_is_told_with_flags_that_say_so():
    headers = dict(channel(withheld=True, name="Zenobia").event("CHANNEL_PARK"))
    assert headers["Caller-Caller-ID-Name"] == "Anonymous"
    assert headers["Caller-Caller-ID-Number"] == "+48601234567"
    assert headers["Caller-Privacy-Hide-Number"] == headers["Caller-Privacy-Hide-Name"] == "true"
    assert "Zenobia" not in str(headers)


def test_sizes_are_those_of_real_calls():
    line = channel()
    assert 6000 < len(wire.connect_reply(line.event("CHANNEL_DATA"))) < 7500
    assert 5500 < len(wire.event_frame(line.event("CHANNEL_PARK"))) < 7500
    assert 1900 < len(wire.event_frame(line.event("DTMF"))) < 2400


@pytest.mark.parametrize(
    "mishap",
    [Mishap.GARBAGE, Mishap.NO_CONTENT_TYPE, Mishap.BAD_LENGTH, Mishap.SURPLUS_REPLY, Mishap.FOREIGN_EVENT],
)
def test_what_disturbs_a_call_never_speaks_of_that_call_as_hung_up(mishap):
    bytes_sent = wire.disturbance(mishap, channel())
    assert bytes_sent
    if mishap is Mishap.FOREIGN_EVENT:
        assert b"CHANNEL_HANGUP\n" in bytes_sent
        assert CALL.encode() not in bytes_sent
