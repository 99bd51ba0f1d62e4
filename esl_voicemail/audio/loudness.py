"""How loud a telephone's samples are to the ear, and how to make them as loud as wanted.

Loudness is the integrated one of EBU R 128, computed as ITU-R BS.1770-4 says; full scale is 1.
"""

import math
from array import array
from dataclasses import dataclass
from operator import mul

from esl_voicemail.audio.graph import RATE, filtered

# The shipped greetings have these too.
TARGET_LUFS, HIGHEST_PEAK_DB = -21.0, -3.2

_STEP = RATE // 10
_STEPS_A_BLOCK = 4
_OFFSET = -0.691
_GATE_LUFS, _RELATIVE_GATE = -70.0, -10.0
_TRIES = 4
_NEAR_ENOUGH = 0.1
# More would mostly raise the noise.
_HIGHEST_GAIN_DB = 40.0


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS and the highest sample in dBFS; minus infinity for silence."""

    lufs: float
    peak_db: float


def measure(samples: "array[float]") -> Loudness:
    """Measure samples; of less than 0.4 s, BS.1770's shortest block, the loudness is minus infinity."""
    weighted = filtered(samples, *_WEIGHTING)
    steps = [
        sum(map(mul, part, part)) / _STEP
        for part in (weighted[at : at + _STEP] for at in range(0, len(weighted) - _STEP + 1, _STEP))
    ]
    blocks = [
        sum(steps[at : at + _STEPS_A_BLOCK]) / _STEPS_A_BLOCK for at in range(len(steps) - _STEPS_A_BLOCK + 1)
    ]
    heard = _mean_above(blocks, _GATE_LUFS)
    lufs = _lufs(_mean_above(blocks, max(_GATE_LUFS, _lufs(heard) + _RELATIVE_GATE)))
    return Loudness(lufs, decibels(max(map(abs, samples), default=0.0)))


def levelled(samples: "array[float]") -> "array[float]":
    """Return samples at the wanted loudness, peaks limited; quieter where that would raise noise alone."""
    gain = TARGET_LUFS - measure(samples).lufs
    out = samples
    for _ in range(_TRIES):
        out = filtered(samples, ("volume", f"{min(gain, _HIGHEST_GAIN_DB):.3f}dB"), _LIMITER)
        missing = TARGET_LUFS - measure(out).lufs
        if abs(missing) < _NEAR_ENOUGH or gain > _HIGHEST_GAIN_DB:
            break
        gain += missing
    return out


def decibels(amplitude: float) -> float:
    """Return an amplitude in dBFS."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def _lufs(power: float) -> float:
    return _OFFSET + 10 * math.log10(power) if power > 0 else -math.inf


def _mean_above(blocks: list[float], gate: float) -> float:
    heard = [power for power in blocks if _lufs(power) > gate]
    return sum(heard) / len(heard) if heard else 0.0


def _k_weighting(rate: int) -> tuple[tuple[str, str], ...]:
    """The two filters of BS.1770, whose coefficients it gives for 48 kHz, at another rate (as libebur128)."""
    k, q = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    norm = 1 + k / q + k * k
    shelf = (
        (high + band * k / q + k * k) / norm,
        2 * (k * k - high) / norm,
        (high - band * k / q + k * k) / norm,
        2 * (k * k - 1) / norm,
        (1 - k / q + k * k) / norm,
    )
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1 + k / q + k * k
    rumble = (1.0, -2.0, 1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm)
    return tuple(
        ("biquad", "b0={:.12f}:b1={:.12f}:b2={:.12f}:a0=1:a1={:.12f}:a2={:.12f}:precision=f64".format(*one))
        for one in (shelf, rumble)
    )


_WEIGHTING = _k_weighting(RATE)
_LIMITER = (
    "alimiter",
    f"limit={10 ** (HIGHEST_PEAK_DB / 20):.6f}:attack=5:release=50:level=disabled:latency=1",
)
