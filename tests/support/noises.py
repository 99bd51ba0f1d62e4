"""What a line brings when nobody speaks: tones, noise and silence, made here at 8 kHz, 1 for full scale."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

RATE = 8000
Sound = NDArray[np.float64]


def tones(seconds: float, *hertz: float) -> Sound:
    """Return tones sounding together, all as loud as each other."""
    at = np.arange(round(seconds * RATE)) / RATE
    whole = np.zeros(len(at))
    for one in hertz:
        whole += np.sin(2 * np.pi * one * at)
    return whole / max(1, len(hertz))


def cadence(seconds: float, hertz: tuple[float, ...], *spans: float) -> Sound:
    """Return tones that sound and pause in turn, `spans` seconds each."""
    whole = tones(seconds, *hertz)
    at, sounding, n = 0.0, True, 0
    while at < seconds:
        end = at + spans[n % len(spans)]
        if not sounding:
            whole[round(at * RATE) : round(end * RATE)] = 0
        at, sounding, n = end, not sounding, n + 1
    return whole


def in_turn(seconds: float, *parts: Sound) -> Sound:
    """Return sounds one after the other, again and again."""
    once = np.concatenate(parts)
    return np.resize(once, round(seconds * RATE))


def coloured(seconds: float, slope: float, seed: int = 1) -> Sound:
    """Return noise whose amplitude falls by frequency to the power of `slope`: 0 white, 0.5 pink, 1 brown."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)
    shaped = np.fft.irfft(spectrum / hertz**slope, count)
    return shaped / (np.abs(shaped).max() or 1.0)


