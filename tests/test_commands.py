"""Commands: the exact text, and nothing in it that the switch would read otherwise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.dialogue import (
    Answer,
    AskKey,
    AskNumber,
    Beep,
    HangUp,
    Pause,
    Play,
    Prepare,
    Record,
    Tell,
    Transfer,
)
from esl_voicemail.esl.commands import Codec, SwitchCommand, execute, leave_word, take_over, text_of

CALL = "d4b5454f-c349-4c8e-be84-b0f5d899a632"


def sendmsg(application: str, argument: str = "") -> str:
    said = f"sendmsg\ncall-command: execute\nevent-lock: true\nexecute-app-name: {application}\n"
    return said + (f"execute-app-arg: {argument}\n" if argument else "") + "Event-UUID: id-1"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            Prepare("id-1"),
            sendmsg(
                "multiset",
                "^^;socket_resume=;playback_terminators=#;enable_file_write_buffering=false;record_sample_rate=8000",
            ),
        ),
        (Answer("id-1"), sendmsg("answer")),
        (Pause("id-1", 400), sendmsg("sleep", "400")),
        (Play("id-1", (Path("/g/pl/default.wav"),)), sendmsg("playback", "/g/pl/default.wav")),
        (Play("id-1", (Path("/my sounds/a.wav"),)), sendmsg("playback", "/my sounds/a.wav")),
        (
            Play("id-1", (Path("/g/a.wav"), Path("/g/b.wav")), "0"),
            sendmsg("playback", "%[playback_terminators=#0]file_string:///g/a.wav!/g/b.wav"),
        ),
        (
            AskKey("id-1", Path("/g/review.wav"), "123"),
            sendmsg(
                "play_and_get_digits",
                "1 1 1 8000 # '/g/review.wav' silence_stream://10 voicemail_typed [123] 5000",
            ),
        ),
        (
            AskNumber("id-1", Path("/my sounds/leave-number.wav")),
            sendmsg(
                "play_and_get_digits",
                "5 20 1 8000 # '/my sounds/leave-number.wav' silence_stream://10 voicemail_typed [0-9]+ 5000",
            ),
        ),
        (Tell("id-1", "operator"), sendmsg("multiset", "^^;socket_resume=;voicemail_result=operator")),
        (Transfer("id-1", "1000 XML default"), sendmsg("transfer", "1000 XML default")),
        (Beep("id-1"), sendmsg("playback", "%[playback_terminators=none]tone_stream://%(500,0,1000)")),
        (Record("id-1", Path("/r/sales.1.wav"), 300, 7), sendmsg("record", "'/r/sales.1.wav' 300 200 7")),
        (HangUp(), f"api uuid_kill {CALL} NORMAL_CLEARING"),
    ],
)
def test_each_command_has_its_exact_text(command: SwitchCommand, text: str) -> None:
    assert text_of(command, CALL) == text


@pytest.mark.parametrize(
    ("name", "rate", "threshold", "hits"),
    [
        ("PCMA", 8000, 200, 7),
        ("G722", 16000, 400, 7),
        ("L16", 16000, 400, 14),
        ("opus", 48000, 1200, 42),
        ("speex", 32000, 800, 28),
        ("LPC", 2400, 200, 2),
    ],
)
def test_seconds_of_silence_are_seconds_in_whatever_codec_the_caller_speaks(
    name: str, rate: int, threshold: int, hits: int
) -> None:
    text = text_of(Record("id-1", Path("/r/sales.1.wav"), 300, 7), CALL, Codec(name, rate))
    assert text == sendmsg("record", f"'/r/sales.1.wav' 300 {threshold} {hits}")


def test_only_events_that_are_read_are_asked_for() -> None:
    connect, linger, myevents, nixed = take_over(30)
    assert connect == "connect"
    assert (linger, myevents) == ("linger 30", "myevents")
    assert not {"CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HANGUP", "DTMF"} & set(nixed.split())
    assert {"CHANNEL_EXECUTE", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_STATE"} <= set(nixed.split())


@given(st.text())
def test_no_argument_can_begin_a_second_command(argument: str) -> None:
    try:
        text = execute("id-1", "set", argument)
    except ValueError:
        assert not argument.isprintable()
    else:
        assert text.splitlines() == text.split("\n")
        assert len(text.split("\n")) == 6 - (not argument)


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a\\b", "a${b}", "a{b", "a}b", "a!b", "a\nb"])
def test_a_path_the_switch_would_misread_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"misread|break"):
        text_of(Play("id-1", (Path("/g") / name,)), CALL)


def test_a_relative_path_is_refused_for_the_switch_would_look_elsewhere() -> None:
    with pytest.raises(ValueError, match="misread"):
        text_of(Record("id-1", Path("r/sales.wav"), 1, 1), CALL)


@pytest.mark.parametrize("call_id", ["", "x y", "x\n\nexit", "../x", "u;v", "é"])
def test_a_channel_uuid_that_is_none_reaches_no_api_command(call_id: str) -> None:
    with pytest.raises(ValueError, match="channel UUID"):
        text_of(HangUp(), call_id)


def test_the_result_is_set_for_the_dialplan_to_read() -> None:
    assert leave_word("id-1", "refused") == sendmsg("multiset", "^^;socket_resume=;voicemail_result=refused")
