"""A call that left no speech: nobody is mailed a busy tone, and whoever wants it all the same has it."""

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import gevent
import numpy as np
import pytest

from esl_voicemail import listening
from esl_voicemail.errors import RecordingError
from esl_voicemail.log import Log
from esl_voicemail.model import Content, Hearing, Recording
from esl_voicemail.spool import Spool
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.workers import Workers
from tests.support.noises import BUSY, FAX, NOISE, Sound, pieces
from tests.support.service import Service, command, running, start, until
from tests.support.speech import attached, save, tone

BOXES = {
    "sales": {"recipients": ["anna@example.com", "jan@example.com"]},
    "told": {"recipients": ["anna@told.example"], "notify_empty": "always"},
    "all": {"recipients": ["anna@all.example"], "min_speech_seconds": 0},
    "strict": {"recipients": ["anna@strict.example"], "min_speech_seconds": 2.5},
    "default": {"recipients": ["anna@default.example"]},
}


def sampled(sound: Sound) -> bytes:
    return np.round(sound * 32767).astype("<i2").tobytes()


def left(sounds: dict[str, object], name: str, level_db: float = -20) -> bytes:
    return sampled(next(pieces(sounds[name], 4.0, (level_db,))))  # type: ignore[arg-type]


TONE = left(BUSY, "busy 425 Hz, 0.5 s")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running(folder, {"defaults": {"language": "en"}, "mailboxes": BOXES}) as started:
        yield started
        assert started.stop() == 0


def line_of(service: Service, speech: bytes, box: str, **caller: object) -> dict[str, str]:
    """Place a call and return what is said of it."""
    placed = service.call(TrialCaller(speech=speech, **caller), box, pace=math.inf)  # type: ignore[arg-type]
    return service.line_of(placed.call_id)


def mailed(service: Service, call_id: str) -> list[str]:
    until(lambda: service.queued() == 0, "the queue is empty")
    return sorted(mail["Delivered-To"] for mail in service.mails(0) if call_id in mail.as_string())


@pytest.mark.parametrize(
    ("speech", "heard"),
    [
        (TONE, "busy-tone"),
        (left(BUSY, "dial tone 425 Hz"), "busy-tone"),
        (left(FAX, "fax calling, 1100 Hz"), "fax-tone"),
        (left(NOISE, "a car"), "noise"),
        (left(NOISE, "white noise", -70), "silence"),
    ],
    ids=["busy", "dial tone", "fax", "car", "silence"],
)
def test_a_call_without_speech_is_counted_not_mailed_and_its_audio_stays(
    serving: Service, speech: bytes, heard: str
) -> None:
    counted = 'voicemail_calls_total{mailbox="sales",reason="direct",result="no_speech"}'
    known = f'voicemail_recordings_heard_total{{content="{heard}"}}'
    before, kept = serving.metrics(), 'voicemail_messages_total{mailbox="sales",state="kept"}'
    line = line_of(serving, speech, "sales", then="hang-up")
    assert (line["result"], line["heard"], line["level"]) == ("no_speech", heard, "info")
    assert int(line["speech_ms"]) < 100
    after = serving.metrics()
    assert after[counted] == before[counted] + 1
    assert after[known] == before[known] + 1
    assert after[kept] == before[kept]
    assert mailed(serving, line["call"]) == []
    (audio,) = serving.recordings.glob(f"*{line['message']}*")
    assert audio.stat().st_size == int(line["recording_ms"]) * 16 + 44


def test_a_caller_who_is_heard_is_said_to_be_and_measured(serving: Service) -> None:
    before = serving.metrics()
    line = line_of(serving, tone(3.0), "sales")
    assert (line["result"], line["heard"]) == ("recorded", "speech")
    assert 2000 < int(line["speech_ms"]) <= 3000
    measured = "voicemail_recording_speech_seconds_sum"
    assert 2.0 < serving.metrics()[measured] - before[measured] <= 3.0


def test_every_content_is_counted_from_the_start(tmp_path: Path) -> None:
    telemetry = Telemetry(
        ["sales"], lambda: datetime.now(UTC), log=Log(lambda _: None, lambda: datetime.now(UTC))
    )
    for content in Content:
        labels = {"content": content.value}
        assert telemetry.registry.get_sample_value("voicemail_recordings_heard_total", labels) == 0


def test_who_leaves_no_speech_is_not_thanked(serving: Service) -> None:
    keys = (KeyPress("#", Moment(Stage.RECORDING, 3.0)),)
    placed = serving.call(TrialCaller(speech=TONE, then="stay", keys=keys), "sales", pace=math.inf)
    assert serving.line_of(placed.call_id)["result"] == "no_speech"
    played = [argument for application, argument in placed.applications if application == "playback"]
    assert not any(argument.endswith("thanks.wav") for argument in played)


