"""What is compiled measures what numpy does, of whatever sound."""

import os
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from esl_voicemail.audio import amplitudes, spectrum
from esl_voicemail.audio.clipping import QUIET, STEPS
from esl_voicemail.audio.compiled import measured
from esl_voicemail.audio.spectrum import Spectra
from tests.support.noises import BUSY, FAX, NOISE, Sound, pieces

Samples = NDArray[np.int16]
SOUNDS = BUSY | FAX | NOISE

SOUND = arrays(
    np.int16,
    st.integers(spectrum.WINDOW, 5 * spectrum.WINDOW),
    elements=st.integers(-32768, 32767),
    fill=st.sampled_from([0, 1, -1, 32767, -32768]),
)


compiled = pytest.mark.skipif(measured is None, reason="no C compiler was there")


def sampled(sound: Sound) -> Samples:
    return np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)


def assert_alike(one: Spectra, other: Spectra) -> None:
    """Alike but for the last bits; of sounds without a tone the strongest line may be another as strong."""
    tone = np.maximum(one.pure, other.pure) > 0.5
    for field in fields(Spectra):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        assert mine.shape == its.shape
        if field.name in ("pitch", "pure"):
            mine, its = mine[tone], its[tone]
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-7, err_msg=field.name)


def test_it_is_built_where_there_is_a_compiler() -> None:
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    compiler, *_ = (os.environ.get("CC") or sysconfig.get_config_var("CC")).split()
    assert (measured is not None) == (headers and shutil.which(compiler) is not None)


@compiled
@pytest.mark.parametrize("level_db", [-60, -20, 0])
@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_measured_as_numpy_measures_it(name: str, level_db: float) -> None:
    sound = sampled(next(pieces(SOUNDS[name], 5, (level_db,))))
    assert_alike(spectrum.spectra(sound), spectrum.by_numpy(sound))


@compiled
@given(SOUND)
def test_whatever_is_heard_is_measured_as_numpy_measures_it(sound: Samples) -> None:
    ours, numpys = spectrum.spectra(sound), spectrum.by_numpy(sound)
    for name in ("bands", "level", "modem"):
        np.testing.assert_allclose(getattr(ours, name), getattr(numpys, name), rtol=1e-2, atol=1e-6)
    assert all(np.isfinite(getattr(ours, field.name)).all() for field in fields(Spectra))


@compiled
@given(arrays(np.int16, st.integers(0, 500), elements=st.integers(-32768, 32767)))
def test_loud_samples_are_counted_as_numpy_counts_them(sound: Samples) -> None:
    ours, numpys = amplitudes.amplitudes(sound), amplitudes.by_numpy(sound)
    assert (ours[QUIET:] == numpys[QUIET:]).all()
    assert len(ours) == len(numpys) == STEPS
    assert ours.sum() == numpys.sum() == len(sound)


@compiled
def test_of_a_sound_in_parts_that_lie_apart_the_same_is_measured() -> None:
    sound = sampled(next(pieces(NOISE["white noise"], 1, (-20,))))
    apart = np.repeat(sound, 2)[::2]
    assert not apart.flags.contiguous
    assert_alike(spectrum.spectra(apart), spectrum.spectra(sound))
    assert (amplitudes.amplitudes(apart) == amplitudes.amplitudes(sound)).all()


@compiled
@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m.spectra(
            np.zeros(255, np.int16), np.zeros(256, np.float32), np.zeros((12, 1), np.float32)
        ),
        lambda m: m.spectra(
            np.zeros(256, np.int16), np.zeros(255, np.float32), np.zeros((12, 1), np.float32)
        ),
        lambda m: m.spectra(
            np.zeros(256, np.int16), np.zeros(256, np.float32), np.zeros((11, 1), np.float32)
        ),
        lambda m: m.spectra(
            np.zeros(416, np.int16), np.zeros(256, np.float32), np.zeros((12, 1), np.float32)
        ),
        lambda m: m.amplitudes(np.zeros(10, np.int16), np.zeros(128, np.int64)),
    ],
    ids=["too short", "another window", "a row less", "a frame less", "a step less"],
)
def test_what_would_be_written_beside_its_place_is_refused(wrong: Callable[[object], None]) -> None:
    with pytest.raises(ValueError, match=r"sizes|steps"):
        wrong(measured)
