"""What is heard in a recording: speech and how long, a tone, noise or silence; how loud, and whether clipped.

Speech is a sound whose spectrum keeps changing its shape: noise, hum, breath and tones keep theirs, however
loud they are. docs/speech.md says how well that holds, and how to measure it again. For a worker thread.
"""

from collections.abc import Iterable, Iterator
from math import log10
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from esl_voicemail.audio.amplitudes import Counts, amplitudes
from esl_voicemail.audio.clipping import CLIPPED_SHARE, STEPS, clipped
from esl_voicemail.audio.graph import RATE
from esl_voicemail.audio.spectrum import (
    FRAME,
    FRAME_MS,
    WINDOW,
    Flags,
    Floats,
    Spectra,
    decibels,
    join,
    spectra,
)
from esl_voicemail.audio.wav import Sound, Wav, inspect
from esl_voicemail.errors import RecordingError
from esl_voicemail.model import Content, Hearing

Samples = NDArray[np.int16]

_SLICE = RATE * 20
# In each ten seconds, what one frame in ten does not reach is the background, unless all of it is loud.
_BLOCK = 500
_BACKGROUND_PERCENT, _LOUD_PERCENT, _DEPTH_DB = 10, 95, 25
# So far above the background, over all bands, somebody may be speaking; and so loud at the least.
_ABOVE_DB, _FAINTEST = 2.5, 10 ** (-66 / 10)
# Shorter than five frames it is a click.
_CLICK = 2
# Bands differ by so much, 60 ms before and after, when the spectrum changes its shape.
_CHANGE_DB, _HALF, _BAND_DB, _BANDS = 2.5, 3, 3.0, 3
# A vowel that is held stays as it is for so long, on either side of a change.
_HELD = 6
# A tone: two lines are all there is, as high and as loud as 80 ms ago, for 100 ms at the least. On either
# side of one a codec still sounds.
_PURE, _SAME_HERTZ, _SAME_DB, _TONE, _STEADY, _AROUND = 0.9, 3.0, 1.5, 10 ** (-60 / 10), 2, 9
_MODEM, _MODEM_STEADY = 0.85, 3
# Fax machines call with 1100 Hz and answer with 2100 Hz (ITU-T T.30).
_FAX_HERTZ, _NEAR_HERTZ = (1100, 2100), 45
# Less is no word.
_WORD_MS = 100
_TONE_MS, _TONE_SHARE = 300, 1 / 3
_TONES = (Content.BUSY_TONE, Content.FAX_TONE)
_SILENT, _HEARD_SHARE = 10 ** (-50 / 10), 0.05


def listen(path: Path, sound: Sound | None = None) -> Hearing:
    """Tell what a WAV file holds, or `sound`, which was read of it; RecordingError when it is no sound.

    OSError when the disk is in the way.
    """
    shape = sound.shape if sound else inspect(path)
    try:
        return judge(_slices(path, shape, sound))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise RecordingError(f"{path.name}: cannot be read as sound: {error}") from error


def judge(slices: Iterable[Samples]) -> Hearing:
    """Tell what samples at 8 kHz hold, as they come."""
    counts = np.zeros(STEPS, np.int64)
    parts: list[Spectra] = []
    left = np.zeros(0, np.int16)
    for samples in slices:
        counts += amplitudes(samples)
        left = np.concatenate((left, samples)) if len(left) else samples
        if len(left) >= _SLICE:
            parts.append(spectra(left))
            left = left[len(parts[-1].level) * FRAME :]
    if not parts and len(left) < WINDOW:
        left = np.concatenate((left, np.zeros(WINDOW - len(left), np.int16)))
    if len(left) >= WINDOW:
        parts.append(spectra(left))
    return _judged(join(parts), counts)


def _slices(path: Path, shape: Wav, sound: Sound | None) -> Iterator[Samples]:
    """Read a recording as a telephone has it, a few seconds at a time."""
    if (shape.rate, shape.channels, shape.sample_bytes) == (RATE, 1, 2):
        if sound:
            samples = np.frombuffer(sound.content, "<i2", shape.data_bytes // 2, shape.data_offset)
            for start in range(0, len(samples), _SLICE):
                yield samples[start : start + _SLICE]
            return
        with path.open("rb") as file:
            file.seek(shape.data_offset)
            for start in range(0, shape.data_bytes, 2 * _SLICE):
                yield np.frombuffer(file.read(min(2 * _SLICE, shape.data_bytes - start)), "<i2")
        return
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path), format="wav") as source:
        for frame in source.decode(audio=0):
            for ready in resampler.resample(frame):
                yield ready.to_ndarray()[0]
        for ready in resampler.resample(None):
            yield ready.to_ndarray()[0]


