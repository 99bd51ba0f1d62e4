"""What is heard in a recording: of what we ship, and of tones and noise made here. See docs/speech.md too."""

import time
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import esl_voicemail
from esl_voicemail.audio import wav
from esl_voicemail.audio.clipping import QUIET, STEPS, clipped
from esl_voicemail.audio.hearing import judge, listen
from esl_voicemail.errors import RecordingError
from esl_voicemail.model import Content
from tests.support.noises import BUSY, FAX, NOISE, RATE, Sound, cadence, pieces, tones

PACKAGE = Path(esl_voicemail.__file__).parent
CALLER = PACKAGE / "trial" / "caller.wav"
GREETINGS = sorted((PACKAGE.parent / "greetings").glob("*/*.wav"))
# Speech in all but name; docs/speech.md says how often.
TAKEN_FOR_SPEECH = {"off hook, four tones", "wind", "keys of a keyboard", "knocks"}


def written(path: Path, sound: Sound, rate: int = RATE, channels: int = 1) -> Path:
    samples = np.repeat(np.round(np.clip(sound, -1, 1) * 32767).astype("<i2"), channels)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return path


def spoken(path: Path = CALLER) -> Sound:
    with wave.open(str(path)) as source:
        return np.frombuffer(source.readframes(source.getnframes()), "<i2") / 32768


def quiet(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE))


