"""Who called is forgotten, when a caller asks and when time is over: all of it, whatever comes in between."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import gevent
import pytest
from alembic import command as alembic

from esl_voicemail.callers import meaning
from esl_voicemail.cli import run
from esl_voicemail.errors import RecordingError
from esl_voicemail.esl.arrival import read_call
from esl_voicemail.esl.frames import Headers
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import FILE, open_engine, url_of
from esl_voicemail.journal.engine import _migrations as migrations
from esl_voicemail.mail.composer import Composer
from esl_voicemail.model import EndedBy
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held
from tests.support.archive import ANNA, CALLER, JAN, NAME, OPERATOR, Archive, traces
from tests.support.service import Service, command, running, until
from tests.support.smtp import ScriptedSmtp
from tests.support.speech import save, tone

OK, FAILED, USAGE, BUSY = 0, 1, 64, 75
OTHER = "+48601234568"
# What a journal must not say any more, in its rows or between them.
WORDS = (CALLER, CALLER[3:], NAME, "order 77-Q")
QUOTED = f"message from {NAME} {CALLER[3:]} refused"
IN_USE = (
    "the journal's write-ahead log, which is read just now, still holds what was erased; "
    "run it again to empty it"
)
OWED = (
    "the journal's file still holds what a first version removed; make room on its disk for a second copy "
    "and restart the service, which writes it anew"
)

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    built = Archive(tmp_path)
    yield built
    built.close()


@pytest.fixture
def erase(archive: Archive, capsys: pytest.CaptureFixture[str]) -> Say:
    """Erase a caller: the exit code, what was printed, and the complaint."""

    def answer(number: str = CALLER, *options: str) -> tuple[int, str, str]:
        config = str(archive.folder / "voicemail.yaml")
        code = run(["erase", f"--caller={number}", "--config", config, *options])
        out, err = capsys.readouterr()
        assert len(err.splitlines()) <= 1, err
        return code, out, err

    return answer


def quoting(archive: Archive) -> None:
    """Defer every mail once, and bounce those of other callers; a server quotes who called."""
    attempts = archive.claim()
    queue, now = archive.journal.queue, archive.now()
    for attempt in attempts:
        mine = attempt.voicemail.call.caller.number == CALLER
        queue.mark(attempt, Deferred(450, QUOTED if mine else "not now"), now, 5, now)
    for attempt in archive.claim():
        if attempt.voicemail.call.caller.number == CALLER:
            queue.mark(attempt, Deferred(450, QUOTED), now, 5, now)
        else:
            queue.mark(attempt, Bounced(550, "5.1.1 nobody"), now, 5)


class TestNumbers:
    @pytest.mark.parametrize(
        "written",
        [
            "601 234 567",
            "601-234-567",
            "601\N{NO-BREAK SPACE}234\N{NON-BREAKING HYPHEN}567",
            "(60) 123.45.67",
            "+48601234567",
            "+48 601 234 567",
            "0048601234567",
            "48601234567",
            "\N{LEFT-TO-RIGHT EMBEDDING}+48601234567\N{POP DIRECTIONAL FORMATTING}",
        ],
    )
    def test_one_number_written_in_many_ways_means_one(self, written: str) -> None:
        assert meaning(written, "PL") == CALLER

    @pytest.mark.parametrize(
        "written",
        [
            "60123456",
            "6012345678",
            "+486012345678",
            "+4860123456",
            "48",
            "+48",
            "601",
            "1234567",
            "+49601234567",
            "601234568",
            "+48601234567;ext=5",
            "*601234567",
            "601234567#",
            "601234567@example.com",
        ],
    )
    def test_a_part_of_it_or_more_than_it_means_another(self, written: str) -> None:
        assert meaning(written, "PL") != CALLER

    def test_a_national_number_is_read_by_its_region(self) -> None:
        assert meaning("030 123456", "DE") == "+4930123456"
        assert meaning("030 123456", "PL") != "+4930123456"

    @pytest.mark.parametrize(
        ("one", "another"), [("1001", "1002"), ("98", "*98"), ("anna", "ann"), ("anna.k", "annak")]
    )
    def test_extensions_and_names_are_only_themselves(self, one: str, another: str) -> None:
        assert meaning(one, "PL") == meaning(f" {one.upper()}", "PL") != meaning(another, "PL")

    @pytest.mark.parametrize("nothing", ["", " ", "-", "+", "()", "\N{ZERO WIDTH SPACE}"])
    def test_no_number_means_nothing(self, nothing: str) -> None:
        assert meaning(nothing, "PL") == ""

    @pytest.mark.parametrize("number", ["", "  ", "+", "Anonymous", "withheld", "0000000000"])
    def test_a_number_that_is_none_is_refused(self, archive: Archive, erase: Say, number: str) -> None:
        message_id = archive.keep("", name="")

        code, out, err = erase(number)

        assert (code, out) == (USAGE, "")
        assert "argument --caller: must be a number that called" in err
        assert archive.audio(message_id)


class TestErase:
    def test_everything_of_one_caller_goes_and_nothing_of_another(self, archive: Archive, erase: Say) -> None:
        mine = [archive.keep(written) for written in (CALLER, "601234567", "0048601234567")]
        mine.append(archive.keep(CALLER, "berlin", to=[JAN]))
        empty = archive.discard(told=[ANNA])
        lost, aside = archive.lose()
        others = [archive.keep(OTHER), archive.keep("60123456"), archive.keep("601234567", "berlin")]
        nobody = archive.keep("", name="")

        code, out, err = erase()

        assert (code, err) == (OK, "")
        for message_id in (*mine, empty, lost):
            one = archive.story(message_id).summary
            assert (one.call.caller.number, one.call.caller.name, one.call.reference) == ("", "", "")
            assert one.forgotten_at is not None
            assert not archive.audio(message_id)
            assert set(archive.states(message_id).values()) <= {"dropped"}
            assert message_id in out
        assert not aside.exists()
        for message_id in (*others, nobody):
            assert archive.audio(message_id)
            assert set(archive.states(message_id).values()) == {"queued"}
            assert message_id not in out
        assert archive.story(others[0]).summary.call.caller.number == OTHER

    def test_the_receipt_says_what_went_and_what_is_out_of_reach(self, archive: Archive, erase: Say) -> None:
        message_id = archive.keep(to=[ANNA, JAN, "eve@example.com", "sent@example.com"])
        sent, *_ = archive.claim()
        archive.journal.queue.mark(sent, Delivered(250, "ok"), archive.now(), 5)
        archive.sql("UPDATE deliveries SET state = 'queued' WHERE recipient = ?", JAN)
        archive.sql("UPDATE deliveries SET state = 'held' WHERE recipient = 'eve@example.com'")

        out = erase()[1].splitlines()

        path = archive.spool.place("sales", message_id)
        in_flight = archive.states(message_id)
        assert set(in_flight.values()) == {"delivered", "dropped"}
        assert out[0] == f"erased what was kept of {CALLER}"
        assert out[1].startswith(f"message {message_id}  20")
        assert out[1].endswith("  sales")
        assert out[2] == f"  removed       {path}"
        assert set(out[3:7]) == {
            f"  not sent      {JAN}, was queued",
            "  not sent      eve@example.com, was held",
            f"  out of reach  {sent.recipient}, has it",
            "  out of reach  sent@example.com, was being sent just then"
            if sent.recipient != "sent@example.com"
            else f"  out of reach  {ANNA}, was being sent just then",
        }
        assert out[7:] == [
            "1 call, 1 recording, 2 mails that are not sent any more",
            "out of reach besides: lines of the log, and copies that others made",
        ]

    def test_the_receipt_for_programs(self, archive: Archive, erase: Say) -> None:
        message_id = archive.keep()
        open_id, _ = archive.open()

        code, out, _ = erase(CALLER, "--json")

        receipt = json.loads(out)
        (call,) = receipt["calls"]
        assert code == BUSY
        assert (receipt["caller"], receipt["traceless"], receipt["stuck"]) == (CALLER, True, {})
        assert (call["message"], call["mailbox"]) == (message_id, "sales")
        assert call["audio"] == [str(archive.spool.place("sales", message_id))]
        assert (call["not_sent"], call["delivered"], call["being_sent"]) == ([ANNA, JAN], [], [])
        assert [one["message"] for one in receipt["still_open"]] == [open_id]

    def test_reports_of_the_caller_s_calls_are_not_sent_either(self, archive: Archive, erase: Say) -> None:
        message_id = archive.keep(to=[ANNA])
        archive.settle(Bounced(550, "no such user"), operator=OPERATOR)

        out = erase()[1]

        assert archive.states(message_id) == {ANNA: "bounced", OPERATOR: "dropped"}
        assert f"{OPERATOR} (report), was queued" in out

    @pytest.mark.parametrize(
        "caller",
        [
            "sip:jan.kowalski.from.the.warehouse@pbx.example.com",
            "sip:Łucja\N{LEFT-TO-RIGHT MARK}.z.magazynu.w.samym.Szczecinie@pbx.example.com",
            "+48601234567" * 4,
            "x" * 40 + "y",
        ],
    )
    def test_a_caller_too_long_to_be_kept_whole_goes_by_his_whole_name(
        self, archive: Archive, erase: Say, caller: str
    ) -> None:
        headers = Headers(f"Unique-ID: c\nCaller-Caller-ID-Number: {quote(caller)}\n".encode())
        written = read_call(headers, archive.config.mailboxes["sales"], archive.now()).caller.number
        assert written != caller
        message_id = archive.keep(written)

        code, out, _ = erase(caller)

        assert (code, out.splitlines()[0]) == (OK, f"erased what was kept of {caller}")
        assert not archive.audio(message_id)
        assert archive.traces(written) == []

    def test_a_caller_who_is_kept_whole_is_not_meant_by_a_longer_one(
        self, archive: Archive, erase: Say
    ) -> None:
        message_id = archive.keep("x" * 40)

        assert erase("x" * 41)[1].startswith("nothing kept of ")

        assert archive.audio(message_id)

    def test_nothing_kept_is_said_and_is_no_failure(self, archive: Archive, erase: Say) -> None:
        archive.keep(OTHER)

        assert erase() == (OK, f"nothing kept of {CALLER}\n", "")

    def test_a_second_time_there_is_nothing(self, archive: Archive, erase: Say) -> None:
        archive.keep()
        assert erase()[0] == OK

        assert erase() == (OK, f"nothing kept of {CALLER}\n", "")

    def test_a_number_that_mailboxes_read_differently_says_so(self, archive: Archive, erase: Say) -> None:
        polish, german = archive.keep("601234567"), archive.keep("030123456", "berlin")

        out = erase("030 123456")[1]

        assert "+4930123456 in DE; with its country code it is the same everywhere" in out
        assert (archive.audio(polish), archive.audio(german)) == (True, False)

    def test_a_call_that_goes_on_is_left_said_and_75_and_goes_once_it_has_ended(
        self, archive: Archive, erase: Say
    ) -> None:
        closed = archive.keep()
        still_open, path = archive.open()
        save(path, tone(1.0))

        code, out, err = erase()

        assert code == BUSY
        assert f"left: message {still_open}, its call has not ended" in out
        assert err == "1 call has not ended yet; run it again then\n"
        assert archive.story(still_open).summary.call.caller.number == CALLER
        assert path.exists()
        assert not archive.audio(closed)
        recording = archive.spool.admit(path)
        archive.journal.keep(still_open, recording, EndedBy.KEY, [ANNA], now=archive.now())
        assert erase()[0] == OK
        assert not path.exists()
        assert archive.traces(*WORDS) == []

    def test_audio_that_cannot_be_removed_keeps_its_row_and_holds_up_no_other(
        self, archive: Archive, erase: Say
    ) -> None:
        stuck, other = archive.keep(), archive.keep()
        path = archive.spool.place("sales", stuck)
        path.unlink()
        path.mkdir()

        code, out, err = erase()

        assert code == FAILED
        assert err.startswith("1 call is not erased, as the audio cannot be removed: message")
        assert f"left: message {stuck}: " in out
        assert not archive.audio(other)
        assert archive.story(stuck).summary.call.caller.number == CALLER
        assert set(archive.states(stuck).values()) == {"dropped"}
        path.rmdir()
        assert erase()[0] == OK
        assert archive.traces(*WORDS) == []

    def test_an_empty_mount_point_forgets_nobody(self, archive: Archive, erase: Say) -> None:
        message_id = archive.keep()
        archive.spool.recordings.rename(archive.folder / "unmounted")
        archive.spool.recordings.mkdir()

        code, _, err = erase()

        assert code == FAILED
        assert "is not the folder used before" in err
        assert archive.story(message_id).summary.call.caller.number == CALLER
        assert set(archive.states(message_id).values()) == {"queued"}

    @pytest.mark.parametrize("place", [".{}.mending", "../corrupt/{}", "../corrupt/{}.1"])
    def test_audio_goes_wherever_a_crash_left_it(self, archive: Archive, erase: Say, place: str) -> None:
        message_id = archive.keep()
        path = archive.spool.place("sales", message_id)
        archive.spool.corrupt.mkdir()
        copy = archive.spool.recordings / place.format(path.name)
        copy.write_bytes(path.read_bytes())

        assert erase()[0] == OK

        assert not copy.exists()
        assert not path.exists()

    def test_the_journal_s_bytes_hold_nothing_of_the_caller(self, archive: Archive, erase: Say) -> None:
        """Beside a service that has the journal open, with as many rows as make pages split and merge."""
        for n in range(300):
            archive.discard(CALLER if n % 7 == 0 else f"+486012{n:05d}", told=[ANNA] if n % 3 else [])
        archive.keep("601234567")
        assert archive.traces(*WORDS) != []

        assert erase()[0] == OK

        assert archive.sql("SELECT count(*) FROM voicemails WHERE forgotten_at IS NOT NULL") == [(44,)]
        # The others' names are the same word: only their rows may hold it.
        assert archive.traces(CALLER, CALLER[3:]) == []

    def test_what_servers_said_goes_too_as_it_may_quote_the_caller(
        self, archive: Archive, erase: Say
    ) -> None:
        mine, other = archive.keep(), archive.keep(OTHER, name="Jan Nowak")
        quoting(archive)
        archive.settle(Bounced(550, f"5.7.1 {QUOTED}"), operator=OPERATOR)
        assert archive.traces(QUOTED) != []

        assert erase()[0] == OK

        assert archive.traces(QUOTED, *WORDS[:3]) == []
        for to in archive.story(mine).deliveries:
            assert (to.code, to.reply) == ((550, "") if to.about is None else (None, ""))
            assert {(tried.code, tried.reply) for tried in to.attempts} <= {(450, ""), (550, "")}
        kept = [to for to in archive.story(other).deliveries if to.about is None]
        assert {to.reply for to in kept} == {"5.1.1 nobody"}
        assert {tried.reply for to in kept for tried in to.attempts} == {"not now", "5.1.1 nobody"}

    def test_what_a_server_says_once_the_caller_is_erased_is_not_written_any_more(
        self, archive: Archive, erase: Say
    ) -> None:
        mine = archive.keep()
        (attempt, *_) = archive.claim()

        assert erase()[0] == OK
        archive.journal.queue.mark(attempt, Delivered(250, f"2.0.0 {QUOTED}"), archive.now(), 5)

        assert archive.states(mine)[attempt.recipient] == "delivered"
        assert archive.traces(QUOTED, *WORDS[:3]) == []

    def test_a_withheld_caller_is_found_by_the_number_he_left(self, archive: Archive, erase: Say) -> None:
        message_id, path = archive.open("", name="")
        archive.journal.note(message_id, 10, callback="601234567")
        recording = archive.spool.admit(save(path, tone(1.0)))
        archive.journal.keep(message_id, recording, EndedBy.KEY, [ANNA], now=archive.now(), typed="1742")
        assert archive.traces("601234567", "1742") != []

        assert erase()[0] == OK

        assert archive.traces("601234567", "1742") == []
        assert not path.exists()

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_while_a_reader_holds_the_log_it_is_75_and_said_until_it_is_emptied(
        self, archive: Archive, erase: Say, options: list[str]
    ) -> None:
        archive.keep()
        told = '"traceless": false' if options else f"out of reach for now: {IN_USE}\n"
        with closing(sqlite3.connect(archive.config.directory / FILE, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM voicemails").fetchone()

            first = erase(CALLER, *options)
            second = erase(CALLER, *options)

            assert archive.traces(CALLER) != []
        for code, out, err in (first, second):
            assert (code, err) == (BUSY, f"{IN_USE}\n")
            assert told in out
        assert (f"nothing kept of {CALLER}\n" in second[1]) is (not options)
        assert erase()[:2] == (OK, f"nothing kept of {CALLER}\n")
        assert archive.traces(*WORDS) == []

    def test_a_reader_that_is_done_in_a_moment_is_waited_for(self, archive: Archive, erase: Say) -> None:
        archive.keep()
        reader = sqlite3.connect(archive.config.directory / FILE, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM voicemails").fetchone()
        closing_soon = gevent.spawn_later(0.5, reader.close)

        assert erase()[0] == OK

        closing_soon.get()
        assert archive.traces(*WORDS) == []

    def test_a_first_version_s_file_that_could_not_be_written_anew_is_said_as_that(
        self, archive: Archive, erase: Say
    ) -> None:
        archive.keep()
        archive.sql("PRAGMA user_version=1")

        code, out, err = erase()

        assert (code, err) == (BUSY, f"{OWED}\n")
        assert f"out of reach for now: {OWED}\n" in out

    def test_a_first_version_s_journal_holds_nothing_either(self, tmp_path: Path) -> None:
        """Its pages were never wiped: what a row once said stood between the rows for good."""
        config = migrations()
        engine = open_engine(url_of(tmp_path), writing=True)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            alembic.upgrade(config, "0001")
        engine.dispose()
        with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
            database.execute("PRAGMA secure_delete=OFF")
            for n in range(50):
                database.execute(
                    "INSERT INTO voicemails VALUES (?, 'c', 'open', 'sales', 'busy', ?, ?, 0, '1', 'pl', '', "
                    "NULL, '', 1, '[]', 'f', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
                    (f"{n:026d}", CALLER, NAME),
                )
            database.execute("DELETE FROM voicemails")
        assert traces(tmp_path, CALLER)

        Journal(url_of(tmp_path), tmp_path).close()

        assert traces(tmp_path, CALLER, NAME) == []


class TestClaimedJustBefore:
    def test_a_mail_that_cannot_be_composed_any_more_stays_dropped(
        self, archive: Archive, erase: Say
    ) -> None:
        message_id = archive.keep(to=[ANNA])
        (attempt,) = archive.claim()

        assert f"{ANNA}, was being sent just then" in erase()[1]

        composer = Composer(archive.config.mailboxes, archive.config.mail.sender)
        with pytest.raises(RecordingError) as refused:
            composer.compose(attempt)
        queue, now = archive.journal.queue, archive.now()
        assert not queue.mark(attempt, Held(str(refused.value)), now, 5, operator=OPERATOR)
        assert archive.states(message_id) == {ANNA: "dropped"}
        assert archive.traces(*WORDS) == []

    def test_a_mail_that_the_server_had_taken_is_said_to_be_delivered(
        self, archive: Archive, erase: Say
    ) -> None:
        message_id = archive.keep(to=[ANNA])
        (attempt,) = archive.claim()
        erase()

        assert archive.journal.queue.mark(attempt, Delivered(250, "ok"), archive.now(), 5)

        assert archive.states(message_id) == {ANNA: "delivered"}


# For each command line a child of its own, which ends without a word at the nth time it asks the system to
# remove or open a file, counted from the first removal.
_DIES = """
import json, os, sys
from esl_voicemail.__main__ import run
from gevent.monkey import get_original
def die_at(step):
    begun = False
    def watch(event, arguments):
        nonlocal begun, step
        begun = begun or event == "os.remove"
        step -= begun and event in ("os.remove", "open")
        if not step:
            os._exit(9)
    return watch