def _judged(sound: Spectra, counts: Counts) -> Hearing:
    loudness: Floats = np.add.reduce(sound.bands)
    tone = _tones(sound, loudness)
    speech = _speech(sound.bands, loudness, _near(tone, _AROUND))
    speech_ms, tone_ms = int(np.count_nonzero(speech)) * FRAME_MS, int(np.count_nonzero(tone)) * FRAME_MS
    audible = int(np.count_nonzero(sound.level > _SILENT))
    if speech_ms >= _WORD_MS:
        content = Content.SPEECH
    elif tone_ms >= _TONE_MS and tone_ms >= audible * FRAME_MS * _TONE_SHARE:
        content = Content.FAX_TONE if _of_fax(sound, tone) else Content.BUSY_TONE
    else:
        content = Content.NOISE if audible > len(tone) * _HEARD_SHARE else Content.SILENCE
    heard = sound.level[speech] if content is Content.SPEECH else sound.level
    power = float(heard.sum(dtype=np.float64)) / len(heard)
    return Hearing(
        content=content,
        speech_ms=speech_ms,
        level_db=round(10 * log10(power), 1) if power else None,
        clipped=clipped(counts.tolist(), tone=content in _TONES) >= CLIPPED_SHARE,
    )


def _speech(bands: Floats, loudness: Floats, toned: Flags) -> Flags:
    """Tell the frames in which somebody speaks."""
    above = decibels(bands)
    blocks = round(len(loudness) / _BLOCK)
    for block in np.array_split(above, blocks, axis=1) if blocks > 1 else (above,):
        np.subtract(block, _background(block)[:, None], out=block)
    np.maximum(above, 0, out=above)
    louder = np.add.reduce(np.minimum(above, 20)) > _ABOVE_DB * len(above)
    active = _lasting(louder & (loudness > _FAINTEST), _CLICK)
    changing = (_change(above, active) > _CHANGE_DB) & ~toned
    return active & _near(changing, _HELD) & ~toned


def _background(bands: Floats) -> Floats:
    ordered = np.sort(bands, axis=1)
    quiet, loud = _percentile(ordered, _BACKGROUND_PERCENT), _percentile(ordered, _LOUD_PERCENT)
    return np.minimum(quiet, loud - _DEPTH_DB)


def _percentile(ordered: Floats, percent: int) -> Floats:
    """Return np.percentile of each row, which takes longer to find out what it is asked than to answer."""
    last = ordered.shape[1] - 1
    at, part = divmod(last * percent, 100)
    below, above = ordered[:, at], ordered[:, min(at + 1, last)]
    return below + (above - below) * np.float32(part / 100)


def _change(above: Floats, active: Flags) -> Floats:
    """Return by how many dB the spectrum changes its shape about each frame, whatever its loudness does."""
    change = np.zeros(len(active), np.float32)
    if len(active) <= 2 * _HALF:
        return change
    before, after = above[:, : -2 * _HALF], above[:, 2 * _HALF :]
    heard = (np.maximum(before, after) > _BAND_DB).astype(np.float32)
    count = np.add.reduce(heard)
    both = active[: -2 * _HALF] & active[2 * _HALF :] & (count >= _BANDS)
    np.maximum(count, 1, out=count)
    difference = after - before
    difference *= heard
    usual = np.add.reduce(difference) / count
    difference -= usual * heard
    apart = np.add.reduce(np.abs(difference, out=difference)) / count
    change[_HALF:-_HALF] = apart * both
    change[1:-1] = (change[:-2] + change[1:-1] + change[2:]) / 3
    return change


def _tones(sound: Spectra, loudness: Floats) -> Flags:
    power = loudness * sound.pure
    level = decibels(power)
    steady = np.zeros(len(level), np.bool_)
    steady[2:-2] = (np.abs(sound.pitch[4:] - sound.pitch[:-4]) < _SAME_HERTZ) & (
        np.abs(level[4:] - level[:-4]) < _SAME_DB
    )
    pure = (sound.pure > _PURE) & (power > _TONE)
    bits = (sound.modem > _MODEM) & (sound.level > _TONE)
    return _lasting(steady & pure, _STEADY) | _lasting(bits, _MODEM_STEADY)


def _of_fax(sound: Spectra, tone: Flags) -> bool:
    bits = sound.modem > _MODEM
    for hertz in _FAX_HERTZ:
        bits |= np.abs(sound.pitch - hertz) < _NEAR_HERTZ
    return int((bits & tone).sum()) * 2 > int(tone.sum())


def _near(flags: Flags, frames: int) -> Flags:
    """Tell which frames are at most so far from one that is flagged."""
    if not flags.any():
        return flags
    near: Flags = np.zeros(len(flags) + 2 * frames, np.bool_)
    near[frames : frames + len(flags)] = flags
    # Each step tells of up to twice as many frames in a row whether one of them is flagged.
    told, asked = 1, 2 * frames + 1
    while told < asked:
        step = min(told, asked - told)
        near = near[step:] | near[:-step]
        told += step
    return near


def _lasting(flags: Flags, frames: int) -> Flags:
    """Tell which flagged frames are within a run of more than twice as many."""
    return _near(~_near(~flags, frames), frames) if flags.any() else flags
