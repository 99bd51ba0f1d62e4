"""`messages list`: which calls it finds, how it shows them, and how it goes on as they come."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event
from wcwidth import width

from esl_voicemail.callers import ending, meaning
from esl_voicemail.cli import run
from esl_voicemail.cli.following import News
from esl_voicemail.journal import JournalReader
from esl_voicemail.journal.listing import Summary, Wanted
from esl_voicemail.model import PROBE, DeliveryState, VoicemailState
from esl_voicemail.verdict import Bounced, Delivered, Held
from tests.support.archive import ANNA, CALLER, JAN, OPERATOR, Archive
from tests.support.service import until
from tests.support.terminal import on_terminal

OTHER = "+48600111222"
WARSAW = ZoneInfo("Europe/Warsaw")
Listed = Callable[..., list[str]]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = Archive(tmp_path)
    yield archive
    archive.close()


@pytest.fixture
def listed(archive: Archive, capsys: pytest.CaptureFixture[str]) -> Listed:
    """List with arguments and return the ids found."""

    def found(*arguments: str) -> list[str]:
        config = str(archive.folder / "voicemail.yaml")
        assert run(["messages", "list", "--json", "--config", config, *arguments]) == 0
        return [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]

    return found


def at(archive: Archive, moment: datetime) -> None:
    """Let the archive's clock stand there."""
    archive.moved = timedelta()
    archive.moved = moment - archive.now()


