"""What is left of a call when the switch is shut down, started again, killed or frozen under it."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.live import speech
from tests.live.office import CUT_OFF, NAME, RECOVERED_SECONDS, Office
from tests.live.switch import Switch
from tests.support.service import until

# Sample by sample: another caller's words come to 0.04.
SAME = 0.9
NEAR = 0.3

Ending = Callable[[Switch], object]
SHUTDOWNS: dict[str, Ending] = {
    "fsctl shutdown": lambda switch: switch.api("fsctl shutdown"),
    "SIGTERM": lambda switch: switch.process.send_signal(signal.SIGTERM),
}
DEATHS: dict[str, Callable[[Switch], float]] = {
    "SIGKILL": lambda switch: switch.kill(),
    "fsctl shutdown now": lambda switch: switch.exit(),
}


@pytest.mark.parametrize("shutdown", SHUTDOWNS.values(), ids=SHUTDOWNS)
def test_a_shutdown_in_the_middle_of_a_message_loses_nothing_that_was_said_until_then(
    office: Office, doomed: Switch, shutdown: Ending
) -> None:
    said = speech.words(20.0, seed=31)
    call = office.call()
    call.recording()
    began = office.speak(call, said, 5.0)
    shutdown(doomed)
    ended = call.caller.ended()
    assert doomed.process.wait(20) == 0
    line = office.told(call.channel.uuid)
    message = office.message()
    missing = office.missing(call.channel.uuid, said, ended.at - began, message)
    print(
        f"the caller was told {ended.get('Hangup-Cause')}; wave={speech.same_wave(said, message.audio):.4f}"
    )
    assert (line["result"], line["ended_by"]) == ("recorded", "cut")  # at once, not by recovery
    assert abs(missing) < NEAR
    assert speech.same_wave(said, message.audio) > SAME
    assert message.fields["Note"] == CUT_OFF


@pytest.mark.parametrize("sound", ["greeting.wav", "tone_stream:"], ids=["greeting", "beep"])
def test_who_is_cut_off_before_the_recording_by_a_shutdown_is_told_of(
    office: Office, doomed: Switch, sound: str
) -> None:
    call = office.call()
    call.playing(sound)
    doomed.api("fsctl shutdown")
    call.caller.ended()
    notice = office.notice()
    office.no_audio(call.channel.uuid, notice)
    assert office.told(call.channel.uuid)["result"] == "control_lost"
    assert notice.fields["No recording"] == "contact with the telephone switch was lost"


@pytest.mark.timeout(240)
def test_a_restart_of_the_switch_cuts_calls_off_and_the_service_takes_the_next_as_before(
    office: Office, doomed: Switch
) -> None:
    first = office.call("quiet")
    first.recording()
    first.caller.speak(office.sound(speech.words(2.0, seed=32), "first"))
    first.caller.hang_up()
    office.messages(1)
    descriptors = office.service.descriptors

    said = speech.words(20.0, seed=33)
    cut = office.call()
    cut.recording()
    greeted = office.call("other")
    greeted.playing("greeting.wav")
    began = office.speak(cut, said, 1.0)
    process = doomed.process.pid
    ordered = time.time()
    doomed.restart()
    back = time.time() - ordered
    spoken = cut.caller.ended().at - began
    greeted.caller.ended()

    after = office.call()
    after.recording()
    words = speech.words(3.0, seed=34)
    after.caller.speak(office.sound(words, "after"))
    after.caller.hang_up()
    messages = office.messages(4)
    of_cut, of_greeted, of_after = (
        next(message for message in messages if call.channel.uuid in message.text)
        for call in (cut, greeted, after)
    )
    print(f"the switch took calls again after {back:.1f} s")
    missing = office.missing(cut.channel.uuid, said, spoken, of_cut)
    office.no_audio(greeted.channel.uuid, of_greeted)
    assert abs(office.missing(after.channel.uuid, words, 3.0, of_after)) < NEAR
    assert doomed.process.pid == process
    assert abs(missing) < NEAR
    assert speech.same_wave(said, of_cut.audio) > SAME
    assert of_cut.fields["Note"] == CUT_OFF
    assert not of_greeted.audio
    assert speech.same_wave(words, of_after.audio) > SAME
    assert "Note" not in of_after.fields
    print(f"descriptors of the service: {descriptors} before, {office.service.descriptors} after")
    until(lambda: office.service.descriptors <= descriptors, "no descriptor more than before", 10)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_what_reached_the_disk_before_the_switch_died_is_mailed_as_cut_off(
    office: Office, doomed: Switch, death: Callable[[Switch], float]
) -> None:
    said = speech.words(20.0, seed=22)
    call = office.call()
    call.recording()
    began = office.speak(call, said, 5.0)
    spoken = death(doomed) - began
    wrong_header = next(office.recordings.glob("*.wav")).read_bytes()[:44]
    line = office.told(call.channel.uuid)
    assert line["result"] == "salvaged"
    until(lambda: office.in_progress() == 0, "the service has no stuck call")
    call.caller.hang_up()
    message = office.message(RECOVERED_SECONDS)
    ended = office.service.metric('voicemail_recording_ended_total{reason="cut"}')
    missing = office.missing(call.channel.uuid, said, spoken, message)
    assert wrong_header[40:] == bytes(4)  # the switch had not come to writing the size
    assert ended == 1
    assert -0.1 < missing < NEAR
    assert speech.same_wave(said, message.audio) > SAME
    assert message.fields["Note"] == CUT_OFF


@pytest.mark.parametrize("sound", ["greeting.wav", "tone_stream:"], ids=["greeting", "beep"])
def test_a_switch_killed_before_the_recording_leaves_a_notice_of_who_called(
    office: Office, doomed: Switch, sound: str
) -> None:
    call = office.call()
    call.playing(sound)
    doomed.kill()
    line = office.told(call.channel.uuid)
    notice = office.notice()
    office.no_audio(call.channel.uuid, notice)
    assert line["result"] == "control_lost"
    assert notice.fields["No recording"] == "contact with the telephone switch was lost"
    assert (notice.who, notice.fields["Number"]) == (NAME, "601 234 567, +48 601 234 567")
    assert (notice.fields["Mailbox"], notice.fields["Reason"]) == ("Sales", "nobody answered")
    assert "The caller may have spoken, but it was not recorded. Please call back." in notice.text


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_switch_killed_before_the_first_sample_was_on_disk_leaves_a_notice(
    office: Office, doomed: Switch
) -> None:
    with office.sip_call() as caller:  # who sends nothing yet
        channel = doomed.channel_of(caller.mark)
        channel.event("RECORD_START")
        doomed.kill()
    sizes = [path.stat().st_size for path in office.recordings.glob("*.wav")]
    notice = office.notice(RECOVERED_SECONDS)
    office.no_audio(channel.uuid, notice)
    assert sizes in ([], [44])
    assert office.told(channel.uuid)["result"] == "salvaged"
    assert notice.fields["No recording"] == "contact with the telephone switch was lost"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("then", ["thawed", "killed"])
def test_a_frozen_switch_is_let_go_of_by_a_deadline_and_what_reached_the_disk_is_mailed_once(
    office: Office, doomed: Switch, then: str
) -> None:
    said = speech.words(20.0, seed=35)
    call = office.call("short")  # 3 s at most
    call.recording()
    began = office.speak(call, said, 1.5)
    frozen = doomed.freeze()
    line = office.told(call.channel.uuid, 60)
    let_go = time.time() - frozen
    until(lambda: office.in_progress() == 0, "the service has no stuck call")
    if then == "thawed":
        doomed.thaw()
        call.channel.ended()
    else:
        doomed.kill()
    message = office.message(RECOVERED_SECONDS)
    print(f"let go {let_go:.1f} s after it froze, then {then}")
    missing = office.missing(call.channel.uuid, said, frozen - began, message)
    on_disk = (next(office.recordings.glob("*.wav")).stat().st_size - 44) / 2 / speech.RATE
    print(f"on the disk at last: {on_disk:.2f} s")
    assert line["result"] == "salvaged"
    assert let_go < 3 + 1 + 10 + 25 + 5
    assert -0.1 < missing < NEAR
    assert on_disk - message.seconds < 0.1
    assert speech.same_wave(said, message.audio) > SAME
    assert message.fields["Note"] == CUT_OFF
