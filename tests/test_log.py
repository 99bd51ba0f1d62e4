"""The log: how loud, how it looks on a terminal, and the same trouble again and again as one line."""

import os
import pty
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ulid import ULID

from esl_voicemail.log import ALWAYS_SAID, Log
from esl_voicemail.logline import LEVELS, render, style_on
from esl_voicemail.repeats import KINDS_AT_MOST, LONGEST_SECONDS, Repeats
from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, parse_logfmt, running, settled, until
from tests.support.speech import tone

NOW = datetime(2026, 7, 15, 10, 30, tzinfo=UTC)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = st.one_of(st.text(), st.integers(), st.booleans(), st.none())
FIELDS = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), HOSTILE, max_size=4)
SPEECH = tone(2.0)


class Heard:
    """A log with a clock of its own, and the lines it wrote."""

    def __init__(self, level: str = "info") -> None:
        self.ran = 0.0
        self.lines: list[dict[str, str]] = []
        self.log = Log(
            lambda line: self.lines.append(parse_logfmt(line)),
            lambda: NOW,
            level=level,
            seconds=lambda: self.ran,
        )

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    def times(self) -> int:
        return sum(int(line.get("times", "1")) for line in self.lines)


class TestColours:
    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(LEVELS), FIELDS)
    @example("error", {"why": "\x1b[31mlevel=error\x1b[0m"})
    @example("info", {"name": "\x9b32mx\x1b]0;title\x07"})
    def test_a_line_is_the_plain_one_and_no_value_adds_a_colour(self, level, fields):
        fields = {key: value for key, value in fields.items() if key not in {"ts", "level", "event"}}
        plain = render("logfmt", NOW, level, "call", fields)
        coloured = render("colours", NOW, level, "call", fields)
        assert COLOUR.sub("", coloured) == plain
        keys = 3 + sum(value is not None for value in fields.values())
        assert coloured.count("\x1b") == 2 * keys + 2 * 3
        assert "\x1b" not in plain

    def test_each_level_has_a_colour_of_its_own(self):
        shown = {COLOUR.findall(render("colours", NOW, level, "x", {}))[6] for level in LEVELS}
        assert len(shown) == len(LEVELS)

    @pytest.mark.parametrize(
        ("form", "terminal", "environment", "style"),
        [
            ("logfmt", True, {"TERM": "xterm"}, "colours"),
            ("logfmt", True, {"TERM": "xterm", "NO_COLOR": ""}, "colours"),
            ("logfmt", True, {"TERM": "xterm", "NO_COLOR": "1"}, "logfmt"),
            ("logfmt", True, {"TERM": "dumb"}, "logfmt"),
            ("logfmt", False, {"TERM": "xterm"}, "logfmt"),
            ("json", True, {"TERM": "xterm"}, "json"),
        ],
    )
    def test_they_are_for_terminals_whose_owner_wants_them(self, form, terminal, environment, style):
        assert style_on(form, terminal=terminal, environment=environment) == style

    @pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
    def test_the_service_on_a_terminal(self, tmp_path: Path, no_color: str, coloured: bool):
        (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(settled({})))
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "esl_voicemail", "serve"],
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": no_color},
            stderr=theirs,
        )
        os.close(theirs)
        said = b""
        try:
            until((tmp_path / "var" / "serve.json").exists, "the service serves")
            process.terminate()
            while b"stopped" not in said:
                said += os.read(ours, 65536)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        assert (b"\x1b[1mserving\x1b[0m" in said) == coloured
        assert (b"\x1b" in said) == coloured
        assert b"event=serving listen=" in COLOUR.sub("", said.decode()).encode()


class TestLevel:
    @pytest.mark.parametrize("level", LEVELS)
    def test_what_is_below_it_is_not_said(self, level):
        heard = Heard(level)
        for one in LEVELS:
            heard.log.say(one, one, {})
        assert heard.events() == list(LEVELS[LEVELS.index(level) :])

    def test_it_goes_by_one_and_no_further_than_there_are(self):
        heard = Heard("warning")
        for _ in range(5):
            heard.log.louder()
        for _ in range(5):
            heard.log.quieter()
        now = [line["now"] for line in heard.lines]
        assert now == ["info", *["debug"] * 4, "info", "warning", *["error"] * 3]

    def test_signals_make_a_running_service_louder_and_quieter(self, service: Service):
        service.call(TrialCaller(speech=SPEECH))
        assert service.lines("stage") == []
        service.process.send_signal(signal.SIGUSR1)
        until(lambda: service.lines("log_level"), "it says that it is louder")
        ended = service.call(TrialCaller(speech=SPEECH))
        service.line_of(ended.call_id)
        stages = [line for line in service.lines("stage") if line["call"] == ended.call_id]
        assert [line.get("entered") for line in stages][-3:] == ["recording", "keeping", None]
        service.process.send_signal(signal.SIGUSR2)
        until(lambda: service.lines("log_level")[1:], "it says that it is quieter")
        before = len(service.lines("stage"))
        service.line_of(service.call(TrialCaller(speech=SPEECH)).call_id)
        assert len(service.lines("stage")) == before

    def test_the_configuration_sets_it(self, tmp_path: Path):
        mailboxes = {"sales": {"recipients": ["anna@example.com"]}}
        with running(tmp_path, {"log": {"level": "warning"}, "mailboxes": mailboxes}) as service:
            service.call(TrialCaller(speech=SPEECH), "sales")
            service.mails(1)
            service.call(TrialCaller(speech=SPEECH), "nowhere")
            assert service.stop() == 0
        assert [line["result"] for line in service.lines("call")] == ["unknown_mailbox"]
        levels = {line["level"] for line in map(parse_logfmt, service.log.splitlines())}
        assert levels == {"warning"}


