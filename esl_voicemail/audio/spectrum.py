"""A telephone's sound as its spectra, one each 20 ms: how loud each band is, and whether it is a tone.

Says nothing of what they mean. No loop of Python's runs over samples: `_measured.c` measures a slice of a
recording in one go, and without it numpy does in a few operations. Either lets others run meanwhile.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from esl_voicemail.audio.compiled import measured
from esl_voicemail.audio.graph import RATE

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Lines = NDArray[np.intp]

FRAME_MS = 20
FRAME = RATE * FRAME_MS // 1000
# A window of 32 ms: its lines are 31.25 Hz apart.
WINDOW = 256
HERTZ = RATE / WINDOW
_HANN = np.hanning(WINDOW + 2)[1:-1]
_FULL_SCALE = 32768
# So many frames at once stay within the processor's cache, and just below the size (128 KiB) from which an
# allocator takes memory from the system anew each time: the pages cost more than the transform. And OpenBLAS
# does not wake threads for so little: from four times 65536 multiplications on it does.
_FRAMES_AT_ONCE = 120
# Such that the square of each line is a third of its power, as each frame is added to its neighbours. For all
# frames at once: one long multiplication takes half the time of many short ones.
_SHAPE = np.tile(
    (_HANN * np.sqrt(2 * WINDOW / np.sum(_HANN**2) / 3) / _FULL_SCALE).astype(np.float32),
    (_FRAMES_AT_ONCE, 1),
)
# The same for a transform that does not divide by its length.
_WINDOW_SHAPE = _SHAPE[0] / np.float32(WINDOW)
# The lines that are kept: where a tone is looked for, 62 to 3700 Hz, and how many lines one is wide.
_LOWEST, _HIGHEST = 2, 120
_LINE = np.arange(-2, 3)[:, None]
_ASIDE = np.arange(-2, 3, dtype=np.float32)
# What a telephone carries, 190 to 3500 Hz, in eight bands, and what is below and above them; 16 bits hold
# nothing below this power.
_BANDS = tuple(pairwise((6, 13, 20, 28, 37, 48, 62, 82, 112)))
_NOTHING = np.float32(1e-8)
# The second channel of V.21, on which a fax that answers says what it can: 1650 and 1850 Hz.
_MODEM = (47, 65)
# Which lines are added up to what: each band, the modem's, and all.
_SUMS = np.array(
    [
        [low <= line < high for low, high in (*_BANDS, _MODEM, (_LOWEST, _HIGHEST))]
        for line in range(_LOWEST, _HIGHEST)
    ],
    np.float32,
)


@dataclass(frozen=True, slots=True)
class Spectra:
    """A recording's frames: `bands` the power of each band and `level` that of all sound, 1 for full scale.

    In `bands` each of the eight is a row, as long as the recording: so they are added in few long steps.
    `pitch` is the frequency of the strongest line in Hz, `pure` the share of the two strongest lines, where
    the line is steady enough to ask, and `modem` that of a fax machine's bits.
    """

    bands: Floats
    level: Floats
    pitch: Floats
    pure: Floats
    modem: Floats


def spectra(samples: NDArray[np.int16]) -> Spectra:
    """Return the spectra of 256 samples or more, one for each frame that a whole window begins with."""
    if measured is None:
        return by_numpy(samples)
    bands = len(_BANDS)
    rows = np.empty((bands + 4, _frames(samples)), np.float32)
    measured.spectra(np.ascontiguousarray(samples, np.int16), _WINDOW_SHAPE, rows)
    return Spectra(rows[:bands], *rows[bands:])


def by_numpy(samples: NDArray[np.int16]) -> Spectra:
    """Do the same without what was compiled."""
    level, power, sums = _power(samples)
    power = _even(power)
    sums = np.ascontiguousarray(_even(sums).T)
    bands, modem, total = sums[:-2], sums[-2], sums[-1] + _NOTHING
    strongest = _strongest(power)
    lines = _lines(strongest)
    line = power.take(lines)
    first = np.add.reduce(line)
    # The second strongest is what is the strongest without it.
    power.reshape(-1)[lines] = 0
    second = np.add.reduce(power.take(_lines(_strongest(power))))
    return Spectra(
        bands=bands + _NOTHING,
        level=level,
        pitch=(strongest + _ASIDE @ line / (first + _NOTHING) + _LOWEST) * np.float32(HERTZ),
        pure=(first + second) * _steady(strongest) / total,
        modem=modem / total,
    )


def join(parts: list[Spectra]) -> Spectra:
    """Return the spectra of slices as those of the whole."""
    if len(parts) == 1:
        return parts[0]
    fields = ("bands", "level", "pitch", "pure", "modem")
    return Spectra(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in fields))


def decibels(power: Floats) -> Floats:
    """Return a power in dB below full scale."""
    return 10 * np.log10(np.maximum(power, _NOTHING / 10))


def _frames(samples: NDArray[np.int16]) -> int:
    return (len(samples) - WINDOW) // FRAME + 1


def _power(samples: NDArray[np.int16]) -> tuple[Floats, Floats, Floats]:
    """Return how loud each frame is, a third of the power of each line that is kept, and their sums."""
    frames = _frames(samples)
    step = samples.itemsize
    windows = np.ndarray((frames, WINDOW), samples.dtype, samples, strides=(FRAME * step, step))
    level = np.empty(frames, np.float32)
    power = np.empty((frames, _HIGHEST - _LOWEST), np.float32)
    sums = np.empty((frames, _SUMS.shape[1]), np.float32)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        until = min(start + _FRAMES_AT_ONCE, frames)
        sound = windows[start:until].astype(np.float32)
        np.vecdot(sound, sound, out=level[start:until])
        sound *= _SHAPE[: until - start]
        # Asked for a norm, numpy stays with 32 bits; without one it takes all to 64 and back.
        lines = np.fft.rfft(sound, norm="forward")
        some = np.abs(lines[:, _LOWEST:_HIGHEST], out=power[start:until])
        some *= some
        np.matmul(some, _SUMS, out=sums[start:until])
    level *= np.float32(1 / (WINDOW * _FULL_SCALE**2))
    return level, power, sums


def _even(power: Floats) -> Floats:
    """Add each frame to its neighbours: what beats, as two tones do, is steady then."""
    if len(power) < 3:
        return power * 3
    even = np.empty_like(power)
    even[0], even[-1] = power[0] * 3, power[-1] * 3
    inner = np.add(power[:-2], power[2:], out=even[1:-1])
    inner += power[1:-1]
    return even


def _steady(strongest: Lines) -> Flags:
    """Tell where the strongest line has not moved for 80 ms."""
    steady = np.zeros(len(strongest), np.bool_)
    steady[2:-2] = np.abs(strongest[4:] - strongest[:-4]) <= 1
    return steady


def _strongest(power: Floats) -> Lines:
    """Return each frame's strongest line, and in place of one at an edge the nearest that is a whole one."""
    strongest: Lines = np.minimum(np.maximum(power.argmax(axis=1), 2), power.shape[1] - 3)
    return strongest


def _lines(strongest: Lines) -> Lines:
    """Return where among all frames' lines a tone's are, by the one in the middle; a row for each of five."""
    frames = len(strongest)
    all_lines = _HIGHEST - _LOWEST
    lines: Lines = np.arange(0, frames * all_lines, all_lines) + strongest + _LINE
    return lines
