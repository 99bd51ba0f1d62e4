"""What callers, switches, mail servers and files say, as hostile as may be, in a log that others read.

Each line is read by libraries that are not ours: logfmtkv, as strict as Go's go-logfmt, and orjson.
"""

import math
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import gevent
import pytest

from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.switch import place_call
from tests.support.peer import Peer, head
from tests.support.service import Service, parse_json, parse_logfmt, running, until
from tests.support.smtp import ScriptedSmtp, scripted_smtp
from tests.support.speech import tone

FORGED = "ts=2026-11-26T03:00:00.000Z level=error event=call call=forged result=recorded"
TEXTS = [
    f"\n{FORGED}",
    f'"\r\n{FORGED}',
    '"}\n{"ts": "2026-11-26T03:00:00.000Z", "event": "call", "call": "forged"}\n{"x": "',
    f"%0A{FORGED}",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07 \x9b31m",
    "\x00level=error\x00",
    f"\u2028{FORGED}\u2029{FORGED}\x85{FORGED}\v\f\x1c\x1d\x1e",
    "\u202elive \u2066xi\u2069 \ufeff\u200b",
    "👩‍👩‍👧‍👦 żółw",
    'a "quoted" \\ back\\slash \\',
    "\\ud800\\u000a=",
    # Bytes that are no UTF-8: half a pair, the beginning of a letter, another alphabet's.
    "\udced\udca0\udc80 \udcc5 Stra\udcdfe \udcff",
    "Ż" * 10_000,
    "",
]
NUMBERS = [f"+4860{n:07}" for n in range(5550000, 5550000 + len(TEXTS))]
QUOTED = "+48602234567"
# What a switch says no with.
REFUSALS = TEXTS[::3]
CODES = (250, 451, 550)
# What ends a line for some reader, is an order to a terminal, turns the text, or is no character.
RAW = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
READERS: dict[str, Callable[[str], dict[str, Any]]] = {"logfmt": parse_logfmt, "json": parse_json}


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass
class Told:
    """A log at its end, and what it has to tell of."""

    text: str
    records: list[dict[str, Any]]
    calls: list[str]
    mails: int

    def of(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["event"] == event]


