"""WAV files in every shape a switch, a disk or a person leaves them in; and what mails make of them."""

# ruff: noqa: E501 - in the tables, a case keeps to its line

import hashlib
import io
import os
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.audio.convert import FORMATS, attachment, pcm
from esl_voicemail.audio.wav import Wav, inspect, mend
from esl_voicemail.errors import RecordingError
from tests.support.speech import beep, save

PCM, A_LAW, EXTENSIBLE = 1, 6, 0xFFFE
A_SECOND = beep(1.0)


def chunk(name: bytes, content: bytes, says: int | None = None) -> bytes:
    """A chunk with its pad byte; `says` is a length that lies."""
    length = len(content) if says is None else says
    return struct.pack("<4sI", name, length) + content + b"\0" * (len(content) % 2)


def form(rate: int = 8000, channels: int = 1, bits: int = 16, tag: int = PCM, more: bytes = b"") -> bytes:
    """A format chunk."""
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + more)


def riff(*chunks: bytes, says: int | None = None) -> bytes:
    """A RIFF file of chunks; `says` is a length that lies."""
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body) if says is None else says) + body


def extensible(sub_format: int) -> bytes:
    """The 24 bytes that follow in a format chunk of 40, with the format that is really meant."""
    guid = struct.pack("<H", sub_format) + bytes.fromhex("000000001000800000aa00389b71")
    return struct.pack("<HHI", 22, 16, 4) + guid


@dataclass(frozen=True)
class Shape:
    """A file, and what is to be found in it."""

    content: bytes
    audio: bytes
    header_right: bool = True
    rate: int = 8000
    channels: int = 1
    sample_bytes: int = 2


TITLE = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Poczta"))
DATA = chunk(b"data", A_SECOND)
OPEN = chunk(b"data", A_SECOND, says=0)
SHAPES = {
    "as it should be": Shape(riff(form(), DATA), A_SECOND),
    "as the switch leaves it when it dies": Shape(riff(form(), OPEN, says=8), A_SECOND, header_right=False),
    "no length, but the file's": Shape(riff(form(), OPEN), A_SECOND, header_right=False),
    "cut short": Shape(riff(form(), DATA)[:-1000], A_SECOND[:-1000], header_right=False),
    "cut short within a sample": Shape(riff(form(), DATA)[:-1001], A_SECOND[:-1002], header_right=False),
    "the file's length too small": Shape(riff(form(), DATA, says=36), A_SECOND, header_right=False),
    "the file's length 0": Shape(riff(form(), DATA, says=0), A_SECOND, header_right=False),
    "the file's length too large": Shape(riff(form(), DATA, says=99_999), A_SECOND, header_right=False),
    "the file's length without end": Shape(
        riff(form(), chunk(b"data", A_SECOND, says=0xFFFFFFFF), says=0xFFFFFFFF), A_SECOND, header_right=False
    ),
    "a title before the audio": Shape(riff(form(), TITLE, DATA), A_SECOND),
    "a title before the format": Shape(riff(TITLE, form(), DATA), A_SECOND),
    "a title behind the audio": Shape(riff(form(), DATA, TITLE), A_SECOND),
    "a title and no length": Shape(riff(form(), TITLE, OPEN, says=8), A_SECOND, header_right=False),
    "a picture before the audio": Shape(riff(form(), chunk(b"id3 ", b"\xff" * 100_000), DATA), A_SECOND),
    "a chunk of odd size before the audio": Shape(riff(form(), chunk(b"note", b"odd"), DATA), A_SECOND),
    "an empty chunk before the audio": Shape(riff(form(), chunk(b"note", b""), DATA), A_SECOND),
    "a longer format": Shape(riff(form(more=b"\0\0"), DATA), A_SECOND),
    "a header and nothing else": Shape(riff(form(), chunk(b"data", b"")), b""),
    "a header as it is first written": Shape(
        riff(form(), chunk(b"data", b""), says=8), b"", header_right=False
    ),
    "a header that promises too much": Shape(
        riff(form(), chunk(b"data", b"", says=16000), says=16036), b"", header_right=False
    ),
    "half a sample": Shape(riff(form(), chunk(b"data", b"\1", says=0)), b"\1\0", header_right=False),
    "8 bit": Shape(riff(form(bits=8), chunk(b"data", b"\x80\x81" * 500)), b"\x80\x81" * 500, sample_bytes=1),
    "8 bit, an odd number of samples": Shape(
        riff(form(bits=8), chunk(b"data", b"\x80" * 501)), b"\x80" * 501, sample_bytes=1
    ),
    "8 bit, an odd number of samples, no length": Shape(
        riff(form(bits=8), chunk(b"data", b"\x80" * 501, says=0))[:-1],
        b"\x80" * 501,
        header_right=False,
        sample_bytes=1,
    ),
    "24 bit": Shape(riff(form(bits=24), chunk(b"data", b"abc" * 500)), b"abc" * 500, sample_bytes=3),
    "24 bit, cut": Shape(
        riff(form(bits=24), chunk(b"data", b"abc" * 500))[:-1],
        b"abc" * 499,
        header_right=False,
        sample_bytes=3,
    ),
    "stereo at 44.1 kHz": Shape(
        riff(form(rate=44100, channels=2), chunk(b"data", b"LlRr" * 441)),
        b"LlRr" * 441,
        rate=44100,
        channels=2,
    ),
}

