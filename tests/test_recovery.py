"""Recovery: what a crash left behind becomes a message once, and nothing that is not ours is touched."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest
from ulid import ULID

from esl_voicemail.clock import Clock
from esl_voicemail.config import Config, load
from esl_voicemail.errors import RecordingError
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.log import Log
from esl_voicemail.model import PROBE, Call, Caller, CallResult, EndedBy, Reason
from esl_voicemail.recovery import Recovery, Rhythm
from esl_voicemail.spool import MARK, Spool
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.transcription import Transcription
from esl_voicemail.verdict import Delivered, Held
from esl_voicemail.workers import Workers
from tests.support.archive import traces
from tests.support.service import until
from tests.support.speech import save, tone

CONFIG = """\
mailboxes:
  first: {recipients: [first@example.com]}
  default: {recipients: [desk@example.com]}
  sales: {recipients: [anna@example.com, jan@example.com]}
"""
LONG_AGO = 3600.0
USUAL = Rhythm()


class House:
    """A journal, a spool and a recovery over real files, with a clock that a test may set."""

    def __init__(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text(CONFIG)
        self.config: Config = load(folder / "voicemail.yaml")
        self.config.directory.mkdir()
        self.config.recordings.mkdir()
        self.spool = Spool(
            self.config.recordings,
            self.config.directory / "corrupt",
            0,
            self.config.directory / "recordings.id",
        )
        self.spool.take()
        self.journal = Journal(url_of(self.config.directory), self.config.recordings)
        self.workers = Workers(2)
        self.said: list[str] = []
        self.moved = timedelta()
        self.ran = timedelta()
        self.clock = Clock(self.now, self.running)
        self.telemetry = Telemetry(self.config.mailboxes, self.now, log=Log(self.said.append, self.now))
        self.in_progress: set[str] = set()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def running(self) -> float:
        return self.ran.total_seconds()

    def pass_by(self, time: timedelta) -> None:
        """Let time pass; to set `moved` alone is to set the clock."""
        self.moved += time
        self.ran += time

    def all_of_it(self) -> tuple[list[str], dict[str, bytes]]:
        """Return every row and every file, to compare."""
        with closing(sqlite3.connect(self.config.directory / FILE)) as db:
            rows = list(db.iterdump())
        folders = (self.spool.recordings, self.spool.corrupt)
        files = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
        return rows, {str(path): path.read_bytes() for path in files}

    def told(self, message_id: str) -> list[str]:
        """Return who has a notice queued of a call without audio."""
        claimed = self.journal.queue.claim(99, self.now(), "example.com")
        mine = [one for one in claimed if one.voicemail.message_id == message_id]
        assert all(one.voicemail.recording is None for one in mine)
        return [one.recipient for one in mine]

    def recover(self) -> None:
        """Do what a server does at its start."""
        self.recovery().start()

    def recovery(self, rhythm: Rhythm = USUAL) -> Recovery:
        return Recovery(
            self.journal,
            self.spool,
            self.config.mailboxes,
            self.workers,
            self.telemetry,
            transcription=Transcription(
                self.journal,
                self.config.mailboxes,
                self.workers,
                self.telemetry,
                clock=self.clock,
                written=lambda: None,
            ),
            clock=self.clock,
            in_progress=self.in_progress,
            kept=lambda: None,
            retention=timedelta(days=30),
            rhythm=rhythm,
        )

    def open_call(self, mailbox: str = "sales", *, age: timedelta = timedelta(hours=1)) -> tuple[str, Path]:
        """Leave an open row behind, and return where its file would be."""
        message_id = str(ULID())
        call = Call(
            f"call-{message_id}",
            mailbox,
            Reason.BUSY,
            Caller("+48601234567", "Jan", withheld=False),
            "1",
            self.now() - age,
            "pl",
        )
        path = self.spool.place(mailbox, message_id)
        self.journal.begin(message_id, call, path.name, 10, ["row@example.com"])
        return message_id, path

    def state(self, message_id: str) -> str:
        story = self.reader.show(message_id)
        return "unknown" if story is None else f"{story.summary.state} {story.summary.result}"

    def recipients(self, message_id: str) -> list[str]:
        story = self.reader.show(message_id)
        assert story is not None
        return [to.recipient for to in story.deliveries]

    @property
    def reader(self) -> JournalReader:
        return JournalReader(self.config.directory, self.config.recordings)


def aged(path: Path, seconds: float = LONG_AGO) -> Path:
    """Make a file look as if nobody had written to it for so long."""
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    built.journal.close()
    built.workers.close()


def test_an_open_call_with_a_quiet_file_is_kept_for_whom_it_was_meant(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)))
    house.recover()
    assert house.state(message_id) == "kept recorded"
    assert house.recipients(message_id) == ["row@example.com"]


@pytest.mark.parametrize(("arrived", "written", "ended"), [(3600, 3000, 3000), (3600, 7200, 3600)])
def test_a_message_that_nobody_saw_end_closes_when_its_caller_was_gone(
    house: House, arrived: int, written: int, ended: int
) -> None:
    message_id, path = house.open_call(age=timedelta(seconds=arrived))
    aged(save(path, tone(2.0)), written)
    house.recover()
    assert ended <= closed_ago(house, message_id) < ended + 60
    [attempt] = house.journal.queue.claim(9, house.now(), "example.com")
    assert (house.now() - attempt.queued_at).total_seconds() < 60


def closed_ago(house: House, message_id: str) -> float:
    """Return how many seconds ago a call closed."""
    story = house.reader.show(message_id)
    assert story is not None
    assert story.closed_at is not None
    return (house.now() - story.closed_at).total_seconds()


def test_doing_it_twice_changes_nothing(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)))
    house.recover()
    house.recover()
    assert house.recipients(message_id) == ["row@example.com"]
    assert len([line for line in house.said if "result=kept" in line]) == 1


def test_a_file_whose_header_says_nothing_is_mended_and_kept(house: House) -> None:
    message_id, path = house.open_call()
    content = save(path, tone(2.0)).read_bytes()
    path.write_bytes(content[:4] + b"\x08\0\0\0" + content[8:40] + b"\0\0\0\0" + content[44:])
    aged(path)
    house.recover()
    assert house.state(message_id) == "kept recorded"
    assert path.read_bytes() == content


def test_a_file_still_being_written_is_left_alone(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)), 5.0)
    house.recover()
    assert house.state(message_id) == "open None"


def test_a_call_in_progress_is_left_alone(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)))
    house.in_progress.add(message_id)
    house.recover()
    assert house.state(message_id) == "open None"


def test_an_open_call_without_a_file_is_closed_only_when_it_is_old(house: House) -> None:
    young, _ = house.open_call(age=timedelta(minutes=5))
    old, _ = house.open_call(age=timedelta(minutes=15))
    house.recover()
    assert (house.state(young), house.state(old)) == ("open None", "discarded control_lost")


def test_what_is_no_audio_is_lost_and_set_aside_not_deleted(house: House) -> None:
    message_id, path = house.open_call()
    path.write_bytes(b"not a recording at all" * 10)
    aged(path)
    house.recover()
    assert house.state(message_id) == "lost record_failed"
    assert (house.spool.corrupt / path.name).read_bytes().startswith(b"not a recording")


def test_a_recording_without_a_sample_left_nothing(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, b""))
    house.recover()
    assert house.state(message_id) == "discarded control_lost"


def test_a_file_without_a_row_becomes_a_message_of_its_mailbox_and_its_own_time(house: House) -> None:
    then = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    message_id = str(ULID.from_datetime(then))
    aged(save(house.spool.place("sales", message_id), tone(2.0)))
    house.recover()
    story = house.reader.show(message_id)
    assert story is not None
    assert house.recipients(message_id) == ["anna@example.com", "jan@example.com"]
    assert story.summary.call.arrived_at == then


def test_an_orphan_of_a_mailbox_that_is_gone_comes_to_the_default_one_not_to_the_first(house: House) -> None:
    message_id = str(ULID())
    aged(save(house.spool.place("hr", message_id), tone(2.0)))
    house.recover()
    assert house.recipients(message_id) == ["desk@example.com"]


def test_names_that_are_not_ours_are_left_where_they_are_and_said_once(house: House) -> None:
    (house.spool.recordings / "lost+found").mkdir()
    (house.spool.recordings / ".snapshot").write_bytes(b"x")
    archive = aged(save(house.spool.recordings / "boss-archive.wav", tone(1.0)))
    house.recover()
    assert archive.exists()
    assert (house.spool.recordings / "lost+found").is_dir()
    assert not house.spool.corrupt.exists()
    assert [line for line in house.said if "result=foreign" in line and "boss-archive.wav" in line]


def test_an_empty_mount_point_discards_nothing(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)))
    mounted = house.spool.recordings
    mounted.rename(mounted.with_name("unmounted"))
    mounted.mkdir()
    house.recover()
    assert house.state(message_id) == "open None"
    assert MARK in (house.spool.trouble() or "")
    mounted.rmdir()
    mounted.with_name("unmounted").rename(mounted)
    house.recover()
    assert house.state(message_id) == "kept recorded"


def test_another_storage_directory_cannot_take_the_folder(house: House) -> None:
    other = replace(house.spool, identity=house.config.directory / "another.id")
    with pytest.raises(RecordingError, match="another storage directory"):
        other.take()


@pytest.mark.parametrize("done", ["nothing", "new identity", "mark"])
def test_taking_the_folder_may_be_cut_off_anywhere(tmp_path: Path, done: str) -> None:
    (tmp_path / "recordings").mkdir()
    spool = Spool(tmp_path / "recordings", tmp_path / "corrupt", 0, tmp_path / "recordings.id")
    if done != "nothing":
        (tmp_path / "recordings.new").write_text("who\n")
    if done == "mark":
        (tmp_path / "recordings" / MARK).write_text("who\n")
    assert spool.strange() is None
    spool.take()
    spool.take()
    assert spool.strange() is None


def test_one_bad_entry_does_not_stop_the_others(house: House) -> None:
    bad, bad_path = house.open_call()
    bad_path.write_bytes(b"garbage" * 20)
    aged(bad_path)
    good, good_path = house.open_call()
    aged(save(good_path, tone(2.0)))
    house.spool.corrupt.write_bytes(b"a file where a folder should be")
    house.recover()
    assert house.state(bad) == "lost record_failed"
    assert house.state(good) == "kept recorded"
    assert bad_path.exists()


def test_audio_goes_after_its_retention_and_the_row_says_so(house: House) -> None:
    message_id, path = house.open_call()
    aged(save(path, tone(2.0)))
    house.recover()
    (attempt,) = house.journal.queue.claim(9, house.now(), "example.com")
    house.journal.queue.mark(attempt, Delivered(250, "ok"), house.now(), 5)
    house.pass_by(timedelta(days=29))
    house.recover()
    assert path.exists()
    house.pass_by(timedelta(days=2))
    house.recover()
    assert not path.exists()
    story = house.reader.show(message_id)
    assert story is not None
    assert story.audio_removed_at is not None


@pytest.mark.parametrize(("mailbox", "stays"), [("sales", True), (PROBE, False)])
def test_the_probe_s_calls_are_forgotten_within_hours(house: House, mailbox: str, stays: bool) -> None:
    message_id, path = house.open_call(mailbox)
    aged(save(path, tone(2.0)))
    house.recover()
    (attempt,) = house.journal.queue.claim(9, house.now(), "example.com")
    house.journal.queue.mark(attempt, Delivered(250, "ok"), house.now(), 5)
    house.pass_by(timedelta(minutes=59))
    house.recover()
    assert path.exists()
    house.pass_by(timedelta(minutes=2))
    house.recover()
    assert path.exists() is stays
    story = house.reader.show(message_id)
    assert story is not None
    assert (story.summary.forgotten_at is None) is stays


def test_a_recording_of_a_probe_that_is_no_more_is_nobody_s_message(house: House) -> None:
    path = aged(save(house.spool.place(PROBE, str(ULID())), tone(2.0)))
    house.recover()
    assert path.exists()
    assert [line for line in house.said if PROBE in line]
    assert house.journal.queue.claim(9, house.now(), "example.com") == []


def test_audio_stays_while_a_recipient_still_waits(house: House) -> None:
    _, path = house.open_call()
    aged(save(path, tone(2.0)))
    house.recover()
    house.pass_by(timedelta(days=60))
    house.recover()
    assert path.exists()


# --- nobody is left without a word ---------------------------------------------------------------------


@pytest.mark.parametrize("left", ["no file", "header only", "no audio"])
def test_whoever_the_message_was_for_is_told_that_there_was_a_call(house: House, left: str) -> None:
    message_id, path = house.open_call()
    if left == "header only":
        aged(save(path, b""))
    elif left == "no audio":
        path.write_bytes(b"zero length and worse")
        aged(path)
    house.recover()
    assert house.told(message_id) == ["row@example.com"]


def test_an_orphan_that_cannot_be_read_is_set_aside_and_its_mailbox_told(house: House) -> None:
    message_id = str(ULID())
    path = house.spool.place("sales", message_id)
    path.write_bytes(b"")
    aged(path)
    house.recover()
    assert house.state(message_id) == "lost record_failed"
    assert (house.spool.corrupt / path.name).exists()
    assert house.told(message_id) == ["anna@example.com", "jan@example.com"]


def test_what_an_earlier_recovery_lost_and_did_not_come_to_move_is_moved(house: House) -> None:
    message_id, path = house.open_call()
    path.write_bytes(b"no audio")
    aged(path)
    house.journal.lose(message_id, CallResult.RECORD_FAILED, house.now())
    house.recover()
    assert not path.exists()
    assert (house.spool.corrupt / path.name).read_bytes() == b"no audio"


def leave_everything_behind(house: House) -> None:
    """Leave one of each thing that a crash may leave, and what is none of ours."""
    contents = [tone(2.0), b"", None, b"truncated"]
    for content in contents:
        _, path = house.open_call()
        if content is not None:
            aged(path if path.write_bytes(content[:7]) and content == b"truncated" else save(path, content))
    for content in (save(house.spool.recordings / "x", tone(1.0)).read_bytes(), b"", b"RIFF"):
        orphan = house.spool.place("sales", str(ULID()))
        orphan.write_bytes(content)
        aged(orphan)
    (house.spool.recordings / "x").rename(house.spool.recordings / "foreign.wav")
    aged(house.spool.recordings / "foreign.wav")


def test_doing_it_all_twice_changes_neither_a_row_nor_a_file(house: House) -> None:
    leave_everything_behind(house)
    house.recover()
    once = house.all_of_it()
    house.recover()
    assert house.all_of_it() == once


def test_recovery_deletes_no_byte(house: House) -> None:
    leave_everything_behind(house)
    before = sorted(house.all_of_it()[1].values())
    house.recover()
    assert sorted(house.all_of_it()[1].values()) == before


# --- clocks that are set -------------------------------------------------------------------------------


def kept_and_accepted(house: House) -> Path:
    _, path = house.open_call()
    aged(save(path, tone(1.0)))
    house.recover()
    (attempt,) = house.journal.queue.claim(9, house.now(), "example.com")
    house.journal.queue.mark(attempt, Delivered(250, "ok"), house.now(), 5)
    return path


def test_a_clock_set_forward_removes_no_audio_before_its_time(house: House) -> None:
    path = kept_and_accepted(house)
    house.pass_by(timedelta(days=29, hours=23, minutes=30))
    for by in (timedelta(hours=1), timedelta(days=400)):
        house.moved += by
        house.recover()
        assert path.exists()


def test_a_clock_set_back_keeps_audio_for_at_least_its_time(house: House) -> None:
    path = kept_and_accepted(house)
    house.moved -= timedelta(hours=1)
    house.pass_by(timedelta(days=30))
    house.recover()
    assert path.exists()
    house.pass_by(timedelta(hours=2))
    house.recover()
    assert not path.exists()


def test_a_clock_set_forward_closes_no_call_that_has_just_begun(house: House) -> None:
    message_id, _ = house.open_call(age=timedelta(minutes=1))
    house.moved += timedelta(hours=1)
    house.recover()
    assert house.state(message_id) == "open None"


def test_a_held_mail_keeps_its_audio_for_as_long_as_it_is_held(house: House) -> None:
    _, path = house.open_call()
    aged(save(path, tone(1.0)))
    house.recover()
    (attempt,) = house.journal.queue.claim(9, house.now(), "example.com")
    house.journal.queue.mark(attempt, Held("look at this"), house.now(), 5)
    house.pass_by(timedelta(days=400))
    house.recover()
    assert path.exists()


def test_a_file_whose_name_speaks_of_a_time_to_come_is_left_where_it_is_and_said(house: House) -> None:
    tomorrow = ULID.from_datetime(house.now() + timedelta(days=2))
    for message_id in (str(tomorrow), "76EZ91ZPZZ0000000000000000"):
        path = aged(save(house.spool.place("sales", message_id), tone(1.0)))
        house.recover()
        assert path.exists()
        assert house.state(message_id) == "unknown"
        assert [line for line in house.said if "event=recovery_stopped" in line and path.name in line]


def test_audio_that_cannot_be_removed_keeps_no_other_from_going(house: House) -> None:
    paths = []
    for _ in range(102):
        message_id, path = house.open_call()
        save(path, tone(0.1))
        recording = house.spool.admit(path)
        house.journal.keep(message_id, recording, EndedBy.KEY, [], now=house.now())
        paths.append(path)
    for path in paths[:101]:
        path.unlink()
        path.mkdir()  # which no unlink removes
    house.pass_by(timedelta(days=31))
    house.recover()
    assert not paths[101].exists()
    assert [line for line in house.said if "event=recovery_stopped" in line]


# --- a caller who recorded again --------------------------------------------------------------------------


def takes(house: House, *seconds: float) -> tuple[str, list[Path]]:
    """Leave an open row behind with recordings of these lengths; none where a length is negative."""
    message_id, _ = house.open_call()
    places = [house.spool.place("sales", message_id, n) for n in range(1, len(seconds) + 1)]
    for place, length in zip(places, seconds, strict=True):
        if length >= 0:
            aged(save(place, tone(length)))
        else:
            place.write_bytes(b"no sound")
            aged(place)
    return message_id, places


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [((2.0, 3.0), 1), ((2.0, 0.0), 0), ((2.0, 0.5), 0), ((2.0, -1), 0), ((2.0, 3.0, -1), 1)],
)
def test_of_several_recordings_the_newest_that_holds_speech_is_the_message(
    house: House, seconds: tuple[float, ...], kept: int
) -> None:
    message_id, places = takes(house, *seconds)
    house.recover()
    story = house.reader.show(message_id)
    assert story is not None
    assert (story.summary.state, story.recording) == ("kept", places[kept])
    assert all(place.exists() for place in places)


def test_silence_recorded_again_takes_no_message_s_place(house: House) -> None:
    message_id, places = takes(house, 2.0, 3.0)
    aged(save(places[1], bytes(2 * 8000 * 3)))
    house.recover()
    story = house.reader.show(message_id)
    assert story is not None
    assert story.recording == places[0]


def test_while_one_of_them_is_being_written_all_of_them_wait(house: House) -> None:
    message_id, places = takes(house, 2.0, 3.0)
    os.utime(places[1])
    house.recover()
    assert house.state(message_id) == "open None"


def test_all_of_them_go_with_their_retention(house: House) -> None:
    _, places = takes(house, 2.0, 3.0)
    house.recover()
    for attempt in house.journal.queue.claim(9, house.now(), "example.com"):
        house.journal.queue.mark(attempt, Delivered(250, "ok"), house.now(), 5)
    house.pass_by(timedelta(days=31))
    house.recover()
    assert not any(place.exists() for place in places)


def test_several_without_a_row_are_one_message(house: House) -> None:
    message_id = str(ULID())
    places = [aged(save(house.spool.place("sales", message_id, n), tone(float(n)))) for n in (1, 2, 3)]
    house.recover()
    story = house.reader.show(message_id)
    assert story is not None
    assert (story.summary.state, story.recording) == ("kept", places[2])
    assert not [line for line in house.said if "recovery_stopped" in line]


def test_an_empty_one_without_a_row_takes_no_message_s_place(house: House) -> None:
    message_id = str(ULID())
    aged(save(house.spool.place("sales", message_id), tone(2.0)))
    empty = house.spool.place("sales", message_id, 2)
    empty.touch()
    aged(empty)
    house.recover()
    assert house.state(message_id) == "kept recorded"


# --- while serving ---------------------------------------------------------------------------------------

# Quiet is who has not written for these and for two seconds, the shortest silence that a mailbox may name.
OFTEN = Rhythm(every_seconds=0.05, sweep_every=3, quiet_seconds=2.0)


@pytest.fixture
def serving(house: House) -> Iterator[House]:
    """A house whose recovery goes on looking."""
    mailboxes = {key: replace(one, silence_seconds=2) for key, one in house.config.mailboxes.items()}
    house.config = replace(house.config, mailboxes=mailboxes)
    recovery = house.recovery(OFTEN)
    looking = gevent.spawn(recovery.run)
    yield house
    recovery.stop()
    looking.get(timeout=20)


def test_while_serving_a_file_that_grows_is_taken_once_it_is_whole(serving: House) -> None:
    message_id, path = serving.open_call(age=timedelta())
    whole = save(path.with_suffix(".whole"), tone(4.0)).read_bytes()
    for part in range(1, 9):
        path.write_bytes(whole[: len(whole) * part // 8])
        gevent.sleep(0.5)
        assert serving.state(message_id) == "open None"
    until(lambda: serving.state(message_id) == "kept recorded", "it is kept")
    story = serving.reader.show(message_id)
    assert story is not None
    assert story.summary.duration_ms == 4000


def test_a_recording_that_is_dated_in_the_time_to_come_closes_no_later_than_now(serving: House) -> None:
    message_id, path = serving.open_call(age=timedelta())
    aged(save(path, tone(1.0)), -LONG_AGO)
    until(lambda: serving.state(message_id) == "kept recorded", "it is kept")
    assert closed_ago(serving, message_id) >= 0


def test_while_serving_a_file_without_a_row_becomes_a_message(serving: House) -> None:
    message_id = str(ULID())
    save(serving.spool.place("sales", message_id), tone(1.0))
    until(lambda: serving.state(message_id) == "kept recorded", "it is kept")
    assert serving.recipients(message_id) == ["anna@example.com", "jan@example.com"]


def test_while_serving_audio_goes_after_its_retention(serving: House) -> None:
    message_id, path = serving.open_call(age=timedelta())
    save(path, tone(1.0))
    until(lambda: serving.state(message_id) == "kept recorded", "it is kept")
    (attempt,) = serving.journal.queue.claim(9, serving.now(), "example.com")
    serving.journal.queue.mark(attempt, Delivered(250, "ok"), serving.now(), 5)
    serving.pass_by(timedelta(days=31))
    until(lambda: not path.exists(), "it is gone")


# --- retention beside a reader ---------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["the same service", "the next one"])
def test_a_log_that_could_not_be_emptied_while_it_was_read_is_emptied_at_the_next_sweep(
    house: House, by: str
) -> None:
    kept_and_accepted(house)
    recovery = house.recovery()
    recovery.start()
    house.pass_by(timedelta(days=31))
    with closing(sqlite3.connect(house.config.directory / FILE, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM voicemails").fetchone()
        recovery.start()
        assert house.journal.past_retention(house.now()) == []
        assert traces(house.config.directory, "+48601234567") != []
    if by == "the next one":
        recovery = house.recovery()
    recovery.start()
    assert traces(house.config.directory, "+48601234567") == []


# --- retention beside a person ---------------------------------------------------------------------------


def test_a_mail_queued_again_by_hand_keeps_the_audio_that_was_just_about_to_go(house: House) -> None:
    path = kept_and_accepted(house)
    house.pass_by(timedelta(days=31))
    before = house.now() - timedelta(days=30)
    [old] = house.journal.past_retention(before)
    with closing(sqlite3.connect(house.config.directory / FILE)) as db:
        db.execute("UPDATE deliveries SET state = 'queued', finished_at = NULL")
        db.commit()
    assert not house.journal.give_up(old.message_id, before, house.now())
    house.recover()
    assert path.exists()


def test_an_orphan_whose_mailbox_is_gone_waits_for_it_to_come_back(house: House) -> None:
    path = house.spool.place("hr", str(ULID()))
    aged(save(path, tone(1.0)))
    mailboxes = {key: box for key, box in house.config.mailboxes.items() if key != "default"}
    house.config = replace(house.config, mailboxes=mailboxes)
    house.recover()
    assert path.exists()
    assert [line for line in house.said if "no mailbox hr any more" in line]
    house.config = replace(house.config, mailboxes={**mailboxes, "hr": replace(mailboxes["sales"], key="hr")})
    house.recover()
    assert house.recipients(path.name.split(".")[1]) == ["anna@example.com", "jan@example.com"]


def test_an_open_row_that_cannot_be_read_is_said(house: House) -> None:
    message_id, _ = house.open_call()
    with closing(sqlite3.connect(house.config.directory / FILE)) as db:
        db.execute("UPDATE voicemails SET recipients = 'null'")
        db.commit()
    house.recover()
    assert [line for line in house.said if "event=row_unreadable" in line and message_id in line]


@pytest.mark.parametrize("broken", [b"", b"\xff\xfe\x00"], ids=["empty", "garbage"])
@pytest.mark.parametrize("name", ["recordings.new", MARK])
def test_a_mark_that_a_power_cut_left_half_written_is_written_anew_or_refused(
    tmp_path: Path, name: str, broken: bytes
) -> None:
    (tmp_path / "recordings").mkdir()
    place = tmp_path / name if name != MARK else tmp_path / "recordings" / MARK
    place.write_bytes(broken)
    spool = Spool(tmp_path / "recordings", tmp_path / "corrupt", 0, tmp_path / "recordings.id")
    if name == MARK and broken:
        with pytest.raises(RecordingError, match="another storage directory"):
            spool.take()
        return
    spool.take()
    assert spool.strange() is None
    assert (tmp_path / "recordings.id").read_bytes().strip()