def banded(sound: Sound, low: float, high: float) -> Sound:
    """Return what of a sound lies between two frequencies."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(hertz < low) | (hertz > high)] = 0
    return np.fft.irfft(spectrum, len(sound))


def swelling(seconds: float, per_second: float, seed: int = 1) -> Sound:
    """Return a loudness that rises and falls at random, 0 to 1, at most so often a second."""
    slow = np.abs(banded(np.random.default_rng(seed).normal(size=round(seconds * RATE)), 0.05, per_second))
    return slow / (slow.max() or 1.0)


def wind(seconds: float, seed: int = 1) -> Sound:
    """Return gusts into a microphone."""
    return banded(coloured(seconds, 0.8, seed), 30, 900) * swelling(seconds, 2.0, seed + 1)


def car(seconds: float, seed: int = 1) -> Sound:
    """Return a car on the road: its tyres, and an engine that turns a little faster and slower."""
    at = np.arange(round(seconds * RATE)) / RATE
    turning = 2 * np.pi * (38 * at + 1.5 * np.sin(2 * np.pi * 0.2 * at))
    engine = sum((np.sin(n * turning) / n for n in range(1, 9)), np.zeros(len(at)))
    return 4 * coloured(seconds, 0.9, seed) + 0.15 * engine


def buzz(seconds: float) -> Sound:
    """Return what a mobile telephone near a loudspeaker does: 217 pulses a second, in bursts."""
    at = np.arange(round(seconds * RATE)) / RATE
    pulses = ((at * 217) % 1 < 0.125).astype(np.float64) - 0.125
    return pulses * ((at % 1.3) < 0.7)


def clicks(seconds: float, per_second: float = 6.0, ring_ms: float = 4.0, seed: int = 1) -> Sound:
    """Return keys of a keyboard, or of whatever else knocks."""
    random = np.random.default_rng(seed)
    whole = 0.002 * random.normal(size=round(seconds * RATE))
    length = round(ring_ms * 5 * RATE / 1000)
    ring = np.exp(-np.arange(length) / (ring_ms * RATE / 1000))
    for at in random.uniform(0, seconds, round(seconds * per_second)):
        start = round(at * RATE)
        knock = ring * random.normal(size=length) * random.uniform(0.3, 1)
        whole[start : start + length] += knock[: len(whole) - start]
    return whole


def breath(seconds: float, seed: int = 1) -> Sound:
    """Return somebody breathing into the receiver, a breath each three seconds."""
    at = np.arange(round(seconds * RATE)) / RATE
    return banded(coloured(seconds, 0.3, seed), 200, 3000) * np.maximum(0, np.sin(2 * np.pi * at / 3)) ** 2


def modem(seconds: float, marks: tuple[float, float] = (1650, 1850), baud: int = 300, seed: int = 1) -> Sound:
    """Return bits as two tones (V.21): how two fax machines talk."""
    bits = np.random.default_rng(seed).integers(0, 2, round(seconds * baud) + 1)
    hertz = np.where(np.repeat(bits, -(-RATE // baud)), *marks)[: round(seconds * RATE)]
    return np.sin(2 * np.pi * np.cumsum(hertz) / RATE)


BUSY: dict[str, Callable[[float], Sound]] = {
    "busy 425 Hz, 0.5 s": lambda s: cadence(s, (425,), 0.5, 0.5),
    "busy 425 Hz, 0.25 s": lambda s: cadence(s, (425,), 0.25, 0.25),
    "busy 425 Hz, 0.35 s": lambda s: cadence(s, (425,), 0.35, 0.35),
    "busy 400 Hz, 0.375 s": lambda s: cadence(s, (400,), 0.375, 0.375),
    "busy 450 Hz, 0.35 s": lambda s: cadence(s, (450,), 0.35, 0.35),
    "busy 480 and 620 Hz": lambda s: cadence(s, (480, 620), 0.5, 0.5),
    "reorder 480 and 620 Hz": lambda s: cadence(s, (480, 620), 0.25, 0.25),
    "off hook, four tones": lambda s: cadence(s, (1400, 2060, 2450, 2600), 0.1, 0.1),
    "dial tone 425 Hz": lambda s: tones(s, 425),
    "dial tone 350 and 440 Hz": lambda s: tones(s, 350, 440),
    "dial tone 400 and 450 Hz": lambda s: tones(s, 400, 450),
    "ringing 425 Hz": lambda s: cadence(s, (425,), 1.0, 4.0),
    "ringing 440 and 480 Hz": lambda s: cadence(s, (440, 480), 2.0, 4.0),
    "special information tones": lambda s: in_turn(
        s, tones(0.33, 950), tones(0.33, 1400), tones(0.33, 1800), np.zeros(8000)
    ),
    "test tone 1004 Hz": lambda s: tones(s, 1004),
}
FAX: dict[str, Callable[[float], Sound]] = {
    "fax calling, 1100 Hz": lambda s: cadence(s, (1100,), 0.5, 3.0),
    "fax answering, 2100 Hz": lambda s: in_turn(
        s, tones(3.3, 2100), np.zeros(6000), modem(1.5), np.zeros(24000)
    ),
    "fax, V.21 alone": modem,
}
NOISE: dict[str, Callable[[float], Sound]] = {
    "white noise": lambda s: coloured(s, 0),
    "pink noise": lambda s: coloured(s, 0.5),
    "brown noise": lambda s: coloured(s, 1),
    "comfort noise": lambda s: banded(coloured(s, 0.4), 300, 3400),
    "hum of 50 Hz": lambda s: tones(s, 50, 100, 150, 250, 350) + 0.05 * coloured(s, 0),
    "a fan": lambda s: coloured(s, 0.7) + 0.03 * tones(s, 118, 236, 354),
    "a car": car,
    "a mobile's buzz": buzz,
    "wind": wind,
    "keys of a keyboard": clicks,
    "knocks": lambda s: clicks(s, 1.0, 25.0),
    "breath": breath,
}


def pieces(sound: Callable[[float], Sound], seconds: float, levels_db: tuple[float, ...]) -> Iterator[Sound]:
    """Return a sound at several levels of its RMS below full scale, cut off where it goes beyond."""
    whole = sound(seconds)
    rms = float(np.sqrt(np.mean(whole**2)))
    for level in levels_db:
        yield np.clip(whole / rms * 10 ** (level / 20), -1, 1)
