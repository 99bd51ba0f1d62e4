"""Disks that are full, read-only, gone or another's: nothing is lost, and all resumes by itself.

Each test with `@aside` runs as a process that may mount (`tests.support.small_disk`), all of them at once.
"""

import math
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import gevent
import pytest

from esl_voicemail.trial.caller import KeyPress, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.held import held
from tests.support.service import Service, running, until
from tests.support.small_disk import Beside, Scenario, SmallDisk, on_small_disks, one_after_another, way_in
from tests.support.smtp import scripted_smtp
from tests.support.speech import attached, tone
from tests.test_recovery import House, takes

SPEECH = tone(6.0)
CALLER = TrialCaller(speech=SPEECH)
KEY = KeyPress("#", Moment(Stage.RECORDING, 4.0))
RECIPIENTS = ["anna@example.com", "jan@example.com"]
TROUBLES: dict[str, Callable[[SmallDisk], AbstractContextManager[None]]] = {
    "0 MiB free, less than storage.min_free_mb 1": lambda disk: disk.full(but=500_000),
    "Read-only file system": SmallDisk.read_only,
    "Permission denied": SmallDisk.anothers,
}


def settings(*, min_free_mb: int, **more: Any) -> dict[str, Any]:
    return {
        "storage": {"min_free_mb": min_free_mb},
        "defaults": {"language": "en", "silence_seconds": 2},
        "mailboxes": {"default": {"recipients": RECIPIENTS}},
        **more,
    }


@pytest.fixture(scope="module", autouse=True)
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """All scenarios of this module that were asked for, under way."""
    functions = [getattr(item, "function", None) for item in request.session.items]
    wanted = [one.scenario for one in functions if hasattr(one, "scenario")]
    started = Beside(wanted, lambda name: tmp_path_factory.mktemp(name[:40]))
    yield started
    started.close()


def aside(scenario: Scenario) -> Callable[[Beside], None]:
    """Make a scenario a test that runs as a process of its own, beside the others."""

    def test(beside: Beside) -> None:
        way, why_not = way_in()
        if not way:
            pytest.skip(why_not)
        beside.passed(test)

    test.scenario = scenario  # type: ignore[attr-defined]
    test.__name__, test.__module__, test.__doc__ = scenario.__name__, scenario.__module__, scenario.__doc__
    return test


# --- what is seen from outside ---------------------------------------------------------------------------


def until_not_ready(service: Service, why: str) -> None:
    until(lambda: why in service.get("/readyz")[1], f"not ready: {why}")
    assert service.get("/readyz")[0] == 503
    assert service.metric("voicemail_ready") == 0


def until_ready(service: Service) -> None:
    until(lambda: service.get("/readyz")[0] == 200, "ready again, by itself")
    assert service.metric("voicemail_ready") == 1


def assert_handed_back(service: Service, why: str = "") -> None:
    """A call goes on in the dialplan: nobody answered it, and its caller heard nothing."""
    ended = service.call(CALLER, pace=math.inf)
    assert (ended.handed_back, ended.answered, ended.greeting_played, ended.recording) == (
        True,
        False,
        False,
        None,
    )
    assert ended.variables["voicemail_result"] == "failed"
    assert why in service.line_of(ended.call_id)["why"]


def assert_recorded(service: Service) -> None:
    """A call is taken, recorded and mailed as if nothing had been."""
    before = len(service.mails(0))
    assert service.call(CALLER, pace=math.inf).recorded_ms == 6000
    mails = service.mails(before + 2)[before:]
    assert [attached(mail) for mail in mails] == [SPEECH, SPEECH]


@contextmanager
def call_in(stage: Stage, service: Service, caller: TrialCaller) -> Iterator[Callable[[], TrialOutcome]]:
    """Place a call that stands in a stage until the block asks for its end."""
    with held(stage) as released:
        call = gevent.spawn(service.call, caller, pace=math.inf)
        until(lambda: service.stages() == {str(stage): 1}, f"the call in its {stage}")

        def ended() -> TrialOutcome:
            released.set()
            return call.get(timeout=60)

        yield ended


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def last_sound(ended: TrialOutcome) -> str:
    return [argument for name, argument in ended.applications if name == "playback"][-1]


# --- without a right to mount --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ExitStack() as stack:
        with one_after_another():
            started = stack.enter_context(
                running(tmp_path_factory.mktemp("service"), settings(min_free_mb=0))
            )
        yield started


