"""Messages left by real calls, and what the mail says of them."""

import threading
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.live import speech
from tests.live.console import Event
from tests.live.office import NAME, Conversation, Message, Office, moment

NEAR = 0.3
# Loudness over time: a switch that drops some packets leaves 0.85; another caller's words come to 0.75.
ALIKE = 0.8
# Sample by sample: another caller's words come to 0.04.
SAME = 0.9


def recorded_seconds(call: Conversation) -> float:
    """How long the switch recorded, by its own clock."""
    return call.channel.event("RECORD_STOP").at - call.channel.event("RECORD_START").at


def check(
    office: Office, call: Conversation, ended_by: str, said: "array[int]", mailbox: str = "Sales"
) -> Message:
    """The one mail is about this call, and holds what was said."""
    message = office.message()
    line = office.told(call.channel.uuid)
    assert (line["result"], line["ended_by"], line["mailbox"]) == ("recorded", ended_by, mailbox.lower())
    assert (message.who, message.fields["Number"]) == (NAME, "601 234 567, +48 601 234 567")
    assert message.fields["Mailbox"] == mailbox
    assert message.fields["Reason"] == "nobody answered"
    assert message.fields["Dialled number"] == f"vm_{mailbox.lower()}"
    assert NAME in message.mail["Subject"]
    assert message.mail["To"] == f"{mailbox.lower()}@example.com"
    began = datetime.fromtimestamp(call.channel.event("CHANNEL_CREATE").at, UTC)
    assert timedelta(minutes=-1) < moment(message) - began <= timedelta(seconds=3)
    assert abs(datetime.now(UTC) - message.mail["Date"].datetime) < timedelta(seconds=10)
    told = int(line["recording_ms"]) / 1000
    assert abs(told - message.seconds) < NEAR
    assert message.fields["Duration"].startswith(f"{round(message.seconds)} s")
    likeness, same_wave = speech.likeness(said, message.audio), speech.same_wave(said, message.audio)
    print(
        f"ended_by={ended_by} recording_ms={line['recording_ms']} wav={message.seconds:.3f} "
        f"said={speech.seconds_of(said):.3f} switch={recorded_seconds(call):.3f} "
        f"likeness={likeness:.4f} wave={same_wave:.4f}"
    )
    assert likeness > ALIKE
    assert same_wave > SAME
    return message


def test_a_message_ended_by_the_hash_key_arrives_once_with_who_when_why_and_every_word(
    office: Office,
) -> None:
    said = speech.words(4.0, seed=2)
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(said))
    call.caller.press("#")
    message = check(office, call, "key", said)
    assert abs(message.seconds - 4.0) < NEAR
    assert call.caller.ended().get("variable_sip_hangup_disposition") == "recv_bye"


def test_a_message_ended_by_hanging_up_arrives_once_with_every_word(office: Office) -> None:
    said = speech.words(5.0, seed=3)
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(said))
    call.caller.hang_up()
    message = check(office, call, "hang-up", said)
    assert abs(message.seconds - 5.0) < NEAR


def test_from_the_beep_on_not_one_sample_is_missing_doubled_or_moved(office: Office) -> None:
    said = speech.words(9.0, seed=9)
    with office.sip_call() as caller:
        caller.answered()
        channel = office.exchange.channel_of(caller.mark)
        late = caller.talk(speech.alaw(said))
        caller.hang_up()
    message = office.message()
    spoken = channel.event("RECORD_STOP").at - channel.event("RECORD_START").at
    worst = speech.unbroken(said, message.audio)
    print(
        f"switch={spoken:.3f} wav={message.seconds:.3f} worst quarter of a second {worst:.4f}, "
        f"the caller's latest packet {late * 1000:.0f} ms late"
    )
    assert abs(message.seconds - spoken) < NEAR
    if late > 0.02:
        pytest.skip(f"the caller himself was {late * 1000:.0f} ms late: the machine is too busy to say more")
    assert worst > SAME


def test_a_message_ended_by_silence_arrives_once_with_the_silence_that_ended_it(office: Office) -> None:
    said = speech.words(3.0, seed=4)
    call = office.call("quiet")
    call.recording()
    call.caller.speak(office.sound(said))
    message = check(office, call, "silence", said, "Quiet")
    assert abs(message.seconds - (3.0 + 2.0)) < NEAR


@pytest.mark.parametrize("codec", ["PCMU", "L16@16000h", "OPUS"])
def test_a_pause_ends_a_message_after_as_many_seconds_whatever_the_codec(office: Office, codec: str) -> None:
    before, after = speech.words(1.5, seed=14), speech.words(1.5, seed=15)
    call = office.call("quiet", absolute_codec_string=codec)
    began = call.recording()
    answering = call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "record")
    used = answering.get("Channel-Read-Codec-Name")
    if used.upper() != codec.partition("@")[0]:
        pytest.skip(f"the switch cannot speak {codec}: {used}")
    call.caller.speak(office.sound(before + speech.silence(1.4) + after))
    message = office.message()
    line = office.told(call.channel.uuid)
    ended = call.channel.event("RECORD_STOP").at
    print(f"{used}: wav={message.seconds:.3f} switch={ended - began:.3f} {line['ended_by']}")
    assert line["ended_by"] == "silence"
    assert abs(message.seconds - (1.5 + 1.4 + 1.5 + 2.0)) < NEAR


