"""Greetings of any sound file: what comes out, measured by other means than ours, and what is refused."""

# ruff: noqa: E501 - in the tables, a case keeps to its line

import math
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import wave
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esl_voicemail.audio import greeting
from esl_voicemail.audio.loudness import measure
from esl_voicemail.config import load
from esl_voicemail.errors import GreetingError, SpeechError
from esl_voicemail.greeting_folder import NAME, closed_to_others, kept, name_for, place, write
from esl_voicemail.speech import MOST_LETTERS, speak
from tests.support.sounds import (
    KINDS,
    STUDIO,
    Kind,
    encode,
    heard,
    joined,
    mixed,
    note,
    picture,
    silence,
    voice,
)
from tests.support.speech import beep, save

ROOT = Path(__file__).parent.parent
VOICE = ROOT / "esl_voicemail" / "trial" / "caller.wav"

# 0.8 s too early, two words with a pause, 1.2 s too long. Quiet: -20 dBFS, or -23 LUFS.
SPOKEN = joined(silence(0.8), note(1.5), silence(0.4), note(1.6), silence(1.2))


def made(folder: Path, source: Path) -> Path:
    """Make a greeting of a file and return where it was put."""
    path = folder / "made.wav"
    path.write_bytes(greeting.make(source).content)
    return path


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_each_comes_out_as_the_switch_likes_it(self, tmp_path: Path, kind: Kind) -> None:
        source = encode(tmp_path / f"hello.{kind.suffix}", SPOKEN, kind)
        before = source.read_bytes()

        out = heard(made(tmp_path, source))

        assert (out.rate, out.channels, out.sample_bytes) == (8000, 1, 2)
        front, back = out.silence()
        assert 0.0 < front <= 0.05
        assert 0.15 <= back <= 0.25
        assert out.seconds == pytest.approx(0.04 + 3.5 + 0.2, abs=0.06)
        assert out.peak_db <= -3.0
        assert out.tone_db(1000) > out.tone_db(900) + 30
        # A tone of 1000 Hz has as many LUFS as dBFS, by the definition of the unit; the gate skips the pause.
        assert out.rms_db(0.2, 1.4) == pytest.approx(-21.0, abs=0.7)
        assert out.rms_db(2.2, 3.4) == pytest.approx(-21.0, abs=0.7)
        assert source.read_bytes() == before

    def test_the_report_says_what_it_was_and_what_was_done(self, tmp_path: Path) -> None:
        done = greeting.make(encode(tmp_path / "a.wav", SPOKEN, Kind("wav", "pcm_s16le", layout="mono")))

        assert done.was.form == "16-bit PCM, 48000 Hz mono"
        assert done.was.seconds == pytest.approx(5.5, abs=0.01)
        assert done.cut_front == pytest.approx(0.76, abs=0.02)
        assert done.cut_back == pytest.approx(1.0, abs=0.02)
        assert done.seconds == pytest.approx(5.5 - done.cut_front - done.cut_back, abs=0.01)
        assert done.loudness_before.lufs == pytest.approx(-23.0, abs=1.0)
        assert done.loudness.lufs == pytest.approx(-21.0, abs=0.1)

    @pytest.mark.parametrize("loud", [0.004, 0.03, 0.3, 0.95])
    def test_however_loud_it_was_it_is_as_loud_as_the_others(self, tmp_path: Path, loud: float) -> None:
        source = encode(tmp_path / "a.wav", note(2, loud=loud))

        assert heard(made(tmp_path, source)).rms_db(0.5, 1.5) == pytest.approx(-21.0, abs=0.2)

    def test_what_is_too_high_for_a_telephone_does_not_come_back_as_another_tone(
        self, tmp_path: Path
    ) -> None:
        source = encode(tmp_path / "a.wav", mixed(note(2), note(2, hertz=5500)))

        out = heard(made(tmp_path, source))

        assert out.tone_db(1000) > -20
        assert out.tone_db(2500) < out.tone_db(1000) - 60

    def test_hum_is_taken_away(self, tmp_path: Path) -> None:
        source = encode(tmp_path / "a.wav", mixed(note(2), note(2, hertz=50)))

        out = heard(made(tmp_path, source))

        assert out.tone_db(50) < out.tone_db(1000) - 12

    def test_a_knock_does_not_keep_the_rest_quiet(self, tmp_path: Path) -> None:
        knock = mixed(note(0.005, hertz=500, loud=0.85), note(0.005))
        source = encode(tmp_path / "a.wav", joined(note(1), knock, note(2)))

        out = heard(made(tmp_path, source))

        assert out.peak_db <= -3.0
        assert out.rms_db(1.5, 2.5) == pytest.approx(-21.0, abs=0.5)

    def test_a_click_of_the_button_is_no_beginning_and_no_end(self, tmp_path: Path) -> None:
        click = note(0.01, loud=0.5)
        source = encode(tmp_path / "a.wav", joined(click, silence(1), note(2), silence(1), click))

        assert heard(made(tmp_path, source)).seconds == pytest.approx(2.24, abs=0.05)

    def test_noise_of_a_room_is_silence_too(self, tmp_path: Path) -> None:
        by_chance = random.Random(4)
        room = array("f", (by_chance.gauss(0, 0.002) for _ in range(4 * STUDIO)))
        source = encode(tmp_path / "a.wav", mixed(room, joined(silence(1), note(2), silence(1))))

        assert heard(made(tmp_path, source)).seconds == pytest.approx(2.24, abs=0.05)

    def test_one_side_alone_is_enough(self, tmp_path: Path) -> None:
        left = array("h", (round(3000 * math.sin(0.1 * n)) for n in range(32000)))
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setparams((2, 2, 16000, 0, "NONE", ""))
            file.writeframes(b"".join(struct.pack("<hh", sample, 0) for sample in left))

        assert heard(made(tmp_path, tmp_path / "a.wav")).seconds == pytest.approx(2.0, abs=0.05)

    def test_a_title_in_the_letters_of_an_old_windows_is_no_matter(self, tmp_path: Path) -> None:
        plain = save(tmp_path / "a.wav", beep(1.0)).read_bytes()
        title = b"LIST" + struct.pack("<I", 20) + b"INFOINAM" + struct.pack("<I", 8) + b"Sprz\xbf\xb9\xea\0"
        (tmp_path / "a.wav").write_bytes(plain[:12] + title + plain[12:])

        assert heard(made(tmp_path, tmp_path / "a.wav")).seconds == pytest.approx(1.0, abs=0.05)

    def test_a_file_that_was_cut_short_gives_what_there_is(self, tmp_path: Path) -> None:
        source = encode(tmp_path / "a.mp3", note(4), KINDS["MP3"])
        source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])

        assert 1.5 < heard(made(tmp_path, source)).seconds < 2.5

    def test_a_greeting_that_is_right_is_left_so(self, tmp_path: Path) -> None:
        first = made(tmp_path, VOICE)
        again = greeting.make(first)

        assert (again.cut_front, again.cut_back) == (0.0, 0.0)
        assert again.loudness.lufs == pytest.approx(again.loudness_before.lufs, abs=0.2)

    def test_a_whole_file_of_memory_is_not_needed(self, tmp_path: Path) -> None:
        """Two minutes are as much as there may be, and take seconds, not minutes."""
        save(tmp_path / "a.wav", beep(1.0) * 119)

        assert greeting.make(tmp_path / "a.wav").seconds == pytest.approx(119.0, abs=0.1)