for step, arguments in enumerate(json.load(sys.stdin), 1):
    child = get_original("os", "fork")()
    if not child:
        sys.addaudithook(die_at(step))
        code = run(arguments)
        os._exit(code)
    print(os.waitstatus_to_exitcode(get_original("os", "waitpid")(child, 0)[1]), flush=True)
"""
_STEPS = 12


def test_erase_may_be_killed_at_any_step_and_run_again(tmp_path: Path) -> None:
    """A process of its own dies before each removal and each fsync; the last ones get through."""
    archives = []
    for step in range(_STEPS):
        (tmp_path / str(step)).mkdir()
        archives.append(Archive(tmp_path / str(step)))
    kept = [[archive.keep(), archive.keep("601234567")] for archive in archives]
    aside = [archive.lose()[1] for archive in archives]
    lines = [
        ["erase", "--caller", CALLER, "--config", str(archive.folder / "voicemail.yaml")]
        for archive in archives
    ]

    died = subprocess.run(
        [sys.executable, "-c", _DIES], input=json.dumps(lines), capture_output=True, text=True, check=True
    )

    ends = [int(line) for line in died.stdout.splitlines() if line.isdecimal()]
    assert ends == sorted(ends, reverse=True)
    assert (ends[5], ends[-1]) == (9, OK)
    for archive, messages, lost, line in zip(archives, kept, aside, lines, strict=True):
        # Whatever is left to do: nothing is sent, and what is not removed is not forgotten.
        assert archive.claim() == []
        for message_id in messages:
            assert not archive.audio(message_id) or not archive.story(message_id).summary.forgotten_at
        assert run(line) == OK
        assert not any(map(archive.audio, messages))
        assert not lost.exists()
        assert archive.traces(*WORDS) == []
        archive.close()


class TestBesideARunningService:
    def settings(self, smtp: ScriptedSmtp | int) -> dict[str, object]:
        port = smtp if isinstance(smtp, int) else smtp.port
        return {
            "mail": {"smtp": {"host": "127.0.0.1", "port": port, "security": "none"}},
            "mailboxes": {"default": {"recipients": [ANNA, JAN]}},
        }

    def erase(self, service: Service, number: str = CALLER) -> "subprocess.CompletedProcess[str]":
        return command("erase", "--caller", number, folder=service.folder)

    def leaves_no_trace(self, service: Service) -> bool:
        """Run it once more, as its receipt advises while the service is at the journal just then."""
        done = command("erase", "--caller", CALLER, "--json", folder=service.folder)
        assert done.returncode == OK
        return bool(json.loads(done.stdout)["traceless"])

    def call(self, service: Service, number: str) -> None:
        service.call(TrialCaller(number=number, name=NAME, speech=tone(2.0)))

    def test_a_queued_message_is_erased_and_the_others_are_sent(
        self, tmp_path: Path, smtp: ScriptedSmtp
    ) -> None:
        smtp.say("RCPT", "450 4.2.1 not now")
        with running(tmp_path, self.settings(smtp)) as service:
            self.call(service, CALLER)
            self.call(service, OTHER)
            until(lambda: len(service.lines("delivery")) == 4, "all mails are deferred")

            done = self.erase(service, "601 234 567")

            assert (done.returncode, done.stderr) == (OK, "")
            assert "1 call, 1 recording, 2 mails that are not sent any more" in done.stdout
            assert len(list(service.recordings.glob("*.wav"))) == 1
            until(lambda: self.leaves_no_trace(service), "the write-ahead log is emptied")
            assert traces(tmp_path / "var", CALLER) == []
            smtp.forget()
            listed = command("messages", "list", "--json", folder=tmp_path).stdout.splitlines()
            for one in map(json.loads, listed):
                retried = command("messages", "retry", one["message"], folder=tmp_path)
                assert retried.returncode == (OK if one["caller"]["number"] == OTHER else FAILED)
            until(lambda: len(smtp.accepted) == 2, "the other's mails go out")
            assert not [one for one in smtp.accepted if CALLER.encode() in one.content]
            assert service.stop() == OK
        assert len(smtp.accepted) == 2
        assert "Traceback" not in service.log

    def test_with_the_mail_server_down_nothing_stays_and_the_service_goes_on(self, tmp_path: Path) -> None:
        with running(tmp_path, self.settings(9)) as service:
            self.call(service, CALLER)
            until(lambda: service.lines("delivery")[1:], "a first try of both")

            assert self.erase(service).returncode == OK

            assert list(service.recordings.glob("*.wav")) == []
            until(lambda: self.leaves_no_trace(service), "the write-ahead log is emptied")
            assert traces(tmp_path / "var", CALLER, NAME) == []
            (row,) = map(
                json.loads, command("messages", "list", "--json", folder=tmp_path).stdout.splitlines()
            )
            assert row["deliveries"] == {"dropped": 2}
            until(
                lambda: service.metric('voicemail_queue_messages{state="queued"}') == 0,
                "the service counts none that waits",
            )
            self.call(service, OTHER)
            assert service.get("/healthz")[0] == 200
            assert len(list(service.recordings.glob("*.wav"))) == 1

    def test_a_mail_on_its_way_is_said_and_not_sent_again(self, tmp_path: Path, smtp: ScriptedSmtp) -> None:
        smtp.silence("RCPT")
        with running(tmp_path, self.settings(smtp)) as service:
            self.call(service, CALLER)
            until(lambda: len(smtp.commands("RCPT")) == 2, "both are under way")

            done = self.erase(service)

            assert done.returncode == OK
            assert f"  out of reach  {ANNA}, was being sent just then" in done.stdout
            assert service.stop(signal.SIGKILL) == -signal.SIGKILL
        smtp.forget()
        with running(tmp_path, self.settings(smtp)) as service:
            self.call(service, OTHER)
            until(lambda: len(smtp.accepted) == 2, "the other's mails go out")
            assert service.stop() == OK
        assert len(smtp.accepted) == 2
        assert traces(tmp_path / "var", CALLER) == []

    def test_a_call_in_progress_goes_on(self, service: Service) -> None:
        calling = gevent.spawn(service.call, TrialCaller(number=CALLER, speech=tone(90.0)), pace=1.0)
        until(lambda: list(service.recordings.glob("*.wav")), "it is recorded")

        done = self.erase(service)

        assert (done.returncode, done.stderr) == (BUSY, "1 call has not ended yet; run it again then\n")
        assert list(service.recordings.glob("*.wav"))
        assert service.in_progress() == 1
        calling.kill()


class TestRetention:
    def test_all_that_says_who_called_goes_a_while_after_the_last_acceptance(self, archive: Archive) -> None:
        message_id = archive.keep()
        first, second = archive.claim()
        archive.journal.queue.mark(first, Delivered(250, "ok"), archive.now(), 5)
        archive.moved = timedelta(days=10)
        archive.journal.queue.mark(second, Delivered(250, "ok"), archive.now(), 5)
        archive.moved = timedelta(days=39)
        archive.recover()
        assert archive.audio(message_id)
        assert archive.story(message_id).summary.call.caller.number == CALLER
        archive.moved = timedelta(days=41)
        archive.recover()
        one = archive.story(message_id)
        assert not archive.audio(message_id)
        assert (one.summary.call.caller.number, one.summary.call.caller.name) == ("", "")
        assert one.summary.call.reference == ""
        assert one.audio_removed_at is not None
        assert one.summary.forgotten_at is not None
        assert one.audio_removed_at <= one.summary.forgotten_at
        assert (one.summary.call.mailbox, one.summary.state) == ("sales", "kept")
        assert archive.states(message_id) == {ANNA: "delivered", JAN: "delivered"}

    def test_what_servers_said_is_forgotten_with_the_caller(self, archive: Archive) -> None:
        message_id = archive.keep()
        quoting(archive)
        archive.settle(Bounced(550, f"5.7.1 {QUOTED}"))
        archive.moved = timedelta(days=31)
        archive.recover()
        assert archive.traces(QUOTED, *WORDS) == []
        for to in archive.story(message_id).deliveries:
            assert (to.state, to.code, to.reply) == ("bounced", 550, "")
            assert [tried.code for tried in to.attempts] == [450, 450, 550]

    @pytest.mark.parametrize("state", ["queued", "held"])
    def test_what_is_not_settled_keeps_its_audio_and_its_caller(self, archive: Archive, state: str) -> None:
        message_id = archive.keep()
        archive.settle(Delivered(250, "ok"))
        archive.sql("UPDATE deliveries SET state = ? WHERE recipient = ?", state, JAN)
        archive.moved = timedelta(days=400)
        archive.recover()
        assert archive.audio(message_id)
        assert archive.story(message_id).summary.call.caller.number == CALLER

    def test_what_is_being_sent_keeps_its_audio_and_its_caller(self, archive: Archive) -> None:
        message_id = archive.keep()
        archive.claim()
        archive.moved = timedelta(days=400)
        archive.recover()
        assert archive.audio(message_id)

    def test_a_report_that_waits_keeps_them_too(self, archive: Archive) -> None:
        message_id = archive.keep(to=[ANNA])
        archive.settle(Bounced(550, "no"), operator=OPERATOR)
        archive.moved = timedelta(days=31)
        archive.recover()
        assert archive.audio(message_id)
        archive.settle(Delivered(250, "ok"))
        archive.moved = timedelta(days=62)
        archive.recover()
        assert not archive.audio(message_id)

    @pytest.mark.parametrize("verdict", [Bounced(550, "no"), Expired(None, "no answer")])
    def test_what_came_to_nothing_goes_as_well(self, archive: Archive, verdict: Bounced | Expired) -> None:
        message_id = archive.keep()
        archive.settle(verdict)
        archive.moved = timedelta(days=31)
        archive.recover()
        assert not archive.audio(message_id)

    def test_calls_without_a_message_are_forgotten_and_what_lies_aside_goes(self, archive: Archive) -> None:
        empty, (lost, aside) = archive.discard(), archive.lose()
        young = archive.keep()
        archive.moved = timedelta(days=29)
        archive.recover()
        assert aside.exists()
        archive.moved = timedelta(days=31)
        archive.recover()
        assert not aside.exists()
        for message_id in (empty, lost):
            assert archive.story(message_id).summary.call.caller.number == ""
            assert archive.story(message_id).summary.forgotten_at is not None
        assert archive.story(young).summary.call.caller.number == CALLER

    def test_a_call_that_is_open_is_never_forgotten(self, archive: Archive) -> None:
        message_id, path = archive.open()
        path.write_bytes(b"RIFF")
        archive.journal.forget(message_id, archive.now())
        assert archive.story(message_id).summary.call.caller.number == CALLER

    def test_what_the_first_version_removed_the_audio_of_is_forgotten_too(self, archive: Archive) -> None:
        message_id = archive.keep()
        archive.settle(Delivered(250, "ok"))
        archive.spool.remove(f"sales.{message_id}.wav")
        archive.sql("UPDATE voicemails SET audio_removed_at = 1700000000000")
        archive.moved = timedelta(days=31)
        archive.recover()
        one = archive.story(message_id)
        assert one.summary.call.caller.number == ""
        assert one.audio_removed_at is not None
        assert one.audio_removed_at.timestamp() == 1_700_000_000

    def test_killed_between_the_audio_and_the_row_the_next_round_goes_on(self, archive: Archive) -> None:
        message_id = archive.keep()
        archive.settle(Delivered(250, "ok"))
        archive.moved = timedelta(days=31)
        archive.spool.remove(f"sales.{message_id}.wav")
        assert archive.story(message_id).summary.call.caller.number == CALLER
        archive.recover()
        assert archive.story(message_id).summary.call.caller.number == ""
        forgotten_at = archive.story(message_id).summary.forgotten_at
        archive.recover()
        assert archive.story(message_id).summary.forgotten_at == forgotten_at

    def test_one_that_cannot_be_removed_holds_up_no_other(self, archive: Archive) -> None:
        stuck, other = archive.keep(), archive.keep()
        archive.settle(Delivered(250, "ok"))
        path = archive.spool.place("sales", stuck)
        path.unlink()
        path.mkdir()
        archive.moved = timedelta(days=31)
        archive.recover()
        assert archive.story(stuck).summary.call.caller.number == CALLER
        assert archive.story(other).summary.call.caller.number == ""
        assert os.path.lexists(path)