def test_a_folder_that_is_removed_and_one_that_became_a_file_send_calls_back_until_it_is_there_again(
    serving: Service,
) -> None:
    elsewhere = serving.folder / "elsewhere"
    serving.recordings.rename(elsewhere)
    assert_handed_back(serving)
    until_not_ready(serving, "no such folder")
    serving.recordings.touch()
    assert_handed_back(serving)
    until_not_ready(serving, "Not a directory")
    serving.recordings.unlink()
    elsewhere.rename(serving.recordings)
    until_ready(serving)
    assert_recorded(serving)


def test_a_journal_that_may_not_grow_sends_calls_back_until_it_may(serving: Service) -> None:
    assert_recorded(serving)
    with no_file_grows(serving, beyond=(serving.folder / "var" / "journal.sqlite-wal").stat().st_size):
        assert_handed_back(serving, "journal refused")
    assert_recorded(serving)


@contextmanager
def no_file_grows(service: Service, *, beyond: int) -> Iterator[None]:
    """Have the system refuse the service what would make a file larger."""
    before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (beyond, before[1]))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)


# --- the disks themselves --------------------------------------------------------------------------------


@aside
def test_a_message_that_the_journal_cannot_note_is_apologised_for_and_mailed_once_when_it_can(
    folder: Path,
) -> None:
    with on_small_disks(folder, settings(min_free_mb=0)) as (service, disks):
        caller = TrialCaller(speech=SPEECH, then="stay", keys=(KEY,))
        with call_in(Stage.RECORDING, service, caller) as end, disks.state.full():
            ended = end()
            assert last_sound(ended).endswith("/apology.wav")
            assert service.line_of(ended.call_id)["result"] == "salvaged"
        until(lambda: service.lines("recovered"), "recovery has looked twice, some time apart", 90)
        mails = service.mails(2)
        assert [attached(mail) for mail in mails] == [SPEECH[: ended.recorded_ms * 16]] * 2
        assert {mail["Delivered-To"] for mail in mails} == set(RECIPIENTS)
        [kept] = service.lines("recovered")
        assert (kept["result"], kept["call"]) == ("kept", ended.call_id)


@aside
def test_while_the_disk_of_the_recordings_fails_calls_go_back_before_the_greeting(folder: Path) -> None:
    with on_small_disks(folder, settings(min_free_mb=1)) as (service, disks):
        for why, trouble in {**TROUBLES, "its mark .esl-voicemail is missing": SmallDisk.gone}.items():
            with trouble(disks.recordings):
                assert_handed_back(service)
                until_not_ready(service, why)
            until_ready(service)
            assert_recorded(service)


@aside
def test_while_the_disk_of_the_journal_fails_calls_go_back_before_the_greeting(folder: Path) -> None:
    with on_small_disks(folder, settings(min_free_mb=1)) as (service, disks):
        for why, trouble in {**TROUBLES, "no such folder": SmallDisk.gone}.items():
            with trouble(disks.state):
                assert_handed_back(service)
                until_not_ready(service, why)
            until_ready(service)
            assert_recorded(service)


@aside
def test_while_the_disk_of_the_maildir_fails_mails_wait_and_go_out_by_themselves(folder: Path) -> None:
    with on_small_disks(folder, settings(min_free_mb=1)) as (service, disks):
        assert_recorded(service)
        troubles = {
            "No space left on device": disks.mail.full(),
            "Read-only file system": disks.mail.read_only(),
            "Permission denied": SmallDisk(disks.mail.folder / "tmp").anothers(),
        }
        for why, trouble in troubles.items():
            before, tried = len(service.mails(0)), len(service.lines("delivery"))
            with trouble:
                assert service.call(CALLER, pace=math.inf).recorded_ms == 6000
                until(
                    lambda why=why, tried=tried: any(
                        why in line["reply"] for line in service.lines("delivery")[tried:]
                    ),
                    f"deferred: {why}",
                )
                assert service.get("/readyz")[0] == 200
            mails = service.mails(before + 2)[before:]
            assert [attached(mail) for mail in mails] == [SPEECH, SPEECH]
        assert list((disks.mail.folder / "tmp").iterdir()) == []


@aside
def test_without_a_low_water_mark_a_full_disk_sends_calls_back_all_the_same(folder: Path) -> None:
    with on_small_disks(folder, settings(min_free_mb=0)) as (service, disks):
        for disk in (disks.recordings, disks.state):
            with disk.full():
                assert_handed_back(service)
                until_not_ready(service, "No space left on device")
            until_ready(service)
            assert_recorded(service)
        # Room for the look that every call begins with, but not for its row.
        with disks.state.full(but=4096):
            assert_handed_back(service, "journal refused")
        assert_recorded(service)


