"""Recordings in the format a mailbox wants to receive, easy to hear, with tags. Nothing on disk is changed.

Meant for a worker thread: the codec holds the processor for as long as it needs. FFmpeg's filters do what is
done to samples, outside the interpreter's lock; what is to be done is `levelling`'s to decide.
"""

import io
import math
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import FileIO
from operator import mul
from pathlib import Path

import av

from esl_voicemail.audio.graph import Product, chained, samples_of
from esl_voicemail.audio.levelling import (
    GAINS_A_SECOND,
    HIGHEST_PEAK_DB,
    LEVELS_A_SECOND,
    Plan,
    plan,
    towards_target,
)
from esl_voicemail.errors import RecordingError


@dataclass(frozen=True, slots=True)
class Format:
    """How a mail names and carries an attachment; `bit_rate` a second, 0 for the recording as it is."""

    words: str
    suffix: str
    subtype: str
    container: str = ""
    codec: str = ""
    bit_rate: int = 0
    codecs: str = ""
    options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tags:
    """What a player shows of a sound: each of them one line, empty for none; `date` as YYYY-MM-DD."""

    title: str = ""
    artist: str = ""
    album: str = ""
    date: str = ""


def _mp3(bit_rate: int) -> Format:
    return Format(
        words=f"MP3 of {bit_rate // 1000} kbit/s",
        suffix="mp3",
        subtype="mpeg",
        container="mp3",
        codec="libmp3lame",
        bit_rate=bit_rate,
        options=(("compression_level", "7"),),
        # What Windows reads, which knows nothing of ID3v2.4.
        container_options=(("id3v2_version", "3"),),
    )


def _opus(bit_rate: int) -> Format:
    return Format(
        words=f"Opus of {bit_rate // 1000} kbit/s",
        # RFC 7845 section 9.
        suffix="opus",
        subtype="ogg",
        codecs="opus",
        container="ogg",
        codec="libopus",
        bit_rate=bit_rate,
        # Packets of 60 ms need a third of the headers of 20 ms.
        options=(
            ("application", "voip"),
            ("vbr", "constrained"),
            ("frame_duration", "60"),
            ("compression_level", "5"),
        ),
    )


FORMATS = {
    "wav": Format("WAV as recorded", "wav", "wav"),
    # 2 bits a sample: where an MP3 of a telephone's voice stops sounding like one.
    "mp3": _mp3(32000),
    "mp3-16": _mp3(16000),
    "opus": _opus(24000),
    "opus-12": _opus(12000),
    "opus-6": _opus(6000),
}
# For each format that a mailbox may want, what is tried where that is too large for the server.
LADDERS = {
    "wav": ("wav", "mp3", "mp3-16", "opus-12", "opus-6"),
    "mp3": ("mp3", "mp3-16", "opus-12", "opus-6"),
    "opus": ("opus", "opus-12", "opus-6"),
}

# MP3 below 16 kHz is MPEG 2.5, which some players refuse; Opus knows no 8 kHz container clock.
_RATE = 16000
_RATES = range(4000, 192001)
_LEAST_SAMPLES = _RATE // 500
_BLOCK = _RATE // LEVELS_A_SECOND
# What a container adds to the codec's bits, at most.
_AROUND_IT, _HEADERS = 1.06, 2048

# What a telephone does not carry: rumble, hum, the wind, a constant voltage.
_MONO = (
    ("aresample", f"{_RATE}:filter_size=64:rematrix_maxval=1"),
    ("aformat", "sample_fmts=flt:channel_layouts=mono"),
    ("highpass", "f=100:poles=2"),
)
_METER = (("ebur128", "metadata=1"), ("aformat", "sample_fmts=flt"))
_LOUDNESS = "lavfi.r128.I"
_LIMITER = (
    "alimiter",
    f"limit={10 ** (HIGHEST_PEAK_DB / 20):.6f}:attack=5:release=80:level=disabled:latency=1",
)
_NOTHING = 1e-12
_STEPS = LEVELS_A_SECOND // GAINS_A_SECOND
# So that a cut makes no click.
_FADE_IN_SECONDS, _FADE_OUT_SECONDS = 0.01, 0.03


@dataclass(frozen=True, slots=True)
class Converted:
    """A sound in another format, and how long it lasts: less than the recording, which had silent ends."""

    content: bytes
    duration_ms: int


def attachment(path: Path, name: str, tags: Tags = Tags()) -> bytes:
    """Return a WAV file in the format `name`; `wav` is the file itself, byte for byte and without tags.

    RecordingError when the file is gone or the codec fails, OSError when the disk does.
    """
    return convert(path, name, tags).content if FORMATS[name].codec else whole(path)[0]


def convert(path: Path, name: str, tags: Tags = Tags()) -> Converted:
    """Return a WAV file in a format with a codec; errors as of `attachment`."""
    try:
        return _encode(path, FORMATS[name], tags)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise RecordingError(f"{path.name}: cannot be read as {name}: {error}") from error