@dataclass
class Hostile:
    """A service that all of them turn to."""

    service: Service
    server: ScriptedSmtp
    read: Callable[[str], dict[str, Any]]

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return what is said of an event so far."""
        return [one for one in map(self.read, self.service.log.splitlines()) if one["event"] == event]

    def until(self, event: str, count: int) -> None:
        """Wait until so many are said."""
        until(lambda: len(self.records(event)) >= count, f"{count} lines of {event}")

    def call(self, number: str, text: str, mailbox: str = "sales") -> str:
        """Call by a hostile name, through a dialplan that says it everywhere."""
        variables = dict.fromkeys(("reference", "queue", "reason", "language"), text) | {"mailbox": mailbox}
        named = {f"voicemail_{name}": value for name, value in variables.items()}
        caller = TrialCaller(number=number, name=text, speech=tone(1.5))
        return place_call(self.service.address, caller, dialled=text, variables=named, pace=math.inf).call_id

    def all_call(self) -> list[str]:
        """Have one of each name call, every other one for a mailbox that nobody has."""
        calls = [
            gevent.spawn(self.call, number, text, text if n % 2 else "sales")
            for n, (number, text) in enumerate(zip(NUMBERS, TEXTS, strict=True))
        ]
        gevent.joinall(calls, raise_error=True)
        return [call.get() for call in calls]

    def be_refused(self, text: str) -> str:
        """Be a switch that refuses what it is told, in words of its own."""
        call_id = f"refusing-{os.urandom(4).hex()}"
        before = len(self.records("command_refused"))
        with Peer(self.service.address) as peer:
            peer.take()
            peer.say(head(Unique__ID=call_id, variable_voicemail_mailbox="sales"))
            words = as_bytes(text).replace(b"\n", b"%0A")[:400]
            peer.say(b"Content-Type: command/reply\nReply-Text: -ERR %b\n\n" % words * 10)
            peer.hear()
        self.until("command_refused", before + 1)
        return call_id

    def reload(self, content: str) -> None:
        """Have a configuration refused."""
        good, before = self.service.config.read_bytes(), len(self.records("reload"))
        self.service.config.write_bytes(good + as_bytes(content))
        self.service.process.send_signal(signal.SIGHUP)
        self.until("reload", before + 1)
        self.service.config.write_bytes(good)


def settings_of(form: str, server: ScriptedSmtp) -> dict[str, Any]:
    return {
        "log": {"format": form},
        "mail": {"smtp": {"host": server.host, "port": server.port, "security": "none"}},
        "mailboxes": {name: {"recipients": [f"{name}@example.com"]} for name in ("default", "sales")},
        "storage": {"min_free_mb": 0},
    }


@pytest.fixture(scope="module", params=READERS)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Have it all happen to a service whose locale knows no letters, and read what it has said."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    recordings = folder / "var" / "recordings"
    recordings.mkdir(parents=True)
    for n, text in enumerate(TEXTS):
        name = as_bytes(text).translate(None, b"\0/")[:200]
        file = b"%b/%d%b.wav" % (bytes(recordings), n, name)
        Path(os.fsdecode(file)).touch()
        os.utime(file, (0, 0))  # it is quiet
    with pytest.MonkeyPatch.context() as patch, scripted_smtp() as server:
        patch.setenv("PYTHONIOENCODING", "ascii")
        for code, text in zip(cycle(CODES), (*TEXTS, *REFUSALS)):
            words = as_bytes(text)[:4000].replace(b"\n", b"\r")
            server.say("FINAL", b"%d %b" % (code, words), times=1)
        with running(folder, settings_of(request.param, server)) as service:
            hostile = Hostile(service, server, READERS[request.param])
            calls = [*hostile.all_call(), *map(hostile.be_refused, REFUSALS)]
            hostile.until("delivery", len(calls))
            server.say("FINAL", f"250 took: from {QUOTED[:3]} {QUOTED[3:6]} {QUOTED[6:9]} {QUOTED[9:]}")
            calls.append(hostile.call(QUOTED, "Jan"))
            hostile.until("delivery", len(calls))
            for text in (TEXTS[6], TEXTS[11], f"a: [\x1b[31m{FORGED}"):
                hostile.reload(text)
            assert service.stop() == 0
        mails = len(server.commands("MAIL"))
    text = (folder / "log").read_bytes().decode()
    assert text.endswith("\n")
    return Told(text, [READERS[request.param](line) for line in text[:-1].split("\n")], calls, mails)


def test_every_line_is_one_record_with_its_time_level_and_event(told: Told) -> None:
    assert all(list(record)[:3] == ["ts", "level", "event"] for record in told.records)
    times = [record["ts"] for record in told.records]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times)
    assert times == sorted(times)


def test_nothing_in_it_ends_a_line_or_orders_a_terminal_about(told: Told) -> None:
    assert RAW.findall(told.text.replace("\n", "")) == []
    assert len(told.text.splitlines()) == len(told.records)


def test_each_call_has_exactly_one_line_and_nobody_forges_one(told: Told) -> None:
    assert Counter(record["call"] for record in told.of("call")) == Counter(told.calls)
    assert not [record for record in told.records if record.get("call") == "forged"]


def test_each_attempt_has_exactly_one_line_with_the_servers_words(told: Told) -> None:
    said = told.of("delivery")
    assert len(said) == told.mails == len(told.calls)
    codes = [250, *islice(cycle(CODES), len(told.calls) - 1)]
    assert Counter(int(record["code"]) for record in said) == Counter(codes)
    assert "👩‍👩‍👧‍👦 żółw" in {record["reply"] for record in said}


def test_the_switch_files_and_configurations_are_heard_too(told: Told) -> None:
    assert {record["call"] for record in told.of("command_refused")} == set(told.calls[len(TEXTS) : -1])
    assert len({record["file"] for record in told.of("recovered")}) == len(TEXTS)
    assert [record["result"] for record in told.of("reload")].count("refused") >= 3
    assert len(told.of("unknown_mailbox")) == sum(bool(text.strip()) for text in TEXTS[1::2])


def test_no_number_is_whole_in_it_not_even_where_the_server_quotes_it(told: Told) -> None:
    written = re.sub(r"[^\w*]", "", told.text)
    assert not [number for number in (*NUMBERS, QUOTED) if number[3:] in written]
    assert "took: from +48 602****67" in {record["reply"] for record in told.of("delivery")}
