"""What is left of a call when the service, the switch or the disk fails under it."""

import signal
import time
from pathlib import Path

import pytest

from tests.live import office as offices
from tests.live import speech
from tests.live import switch as switches
from tests.live.office import Office
from tests.live.switch import Event, Leg
from tests.support.service import until

# Recovery waits until nobody writes any more, 15 s and the longest silence that ends a message, and looks
# every 20 s.
RECOVERED = 75.0


def fallback(channel: Leg, seconds: float = 30.0) -> str:
    """Wait until the dialplan's next action runs, and return what it says."""

    def is_fallback(event: Event) -> bool:
        return event.get("Application") == "log"

    said = channel.event("CHANNEL_EXECUTE", is_fallback, seconds).get("Application-Data")
    assert said.startswith(f"NOTICE fallback of {channel.uuid} after result [")
    return said.rpartition("[")[2].rstrip("]")


def test_while_the_service_is_down_the_dialplan_goes_on_with_the_call(office: Office) -> None:
    office.service.stop(signal.SIGKILL)
    call = office.call()
    assert fallback(call.channel) == ""
    call.channel.ended()
    assert call.caller.ended().get("variable_sip_hangup_disposition") == "recv_bye"


def test_a_caller_gone_before_a_busy_service_says_connect_is_counted_and_not_stuck(office: Office) -> None:
    office.service.process.send_signal(signal.SIGSTOP)
    try:
        with office.sip_call() as caller:
            channel = office.exchange.channel_of(caller.mark)
            channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "socket")
            caller.cancel()
            assert channel.event("CHANNEL_HANGUP").get("Hangup-Cause") == "ORIGINATOR_CANCEL"
    finally:
        office.service.process.send_signal(signal.SIGCONT)
    channel.ended()
    office.no_mail()
    calls = office.service.lines("call")
    print(calls)
    assert len(calls) == 1
    assert calls[0]["result"] in {"control_lost", "hangup_before_answer"}


@pytest.mark.timeout(180)
def test_a_recording_survives_the_death_of_the_service_and_is_mailed_after_its_return(office: Office) -> None:
    said = speech.words(6.0, seed=21)
    call = office.call()
    call.recording()
    call.caller.start_speaking(office.sound(said))
    recordings = office.service.recordings
    until(lambda: sum(p.stat().st_size for p in recordings.glob("*.wav")) > 30_000, "2 s are recorded")
    office.service.stop(signal.SIGKILL)
    call.caller.event("PLAYBACK_STOP", lambda event: event.get("Playback-File-Path").endswith("said.wav"))
    assert not call.channel.events("CHANNEL_HANGUP")  # the switch records on
    call.caller.press("#")
    call.channel.event("RECORD_STOP")
    assert fallback(call.channel) == ""
    call.channel.ended()
    office.restart()
    message = office.message(RECOVERED)
    print(f"wav={message.seconds:.3f}", message.fields, office.service.lines("recovered"))
    assert abs(message.seconds - 6.0) < 0.3
    assert speech.same_wave(said, message.audio) > 0.9
    assert message.fields["Note"] == "the recording was cut off by a fault"
    assert message.fields["Caller"] == f"{offices.NAME}, +48 601 234 567"
    assert office.service.metric('voicemail_recovered_total{kind="kept"}') == 1


@pytest.mark.timeout(240)
def test_what_reached_the_disk_before_the_switch_died_is_mailed_as_cut_off(
    office: Office, prefix: Path, tmp_path: Path
) -> None:
    said = speech.words(12.0, seed=22)
    plan = offices.dialplan(office.service.address[1])
    with switches.running(prefix, tmp_path / "doomed", plan) as doomed:
        office.exchange = doomed
        call = office.call()
        call.recording()
        call.caller.start_speaking(office.sound(said))
        recordings = office.service.recordings
        until(lambda: sum(p.stat().st_size for p in recordings.glob("*.wav")) > 80_000, "5 s on disk")
        doomed.kill()
        spoken = time.time() - call.channel.event("RECORD_START").at
        wrong_header = next(recordings.glob("*.wav")).read_bytes()[:44]
        line = office.told(call.channel.uuid)
        assert line["result"] == "salvaged"
        until(lambda: office.in_progress() == 0, "the service has no stuck call")
        call.caller.hang_up()
    office.exchange = office.telephones  # which has no channel left either
    message = office.message(RECOVERED)
    ended = office.service.metric('voicemail_recording_ended_total{reason="cut"}')
    print(f"spoken={spoken:.3f} wav={message.seconds:.3f} header={wrong_header[40:].hex()}", message.fields)
    assert wrong_header[40:] == bytes(4)  # the switch had not come to writing the size
    assert ended == 1
    assert spoken - 0.5 < message.seconds < spoken + 0.1
    assert speech.same_wave(said, message.audio) > 0.9
    assert message.fields["Note"] == "the recording was cut off by a fault"


@pytest.mark.parametrize("trouble", ["gone", "shadowed"])
def test_a_call_that_could_not_be_recorded_is_handed_back_before_the_answer(
    office: Office, trouble: str
) -> None:
    recordings = office.service.recordings
    if trouble == "gone":
        recordings.rename(recordings.with_name("elsewhere"))
    else:
        (recordings / "8000").mkdir()
    call = office.call()
    assert fallback(call.channel) == "failed"
    answered = call.channel.event("CHANNEL_ANSWER")
    said = call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "log")
    assert said.at <= answered.at
    call.channel.ended()
    line = office.told(call.channel.uuid)
    print(line)
    assert line["result"] == "failed"
    assert office.counted("failed") == 1
    office.no_mail()


def test_a_folder_that_vanishes_during_the_greeting_is_counted_as_a_failed_recording(office: Office) -> None:
    call = office.call()
    call.channel.event("PLAYBACK_START")
    recordings = office.service.recordings
    recordings.rename(recordings.with_name("elsewhere"))
    call.channel.ended()
    line = office.told(call.channel.uuid)
    print(line, call.channel.event("CHANNEL_HANGUP").get("Hangup-Cause"))
    assert line["result"] == "record_failed"
    office.no_mail()
    assert office.counted("record_failed") == 1


def test_a_call_for_an_unknown_mailbox_is_refused_and_the_dialplan_is_told_so(office: Office) -> None:
    call = office.call("nobody")
    assert fallback(call.channel) == "refused"
    call.channel.ended()
    line = office.told(call.channel.uuid)
    print(line)
    assert (line["result"], line["mailbox"]) == ("unknown_mailbox", "nobody")
    assert office.counted("unknown_mailbox", "unknown", "unknown") == 1
    wanted = f"fallback of {call.channel.uuid} after result [refused]"
    until(lambda: wanted in office.exchange.log, "the fallback's line in the switch's log")
    office.no_mail()