def most_bytes(name: str, duration_ms: int) -> int:
    """Return how large a sound of so many milliseconds becomes in a format with a codec, at most."""
    return round(FORMATS[name].bit_rate / 8 * duration_ms / 1000 * _AROUND_IT) + _HEADERS


def whole(path: Path) -> tuple[bytes, os.stat_result]:
    """Return a recording byte for byte, and how its file stood after that; errors as of `attachment`."""
    try:
        with FileIO(path) as file:
            return file.readall(), os.fstat(file.fileno())
    except (FileNotFoundError, IsADirectoryError) as error:
        if not path.parent.is_dir():
            raise OSError(f"{path.parent}: is not there") from error
        raise RecordingError(f"{path.name}: cannot be read as wav: {error}") from error


def _encode(path: Path, wanted: Format, tags: Tags) -> Converted:
    levels, lufs, samples = _measured(_filtered(path, *_MONO, *_METER))
    if samples < _LEAST_SAMPLES:
        raise RecordingError(f"{path.name}: holds too few samples for {wanted.codec}")
    todo = plan(levels, lufs)
    # How loud it is once its parts are levelled is seen by doing it.
    lufs = _loudness(chained(_levelled(path, todo), *_METER))
    gain = ("volume", f"{10 ** (towards_target(lufs, todo.most) / 20):.5f}")
    out = io.BytesIO()
    with av.open(
        out, "w", format=wanted.container, container_options=dict(wanted.container_options)
    ) as target:
        target.metadata.update({name: text for name, text in asdict(tags).items() if text})
        stream = target.add_stream(wanted.codec, rate=_RATE, options=dict(wanted.options))
        if not isinstance(stream, av.AudioStream):
            raise RecordingError(f"{wanted.codec} is no codec for sound")
        stream.layout = "mono"
        stream.bit_rate = wanted.bit_rate
        form = ("aformat", f"sample_fmts={stream.format.name}")
        for frame in chained(_levelled(path, todo), gain, _LIMITER, *_fades(todo), form):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return Converted(out.getvalue(), round((todo.end - todo.start) * 1000))


def _measured(frames: Iterable[av.AudioFrame]) -> tuple[list[float], float, int]:
    """Return a sound's levels, a hundred a second in dBFS, its loudness in LUFS and its samples' number."""
    levels: list[float] = []
    lufs, count = -math.inf, 0
    for frame in frames:
        lufs = float(frame.metadata.get(_LOUDNESS, lufs))
        samples = array("f", samples_of(frame))
        count += len(samples)
        for at in range(0, len(samples), _BLOCK):
            # Every other sample tells as much of a level, in half the time.
            part = samples[at : at + _BLOCK : 2]
            power = sum(map(mul, part, part)) / len(part)
            levels.append(10 * math.log10(max(power, _NOTHING)))
    return levels, lufs, count


def _loudness(frames: Iterable[av.AudioFrame]) -> float:
    lufs = -math.inf
    for frame in frames:
        lufs = float(frame.metadata.get(_LOUDNESS, lufs))
    return lufs


def _levelled(path: Path, todo: Plan) -> Iterator[av.AudioFrame]:
    """Read what is kept of a recording, its parts as loud as the plan has them."""
    cut = ("atrim", f"start={todo.start:.3f}:end={todo.end:.3f}")
    tenths = ("asetnsamples", f"n={_RATE // GAINS_A_SECOND}:p=0")
    product = None
    for at, frame in enumerate(_filtered(path, *_MONO, cut, ("asetpts", "PTS-STARTPTS"), tenths)):
        product = product or Product(frame)
        yield product.of(frame, _factors(todo.gains[at : at + 2] or (0.0,)))


def _factors(gains: Sequence[float]) -> bytes:
    """Return a factor for each sample of a tenth of a second, in steps that nobody hears."""
    first, following = gains[0], gains[-1]
    steps = (first + (following - first) * step / _STEPS for step in range(_STEPS))
    return b"".join(struct.pack("f", 10 ** (gain / 20)) * _BLOCK for gain in steps)


def _fades(todo: Plan) -> tuple[tuple[str, str], ...]:
    last = max(0.0, todo.end - todo.start - _FADE_OUT_SECONDS)
    return (
        ("afade", f"type=in:duration={_FADE_IN_SECONDS}"),
        ("afade", f"type=out:duration={_FADE_OUT_SECONDS}:start_time={last:.3f}"),
    )


def _filtered(path: Path, *filters: tuple[str, str]) -> Iterator[av.AudioFrame]:
    """Read a WAV file through filters."""
    with av.open(str(path.absolute()), format="wav", metadata_errors="replace") as source:
        yield from chained(_speech_only(path, source.decode(audio=0)), *filters)


def _speech_only(path: Path, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    for frame in frames:
        if frame.sample_rate not in _RATES:
            raise RecordingError(f"{path.name}: a recording of {frame.sample_rate} Hz is none of speech")
        yield frame


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
