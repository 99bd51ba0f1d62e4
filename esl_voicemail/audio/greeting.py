"""From a sound that somebody recorded to a greeting: judged, trimmed, levelled, in the switch's own form.

The switch plays 8000 Hz mono 16-bit PCM as it is. Where the file goes is left to `greeting_folder`.
"""

import os
import sys
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from operator import mul
from pathlib import Path

from esl_voicemail.audio import wav
from esl_voicemail.audio.clipping import CLIPPED_SHARE
from esl_voicemail.audio.graph import RATE, filtered
from esl_voicemail.audio.loudness import TARGET_LUFS, Loudness, decibels, levelled, measure
from esl_voicemail.audio.sound import Sound, hear
from esl_voicemail.errors import GreetingError, RecordingError

MOST_SECONDS, LEAST_SECONDS = 120.0, 0.5

_FRONT_SECONDS, _BACK_SECONDS = 0.04, 0.2
_FADE_IN_SECONDS, _FADE_OUT_SECONDS = 0.01, 0.03
# What a telephone does not carry: rumble, hum, the wind.
_RUMBLE = ("highpass", "f=120:poles=2")

_WINDOW = RATE // 100
# A sound begins and ends where most of 50 ms is loud enough: a click at the button is none.
_RUN, _MOST_OF_RUN = 5, 3
_SILENT_DB, _DIGITAL_SILENCE_DB = -60.0, -75.0
_ABOVE_NOISE_DB = 8.0
# However quiet or noisy the pauses are, this far below its loud parts a sound is silence, or is not.
_SURELY_SILENCE_DB, _SURELY_SOUND_DB = -36.0, -26.0
# What rings on after a knock is no sound either.
_BESIDE_A_KNOCK_DB = -40.0

# What a caller may still be asked to bear of a file that is played as it is.
_LATE_SECONDS, _LINGERING_SECONDS = 0.5, 2.0
_OFF_TARGET = 6.0
# Below a folder, where mod_sndfile looks for a file first.
_RATES = ("8000", "16000", "32000", "48000")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where in a sound there is something to hear: seconds before it, of it, and after it."""

    before: float
    during: float
    after: float


@dataclass(frozen=True, slots=True)
class Greeting:
    """A greeting as a WAV file's bytes, and what was done to get there; seconds, LUFS and dBFS."""

    content: bytes
    seconds: float
    was: Sound
    loudness_before: Loudness
    loudness: Loudness
    cut_front: float
    cut_back: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a caller hears of a file that is played as it is.

    `refusal` says why no greeting can be made of it, `faults` what `make` would put right; empty if nothing.
    """

    sound: Sound
    loudness: Loudness
    extent: Extent
    refusal: str
    faults: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return all that is wrong, a line each."""
        return (*filter(None, [self.refusal]), *self.faults)


def make(path: Path) -> Greeting:
    """Make a greeting of a sound file, which stays as it is; GreetingError when none can be made of it."""
    sound = hear(path, MOST_SECONDS)
    samples = filtered(sound.samples, _RUMBLE)
    extent = extent_of(samples)
    refusal = _refusal(sound, extent)
    if refusal:
        raise GreetingError(f"{path}: {refusal}")
    first = max(0, round((extent.before - _FRONT_SECONDS) * RATE))
    last = min(len(samples), len(samples) - round((extent.after - _BACK_SECONDS) * RATE))
    out = levelled(samples[first:last])
    _fade(out)
    return Greeting(
        content=_wav(out),
        seconds=len(out) / RATE,
        was=sound,
        loudness_before=measure(sound.samples),
        loudness=measure(out),
        cut_front=first / RATE,
        cut_back=(len(samples) - last) / RATE,
    )


def judge(path: Path) -> Verdict:
    """Say what a caller hears of a file as it is; GreetingError when nothing can be heard of it at all."""
    sound = hear(path, MOST_SECONDS)
    loudness, extent = measure(sound.samples), extent_of(sound.samples)
    refusal = _refusal(sound, extent)
    heard = () if refusal else tuple(_annoyances(loudness, extent))
    return Verdict(sound, loudness, extent, refusal, (*_unplayable(path), *heard))