class TestRepeats:
    def test_a_thousand_times_a_second_is_one_line_and_then_a_count(self):
        heard = Heard()
        for _ in range(1000):
            heard.log.say("error", "mail_failed", {"why": "no"})
        assert heard.events() == ["mail_failed"]
        heard.log.stop()
        assert [line.get("times") for line in heard.lines] == [None, "999"]

    def test_twice_is_two_lines_without_a_count(self):
        heard = Heard()
        for _ in range(2):
            heard.log.say("error", "not_ready", {"why": "no"})
        heard.log.stop()
        assert [line.get("times") for line in heard.lines] == [None, None]

    @pytest.mark.parametrize("field", ["mailbox", "peer", "why", "at", "result"])
    def test_what_differs_in_what_happened_is_not_the_same(self, field):
        heard = Heard()
        for n in range(50):
            heard.log.say("warning", "trouble", {field: str(n)})
        assert heard.times() == len(heard.lines) == 50

    @pytest.mark.parametrize(
        "field", ["call", "message", "rcpt", "attempt", "next_try", "duration_ms", "count"]
    )
    def test_whose_trouble_it_was_makes_no_other_trouble_of_it(self, field):
        heard = Heard()
        for n in range(50):
            heard.log.say("error", "journal_refused", {field: str(n), "why": "the disk is full"})
        heard.log.stop()
        first, last = heard.lines
        assert (first[field], first["why"]) == ("0", "the disk is full")
        # What the count stands for is told by the last of them.
        assert (last[field], last["times"]) == ("49", "49")

    def test_an_id_in_the_words_makes_no_other_trouble_of_it(self):
        heard = Heard()
        for _ in range(50):
            why = f"sales.{ULID()}.wav of {uuid.uuid4()}: Permission denied"
            heard.log.say("error", "recovery_stopped", {"why": why})
        heard.log.stop()
        assert [line.get("times") for line in heard.lines] == [None, "49"]
        assert heard.lines[-1]["why"] == why

    @pytest.mark.parametrize("event", sorted(ALWAYS_SAID))
    @pytest.mark.parametrize("level", LEVELS[1:])
    def test_canonical_lines_and_answers_to_a_person_are_all_said_at_once(self, level, event):
        heard = Heard()
        for _ in range(500):
            heard.log.say(level, event, {"result": "refused"})
        assert heard.events() == [event] * 500

    def test_what_is_said_when_it_ends_is_not_counted(self):
        heard = Heard()
        heard.log.stop()
        for _ in range(3):
            heard.log.say("error", "part_died", {"why": "no"})
        assert len(heard.lines) == 3

    def test_a_flood_is_a_line_a_minute_at_last(self):
        repeats: Repeats[str] = Repeats()
        said = []
        for tenth in range(6000):
            now = tenth / 10
            if repeats.passes("flood", "flood", now):
                said.append(now)
            said += [now for _ in repeats.due(now)]
        gaps = [later - earlier for earlier, later in pairwise(said)]
        assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, *[LONGEST_SECONDS] * (len(gaps) - 6)])

    def test_after_a_quiet_period_the_next_is_a_first_one(self):
        repeats: Repeats[str] = Repeats()
        assert repeats.passes("x", "x", 0.0)
        assert repeats.due(1.0) == []
        assert repeats.passes("x", "x", 1.1)

    def test_of_more_kinds_than_it_counts_the_one_away_for_longest_is_forgotten(self):
        repeats: Repeats[int] = Repeats()
        for kind in range(KINDS_AT_MOST):
            assert repeats.passes(kind, kind, 0.0)
        assert not repeats.passes(0, 0, 0.0)
        # Now 1 is the one, and nothing of it was counted; then 2.
        assert [repeats.passes("new", -1, 0.0) for _ in range(3)] == [True, False, False]
        assert not repeats.passes(2, 2, 0.0)
        assert repeats.passes(1, 1, 0.0)
        assert not repeats.passes(0, 0, 0.0)

    def test_what_was_counted_of_a_forgotten_kind_is_said(self):
        repeats: Repeats[str] = Repeats(1)
        assert [repeats.passes("a", "a", 0.0) for _ in range(3)] == [True, False, False]
        assert repeats.passes("b", "b", 0.0)
        assert repeats.due(0.0) == [("a", 2)]
        assert repeats.due(0.0) == []

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), max_size=60),
        st.integers(1, 4),
    )
    def test_every_one_is_said_or_counted_once(self, happened, kinds_at_most):
        repeats: Repeats[str] = Repeats(kinds_at_most)
        now, said = 0.0, Counter()
        for kind, later in happened:
            now += later
            said[kind] += repeats.passes(kind, kind, now)
            for one, times in repeats.due(now):
                said[one] += times
        for one, times in repeats.rest():
            said[one] += times
        assert said == Counter(kind for kind, _ in happened)
        assert repeats.rest() == []
