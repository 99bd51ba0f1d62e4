"""The bench's parts tell the truth: the load follows mod_event_socket, the verdicts follow the figures."""

import json
import smtplib
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import dialogues, journals, recording, tables, targets
from tests.bench.__main__ import CASES, COMPARED, better, chosen, in_turns, message
from tests.bench.mailing import arrived, mail_server
from tests.bench.processes import LOAD_CORE, ROOT, SERVICE_CORE, Asked, Moment, Spent, load, other, served
from tests.bench.subscription import Subscription
from tests.bench.switch import Call
from tests.bench.targets import CPU
from tests.conftest import CAPTURES
from tests.support.service import DEFAULTS
from tests.support.speech import attached

ALL, NARROWED = CAPTURES / "left_with_key.jsonl", CAPTURES / "left_with_key_nixed.jsonl"
CALL_ID = "632a12f3-e1e0-465c-93f6-e410df5bf5f5"
OURS = b"11111111-2222-4333-8444-555555555555"


def rows(capture: Path, side: str) -> list[str]:
    """Return what one side said in a recorded call."""
    found = map(json.loads, capture.read_text().splitlines())
    return [row["text"] for row in found if row["from"] == side and "text" in row]


def events(said: bytes) -> list[bytes]:
    """Return the names of the events in what a switch says, its frames cut by their own lengths."""
    names = []
    while said:
        head, _, said = said.partition(b"\n\n")
        headers = dict(line.split(b": ", 1) for line in head.splitlines())
        length = int(headers.get(b"Content-Length", 0))
        body, said = said[:length], said[length:]
        if headers[b"Content-Type"] == b"text/event-plain":
            names.append(body.partition(b"\n")[0].removeprefix(b"Event-Name: "))
    return names


def replayed(asked: list[str], capture: Path = ALL) -> list[bytes]:
    """Say to the bench's switch what a client said in a recorded call; return the events it gets."""
    call, said = Call(recording.read(capture), CALL_ID), b""
    call.take(b"connect\n\n")
    for command in asked:
        call.take(command.encode())
        while call.due:
            said += call.complete()
    return events(said)


def commands(*subscriptions: str) -> list[str]:
    """Return what the recorded client said, but for what it asked about events."""
    verbs = ("connect", "myevents", "nixevent")
    rest = [text for text in rows(ALL, "service") if not text.startswith(verbs)]
    return [*(f"{one}\n\n" for one in subscriptions), *rest]


def recorded(capture: Path) -> list[bytes]:
    """Return the events that a client got in a recorded call."""
    return [
        name
        for text in rows(capture, "switch")
        if "text/event-plain" in text.partition("\n\n")[0]
        for name in events(text.encode())
    ]


WHOLE = set(recorded(ALL))