def extent_of(samples: "array[float]") -> Extent:
    """Find where in samples there is something to hear, by their own loud parts and their own noise."""
    levels = [
        decibels((sum(map(mul, part, part)) / _WINDOW) ** 0.5)
        for part in (samples[at : at + _WINDOW] for at in range(0, len(samples), _WINDOW))
    ]
    seconds = len(samples) / RATE
    falling = sorted(levels, reverse=True)
    if not falling or falling[0] <= _SILENT_DB:
        return Extent(seconds, 0.0, 0.0)
    top = falling[min(10, len(falling) // 4)]
    # Where a recorder or a codec put no noise at all it says nothing of the room's.
    rooms = [level for level in falling if level > _DIGITAL_SILENCE_DB]
    noise = rooms[len(rooms) * 19 // 20]
    threshold = max(
        _SILENT_DB,
        falling[0] + _BESIDE_A_KNOCK_DB,
        min(max(noise + _ABOVE_NOISE_DB, top + _SURELY_SILENCE_DB), top + _SURELY_SOUND_DB),
    )
    loud = [level > threshold for level in levels]
    count = len(loud)
    first = next((at for at in range(count) if loud[at] and sum(loud[at : at + _RUN]) >= _MOST_OF_RUN), count)
    last = next(
        (
            at
            for at in range(count, first, -1)
            if loud[at - 1] and sum(loud[max(0, at - _RUN) : at]) >= _MOST_OF_RUN
        ),
        first,
    )
    before, until = (min(at * _WINDOW, len(samples)) / RATE for at in (first, last))
    return Extent(before, until - before, seconds - until)


def _refusal(sound: Sound, extent: Extent) -> str:
    """Say why no greeting can be made of a sound; nothing when it can."""
    if sound.cancelled:
        return "its channels cancel each other out, and a telephone has one; save one channel alone"
    if max(map(abs, sound.samples), default=0.0) <= 10 ** (_SILENT_DB / 20):
        return f"is silent for {sound.seconds:.1f} s; look at the microphone, or take another file"
    if extent.during < LEAST_SECONDS:
        return (
            f"holds {extent.during:.2f} s of sound, too short for a greeting "
            f"(less than {LEAST_SECONDS:g} s); say a whole sentence"
        )
    if sound.clipped >= CLIPPED_SHARE:
        return (
            f"is badly clipped: {sound.clipped:.0%} of it is cut off; "
            "record it again, more quietly or farther from the microphone"
        )
    return ""


def _unplayable(path: Path) -> Iterator[str]:
    """Say what the switch would make of the file: mod_sndfile reads it, and the core adds its channels up."""
    try:
        shape = wav.inspect(path)
    except (RecordingError, OSError):
        yield "is no PCM WAV file, which a greeting must be"
    else:
        if shape.channels > 1:
            yield f"has {shape.channels} channels, which the switch adds up, too loud"
    for shadow in (path.parent / rate / path.name for rate in _RATES):
        if os.path.lexists(shadow):
            yield f"is not played, but {shadow} in its place; remove that"


def _annoyances(loudness: Loudness, extent: Extent) -> Iterator[str]:
    off = loudness.lufs - TARGET_LUFS
    if abs(off) > _OFF_TARGET:
        how = "loud" if off > 0 else "quiet"
        yield f"is too {how}: {loudness.lufs:.1f} LUFS, and {TARGET_LUFS:g} is right"
    if extent.before > _LATE_SECONDS:
        yield f"begins with {extent.before:.1f} s of silence: a caller thinks that nobody is there"
    if extent.after > _LINGERING_SECONDS:
        yield f"ends with {extent.after:.1f} s of silence: a caller waits for the tone"


def _fade(samples: "array[float]") -> None:
    """Let the ends rise and fall, so that a cut makes no click."""
    rising, falling = round(_FADE_IN_SECONDS * RATE), round(_FADE_OUT_SECONDS * RATE)
    for at in range(min(rising, len(samples))):
        samples[at] *= at / rising
    for at in range(min(falling, len(samples))):
        samples[-1 - at] *= at / falling


def _wav(samples: "array[float]") -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(_sixteen_bits(samples))
    return out.getvalue()


def _sixteen_bits(samples: "array[float]") -> bytes:
    out = array("h", (max(-32768, min(32767, round(sample * 32767))) for sample in samples))
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()