@aside
def test_a_recording_that_finds_too_little_room_is_mailed_as_cut_off_and_without_any_it_is_told_of(
    folder: Path,
) -> None:
    with on_small_disks(folder, settings(min_free_mb=0)) as (service, disks):
        with disks.recordings.full(but=10 * 4096):
            ended = service.call(CALLER, pace=math.inf)
            samples = (10 * 4096 - 44) // 2
            assert ended.recorded_ms == samples // 8
            for mail in service.mails(2):
                assert attached(mail) == SPEECH[: 2 * samples]
                assert "the recording was cut off by a fault" in text_of(mail)
        assert service.line_of(ended.call_id)["ended_by"] == "cut"
        with call_in(Stage.GREETING, service, CALLER) as end, disks.recordings.full():
            ended = end()
            assert (ended.greeting_played, ended.recording) == (True, None)
            for mail in service.mails(4)[2:]:
                assert list(mail.iter_attachments()) == []
                assert "601 234 567" in text_of(mail)
        assert_recorded(service)


@aside
def test_a_mail_whose_delivery_the_journal_cannot_note_is_sent_once_and_settled_when_it_can(
    folder: Path,
) -> None:
    with scripted_smtp() as server:
        out = {"smtp": {"host": server.host, "port": server.port, "security": "none"}}
        with on_small_disks(folder, settings(min_free_mb=0, mail=out)) as (service, disks):
            server.hold("FINAL")
            service.call(CALLER, pace=math.inf)
            until(lambda: len(server.commands("DATA")) == 2, "both mails are on their way")
            with disks.state.full():
                server.release()
                until(lambda: len(service.lines("journal_refused")) >= 2, "the journal refuses")
            until(lambda: len(service.lines("delivery")) == 2, "both are settled")
            assert {line["result"] for line in service.lines("delivery")} == {"delivered"}
            assert sorted(mail.recipient for mail in server.accepted) == RECIPIENTS
            assert service.metric('voicemail_queue_messages{state="sending"}') == 0


@aside
def test_a_restart_on_a_disk_without_a_byte_left_opens_the_journal_and_sends_what_waits(folder: Path) -> None:
    with scripted_smtp() as server:
        out = {"smtp": {"host": server.host, "port": server.port, "security": "none"}}
        chosen = settings(min_free_mb=8, mail=out)
        server.say("CONNECT", "421 come back later")
        with on_small_disks(folder, chosen, megabytes=32) as (service, disks):
            assert service.call(CALLER, pace=math.inf).recorded_ms == 6000
            until((folder / "var" / "journal.reserve").exists, "room is kept aside", 20)
            assert service.stop() == 0
            with disks.state.full():
                server.forget()
                with running(folder, chosen) as restarted:
                    until(lambda: len(server.accepted) == 2, "both mails are sent")
                    assert_handed_back(restarted)
                    assert restarted.stop() == 0


@aside
def test_recordings_that_may_not_be_read_send_calls_back_until_they_may(folder: Path) -> None:
    with running(folder, settings(min_free_mb=0)) as service:
        with call_in(Stage.RECORDING, service, CALLER) as end:
            [recording] = service.recordings.glob("*.wav")
            recording.chmod(0)
            ended = end()
        assert service.line_of(ended.call_id)["result"] == "salvaged"
        assert_handed_back(service)
        until_not_ready(service, "the switch records what this service may not read")
        recording.chmod(0o640)
        until_ready(service)
        mails = service.mails(2, 90)
        assert [attached(mail) for mail in mails] == [SPEECH[: ended.recorded_ms * 16]] * 2


@aside
def test_who_a_recording_was_for_that_nobody_lets_us_read_is_told_after_an_hour(folder: Path) -> None:
    with running(folder, settings(min_free_mb=0)) as service:
        with call_in(Stage.RECORDING, service, CALLER) as end:
            [recording] = service.recordings.glob("*.wav")
            recording.chmod(0)
            end()
        with closing(sqlite3.connect(folder / "var" / "journal.sqlite")) as journal, journal:
            journal.execute("UPDATE voicemails SET arrived_at = arrived_at - 3600000")
        mails = service.mails(2, 90)
        assert [list(mail.iter_attachments()) for mail in mails] == [[], []]
        assert "601 234 567" in text_of(mails[0])
        assert recording.exists()
        assert_handed_back(service)
        until_not_ready(service, "the switch records what this service may not read")


@aside
def test_what_was_recorded_before_is_mailed_when_nobody_lets_us_read_what_was_recorded_again(
    folder: Path,
) -> None:
    house = House(folder)
    message_id, (before, again) = takes(house, 2.0, 3.0)
    again.chmod(0)
    house.pass_by(timedelta(minutes=1))
    house.recover()
    story = house.reader.show(message_id)
    assert story is not None
    assert (story.summary.state, story.recording) == ("kept", before)
    house.journal.close()
