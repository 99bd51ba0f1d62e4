"""What is heard of a message in its mail: as loud as any other, whole, and with tags, as others find it.

Decoded by libsndfile and read by mutagen, which share no code with FFmpeg.
"""

import io
import math
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.id3 import ID3
from mutagen.oggopus import OggOpus

from esl_voicemail.audio.convert import FORMATS, Tags, attachment
from esl_voicemail.audio.levelling import TARGET_LUFS, plan, towards_target
from esl_voicemail.audio.loudness import measure
from esl_voicemail.mail.tags import tags_of
from esl_voicemail.model import Call, Caller, Reason, Voicemail, one_line
from esl_voicemail.trial.demo import SAMPLE
from esl_voicemail.trial.likeness import likeness
from tests.support.post import mailbox

RATE = 8000
Samples = np.ndarray[tuple[int], np.dtype[np.float64]]
SPEECH: Samples = soundfile.read(SAMPLE)[0]
DICE = np.random.default_rng(7)


def db(samples: Samples) -> float:
    return 10 * math.log10(np.mean(samples**2) + 1e-12)


def at(level: float, samples: Samples = SPEECH) -> Samples:
    """Samples at a mean level in dBFS, cut off at full scale as a telephone would."""
    return np.clip(samples * 10 ** ((level - db(samples)) / 20), -1, 0.9999)


def noise(seconds: float, level: float) -> Samples:
    return DICE.standard_normal(round(seconds * RATE)) * 10 ** (level / 20)


def noisy(samples: Samples, level: float) -> Samples:
    return samples + noise(len(samples) / RATE, level)


def whispered(samples: Samples) -> Samples:
    """Speech without a voice: its spectrum, but no pitch."""
    window, out = np.hanning(256), np.zeros(len(samples))
    for start in range(0, len(samples) - 256, 64):
        heard = np.abs(np.fft.rfft(samples[start : start + 256] * window))
        turned = heard * np.exp(2j * np.pi * DICE.random(len(heard)))
        out[start : start + 256] += window * np.fft.irfft(turned)
    return out


def hum(level: float) -> Samples:
    return 10 ** (level / 20) * np.sin(2 * np.pi * 50 * np.arange(len(SPEECH)) / RATE) + 0.05


def save(path: Path, samples: Samples) -> Path:
    soundfile.write(path, np.clip(samples, -1, 0.9999), RATE, subtype="PCM_16")
    return path


def pcm(samples: Samples) -> bytes:
    return np.round(np.clip(samples, -1, 0.9999) * 32767).astype("<i2").tobytes()


