"""The recordings folder: what makes it useless, what is taken in, and that nothing in it is ever lost."""

import hashlib
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.audio.wav import Sound, inspect
from esl_voicemail.errors import RecordingError
from esl_voicemail.model import MAILBOX_NAME, Recording
from esl_voicemail.spool import Spool, owner_of
from tests.support.speech import save, tone

MESSAGE = "01JD0000000000000000000000"
NAME = f"sales.{MESSAGE}.wav"
A_SECOND = tone(1.0)
NOBODY = 65534


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "recordings").mkdir()
    return Spool(tmp_path / "recordings", tmp_path / "corrupt")


def left_open(path: Path) -> Path:
    """A recording as the switch leaves it when it dies: sizes 8 and 0, the audio behind them."""
    save(path, A_SECOND)
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", 8))
        file.seek(40)
        file.write(struct.pack("<I", 0))
    return path


def read(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


@pytest.fixture
def commons() -> Iterator[Path]:
    """A folder that every user can enter and write, which a test's own folder is not."""
    folder = Path(tempfile.mkdtemp(prefix="esl-voicemail-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    for below in folder.iterdir():
        below.chmod(0o777)
    shutil.rmtree(folder)


def as_another_user(script: str, folder: Path) -> str:
    """Run Python as a user who owns nothing, or, where that is not ours to do, as ourselves."""
    become = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from esl_voicemail.spool import Spool\n"
        f"try: os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "except PermissionError: pass\n"
        "spool = Spool(Path(sys.argv[1]) / 'recordings', Path(sys.argv[1]) / 'corrupt')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", become + script, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not ran.stderr
    return ran.stdout.strip()


def looked(spool: Spool, look: str) -> str | None:
    """What a look finds: the one that writes, or the one at each call that does not."""
    found: str | None = getattr(spool, look)()
    return found


@pytest.mark.parametrize("look", ["trouble", "trouble_in_sight"])
class TestTrouble:
    def test_a_folder_that_can_be_written_is_none(self, look: str, spool: Spool) -> None:
        save(spool.recordings / NAME, A_SECOND)

        assert looked(spool, look) is None
        assert [seen.path.name for seen in spool.files()] == [NAME]

    def test_a_missing_folder_is_one(self, look: str, tmp_path: Path) -> None:
        assert looked(Spool(tmp_path / "gone", tmp_path), look) == (
            f"{tmp_path}/gone: no such folder; create it, writable for the switch and for this service"
        )

    def test_a_link_to_nowhere_is_one(self, look: str, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "gone")

        assert str(looked(Spool(tmp_path / "link", tmp_path), look)).startswith(
            f"{tmp_path}/link: no such folder"
        )

    def test_a_file_in_the_folder_s_place_is_one(self, look: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        assert looked(Spool(tmp_path / "file", tmp_path), look) == (
            f"{tmp_path}/file: cannot be written: Not a directory"
        )

    @pytest.mark.parametrize("rate", ["8000", "16000", "32000", "48000"])
    def test_a_folder_named_as_a_rate_is_one(self, look: str, spool: Spool, rate: str) -> None:
        (spool.recordings / rate).mkdir()

        assert looked(spool, look) == (
            f"{spool.recordings}/{rate}: the switch would write there instead; remove or rename it"
        )

    @pytest.mark.parametrize("name", ["11025", "8000.wav", "archive"])
    def test_another_folder_is_none(self, look: str, spool: Spool, name: str) -> None:
        (spool.recordings / name).mkdir()

        assert looked(spool, look) is None

    def test_a_full_disk_is_one(self, look: str, spool: Spool) -> None:
        much = 1 << 60

        said = looked(Spool(spool.recordings, spool.corrupt, much), look)

        assert said is not None
        assert said.endswith(f" MiB free, less than storage.min_free_mb {much >> 20}")

    def test_a_folder_that_may_not_be_written_is_one(self, look: str, commons: Path) -> None:
        (commons / "recordings").mkdir(mode=0o555)

        assert as_another_user(f"print(spool.{look}())", commons) == (
            f"{commons}/recordings: cannot be written: Permission denied"
        )

    def test_a_folder_that_may_not_be_entered_is_one(self, look: str, commons: Path) -> None:
        (commons / "recordings").mkdir()
        commons.chmod(0o600)

        assert as_another_user(f"print(spool.{look}())", commons) == (
            f"{commons}/recordings: cannot be read: Permission denied"
        )

    def test_looking_leaves_nothing_behind(self, look: str, spool: Spool) -> None:
        for _ in range(3):
            looked(spool, look)

        assert list(spool.recordings.iterdir()) == []


class TestAdmit:
    def test_a_recording_is_measured_and_not_touched(self, spool: Spool) -> None:
        path = save(spool.place("sales", MESSAGE), A_SECOND)
        content = path.read_bytes()

        recording = spool.admit(path)

        assert path.read_bytes() == content
        assert recording.path == path
        assert recording.duration_ms == 1000
        assert recording.size == len(content)
        assert recording.sha256 == hashlib.sha256(content).hexdigest()
        assert not recording.repaired

    def test_a_recording_left_open_is_mended(self, spool: Spool) -> None:
        path = left_open(spool.place("sales", MESSAGE))

        recording = spool.admit(path)

        assert read(path) == A_SECOND
        assert recording.duration_ms == 1000
        assert recording.repaired
        assert recording.size == path.stat().st_size
        assert recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize("made", [lambda path: save(path, A_SECOND), left_open], ids=["closed", "open"])
    def test_what_is_on_disk_is_handed_on_to_be_heard(
        self, spool: Spool, made: Callable[[Path], Path]
    ) -> None:
        path, held = made(spool.place("sales", MESSAGE)), list[Sound]()

        recording = spool.admit(path, held.append)

        assert held == [Sound(inspect(path), path.read_bytes())]
        assert hashlib.sha256(held[0].content).hexdigest() == recording.sha256

    def test_a_recording_of_minutes_is_not_held_and_hashed_to_its_end(self, spool: Spool) -> None:
        path, held = save(spool.place("sales", MESSAGE), A_SECOND * 100), list[Sound]()

        recording = spool.admit(path, held.append)

        assert held == []
        assert recording.duration_ms == 100_000
        assert recording.size == path.stat().st_size
        assert recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_chunks_of_any_length_may_stand_before_the_audio(self, spool: Spool) -> None:
        whole = save(spool.place("sales", MESSAGE), A_SECOND).read_bytes()
        body = whole[12:36] + struct.pack("<4sI", b"LIST", 2 << 20) + bytes(2 << 20) + whole[36:]
        path = spool.place("sales", MESSAGE)
        path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)

        assert spool.admit(path) == Recording(
            path, 1000, len(body) + 12, hashlib.sha256(path.read_bytes()).hexdigest()
        )

    def test_admitting_twice_finds_the_same(self, spool: Spool) -> None:
        path = left_open(spool.place("sales", MESSAGE))

        first, second = spool.admit(path), spool.admit(path)

        assert first.repaired
        assert not second.repaired
        assert (second.size, second.sha256, second.duration_ms) == (
            first.size,
            first.sha256,
            first.duration_ms,
        )

    def test_a_recording_of_nothing_lasts_0_ms(self, spool: Spool) -> None:
        assert spool.admit(save(spool.place("sales", MESSAGE), b"")).duration_ms == 0

    @pytest.mark.parametrize(
        ("content", "said"),
        {"empty": (b"", "no WAV file (0 bytes)"), "text": (b"x" * 99, "no WAV file (99 bytes)")}.values(),
        ids=["empty", "text"],
    )
    def test_what_is_no_sound_is_refused_and_left_as_it_is(
        self, spool: Spool, content: bytes, said: str
    ) -> None:
        path = spool.place("sales", MESSAGE)
        path.write_bytes(content)

        with pytest.raises(RecordingError) as caught:
            spool.admit(path)

        assert str(caught.value) == f"{NAME}: {said}"
        assert path.read_bytes() == content

    def test_a_missing_file_is_refused(self, spool: Spool) -> None:
        with pytest.raises(RecordingError, match=f"^{NAME}: No such file or directory$"):
            spool.admit(spool.place("sales", MESSAGE))

    def test_a_folder_is_refused(self, spool: Spool) -> None:
        spool.place("sales", MESSAGE).mkdir()

        with pytest.raises(RecordingError, match=f"^{NAME}: is no plain file$"):
            spool.admit(spool.place("sales", MESSAGE))

    def test_a_link_is_refused_wherever_it_leads(self, spool: Spool, tmp_path: Path) -> None:
        outside = left_open(tmp_path / "outside.wav")
        content = outside.read_bytes()
        spool.place("sales", MESSAGE).symlink_to(outside)

        with pytest.raises(RecordingError, match=f"^{NAME}: is no plain file$"):
            spool.admit(spool.place("sales", MESSAGE))
        assert outside.read_bytes() == content

    def test_a_socket_is_refused(self, spool: Spool) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"{spool.place('sales', MESSAGE)}")

            with pytest.raises(RecordingError, match=f"^{NAME}: is no plain file$"):
                spool.admit(spool.place("sales", MESSAGE))

    def test_a_pipe_is_refused_and_not_waited_for(self, spool: Spool) -> None:
        os.mkfifo(spool.place("sales", MESSAGE))

        with pytest.raises(RecordingError, match=f"^{NAME}: is no plain file$"):
            spool.admit(spool.place("sales", MESSAGE))

    def test_a_file_of_the_switch_s_own_user_is_mended_by_a_copy(self, commons: Path) -> None:
        (commons / "recordings").mkdir()
        (commons / "recordings").chmod(0o777)
        path = left_open(commons / "recordings" / NAME)
        path.chmod(0o444)
        before = path.stat()

        said = as_another_user(
            f"one = spool.admit(spool.recordings / '{NAME}')\n"
            "print(one.duration_ms, one.repaired, one.sha256)",
            commons,
        )

        assert said == f"1000 True {hashlib.sha256(path.read_bytes()).hexdigest()}"
        assert read(path) == A_SECOND
        assert path.stat().st_ino != before.st_ino
        assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR
        assert [file.name for file in path.parent.iterdir()] == [NAME]

    def test_a_file_that_cannot_be_mended_is_the_disk_s_trouble_and_left_as_it_is(
        self, commons: Path
    ) -> None:
        (commons / "recordings").mkdir()
        path = left_open(commons / "recordings" / NAME)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        content = path.read_bytes()

        said = as_another_user(
            f"try: spool.admit(spool.recordings / '{NAME}')\nexcept OSError as error: print(error.strerror)",
            commons,
        )

        assert said == "Permission denied"
        assert path.read_bytes() == content

    def test_a_file_that_may_not_be_read_is_no_verdict_on_the_sound(self, commons: Path) -> None:
        (commons / "recordings").mkdir()
        save(commons / "recordings" / NAME, A_SECOND).chmod(0)

        said = as_another_user(
            f"try: spool.admit(spool.recordings / '{NAME}')\nexcept OSError as error: print(error.strerror)",
            commons,
        )

        assert said == "Permission denied"


class TestQuarantine:
    def test_a_file_is_moved_as_it_is(self, spool: Spool) -> None:
        path = spool.recordings / "what.is.this"
        path.write_bytes(b"?")

        aside = spool.quarantine(path)

        assert aside == spool.corrupt / "what.is.this"
        assert aside.read_bytes() == b"?"
        assert not path.exists()

    def test_nothing_is_ever_overwritten(self, spool: Spool) -> None:
        path = spool.place("sales", MESSAGE)
        contents = [b"first", b"second", b"third"]

        moved = []
        for content in contents:
            path.write_bytes(content)
            moved.append(spool.quarantine(path))

        assert [aside.name for aside in moved] == [NAME, f"{NAME}.1", f"{NAME}.2"]
        assert [aside.read_bytes() for aside in moved] == contents

    def test_a_link_to_nowhere_is_not_overwritten_either(self, spool: Spool) -> None:
        spool.corrupt.mkdir()
        (spool.corrupt / NAME).symlink_to("gone")
        spool.place("sales", MESSAGE).write_bytes(b"?")

        aside = spool.quarantine(spool.place("sales", MESSAGE))

        assert aside.name == f"{NAME}.1"
        assert (spool.corrupt / NAME).is_symlink()

    def test_a_link_is_moved_and_what_it_leads_to_stays(self, spool: Spool, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_bytes(b"?")
        link = spool.recordings / "link.wav"
        link.symlink_to(outside)

        aside = spool.quarantine(link)

        assert aside.is_symlink()
        assert outside.read_bytes() == b"?"

    def test_a_folder_is_moved_with_what_is_in_it(self, spool: Spool) -> None:
        (spool.recordings / "folder").mkdir()
        (spool.recordings / "folder" / "note").write_bytes(b"?")

        spool.quarantine(spool.recordings / "folder")

        assert (spool.corrupt / "folder" / "note").read_bytes() == b"?"
        assert spool.files() == []

    def test_a_file_crosses_to_another_disk_as_it_is(self, tmp_path: Path) -> None:
        disk = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(dir=disk) as other:
            spool = Spool(Path(other), tmp_path / "corrupt")
            for content in (b"first", b"second"):
                path = Path(other) / NAME
                path.write_bytes(content)
                spool.quarantine(path)
            (Path(other) / "folder").mkdir()
            spool.quarantine(Path(other) / "folder")

            assert list(Path(other).iterdir()) == []
            assert (spool.corrupt / NAME).read_bytes() == b"first"
            assert (spool.corrupt / f"{NAME}.1").read_bytes() == b"second"
            assert (spool.corrupt / "folder").is_dir()


class TestFiles:
    def test_each_file_comes_with_its_size_and_the_time_it_was_last_written(self, spool: Spool) -> None:
        path = save(spool.place("sales", MESSAGE), A_SECOND)
        os.utime(path, (1_000_000_000, 1_700_000_000))

        (seen,) = spool.files()

        assert (seen.path, seen.size, seen.written) == (path, path.stat().st_size, 1_700_000_000)

    def test_a_link_to_nowhere_is_a_file_like_others(self, spool: Spool) -> None:
        (spool.recordings / "link").symlink_to("gone")

        assert [seen.path.name for seen in spool.files()] == ["link"]

    @pytest.mark.parametrize("name", [".nfs0001", f".{NAME}.mending"])
    def test_a_hidden_file_belongs_to_somebody_else(self, spool: Spool, name: str) -> None:
        (spool.recordings / name).touch()

        assert spool.files() == []

    def test_a_folder_belongs_to_somebody_else(self, spool: Spool) -> None:
        (spool.recordings / "lost+found").mkdir()

        assert spool.files() == []


MAILBOXES = st.from_regex(MAILBOX_NAME, fullmatch=True)
MESSAGES = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)


class TestNames:
    def test_a_name_holds_mailbox_and_message_and_nothing_else(self, spool: Spool) -> None:
        assert spool.place("sales", MESSAGE) == spool.recordings / NAME

    @given(mailbox=MAILBOXES, message=MESSAGES)
    def test_a_name_says_whose_it_is(self, mailbox: str, message: str) -> None:
        folder = Path("/recordings")

        path = Spool(folder, folder).place(mailbox, message)

        assert path.parent == folder
        assert set(path.name.replace(mailbox, "", 1).replace(message, "", 1)) <= set(".wav")
        assert len(path.name) == len(mailbox) + len(message) + 5
        assert owner_of(path) == (mailbox, message)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "sales.wav",
            f"sales.{MESSAGE}",
            f"sales.{MESSAGE}.mp3",
            f"sales.{MESSAGE}.WAV",
            f"sales.{MESSAGE}.wav.1",
            f"sales.{MESSAGE}.mending",
            f"sales.{MESSAGE[1:]}.wav",
            f"sales.{MESSAGE}0.wav",
            f"sales.{MESSAGE.lower()}.wav",
            f".{MESSAGE}.wav",
            f"{MESSAGE}.wav",
            f"Sales.{MESSAGE}.wav",
            f"-sales.{MESSAGE}.wav",
            f"sa les.{MESSAGE}.wav",
            f"sprzedaż.{MESSAGE}.wav",
            f"{'a' * 33}.{MESSAGE}.wav",
            f"a.b.{MESSAGE}.wav",
            f"sales.{MESSAGE}.wav\n",
            f"\nsales.{MESSAGE}.wav",
            f"sales.{'٣' * 26}.wav",
        ],
    )
    def test_a_foreign_name_says_nothing(self, name: str) -> None:
        assert owner_of(Path("/recordings") / name) is None

    @given(name=st.text().filter(lambda name: "/" not in name and "\0" not in name))
    def test_any_name_says_all_of_it_or_nothing(self, name: str) -> None:
        owner = owner_of(Path("/recordings") / name)

        assert owner is None or f"{owner[0]}.{owner[1]}.wav" == name