REFUSED = {
    "nothing": (b"", "no WAV file (0 bytes)"),
    "a text": (b"This is no sound, whatever its name may say.\n", "no WAV file (45 bytes)"),
    "half a header": (riff(form(), DATA)[:40], "no WAV file (40 bytes)"),
    "an MP3": (b"ID3\x04" + bytes(200), "no WAV file (204 bytes)"),
    "another RIFF": (riff(form(), DATA).replace(b"WAVE", b"AVI "), "no WAV file (16044 bytes)"),
    "A-law": (riff(form(bits=8, tag=A_LAW), DATA), "a WAV that is not PCM (format 6, 1 channels, 8000 Hz, 8 bits)"),
    "A-law, said at length": (
        riff(form(bits=8, tag=EXTENSIBLE, more=extensible(A_LAW)), DATA),
        "a WAV that is not PCM (format 6, 1 channels, 8000 Hz, 8 bits)",
    ),
    "no channels": (riff(form(channels=0), DATA), "a WAV that is not PCM (format 1, 0 channels, 8000 Hz, 16 bits)"),
    "no rate": (riff(form(rate=0), DATA), "a WAV that is not PCM (format 1, 1 channels, 0 Hz, 16 bits)"),
    "12 bits": (riff(form(bits=12), DATA), "a WAV that is not PCM (format 1, 1 channels, 8000 Hz, 12 bits)"),
    "frames that hold no samples": (
        riff(form().replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 3, 16)), DATA),
        "a WAV whose frames of 3 bytes hold no 1 x 16 bits",
    ),
    "the audio before its format": (riff(DATA, form()), "a WAV whose audio stands before its format"),
    "no audio": (riff(form(), TITLE), "a WAV that ends before its audio begins"),
    "a chunk beyond the end": (riff(form(), chunk(b"note", b"", says=1 << 31), DATA), "a WAV that ends before its audio begins"),
    "a format cut short": (riff(chunk(b"fmt ", b"\1\0"), bytes(40)), "a WAV that ends before its audio begins"),
    "chunks without end": (riff(form(), chunk(b"note", b"") * 1000), "a WAV without audio"),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sound.wav"


@pytest.fixture(scope="module")
def any_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "sound.wav"


def read(path: Path) -> bytes:
    """Read a WAV file's audio with Python's own reader: an independent opinion."""
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