def test_a_message_longer_than_the_limit_is_cut_there_and_the_mail_says_so(office: Office) -> None:
    said = speech.words(8.0, seed=5)
    call = office.call("short")
    call.recording()
    call.caller.start_speaking(office.sound(said))
    message = check(office, call, "limit", said, "Short")
    assert abs(message.seconds - recorded_seconds(call)) < NEAR
    assert 3.0 - NEAR <= message.seconds <= 4.0 + NEAR  # the switch counts whole seconds
    assert message.fields["Note"] == "the recording was cut at the time limit"


def test_a_message_with_gaps_that_reaches_the_limit_is_not_called_a_fault(
    office: Office,
) -> None:
    # The switch writes no gap, so its `record_ms` stays below the limit that the clock has reached.
    with office.sip_call("short") as caller:
        caller.answered()
        channel = office.exchange.channel_of(caller.mark)
        talking = threading.Thread(target=caller.talk, args=(speech.alaw(speech.words(5.5, seed=8)),))
        talking.start()
        started = channel.event("RECORD_START")
        talking.join()
        stopped = channel.event("RECORD_STOP")
        caller.wait_for_bye()
    line = office.told(channel.uuid)
    message = office.message()
    print(f"switch={stopped.at - started.at:.3f} wav={message.seconds:.3f} {line}")
    assert message.seconds < stopped.at - started.at - 1
    assert line["ended_by"] == "limit"
    assert message.fields["Note"] == "the recording was cut at the time limit"


def test_the_hash_key_in_the_greeting_skips_to_the_beep(office: Office) -> None:
    call = office.call()
    greeting = str(office.folder / "greeting.wav")

    def is_greeting(event: Event) -> bool:
        return event.get("Playback-File-Path") == greeting

    started = call.channel.event("PLAYBACK_START", is_greeting)
    call.caller.press("#")
    stopped = call.channel.event("PLAYBACK_STOP", is_greeting)
    beep = call.channel.event(
        "PLAYBACK_START", lambda event: "tone_stream" in event.get("Playback-File-Path")
    )
    print(f"greeting heard {stopped.at - started.at:.3f} s, beep after {beep.at - stopped.at:.3f} s")
    assert stopped.at - started.at < 1.5
    assert stopped.get("Playback-Status") == "break"
    assert beep.at - stopped.at < 0.5
    said = speech.words(2.0, seed=6)
    call.recording()
    call.caller.speak(office.sound(said))
    call.caller.hang_up()
    assert abs(check(office, call, "hang-up", said).seconds - 2.0) < NEAR


def test_the_hash_key_pressed_again_and_again_in_the_greeting_does_not_end_the_message(
    office: Office,
) -> None:
    call = office.call()
    greeting = str(office.folder / "greeting.wav")
    call.channel.event("PLAYBACK_START", lambda event: event.get("Playback-File-Path") == greeting)
    call.caller.press("#")
    call.caller.press("#")
    call.caller.press("#")
    call.recording()
    said = speech.words(2.0, seed=7)
    call.caller.speak(office.sound(said))
    call.caller.hang_up()
    assert abs(check(office, call, "hang-up", said).seconds - 2.0) < NEAR


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_message_of_a_minute_arrives_whole(office: Office) -> None:
    said = speech.words(60.0, seed=7)
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(said), seconds=90)
    call.caller.press("#")
    message = office.message()
    line = office.told(call.channel.uuid)
    assert line["ended_by"] == "key"
    assert abs(message.seconds - 60.0) < NEAR
    assert abs(int(line["recording_ms"]) / 1000 - message.seconds) < NEAR
    assert message.fields["Duration"].startswith("1 min 0 s")
    print(f"wav={message.seconds:.3f} size={len(message.audio) * 2}")
    for start in range(0, 60, 15):  # whole, and in order: each quarter is where it was said
        part = said[start * speech.RATE : (start + 15) * speech.RATE]
        heard = message.audio[start * speech.RATE : (start + 15) * speech.RATE + speech.RATE // 2]
        assert speech.likeness(part, heard) > ALIKE


def test_twenty_calls_at_once_are_each_delivered_once_with_their_own_words(office: Office) -> None:
    spoken = {f"Caller-{n:02}": speech.words(3.0, seed=100 + n) for n in range(20)}
    began = time.monotonic()

    def leave(name: str) -> Conversation:
        call = office.call(number=f"+4860100{name[-2:]}00", name=name)
        call.recording()
        call.caller.speak(office.sound(spoken[name], name))
        call.caller.press("#")
        call.channel.ended()
        return call

    with ThreadPoolExecutor(20) as pool:
        calls = list(pool.map(leave, spoken))
    took = time.monotonic() - began
    messages = office.messages(20)
    of_caller = {message.who: message for message in messages}
    assert sorted(of_caller) == sorted(spoken)
    alike = [
        (speech.likeness(said, of_caller[name].audio), speech.same_wave(said, of_caller[name].audio))
        for name, said in spoken.items()
    ]
    least, worst = (min(values) for values in zip(*alike, strict=True))
    print(f"20 calls in {took:.1f} s; least likeness {least:.4f}, wave {worst:.4f}")
    assert least > ALIKE
    assert worst > SAME
    assert all(abs(message.seconds - 3.0) < NEAR for message in messages), [m.seconds for m in messages]
    assert office.counted("recorded") == len(calls)
