"""How many samples of a sound have each amplitude: what `clipping` asks for."""

import numpy as np
from numpy.typing import NDArray

from esl_voicemail.audio.clipping import QUIET, STEPS
from esl_voicemail.audio.compiled import measured

Counts = NDArray[np.int64]


def amplitudes(samples: NDArray[np.int16]) -> Counts:
    """Count them in steps of a byte; those too quiet to tell of clipping may count as 0."""
    if measured is None:
        return by_numpy(samples)
    counts = np.zeros(STEPS, np.int64)
    measured.amplitudes(np.ascontiguousarray(samples, np.int16), counts)
    return counts


def by_numpy(samples: NDArray[np.int16]) -> Counts:
    """Do the same without what was compiled."""
    steps = np.abs((samples >> 8).astype(np.int8)).view(np.uint8)
    # Eight at a time, as to count a sample takes longer than to tell that it is quiet.
    eights = len(steps) // 8 * 8
    loud = (steps[:eights] >= QUIET).view(np.uint64) != 0
    counts = np.bincount(steps[:eights].view(np.uint64)[loud].view(np.uint8), minlength=STEPS)
    counts += np.bincount(steps[eights:], minlength=STEPS)
    counts[0] += len(samples) - int(counts.sum())
    return counts
