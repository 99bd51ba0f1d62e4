"""What the callers of these tests say, and whether what arrived is that. No arithmetic library: loops.

Speech is made: bursts of a few tones, of uneven loudness and length, with pauses. Each seed says something
else, so that one caller's message cannot pass for another's.
"""

import io
import math
import random
import wave
from array import array
from operator import mul
from pathlib import Path

RATE = 8000
_FRAME = 160


def words(seconds: float, seed: int = 1) -> "array[int]":
    """Say something of a length."""
    rng = random.Random(seed)
    said: array[int] = array("h")
    wanted = round(seconds * RATE)
    while len(said) < wanted:
        length = round(rng.uniform(0.10, 0.35) * RATE)
        loud = rng.uniform(2500, 9000)
        tones = [2 * math.pi * rng.uniform(180, 1900) / RATE for _ in range(3)]
        for n in range(length):
            swell = math.sin(math.pi * n / length)
            said.append(round(loud * swell * sum(math.sin(tone * n) for tone in tones) / 3))
        said.extend([0] * round(rng.uniform(0.04, 0.16) * RATE))
    return said[:wanted]


def silence(seconds: float) -> "array[int]":
    """Say nothing for a while."""
    return array("h", bytes(2 * round(seconds * RATE)))


def write(path: Path, samples: "array[int]") -> Path:
    """Write samples as a WAV file and return its path."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def read(content: bytes) -> "array[int]":
    """Read a mono WAV file of 8 kHz, strictly."""
    with wave.open(io.BytesIO(content)) as file:
        assert file.getparams()[:3] == (1, 2, RATE), file.getparams()
        frames = file.readframes(file.getnframes())
        assert len(frames) == 2 * file.getnframes(), "the header promises more than there is"
        return array("h", frames)


def seconds_of(samples: "array[int]") -> float:
    """Return how long samples last."""
    return len(samples) / RATE


def likeness(said: "array[int]", heard: "array[int]") -> float:
    """Return how alike two recordings are in loudness over time, wherever one begins in the other."""
    return _laid_over(said, heard)[0]


def same_wave(said: "array[int]", heard: "array[int]") -> float:
    """Return how well some quarter of a second agrees sample by sample: near 1 only for the same sound."""
    lag = _laid_over(said, heard)[1]
    length = min(len(said), len(heard))
    return max(_agreement(said, heard, max(0, -lag) + length * n // 8, lag) for n in (2, 4, 6))


def unbroken(said: "array[int]", heard: "array[int]") -> float:
    """Return how well the worst quarter of a second agrees, all laid over at one and the same place.

    Near 1 only if nothing is missing, doubled or moved anywhere in what was heard.
    """
    lag = _laid_over(said, heard)[1]
    middle = max(0, -lag) + min(len(said), len(heard)) // 2
    part = said[middle : middle + RATE // 4]
    around = range(middle + lag - _FRAME, middle + lag + _FRAME)
    lag = max(around, key=lambda start: _correlation(part, heard[start : start + len(part)])) - middle
    starts = range(max(0, -lag), min(len(said), len(heard) - lag) - RATE // 4, RATE // 4)
    return min(
        _correlation(said[start : start + RATE // 4], heard[start + lag : start + lag + RATE // 4])
        for start in starts
    )


def heard_of(said: "array[int]", heard: "array[int]") -> float:
    """Return how many seconds of what was said are in what was heard, wherever they begin there."""
    lag = _laid_over(said, heard)[1]
    return max(0, min(len(said), len(heard) - lag) - max(0, -lag)) / RATE


def _agreement(said: "array[int]", heard: "array[int]", first: int, lag: int) -> float:
    part = said[first : first + RATE // 4]
    around = range(max(0, first + lag - _FRAME), first + lag + _FRAME)
    return max(_correlation(part, heard[start : start + len(part)]) for start in around)


def loudness(samples: "array[int]") -> list[float]:
    """Return the root mean square of every 20 ms."""
    return [
        math.sqrt(sum(map(mul, part, part)) / _FRAME)
        for part in (samples[n : n + _FRAME] for n in range(0, len(samples) - _FRAME + 1, _FRAME))
    ]


def _laid_over(said: "array[int]", heard: "array[int]") -> tuple[float, int]:
    """Return the best likeness, and by how many samples the one then lies later in the other."""
    best = (-1.0, 0)
    source = loudness(said)
    for offset in range(0, _FRAME, _FRAME // 4):
        found = loudness(heard[offset:])
        least = max(10, round(0.8 * min(len(source), len(found))))
        for lag in range(least - len(source), len(found) - least + 1):
            first, last = max(0, -lag), min(len(source), len(found) - lag)
            alike = _correlation(source[first:last], found[first + lag : last + lag])
            best = max(best, (alike, lag * _FRAME + offset))
    return best


def _correlation(one: "list[float] | array[int]", other: "list[float] | array[int]") -> float:
    n = min(len(one), len(other))
    if n == 0:
        return -1.0
    mean_one, mean_other = sum(one[:n]) / n, sum(other[:n]) / n
    apart_one = [value - mean_one for value in one[:n]]
    apart_other = [value - mean_other for value in other[:n]]
    power = math.sqrt(sum(map(mul, apart_one, apart_one)) * sum(map(mul, apart_other, apart_other)))
    return sum(map(mul, apart_one, apart_other)) / power if power else 0.0


def alaw(samples: "array[int]") -> bytes:
    """Encode as G.711 A-law."""
    return bytes(_alaw(sample) for sample in samples)


def _alaw(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0x00
    magnitude = min(abs(sample) if sample >= 0 else -sample - 1, 32767) >> 3
    exponent = max(0, magnitude.bit_length() - 5)
    mantissa = (magnitude >> max(exponent, 1)) & 0x0F
    return (sign | exponent << 4 | mantissa) ^ 0x55
