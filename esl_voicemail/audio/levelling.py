"""How a message is made easy to hear: what of it is kept, and by how much each moment is raised or lowered.

Pure: levels in, decisions out. `convert` measures the levels and carries the decisions out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

# What AES TD1008 advises for speech that is streamed: as loud as what else is heard on a telephone's
# loudspeaker, and with room for the peaks of speech.
TARGET_LUFS = -18.0
# A true peak and what a codec adds to it stay below -1.5 dBFS.
HIGHEST_PEAK_DB = -3.0

LEVELS_A_SECOND, GAINS_A_SECOND = 100, 10
_LEVELS_A_GAIN = LEVELS_A_SECOND // GAINS_A_SECOND
# Below this BS.1770 knows no loudness.
_NO_LOUDNESS_LUFS = -70.0
_HIGHEST_GAIN_DB = 40.0

# Where the line or a codec put no noise at all it says nothing of the caller's room.
_DIGITAL_SILENCE_DB = -75.0
_NOISE_SHARE, _SPEECH_SHARE = 0.1, 0.95
# Noise is always about as loud; speech has syllables and breath.
_LEAST_RANGE_DB = 8.0
_ABOVE_NOISE_DB, _SURELY_SPEECH_DB, _FAR_BELOW_SPEECH_DB = 4.0, 10.0, 35.0
# A sound lasts: a click of the line or the button is none.
_HALF_RUN = 2
_FRONT_SECONDS, _BACK_SECONDS = 0.3, 0.5

# A part is as loud as its loud syllables; a door that slams is too short to count.
_AROUND = round(1.5 * GAINS_A_SECOND)
_LOUD_SYLLABLES = 0.75
_LEAST_BLOCKS = 3
# Who whispers is still heard to whisper.
_RAISED_BY, _RAISED_AT_MOST_DB = 0.75, 15.0
_SMOOTHED = 11


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a recording.

    `start` and `end` in seconds say what is kept. `gains`, in dB, ten a second from `start` on, bring the
    quiet parts nearer to the loud ones. `most` is how far the whole may be raised to the target, in dB.
    """

    start: float
    end: float
    gains: tuple[float, ...]
    most: float


def plan(levels: Sequence[float], lufs: float) -> Plan:
    """Decide by a recording's levels, a hundred a second in dBFS, and its loudness as a whole.

    Noise alone, a tone or silence is neither cut nor raised.
    """
    seconds = len(levels) / LEVELS_A_SECOND
    smooth = [_middle(levels[max(0, at - _HALF_RUN) : at + _HALF_RUN + 1]) for at in range(len(levels))]
    noise, speech = _shares(smooth)
    if speech - noise < _LEAST_RANGE_DB or lufs <= _NO_LOUDNESS_LUFS:
        return Plan(0.0, seconds, (), 0.0)
    half = (speech - noise) / 2
    silent = noise + min(_ABOVE_NOISE_DB, half)
    first = next(at for at, level in enumerate(smooth) if level > silent)
    last = next(at for at in range(len(smooth), 0, -1) if smooth[at - 1] > silent)
    start = max(0.0, first / LEVELS_A_SECOND - _FRONT_SECONDS)
    end = min(seconds, last / LEVELS_A_SECOND + _BACK_SECONDS)
    spoken = max(noise + min(_SURELY_SPEECH_DB, half), speech - _FAR_BELOW_SPEECH_DB)
    kept = levels[round(start * LEVELS_A_SECOND) : round(end * LEVELS_A_SECOND)]
    return Plan(start, end, tuple(_gains(kept, spoken)), _HIGHEST_GAIN_DB)


def towards_target(lufs: float, most: float) -> float:
    """Return the gain in dB that brings a loudness to the target, or as near to it as may be."""
    return min(most, TARGET_LUFS - lufs) if lufs > _NO_LOUDNESS_LUFS else 0.0


def _middle(levels: Sequence[float]) -> float:
    return sorted(levels)[len(levels) // 2]


def _shares(levels: Sequence[float]) -> tuple[float, float]:
    """Return how loud the noise between the words is, and how loud the words are."""
    # Counted, not sorted: to sort an hour's levels would hold all other threads up.
    counts = Counter(round(level) for level in levels if level > _DIGITAL_SILENCE_DB)
    total, below = counts.total(), 0
    found = [0.0, 0.0]
    for level in sorted(counts):
        for which, share in enumerate((_NOISE_SHARE, _SPEECH_SHARE)):
            if below <= total * share:
                found[which] = float(level)
        below += counts[level]
    return found[0], found[1]


def _gains(levels: Sequence[float], spoken: float) -> list[float]:
    blocks = [
        max((one for one in levels[at : at + _LEVELS_A_GAIN] if one > spoken), default=None)
        for at in range(0, len(levels), _LEVELS_A_GAIN)
    ]
    around = [_loud_syllables(blocks[max(0, at - _AROUND) : at + _AROUND + 1]) for at in range(len(blocks))]
    known = [(at, level) for at, level in enumerate(around) if level is not None]
    if not known:
        return [0.0] * len(blocks)
    loudest = max(level for _, level in known)
    raised = [(at, min(_RAISED_AT_MOST_DB, _RAISED_BY * (loudest - level))) for at, level in known]
    return _smoothed(_joined(raised, len(blocks)))


def _loud_syllables(blocks: Sequence[float | None]) -> float | None:
    heard = sorted(level for level in blocks if level is not None)
    return heard[int(len(heard) * _LOUD_SYLLABLES)] if len(heard) >= _LEAST_BLOCKS else None


def _joined(known: Sequence[tuple[int, float]], count: int) -> list[float]:
    """Fill what lies between known gains by a straight line: a pause gets no gain of its own."""
    out = [known[0][1]] * known[0][0]
    for (at, gain), (until, other) in pairwise(known):
        out.extend(gain + (other - gain) * n / (until - at) for n in range(until - at))
    return out + [known[-1][1]] * (count - known[-1][0])


def _smoothed(gains: list[float]) -> list[float]:
    half = _SMOOTHED // 2
    sums = [0.0, *accumulate([gains[0]] * half + gains + [gains[-1]] * half)]
    return [(sums[at + _SMOOTHED] - sums[at]) / _SMOOTHED for at in range(len(gains))]
