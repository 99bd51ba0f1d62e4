"""Recordings in the format a mailbox wants to receive. The only room that knows codecs.

Meant for a worker thread: the codec holds the processor for as long as it needs.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import av

from esl_voicemail.errors import RecordingError


@dataclass(frozen=True, slots=True)
class Format:
    """How a mail names and carries an attachment."""

    suffix: str
    subtype: str
    container: str = ""
    codec: str = ""


FORMATS = {
    "wav": Format("wav", "wav"),
    "mp3": Format("mp3", "mpeg", "mp3", "libmp3lame"),
    "opus": Format("ogg", "ogg", "ogg", "libopus"),
}

# MP3 below 16 kHz is MPEG 2.5, which some players refuse; Opus knows no 8 kHz container clock.
_RATE = 16000
_BIT_RATE = 32000


def attachment(path: Path, name: str) -> bytes:
    """Return a WAV file in the format `name`; `wav` is the file itself, byte for byte.

    RecordingError when the file is gone or the codec fails, OSError when the disk does.
    """
    wanted = FORMATS[name]
    if not wanted.codec:
        return _whole(path)
    try:
        return _encode(path, wanted)
    except (OSError, av.FFmpegError, IndexError) as error:
        raise RecordingError(f"{path.name}: cannot be read as {name}: {error}") from error


def _whole(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        if not path.parent.is_dir():
            raise OSError(f"{path.parent}: is not there") from error
        raise RecordingError(f"{path.name}: cannot be read as wav: {error}") from error


def _encode(path: Path, wanted: Format) -> bytes:
    out = io.BytesIO()
    with av.open(str(path)) as source, av.open(out, "w", format=wanted.container) as target:
        stream = target.add_stream(wanted.codec, rate=_RATE)
        if not isinstance(stream, av.AudioStream):
            raise RecordingError(f"{wanted.codec} is no codec for sound")
        stream.layout = "mono"
        stream.bit_rate = _BIT_RATE
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=_RATE)
        for frame in source.decode(audio=0):
            for resampled in resampler.resample(frame):
                target.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    if not out.getvalue():
        raise RecordingError(f"{path.name}: holds too few samples for {wanted.codec}")
    return out.getvalue()


def pcm(path: Path) -> bytes:
    """Return any sound file as 8 kHz mono 16-bit samples, as a telephone hears it; RecordingError."""
    out = bytearray()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=8000)
    try:
        with av.open(str(path)) as source:
            for frame in source.decode(audio=0):
                for resampled in resampler.resample(frame):
                    out += bytes(resampled.planes[0])[: resampled.samples * 2]
            for resampled in resampler.resample(None):
                out += bytes(resampled.planes[0])[: resampled.samples * 2]
    except (OSError, av.FFmpegError, IndexError) as error:
        raise RecordingError(f"{path}: is no sound that can be read: {error}") from error
    return bytes(out)
