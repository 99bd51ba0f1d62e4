"""Whether a sound was too loud for what recorded it, by how often it has each amplitude. Reads nothing."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import ceil

# The louder, the rarer: so it is in speech, in music and behind a limiter. A sound that was cut off has at
# its top at least half as many samples as below; an MP3 of it does not have them exactly there any more, and
# rings beyond. A pure tone, which is always as loud, has many by nature. A byte's steps are too coarse to
# tell of a quiet sound.
_HIGHEST_SHARE = 0.002
_TOP, _BELOW = 0.9, 0.65
_CLIPPED, _CLIPPED_TONE = 0.5, 2.0
_TELLING = 32

# From this share on a sound is badly clipped.
CLIPPED_SHARE = 0.01

# Amplitudes in steps of a byte: 0 for silence to 128 for full scale.
STEPS = 129
# Of samples below this amplitude only their number matters.
QUIET = int(_TELLING * _BELOW)


def clipped(counts: Sequence[int], *, tone: bool) -> float:
    """Return the share of samples that are cut off, 0 to 1; `counts` says how many have each amplitude."""
    # From the loudest down: how many are as loud or louder.
    as_loud = list(accumulate(reversed(counts)))
    total = as_loud[-1]
    highest = STEPS - 1 - bisect_right(as_loud, total * _HIGHEST_SHARE)
    if highest < _TELLING:
        return 0.0
    top = as_loud[STEPS - 1 - ceil(highest * _TOP)]
    below = as_loud[STEPS - 1 - ceil(highest * _BELOW)] - top
    return top / total if top > below * (_CLIPPED_TONE if tone else _CLIPPED) else 0.0
