"""WAV files as FreeSWITCH leaves them: read, measured, and their header mended.

FreeSWITCH writes a header that says 0 bytes and corrects it when it closes the file; a switch that died
leaves the audio behind the lie. Chunks may stand before the audio (record_title and the like), so its
place is looked up, not assumed.
"""

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from esl_voicemail.errors import RecordingError

_PCM, _EXTENSIBLE = 1, 0xFFFE
_CHUNKS_AT_MOST = 64
_LARGEST_BYTES = 0xFFFFFFFF  # a RIFF file counts itself in 32 bits


@dataclass(frozen=True, slots=True)
class Wav:
    """The shape of a WAV file; sizes in bytes, `data_bytes` as found on disk, not as its header says."""

    rate: int
    channels: int
    sample_bytes: int
    data_offset: int
    data_bytes: int
    header_right: bool

    @property
    def duration_ms(self) -> int:
        """Length of the audio in milliseconds."""
        return self.data_bytes * 1000 // (self.rate * self.channels * self.sample_bytes)


@dataclass(frozen=True, slots=True)
class Sound:
    """A WAV file that has been read: its shape and all its bytes."""

    shape: Wav
    content: bytes


def inspect(path: Path) -> Wav:
    """Read a WAV file's shape; RecordingError when there is none or it is no PCM, OSError of the disk."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # To open a pipe is to wait for whoever writes into it.
            raise RecordingError(f"{path.name}: no plain file")
        with path.open("rb") as file:
            return measure(file, os.fstat(file.fileno()).st_size, path.name)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RecordingError(f"{path.name}: {error.strerror}") from error


def measure(file: BinaryIO, size: int, name: str) -> Wav:
    """Read the shape of a WAV file that is open, or in memory; RecordingError when it is none or no PCM."""
    try:
        return _inspect(file, size)
    except struct.error as error:
        raise RecordingError(f"{name}: a WAV that ends before its audio begins") from error
    except ValueError as error:
        raise RecordingError(f"{name}: {error}") from error


def _inspect(file: BinaryIO, size: int) -> Wav:
    head = file.read(12)
    if size < 44 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError(f"no WAV file ({size} bytes)")
    if size > _LARGEST_BYTES:
        raise ValueError(f"larger than a WAV can be ({size} bytes)")
    riff_bytes = struct.unpack_from("<I", head, 4)[0]
    form: tuple[int, int, int, int] | None = None
    at = 12
    for _ in range(_CHUNKS_AT_MOST):
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        at += 8
        if name == b"fmt ":
            fields = file.read(min(length, 26))
            tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", fields)
            if tag == _EXTENSIBLE and len(fields) == 26:
                tag = struct.unpack_from("<H", fields, 24)[0]  # the first bytes of SubFormat
            if tag not in (_PCM, _EXTENSIBLE) or not rate or not channels or bits not in (8, 16, 24, 32):
                raise ValueError(
                    f"a WAV that is not PCM (format {tag}, {channels} channels, {rate} Hz, {bits} bits)"
                )
            if frame != channels * bits // 8:
                raise ValueError(f"a WAV whose frames of {frame} bytes hold no {channels} x {bits} bits")
            form = (rate, channels, bits // 8, frame)
        elif name == b"data":
            if form is None:
                raise ValueError("a WAV whose audio stands before its format")
            return _measured(form, at, length, riff_bytes, size)
        at += length + length % 2
    raise ValueError("a WAV without audio")


def _measured(form: tuple[int, int, int, int], at: int, length: int, riff_bytes: int, size: int) -> Wav:
    rate, channels, sample_bytes, frame = form
    on_disk = max(0, size - at)
    # A length within the file is right; chunks may follow the audio. 0 with audio behind it is a switch
    # that never closed the file; more than there is, a file cut short.
    # Less than a frame is no audio, said or there.
    right = frame <= length <= on_disk or (length < frame and on_disk < frame)
    data_bytes = length if right else on_disk
    data_bytes -= data_bytes % frame
    riff_right = at + data_bytes <= riff_bytes + 8 <= size
    return Wav(rate, channels, sample_bytes, at, data_bytes, right and riff_right)


def mend(path: Path, wav: Wav) -> None:
    """Write into the header what is on disk; nothing else is touched. Doing it twice changes nothing.

    Not even a last half frame is cut off: a switch that lost us may still be writing.
    """
    end = wav.data_offset + wav.data_bytes
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", end - 8))
        file.seek(wav.data_offset - 4)
        file.write(struct.pack("<I", wav.data_bytes))
