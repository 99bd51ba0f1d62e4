"""Kills the service at every point, starts it again, and holds what is there then against the promise."""

import random
import shutil
import signal
import wave
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent.queue import Empty, Queue

from tests.crash.points import Point, points
from tests.crash.scenarios import ANOTHER_DISK, BY_KEY, SCENARIOS, Ground, Scenario, grounds
from tests.crash.stage import HOMELESS, HOUR, OPERATOR, RECIPIENTS, Lane, Stage

CASE_SECONDS = 90.0
_TRIES = 4

Passed = dict[str, Counter[tuple[str, str]]]
"""By scenario: how often each point was passed."""

_AS_ANOTHER_USER = "only where the switch runs as another user, whose files we cannot write"
_BY_HAND = "each transaction stands alone, and a person who sees one fail repeats it"
# Points that no scenario passes, and why that is right.
UNPASSED: dict[str, str] = {
    "journal.editor:JournalEditor.change:db.execute": _BY_HAND,
    "journal.editor:JournalEditor.change:db.execute#2": _BY_HAND,
    "journal.editor:JournalEditor.change_all:db.execute": _BY_HAND,
    "journal.editor:JournalEditor._change_some:db.execute": _BY_HAND,
    "journal.editor:JournalEditor._change_some:db.execute#2": _BY_HAND,
    "journal.editor:_change:db.execute": _BY_HAND,
    **{
        f"journal.editor:JournalEditor.keep:db.execute{number}": _BY_HAND for number in ("", "#2", "#3", "#4")
    },
    "esl.sockets:Stream.send:_sock.sendall": "the rest of a command, where the switch does not read",
    "running:is_served:fcntl.flock": "`check`, which asks who listens",
    "journal.journal:_close:db.execute": "looks whether there is a row where none was open",
    "mail.transaction:_afresh:server.ask": "nothing of the next mail was said yet",
    "mail.transaction:_afresh:server.getreply": "nothing of the next mail was said yet",
    "spool:Spool._mend:shutil.copyfile": _AS_ANOTHER_USER,
    "spool:Spool._mend:os.fsync": _AS_ANOTHER_USER,
    "spool:Spool._mend:copy.replace": _AS_ANOTHER_USER,
    "spool:_carry:shutil.move": "a folder or a device in a recording's place",
    "spool:_carry:aside.unlink": "the other disk is full",
    "disk:Reserve.tend:path.unlink": "this disk is full",
}
if not ANOTHER_DISK:
    UNPASSED |= {name: "no second file system here" for name in points() if name.startswith("spool:_carry:")}


@contextmanager
def lanes(count: int = 3) -> Iterator[list[Lane]]:
    """Start lanes for a block: a little more of them than processors, as each waits a good deal."""
    started = [Lane() for _ in range(count)]
    try:
        yield started
    finally:
        for lane in started:
            lane.close()


@dataclass(frozen=True)
class Case:
    """One kill: at a point, before or after, at its n-th passage in a scenario."""

    scenario: Scenario
    point: str
    when: str
    passage: int

    def __str__(self) -> str:
        return f"[{self.scenario.name}] {self.when} {self.point}, passage {self.passage}"


@dataclass(frozen=True)
class Result:
    """What came of a case: the faults found, and how many mails came more than once."""

    case: Case
    faults: tuple[str, ...] = ()
    repeated: int = 0
    reached: bool = True


