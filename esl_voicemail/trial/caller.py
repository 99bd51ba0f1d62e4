"""Who calls and what goes wrong: a scripted caller as plain values, and the file that is kept of his speech.

Owns the script, what is heard of the caller and the WAV file; when the moments come is left to `switch`.
"""

import math
import os
import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

RATE = 8000
"""Samples a second of everything a caller says."""
FRAME_SECONDS = 0.02
"""FreeSWITCH reads, writes and decides in frames of 20 ms."""
_FRAME_SAMPLES = 160
_BUFFER_BYTES = 64 * 1024
_HEADER_BYTES = 44


class Stage(StrEnum):
    """The part of a call that a moment is counted from; its clock runs on over several applications."""

    RINGING = "ringing"  # until `answer` is done
    PAUSE = "pause"  # sleep, silence_stream
    GREETING = "greeting"  # a file played before the first recording
    MENU = "menu"  # asked to type something
    BEEP = "beep"  # tone_stream
    RECORDING = "recording"
    SETTLING = "settling"  # the caller is gone, the recording is not closed yet; no time passes in it
    THANKS = "thanks"  # a file played after a recording


@dataclass(frozen=True, slots=True)
class Moment:
    """So many seconds into a stage; it never comes when the stage is over before."""

    stage: Stage
    seconds: float = 0.0

    def framed(self) -> "Moment":
        """Return the end of the 20 ms frame that the moment falls into, when FreeSWITCH takes notice."""
        return Moment(self.stage, math.ceil(self.seconds / FRAME_SECONDS - 1e-6) * FRAME_SECONDS)


@dataclass(frozen=True, slots=True)
class KeyPress:
    """One key of 0-9, * and #."""

    digit: str
    at: Moment


class Mishap(StrEnum):
    """What a switch, a network or a disk may do to a service."""

    VANISH = "vanish"  # killed: EOF without a notice, the recording left as it was
    RESET = "reset"  # the same with RST
    FREEZE = "freeze"  # stopped: the socket stays open and is silent, the recording left as it was
    CUT = "cut"  # the connection is reset, the switch is well: the call goes on
    STALL = "stall"  # the network swallows everything, nobody is told: the call goes on
    TRUNCATE = "truncate"  # half an event, then killed
    GARBAGE = "garbage"  # bytes that are no frame; the call goes on
    NO_CONTENT_TYPE = "no-content-type"  # one frame that says its length only; the call goes on
    BAD_LENGTH = "bad-length"  # a Content-Length of -5, then one that is no number; the call goes on
    ENDLESS_HEADER = "endless-header"  # a header line that does not end, then killed
    SURPLUS_REPLY = "surplus-reply"  # a reply nobody asked for; the call goes on
    FOREIGN_EVENT = "foreign-event"  # another call's hang-up and end of an application; the call goes on
    DISK_FULL = "disk-full"  # the recording ends early, with success and no flag
    SHUTDOWN = "shutdown"  # the switch is told to end: all calls hung up, notice before the file is closed


@dataclass(frozen=True, slots=True)
class Fault:
    """A mishap and when it happens."""

    mishap: Mishap
    at: Moment


class Notice(StrEnum):
    """Where the notice of a hung-up channel comes between its last events: FreeSWITCH promises no order."""

    LAST = "last"
    BEFORE_HANGUP = "before-hangup"
    BEFORE_RECORD_DONE = "before-record-done"


@dataclass(frozen=True, slots=True)
class TrialCaller:
    """What a caller says (8 kHz mono 16-bit little-endian PCM), what he presses and when he goes."""

    number: str = "+48601234567"
    name: str = "Jan Kowalski"
    withheld: bool = False
    speech: bytes = b""
    then: Literal["hang-up", "stay"] = "hang-up"
    keys: tuple[KeyPress, ...] = ()
    hang_up: Moment | None = None
    fault: Fault | None = None
    notice: Notice = Notice.LAST
    rtp: bool = True  # without it nothing is heard of him, and a recording holds no sample

    @property
    def speech_seconds(self) -> float:
        """How long the speech is."""
        return len(self.speech) // 2 / RATE

    def heard(self, start: int, end: int) -> bytes:
        """Return the samples from `start` to `end` of his saying: the speech, then silence."""
        if not self.rtp:
            return b""
        return self.speech[2 * start : 2 * end].ljust(2 * (end - start), b"\0")

    def silent_after(self, threshold: int, seconds: float) -> float:
        """Return when so many seconds of silence are complete; FreeSWITCH counts leading silence too.

        A 20 ms frame is silent when its mean amplitude is below the threshold.
        """
        wanted = math.ceil(seconds / FRAME_SECONDS - 1e-6)
        samples = array("h", self.speech[: len(self.speech) // 2 * 2]) if self.rtp else array("h")
        run = 0
        for start in range(0, len(samples), _FRAME_SAMPLES):
            frame = samples[start : start + _FRAME_SAMPLES]
            run = run + 1 if sum(map(abs, frame)) < threshold * len(frame) else 0
            if run == wanted:
                return (start // _FRAME_SAMPLES + 1) * FRAME_SECONDS
        return (math.ceil(len(samples) / _FRAME_SAMPLES) + wanted - run) * FRAME_SECONDS


class Recording:
    """A WAV file as `record` of FreeSWITCH writes it: the sizes in its header are 0 until it is finished.

    A disk that takes no more ends it, and nobody is told; OSError only when it cannot even be begun.
    """

    def __init__(self, path: Path, caller: TrialCaller, *, buffered: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._caller = caller
        self._buffered = buffered
        self._pending = self._header(8, 0)
        self._written = 0
        self._reached = 0
        try:
            self._flush(_HEADER_BYTES)
        except OSError:
            os.close(self._file)
            raise

    @property
    def samples(self) -> int:
        """How many samples the file holds, or will when what waits in memory is written."""
        return (self._written + len(self._pending) - _HEADER_BYTES) // 2

    @staticmethod
    def _header(riff_size: int, data_size: int) -> bytes:
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        return (
            struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
            + form
            + struct.pack("<4sI", b"data", data_size)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        os.close(self._file)

    def reach(self, seconds: float) -> bool:
        """Write what is heard up to this moment; False when the disk takes no more."""
        until = round(seconds * RATE)
        self._pending += self._caller.heard(self._reached, until)
        self._reached = until
        whole = len(self._pending) // _BUFFER_BYTES * _BUFFER_BYTES if self._buffered else len(self._pending)
        return self._put(whole)

    def finish(self) -> None:
        """Write the rest, as far as it goes, and the sizes of what is there."""
        self._put(len(self._pending))
        with suppress(OSError):
            os.pwrite(self._file, self._header(36 + 2 * self.samples, 2 * self.samples), 0)

    def _put(self, size: int) -> bool:
        try:
            self._flush(size)
        except OSError:
            self._pending = b""
            return False
        return True

    def _flush(self, size: int) -> None:
        while size:
            written = os.write(self._file, self._pending[:size])
            self._pending = self._pending[written:]
            self._written += written
            size -= written


def open_recording(path: Path, caller: TrialCaller, *, buffered: bool) -> Recording | None:
    """Open a recording; None where FreeSWITCH cannot: no folder, no right, no room for a header,
    a folder named like a rate.
    """
    rates = ("48000", "32000", "16000", "8000")
    if (
        not path.is_absolute()
        or path.suffix != ".wav"
        or any((path.parent / rate).is_dir() for rate in rates)
    ):
        return None
    try:
        return Recording(path, caller, buffered=buffered)
    except OSError:
        return None
