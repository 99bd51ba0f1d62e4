"""Sound files of the kinds that people have, made here, and a reading of WAV files that owes ours nothing."""

import math
import wave
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

STUDIO = 48000


def silence(seconds: float) -> "array[float]":
    """Return silence at 48 kHz."""
    return array("f", bytes(4 * round(seconds * STUDIO)))


def note(seconds: float, hertz: float = 1000.0, loud: float = 0.1) -> "array[float]":
    """Return a tone at 48 kHz, full scale 1."""
    return array(
        "f", (loud * math.sin(2 * math.pi * hertz * n / STUDIO) for n in range(round(seconds * STUDIO)))
    )


def joined(*parts: "array[float]") -> "array[float]":
    """Return sounds one after the other."""
    whole = array("f")
    for part in parts:
        whole.extend(part)
    return whole


def mixed(*parts: "array[float]") -> "array[float]":
    """Return sounds of one length on top of each other."""
    return array("f", map(sum, zip(*parts, strict=True)))


def voice(path: Path, gain_db: float = 0.0) -> "array[float]":
    """Return a sound file at 48 kHz, recorded too loud by so much and cut off at full scale."""
    whole, gain = array("f"), 10 ** (gain_db / 20)
    resampler = av.AudioResampler("flt", "mono", STUDIO)
    with av.open(str(path)) as source:
        for frame in source.decode(audio=0):
            for ready in resampler.resample(frame):
                whole.frombytes(bytes(ready.planes[0])[: 4 * ready.samples])
    return array("f", (max(-1.0, min(1.0, sample * gain)) for sample in whole))


@dataclass(frozen=True)
class Kind:
    """How a sound is encoded; `video` puts a moving picture beside it."""

    suffix: str
    codec: str
    rate: int = STUDIO
    layout: str = "stereo"
    video: bool = False


KINDS = {
    "AAC of a telephone": Kind("m4a", "aac", 44100, "mono"),
    "MP3": Kind("mp3", "libmp3lame"),
    "Ogg Vorbis": Kind("ogg", "vorbis"),
    "Opus": Kind("opus", "libopus"),
    "FLAC": Kind("flac", "flac"),
    "48 kHz stereo WAV": Kind("wav", "pcm_s16le"),
    "8-bit WAV": Kind("wav", "pcm_u8", 11025, "mono"),
    "A-law WAV": Kind("wav", "pcm_alaw", 8000, "mono"),
    "u-law WAV": Kind("wav", "pcm_mulaw", 8000, "mono"),
    "96 kHz 24-bit WAV": Kind("wav", "pcm_s24le", 96000),
    "video": Kind("mp4", "aac", video=True),
}
WAV = KINDS["48 kHz stereo WAV"]


def encode(path: Path, sound: "array[float]", kind: Kind = WAV) -> Path:
    """Write a sound at 48 kHz as a file of a kind."""
    with av.open(str(path), "w", format="mp4" if kind.suffix == "m4a" else None) as out:
        strict = {"strict": "experimental"} if kind.codec == "vorbis" else None
        stream = out.add_stream(kind.codec, rate=kind.rate, layout=kind.layout, options=strict)
        if kind.video:
            picture(out, len(sound) / STUDIO)
        resampler = av.AudioResampler(stream.format, kind.layout, kind.rate, stream.frame_size or None)
        for frame in _frames(sound):
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


def _frames(sound: "array[float]") -> Iterable[av.AudioFrame]:
    for start in range(0, len(sound), 4096):
        part = sound[start : start + 4096]
        frame = av.AudioFrame("flt", "mono", len(part))
        frame.planes[0].update(part.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = STUDIO, start, Fraction(1, STUDIO)
        yield frame


def picture(out: av.container.OutputContainer, seconds: float) -> None:
    """Put a moving picture into a file, black and small."""
    stream = out.add_stream("mpeg4", rate=5)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for at in range(math.ceil(seconds * 5)):
        frame = av.VideoFrame(64, 64, "yuv420p")
        frame.pts, frame.time_base = at, Fraction(1, 5)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


@dataclass(frozen=True)
class Heard:
    """A WAV file as it stands: its form, and its samples with 1 for full scale."""

    rate: int
    channels: int
    sample_bytes: int
    samples: list[float]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    @property
    def peak_db(self) -> float:
        """Its highest sample in dBFS."""
        return _decibels(max(map(abs, self.samples)))

    def rms_db(self, start: float, end: float) -> float:
        """Return the mean level between two moments in dBFS."""
        part = self.samples[round(start * self.rate) : round(end * self.rate)]
        return _decibels(math.sqrt(sum(sample * sample for sample in part) / len(part)))

    def tone_db(self, hertz: float) -> float:
        """Return how strong one frequency is, in dBFS of a sine's amplitude."""
        turns = [2 * math.pi * hertz * n / self.rate for n in range(len(self.samples))]
        real = sum(sample * math.cos(turn) for sample, turn in zip(self.samples, turns, strict=True))
        imaginary = sum(sample * math.sin(turn) for sample, turn in zip(self.samples, turns, strict=True))
        return _decibels(2 * math.hypot(real, imaginary) / len(self.samples))

    def silence(self, threshold: float = 0.01) -> tuple[float, float]:
        """Return the seconds before the first and after the last sample above a threshold."""
        loud = [n for n, sample in enumerate(self.samples) if abs(sample) > threshold]
        return loud[0] / self.rate, (len(self.samples) - 1 - loud[-1]) / self.rate


def heard(path: Path) -> Heard:
    """Read a 16-bit WAV file with nothing but the standard library."""
    with wave.open(str(path)) as file:
        samples = array("h", file.readframes(file.getnframes()))
        return Heard(
            file.getframerate(), file.getnchannels(), file.getsampwidth(), [one / 32768 for one in samples]
        )


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