@dataclass
class Matrix:
    """The lanes, the folders and what the scenarios pass."""

    folder: Path
    lanes: Sequence[Lane]
    grounds: dict[str, Ground] = field(default_factory=dict)
    passed: Passed = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def survey(self) -> None:
        """Play every scenario uninjured and note what it passes; the promise holds for it all the same."""
        self.grounds = grounds(Stage(self.folder / "grounds", self.lanes[0]))
        self._side_by_side(SCENARIOS, self._play)

    def run(self, cases: Iterable[Case]) -> list[Result]:
        """Run cases side by side."""
        self._side_by_side(cases, lambda lane, case: self.results.append(self._survive(lane, case)))
        return self.results

    def unpassed(self) -> list[Point]:
        """Return the points of the code that no scenario passes."""
        seen = {name for passed in self.passed.values() for name, _ in passed}
        return [point for name, point in points().items() if name not in seen | UNPASSED.keys()]

    def every(self) -> list[Case]:
        """Return a case for each scenario's first, middle and last passage of each point."""
        return [
            Case(scenario, point, when, passage)
            for scenario in SCENARIOS
            for (point, when), count in sorted(self.passed[scenario.name].items())
            for passage in sorted({1, (count + 1) // 2, count})
        ]

    def once(self, chance: random.Random) -> list[Case]:
        """Return one case for each point; where and whether before or after it is left to chance."""
        cases: dict[str, list[Case]] = defaultdict(list)
        for case in self.every():
            cases[case.point].append(case)
        return [chance.choice(found) for _, found in sorted(cases.items())]

    # --- one after the other ---------------------------------------------------------------------------

    def _side_by_side(self, items, work) -> None:
        waiting = Queue(items=items)
        failed: list[Exception] = []

        def busy(lane: Lane) -> None:
            while True:
                try:
                    item = waiting.get_nowait()
                except Empty:
                    return
                try:
                    work(lane, item)
                except Exception as error:  # noqa: BLE001 - raised below, when the others are done
                    error.add_note(str(item))
                    failed.append(error)

        gevent.joinall([gevent.spawn(busy, lane) for lane in self.lanes])
        if failed:
            raise ExceptionGroup("not all could be done", failed)

    def _play(self, lane: Lane, scenario: Scenario) -> None:
        with self._stage(lane, scenario, f"survey-{SCENARIOS.index(scenario)}") as stage:
            trace = stage.folder / "trace"
            stage.start(scenario.command, trace=str(trace))
            ended = _live(stage, scenario)
            assert ended == 0, f"{scenario.name}: ended with {ended}"
            counted = Counter(tuple(line.rsplit(" ", 1)) for line in trace.read_text().splitlines())
            self.passed[scenario.name] = counted  # type: ignore[assignment]
            faults, _ = _look(stage, scenario)
            assert not faults, f"{scenario.name}, without a kill: {faults}"

    def _survive(self, lane: Lane, case: Case) -> Result:
        """Run a case; where chance passes a point less often than in the survey, take an earlier passage."""
        passage, reached = case.passage, False
        faults: list[str] = []
        repeated = 0
        for attempt in range(_TRIES):
            with self._stage(lane, case.scenario, f"case-{id(case)}-{attempt}") as stage:
                count = stage.folder / "count"
                try:
                    with gevent.Timeout(CASE_SECONDS, AssertionError(f"took {CASE_SECONDS:g} s")):
                        stage.start(
                            case.scenario.command, kill=[case.point, case.when, passage], count=str(count)
                        )
                        reached = _live(stage, case.scenario) == -signal.SIGKILL
                        if reached:
                            faults, repeated = _look(stage, case.scenario)
                except (AssertionError, OSError, gevent.Timeout) as error:
                    faults = [f"{type(error).__name__}: {error}"]
                if faults:
                    shutil.copytree(stage.folder, self.folder / "failed" / f"{id(case)}", dirs_exist_ok=True)
                if reached or faults:
                    break
                passage = min(passage - 1, count.stat().st_size)
                if passage < 1:
                    break
        if not reached and not faults:
            faults = [f"was not reached: passed {passage} times"]
        return Result(case, tuple(faults), repeated, reached)

    @contextmanager
    def _stage(self, lane: Lane, scenario: Scenario, name: str) -> Iterator[Stage]:
        stage = Stage(self.folder / name, lane, scenario.ahead)
        stage.folder.mkdir()
        self.grounds[scenario.ground].lay(stage)
        stage.configure(dict(scenario.settings), scenario.smtp)
        try:
            yield stage
        finally:
            stage.end()
            shutil.rmtree(stage.folder, ignore_errors=True)


def _live(stage: Stage, scenario: Scenario) -> int:
    """Let a scenario happen and the service stop; return how it ended, be it by the kill."""
    scenario.act(stage)
    if not stage.running.dead:
        stage.settle()
        stage.running.scrape()
    return stage.running.stop(signal.SIGTERM)


def _look(stage: Stage, scenario: Scenario) -> tuple[list[str], int]:
    """Start again an hour later, and return what breaks the promise, and how many mails are repeats."""
    stage.ahead += HOUR
    stage.calm()
    if scenario.command != ("serve",):
        stage.start(scenario.command)
        if stage.running.ended.get(timeout=CASE_SECONDS):
            return [f"cannot be repeated: {(stage.folder / 'log').read_text()}"], 0
    stage.start()
    if stage.running.serving() is None:
        return [f"does not start again: {stage.running.ended.get()}: {(stage.folder / 'log').read_text()}"], 0
    if not stage.heard:
        stage.call(BY_KEY)
    stage.recovered()
    faults, repeated = list(_broken(stage)), _repeated(stage)
    stage.running.stop(signal.SIGKILL)
    return faults, repeated


def _samples(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def _repeated(stage: Stage) -> int:
    mails = Counter((mail.recipient, mail.voicemail) for mail in stage.mails() if mail.samples is not None)
    return sum(count - 1 for count in mails.values())


def _broken(stage: Stage) -> Iterator[str]:
    """Hold what is there against the promise."""
    rows = {
        message: (state, file, removed)
        for message, state, file, removed in stage.query(
            "SELECT message_id, state, recording_file, audio_removed_at FROM voicemails"
        )
    }
    every = stage.mails()
    fates = stage.query("SELECT message_id, recipient, state FROM deliveries")
    told = {(message, recipient) for message, recipient, state in fates if state != "delivered"}
    reported = {mail.voicemail for mail in every if mail.recipient == OPERATOR}
    for message, recipient, state in fates:
        if state not in stage.fates:
            yield f"a delivery is {state}: {message} to {recipient}"
        elif state != "delivered" and message not in reported:
            yield f"nobody told: {message} to {recipient} is {state}"
    mails = [mail for mail in every if mail.samples is not None]
    for message, samples in stage.heard.items():
        state = rows[message][0] if message in rows else "no row"
        if message in stage.too_short and state == "discarded":
            continue
        if state != "kept":
            yield f"lost: {message} is {state}"
        for recipient in RECIPIENTS:
            brought = [mail for mail in mails if (mail.voicemail, mail.recipient) == (message, recipient)]
            if not brought and (message, recipient) not in told:
                yield f"lost: no mail of {message} to {recipient}"
            if any(mail.samples != samples for mail in brought):
                yield f"not what was said: {message} to {recipient}"
        # Of what was recorded again, the row names what is the message.
        path = stage.recordings / (rows[message][1] if message in rows else f"sales.{message}.wav")
        if message in stage.retired:
            if path.exists() or not rows[message][2]:
                yield f"not retired: {message}"
        elif not path.exists() or _samples(path) != samples:
            yield f"audio lost: {path.name}"
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for mail in every:
        named[mail.recipient, mail.voicemail].add(mail.message_id)
    for (recipient, message), ids in named.items():
        # The operator has a report of each delivery that came to nothing.
        most = sum(one == message for one, _ in told) if recipient == OPERATOR else 1
        if len(ids) > most:
            yield f"repeated under another Message-ID: {message} to {recipient}"
    yield from _strange(stage, rows, {mail.voicemail for mail in mails})


def _earlier(owned: set[str]) -> set[str]:
    """Return where what was recorded before a message lies, for as long as that is kept."""
    again = [name.split(".") for name in owned if name.count(".") == 3]
    return {f"{box}.{message}{take}.wav" for box, message, *_ in again for take in ("", ".2", ".3")}


def _strange(stage: Stage, rows: dict[str, tuple[str, str, int | None]], mailed: set[str]) -> Iterator[str]:
    """What is there that nobody said, and what was put aside."""
    for message in mailed - set(stage.heard):
        yield f"mailed, and nobody said it: {message}"
    for message, (state, _, _) in rows.items():
        if state == "kept" and message not in stage.heard:
            yield f"kept, and nobody said it: {message}"
    calls = Counter(call for (call,) in stage.query("SELECT call_id FROM voicemails"))
    yield from (f"{count} voicemails of one call: {call}" for call, count in calls.items() if count > 1)
    for name, content in stage.unreadable.items():
        aside = (stage.folder / "var" / "corrupt").glob(f"{name}*")
        if not any(path.read_bytes() == content for path in aside):
            yield f"not put aside: {name}"
    owned = {file for state, file, removed in rows.values() if state in ("kept", "discarded") and not removed}
    for path in stage.recordings.iterdir():
        if (
            path.name not in owned | _earlier(owned)
            and path.name != ".esl-voicemail"
            and not path.name.startswith(HOMELESS)
        ):
            yield f"left behind: {path.name}"
    yield from (f"half-written: {path}" for path in (stage.folder / "var" / "mail").glob("tmp/*"))
