"""One call's event socket against a peer over a real socket: every wait ends, every end is told apart."""

import gc
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent import socket

from esl_voicemail.dialogue import (
    ApplicationDone,
    Beep,
    CallerHungUp,
    ControlLost,
    DeadlineExpired,
    DigitPressed,
    HangUp,
    Pause,
    Record,
)
from esl_voicemail.errors import CallerGoneError, ControlLostError
from esl_voicemail.esl.channel import Channel
from esl_voicemail.esl.frames import Room
from esl_voicemail.model import EndedBy
from tests.support.peer import TAKE_OVER
from tests.support.service import until

REPLY = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
CONNECTED = (
    b"Event-Name: CHANNEL_DATA\nUnique-ID: u-1\nContent-Type: command/reply\nReply-Text: %2BOK%0A\n"
    b"Socket-Mode: async\nControl: full\n\n"
)
LINGER = b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n"
GOODBYE = (
    b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: u-1\n"
    b"Content-Disposition: disconnect\nContent-Length: 3\n\nbye"
)


def event(name: str, **headers: str) -> bytes:
    """Return an event of our call."""
    fields = {"Event-Name": name, "Unique-ID": "u-1"}
    fields |= {key.replace("__", "-"): value for key, value in headers.items()}
    body = "".join(f"{key}: {value}\n" for key, value in fields.items()).encode() + b"\n"
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body)


