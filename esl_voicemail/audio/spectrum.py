"""A telephone's sound as its spectra, one each 20 ms: how loud each band is, and whether it is a tone.

Says nothing of what they mean. No loop runs over samples: each slice of a recording is a few operations of
numpy, which lets others run meanwhile.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from esl_voicemail.audio.graph import RATE

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

FRAME_MS = 20
FRAME = RATE * FRAME_MS // 1000
# A window of 32 ms: its lines are 31.25 Hz apart.
WINDOW = 256
HERTZ = RATE / WINDOW
_SHAPE = np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
_POWER = np.float32(2 / (WINDOW * np.sum(_SHAPE.astype(np.float64) ** 2)))
# What a telephone carries, 190 to 3500 Hz, in eight bands; 16 bits hold nothing below this power.
_BANDS = (6, 13, 20, 28, 37, 48, 62, 82, 112)
_NOTHING = np.float32(1e-8)
# Where a tone is looked for, 62 to 3700 Hz, and how many lines one is wide.
_LOWEST, _HIGHEST = 2, 120
_LINE = np.arange(-2, 3)
# The second channel of V.21, on which a fax that answers says what it can: 1650 and 1850 Hz.
_MODEM = slice(47, 65)
# So many frames at once stay within the processor's cache, and below the size from which an allocator takes
# memory from the system anew each time: the pages cost more than the transform.
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Spectra:
    """A recording's frames: `bands` the power of each band and `level` that of all sound, 1 for full scale.

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
    level, power = _power(samples)
    power = _even(power)
    heard = power[:, _LOWEST:_HIGHEST]
    total = heard.sum(axis=1) + _NOTHING
    strongest = np.clip(heard.argmax(axis=1), 2, heard.shape[1] - 3)[:, None]
    line = np.take_along_axis(heard, strongest + _LINE, axis=1)
    first = line.sum(axis=1)
    centre = strongest[:, 0] + (line @ _LINE.astype(np.float32)) / (first + _NOTHING)
    return Spectra(
        bands=np.add.reduceat(power[:, : _BANDS[-1]], _BANDS[:-1], axis=1) + _NOTHING,
        level=level,
        pitch=(centre + _LOWEST) * np.float32(HERTZ),
        pure=_pure(heard, strongest, first) / total,
        modem=power[:, _MODEM].sum(axis=1) / total,
    )


def join(parts: list[Spectra]) -> Spectra:
    """Return the spectra of slices as those of the whole."""
    fields = ("bands", "level", "pitch", "pure", "modem")
    return Spectra(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def decibels(power: Floats) -> Floats:
    """Return a power in dB below full scale."""
    return 10 * np.log10(np.maximum(power, _NOTHING / 10))


def _power(samples: NDArray[np.int16]) -> tuple[Floats, Floats]:
    """Return how loud each frame is, and the power of each of its lines up to the highest asked for."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::FRAME]
    level = np.empty(len(windows), np.float32)
    power = np.empty((len(windows), _HIGHEST), np.float32)
    for start in range(0, len(windows), _FRAMES_AT_ONCE):
        these = slice(start, start + _FRAMES_AT_ONCE)
        sound = windows[these] * np.float32(1 / 32768)
        level[these] = np.einsum("ij,ij->i", sound, sound) / WINDOW
        sound *= _SHAPE
        lines = np.fft.rfft(sound)[:, :_HIGHEST]
        power[these] = (lines.real**2 + lines.imag**2) * _POWER
    return level, power


def _even(power: Floats) -> Floats:
    """Take each frame with its neighbours: what beats, as two tones do, is steady then."""
    even = power.copy()
    even[1:-1] += power[:-2]
    even[1:-1] += power[2:]
    even[1:-1] *= np.float32(1 / 3)
    return even


def _pure(heard: Floats, strongest: NDArray[np.intp], first: Floats) -> Floats:
    """Return the power of the two strongest lines, 0 where the strongest moves."""
    rows = np.zeros(len(first), np.bool_)
    rows[2:-2] = np.abs(strongest[4:, 0] - strongest[:-4, 0]) <= 1
    pure = np.zeros_like(first)
    rest = heard[rows]
    np.put_along_axis(rest, strongest[rows] + _LINE, 0, axis=1)
    second = np.clip(rest.argmax(axis=1), 2, rest.shape[1] - 3)[:, None]
    pure[rows] = first[rows] + np.take_along_axis(rest, second + _LINE, axis=1).sum(axis=1)
    return pure
