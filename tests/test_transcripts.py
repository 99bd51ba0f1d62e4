"""Messages written down before they are mailed: by real programs, good and bad, against a running server."""

import math
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail import program
from esl_voicemail.errors import ProgramError, ProgramTimeoutError
from esl_voicemail.journal import JournalReader
from esl_voicemail.journal.reader import Story
from esl_voicemail.transcription import cleaned
from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, command, parse_logfmt, running, until
from tests.support.speech import tone

CALLER = TrialCaller(speech=tone(2.0))
LIMIT = 3
# Beyond its limit a mail waits for nothing; this much a busy machine takes.
SLACK = 15.0
# Ignores being asked to end, and so does its child.
STUBBORN = """\
trap '' TERM HUP INT
sh -c 'trap "" TERM HUP INT; echo $$ >> pids; while :; do sleep 1; done' &
echo $$ >> pids
while :; do sleep 1; done
"""

Write = Callable[[str, str], str]


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


def named(transcribers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings with a mailbox for each transcriber, and one for none."""
    mailboxes = {name: {"recipients": [f"{name}@example.com"], "transcriber": name} for name in transcribers}
    plain: dict[str, Any] = {"plain": {"recipients": ["plain@example.com"]}}
    return {"transcribers": dict(transcribers), "mailboxes": mailboxes | plain}


def story(service: Service, call_id: str) -> Story:
    found = JournalReader(service.folder / "var", service.recordings).show(call_id)
    assert found is not None
    return found


def delivered(service: Service, call_id: str) -> Story:
    """Wait until everybody has a message, and return what the journal knows of it."""

    def all_have_it() -> Story | None:
        found = story(service, call_id)
        return found if found.deliveries and {to.state for to in found.deliveries} == {"delivered"} else None

    found: Story = until(all_have_it, f"everybody has the message of {call_id}")
    return found


def waited(told: Story) -> float:
    """How many seconds the last mail of a message waited."""
    assert told.closed_at
    return max((to.attempts[0].ended_at - told.closed_at).total_seconds() for to in told.deliveries)


def transcribed(service: Service, message: str) -> dict[str, str]:
    """Wait for the line that says what came of writing a message down."""
    found: dict[str, str] = until(
        lambda: next((line for line in service.lines("transcript") if line["message"] == message), None),
        f"the transcript of {message}",
    )
    return found


def gone(pids: Path) -> bool:
    """Whether none of the processes that wrote their ids down is there any more, not even as a zombie."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split())


# --- what a program does ---------------------------------------------------------------------------------


class TestProgram:
    def test_what_it_prints_is_returned_and_it_reads_what_it_is_given(self, tmp_path: Path) -> None:
        (tmp_path / "given").write_bytes(b"\x00said\xff")
        with (tmp_path / "given").open("rb") as given:
            assert program.run(["cat"], tmp_path, 10, given) == b"\x00said\xff"
        assert program.run(["cat"], tmp_path, 10) == b""

    def test_no_shell_reads_its_arguments(self, tmp_path: Path) -> None:
        words = ["$(touch x)", "; touch y", "`touch z`", "*", "-", ""]
        assert program.run(["printf", "%s\\n", *words], tmp_path, 10).decode().split("\n") == [*words, ""]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("exit 3", "x: ended with 3"),
            (
                "echo a warning >&2; echo no model there >&2; echo >&2; exit 3",
                "x: ended with 3: no model there",
            ),
            ("printf '\\033[1m\\377\\n' >&2; exit 1", "x: ended with 1: [1m�"),
            ("kill -SEGV $$", "x: was ended by signal 11"),
            ("kill -40 $$", "x: was ended by signal 40"),
            ("exec yes", "x: prints without end"),
            ("exec yes >&2", "x: prints without end"),
            ("yes & yes >&2 & sleep 600", "x: prints without end"),
        ],
    )
    def test_what_is_of_no_use_is_said_in_a_line(self, tmp_path: Path, text: str, why: str) -> None:
        with pytest.raises(ProgramError) as raised:
            program.run([script(tmp_path, "x", text)], tmp_path, 60)
        assert str(raised.value) == why

    @pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: None], ids=["folder", "file", "-"])
    def test_what_cannot_be_run_is_said(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        make(tmp_path / "x")
        with pytest.raises(ProgramError, match=r"x: cannot be run: (Permission denied|No such file)"):
            program.run([str(tmp_path / "x")], tmp_path, 60)

    def test_at_its_limit_it_and_all_it_started_are_killed(self, tmp_path: Path) -> None:
        began = time.monotonic()
        with pytest.raises(ProgramTimeoutError, match=r"x: not done after 1\.0 s"):
            program.run([script(tmp_path, "x", STUBBORN)], tmp_path, 1.0)
        assert 1.0 <= time.monotonic() - began < 1.0 + SLACK
        assert len((tmp_path / "pids").read_text().split()) == 2
        until(lambda: gone(tmp_path / "pids"), "both are gone")

    def test_what_it_leaves_running_is_killed_and_keeps_nobody_waiting(self, tmp_path: Path) -> None:
        text = "sleep 600 & echo $! $$ > pids; echo said"
        assert program.run([script(tmp_path, "x", text)], tmp_path, 60) == b"said\n"
        until(lambda: gone(tmp_path / "pids"), "both are gone")

    def test_what_left_its_group_keeps_nobody_waiting(self, tmp_path: Path) -> None:
        text = "setsid sh -c 'echo $$ > pids; exec sleep 600' & until [ -s pids ]; do :; done; echo said"
        began = time.monotonic()
        try:
            assert program.run([script(tmp_path, "x", text)], tmp_path, 60) == b"said\n"
            assert time.monotonic() - began < 30
        finally:
            os.kill(int((tmp_path / "pids").read_text()), signal.SIGKILL)

    def test_it_is_killed_with_the_greenlet_that_waits_for_it(self, tmp_path: Path) -> None:
        waiting = gevent.spawn(program.run, [script(tmp_path, "x", STUBBORN)], tmp_path, 60)
        pids = tmp_path / "pids"
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both run")
        waiting.kill()
        until(lambda: gone(pids), "both are gone")

    def test_whatever_it_does_others_go_on(self, tmp_path: Path) -> None:
        ticks = [time.monotonic()]

        def tick() -> None:
            while True:
                gevent.sleep(0.005)
                ticks.append(time.monotonic())

        ticking = gevent.spawn(tick)
        for text in ("exec yes", "exec yes >&2", "sleep 0.2; echo said"):
            with suppress(ProgramError):
                program.run([script(tmp_path, "x", text)], tmp_path, 10)
        ticking.kill()
        assert len(ticks) > 10
        assert max(after - before for before, after in pairwise(ticks)) < 0.5


@pytest.mark.parametrize(
    ("printed", "transcript"),
    [
        (b"", ""),
        (b" \n\r\n\t\n", ""),
        ("  Dzień   dobry.\n\nProszę o telefon. \n".encode(), "Dzień dobry.\nProszę o telefon."),
        (b"\xffna \xc5\x84 \xc5", "�na ń �"),
        (b"\x1b[31;1m<b>Al & a</b>\x1b[0m\r\n\x00\n\x1b]0;title\x07end\x1b[2K", "<b>Al & a</b>\nend"),
        ("a\u2028b\u202ec\x85d".encode(), "a\nbc\nd"),
        (b"10%\r50%\rdone", "10%\n50%\ndone"),
        (b"x" * 20_000, "x" * 9_999 + "…"),
        (b"line of it\n" * 5_000, "line of it\n" * 908 + "line of it…"),
    ],
)
def test_what_is_printed_becomes_lines_that_can_be_shown(printed: bytes, transcript: str) -> None:
    assert cleaned(printed) == transcript


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_become_anything_but_printable_lines(printed: bytes) -> None:
    lines = cleaned(printed).split("\n")
    assert all(line == " ".join(line.split()) for line in lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", "\n".join(lines))
    assert lines == [""] or all(lines)


# --- what becomes of the mail ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")

    def one(name: str, text: str, *arguments: str, **more: int) -> dict[str, Any]:
        return {"command": [script(folder, f"{name}.sh", text), *arguments], **more}

    settings = named(
        {
            "file": one("file", 'echo "$(wc -c < "$1") bytes, $2, $3"', "{audio}", "as {language}", "{}"),
            "input": one("input", "echo $(wc -c) bytes"),
            "relative": {"command": ["./file.sh", "{audio}", "x", "y"]},
            "fails": one("fails", "echo half of it; echo no model there >&2; exit 3"),
            "silent": one("silent", "exit 0"),
            "missing": {"command": ["/no/such/program"]},
            "babbles": one("babbles", "exec yes bla"),
            "spoilt": one("spoilt", "printf '\\377\\033[1mAl & <b>a</b>\\n\\n'"),
            "stubborn": one("stubborn", STUBBORN, seconds=LIMIT),
        }
    )
    settings["mailboxes"]["two"] = {
        "recipients": ["anna@example.com", "jan@example.com"],
        "transcriber": "input",
    }
    with running(folder, settings) as started:
        yield started


def call(service: Service, mailbox: str, **variables: str) -> str:
    """Place a call that leaves a message, and return the message."""
    line = service.line_of(service.call(CALLER, mailbox, pace=math.inf, **variables).call_id)
    assert line["result"] == "recorded"
    return line["message"]


@pytest.mark.parametrize(
    ("mailbox", "transcript"),
    [
        ("file", "{} bytes, as en, {{}}"),
        ("input", "{} bytes"),
        ("relative", "{} bytes, x, y"),
        ("two", "{} bytes"),
    ],
)
def test_what_was_said_is_written_down_before_any_mail_goes(
    serving: Service, mailbox: str, transcript: str
) -> None:
    message = call(serving, mailbox, voicemail_language="en")
    told = delivered(serving, message)
    assert told.transcript == transcript.format(told.size)
    assert [len(to.attempts) for to in told.deliveries] == [1] * (2 if mailbox == "two" else 1)

    def events() -> list[str]:
        said = map(parse_logfmt, serving.log.splitlines())
        return [line["event"] for line in said if line.get("message") == message]

    # The journal knows of a mail before the log tells of it.
    until(lambda: "delivery" in events(), f"the log tells of the mails of {message}")
    assert events().index("transcript") < events().index("delivery")
    line = transcribed(serving, message)
    assert (line["result"], line["mailbox"], line["level"]) == ("written", mailbox, "info")
    assert "bytes" not in str(line)


@pytest.mark.parametrize(
    ("mailbox", "result", "transcript", "why"),
    [
        ("fails", "failed", "", "fails.sh: ended with 3: no model there"),
        ("silent", "empty", "", None),
        ("missing", "failed", "", "/no/such/program: cannot be run: No such file or directory"),
        ("babbles", "failed", "", "babbles.sh: prints without end"),
        ("spoilt", "written", "�Al & <b>a</b>", None),
    ],
)
def test_whatever_a_program_does_the_mail_goes_as_soon_as_it_has_ended(
    serving: Service, mailbox: str, result: str, transcript: str, why: str | None
) -> None:
    message = call(serving, mailbox)
    line = transcribed(serving, message)
    assert (line["result"], line.get("why")) == (result, why)
    told = delivered(serving, message)
    assert told.transcript == transcript
    # Without its end it would be a minute.
    assert waited(told) < 30


def test_the_mail_shows_what_was_written_down_as_text(serving: Service) -> None:
    message = delivered(serving, call(serving, "spoilt")).summary.message_id
    [mail] = [mail for mail in serving.mails() if message.lower() in str(mail["Message-ID"]).lower()]
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "�Al & <b>a</b>" in plain.get_content()
    assert "�Al &amp; &lt;b&gt;a&lt;/b&gt;" in html.get_content()


def test_at_the_limit_the_mail_goes_without_and_the_program_is_killed(serving: Service) -> None:
    pids = serving.folder / "pids"
    pids.unlink(missing_ok=True)
    message = call(serving, "stubborn")
    told = delivered(serving, message)
    assert LIMIT - 0.5 <= waited(told) < LIMIT + SLACK
    assert told.transcript == ""
    assert transcribed(serving, message)["result"] == "timed_out"
    until(lambda: gone(pids), "all of it is gone")


def test_how_transcripts_ended_is_counted(serving: Service) -> None:
    before = serving.metrics()
    for result in ("written", "empty", "failed", "timed_out", "too_late"):
        assert f'voicemail_transcripts_total{{result="{result}"}}' in before
    delivered(serving, call(serving, "silent"))
    delivered(serving, call(serving, "input"))
    now = serving.metrics()
    for series in ('transcripts_total{result="empty"}', "transcript_duration_seconds_count"):
        assert now[f"voicemail_{series}"] == before[f"voicemail_{series}"] + 1


def test_a_person_sees_the_transcript(serving: Service) -> None:
    message = delivered(serving, call(serving, "spoilt")).summary.message_id
    shown = command("messages", "show", message, folder=serving.folder).stdout
    assert "\ntranscript �Al & <b>a</b>\n" in shown
    assert (
        '"transcript": "�Al & <b>a</b>"'
        in command("messages", "show", message, "--json", folder=serving.folder).stdout
    )


# --- how many at once ------------------------------------------------------------------------------------

# Goes in, and waits to be let out.
GATED = 'basename "$1" >> ins; until [ -e out ]; do sleep 0.05; done; basename "$1" >> outs'


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_run_at_once_than_may_and_the_newest_goes_next(tmp_path: Path, at_once: int) -> None:
    gated = {"command": [script(tmp_path, "gated.sh", GATED), "{audio}"], "at_once": at_once}
    with running(tmp_path, named({"gated": gated})) as service:
        ids = [call(service, "gated") for _ in range(at_once + 3)]

        def names(file: str) -> list[str]:
            path = tmp_path / file
            return [line.split(".")[1] for line in path.read_text().splitlines()] if path.exists() else []

        until(lambda: len(names("ins")) == at_once, "as many as may have begun")
        # One of another mailbox's comes and goes meanwhile, so there was time for more.
        delivered(service, call(service, "plain"))
        assert sorted(names("ins")) == ids[:at_once]
        (tmp_path / "out").touch()
        for message in ids:
            delivered(service, message)
        # Where two begin together, either may be the first to say so.
        assert ids[-1] in names("ins")[at_once : 2 * at_once]
        assert sorted(names("outs")) == sorted(ids)
        if at_once == 1:
            assert names("ins") == names("outs") == [ids[0], *reversed(ids[1:])]


def test_who_has_no_turn_before_his_mail_is_due_is_mailed_without(tmp_path: Path) -> None:
    stubborn = {"command": [script(tmp_path, "x", STUBBORN)], "seconds": LIMIT}
    with running(tmp_path, named({"stubborn": stubborn})) as service:
        ids = [call(service, "stubborn") for _ in range(3)]
        told = [delivered(service, message) for message in ids]
        results = [transcribed(service, message)["result"] for message in ids]
    assert results == ["timed_out", "too_late", "timed_out"]
    assert all(LIMIT - 0.5 <= waited(one) < LIMIT + SLACK for one in told)


# --- what may happen meanwhile ---------------------------------------------------------------------------


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A service whose transcriber is at work on a message for two, and waits to be let out."""
    settings = named(
        {
            "gated": {
                "command": [script(tmp_path, "gated.sh", f"echo $$ > pids; {GATED}; echo said"), "{audio}"]
            }
        }
    )
    settings["mailboxes"]["gated"]["recipients"] = ["anna@example.com", "jan@example.com"]
    with running(tmp_path, settings) as service:
        message = call(service, "gated")
        until((tmp_path / "ins").exists, "it is being written down")
        yield service, message
    (tmp_path / "out").touch()


def test_a_mailbox_without_a_transcriber_waits_for_none(waiting: tuple[Service, str]) -> None:
    service, message = waiting
    delivered(service, call(service, "plain"))
    assert service.lines("transcript") == []
    assert {to.state for to in story(service, message).deliveries} == {"queued"}
    (service.folder / "out").touch()
    assert delivered(service, message).transcript == "said"


def test_a_service_killed_meanwhile_mails_it_when_it_is_due(tmp_path: Path) -> None:
    stubborn = {"command": [script(tmp_path, "x", STUBBORN)], "seconds": LIMIT}
    settings, pids = named({"stubborn": stubborn}), tmp_path / "pids"
    with running(tmp_path, settings) as service:
        message = call(service, "stubborn")
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "it is being written down")
        service.stop(signal.SIGKILL)
    for pid in pids.read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    with running(tmp_path, settings) as service:
        told = delivered(service, message)
    assert told.transcript == ""
    assert [len(to.attempts) for to in told.deliveries] == [1]


def test_a_service_that_stops_kills_the_program_and_mails_the_message(waiting: tuple[Service, str]) -> None:
    service, message = waiting
    assert service.stop() == 0
    told = story(service, message)
    assert [(to.state, len(to.attempts)) for to in told.deliveries] == [("delivered", 1)] * 2
    assert transcribed(service, message)["why"] == "the service stops"
    assert gone(service.folder / "pids")


def test_what_a_person_did_with_a_mail_meanwhile_stands(waiting: tuple[Service, str]) -> None:
    service, message = waiting
    for verb, to in (("hold", "anna@example.com"), ("drop", "jan@example.com")):
        assert command("messages", verb, message, "--to", to, folder=service.folder).returncode == 0
    (service.folder / "out").touch()
    assert transcribed(service, message)["result"] == "written"
    told = story(service, message)
    assert (told.transcript, [to.state for to in told.deliveries]) == ("said", ["held", "dropped"])
    assert command("messages", "release", message, folder=service.folder).returncode == 0
    until(lambda: story(service, message).deliveries[0].state == "delivered", "it goes when it is let go")


def test_of_a_caller_who_is_erased_meanwhile_nothing_is_written(waiting: tuple[Service, str]) -> None:
    service, message = waiting
    number = story(service, message).summary.call.caller.number
    assert command("erase", "--caller", number, folder=service.folder).returncode == 0
    (service.folder / "out").touch()
    transcribed(service, message)
    told = story(service, message)
    assert (told.transcript, {to.state for to in told.deliveries}) == ("", {"dropped"})


def test_what_was_written_down_goes_with_its_caller(tmp_path: Path) -> None:
    with running(tmp_path, named({"echo": {"command": ["echo", "my secret is 4711-0815"]}})) as service:
        message = call(service, "echo")
        number = delivered(service, message).summary.call.caller.number
        journal = [tmp_path / "var" / f"journal.sqlite{end}" for end in ("", "-wal")]
        assert any(b"4711-0815" in path.read_bytes() for path in journal)
        assert command("erase", "--caller", number, folder=tmp_path).returncode == 0
        assert story(service, message).transcript == ""
        assert not any(b"4711-0815" in path.read_bytes() for path in journal if path.exists())
        assert service.stop() == 0


def test_a_message_that_a_crash_left_is_written_down_too(tmp_path: Path) -> None:
    """Of a call whose row is open, its file quiet: recovery keeps it."""
    settings = named({"input": {"command": ["wc", "-c"]}})
    with running(tmp_path, settings) as service:
        message = call(service, "input")
        delivered(service, message)
        recorded = next(service.recordings.glob("*.wav"))
        assert service.stop() == 0
    orphan = recorded.with_name(f"input.01JZ{message[4:]}.wav")
    orphan.write_bytes(recorded.read_bytes())
    os.utime(orphan, (time.time() - 3600,) * 2)
    with running(tmp_path, settings) as service:
        told = delivered(service, f"01JZ{message[4:]}")
        assert told.transcript == str(told.size)


def test_a_reload_takes_transcribers_with_the_mailboxes(tmp_path: Path) -> None:
    with running(tmp_path, named({"echo": {"command": ["echo", "one"]}})) as service:
        assert delivered(service, call(service, "echo")).transcript == "one"
        text = service.config.read_text()
        service.config.write_text(text.replace("one", "another"))
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.lines("reload"), "the reload is said")
        assert delivered(service, call(service, "echo")).transcript == "another"
