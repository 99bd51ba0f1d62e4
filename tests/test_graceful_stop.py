"""SIGTERM with two hundred calls in every stage: none is lost, whether they may finish or not."""

import math
import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from esl_voicemail.trial.caller import KeyPress, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.held import held
from tests.support.service import Service, running, until
from tests.support.speech import attached, save, tone

CALLS = 200
SECONDS = [2.0 + (n % 50) / 25 for n in range(CALLS)]
# Each has a voice of his own, spoken without a pause.
SPEECHES = [tone(seconds, 200 + 2 * n) for n, seconds in enumerate(SECONDS)]
# Only ten seconds may pass until a caller is thanked; all others may stay in their stage for a minute.
IN_STAGE = {"greeting": 90, "recording": 90, "closing": 20}
STAGES = [
    *[Stage.GREETING, Stage.RECORDING] * IN_STAGE["greeting"],
    *[Stage.THANKS] * IN_STAGE["closing"],
]
GREETING_SECONDS = 60


def caller(n: int) -> TrialCaller:
    """Return one who speaks and presses #, to be thanked."""
    done = KeyPress("#", Moment(Stage.RECORDING, SECONDS[n]))
    return TrialCaller(speech=SPEECHES[n], then="stay", keys=(done,))


def settings(folder: Path, **switch: int) -> dict[str, Any]:
    greeting = save(folder / "greeting.wav", struct.pack("<h", 300) * 8000 * GREETING_SECONDS)
    mailbox = {
        "recipients": ["desk@example.com"],
        "silence_seconds": 5,
        "greetings": {"default": str(greeting)},
    }
    return {"switch": switch, "mailboxes": {"default": mailbox}}


@dataclass
class Calls:
    """Two hundred calls that stand still, and go on when they are released."""

    placed: list["gevent.Greenlet[..., TrialOutcome]"]
    released: Event

    def ended(self) -> list[TrialOutcome]:
        """Release them and return what became of each."""
        self.released.set()
        gevent.joinall(self.placed, timeout=120, raise_error=True)
        return [call.get(block=False) for call in self.placed]


@contextmanager
def two_hundred_calls(service: Service) -> Iterator[Calls]:
    """Place them, and go on when all are in progress, some in every stage."""
    with held(*STAGES) as released:
        first, placed = CALLS - IN_STAGE["closing"], []
        try:
            placed += [gevent.spawn(service.call, caller(n), pace=math.inf) for n in range(first)]
            others = {stage: count for stage, count in IN_STAGE.items() if stage != "closing"}
            until(lambda: service.stages() == others, "all but the last are in their stages", 120)
            placed += [gevent.spawn(service.call, caller(n), pace=math.inf) for n in range(first, CALLS)]
            until(lambda: service.stages() == IN_STAGE, "all calls in progress, some in every stage")
            yield Calls(placed, released)
        finally:
            gevent.killall(placed)


def mailed(service: Service, count: int) -> Counter[bytes]:
    """Wait for so many mails and return the audio of all of them."""
    return Counter(attached(mail) for mail in service.mails(count, 120))


@pytest.mark.timeout(400)
def test_two_hundred_calls_finish_and_are_mailed_while_nobody_new_is_let_in(tmp_path: Path) -> None:
    chosen = settings(tmp_path, drain_seconds=120)
    with running(tmp_path, chosen) as service:
        with two_hundred_calls(service) as calls:
            service.process.terminate()
            (said,) = until(lambda: service.lines("draining"), "draining")
            assert said["calls"] == str(CALLS)
            until(service.refuses, "nobody new is let in")
            status, why = service.get("/readyz")
            assert (status, "draining" in why) == (503, True)
            assert service.get("/healthz")[0] == 200
            ended = calls.ended()
        assert service.process.wait(60) == 0
        assert [one.recorded_ms for one in ended] == [len(speech) // 16 for speech in SPEECHES]
        assert service.lines("stopped")[-1]["calls_left"] == "0"
        assert Counter(line["result"] for line in service.lines("call")) == {"recorded": CALLS}
    # What the Maildir did not take in time, the next server brings.
    with running(tmp_path, chosen) as again:
        assert mailed(again, CALLS) == Counter(SPEECHES)
        assert again.stop() == 0
        assert mailed(again, CALLS) == Counter(SPEECHES)


@pytest.mark.timeout(400)
def test_calls_that_outlive_the_drain_are_mailed_by_the_next_server_all_they_said(tmp_path: Path) -> None:
    chosen = settings(tmp_path, drain_seconds=1)
    with running(tmp_path, chosen) as service, two_hundred_calls(service) as calls:
        assert service.stop(seconds=60) == 0
        assert service.lines("stopped")[-1]["calls_left"] == str(CALLS)
        ended = calls.ended()
        lines = service.lines("call")
    assert Counter(line["result"] for line in lines) == {
        "control_lost": IN_STAGE["greeting"],
        "salvaged": IN_STAGE["recording"],
        "recorded": IN_STAGE["closing"],
    }
    spoke = {line["call"] for line in lines if line["result"] != "control_lost"}
    assert {one.call_id for one in ended if one.recording} == spoke
    # The switch went on recording without us, to the end.
    said = Counter(speech for speech, one in zip(SPEECHES, ended, strict=True) if one.recording)
    assert all(
        one.recorded_ms == len(speech) // 16
        for speech, one in zip(SPEECHES, ended, strict=True)
        if one.recording
    )
    for path in service.recordings.glob("*.wav"):
        os.utime(path, (time.time() - 60,) * 2)
    with running(tmp_path, chosen) as again:
        assert mailed(again, said.total()) == said
        assert again.stop() == 0
        assert mailed(again, said.total()) == said


def test_a_second_signal_changes_nothing_about_the_drain(tmp_path: Path) -> None:
    with (
        running(tmp_path, settings(tmp_path, drain_seconds=60)) as service,
        held(Stage.RECORDING) as released,
    ):
        call = gevent.spawn(service.call, caller(0), pace=math.inf)
        until(lambda: service.stages() == {"recording": 1}, "the recording")
        service.process.terminate()
        until(lambda: service.lines("draining"), "draining")
        for signal in ("terminate", "terminate"):
            getattr(service.process, signal)()
        until(service.refuses, "it drains on")
        assert service.in_progress() == 1
        released.set()
        assert call.get(timeout=30).recorded_ms == len(SPEECHES[0]) // 16
        assert service.process.wait(30) == 0
        assert len(service.mails()) == 1
