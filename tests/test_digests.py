"""A digest is known again for as long as its file stands as it did, and no change is missed."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from esl_voicemail.digests import Digests, tells_changes
from esl_voicemail.errors import RecordingError
from esl_voicemail.mail.enclosing import Encloser
from esl_voicemail.spool import Spool
from tests.support.service import until
from tests.support.speech import save, tone

DIGEST = "0" * 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long enough ago for its next change to show."""
    path = save(tmp_path / "sales.01JD0000000000000000000000.wav", tone(1.0))
    until(lambda: tells_changes(path.stat()), "the clock has ticked")
    return path


def written_over(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"RIFX")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copied_over(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def test_a_file_that_stands_as_it_did_is_known(file: Path) -> None:
    digests = Digests()
    assert digests.of(file.stat()) is None
    digests.note(file.stat(), DIGEST)
    assert digests.of(file.stat()) == DIGEST


@pytest.mark.parametrize("change", [written_over, copied_over, grown])
def test_a_file_that_was_changed_is_not_known_whatever_its_size_and_time(
    file: Path, change: Callable[[Path], None]
) -> None:
    digests = Digests()
    digests.note(file.stat(), DIGEST)
    change(file)
    assert digests.of(file.stat()) is None


def test_no_change_is_missed_however_soon_it_follows_another(tmp_path: Path) -> None:
    path, told = tmp_path / "file", []
    for n in range(3000):
        path.write_bytes(b"a")
        before = path.stat()
        told.append(tells_changes(before))
        path.write_bytes(b"b")
        digests = Digests()
        digests.note(before, DIGEST)
        assert not told[-1] or digests.of(path.stat()) is None, n
    assert not all(told)


def test_where_only_seconds_are_counted_a_change_shows_after_some(file: Path) -> None:
    now = int(time.time())
    told = [
        tells_changes(os.stat_result((*file.stat()[:7], 0, 0, seconds), {"st_ctime_ns": seconds * 10**9}))
        for seconds in (now - 1, now - 10)
    ]
    assert told == [False, True]


def test_what_was_noted_is_forgotten_by_time_and_by_number(file: Path, tmp_path: Path) -> None:
    late, few = Digests(seconds=0.0), Digests(most=1)
    for digests in (late, few):
        digests.note(file.stat(), DIGEST)
    few.note(tmp_path.stat(), DIGEST)
    assert (late.of(file.stat()), few.of(file.stat()), few.of(tmp_path.stat())) == (None, None, DIGEST)


def test_a_recording_made_safe_is_known_by_its_digest(file: Path) -> None:
    spool = Spool(file.parent, file.parent / "corrupt")
    recording = spool.admit(file)
    assert spool.digests.of(file.stat()) == recording.sha256 == sha256(file.read_bytes()).hexdigest()


def test_a_recording_whose_digest_is_known_is_mailed_without_another_look(file: Path) -> None:
    recording, digests = replace(Spool(file.parent, file.parent).admit(file), sha256=DIGEST), Digests()
    digests.note(file.stat(), DIGEST)
    enclosed = Encloser(digests=digests).enclose(recording, "wav", pytest.fail, 0, None)
    assert enclosed.audio
    assert enclosed.audio.content == file.read_bytes()


def test_a_recording_changed_once_it_was_made_safe_is_not_mailed(file: Path) -> None:
    spool = Spool(file.parent, file.parent / "corrupt")
    recording = spool.admit(file)
    written_over(file)
    with pytest.raises(RecordingError, match="has changed since it was kept"):
        Encloser(digests=spool.digests).enclose(recording, "wav", pytest.fail, 0, None)