def test_a_mailbox_that_asks_to_be_told_is(serving: Service) -> None:
    line = line_of(serving, TONE, "told")
    assert line["result"] == "no_speech"
    assert mailed(serving, line["call"]) == ["anna@told.example"]


def test_a_mailbox_may_have_them_all(serving: Service) -> None:
    line = line_of(serving, TONE, "all")
    assert (line["result"], line["heard"]) == ("recorded", "busy-tone")
    assert mailed(serving, line["call"]) == ["anna@all.example"]


def test_a_mailbox_says_how_much_speech_is_a_message(serving: Service) -> None:
    assert line_of(serving, tone(2.0), "strict")["result"] == "no_speech"
    assert line_of(serving, tone(3.0), "strict")["result"] == "recorded"


def test_who_says_nothing_but_types_a_number_has_left_a_message(serving: Service) -> None:
    keys = tuple(KeyPress(digit, Moment(Stage.RECORDING, 1.0 + n / 5)) for n, digit in enumerate("4711"))
    line = line_of(serving, TONE, "sales", keys=keys)
    assert line["result"] == "recorded"
    assert mailed(serving, line["call"]) == ["anna@example.com", "jan@example.com"]


def shown(service: Service, *arguments: str) -> str:
    return command("messages", *arguments, folder=service.folder).stdout


def test_a_person_who_wants_it_has_it_mailed(serving: Service) -> None:
    line = line_of(serving, TONE, "sales")
    told = shown(serving, "show", line["message"])
    assert "discarded (no_speech)" in told
    assert "heard      busy-tone, 0.0 s of speech, -2" in told
    assert f"messages keep {line['message']}" in told
    row = json.loads(shown(serving, "show", line["call"], "--json"))
    assert (row["heard"], row["speech_ms"], row["clipped"]) == ("busy-tone", 0, False)
    audio = shown(serving, "audio", line["message"]).strip()
    assert Path(audio).is_file()
    kept = shown(serving, "keep", line["message"])
    assert kept == "anna@example.com  -> queued\njan@example.com  -> queued\n"
    until(lambda: len(mailed(serving, line["call"])) == 2, "both have it")
    assert mailed(serving, line["call"]) == ["anna@example.com", "jan@example.com"]
    mail = next(mail for mail in serving.mails(0) if line["call"] in mail.as_string())
    assert attached(mail) == TONE[: int(line["recording_ms"]) * 16]
    assert "kept (recorded)" in shown(serving, "show", line["message"])
    again = command("messages", "keep", line["message"], folder=serving.folder)
    assert again.stderr == f"message {line['message']}: is kept and stays so\n"


def test_who_was_told_that_there_is_nothing_is_mailed_the_message_as_another_mail(serving: Service) -> None:
    line = line_of(serving, TONE, "told")
    assert mailed(serving, line["call"]) == ["anna@told.example"]
    shown(serving, "keep", line["call"])
    until(lambda: len(mailed(serving, line["call"])) == 2, "the message too")
    both = [mail for mail in serving.mails(0) if line["call"] in mail.as_string()]
    assert len({mail["Message-ID"] for mail in both}) == 2
    assert sorted(len(list(mail.iter_attachments())) for mail in both) == [0, 1]


def test_a_call_too_short_can_be_kept_too(serving: Service) -> None:
    line = line_of(serving, tone(0.5), "sales")
    assert line["result"] == "too_short"
    shown(serving, "keep", line["call"])
    until(lambda: len(mailed(serving, line["call"])) == 2, "both have it")


def test_what_left_no_audio_cannot_be_kept(serving: Service) -> None:
    placed = serving.call(TrialCaller(hang_up=Moment(Stage.GREETING, 0.5)), "sales", pace=math.inf)
    line = serving.line_of(placed.call_id)
    assert line["result"] == "hangup_in_greeting"
    refused = command("messages", "keep", line["call"], folder=serving.folder).stderr
    assert refused.endswith(": has no recording: hangup_in_greeting\n")


def test_audio_that_is_gone_cannot_be_kept(serving: Service) -> None:
    line = line_of(serving, TONE, "sales")
    (audio,) = serving.recordings.glob(f"*{line['message']}*")
    audio.unlink()
    refused = command("messages", "keep", line["call"], folder=serving.folder).stderr
    assert refused == (
        f"message {line['message']}: its recording {audio} is gone; put it back from a backup, or give it up "
        f"with `esl-voicemail messages drop {line['message']}`\n"
    )


