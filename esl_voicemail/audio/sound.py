"""Any sound file that people have, as a telephone would hear it, and what the file was. Changes nothing.

A file may come from anywhere: only the formats of sound recordings are opened, none that leads to other
files or hosts, and reading ends at the first second too many, or when it takes too long.
"""

import stat
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from esl_voicemail.audio.clipping import STEPS, clipped
from esl_voicemail.audio.graph import RATE, Chain, samples_of
from esl_voicemail.errors import GreetingError
from esl_voicemail.model import one_line

_FORMATS = (
    "wav,w64,aiff,au,caf,flac,mp3,aac,ac3,amr,ogg,mov,mp4,m4a,3gp,matroska,webm,asf,avi,mpeg,mpegts,wv,ape"
)
_CAREFUL = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
# A title in the letters of an old Windows is no fault of the sound; from PyAV 19 on none is.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_READING_SECONDS = 60.0
_RATES = range(4000, 384001)
_CHANNELS = 16
# More packets than this share that nobody can decode, and it is no recording any more.
_DAMAGED = 0.1

_WORDS = {
    "pcm_u8": "8-bit PCM",
    "pcm_s16le": "16-bit PCM",
    "pcm_s24le": "24-bit PCM",
    "pcm_s32le": "32-bit PCM",
    "pcm_f32le": "floating-point PCM",
    "pcm_alaw": "A-law",
    "pcm_mulaw": "u-law",
}

_WINDOW = RATE // 100
_HEARD_POWER, _SAME_POWER, _MOST = 0.1, 1.26, 0.9
_AUDIBLE = 3
_NOTHING = 0.001

# Channels are mixed evenly: their sum could be louder than full scale.
_TELEPHONE = (
    ("aresample", f"{RATE}:filter_size=64:rematrix_maxval=1"),
    ("aformat", "sample_fmts=flt:channel_layouts=mono"),
)
_BYTES = (("aformat", "sample_fmts=u8p"),)


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound as a telephone has it, 8000 floats a second whose full scale is 1, and what its file was.

    `clipped` is the share, 0 to 1, of the worst channel's samples that are cut off.
    `cancelled` says that the channels, each with a sound, are silent together.
    """

    samples: "array[float]"
    codec: str
    rate: int
    channels: int
    clipped: float
    cancelled: bool

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / RATE

    @property
    def form(self) -> str:
        """Return the file's format in words."""
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{_WORDS.get(self.codec, self.codec)}, {self.rate} Hz {channels}"


def hear(path: Path, most_seconds: float) -> Sound:
    """Read a sound file; GreetingError when it is none, holds no sound, is too long or takes too long."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise GreetingError(f"{path}: is no file; name a sound file")
        # Absolute, as FFmpeg would take `http:...` for an address.
        with av.open(str(path.absolute()), options=_CAREFUL, **_TAGS) as source:
            if not source.streams.audio:
                raise GreetingError(f"{path}: holds no sound; name a file with a sound track")
            return _Reading(path, source, most_seconds).sound()
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, OSError):
            raise GreetingError(f"{path}: cannot be read: {error.strerror}") from error
        raise _unreadable(path, error.strerror or "") from error
    except (ValueError, MemoryError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> GreetingError:
    return GreetingError(
        f"{path}: is no sound file that can be read ({one_line(why, 80)}); save it anew as WAV, MP3 or M4A"
    )


class _Reading:
    """One pass over a file's first sound track."""

    def __init__(self, path: Path, source: InputContainer, most_seconds: float) -> None:
        self._path, self._source, self._most_seconds = path, source, most_seconds
        self._stream = source.streams.audio[0]
        self._samples = array("f")
        self._channels: list[_Channel] = []
        self._form: tuple[str, str, int] | None = None
        self._telephone: Chain | None = None
        self._bytes: Chain | None = None

    def sound(self) -> Sound:
        for frame in self._frames():
            self._take(frame)
            if len(self._samples) > self._most_seconds * RATE:
                raise GreetingError(
                    f"{self._path}: is longer than {self._most_seconds:g} s, and no caller listens so long; "
                    "cut it first"
                )
        self._pass(None)
        if self._form is None:
            raise GreetingError(f"{self._path}: its sound track is empty; record it anew")
        together = max(map(abs, self._samples), default=0.0)
        steady = _is_steady(self._samples)
        return Sound(
            self._samples,
            self._stream.codec_context.codec.canonical_name,
            self._form[2],
            len(self._channels),
            max(clipped(channel.amplitudes, tone=steady) for channel in self._channels),
            any(channel.audible for channel in self._channels) and together < _NOTHING,
        )

    def _frames(self) -> Iterator[av.AudioFrame]:
        end = time.monotonic() + _READING_SECONDS
        packets = damaged = 0
        why = ""
        for packet in self._source.demux(self._stream):
            if time.monotonic() > end:
                raise GreetingError(
                    f"{self._path}: is not read after {_READING_SECONDS:g} s; save its sound alone, as WAV"
                )
            packets += 1
            try:
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        yield frame
            except av.InvalidDataError as error:  # a tag in the middle of an MP3, a file cut short
                damaged += 1
                why = error.strerror or ""
        if damaged > packets * _DAMAGED:
            raise _unreadable(self._path, why)

    def _take(self, frame: av.AudioFrame) -> None:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            channels = len(frame.layout.channels)
            if frame.sample_rate not in _RATES or not 0 < channels <= _CHANNELS:
                raise _unreadable(self._path, f"{channels} channels of {frame.sample_rate} Hz")
            self._pass(None)
            self._telephone, self._bytes = Chain(frame, *_TELEPHONE), Chain(frame, *_BYTES)
            self._channels.extend(_Channel() for _ in range(channels - len(self._channels)))
            self._form = form
        # Times of day are of no use here, and where they jump a filter would fill the gap.
        frame.pts = None
        self._pass(frame)

    def _pass(self, frame: av.AudioFrame | None) -> None:
        """Give a frame, or None at the end of a form, to both chains."""
        if self._telephone is None or self._bytes is None:
            return
        for out in self._telephone.frames(frame):
            self._samples.frombytes(samples_of(out))
        for out in self._bytes.frames(frame):
            for plane, channel in zip(range(len(out.planes)), self._channels, strict=False):
                channel.count(samples_of(out, plane))


def _is_steady(samples: "array[float]") -> bool:
    """Whether a sound is a tone: as loud all the time, but for its pauses."""
    powers: list[float] = [
        sum(map(mul, part, part))
        for part in (samples[at : at + _WINDOW] for at in range(0, len(samples), _WINDOW))
    ]
    least = max(powers, default=0.0) * _HEARD_POWER
    heard = sorted(power for power in powers if power > least)
    if not heard:
        return False
    usual = heard[len(heard) // 2]
    same = sum(usual / _SAME_POWER < power < usual * _SAME_POWER for power in heard)
    return same > len(heard) * _MOST


class _Channel:
    """How often a channel has each amplitude, in steps of a byte: 0 for silence to 128 for full scale."""

    def __init__(self) -> None:
        self._bytes: Counter[int] = Counter()

    def count(self, values: bytes) -> None:
        self._bytes.update(values)

    @property
    def audible(self) -> bool:
        return any(abs(value - 128) >= _AUDIBLE for value in self._bytes)

    @property
    def amplitudes(self) -> list[int]:
        counts = [0] * STEPS
        for value, count in self._bytes.items():
            counts[abs(value - 128)] += count
        return counts