class TestLoudness:
    @pytest.mark.parametrize("hertz", [997, 1000])
    def test_a_full_tone_of_1_khz_is_3_below_0(self, hertz: float) -> None:
        """ITU-R BS.1770-4: 0 dBFS at 997 Hz in one channel is -3.01 LKFS."""
        samples = array("f", (math.sin(2 * math.pi * hertz * n / 8000) for n in range(16000)))

        assert measure(samples).lufs == pytest.approx(-3.01, abs=0.05)

    def test_pauses_do_not_count(self) -> None:
        samples = array("f", (0.1 * math.sin(2 * math.pi * n / 8) for n in range(16000)))
        paused = samples + array("f", bytes(4 * 80000)) + samples

        assert measure(paused).lufs == pytest.approx(measure(samples).lufs, abs=0.5)

    @pytest.mark.parametrize("seconds", [0, 0.1, 0.39])
    def test_silence_and_what_is_shorter_than_a_block_have_none(self, seconds: float) -> None:
        assert measure(array("f", bytes(4 * 8000))).lufs == -math.inf
        assert measure(array("f", [0.5] * round(seconds * 8000))).lufs == -math.inf

    @pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
    @pytest.mark.parametrize("language", ["pl", "en"])
    @pytest.mark.parametrize("name", ["default", "thanks", "apology"])
    def test_ffmpeg_says_the_same_of_speech(self, language: str, name: str) -> None:
        path = ROOT / "greetings" / language / f"{name}.wav"

        assert greeting.judge(path).loudness.lufs == pytest.approx(by_ffmpeg(path), abs=0.15)