class TestSwitch:
    """What the generator says is what a switch would."""

    @pytest.mark.parametrize("capture", [ALL, NARROWED], ids=lambda path: path.stem)
    def test_who_asks_as_in_the_recorded_call_gets_its_events_in_their_order(self, capture: Path) -> None:
        asked = [text for text in rows(capture, "service") if text != "connect\n\n"]
        assert replayed(asked) == recorded(capture)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ((), set()),
            (("event plain CHANNEL_ANSWER DTMF",), {b"CHANNEL_ANSWER", b"DTMF"}),
            (("event plain channel_answer",), {b"CHANNEL_ANSWER"}),
            (("event plain",), set()),
            (("event plain all", "nixevent all"), set()),
            (("event plain all", "noevents", "event plain DTMF"), {b"DTMF"}),
            (("myevents", "filter Event-Name DTMF"), {b"DTMF"}),
            (("myevents", "filter Event-Name /^D/"), {b"DTMF"}),
            (("event plain ALL", f"filter Unique-ID {CALL_ID}", "filter DTMF-Digit -#"), WHOLE - {b"DTMF"}),
            (("myevents", "filter Unique-ID somebody-elses"), set()),
            (("myevents", "filter Event-Name none", "filter delete Event-Name"), WHOLE),
        ],
        ids=lambda given: ", ".join(given) if isinstance(given, tuple) else "",
    )
    def test_only_what_is_asked_for_is_sent(self, asked: tuple[str, ...], expected: set[bytes]) -> None:
        assert set(replayed(commands(*asked))) == expected

    def test_all_events_are_as_large_as_recorded(self) -> None:
        call = Call(recording.read(ALL), CALL_ID)
        for command in ("connect\n\n", *commands("myevents")):
            call.take(command.encode())
            while call.due:
                call.complete()
        assert call.event_bytes == sum(
            len(text.encode())
            for text in rows(ALL, "switch")
            if "text/event-plain" in text.partition("\n\n")[0]
        )

    def test_a_completion_bears_the_call_and_the_uuid_it_was_asked_for_with(self) -> None:
        call = Call(recording.read(ALL), CALL_ID)
        call.take(b"connect\n\nmyevents\n\n")
        call.take(b"sendmsg\nexecute-app-name: answer\nEvent-UUID: " + OURS + b"\n\n")
        said = call.complete()
        assert b"\nApplication-UUID: " + OURS + b"\n" in said
        assert b"\nUnique-ID: " + CALL_ID.encode() + b"\n" in said
        assert recording.read(ALL).call_id not in said

    def test_who_does_not_linger_is_let_go_at_the_hang_up(self) -> None:
        call = Call(recording.read(ALL), CALL_ID)
        call.take(b"connect\n\n")
        said = call.take(f"api uuid_kill {CALL_ID}\n\n".encode())
        assert call.closed
        assert b"Content-Disposition: disconnect" in said

    def test_who_says_the_same_shares_a_subscription(self) -> None:
        begun = Subscription()
        once, again = begun.after(b"myevents"), begun.after(b"myevents")
        assert once is not None
        assert again is not None
        assert once[0] is again[0]
        assert begun.after(b"linger 10") is None


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """The message that every caller of the bench leaves."""
    return message(tmp_path)


def placed(generator: Asked, calls: int, **job: Any) -> dict[str, Any]:
    """Place calls, none of which may fail."""
    figures = generator.ask(calls=calls, **job)
    assert (figures["ended"], figures["failed"], figures["why"]) == (calls, 0, "")
    return figures


def test_the_load_is_taken_to_a_kept_message(tmp_path: Path, audio: Path) -> None:
    kept = {"mailboxes": {"sales": {"recipients": ["sales@example.com"]}}}
    with (
        served(tmp_path, kept, watched=True) as (service, watch),
        load(service.address, audio) as generator,
    ):
        placed(generator, 2, at_once=2)
        held = generator.ask(calls=1, hold=True)
        assert (held["ended"], held["failed"]) == (0, 0)
        assert service.stages() == {"recording": 1}
        assert generator.ask(release=True)["ended"] == 1
        mails = service.mails(3)
        assert watch.times[1] > 0
    assert [attached(mail) for mail in mails] == [audio.read_bytes()[44:]] * 3


@pytest.mark.parametrize("program", ["bare.py", "rivals/with_greenswitch.py"])
def test_what_is_compared_with_holds_the_same_dialogue(tmp_path: Path, audio: Path, program: str) -> None:
    with (
        other(Path(sys.executable), ROOT / "tests" / "bench" / program, tmp_path) as (address, spent),
        load(address, audio) as generator,
    ):
        figures = placed(generator, 2, at_once=2)
        assert figures["event_bytes"] > 0
        assert spent.cpu_seconds() > 0
    assert [path.read_bytes() for path in tmp_path.glob("*-*.wav")] == [audio.read_bytes()] * 2


def test_a_call_that_is_not_taken_has_failed(tmp_path: Path, audio: Path) -> None:
    with load(("127.0.0.1", 9), audio) as generator:
        figures = generator.ask(calls=2)
    assert (figures["ended"], figures["failed"]) == (0, 2)
    assert "refused" in figures["why"]


