"""What is left of a call when the service fails under it, or cannot take it."""

import signal

import pytest

from tests.live import speech
from tests.live.office import CUT_OFF, NAME, RECOVERED_SECONDS, Office
from tests.support.service import until


def test_while_the_service_is_down_the_dialplan_goes_on_with_the_call(office: Office) -> None:
    office.service.stop(signal.SIGKILL)
    call = office.call()
    assert call.fallback() == ""
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
    calls = until(lambda: office.service.lines("call"), "the call's line")
    print(calls)
    assert len(calls) == 1
    assert calls[0]["result"] in {"control_lost", "hangup_before_answer"}


@pytest.mark.timeout(180)
def test_a_recording_survives_the_death_of_the_service_and_is_mailed_after_its_return(office: Office) -> None:
    said = speech.words(6.0, seed=21)
    call = office.call()
    call.recording()
    call.caller.start_speaking(office.sound(said))
    until(lambda: office.recorded_bytes() > 30_000, "2 s are recorded")
    office.service.stop(signal.SIGKILL)
    call.caller.event("PLAYBACK_STOP", lambda event: event.get("Playback-File-Path").endswith("said.wav"))
    assert not call.channel.events("CHANNEL_HANGUP")  # the switch records on
    call.caller.press("#")
    call.channel.event("RECORD_STOP")
    assert call.fallback() == ""
    call.channel.ended()
    office.restart()
    message = office.message(RECOVERED_SECONDS)
    assert abs(office.missing(call.channel.uuid, said, 6.0, message)) < 0.3
    assert abs(message.seconds - 6.0) < 0.3
    assert speech.same_wave(said, message.audio) > 0.9
    assert message.fields["Note"] == CUT_OFF
    assert (message.who, message.fields["Number"]) == (NAME, "601 234 567, +48 601 234 567")
    kept = 'voicemail_recovered_total{kind="kept"}'
    until(lambda: office.service.metric(kept) == 1, "recovery has counted it")


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
    assert call.fallback() == "failed"
    answered = call.channel.event("CHANNEL_ANSWER")
    said = call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "log")
    assert said.at <= answered.at
    call.channel.ended()
    line = office.told(call.channel.uuid)
    print(line)
    assert line["result"] == "failed"
    assert office.counted("failed") == 1
    office.no_mail()


def test_a_folder_that_vanishes_during_the_greeting_leaves_a_notice_of_who_called(office: Office) -> None:
    call = office.call()
    call.playing("greeting.wav")
    office.recordings.rename(office.recordings.with_name("elsewhere"))
    call.channel.ended()
    line = office.told(call.channel.uuid)
    notice = office.notice()
    office.no_audio(call.channel.uuid, notice)
    print(line, call.channel.event("CHANNEL_HANGUP").get("Hangup-Cause"))
    assert line["result"] == "record_failed"
    assert notice.fields["No recording"] == "the telephone switch did not save the recording"
    assert (notice.who, notice.fields["Number"]) == (NAME, "601 234 567, +48 601 234 567")
    assert office.counted("record_failed") == 1


def test_a_call_for_an_unknown_mailbox_is_refused_and_the_dialplan_is_told_so(office: Office) -> None:
    call = office.call("nobody")
    assert call.fallback() == "refused"
    call.channel.ended()
    line = office.told(call.channel.uuid)
    print(line)
    assert (line["result"], line["mailbox"]) == ("unknown_mailbox", "nobody")
    assert office.counted("unknown_mailbox", "unknown", "unknown") == 1
    wanted = f"fallback of {call.channel.uuid} after result [refused]"
    until(lambda: wanted in office.exchange.log, "the fallback's line in the switch's log")
    office.no_mail()