def completed(application_id: str = "a-1", **headers: str) -> bytes:
    """Return the completion of an application; its own headers follow the channel's, as the switch has it."""
    own = {name: value for name, value in headers.items() if name.startswith("Application")}
    of_channel = {name: value for name, value in headers.items() if name not in own}
    return event("CHANNEL_EXECUTE_COMPLETE", **of_channel, **own, Application__UUID=application_id)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A connected channel, and the switch's end of its socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    channel = Channel(("127.0.0.1", 1), ours)
    theirs.sendall(CONNECTED + 3 * REPLY)
    channel.connect()
    assert theirs.recv(10000) == TAKE_OVER
    yield channel, theirs
    channel.close()
    theirs.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_no_greenlet_is_left_over_by_greenswitch(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    greenlets = sum(isinstance(one, gevent.Greenlet) for one in gc.get_objects())
    another = Channel(("127.0.0.1", 1), socket.fromfd(switch.fileno(), socket.AF_INET, socket.SOCK_STREAM))
    assert sum(isinstance(one, gevent.Greenlet) for one in gc.get_objects()) == greenlets
    another.close()
    assert channel.connected


def test_a_completion_is_known_by_its_own_uuid(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    switch.sendall(
        completed("theirs", Application="socket") + completed("ours", Application__Response="FILE%20PLAYED")
    )
    assert channel.receive(soon()) == ApplicationDone("theirs")
    assert channel.receive(soon()) == ApplicationDone("ours", "FILE PLAYED")


def test_a_channel_variable_named_like_an_applications_header_is_none(
    pair: tuple[Channel, socket.socket],
) -> None:
    channel, switch = pair
    planted = {
        "Application": "record",
        "Application-UUID": "theirs",
        "Application-Response": "FILE NOT FOUND",
    }
    body = "".join(f"{name}: {value}\n" for name, value in planted.items())
    own = "Application: playback\nApplication-Response: FILE%20PLAYED\nApplication-UUID: a-1\n\n"
    said = f"Event-Name: CHANNEL_EXECUTE_COMPLETE\nUnique-ID: u-1\n{body}{own}".encode()
    switch.sendall(b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(said), said))
    assert channel.receive(soon()) == ApplicationDone("a-1", "FILE PLAYED")


def test_what_is_to_be_said_goes_out_in_one_at_the_next_look(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    channel.perform(Pause("a-1", 400))
    channel.perform(Beep("a-2"))
    assert select.select([switch], [], [], 0) == ([], [], [])
    assert channel.receive(0.0) == DeadlineExpired()
    assert switch.recv(1000).count(b"Event-UUID: ") == 2


def test_events_of_another_call_are_not_ours(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    other = event("CHANNEL_HANGUP").replace(b"u-1", b"u-2")
    switch.sendall(other + completed())
    assert channel.receive(soon()) == ApplicationDone("a-1")
    assert channel.foreign_events == 1


@pytest.mark.parametrize(
    "said",
    [event("CHANNEL_HANGUP") + LINGER, LINGER + event("CHANNEL_HANGUP")],
    ids=["event first", "notice first"],
)
def test_a_hang_up_is_told_once_and_what_follows_it_still_arrives(
    pair: tuple[Channel, socket.socket], said: bytes
) -> None:
    channel, switch = pair
    switch.sendall(said + completed())
    assert channel.receive(soon()) == CallerHungUp()
    assert channel.receive(soon()) == ApplicationDone("a-1")


@pytest.mark.parametrize(
    ("cause", "by_fault"), [("NORMAL_CLEARING", False), ("SYSTEM_SHUTDOWN", True), ("MEDIA_TIMEOUT", True)]
)
def test_a_caller_who_was_cut_off_did_not_hang_up(
    pair: tuple[Channel, socket.socket], cause: str, by_fault: bool
) -> None:
    channel, switch = pair
    switch.sendall(event("CHANNEL_HANGUP", Hangup__Cause=cause))
    assert channel.receive(soon()) == CallerHungUp(by_fault=by_fault)


@pytest.mark.parametrize(
    "end",
    [
        lambda peer: peer.close(),
        lambda peer: peer.sendall(GOODBYE),
        lambda peer: (peer.sendall(event("DTMF")[:-20]), peer.close()),
        lambda peer: peer.sendall(b"Content-Type: text/event-plain\nContent-Length: -1\n\n"),
        lambda peer: peer.sendall(b"x" * 2_200_000),
    ],
    ids=["end of stream", "goodbye", "end within an event", "bad length", "endless head"],
)
def test_control_is_lost_however_the_stream_ends_and_stays_lost(
    pair: tuple[Channel, socket.socket], end: Callable[[socket.socket], object]
) -> None:
    channel, switch = pair
    end(switch)
    assert channel.receive(soon()) == ControlLost()
    assert channel.receive(soon()) == ControlLost()


def test_what_came_before_a_fault_still_counts(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    switch.sendall(completed() + b"Content-Length: never\n\n")
    assert channel.receive(soon()) == ApplicationDone("a-1")
    assert channel.receive(soon()) == ControlLost()
    assert channel.frames_refused == 1


def test_a_silent_switch_meets_the_deadline(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    assert channel.receive(time.monotonic() + 0.05) == DeadlineExpired()
    assert channel.receive(time.monotonic() - 1) == DeadlineExpired()


def test_what_has_arrived_is_read_even_when_the_time_is_over(pair: tuple[Channel, socket.socket]) -> None:
    """A process that was held up must not blame the switch for it."""
    channel, switch = pair
    switch.sendall(completed())
    while not select.select([channel.sock.fileno()], [], [], 0)[0]:
        gevent.sleep(0)
    assert channel.receive(time.monotonic() - 20) == ApplicationDone("a-1")


def heard(channel: Channel) -> Iterator[object]:
    while True:
        yield channel.receive(soon(60))


def test_a_peer_that_floods_is_cut_off_and_holds_nobody_up(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            gevent.sleep(0)

    def flood() -> None:
        while True:
            switch.sendall(event("DTMF") * 50)

    others = [gevent.spawn(tick), gevent.spawn(flood)]
    with gevent.Timeout(20):
        assert next(one for one in heard(channel) if one != DigitPressed()) == ControlLost()
    assert ticks > 10
    gevent.killall(others)


def test_a_switch_that_sends_in_drips_meets_the_deadline_too(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair

    def drip() -> None:
        for byte in b"Content-Length: 5000\n" * 20:
            switch.sendall(bytes([byte]))
            gevent.sleep(0.01)

    dripping = gevent.spawn(drip)
    with gevent.Timeout(2):
        assert channel.receive(time.monotonic() + 0.2) == DeadlineExpired()
    dripping.kill()


def test_nothing_is_written_to_a_socket_that_is_closed(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    switch.close()
    assert channel.receive(soon()) == ControlLost()
    channel.perform(Beep("a-1"))
    assert channel.receive(soon()) == ControlLost()
    with pytest.raises(ControlLostError):
        channel.send("exit")


def test_a_refused_command_is_remembered_with_the_switchs_words(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    channel.perform(Beep("a-1"))
    channel.perform(HangUp())
    no_channel = b"-ERR No such channel!\n"
    switch.sendall(
        b"Content-Type: command/reply\nReply-Text: -ERR memory error\n\n"
        + b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(no_channel), no_channel)
        + completed()
    )
    assert channel.receive(soon()) == DeadlineExpired()
    assert channel.receive(soon()) == ApplicationDone("a-1")
    assert channel.commands_refused == ["sendmsg: -ERR memory error"]


def test_a_reply_nobody_asked_for_shifts_no_other(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    switch.sendall(REPLY + REPLY + completed())
    assert channel.receive(soon()) == ApplicationDone("a-1")
    assert channel.frames_refused == 2


def test_a_reply_is_matched_to_a_command_of_its_kind(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    channel.perform(Beep("a-1"))
    no_channel = b"-ERR No such channel!\n"
    killed = b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(no_channel), no_channel)
    switch.sendall(killed + completed())
    assert channel.receive(soon()) == ApplicationDone("a-1")
    assert channel.commands_refused == []
    assert channel.frames_refused == 1


def test_a_call_is_handed_back_only_when_its_result_is_set(pair: tuple[Channel, socket.socket]) -> None:
    channel, switch = pair
    handing = gevent.spawn(channel.hand_back, "refused", "a-9")
    heard = b""
    while b"Event-UUID: a-9\n\n" not in heard:
        heard += switch.recv(1000)
    assert b"execute-app-arg: ^^;socket_resume=;voicemail_result=refused\n" in heard
    assert b"exit" not in heard
    switch.sendall(REPLY + completed("a-9"))
    assert switch.recv(1000) == b"exit\n\n"
    handing.get(timeout=5)
    assert switch.recv(1000) == b""


def test_a_call_that_cannot_be_handed_back_any_more_leaves_nothing_open() -> None:
    room = Room(1000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        switch, _ = server.accept()
    channel = Channel(("127.0.0.1", 1), ours, room)
    switch.sendall(b"half a frame")
    assert channel.receive(soon(0.2)) == DeadlineExpired()
    assert room.held == len(b"half a frame")
    switch.close()
    assert channel.receive(soon()) == ControlLost()
    channel.hand_back("failed", "a-9")
    assert ours.fileno() == -1
    assert room.held == 0


@pytest.mark.parametrize(
    ("headers", "ended_by"),
    [
        ({"variable_playback_terminator_used": "%23"}, EndedBy.KEY),
        ({"variable_silence_hits_exhausted": "true"}, EndedBy.SILENCE),
        ({"variable_silence_hits_exhausted": "false", "variable_record_ms": "60000"}, EndedBy.LIMIT),
        ({"Answer-State": "hangup", "variable_record_ms": "3000"}, EndedBy.HANG_UP),
        ({"Answer-State": "hangup", "Hangup-Cause": "NORMAL_CLEARING"}, EndedBy.HANG_UP),
        ({"Answer-State": "hangup", "Hangup-Cause": "SYSTEM_SHUTDOWN"}, EndedBy.CUT),
        ({"Answer-State": "hangup", "Hangup-Cause": "MEDIA_TIMEOUT"}, EndedBy.CUT),
        ({"Answer-State": "answered", "variable_record_ms": "3000"}, EndedBy.CUT),
    ],
)
def test_what_ended_a_recording_is_told_from_the_switchs_flags(
    pair: tuple[Channel, socket.socket], headers: dict[str, str], ended_by: EndedBy
) -> None:
    channel, switch = pair
    channel.perform(Record("a-1", Path("/r/a.wav"), 60, 5))
    said = {name.replace("-", "__"): value for name, value in headers.items()}
    switch.sendall(REPLY + completed(Application="record", **said))
    happened = channel.receive(soon())
    assert isinstance(happened, ApplicationDone)
    assert happened.ended_by is ended_by


def test_what_a_recording_left_in_the_channel_says_nothing_of_what_came_after_it(
    pair: tuple[Channel, socket.socket],
) -> None:
    channel, switch = pair
    left = {"variable_record_ms": "3000", "variable_silence_hits_exhausted": "true"}
    switch.sendall(completed(Application="sleep", **left))
    assert channel.receive(soon()) == ApplicationDone("a-1")


def test_the_silence_of_a_recording_is_counted_in_the_codec_that_was_answered_with(
    pair: tuple[Channel, socket.socket],
) -> None:
    channel, switch = pair
    codec = {"Channel__Read__Codec__Name": "opus", "Channel__Read__Codec__Rate": "48000"}
    switch.sendall(completed("a-1", **codec))
    assert isinstance(channel.receive(soon()), ApplicationDone)
    channel.perform(Record("a-2", Path("/r/a.wav"), 60, 5))
    assert channel.receive(0.0) == DeadlineExpired()
    assert b"'/r/a.wav' 60 1200 30\n" in switch.recv(1000)


def test_the_limit_is_kept_by_the_clock_though_gaps_left_the_file_short(
    pair: tuple[Channel, socket.socket],
) -> None:
    """FreeSWITCH writes nothing for gaps in RTP: a limit of 1 s may leave 0.4 s of audio."""
    channel, switch = pair
    channel.perform(Record("a-1", Path("/r/a.wav"), 1, 5))
    over = soon(1.0)
    until(lambda: time.monotonic() >= over, "the limit")
    switch.sendall(REPLY + completed(Application="record", variable_record_ms="400"))
    happened = channel.receive(soon())
    assert isinstance(happened, ApplicationDone)
    assert happened.ended_by is EndedBy.LIMIT


def test_a_caller_who_is_gone_before_connect_is_told_from_a_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    channel = Channel(("127.0.0.1", 1), ours)
    theirs.sendall(GOODBYE)
    with pytest.raises(CallerGoneError):
        channel.connect()
    assert channel.call_id == "u-1"
    channel.close()
    theirs.close()