class TestInspect:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
    def test_a_sound_is_measured_as_it_lies_on_disk(self, path: Path, shape: Shape) -> None:
        path.write_bytes(shape.content)

        found = inspect(path)

        assert (found.rate, found.channels, found.sample_bytes) == (
            shape.rate,
            shape.channels,
            shape.sample_bytes,
        )
        held = shape.content[found.data_offset : found.data_offset + found.data_bytes]
        assert held == shape.audio
        assert found.header_right == shape.header_right
        assert found.duration_ms == len(shape.audio) * 1000 // (
            shape.rate * shape.channels * shape.sample_bytes
        )

    @pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
    def test_what_is_no_sound_is_refused_in_a_sentence(self, path: Path, content: bytes, said: str) -> None:
        path.write_bytes(content)

        with pytest.raises(RecordingError) as caught:
            inspect(path)

        assert str(caught.value) == f"sound.wav: {said}"

    def test_samples_of_pcm_said_at_length_are_taken(self, path: Path) -> None:
        path.write_bytes(riff(form(tag=EXTENSIBLE, more=extensible(PCM)), DATA))

        assert inspect(path).duration_ms == 1000

    def test_what_is_missing_or_a_folder_is_refused(self, path: Path) -> None:
        with pytest.raises(RecordingError, match=r"^sound\.wav: No such file or directory$"):
            inspect(path)
        path.mkdir()
        with pytest.raises(RecordingError, match=r"^sound\.wav: Is a directory$"):
            inspect(path)

    def test_a_pipe_is_refused_and_nobody_waits_for_its_other_end(self, path: Path) -> None:
        os.mkfifo(path)

        with pytest.raises(RecordingError, match=r"^sound\.wav: no plain file$"):
            inspect(path)

    def test_trouble_of_the_disk_is_no_verdict_on_the_sound(self, path: Path) -> None:
        path.symlink_to(path)

        with pytest.raises(OSError, match="symbolic links"):
            inspect(path)

    def test_a_link_is_followed(self, path: Path) -> None:
        path.symlink_to(save(path.with_name("real.wav"), A_SECOND))

        assert inspect(path).duration_ms == 1000

    def test_a_file_larger_than_a_wav_can_be_is_refused(self, path: Path) -> None:
        path.write_bytes(riff(form(), OPEN))
        with path.open("r+b") as file:
            file.truncate(5 << 30)

        with pytest.raises(RecordingError, match="larger than a WAV can be"):
            inspect(path)

    @given(content=st.binary(max_size=300))
    def test_any_bytes_are_a_sound_or_refused(self, any_path: Path, content: bytes) -> None:
        found_or_refused(any_path, content)

    @given(data=st.data())
    def test_any_wav_with_bytes_changed_or_cut_is_a_sound_or_refused(
        self, any_path: Path, data: st.DataObject
    ) -> None:
        content = bytearray(riff(form(), TITLE, chunk(b"data", bytes(64))))
        places = st.integers(0, len(content) - 1)
        for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
            content[place] = byte
        found_or_refused(any_path, bytes(content[: data.draw(places) + 1]))


def found_or_refused(path: Path, content: bytes) -> Wav | None:
    """Inspect these bytes; whatever is found lies within them and can be mended for good."""
    path.write_bytes(content)
    try:
        found = inspect(path)
    except RecordingError as error:
        said = str(error)
    else:
        assert 0 < found.data_offset <= found.data_offset + found.data_bytes <= len(content)
        mended_for_good(path, found)
        return found
    assert said.splitlines() == [said]
    return None


def mended_for_good(path: Path, found: Wav) -> None:
    """Mend a file; it is right then, nothing from the audio on is touched, and again changes nothing."""
    content = path.read_bytes()
    audio = content[found.data_offset : found.data_offset + found.data_bytes]
    mend(path, found)
    once = path.read_bytes()
    assert once[found.data_offset :] == content[found.data_offset :]
    again = inspect(path)
    assert again.header_right
    assert once[again.data_offset : again.data_offset + again.data_bytes] == audio
    mend(path, again)
    mend(path, found)
    assert path.read_bytes() == once