def test_messages_written_in_bulk_are_mailed_and_old_ones_are_left_alone(tmp_path: Path, audio: Path) -> None:
    with mail_server() as (port, sink):
        settings = {**DEFAULTS, **dialogues.settings(dialogues.smtp(port))}
        journals.old_calls(tmp_path, settings, 50)
        journals.queued_messages(tmp_path, settings, 3, audio)
        with served(tmp_path, settings) as (service, _):
            arrived(sink, 3)
            assert Spent(service.process.pid).resident_bytes() > 1_000_000
            assert service.lines("forgotten") == []
        assert sink.ask()["mails"] == 3


def test_the_mail_server_counts_mails_however_they_come_in() -> None:
    body = "\r\n".join(["Subject: a", "", *("." * n for n in range(5)), "x" * 300_000])
    with mail_server() as (port, sink):
        for _ in range(2):
            with smtplib.SMTP("127.0.0.1", port) as client:
                for _ in range(2):
                    assert client.sendmail("a@example.com", ["b@example.com"], body) == {}
        taken = sink.ask()
        assert (taken["mails"], taken["connections"]) == (4, 2)
        assert taken["bytes"] > 4 * len(body)


def test_what_others_have_of_the_processors_is_neither_our_work_nor_idle_time() -> None:
    before = Moment(at=100.0, busy=500.0, ours=20.0)
    cores = len({LOAD_CORE, SERVICE_CORE})
    assert Moment(at=110.0, busy=500.0 + 5 * cores, ours=20.0 + 4 * cores).others_since(before) == 0.1
    assert Moment(at=110.0, busy=500.0, ours=20.1).others_since(before) == 0.0
    assert Moment.now().busy > 0


def test_the_table_of_cases_has_a_row_a_case_and_no_figure_that_none_has() -> None:
    lines = tables.of_cases({"burst": {"calls_per_second": 123.4}, "held": {}})
    assert [[cell.strip() for cell in line.split("|")[1:4]] for line in lines[2:]] == [
        ["burst", "", "123"],
        ["held", "", ""],
    ]


FIGURES: dict[str, dict[str, Any]] = {
    "dialogue only": {targets.CPU: 1.0},
    "greenswitch": {targets.CPU: 4.0},
    "backlog": {"mails_per_second": 150.0, "rss_growth_mails": 3.0},
}


def test_a_target_is_judged_when_its_cases_ran() -> None:
    verdicts = targets.judged(FIGURES)
    assert [verdict.met for verdict in verdicts] == [True] * 4
    assert [line.count("| pass") for line in tables.of_verdicts(verdicts)] == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("case", "worse"), [("dialogue only", {targets.CPU: 1.01}), ("backlog", {"mails_per_second": 149.9})]
)
def test_a_target_missed_by_little_is_missed(case: str, worse: dict[str, Any]) -> None:
    verdicts = targets.judged({**FIGURES, case: {**FIGURES[case], **worse}})
    assert [verdict.met for verdict in verdicts].count(False) == 1
    assert "\n".join(tables.of_verdicts(verdicts)).count("| FAIL ") == 1


def test_one_call_that_failed_is_a_target_missed() -> None:
    verdicts = targets.judged({**FIGURES, "genesis": {"calls_failed": 1}})
    assert [verdict.target.name for verdict in verdicts if not verdict.met] == [
        "calls that failed, in all cases"
    ]


def test_every_target_is_of_cases_that_there_are() -> None:
    assert {case for target in targets.TARGETS for case in target.cases} <= CASES.keys()
    assert chosen(" burst,held ") == ["burst", "held"]
    assert chosen("") == list(CASES)
    assert sorted(set(in_turns(list(CASES)))) == sorted(CASES)
    assert in_turns(["burst", "greenswitch"]) == ["greenswitch"] * 3 + ["burst"]
    assert set(COMPARED) <= CASES.keys()
    with pytest.raises(ValueError, match="no case"):
        chosen("brust")


def test_of_a_case_that_is_run_again_the_least_counts_but_no_call_that_failed_is_forgotten() -> None:
    first, second = {CPU: 3.1, "calls_failed": 1, "calls": 10}, {CPU: 2.9, "calls_failed": 0, "calls": 11}
    assert better(first, None) == first
    assert better(first, second) == better(second, first) == {CPU: 2.9, "calls_failed": 1, "calls": 11}
