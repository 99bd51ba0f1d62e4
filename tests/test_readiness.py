"""Whether a call can be taken: what shows at each call, and what only the regular look finds."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from esl_voicemail.clock import Clock
from esl_voicemail.log import Log
from esl_voicemail.readiness import Readiness
from esl_voicemail.spool import Spool
from esl_voicemail.storage import Storage
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    recordings, directory = tmp_path / "recordings", tmp_path / "var"
    recordings.mkdir()
    directory.mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        (directory / name).touch()
    return Storage.in_use(Spool(recordings, tmp_path / "corrupt"), directory)


@pytest.fixture
def readiness(storage: Storage) -> Iterator[Readiness]:
    workers = Workers(2)
    log = Log(lambda line: None, lambda: datetime.now(UTC))
    watching = Readiness(workers, Telemetry([], Clock(), log=log), Clock())
    watching.watch(storage)
    watching.look()
    yield watching
    workers.close()


@contextmanager
def nothing_written() -> Iterator[None]:
    """Have the system refuse each byte, which shows in nothing but the attempt."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_shows_is_seen_at_each_call_before_the_next_look(readiness: Readiness, storage: Storage) -> None:
    assert readiness.trouble() is None
    elsewhere = storage.spool.recordings.with_name("elsewhere")
    storage.spool.recordings.rename(elsewhere)
    assert "no such folder" in (readiness.trouble() or "")
    elsewhere.rename(storage.spool.recordings)
    assert readiness.trouble() is None
    storage.journal.unlink()
    assert "removed or replaced" in (readiness.trouble() or "")


def test_what_only_writing_shows_is_found_by_the_next_look_and_calls_are_taken_again_at_once(
    readiness: Readiness,
) -> None:
    with nothing_written():
        assert readiness.trouble() is None
        readiness.look()
        assert "cannot be written: File too large" in (readiness.trouble() or "")
    assert readiness.reasons()
    assert readiness.trouble() is None


def test_a_call_s_look_leaves_the_folders_as_they_were(readiness: Readiness, storage: Storage) -> None:
    folders = (storage.spool.recordings, storage.journal.parent)
    before = [folder.stat().st_mtime_ns for folder in folders]
    for _ in range(3):
        assert readiness.trouble() is None
    assert [folder.stat().st_mtime_ns for folder in folders] == before


def test_before_there_is_a_storage_no_call_is_taken() -> None:
    workers = Workers(1)
    log = Log(lambda line: None, lambda: datetime.now(UTC))
    assert Readiness(workers, Telemetry([], Clock(), log=log), Clock()).trouble() == "starting"
    workers.close()