class TestMend:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
    def test_every_frame_can_be_read_afterwards(self, path: Path, shape: Shape) -> None:
        path.write_bytes(shape.content)

        mended_for_good(path, inspect(path))

        assert read(path) == shape.audio

    @pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.header_right])
    def test_a_header_called_right_is_one_that_others_can_read(self, path: Path, name: str) -> None:
        path.write_bytes(SHAPES[name].content)

        assert read(path) == SHAPES[name].audio

    @given(
        audio=st.binary(max_size=400).map(lambda audio: audio[: len(audio) // 12 * 12]),
        bits=st.sampled_from([8, 16, 24, 32]),
        channels=st.sampled_from([1, 2, 3]),
        before=st.lists(st.tuples(st.sampled_from([b"LIST", b"note"]), st.binary(max_size=9)), max_size=3),
        data_says=st.none() | st.integers(0, 0xFFFFFFFF),
        riff_says=st.none() | st.integers(0, 0xFFFFFFFF),
        cut=st.integers(0, 40),
    )
    def test_whatever_the_lengths_say_no_audio_that_is_there_is_lost(
        self,
        any_path: Path,
        audio: bytes,
        bits: int,
        channels: int,
        before: list[tuple[bytes, bytes]],
        data_says: int | None,
        riff_says: int | None,
        cut: int,
    ) -> None:
        chunks = [form(bits=bits, channels=channels), *(chunk(name, content) for name, content in before)]
        whole = riff(*chunks, chunk(b"data", audio, says=data_says), says=riff_says)
        content = whole[: len(whole) - cut]

        found = found_or_refused(any_path, content)

        head, frame = len(riff(*chunks)) + 8, channels * bits // 8
        if len(content) < max(head, 44):
            assert found is None
            return
        assert found is not None
        there = audio[: len(content) - head]
        if data_says is not None and frame <= data_says <= len(there):
            there = there[:data_says]  # chunks may follow the audio: a length within the file is believed
        there = there[: len(there) // frame * frame]
        assert content[found.data_offset : found.data_offset + found.data_bytes] == there
        assert read(any_path) == there


BROKEN = {
    "nothing": b"",
    "a text": b"This is no sound, whatever its name may say.\n" * 10,
    "half a header": riff(form(), DATA)[:20],
    "subtitles": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n\n",
    "a picture": b"P6\n2 2\n255\n" + bytes(12),
}


def seconds_of(content: bytes) -> float:
    """Decode a sound and count its samples."""
    with av.open(io.BytesIO(content)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


class TestAttachment:
    SECONDS = (0.1, 1.0, 3.7, 61.25)

    @pytest.fixture
    def sound(self, path: Path) -> Callable[[float], Path]:
        return lambda seconds: save(path, beep(seconds))

    def test_a_wav_is_the_file_itself(self, sound: Callable[[float], Path]) -> None:
        path = sound(1.0)

        assert attachment(path, "wav") == path.read_bytes()

    @pytest.mark.parametrize("seconds", SECONDS)
    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_a_converted_sound_lasts_as_long(
        self, sound: Callable[[float], Path], name: str, seconds: float
    ) -> None:
        assert seconds_of(attachment(sound(seconds), name)) == pytest.approx(seconds, abs=0.1)

    @pytest.mark.parametrize(("name", "container", "codec"), [("mp3", "mp3", "mp3"), ("opus", "ogg", "opus")])
    def test_a_converted_sound_is_of_the_kind_the_mail_says(
        self, sound: Callable[[float], Path], name: str, container: str, codec: str
    ) -> None:
        with av.open(io.BytesIO(attachment(sound(1.0), name))) as file:
            assert file.format.name == container
            assert [stream.codec_context.name.removeprefix("lib") for stream in file.streams] in (
                [codec],
                [f"{codec}float"],
            )

    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_a_converted_sound_is_much_smaller(self, sound: Callable[[float], Path], name: str) -> None:
        path = sound(10.0)

        assert len(attachment(path, name)) < path.stat().st_size / 2

    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_a_converted_sound_is_still_heard(self, path: Path, name: str) -> None:
        save(path, beep(2.0, loud=4000))
        converted = path.with_name("converted")
        converted.write_bytes(attachment(path, name))

        heard = struct.unpack("<4000h", pcm(converted)[8000:16000])

        # A tone of 440 Hz crosses zero 880 times a second.
        crossings = sum(a < 0 <= b or b < 0 <= a for a, b in pairwise(heard))
        assert crossings == pytest.approx(440, abs=10)
        assert max(map(abs, heard)) == pytest.approx(4000, rel=0.2)

    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_every_mended_shape_with_sound_in_it_can_be_converted(self, path: Path, name: str) -> None:
        for shape in SHAPES.values():
            if len(shape.audio) > 400:
                path.write_bytes(shape.content)
                mend(path, inspect(path))

                lasting = seconds_of(attachment(path, name))

                assert lasting == pytest.approx(inspect(path).duration_ms / 1000, abs=0.1)

    @pytest.mark.parametrize("samples", [0, 1, 8])
    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_too_few_samples_are_refused_and_no_empty_file_is_made(
        self, path: Path, name: str, samples: int
    ) -> None:
        save(path, bytes(2 * samples))

        with pytest.raises(RecordingError, match="holds too few samples"):
            attachment(path, name)
        assert attachment(path, "wav") == path.read_bytes()

    @pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
    @pytest.mark.parametrize("name", ["mp3", "opus"])
    def test_what_is_no_sound_is_refused(self, path: Path, name: str, content: bytes) -> None:
        path.write_bytes(content)

        with pytest.raises(RecordingError, match=f"^sound.wav: cannot be read as {name}: "):
            attachment(path, name)
        with pytest.raises(RecordingError, match="is no sound that can be read"):
            pcm(path)

    @pytest.mark.parametrize("name", FORMATS)
    def test_what_is_missing_or_a_folder_is_refused(self, path: Path, name: str) -> None:
        with pytest.raises(RecordingError):
            attachment(path, name)
        path.mkdir()
        with pytest.raises(RecordingError):
            attachment(path, name)

    def test_the_codec_says_nothing_on_standard_error(self, path: Path) -> None:
        path.write_bytes(riff(form(), DATA)[:20])
        script = (
            "import sys; from pathlib import Path; from esl_voicemail.audio.convert import attachment\n"
            "try: attachment(Path(sys.argv[1]), 'mp3')\n"
            "except Exception as error: print(type(error).__name__)"
        )

        ran = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
        )

        assert (ran.stdout, ran.stderr) == ("RecordingError\n", "")

    def test_the_original_is_not_touched(self, sound: Callable[[float], Path]) -> None:
        path = sound(1.0)
        before = hashlib.sha256(path.read_bytes()).digest()

        for name in FORMATS:
            attachment(path, name)

        assert hashlib.sha256(path.read_bytes()).digest() == before


class TestPcm:
    @pytest.mark.parametrize("name", FORMATS)
    def test_any_format_becomes_what_a_telephone_hears(self, path: Path, name: str) -> None:
        content = attachment(save(path, A_SECOND), name)
        path.write_bytes(content)

        assert len(pcm(path)) / 16000 == pytest.approx(1.0, abs=0.1)

    def test_telephone_sound_stays_as_it_is(self, path: Path) -> None:
        assert pcm(save(path, A_SECOND)) == A_SECOND

    def test_stereo_of_a_studio_becomes_telephone_sound(self, path: Path) -> None:
        loud = struct.pack("<2h", 4000, 4000) * 44100
        path.write_bytes(riff(form(rate=44100, channels=2), chunk(b"data", loud)))

        heard = pcm(path)

        assert len(heard) / 16000 == pytest.approx(1.0, abs=0.01)
        assert struct.unpack_from("<h", heard, 8000)[0] == pytest.approx(4000, abs=100)