def said_by(*command: str | Path) -> str:
    """All that another program says."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=60
    ).stdout


def by_ffmpeg(path: Path) -> float:
    """A file's integrated loudness by the program ffmpeg."""
    said = said_by("ffmpeg", "-hide_banner", "-nostdin", "-i", path, "-af", "ebur128", "-f", "null", "-")
    return float(re.findall(r"I: +(\S+) LUFS", said)[-1])


@pytest.mark.skipif(not shutil.which("sox") or not shutil.which("ffmpeg"), reason="needs sox and ffmpeg")
class TestByOtherPrograms:
    @pytest.mark.parametrize(
        ("suffix", "options"),
        [
            ("m4a", ["-c:a", "aac"]),
            ("mp3", []),
            ("ogg", ["-c:a", "libvorbis"]),
            ("opus", ["-c:a", "libopus"]),
            ("flac", []),
            ("wav", ["-ar", "48000", "-ac", "2"]),
            ("wav", ["-ar", "11025", "-c:a", "pcm_u8"]),
            ("wav", ["-ar", "8000", "-c:a", "pcm_alaw"]),
            ("wav", ["-ar", "96000", "-c:a", "pcm_s24le"]),
            ("mp4", ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5", "-shortest", "-c:v", "mpeg4"]),
        ],
        ids=lambda value: value if isinstance(value, str) else value[-1] if value else "",
    )
    def test_a_voice_comes_out_right(self, tmp_path: Path, suffix: str, options: list[str]) -> None:
        source = tmp_path / f"voice.{suffix}"
        padded = ["-af", "volume=-12dB,adelay=900:all=1,apad=pad_dur=1.5"]
        inputs = [*options[:4], *padded, *options[4:]] if suffix == "mp4" else [*padded, *options]
        said_by("ffmpeg", "-v", "error", "-nostdin", "-i", VOICE, *inputs, source)

        path = made(tmp_path, source)

        form = [said_by("soxi", flag, path).strip() for flag in ("-r", "-c", "-b", "-e")]
        assert form == ["8000", "1", "16", "Signed Integer PCM"]
        assert by_ffmpeg(path) == pytest.approx(-21.0, abs=0.5)
        stats = said_by("sox", path, "-n", "stats")
        assert float(re.findall(r"Pk lev dB +(\S+)", stats)[0]) <= -3.0
        trimmed = tmp_path / "trimmed.wav"
        said_by("sox", path, trimmed, "silence", "1", "0.01", "1%")
        lengths = [float(said_by("soxi", "-D", one)) for one in (path, trimmed)]
        assert 0.0 <= lengths[0] - lengths[1] <= 0.1


def stretched(path: Path) -> Path:
    """A WAV of 2 GB on disk that takes none: 74 hours of silence."""
    save(path, beep(1.0))
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", (1 << 31) - 8))
        file.seek(40)
        file.write(struct.pack("<I", (1 << 31) - 44))
        file.truncate(1 << 31)
    return path


def opposed(path: Path) -> Path:
    """A stereo WAV whose one side is the other upside down."""
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        sides = (round(9000 * math.sin(0.1 * n)) for n in range(32000))
        file.writeframes(b"".join(struct.pack("<hh", one, -one) for one in sides))
    return path


def written(path: Path, content: bytes) -> Path:
    """A file with this in it."""
    path.write_bytes(content)
    return path


def fifo(path: Path) -> Path:
    """A pipe that nobody ever writes to."""
    os.mkfifo(path)
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "gone.mp3", "cannot be read: No such file or directory"),
    "a folder": (lambda folder: folder, "is no file; name a sound file"),
    "a pipe": (lambda folder: fifo(folder / "a.wav"), "is no file; name a sound file"),
    "a device": (lambda _: Path("/dev/zero"), "is no file; name a sound file"),
    "empty": (
        lambda folder: written(folder / "a.wav", b""),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
    "text": (
        lambda folder: written(folder / "a.wav", b"Good morning, this is no sound.\n" * 50),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
    "by chance": (
        lambda folder: written(folder / "a.mp3", random.Random(4).randbytes(100_000)),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
    "half an m4a": (
        lambda folder: written(
            folder / "b.m4a",
            encode(folder / "a.m4a", note(4), KINDS["AAC of a telephone"]).read_bytes()[:9000],
        ),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
    "a list of other files": (
        lambda folder: written(
            folder / "a.wav", b"ffconcat version 1.0\nfile %b\n" % str(VOICE.resolve()).encode()
        ),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
    "a sound track without a sound": (
        lambda folder: save(folder / "a.wav", b""),
        "its sound track is empty; record it anew",
    ),
    "silent": (
        lambda folder: encode(folder / "a.wav", silence(3)),
        "is silent for 3.0 s; look at the microphone, or take another file",
    ),
    "all but silent": (
        lambda folder: encode(folder / "a.wav", note(3, loud=0.0005)),
        "is silent for 3.0 s; look at the microphone, or take another file",
    ),
    "upside down": (
        lambda folder: opposed(folder / "a.wav"),
        "its channels cancel each other out, and a telephone has one; save one channel alone",
    ),
    "too long": (
        lambda folder: save(folder / "a.wav", beep(1.0) * 121),
        "is longer than 120 s, and no caller listens so long; cut it first",
    ),
    "without an end": (
        lambda folder: stretched(folder / "a.wav"),
        "is longer than 120 s, and no caller listens so long; cut it first",
    ),
    "too short": (
        lambda folder: encode(folder / "a.wav", joined(silence(1), note(0.4), silence(1))),
        "holds 0.4 s of sound, too short for a greeting (less than 0.5 s); say a whole sentence",
    ),
    "clicks": (
        lambda folder: encode(folder / "a.wav", joined(*[note(0.01, loud=0.9), silence(0.5)] * 5)),
        "holds 0.0 s of sound, too short for a greeting (less than 0.5 s); say a whole sentence",
    ),
    "a rate that nobody records at": (
        lambda folder: written(
            folder / "b.wav",
            (plain := save(folder / "a.wav", beep(1.0)).read_bytes())[:24] + struct.pack("<I", 1) + plain[28:],
        ),
        "is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
    ),
}  # fmt: skip


# In mono, as one channel of two would be made quieter. The encoder at hand for Vorbis knows stereo alone.
ENCODED = {
    kind.suffix: replace(kind, layout="mono")
    for kind in KINDS.values()
    if not kind.video and kind.codec != "vorbis"
}


class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    def test_one_is_a_line_that_says_what_is_wrong_and_what_to_do(self, tmp_path: Path, name: str) -> None:
        build, said = REFUSED[name]
        source = build(tmp_path)

        with pytest.raises(GreetingError) as refused:
            greeting.make(source)

        # The reason is FFmpeg's, the hundredths are the codec's.
        told = re.sub(r"read \(.+\)", "read (WHY)", str(refused.value))
        assert re.sub(r"(\d\.\d)\d s", r"\1 s", told) == f"{source}: {said}"

    def test_a_video_without_sound(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "a.mp4"), "w") as out:
            picture(out, 1.0)

        with pytest.raises(GreetingError, match="holds no sound; name a file with a sound track"):
            greeting.make(tmp_path / "a.mp4")

    @pytest.mark.parametrize("suffix", ENCODED)
    @pytest.mark.parametrize("gain_db", [12, 15, 20])
    def test_a_voice_recorded_much_too_loud(self, tmp_path: Path, suffix: str, gain_db: float) -> None:
        source = encode(tmp_path / f"a.{suffix}", voice(VOICE, gain_db), ENCODED[suffix])

        with pytest.raises(GreetingError, match=r"is badly clipped: \d+% of it is cut off; record it again"):
            greeting.make(source)

    @pytest.mark.parametrize("gain_db", [12, 15, 20])
    def test_a_voice_made_quieter_after_it_was_cut_off(self, tmp_path: Path, gain_db: float) -> None:
        quieter = array("f", (sample * 0.4 for sample in voice(VOICE, gain_db)))

        with pytest.raises(GreetingError, match=r"is badly clipped"):
            greeting.make(encode(tmp_path / "a.wav", quieter))

    def test_a_scrap_that_is_cut_off_is_too_short_above_all(self, tmp_path: Path) -> None:
        scrap = voice(VOICE, 20)[48_000 : 48_000 + 3840]

        with pytest.raises(GreetingError, match=r"holds 0\.\d+ s of sound, too short for a greeting"):
            greeting.make(encode(tmp_path / "a.wav", scrap))

    @pytest.mark.parametrize("suffix", ENCODED)
    @pytest.mark.parametrize("gain_db", [-6, 0, 2])
    def test_a_voice_that_just_reaches_full_scale(self, tmp_path: Path, suffix: str, gain_db: float) -> None:
        source = encode(tmp_path / f"a.{suffix}", voice(VOICE, gain_db), ENCODED[suffix])

        assert greeting.make(source).loudness.lufs == pytest.approx(-21.0, abs=0.2)

    @pytest.mark.parametrize("hertz", [100, 440, 1000, 3000])
    def test_a_tone_at_full_scale_is_no_such_either(self, tmp_path: Path, hertz: float) -> None:
        source = encode(tmp_path / "a.wav", joined(silence(1), note(2, hertz=hertz, loud=0.9999), silence(2)))

        assert greeting.make(source).was.clipped == 0.0

    def test_a_list_of_addresses_leads_nowhere(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.2)
            address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
            for name in ("a.m3u8", "a.mp3"):
                playlist = written(tmp_path / name, f"#EXTM3U\n#EXTINF:9,\n{address}\n".encode())
                with pytest.raises(GreetingError, match="is no sound file that can be read"):
                    greeting.make(playlist)
            with pytest.raises(TimeoutError):
                server.accept()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read(self, tmp_path: Path) -> None:
        source = save(tmp_path / "a.wav", beep(1.0))
        source.chmod(0)

        with pytest.raises(GreetingError, match="cannot be read: Permission denied"):
            greeting.make(source)


class TestJudged:
    def test_a_greeting_that_was_made_is_good(self, tmp_path: Path) -> None:
        verdict = greeting.judge(made(tmp_path, VOICE))

        assert (verdict.wrong, verdict.sound.form) == ((), "16-bit PCM, 8000 Hz mono")

    @pytest.mark.parametrize("path", sorted((ROOT / "greetings").glob("*/*.wav")), ids=lambda path: path.stem)
    def test_the_shipped_ones_are_good(self, path: Path) -> None:
        assert greeting.judge(path).wrong == ()

    @pytest.mark.parametrize(
        ("build", "said"),
        [
            (lambda path: encode(path, SPOKEN), "has 2 channels, which the switch adds up, too loud"),
            (lambda path: encode(path, SPOKEN, KINDS["A-law WAV"]), "is no PCM WAV file, which a greeting must be"),
            (lambda path: save(path, beep(2.0, loud=500)), "is too quiet: -39.8 LUFS, and -21 is right"),
            (lambda path: save(path, beep(2.0, loud=30000)), "is too loud: -4.3 LUFS, and -21 is right"),
            (
                lambda path: save(path, beep(1.0, loud=0) + beep(2.0, loud=4000)),
                "begins with 1.0 s of silence: a caller thinks that nobody is there",
            ),
            (
                lambda path: save(path, beep(2.0, loud=4000) + beep(2.5, loud=0)),
                "ends with 2.5 s of silence: a caller waits for the tone",
            ),
            (lambda path: save(path, beep(2.0, loud=0)), "is silent for 2.0 s; look at the microphone, or take another file"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_with_a_file_as_it_is(
        self, tmp_path: Path, build: Callable[[Path], Path], said: str
    ) -> None:
        assert said in greeting.judge(build(tmp_path / "a.wav")).wrong

    def test_a_file_that_the_switch_would_play_in_its_place(self, tmp_path: Path) -> None:
        path = made(tmp_path, VOICE)
        shadow = tmp_path / "8000" / path.name
        shadow.parent.mkdir()
        assert greeting.judge(path).wrong == ()

        shadow.touch()

        assert greeting.judge(path).wrong == (f"is not played, but {shadow} in its place; remove that",)


class TestExtent:
    @settings(max_examples=40, deadline=None)
    @given(st.floats(0, 3), st.floats(0.5, 3), st.floats(0, 3), st.floats(0.005, 1))
    def test_it_is_found_wherever_it_lies(
        self, before: float, during: float, after: float, loud: float
    ) -> None:
        parts = [round(seconds * 8000) for seconds in (before, during, after)]
        sound = (loud * math.sin(2 * math.pi * n / 8) for n in range(parts[1]))
        samples = array("f", [*[0.0] * parts[0], *sound, *[0.0] * parts[2]])

        found = greeting.extent_of(samples)

        assert found.before == pytest.approx(before, abs=0.015)
        assert found.during == pytest.approx(during, abs=0.03)
        assert found.after == pytest.approx(after, abs=0.015)

    @pytest.mark.parametrize("count", [0, 1, 79, 80, 81, 8000])
    def test_in_silence_there_is_nothing(self, count: int) -> None:
        found = greeting.extent_of(array("f", [0.0] * count))

        assert (found.before, found.during, found.after) == (count / 8000, 0.0, 0.0)


class TestNames:
    @given(st.text())
    def test_whatever_a_file_is_called_the_name_is_safe_or_none(self, stem: str) -> None:
        name = name_for(stem)

        assert name == "" or NAME.fullmatch(name)

    @pytest.mark.parametrize(
        ("stem", "name"),
        [
            ("sales", "sales"),
            ("Sprzedaż (łódź) 2", "sprzedaz-lodz-2"),
            ("a'b\"c$d{e}!f\\g h", "a-b-c-d-e-f-g-h"),
            ("../../etc/passwd", "etc-passwd"),
            ("Nagranie_001", "nagranie_001"),
            ("приветствие", ""),
            ("x" * 200, "x" * 64),
        ],
    )
    def test_what_becomes_of_a_name(self, stem: str, name: str) -> None:
        assert name_for(stem) == name

    @pytest.mark.parametrize("sign", list("'\"\\${}! "))
    def test_a_folder_that_the_switch_would_misread_is_refused(self, tmp_path: Path, sign: str) -> None:
        with pytest.raises(GreetingError, match="the switch would misread"):
            place(tmp_path / f"a{sign}b", "sales")

    @pytest.mark.parametrize("name", ["", "a b", "a!b", "../a", "A", "-a", "x" * 65, "a\n"])
    def test_a_name_that_is_not_safe_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(GreetingError, match="is no name for a greeting"):
            place(tmp_path, name)


_KILLED = """\
import os, signal, sys
from pathlib import Path
from esl_voicemail.greeting_folder import write
setattr(os, sys.argv[1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
write(Path(sys.argv[2]), b"new" * 100_000, force=sys.argv[3] == "force")
"""


class TestWriting:
    def test_it_makes_the_folder_and_lets_the_switch_read(self, tmp_path: Path) -> None:
        path = tmp_path / "greetings" / "sales.wav"
        mask = os.umask(0o077)
        try:
            write(path, b"sound")
        finally:
            os.umask(mask)

        assert path.read_bytes() == b"sound"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
        assert list(path.parent.iterdir()) == [path]

    def test_another_file_is_replaced_by_force_alone(self, tmp_path: Path) -> None:
        path = written(tmp_path / "sales.wav", b"old")

        with pytest.raises(GreetingError, match="is there already; give another --name, or --force"):
            write(path, b"new")
        assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])

        write(path, b"new", force=True)
        assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"new", [path])

    def test_a_link_that_leads_nowhere_is_another_file_too(self, tmp_path: Path) -> None:
        (tmp_path / "sales.wav").symlink_to("gone")

        with pytest.raises(GreetingError, match="is there already"):
            write(tmp_path / "sales.wav", b"new")

    def test_the_original_is_never_replaced(self, tmp_path: Path) -> None:
        path = written(tmp_path / "sales.wav", b"old")
        (tmp_path / "other.wav").symlink_to(path)

        with pytest.raises(GreetingError, match="is the original, which stays as it is"):
            write(path, b"new", tmp_path / "other.wav", force=True)
        assert path.read_bytes() == b"old"

    def test_a_folder_in_its_place_is_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "sales.wav").mkdir()

        with pytest.raises(GreetingError, match="cannot be written: Is a directory"):
            write(tmp_path / "sales.wav", b"new", force=True)
        assert [path.name for path in tmp_path.iterdir()] == ["sales.wav"]

    @pytest.mark.parametrize(
        ("step", "force"),
        [
            *((step, "force") for step in ("fchmod", "fsync", "replace")),
            *((step, "") for step in ("fchmod", "fsync", "link")),
        ],
    )
    def test_killed_in_the_middle_it_leaves_no_half_greeting(
        self, tmp_path: Path, step: str, force: str
    ) -> None:
        path = tmp_path / "sales.wav"
        if force:
            path.write_bytes(b"old")
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED, step, path, force], cwd=ROOT, check=False, timeout=60
        )

        assert killed.returncode == -signal.SIGKILL
        seen = [one for one in tmp_path.iterdir() if not one.name.startswith(".")]
        assert [one.read_bytes() for one in seen] == ([b"old"] if force else [])
        write(path, b"again", force=bool(force))
        assert path.read_bytes() == b"again"

    def test_who_is_shut_out_is_said(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            top = Path(name)
            path = written(top / "a.wav", b"")
            assert closed_to_others(path) == next(
                step for step in (*reversed(top.parents), top) if not step.stat().st_mode & 0o001
            )
            top.chmod(0o755)
            if closed_to_others(top) is not None:
                pytest.skip("the folder for temporary files is closed itself")

            for mode, shut in ((0o644, None), (0o640, path)):
                path.chmod(mode)
                assert closed_to_others(path) == shut


class TestKept:
    def test_every_greeting_is_told_with_who_uses_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "sounds"
        folder.mkdir()
        for name in ("sales.wav", "old.mp3", ".sales.x.part"):
            (folder / name).touch()
        (tmp_path / "voicemail.yaml").write_text(
            "greetings_dir: ./sounds\nmailboxes:\n"
            "  sales: {recipients: [a@example.com], greetings: {default: sales.wav, busy: ./sales.wav}}\n"
            "  help: {recipients: [a@example.com], language: en, greetings: {busy: /elsewhere/x.wav}}\n"
        )

        found = {one.shown: one.uses for one in kept(load(tmp_path / "voicemail.yaml"))}

        assert found["sales.wav"] == ("sales: default, busy",)
        assert found["old.mp3"] == ()
        assert found["/elsewhere/x.wav"] == ("help: busy",)
        assert found["shipped en/default.wav"] == ("help: default",)
        assert found["shipped pl/thanks.wav"] == ("sales: thanks",)
        assert list(found)[:2] == ["old.mp3", "sales.wav"]
        assert ".sales.x.part" not in found


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
class TestSpeech:
    @pytest.mark.parametrize(("language", "text"), [("pl", "Dzień dobry, źdźbło."), ("en", "Good morning.")])
    def test_a_text_is_spoken(self, tmp_path: Path, language: str, text: str) -> None:
        out = heard(made(tmp_path, speak(text, language, tmp_path)))

        assert 0.6 < out.seconds < 4

    def test_languages_sound_different(self, tmp_path: Path) -> None:
        spoken = []
        for language in ("pl", "en"):
            (tmp_path / language).mkdir()
            spoken.append(speak("Good morning", language, tmp_path / language).read_bytes())

        assert spoken[0] != spoken[1]

    def test_a_text_is_no_command_and_no_option(self, tmp_path: Path) -> None:
        path = speak(f"-v en; touch {tmp_path}/x $(touch {tmp_path}/x) `touch {tmp_path}/x`", "pl", tmp_path)

        assert list(tmp_path.iterdir()) == [path]


class TestUnspoken:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "the text holds nothing to speak; give it some words"),
            (" \n\t\u200b\x07...\n", "the text holds nothing to speak; give it some words"),
            ("a" * (MOST_LETTERS + 1), "the text has 1001 letters, more than 1000: shorten it"),
        ],
    )
    def test_a_text_that_cannot_be_spoken_is_a_line(self, tmp_path: Path, text: str, said: str) -> None:
        if not shutil.which("espeak-ng"):
            pytest.skip("espeak-ng is not installed")
        with pytest.raises(SpeechError) as refused:
            speak(text, "pl", tmp_path)

        assert str(refused.value) == said

    def test_without_a_synthesiser_the_package_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(SpeechError) as refused:
            speak("Dzień dobry", "pl", tmp_path)

        assert str(refused.value) == (
            "no program that speaks Polish is installed; install the package espeak-ng, "
            "or record the greeting and import it"
        )

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("echo no such voice >&2; exit 3", "espeak-ng: cannot speak the text: no such voice"),
            ("exit 3", "espeak-ng: cannot speak the text: it ended with 3"),
            ("exit 0", "espeak-ng: cannot speak the text: it ended with 0"),
        ],
    )
    def test_a_synthesiser_that_fails_is_a_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
    ) -> None:
        program = written(tmp_path / "espeak-ng", f"#!/bin/sh\n{script}\n".encode())
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

        with pytest.raises(SpeechError) as refused:
            speak("Dzień dobry", "pl", tmp_path)

        assert str(refused.value) == said