def test_what_a_fault_cut_off_is_mailed_whatever_was_heard(tmp_path: Path) -> None:
    settings = {"mailboxes": {"default": {"recipients": ["a@example.com"]}}}
    service = start(tmp_path, settings)
    try:
        caller = TrialCaller(speech=TONE, fault=Fault(Mishap.VANISH, Moment(Stage.RECORDING, 3.0)))
        placed = service.call(caller, pace=50.0)
        assert service.line_of(placed.call_id)["result"] in {"salvaged", "recorded"}
        assert service.stop() == 0
    finally:
        service.process.kill()
    for path in service.recordings.glob("*.wav"):
        os.utime(path, (time.time() - 60,) * 2)
    with running(tmp_path, settings) as again:
        (mail,) = again.mails()
        assert len(attached(mail)) > 2 * 16000
        row = json.loads(shown(again, "show", placed.call_id, "--json"))
        assert (row["state"], row["heard"]) == ("kept", "busy-tone")


def of_call(path: Path, seconds: float) -> Recording:
    return Recording(path, round(seconds * 1000), path.stat().st_size, "")


def test_a_recording_that_nobody_can_listen_to_goes_without_a_verdict(tmp_path: Path) -> None:
    said: list[str] = []
    telemetry = Telemetry([], lambda: datetime.now(UTC), log=Log(said.append, lambda: datetime.now(UTC)))
    content = save(tmp_path / "strange.wav", tone(2.0)).read_bytes()
    strange = content[:24] + (0xFFFFFFF0).to_bytes(4, "little") + content[28:]
    (tmp_path / "strange.wav").write_bytes(strange)
    workers = Workers(1)
    try:
        assert (
            listening.heard(of_call(tmp_path / "strange.wav", 2), "sales", "01M", workers, telemetry) is None
        )
    finally:
        workers.close()
    assert [line for line in said if "event=not_heard" in line and "message=01M" in line]


def test_threads_that_are_all_held_cost_a_caller_no_more_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_SECONDS", 0.2)
    said: list[str] = []
    telemetry = Telemetry([], lambda: datetime.now(UTC), log=Log(said.append, lambda: datetime.now(UTC)))
    path = save(tmp_path / "a.wav", tone(2.0))
    workers, (held, release) = Workers(1), os.pipe()
    try:
        holding = gevent.spawn(workers.run, os.read, held, 1)
        gevent.sleep(0)
        assert listening.heard(of_call(path, 2), "sales", "01M", workers, telemetry) is None
        assert "not listened to in time" in said[-1]
        os.write(release, b".")
        holding.get(timeout=10)
        monkeypatch.undo()
        hearing = listening.heard(of_call(path, 2), "sales", "01M", workers, telemetry)
        assert hearing is not None
        assert hearing.content is Content.SPEECH
    finally:
        os.close(release)
        os.close(held)
        workers.close()


def test_what_is_safe_is_a_message_though_listening_to_it_fails_or_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    telemetry = Telemetry([], lambda: datetime.now(UTC), log=Log(said.append, lambda: datetime.now(UTC)))
    path = save(tmp_path / "a.wav", tone(2.0))
    workers, (held, release) = Workers(1), os.pipe()

    class Stuck(type(path)):  # type: ignore[misc]
        def stat(self, **_: object) -> os.stat_result:
            os.read(held, 1)
            return super().stat()

    def taken(recording: Recording) -> tuple[Recording, Hearing | None]:
        return listening.admitted_and_heard(lambda _: recording, "sales", "01M", workers, telemetry)

    try:
        whole = of_call(path, 2)
        recording, hearing = taken(whole)
        assert hearing is not None
        assert (recording, hearing.content) == (whole, Content.SPEECH)
        gone = replace(whole, path=tmp_path / "gone.wav")
        assert taken(gone) == (gone, None)
        assert "event=not_heard" in said[-1]
        monkeypatch.setattr(listening, "_SAFE_SECONDS", 0.2)
        stuck = replace(whole, path=Stuck(path))
        assert taken(stuck) == (stuck, None)
        assert "not listened to in time" in said[-1]
        with pytest.raises(TimeoutError, match="does not answer"):
            taken(whole)
    finally:
        os.write(release, b".")
        workers.close()
        os.close(release)
        os.close(held)


def test_what_cannot_be_made_safe_is_not_listened_to_and_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    telemetry = Telemetry([], lambda: datetime.now(UTC), log=Log(said.append, lambda: datetime.now(UTC)))
    spool, workers = Spool(tmp_path, tmp_path / "corrupt"), Workers(1)
    try:
        with pytest.raises(RecordingError, match="No such file"):
            listening.admitted_and_heard(
                lambda hold: spool.admit(tmp_path / "gone.wav", hold), "sales", "01M", workers, telemetry
            )
    finally:
        workers.close()
    assert said == []
