"""SIGTERM with two hundred calls in every stage: none is lost, whether they may finish or not."""

import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from esl_voicemail.trial.caller import KeyPress, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.service import Service, running, until
from tests.support.speech import attached, save, tone

CALLS = 200
SECONDS = [2.0 + (n % 50) / 25 for n in range(CALLS)]
# Each has a voice of his own, spoken without a pause.
SPEECHES = [struct.pack("<h", 1000 + n) * round(8000 * seconds) for n, seconds in enumerate(SECONDS)]
# They come within 3 s and stay for more than 5, so that for a while all are there, in every stage.
SPREAD_SECONDS = 3.0
PACE = 1.2


def caller(n: int) -> TrialCaller:
    """Return one who speaks and presses #, to be thanked."""
    done = KeyPress("#", Moment(Stage.RECORDING, SECONDS[n]))
    return TrialCaller(speech=SPEECHES[n], then="stay", keys=(done,))


def settings(folder: Path, **switch: int) -> dict[str, Any]:
    greeting = save(folder / "greeting.wav", tone(1.0, 300))
    mailbox = {
        "recipients": ["desk@example.com"],
        "silence_seconds": 5,
        "greetings": {"default": str(greeting)},
    }
    return {"switch": switch, "mailboxes": {"default": mailbox}}


@contextmanager
def two_hundred_calls(service: Service) -> Iterator[list["gevent.Greenlet[..., TrialOutcome]"]]:
    """Place them one after the other, and go on when all are in progress, some in every stage."""
    calls = [
        gevent.spawn_later(SPREAD_SECONDS * n / CALLS, service.call, caller(n), pace=PACE)
        for n in range(CALLS)
    ]
    stages = [
        f'voicemail_calls_in_progress{{stage="{stage}"}}' for stage in ("greeting", "recording", "closing")
    ]
    until(
        lambda: service.in_progress() == CALLS and all(service.metric(stage) for stage in stages),
        "all calls in progress, some in every stage",
    )
    yield calls
    gevent.killall(calls)


def mailed(service: Service, count: int) -> Counter[bytes]:
    """Wait for so many mails and return the audio of all of them."""
    return Counter(attached(mail) for mail in service.mails(count))


def test_two_hundred_calls_finish_and_are_mailed_while_nobody_new_is_let_in(tmp_path: Path) -> None:
    chosen = settings(tmp_path, drain_seconds=60)
    with running(tmp_path, chosen) as service, two_hundred_calls(service) as calls:
        service.process.terminate()
        (said,) = until(lambda: service.lines("draining"), "draining")
        assert said["calls"] == str(CALLS)
        with pytest.raises(OSError, match="refused"):
            service.call(caller(0))
        status, why = service.get("/readyz")
        assert (status, "draining" in why) == (503, True)
        assert service.get("/healthz")[0] == 200
        gevent.joinall(calls, timeout=60, raise_error=True)
        assert service.process.wait(30) == 0
        assert [call.get().recorded_ms for call in calls] == [len(speech) // 16 for speech in SPEECHES]
        assert service.lines("stopped")[-1]["calls_left"] == "0"
        assert Counter(line["result"] for line in service.lines("call")) == {"recorded": CALLS}
    # What the Maildir did not take in time, the next server brings.
    with running(tmp_path, chosen) as again:
        assert mailed(again, CALLS) == Counter(SPEECHES)
        assert again.stop() == 0
        assert mailed(again, CALLS) == Counter(SPEECHES)


def test_calls_that_outlive_the_drain_are_mailed_by_the_next_server_all_they_said(tmp_path: Path) -> None:
    chosen = settings(tmp_path, drain_seconds=1)
    with running(tmp_path, chosen) as service, two_hundred_calls(service) as calls:
        assert service.stop() == 0
        left = int(service.lines("stopped")[-1]["calls_left"])
        assert left > CALLS // 2
        gevent.joinall(calls, timeout=60, raise_error=True)
        ended = [call.get() for call in calls]
        lines = service.lines("call")
        assert len(lines) == CALLS
        assert {line["result"] for line in lines} <= {"recorded", "salvaged", "control_lost"}
    said = Counter(
        speech[: one.recorded_ms * 16] for speech, one in zip(SPEECHES, ended, strict=True) if one.recording
    )
    # Who was being thanked has a message already.
    spoke = [line for line in lines if line["result"] in {"recorded", "salvaged"} or "message" in line]
    # One whom the service had just asked the switch to record may not have come to it.
    assert {one.call_id for one in ended if one.recording} <= {line["call"] for line in spoke}
    # The switch went on recording without us, to the end.
    assert said <= Counter(SPEECHES)
    for path in service.recordings.glob("*.wav"):
        os.utime(path, (time.time() - 60,) * 2)
    with running(tmp_path, chosen) as again:
        assert mailed(again, said.total()) == said
        assert again.stop() == 0
        assert mailed(again, said.total()) == said


def test_a_second_signal_changes_nothing_about_the_drain(tmp_path: Path) -> None:
    with running(tmp_path, settings(tmp_path, drain_seconds=60)) as service:
        call = gevent.spawn(service.call, caller(0), pace=3.0)
        until(lambda: list(service.recordings.glob("*.wav")), "the recording")
        service.process.terminate()
        until(lambda: service.lines("draining"), "draining")
        for signal in ("terminate", "terminate"):
            getattr(service.process, signal)()
        assert call.get(timeout=30).recorded_ms == len(SPEECHES[0]) // 16
        assert service.process.wait(30) == 0
        assert len(service.mails()) == 1