@pytest.mark.parametrize("path", [CALLER, *GREETINGS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_person_who_speaks_is_heard(path: Path) -> None:
    heard = listen(path)
    assert heard.content is Content.SPEECH
    lasts = len(spoken(path)) / RATE
    assert 0.5 * lasts < heard.speech_ms / 1000 <= lasts
    assert heard.level_db is not None
    assert -40 < heard.level_db < -5
    assert not heard.clipped


@pytest.mark.parametrize("level_db", [-50, -45, -35, -20])
def test_a_person_is_heard_however_low_he_speaks(tmp_path: Path, level_db: int) -> None:
    voice = spoken()
    voice = voice / np.sqrt(np.mean(voice**2)) * 10 ** (level_db / 20)
    heard = listen(written(tmp_path / "low.wav", voice))
    assert heard.content is Content.SPEECH
    assert heard.speech_ms > 1000
    assert heard.level_db == pytest.approx(level_db, abs=4)


@pytest.mark.parametrize("name", [name for name in NOISE if name not in TAKEN_FOR_SPEECH])
@pytest.mark.parametrize("ratio_db", [10, 5])
def test_a_person_is_heard_through_noise(tmp_path: Path, name: str, ratio_db: int) -> None:
    voice = np.concatenate((quiet(1), spoken(), quiet(1)))
    level = 10 * np.log10(np.mean(spoken() ** 2)) - ratio_db
    noise = next(pieces(NOISE[name], len(voice) / RATE, (level,)))
    assert listen(written(tmp_path / "noisy.wav", voice + noise)).content is Content.SPEECH


def test_one_word_in_a_minute_of_silence_is_heard(tmp_path: Path) -> None:
    word = spoken()[8000:12000]
    heard = listen(written(tmp_path / "word.wav", np.concatenate((quiet(40), word, quiet(20)))))
    assert heard.content is Content.SPEECH
    assert 200 <= heard.speech_ms <= 800


def test_speech_before_a_busy_tone_is_speech_and_the_tone_is_not_counted(tmp_path: Path) -> None:
    alone = listen(CALLER).speech_ms
    tone = 0.2 * cadence(20, (425,), 0.5, 0.5)
    heard = listen(written(tmp_path / "both.wav", np.concatenate((spoken(), quiet(0.5), tone))))
    assert heard.content is Content.SPEECH
    assert abs(heard.speech_ms - alone) < 800


@pytest.mark.parametrize("level_db", [-40, -30, -20, -12])
@pytest.mark.parametrize("seconds", [2.5, 6.0, 15.0])
@pytest.mark.parametrize(
    ("name", "sound", "content"),
    [
        (name, sound, content)
        for content, sounds in ((Content.BUSY_TONE, BUSY), (Content.FAX_TONE, FAX), (Content.NOISE, NOISE))
        for name, sound in sounds.items()
        if name not in TAKEN_FOR_SPEECH
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_speech_is_called_what_it_is(
    tmp_path: Path,
    name: str,
    sound: Callable[[float], Sound],
    content: Content,
    seconds: float,
    level_db: float,
) -> None:
    heard = listen(written(tmp_path / "other.wav", next(pieces(sound, seconds, (level_db,)))))
    assert heard.content is content, name
    assert heard.speech_ms < 100


@pytest.mark.parametrize("level_db", [None, -80, -70, -60])
def test_a_line_on_which_nothing_happens_is_silence(tmp_path: Path, level_db: float | None) -> None:
    sound = quiet(8) if level_db is None else next(pieces(NOISE["white noise"], 8, (level_db,)))
    heard = listen(written(tmp_path / "silent.wav", sound))
    assert (heard.content, heard.speech_ms, heard.clipped) == (Content.SILENCE, 0, False)
    if level_db is None:
        assert heard.level_db is None
    else:
        assert heard.level_db == pytest.approx(level_db, abs=1.5)


@pytest.mark.parametrize("gain_db", [-10, 0, 10, 20, 30])
def test_a_voice_that_is_too_loud_for_the_line_is_clipped(tmp_path: Path, gain_db: int) -> None:
    voice = spoken()
    voice = voice / np.abs(voice).max() * 0.9 * 10 ** (gain_db / 20)
    heard = listen(written(tmp_path / "loud.wav", voice))
    assert heard.content is Content.SPEECH
    assert heard.clipped is (gain_db >= 10)


def test_a_loud_tone_is_not_clipped(tmp_path: Path) -> None:
    assert not listen(written(tmp_path / "tone.wav", tones(5, 425))).clipped


@given(st.lists(st.integers(0, 9), min_size=STEPS, max_size=STEPS), st.integers(QUIET, STEPS), st.booleans())
def test_quiet_samples_tell_of_clipping_by_their_number_alone(
    counts: list[int], loudest: int, tone: bool
) -> None:
    counts = [*counts[:loudest], *[0] * (STEPS - loudest)]
    together = [sum(counts[:QUIET]), *[0] * (QUIET - 1), *counts[QUIET:]]
    assert clipped(together, tone=tone) == clipped(counts, tone=tone)


@pytest.mark.parametrize(
    ("rate", "layout", "codec"),
    [
        (16000, "mono", "pcm_s16le"),
        (48000, "stereo", "pcm_s16le"),
        (8000, "stereo", "pcm_s16le"),
        (8000, "mono", "pcm_u8"),
        (44100, "mono", "pcm_s24le"),
        (32000, "mono", "pcm_s32le"),
    ],
)
def test_a_switch_that_records_otherwise_is_understood(
    tmp_path: Path, rate: int, layout: str, codec: str
) -> None:
    path = tmp_path / "other.wav"
    with av.open(str(CALLER)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(stream.format, layout, rate)
        for frame in source.decode(audio=0):
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    heard, known = listen(path), listen(CALLER)
    assert heard.content is Content.SPEECH
    assert heard.speech_ms == pytest.approx(known.speech_ms, rel=0.1)


@pytest.mark.parametrize("samples", [0, 1, 100, 255, 256, 257, 500])
def test_next_to_nothing_is_silence(tmp_path: Path, samples: int) -> None:
    if samples == 0:
        with pytest.raises(RecordingError):
            listen(tmp_path / "none.wav")
        return
    assert listen(written(tmp_path / "short.wav", np.zeros(samples))).content is Content.SILENCE


@pytest.mark.parametrize("at_once", [333, 8000, 160_000, 1_000_000])
def test_a_recording_is_heard_alike_in_whatever_slices_it_comes(at_once: int) -> None:
    voice = np.round(np.concatenate((spoken(), quiet(9), spoken(), quiet(25))) * 32767).astype(np.int16)
    whole = judge([voice])
    sliced = judge(voice[start : start + at_once] for start in range(0, len(voice), at_once))
    assert sliced.content is whole.content is Content.SPEECH
    assert abs(sliced.speech_ms - whole.speech_ms) <= 100


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (8000, 2)])
def test_what_was_read_already_is_heard_as_the_file_is(tmp_path: Path, rate: int, channels: int) -> None:
    path = written(tmp_path / "read.wav", np.concatenate((spoken(), quiet(25), spoken())), rate, channels)
    assert listen(path, wav.Sound(wav.inspect(path), path.read_bytes())) == listen(path)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(RecordingError, match=r"text\.wav"):
        listen(tmp_path / "text.wav")


def test_an_hour_is_heard_in_seconds(tmp_path: Path) -> None:
    voice = spoken()
    hour: NDArray[np.float64] = np.resize(np.concatenate((voice, quiet(3))), 3600 * RATE)
    path = written(tmp_path / "hour.wav", hour)
    started = time.process_time()
    heard = listen(path)
    assert time.process_time() - started < 5
    assert heard.speech_ms > 600_000