def decoded(content: bytes) -> Samples:
    """What libsndfile makes of it, as a telephone's samples: above 4 kHz there is nothing to lose."""
    samples, rate = soundfile.read(io.BytesIO(content))
    assert samples.ndim == 1
    return samples[:: rate // RATE]


def lufs(samples: Samples) -> float:
    return measure(array("f", samples.astype("<f4").tobytes())).lufs


WHISPERED = whispered(SPEECH)
RECORDINGS = {
    "a whisper": (SPEECH, noisy(at(-55), -75)),
    "a whisper without voice": (WHISPERED, noisy(at(-48, WHISPERED), -72)),
    "quiet": (SPEECH, noisy(at(-42), -70)),
    "quiet in a noisy room": (SPEECH, noisy(at(-38), -58)),
    "a hum and a constant voltage": (SPEECH, at(-36) + hum(-40)),
    "far from the telephone": (SPEECH, noisy(at(-32), -60)),
    "as usual": (SPEECH, noisy(at(-25), -62)),
    "near": (SPEECH, noisy(at(-18), -60)),
    "loud, cut off": (at(-9), noisy(at(-9), -55)),
    "a shout, cut off": (at(-3), noisy(at(-3), -50)),
}


@pytest.mark.parametrize("name", ["mp3", "opus"])
@pytest.mark.parametrize(("said", "recording"), RECORDINGS.values(), ids=RECORDINGS.keys())
def test_from_whisper_to_shout_all_are_as_loud_and_the_same_speech(
    tmp_path: Path, said: Samples, recording: Samples, name: str
) -> None:
    path = save(tmp_path / "sound.wav", recording)
    heard = decoded(attachment(path, name))
    assert lufs(heard) == pytest.approx(TARGET_LUFS, abs=2.0)
    assert np.max(np.abs(heard)) < 10 ** (-1.0 / 20)
    # Opus keeps the sound of a voice, not its wave.
    assert likeness(pcm(said), pcm(heard)) > (0.9 if name == "mp3" else 0.7)


@pytest.mark.parametrize("louder_first", [True, False])
def test_a_quiet_half_is_heard_beside_a_loud_one(tmp_path: Path, louder_first: bool) -> None:
    halves = [at(-15), at(-40)] if louder_first else [at(-40), at(-15)]
    path = save(tmp_path / "sound.wav", noisy(np.concatenate(halves), -75))
    heard = decoded(attachment(path, "mp3"))
    first, second = heard[: len(SPEECH)], heard[len(SPEECH) :]
    quiet, loud = sorted([lufs(first), lufs(second)])
    assert loud == pytest.approx(TARGET_LUFS, abs=2.0)
    assert loud - quiet < 14
    assert loud > quiet


@pytest.mark.parametrize("level", [-70.0, -50.0, -35.0])
@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_noise_alone_stays_as_quiet_and_as_long(tmp_path: Path, name: str, level: float) -> None:
    path = save(tmp_path / "sound.wav", noise(8, level))
    heard = decoded(attachment(path, name))
    assert db(heard) < level + 1
    assert len(heard) / RATE == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_silence_stays_silence(tmp_path: Path, name: str) -> None:
    heard = decoded(attachment(save(tmp_path / "sound.wav", np.zeros(8 * RATE)), name))
    assert db(heard) < -85
    assert len(heard) / RATE == pytest.approx(8, abs=0.1)


def test_the_noise_of_a_pause_does_not_swell(tmp_path: Path) -> None:
    pause = np.zeros(8 * RATE)
    said = noisy(np.concatenate([at(-30), pause, at(-30)]), -60)
    heard = decoded(attachment(save(tmp_path / "sound.wav", said), "mp3"))
    begins = len(SPEECH) + RATE
    levels = [db(heard[begins + n * RATE : begins + (n + 1) * RATE]) for n in range(6)]
    assert max(levels) - min(levels) < 3
    assert db(heard[: len(SPEECH)]) - max(levels) > 30 - 6


# --- the ends ----------------------------------------------------------------------------------------


def kept(tmp_path: Path, samples: Samples) -> tuple[float, float]:
    """Return the seconds of a recording that were cut off before and after."""
    path = save(tmp_path / "sound.wav", samples)
    heard = decoded(attachment(path, "mp3"))
    # Where the recording is the speech, that is found in what is heard.
    cut = (len(samples) - len(heard)) / RATE
    step = RATE // 100
    one = np.sqrt(np.add.reduceat(samples**2, np.arange(0, len(samples), step)))
    other = np.sqrt(np.add.reduceat(heard**2, np.arange(0, len(heard), step)))
    room = max(1, len(one) - len(other) + 1)
    before = max(range(room), key=lambda by: float(np.dot(one[by : by + len(other)], other[: len(one) - by])))
    return before / 100, cut - before / 100


@pytest.mark.parametrize("floor", [-90.0, -65.0, -50.0])
def test_silence_at_the_ends_goes_but_for_a_margin(tmp_path: Path, floor: float) -> None:
    # The speech begins at 0.1 s of the sample, and ends at its end.
    samples = noisy(np.concatenate([np.zeros(3 * RATE), at(-25), np.zeros(4 * RATE)]), floor)
    before, after = kept(tmp_path, samples)
    assert before == pytest.approx(3.0 - 0.3, abs=0.3)
    assert after == pytest.approx(4.0 - 0.5, abs=0.3)


ENDS = {
    "a whispered end": (np.concatenate([at(-20), np.zeros(RATE), at(-50, SPEECH[: 2 * RATE])]), -70),
    "a whispered beginning": (np.concatenate([at(-50, SPEECH[: 2 * RATE]), np.zeros(RATE), at(-20)]), -70),
    "a word after a long pause": (
        np.concatenate([at(-25), np.zeros(20 * RATE), at(-30, SPEECH[:6000])]),
        -65,
    ),
    "a voice that fades in": (at(-25) * np.minimum(1, np.arange(len(SPEECH)) / RATE / 5) ** 2, -68),
    "no silence at all": (at(-25, np.tile(SPEECH[2000:20000], 3)), -45),
}


@pytest.mark.parametrize(("samples", "floor"), ENDS.values(), ids=ENDS.keys())
def test_no_speech_is_cut(tmp_path: Path, samples: Samples, floor: float) -> None:
    recording = noisy(samples, floor)
    levels = [db(recording[n : n + 80]) for n in range(0, len(recording), 80)]
    todo = plan(levels, -25.0)
    step = RATE // 10
    loud = [n for n in range(0, len(samples), step) if db(samples[n : n + step]) > floor + 5]
    assert todo.start * RATE <= loud[0]
    assert todo.end * RATE >= min(loud[-1] + step, len(recording) // 80 * 80)
    before, after = kept(tmp_path, recording)
    assert before == pytest.approx(todo.start, abs=0.1)
    assert after == pytest.approx(len(recording) / RATE - todo.end, abs=0.2)


def test_a_click_at_the_end_is_no_speech(tmp_path: Path) -> None:
    samples = noisy(np.concatenate([at(-25), np.zeros(5 * RATE)]), -65)
    samples[-RATE : -RATE + 40] += 0.05 * np.tile([1, 1, 1, 1, -1, -1, -1, -1], 5)
    assert kept(tmp_path, samples)[1] > 4


levels_of_any_kind = st.lists(st.floats(-120, 0), max_size=400)


@given(levels_of_any_kind, st.floats(-70, 0))
def test_a_plan_keeps_within_the_recording_and_its_bounds(levels: list[float], loudness: float) -> None:
    todo = plan(levels, loudness)
    assert 0 <= todo.start <= todo.end <= len(levels) / 100
    assert all(-0.001 <= gain <= 15.001 for gain in todo.gains)
    # Nobody hears a gain that changes by so little in a tenth of a second.
    assert all(abs(one - other) < 3 for one, other in zip(todo.gains, todo.gains[1:], strict=False))
    assert towards_target(loudness, todo.most) <= 40
    if todo.gains:
        assert abs(len(todo.gains) - (todo.end - todo.start) * 10) <= 1


@given(levels_of_any_kind, st.floats(-60, 0))
def test_a_louder_recording_is_cut_and_evened_out_just_the_same(levels: list[float], loudness: float) -> None:
    levels = [round(max(level, -60)) for level in levels]
    one, other = plan(levels, loudness), plan([level + 10 for level in levels], loudness + 10)
    assert (one.start, one.end, one.most) == (other.start, other.end, other.most)
    assert one.gains == pytest.approx(other.gains)


# --- other shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24"])
def test_any_rate_and_channels_become_the_same_speech(
    tmp_path: Path, rate: int, channels: int, kind: str
) -> None:
    places = np.arange(0, len(SPEECH) - 1, RATE / rate)
    mono = np.interp(places, np.arange(len(SPEECH)), at(-20))
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.column_stack([mono] * channels), rate, subtype=kind)
    heard = decoded(attachment(path, "mp3"))
    assert lufs(heard) == pytest.approx(TARGET_LUFS, abs=2.0)
    assert likeness(pcm(SPEECH), pcm(heard)) > 0.8


# --- tags --------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 16, 42, tzinfo=UTC)


def read(content: bytes, name: str) -> Tags:
    """Read tags as mutagen does."""
    if FORMATS[name].suffix == "mp3":
        found = ID3(io.BytesIO(content))
        return Tags(*(str(found[key]) if key in found else "" for key in ("TIT2", "TPE1", "TALB", "TDRC")))
    comments = OggOpus(io.BytesIO(content))
    return Tags(*("".join(comments.get(key, [])) for key in ("title", "artist", "album", "date")))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tags") / "sound.wav", SPEECH[: RATE // 2])


def voicemail(caller: Caller) -> Voicemail:
    call = Call("632a12f3-e1e0", "sales", Reason.NO_ANSWER, caller, "48221234567", NOW, "pl")
    return Voicemail("01TEST", call, None, None, NOW)


@pytest.mark.parametrize("name", ["mp3", "opus"])
@settings(max_examples=60, deadline=None)
@given(
    caller=st.text(max_size=40),
    number=st.text(max_size=20),
    title=st.text(min_size=1, max_size=40),
    withheld=st.booleans(),
    language=st.sampled_from(["pl", "en"]),
)
def test_tags_read_back_the_same_and_on_one_line(
    short: Path, name: str, caller: str, number: str, title: str, withheld: bool, language: str
) -> None:
    box = replace(mailbox(), name=title, language=language)
    tags = tags_of(voicemail(Caller(number, caller, withheld)), box)
    assert read(attachment(short, name, tags), name) == tags
    assert all(text.isprintable() for text in (tags.title, tags.artist, tags.album))
    assert not withheld or tags.artist == one_line(caller, 200)


@pytest.mark.parametrize(
    ("language", "caller", "title"),
    [
        (
            "pl",
            Caller("48601234567", "Jan Kowalski", withheld=False),
            "Jan Kowalski +48 601 234 567, 23.11.2026 17:42",
        ),
        ("en", Caller("48601234567", "", withheld=False), "+48 601 234 567, 23 Nov 2026 17:42"),
        ("pl", Caller("48601234567", "Jan Kowalski", withheld=True), "Jan Kowalski, 23.11.2026 17:42"),
        ("pl", Caller("48601234567", "", withheld=True), "23.11.2026 17:42"),
    ],
)
def test_a_title_says_who_and_when(language: str, caller: Caller, title: str) -> None:
    tags = tags_of(voicemail(caller), mailbox(language=language))
    assert tags.title == title
    assert (tags.album, tags.date) == ("Sprzedaż", "2026-11-23")


# --- likeness ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "least", "most"),
    [
        (SPEECH, 0.999, 1.001),
        (SPEECH * 0.1, 0.99, 1.001),
        (np.concatenate([np.zeros(12345), SPEECH]), 0.999, 1.001),
        (SPEECH[1234:], 0.9, 1.001),
        (SPEECH[: len(SPEECH) // 2], 0.2, 0.7),
        (SPEECH[::-1], 0.0, 0.5),
        (np.concatenate([SPEECH[40000:], SPEECH[:40000]]), 0.0, 0.75),
        (noise(10, -20), 0.0, 0.3),
        (np.zeros(80000), 0.0, 0.0),
        (SPEECH[:0], 0.0, 0.0),
    ],
)
def test_only_the_same_speech_is_alike(heard: Samples, least: float, most: float) -> None:
    assert least <= likeness(pcm(SPEECH), pcm(heard)) <= most