class TestWhichCalls:
    def test_a_caller_is_found_however_his_number_is_written(self, archive: Archive, listed: Listed) -> None:
        written = [
            CALLER,
            "601 234 567",
            "0048601234567",
            "48601234567",
            "(60) 123.45.67",
            "６０１２３４５６７",
        ]
        of_caller = [archive.keep(number) for number in written]
        archive.keep(OTHER)
        archive.keep("+486012345678")
        archive.keep("")

        for asked in (CALLER, "601234567", "00 48 601 234 567"):
            assert listed("--caller", asked) == of_caller[::-1]

    def test_a_number_is_read_by_the_region_of_the_mailbox_called(
        self, archive: Archive, listed: Listed
    ) -> None:
        archive.keep("030 123456", "sales")
        berlin = archive.keep("030 123456", "berlin")

        assert listed("--caller", "+4930123456") == [berlin]

    def test_who_left_a_number_is_found_by_it(self, archive: Archive, listed: Listed) -> None:
        left = archive.keep("")
        archive.keep(OTHER)
        archive.sql("UPDATE voicemails SET callback = '601234567' WHERE message_id = ?", left)

        assert listed("--caller", CALLER) == [left]

    def test_who_withheld_his_number_is_found_by_that(self, archive: Archive, listed: Listed) -> None:
        withheld, forgotten = archive.keep(""), archive.keep("")
        archive.keep()
        unknown = archive.keep("")
        archive.sql("UPDATE voicemails SET caller_withheld = 1 WHERE message_id != ?", unknown)
        archive.sql("UPDATE voicemails SET forgotten_at = 1 WHERE message_id = ?", forgotten)

        for word in ("withheld", "Anonymous"):
            assert listed("--caller", word) == [withheld]

    def test_a_name_that_nobody_called_by_is_said_to_be_none(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive.keep(name="Anna")
        config = str(archive.folder / "voicemail.yaml")

        assert run(["messages", "list", "--caller", "Anna", "--config", config]) == 1
        assert capsys.readouterr().err == (
            "no call of 'Anna': --caller takes a number or `withheld`; callers' names are not looked for\n"
        )

    @pytest.mark.parametrize("name", ["anna.k@example.com", "Łucja", "1001"])
    def test_a_caller_without_a_number_is_found_by_his_name(
        self, archive: Archive, listed: Listed, name: str
    ) -> None:
        found = archive.keep(name)
        archive.keep("10012")

        assert listed("--caller", name.upper()) == [found]

    def test_a_mailbox_has_its_own(self, archive: Archive, listed: Listed) -> None:
        sales, berlin = archive.keep(), archive.keep(mailbox="berlin")

        assert (listed("--mailbox", "sales"), listed("--mailbox", "berlin")) == ([sales], [berlin])

    def test_a_mailbox_that_is_none_is_said(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive.keep()
        config = str(archive.folder / "voicemail.yaml")

        assert run(["messages", "list", "--mailbox", "sale", "--config", config]) == 1
        assert capsys.readouterr().err == "no mailbox 'sale'; there are sales, berlin\n"

    def test_a_state_is_the_call_s_or_a_mail_s(self, archive: Archive, listed: Listed) -> None:
        delivered = archive.keep()
        archive.settle(Delivered(250, "ok"))
        bounced = archive.keep(to=[ANNA])
        archive.settle(Bounced(550, "nobody"), operator=OPERATOR)
        archive.settle(Held("the report cannot be composed"))
        empty = archive.discard()
        queued = archive.keep()
        going_on, _ = archive.open()

        assert listed("--state", "delivered") == [delivered]
        assert listed("--state", "bounced") == [bounced]
        assert listed("--state", "held") == [bounced]  # its report
        assert listed("--state", "queued") == [queued]
        assert listed("--state", "discarded") == [empty]
        assert listed("--state", "open") == [going_on]
        assert listed("--state", "kept") == [queued, bounced, delivered]
        assert listed("--state", "open", "--state", "bounced") == [going_on, bounced]
        assert listed("--state", "lost") == []

    def test_the_man_who_called_at_five_is_found_by_one_command(
        self, archive: Archive, listed: Listed
    ) -> None:
        found = {}
        for time in ("15:30", "16:50", "17:05", "18:00"):
            at(archive, datetime.fromisoformat(f"2026-11-23 {time}").replace(tzinfo=WARSAW))
            found[time] = archive.keep()

        spans = {
            ("--since", "2026-11-23 16:45", "--until", "17:15"): ["17:05", "16:50"],
            ("--since", "2026-11-23", "--until", "2026-11-23"): ["18:00", "17:05", "16:50", "15:30"],
            ("--until", "2026-11-23 17:05"): ["16:50", "15:30"],
            ("--since", "2026-11-23 17:05:01"): ["18:00"],
            ("--until", "2026-11-22"): [],
        }
        for asked, expected in spans.items():
            assert listed(*asked) == [found[time] for time in expected]

    def test_a_time_is_the_one_of_the_mailbox_s_zone(self, archive: Archive, listed: Listed) -> None:
        text = (archive.folder / "voicemail.yaml").read_text()
        london = text.replace("region: DE", "region: DE, timezone: Europe/London")
        (archive.folder / "voicemail.yaml").write_text(london)
        at(archive, datetime(2026, 11, 23, 17, 5, tzinfo=WARSAW))
        message_id = archive.keep(mailbox="berlin")

        asked = ("--since", "2026-11-23 16:00", "--until", "16:30")
        assert (listed(*asked), listed("--mailbox", "berlin", *asked)) == ([], [message_id])

    def test_a_span_that_is_none_says_how_it_was_read(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = ["--since", "2026-11-23", "--until", "2026-11-20 12:00"]

        assert run(["messages", "list", "--config", str(archive.folder / "voicemail.yaml"), *asked]) == 1
        assert capsys.readouterr().err == (
            "--since 2026-11-23 is 2026-11-23 00:00+01, --until 2026-11-20 12:00 is 2026-11-20 12:00+01: "
            "no call can lie between; turn them round\n"
        )

    def test_pages_follow_each_other_without_a_gap_or_a_repetition(self, archive: Archive) -> None:
        kept = [archive.discard() for _ in range(7)]
        archive.sql("UPDATE voicemails SET arrived_at = 1000 WHERE message_id != ?", kept[3])
        reader = JournalReader(archive.config.directory, archive.config.recordings)
        expected = [kept[3], *(one for one in sorted(kept, reverse=True) if one != kept[3])]

        for at_once in range(1, 9):
            assert [one.message_id for one in reader.find(at_once=at_once)] == expected

    @pytest.mark.parametrize(
        "written", ["601234567", "0601234567", "+48 (601) 234-567", "1001", "030 123456"]
    )
    @pytest.mark.parametrize("region", ["PL", "DE"])
    def test_a_number_holds_the_digits_it_is_looked_for_by(self, written: str, region: str) -> None:
        digits = iter(c for c in written if c.isdigit())

        assert all(digit in digits for digit in ending(meaning(written, region), region))


class TestIndexes:
    """However large the journal, no whole table is read and none is sorted; the plans are SQLite's own."""

    @pytest.mark.parametrize(
        ("wanted", "index"),
        [
            (Wanted(), "voicemails_arrived"),
            (Wanted(mailbox="sales"), "voicemails_mailbox"),
            (Wanted(since=datetime(2026, 1, 1, tzinfo=WARSAW)), "voicemails_arrived"),
            (Wanted(numbers=["1", "2"]), "voicemails_caller"),
            (Wanted(numbers=["1", "2"]), "voicemails_callback"),
            (Wanted(states=[VoicemailState.OPEN]), "voicemails_state"),
            (Wanted(states=[DeliveryState.HELD]), "deliveries_age"),
            (Wanted(states=[DeliveryState.DELIVERED]), "voicemails_arrived"),
        ],
        ids=str,
    )
    def test_calls_are_found_by_index(self, archive: Archive, wanted: Wanted, index: str) -> None:
        plan = self.plan(archive, lambda reader: list(reader.find(wanted)))

        assert any(index in step for step in plan), plan
        assert not [step for step in plan if re.match("SCAN (voicemails|deliveries)(?!.* INDEX )", step)], (
            plan
        )

    def test_numbers_are_looked_through_in_their_index(self, archive: Archive) -> None:
        plan = self.plan(archive, lambda reader: reader.written(CALLER, "234567"))

        assert plan == [
            "SCAN voicemails USING COVERING INDEX voicemails_caller",
            "SCAN voicemails USING COVERING INDEX voicemails_callback",
        ]

    @staticmethod
    def plan(archive: Archive, read: Callable[[JournalReader], object]) -> list[str]:
        """Return how SQLite goes about all that is read."""
        reader = JournalReader(archive.config.directory, archive.config.recordings)
        asked: list[tuple[str, tuple[object, ...]]] = []
        event.listen(
            reader._engine,
            "before_cursor_execute",
            lambda _c, _cursor, statement, values, _x, _many: asked.append((statement, values)),
        )
        read(reader)
        return [
            step[-1]
            for statement, values in asked
            if statement.startswith("SELECT")
            for step in archive.sql(f"EXPLAIN QUERY PLAN {statement}", *values)
        ]


class TestTable:
    @pytest.mark.parametrize(
        ("columns", "lines_each"), [(200, 1), (131, 1), (130, 2), (80, 2), (60, 2), (40, 2)]
    )
    def test_it_is_no_wider_than_the_terminal(self, archive: Archive, columns: int, lines_each: int) -> None:
        archive.keep(name="A name that is far longer than there is room for, 日本")
        archive.discard()

        lines = on_terminal(archive.folder, columns, "messages", "list").splitlines()

        assert len(lines) == 3 * lines_each
        assert max(map(width, lines)) <= columns
        assert "discarded" in lines[lines_each + lines_each - 1]

    @pytest.mark.parametrize("columns", [40, 60, 80, 131])
    def test_who_called_and_the_id_to_ask_by_are_whole_on_every_terminal(
        self, archive: Archive, columns: int
    ) -> None:
        message_id = archive.keep(name="")

        said = on_terminal(archive.folder, columns, "messages", "list")

        assert CALLER in said
        assert message_id in said

    def test_all_times_are_of_one_zone_with_its_offset_and_are_found_as_they_are_shown(
        self, archive: Archive, listed: Listed, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = archive.folder / "voicemail.yaml"
        config.write_text(config.read_text().replace("region: DE", "region: DE, timezone: Asia/Kolkata"))
        kept = []
        # 02:30 comes twice in that night.
        for minutes, mailbox in enumerate(["sales", "berlin", "sales", "berlin"]):
            at(archive, datetime(2026, 10, 25, 0, 30, tzinfo=UTC) + timedelta(minutes=30 * minutes))
            kept.append(archive.keep(mailbox=mailbox))

        def shown(*arguments: str) -> list[str]:
            assert run(["messages", "list", "--config", str(config), *arguments]) == 0
            return [line[28:50].rstrip() for line in capsys.readouterr().out.splitlines()[1:]][::-1]

        times = shown()
        assert times == [f"2026-10-25 0{time}" for time in ("2:30+02", "2:00+01", "2:30+01", "3:00+01")]
        assert shown("--mailbox", "berlin") == ["2026-10-25 06:30+05:30", "2026-10-25 07:30+05:30"]
        for n, time in enumerate(times):
            assert listed("--since", time) == kept[n:][::-1]
            assert listed("--until", time) == kept[:n][::-1]

    def test_the_probe_s_calls_keep_to_their_column(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive.keep(mailbox=PROBE)
        archive.keep()

        config = str(archive.folder / "voicemail.yaml")
        assert run(["messages", "list", "--probes", "--config", config]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.index("CALLER" if n == 0 else CALLER) for n, line in enumerate(lines)] == [66] * 3

    def test_what_is_not_for_a_terminal_is_whole(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = "A name that is longer than its column, and stays so"
        archive.keep(name=name)

        assert run(["messages", "list", "--config", str(archive.folder / "voicemail.yaml")]) == 0
        assert f"{CALLER} {name}" in capsys.readouterr().out

    def test_a_report_that_does_not_go_out_is_seen(
        self, archive: Archive, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive.keep(to=[JAN])
        archive.settle(Bounced(550, "nobody"), operator=OPERATOR)

        assert run(["messages", "list", "--config", str(archive.folder / "voicemail.yaml")]) == 0
        assert capsys.readouterr().out.endswith("0/1 delivered, 1 bounced, report queued\n")


class Following:
    """A command that goes on, and what it has said so far."""

    def __init__(self, archive: Archive, *arguments: str) -> None:
        self._said = archive.folder / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "esl_voicemail", "messages", "list", "--follow", "--json", *arguments],
                cwd=archive.folder,
                stdout=said,
                stderr=subprocess.PIPE,
            )

    def wait_for(self, *message_ids: str) -> None:
        until(lambda: self.said() == list(message_ids), f"{message_ids} are shown")

    def said(self) -> list[str]:
        return [json.loads(line)["message"] for line in self._said.read_text().splitlines()]


class TestFollow:
    @pytest.fixture
    def follow(self, archive: Archive) -> Iterator[Callable[..., Following]]:
        begun: list[Following] = []

        def started(*arguments: str) -> Following:
            begun.append(Following(archive, *arguments))
            return begun[-1]

        yield started
        for one in begun:
            one.process.kill()
            one.process.communicate()

    def test_it_shows_the_newest_and_then_each_that_ends_until_it_is_interrupted(
        self, archive: Archive, follow: Callable[..., Following]
    ) -> None:
        _, second, third = archive.keep(), archive.discard(), archive.keep()
        going_on, _ = archive.open()

        following = follow("--limit", "2")
        following.wait_for(second, third)
        fourth = archive.keep()
        following.wait_for(second, third, fourth)
        archive.sql("UPDATE voicemails SET state = 'discarded' WHERE message_id = ?", going_on)
        following.wait_for(second, third, fourth, going_on)
        following.process.send_signal(signal.SIGINT)

        assert following.process.communicate(timeout=30)[1] == b""
        assert following.process.returncode == 0

    def test_it_shows_what_comes_into_the_state_asked_for(
        self, archive: Archive, follow: Callable[..., Following]
    ) -> None:
        before = archive.keep()
        archive.settle(Bounced(550, "nobody"))
        old = archive.keep()
        archive.settle(Delivered(250, "ok"))
        following = follow("--state", "bounced", "--caller", "601 234 567")
        following.wait_for(before)

        archive.keep(OTHER)
        new = archive.keep()
        archive.settle(Bounced(550, "nobody"))
        following.wait_for(before, new)
        archive.sql("UPDATE deliveries SET state = 'bounced' WHERE message_id = ?", old)
        following.wait_for(before, new, old)

    def test_a_call_that_ends_while_the_first_are_looked_up_is_shown_once(self, archive: Archive) -> None:
        before = archive.keep()
        reader = JournalReader(archive.config.directory, archive.config.recordings)

        def newest(wanted: Wanted, most: int) -> list[tuple[str, datetime]]:
            found = reader.newest(wanted, most)
            archive.keep()
            return found

        news = News(newest, Wanted())
        first = [one.message_id for one in news.begin(reader.find) if isinstance(one, Summary)]
        assert first[1:] == [before]
        second = news.look()
        third = news.look()
        assert [len(one) for one in (first, second, third)] == [2, 0, 1]
        assert not {*first} & {*third}

    def test_a_call_is_shown_once_however_many_are_wanted_and_no_more(self, archive: Archive) -> None:
        """By the mails' states, calls come and go; what is older than it remembers is not asked for."""
        reader = JournalReader(archive.config.directory, archive.config.recordings)
        news = News(reader.newest, Wanted(states=[DeliveryState.QUEUED]), looked_at=2)
        assert news.begin(list) == []
        shown = []
        for _ in range(10):
            archive.moved += timedelta(seconds=1)
            shown.append(archive.keep())
            assert news.look() == shown[-1:]
            archive.settle(Delivered(250, "ok"))
            assert news.look() == []
        archive.sql("UPDATE deliveries SET state = 'queued'")
        assert news.look() == []
        assert len(news._seen) <= 4
