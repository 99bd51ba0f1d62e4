"""What a person does with messages: the verbs beside a running service, and what `messages` shows of it."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esl_voicemail.cli import run
from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.editor import RETRY
from esl_voicemail.journal.engine import FILE, open_engine, url_of
from esl_voicemail.model import DeliveryState
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Held
from tests.support.archive import ANNA, JAN, OPERATOR, Archive
from tests.support.service import Service, command, running, until
from tests.support.smtp import ScriptedSmtp
from tests.support.speech import tone

OK, FAILED, USAGE, BUSY = 0, 1, 64, 75
LONG_AGO = timedelta(days=4)
VERBS = ("retry", "hold", "release", "drop")

# What each verb makes of a mail in each state; None: it is left alone.
BECOMES: dict[str, dict[str, str | None]] = {
    "retry": {
        "queued": "queued",
        "sending": None,
        "delivered": None,
        "bounced": "queued",
        "expired": "queued",
        "held": "queued",
        "dropped": "queued",
    },
    "hold": {
        "queued": "held",
        "sending": "held",
        "delivered": None,
        "bounced": None,
        "expired": None,
        "held": None,
        "dropped": None,
    },
    "release": {
        "queued": None,
        "sending": None,
        "delivered": None,
        "bounced": None,
        "expired": None,
        "held": "queued",
        "dropped": None,
    },
    "drop": {
        "queued": "dropped",
        "sending": "dropped",
        "delivered": None,
        "bounced": "dropped",
        "expired": "dropped",
        "held": "dropped",
        "dropped": None,
    },
}

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    built = Archive(tmp_path)
    yield built
    built.close()


@pytest.fixture
def say(archive: Archive, capsys: pytest.CaptureFixture[str]) -> Say:
    """The command line on the archive: its exit code, what it printed, and its complaint."""

    def answer(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--config", str(archive.folder / "voicemail.yaml")])
        out, err = capsys.readouterr()
        assert len(err.splitlines()) <= 1, err
        return code, out, err

    return answer


def stand(archive: Archive, message_id: str, recipient: str, state: str) -> None:
    """Put a mail where it has stood for days, crashed once, refused once."""
    then = round((archive.now() - LONG_AGO).timestamp() * 1000)
    archive.sql(
        "UPDATE deliveries SET state = ?, queued_at = ?, due_at = ?, crashes = 1, code = 451, "
        "reply = 'not today', finished_at = ? WHERE message_id = ? AND recipient = ?",
        *(state, then, then + 10**9, then, message_id, recipient),
    )


class TestVerbs:
    def test_the_table_knows_every_state(self) -> None:
        assert set(BECOMES) == set(VERBS)
        assert all(set(moves) == set(DeliveryState) for moves in BECOMES.values())

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("state", list(DeliveryState))
    def test_a_verb_leads_from_its_states_and_from_no_other(
        self, archive: Archive, say: Say, verb: str, state: DeliveryState
    ) -> None:
        message_id = archive.keep(to=[ANNA])
        stand(archive, message_id, ANNA, state)

        code, out, err = say("messages", verb, message_id)

        after = BECOMES[verb][state]
        assert archive.states(message_id) == {ANNA: after or state}
        if after:
            assert (code, err) == (OK, "")
            assert out.startswith(f"{ANNA}  {state} -> {after}")
        else:
            why = "is being sent now" if state == "sending" else f"is {state}"
            assert (code, out) == (FAILED, "")
            assert err == f"nothing to {verb}: {ANNA}  left alone: {why}\n"

    @pytest.mark.parametrize(("verb", "state"), [("retry", "expired"), ("release", "held")])
    def test_what_is_queued_by_hand_is_due_now_and_has_all_its_time_again(
        self, archive: Archive, say: Say, verb: str, state: str
    ) -> None:
        message_id = archive.keep(to=[ANNA])
        stand(archive, message_id, ANNA, state)

        say("messages", verb, message_id)

        (to,) = archive.story(message_id).deliveries
        assert timedelta(0) <= datetime.now(UTC) - to.queued_at < timedelta(minutes=1)
        assert (to.due_at, to.finished_at) == (to.queued_at, None)
        assert (to.code, to.reply) == (451, "not today")
        assert archive.sql("SELECT crashes FROM deliveries") == [(0,)]
        (attempt,) = archive.claim()
        assert attempt.queued_at == to.queued_at

    def test_what_is_dropped_is_final_since_now(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep(to=[ANNA])
        stand(archive, message_id, ANNA, "queued")

        say("messages", "drop", message_id)

        (to,) = archive.story(message_id).deliveries
        assert to.finished_at is not None
        assert timedelta(0) <= datetime.now(UTC) - to.finished_at < timedelta(minutes=1)
        assert (to.code, to.reply) == (None, "dropped by hand")
        assert archive.claim() == []

    def test_to_names_one_recipient_whatever_its_case(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()

        code, out, _ = say("messages", "hold", message_id, "--to", "JAN@example.com")

        assert (code, out) == (OK, f"{JAN}  queued -> held\n")
        assert archive.states(message_id) == {ANNA: "queued", JAN: "held"}

    def test_to_nobody_says_who_there_is(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()

        code, out, err = say("messages", "hold", message_id, "--to", "eve@example.com")

        assert (code, out) == (FAILED, "")
        assert err == f"message {message_id}: no mail to 'eve@example.com'; there are {ANNA}, {JAN}\n"

    def test_some_changed_is_done_and_the_rest_is_said(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        stand(archive, message_id, ANNA, "delivered")
        stand(archive, message_id, JAN, "bounced")

        code, out, err = say("messages", "retry", message_id)

        assert (code, err) == (OK, "")
        assert out.splitlines() == [f"{ANNA}  left alone: is delivered", f"{JAN}  bounced -> queued"]

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_message_goes_by_its_id_in_any_case_and_by_its_call(
        self, archive: Archive, say: Say, verb: str
    ) -> None:
        by_id, by_call = archive.keep(to=[ANNA]), archive.keep(to=[ANNA])
        for message_id in (by_id, by_call):
            stand(archive, message_id, ANNA, "held" if verb != "hold" else "queued")

        assert say("messages", verb, by_id.lower())[0] == OK
        assert say("messages", verb, f"call-{by_call}")[0] == OK

    def test_of_a_call_s_messages_the_newest_is_meant(self, archive: Archive, say: Say) -> None:
        older = archive.keep()
        archive.moved = timedelta(seconds=5)
        newer = archive.keep()
        archive.sql("UPDATE voicemails SET call_id = 'the-call'")

        assert say("messages", "hold", "the-call")[0] == OK

        assert set(archive.states(older).values()) == {"queued"}
        assert set(archive.states(newer).values()) == {"held"}

    @pytest.mark.parametrize("verb", [*VERBS, "audio"])
    def test_an_unknown_id_is_one_line(self, say: Say, verb: str) -> None:
        code, out, err = say("messages", verb, "01NOBODY")

        assert (code, out) == (FAILED, "")
        assert err == "no message and no call '01NOBODY' in the journal; see `esl-voicemail messages list`\n"

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_call_that_has_no_mails_is_one_line(self, archive: Archive, say: Say, verb: str) -> None:
        message_id, _ = archive.open()

        code, out, err = say("messages", verb, message_id)

        assert (code, out, err) == (FAILED, "", f"message {message_id}: there are no mails of it\n")

    @pytest.mark.parametrize("verb", ["retry", "release"])
    def test_nothing_is_queued_without_its_recording(self, archive: Archive, say: Say, verb: str) -> None:
        message_id = archive.keep(to=[ANNA])
        stand(archive, message_id, ANNA, "held")
        (path,) = archive.spool.recordings.glob(f"*{message_id}*")
        path.unlink()

        code, _, err = say("messages", verb, message_id)

        assert (code, err) == (FAILED, f"message {message_id}: its recording {path} is gone\n")
        assert archive.states(message_id) == {ANNA: "held"}

    def test_a_notice_has_no_recording_and_is_sent_again_all_the_same(
        self, archive: Archive, say: Say
    ) -> None:
        message_id = archive.discard(told=[ANNA])
        stand(archive, message_id, ANNA, "bounced")

        assert say("messages", "retry", message_id)[:2] == (OK, f"{ANNA}  bounced -> queued\n")

    def test_nothing_is_queued_of_who_is_forgotten(self, archive: Archive, say: Say) -> None:
        message_id = archive.discard(told=[ANNA])
        stand(archive, message_id, ANNA, "bounced")
        archive.journal.forget(message_id, archive.now())

        code, _, err = say("messages", "retry", message_id)

        assert code == FAILED
        assert err.startswith(f"message {message_id}: was forgotten at ")
        assert archive.states(message_id) == {ANNA: "bounced"}

    def test_a_mail_held_while_it_is_sent_is_held_unless_the_server_takes_it(
        self, archive: Archive, say: Say
    ) -> None:
        message_id = archive.keep()
        first, second = archive.claim()

        code, out, _ = say("messages", "hold", message_id)
        queue, now = archive.journal.queue, archive.now()
        queue.mark(first, Deferred(451, "later"), now, 5, now)
        queue.mark(second, Delivered(250, "ok"), now, 5)

        assert code == OK
        assert out.splitlines() == [
            f"{to}  sending -> held, unless the server takes it now" for to in (ANNA, JAN)
        ]
        assert archive.states(message_id) == {first.recipient: "held", second.recipient: "delivered"}

    def test_a_mail_dropped_while_it_is_sent_reports_nothing(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep(to=[ANNA])
        (attempt,) = archive.claim()

        say("messages", "drop", message_id)
        archive.journal.queue.mark(attempt, Bounced(550, "no"), archive.now(), 5, operator=OPERATOR)

        assert archive.states(message_id) == {ANNA: "dropped"}

    def test_dropped_audio_goes_by_retention(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        say("messages", "drop", message_id)
        archive.moved = timedelta(days=29)
        archive.recover()
        assert archive.audio(message_id)
        archive.moved = timedelta(days=31)
        archive.recover()
        assert not archive.audio(message_id)


class TestAll:
    @pytest.mark.parametrize(
        ("verb", "state"),
        [("retry", state) for state in ("bounced", "expired", "held", "queued")] + [("release", "held")],
    )
    def test_all_mails_that_stand_there_go_and_no_others(
        self, archive: Archive, say: Say, verb: str, state: str
    ) -> None:
        there = [archive.keep() for _ in range(3)]
        elsewhere = [archive.keep(to=[ANNA]) for _ in range(6)]
        others = [one for one in DeliveryState if one != state]
        for message_id in there:
            for to in (ANNA, JAN):
                stand(archive, message_id, to, state)
        for message_id, other in zip(elsewhere, others, strict=True):
            stand(archive, message_id, ANNA, other)

        code, out, err = say("messages", verb, "--all", state)

        assert (code, err) == (OK, "")
        assert out.splitlines() == [
            f"{message_id}  {to}  {state} -> queued" for message_id in there for to in (ANNA, JAN)
        ]
        for message_id in there:
            for one in archive.story(message_id).deliveries:
                assert (one.state, one.due_at) == ("queued", one.queued_at)
                assert datetime.now(UTC) - one.queued_at < timedelta(minutes=1)
        assert [archive.states(one) for one in elsewhere] == [{ANNA: other} for other in others]

    def test_more_than_go_in_one_transaction_go_too(
        self, archive: Archive, say: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("esl_voicemail.journal.editor._AT_ONCE", 3)
        held = [archive.discard(told=[ANNA]) for _ in range(7)]
        archive.sql("UPDATE deliveries SET state = 'held'")

        code, out, _ = say("messages", "release", "--all", "held")

        assert (code, out.splitlines()) == (OK, [f"{one}  {ANNA}  held -> queued" for one in held])
        assert archive.sql("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(7,)]

    def test_what_somebody_drops_meanwhile_stays_dropped(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("esl_voicemail.journal.editor._AT_ONCE", 1)
        first, second = archive.discard(told=[ANNA]), archive.discard(told=[ANNA])
        archive.sql("UPDATE deliveries SET state = 'held'")

        with JournalEditor(archive.config.directory, archive.config.recordings) as journal:
            count, changing = journal.change_all(DeliveryState.HELD, RETRY, archive.now())
            assert count == 2
            assert next(changing).after == "queued"
            archive.sql("UPDATE deliveries SET state = 'dropped' WHERE message_id = ?", second)
            (left,) = changing

        assert (left.message_id, left.before, left.after) == (second, "dropped", None)
        assert (archive.states(first), archive.states(second)) == ({ANNA: "queued"}, {ANNA: "dropped"})

    def test_to_narrows_it(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        archive.sql("UPDATE deliveries SET state = 'held'")

        code, out, _ = say("messages", "release", "--all", "held", "--to", "JAN@example.com")

        assert (code, out) == (OK, f"{message_id}  {JAN}  held -> queued\n")
        assert archive.states(message_id) == {ANNA: "held", JAN: "queued"}

    @pytest.mark.parametrize("to", [(), ("--to", "eve@example.com")])
    def test_nothing_there_is_1_and_a_line(self, archive: Archive, say: Say, to: tuple[str, ...]) -> None:
        archive.keep()
        whose = f" to {to[1]}" if to else ""

        assert say("messages", "retry", "--all", "bounced", *to) == (
            FAILED,
            "",
            f"nothing to retry: no mail{whose} is bounced\n",
        )

    def test_what_has_nothing_left_to_send_is_said_and_holds_up_no_other(
        self, archive: Archive, say: Say
    ) -> None:
        gone, old, forgotten, there = (archive.keep(to=[ANNA]) for _ in range(4))
        archive.settle(Bounced(550, "no"))
        archive.spool.remove(f"sales.{gone}.wav")
        archive.sql("UPDATE voicemails SET audio_removed_at = 1 WHERE message_id = ?", old)
        archive.journal.forget(forgotten, archive.now())

        code, out, err = say("messages", "retry", "--all", "bounced")

        path = archive.spool.place("sales", gone)
        lines = out.splitlines()
        assert (code, err) == (OK, "")
        assert lines[0] == f"{gone}  {ANNA}  left alone: its recording {path} is gone"
        assert lines[1] == f"{old}  {ANNA}  left alone: its retention is over; nothing is left to send"
        assert lines[2].startswith(f"{forgotten}  {ANNA}  left alone: was forgotten at ")
        assert lines[3:] == [f"{there}  {ANNA}  bounced -> queued"]
        code, out, err = say("messages", "retry", "--all", "bounced")
        assert (code, len(out.splitlines())) == (FAILED, 3)
        assert err == "nothing to retry: of 3 mails that are bounced none can be sent\n"

    def test_a_report_is_said_to_be_one(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep(to=[ANNA])
        archive.settle(Bounced(550, "no"), operator=OPERATOR)
        archive.settle(Bounced(550, "no operator either"))

        out = say("messages", "retry", "--all", "bounced")[1]

        assert out.splitlines() == [
            f"{message_id}  {ANNA}  bounced -> queued",
            f"{message_id}  {OPERATOR} (report of {ANNA})  bounced -> queued",
        ]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("retry",), " messages retry: one of the arguments ID --all is required"),
            (("release",), " messages release: one of the arguments ID --all is required"),
            (
                ("retry", "01X", "--all", "held"),
                " messages retry: argument --all: not allowed with argument ID",
            ),
            (("retry", "--all", "delivered"), " messages retry: argument --all: invalid choice: 'delivered'"),
            (("retry", "--all", "dropped"), " messages retry: argument --all: invalid choice: 'dropped'"),
            (("release", "--all", "queued"), " messages release: argument --all: invalid choice: 'queued'"),
            (("hold", "--all", "queued"), ": unrecognized arguments: --all"),
            (("drop", "--all", "queued"), ": unrecognized arguments: --all"),
        ],
    )
    def test_a_wrong_command_line_is_64(self, say: Say, arguments: tuple[str, ...], said: str) -> None:
        code, out, err = say("messages", *arguments)

        assert (code, out) == (USAGE, "")
        assert err.startswith(f"esl-voicemail{said}")

    def test_after_an_outage_one_command_sends_them_all(self, tmp_path: Path, smtp: ScriptedSmtp) -> None:
        smtp.say("RCPT", "550 5.7.1 not on a Monday")
        with running(
            tmp_path, {"mail": {"smtp": {"host": "127.0.0.1", "port": smtp.port, "security": "none"}}}
        ) as service:
            for _ in range(3):
                service.call(TrialCaller(speech=tone(1.5)))
            until(lambda: len(service.lines("delivery")) == 3, "all bounce")
            smtp.forget()

            done = command("messages", "retry", "--all", "bounced", folder=tmp_path)

            assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (OK, "", 3)
            until(lambda: len(smtp.accepted) == 3, "all go out", 10)


class TestTheJournal:
    @pytest.mark.parametrize("verb", VERBS)
    def test_there_must_be_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
        (tmp_path / "voicemail.yaml").write_text("mailboxes: {default: {recipients: [a@example.com]}}\n")

        code = run(["messages", verb, "x", "--config", str(tmp_path / "voicemail.yaml")])

        (line,) = capsys.readouterr().err.splitlines()
        assert code == FAILED
        assert line.endswith("there is no journal yet; start `esl-voicemail serve` once")
        assert not (tmp_path / "var").exists()

    @pytest.mark.parametrize("verb", [("messages", "retry", "x"), ("erase", "--caller", "1234")])
    @pytest.mark.parametrize(
        ("version", "said"), [("0001", "start `esl-voicemail serve` of this version"), ("9999", "newer")]
    )
    def test_another_version_s_is_left_as_it_is(
        self, archive: Archive, say: Say, verb: tuple[str, ...], version: str, said: str
    ) -> None:
        archive.sql("UPDATE alembic_version SET version_num = ?", version)

        code, out, err = say(*verb)

        assert (code, out) == (FAILED, "")
        assert said in err
        assert archive.sql("SELECT version_num FROM alembic_version") == [(version,)]

    def test_a_first_version_s_is_refused_in_words_when_read_too(self, archive: Archive, say: Say) -> None:
        archive.sql("DROP INDEX voicemails_forgotten")
        archive.sql("DROP INDEX voicemails_probe")
        archive.sql("ALTER TABLE voicemails DROP COLUMN forgotten_at")
        archive.sql("UPDATE alembic_version SET version_num = '0001'")

        code, _, err = say("messages", "list")

        assert code == FAILED
        assert "an older version's; start `esl-voicemail serve`" in err

    @pytest.mark.parametrize(
        "verb",
        [
            ("messages", "list"),
            ("messages", "retry", "x"),
            ("messages", "show", "x"),
            ("erase", "--caller", "1234"),
        ],
    )
    def test_an_empty_file_is_none_yet_and_stays_empty(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
    ) -> None:
        (tmp_path / "voicemail.yaml").write_text("mailboxes: {default: {recipients: [a@example.com]}}\n")
        journal = tmp_path / "var" / FILE
        journal.parent.mkdir()
        journal.touch()

        code = run([*verb, "--config", str(tmp_path / "voicemail.yaml")])

        out, err = capsys.readouterr()
        assert (code, out) == (FAILED, "")
        assert err == f"{journal}: is empty, there is no journal yet; start `esl-voicemail serve` once\n"
        assert [path.name for path in journal.parent.iterdir()] == [FILE]
        assert journal.stat().st_size == 0

    def test_one_whose_tables_were_not_made_yet_is_none_either(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "voicemail.yaml").write_text("mailboxes: {default: {recipients: [a@example.com]}}\n")
        journal = tmp_path / "var" / FILE
        journal.parent.mkdir()
        open_engine(url_of(journal.parent), writing=True).connect().close()
        assert journal.stat().st_size

        code = run(["messages", "list", "--config", str(tmp_path / "voicemail.yaml")])

        said = f"{journal}: is empty, there is no journal yet; start `esl-voicemail serve` once\n"
        assert (code, capsys.readouterr().err) == (FAILED, said)

    def test_one_that_stays_locked_is_75(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        with closing(sqlite3.connect(archive.config.directory / FILE)) as database:
            database.execute("BEGIN IMMEDIATE")

            code, out, err = say("messages", "hold", message_id)

        assert (code, out) == (BUSY, "")
        assert err.endswith("journal.sqlite: the journal is busy; try again\n")


class TestShown:
    def test_audio_prints_where_it_is(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()

        code, out, _ = say("messages", "audio", message_id)

        assert code == OK
        assert Path(out.removesuffix("\n")).read_bytes().startswith(b"RIFF")

    def test_no_audio_says_why(self, archive: Archive, say: Say) -> None:
        empty, (still_open, _), lost, removed, gone = (
            archive.discard(),
            archive.open(),
            archive.lose()[0],
            archive.keep(),
            archive.keep(),
        )
        for message_id in (removed, gone):
            archive.spool.remove(f"sales.{message_id}.wav")
        archive.journal.forget(removed, archive.now())

        said = {
            message_id: say("messages", "audio", message_id)
            for message_id in (empty, still_open, lost, removed, gone)
        }

        path = archive.spool.place("sales", gone)
        assert said == {
            empty: (FAILED, "", f"message {empty}: has no recording: record_failed\n"),
            still_open: (FAILED, "", f"message {still_open}: has no recording: open\n"),
            lost: (FAILED, "", f"message {lost}: has no recording: record_failed\n"),
            removed: (FAILED, "", f"message {removed}: its recording was removed, as it was to be\n"),
            gone: (
                FAILED,
                "",
                f"message {gone}: its recording {path} is gone; put it back from a backup, "
                f"or give it up with `esl-voicemail messages drop {gone}`\n",
            ),
        }

    def test_a_report_is_shown_as_one_and_counted_as_no_recipient(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        first, second = archive.claim()
        archive.journal.queue.mark(first, Bounced(550, "no such user"), archive.now(), 5, operator=OPERATOR)
        archive.journal.queue.mark(second, Delivered(250, "ok"), archive.now(), 5, operator=OPERATOR)

        listed = say("messages", "list")[1]
        shown = say("messages", "show", message_id)[1]
        story = json.loads(say("messages", "show", message_id, "--json")[1])

        assert listed.splitlines()[1].endswith("1/2 delivered, 1 bounced, report queued")
        assert f"to         {OPERATOR}, report of {first.recipient}: queued" in shown
        assert (story["recipients"], story["delivered"]) == (2, 1)
        assert {one["recipient"]: one["about"] for one in story["deliveries"]} == {
            ANNA: None,
            JAN: None,
            OPERATOR: first.recipient,
        }

    def test_a_verb_says_which_mail_is_a_report(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep(to=[ANNA])
        archive.settle(Held("no template"), operator=OPERATOR)

        out = say("messages", "drop", message_id)[1]

        assert out.splitlines() == [
            f"{ANNA}  held -> dropped",
            f"{OPERATOR} (report of {ANNA})  queued -> dropped",
        ]

    def test_a_notice_is_shown_as_one(self, archive: Archive, say: Say) -> None:
        message_id = archive.discard(told=[ANNA])

        assert (
            say("messages", "list")[1]
            .splitlines()[1]
            .endswith("record_failed, notice 0/1 delivered, 1 queued")
        )
        assert "recording  none; the mails are notices of the call" in say("messages", "show", message_id)[1]

    def test_who_is_forgotten_is_said_to_be(self, archive: Archive, say: Say) -> None:
        message_id = archive.keep()
        archive.settle(Delivered(250, "ok"))
        archive.journal.forget(message_id, archive.now())

        shown = say("messages", "show", message_id)[1].splitlines()
        story = json.loads(say("messages", "show", message_id, "--json")[1])
        listed = json.loads(say("messages", "list", "--json")[1])

        assert "caller     forgotten" in shown
        assert [line for line in shown if line.startswith("forgotten  ")]
        assert story["forgotten_at"] == listed["forgotten_at"]
        assert datetime.fromisoformat(story["forgotten_at"]).tzinfo is not None


class TestBesideARunningService:
    @pytest.fixture
    def service(self, tmp_path: Path, smtp: ScriptedSmtp) -> Iterator[Service]:
        settings = {
            "mail": {"smtp": {"host": smtp.host, "port": smtp.port, "security": "none"}},
            "mailboxes": {"default": {"recipients": [ANNA, JAN]}},
        }
        with running(tmp_path, settings) as started:
            yield started

    def test_hold_release_drop_and_retry_take_effect_by_themselves(
        self, service: Service, smtp: ScriptedSmtp
    ) -> None:
        smtp.say("RCPT", "450 4.2.1 not now")
        service.call(TrialCaller(speech=tone(2.0)))
        until(lambda: len(service.lines("delivery")) == 2, "both mails are deferred")
        (message_id,) = {line["message"] for line in service.lines("delivery")}
        smtp.forget()

        def mail(verb: str, *arguments: str) -> str:
            done = command("messages", verb, message_id, *arguments, folder=service.folder)
            assert (done.returncode, done.stderr) == (OK, "")
            return done.stdout

        assert mail("drop", "--to", ANNA) == f"{ANNA}  queued -> dropped\n"
        assert mail("hold", "--to", JAN) == f"{JAN}  queued -> held\n"
        assert mail("release") == f"{ANNA}  left alone: is dropped\n{JAN}  held -> queued\n"
        until(lambda: smtp.accepted, "what is released goes out")
        assert [one.recipient for one in smtp.accepted] == [JAN]
        until(lambda: service.lines("delivery")[2:], "it is marked")
        assert mail("retry") == f"{ANNA}  dropped -> queued\n{JAN}  left alone: is delivered\n"
        until(lambda: len(smtp.accepted) == 2, "what is tried again goes out")
        assert [one.recipient for one in smtp.accepted] == [JAN, ANNA]
        assert service.stop() == OK
        assert "journal_refused" not in service.log
