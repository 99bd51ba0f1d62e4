"""One case's stage: its folder, a launcher that starts the service there, and a server for its mails."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import gevent
import yaml
from gevent.event import AsyncResult
from gevent.queue import Queue

from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.switch import place_call
from tests.support.service import parse_logfmt, settled, until
from tests.support.smtp import Accepted, ScriptedSmtp, scripted_smtp
from tests.support.speech import attached

RECIPIENTS = ("anna@example.com", "jan@example.com")
OPERATOR = "operator@example.com"
HOUR = 3600
HOMELESS = "gone."  # how the name of a recording begins whose mailbox is gone
USER, PASSWORD = "vm", "geheim"
SERVING_SECONDS = 20.0
SETTLED_SECONDS = 30.0

_ROOT = Path(__file__).parents[2]
_UNSETTLED = """
    SELECT (SELECT count(*) FROM deliveries WHERE state = 'sending' OR (state = 'queued' AND due_at <= ?)),
           (SELECT count(*) FROM deliveries WHERE state IN ('sending', 'queued')),
           (SELECT count(*) FROM voicemails WHERE state = 'open')
"""


class Lane:
    """A launcher and SMTP servers of its own: what one case at a time needs."""

    def __init__(self) -> None:
        self._left = ExitStack()
        self._servers: dict[tuple[str, str], ScriptedSmtp] = {}
        self._launcher = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.launch"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: Queue[int] = Queue()
        self._ends: dict[int, AsyncResult[int]] = {}
        self._reader = gevent.spawn(self._read)

    def start(self, folder: Path, **order: Any) -> "Running":
        """Start the service in a folder."""
        (folder / "var" / "serve.json").unlink(missing_ok=True)
        assert self._launcher.stdin
        self._launcher.stdin.write(json.dumps({"folder": str(folder), **order}) + "\n")
        self._launcher.stdin.flush()
        pid = self._started.get(timeout=SERVING_SECONDS)
        return Running(folder, pid, self._ends[pid])

    def smtp(self, security: str, mechanism: str) -> ScriptedSmtp:
        """Return this lane's server of a kind, afresh."""
        kind = (security, mechanism)
        if kind not in self._servers:
            login = {"user": USER, "password": PASSWORD} if mechanism else {}
            server = scripted_smtp(security=security, mechanisms=(mechanism,), **login)  # type: ignore[arg-type]
            self._servers[kind] = self._left.enter_context(server)
        self._servers[kind].forget()
        return self._servers[kind]

    def close(self) -> None:
        """End what was started."""
        self._left.close()
        assert self._launcher.stdin
        self._launcher.stdin.close()
        self._launcher.wait(10)
        self._reader.join()
        assert self._launcher.stdout
        self._launcher.stdout.close()

    def _read(self) -> None:
        assert self._launcher.stdout
        for line in self._launcher.stdout:
            said = json.loads(line)
            if "started" in said:
                # The number may have been another's before.
                self._ends[said["started"]] = AsyncResult()
                self._started.put(said["started"])
            elif "ended" in said:
                self._ends[said["ended"]].set(said["status"])


@dataclass
class Running:
    """A service that was started, and may be dead."""

    folder: Path
    pid: int
    ended: "AsyncResult[int]"

    @property
    def dead(self) -> bool:
        """Whether its process has ended."""
        return self.ended.ready()

    def serving(self) -> dict[str, Any] | None:
        """Wait until it listens, and return what it says of itself; None when it has ended."""
        state = self.folder / "var" / "serve.json"

        def said() -> dict[str, Any] | None:
            try:
                return dict(json.loads(state.read_text()))
            except FileNotFoundError:
                return None

        until(lambda: self.dead or said(), "the service listens", SERVING_SECONDS)
        return said()

    def scrape(self) -> None:
        """Ask for its metrics, as Prometheus would."""
        said = self.serving()
        try:
            if said:
                urllib.request.urlopen(f"http://{said['http']}/metrics", timeout=10).close()
        except OSError:
            self.ended.get(timeout=SERVING_SECONDS)

    def stop(self, number: int) -> int:
        """Signal it, unless it is dead, and return how it ended."""
        if not self.dead:
            with suppress(ProcessLookupError):  # it was just about to end by itself
                os.kill(self.pid, number)
        return int(self.ended.get(timeout=SERVING_SECONDS))


@dataclass(frozen=True)
class Mail:
    """A mail as its reader has it: for whom, its Message-ID, and its audio, if it brings any."""

    recipient: str
    message_id: str
    samples: bytes | None

    @property
    def voicemail(self) -> str:
        """The message it brings."""
        return self.message_id.strip("<>").partition(".")[0].upper()


@dataclass
class Stage:
    """A case while it runs: what was done, and what must have come of it in the end."""

    folder: Path
    lane: Lane
    ahead: int = 0
    server: ScriptedSmtp | None = None
    running: Running = field(init=False)
    heard: dict[str, bytes] = field(default_factory=dict)
    """What was said past the beep, by message: to be mailed."""
    too_short: set[str] = field(default_factory=set)
    """Messages that may be mailed, and may be none."""
    unreadable: dict[str, bytes] = field(default_factory=dict)
    """What lay in a recording's place and is no audio, by the file's name: to be put aside."""
    retired: set[str] = field(default_factory=set)
    """Messages whose audio is to go, as its time is over."""
    fates: set[str] = field(default_factory=lambda: {"delivered"})
    """What may become of a delivery; of any but the first the operator is to be told."""
    lent: ExitStack = field(default_factory=ExitStack)
    """What is given back after the case."""
    _lives: list[Running] = field(default_factory=list)
    _taken: list[Accepted] = field(default_factory=list)
    _placed: int = 0
    _told_before: int = 0

    @property
    def recordings(self) -> Path:
        """Where the switch records."""
        return self.folder / "var" / "recordings"

    def configure(self, settings: dict[str, Any], smtp: tuple[str, str] | None) -> None:
        """Write the configuration; `smtp` is security and the way to log in."""
        boxes = {"sales": {"recipients": list(RECIPIENTS), "silence_seconds": 2}}
        settings = settled({"mailboxes": boxes, **settings})
        mail: dict[str, Any] = {"operator": OPERATOR}
        if smtp:
            self.server = self.lane.smtp(*smtp)
            way = {"host": "127.0.0.1", "port": self.server.port, "security": smtp[0]}
            if smtp[0] != "none":
                way["ca_file"] = str(self.server.ca_file)
            if smtp[1]:
                (self.folder / "password").write_text(PASSWORD)
                way |= {"username": USER, "password_file": "password"}
            mail["smtp"] = way
        settings["mail"] = mail
        (self.folder / "voicemail.yaml").write_text(yaml.safe_dump(settings))

    def start(self, command: Sequence[str] = ("serve",), **order: Any) -> None:
        """Start the service, or another command."""
        self._placed, self._told_before = 0, self._calls_told()
        self.running = self.lane.start(self.folder, command=command, ahead=self.ahead, **order)
        self._lives.append(self.running)

    def end(self) -> None:
        """Leave nothing running, and give back what was lent."""
        for life in self._lives:
            life.stop(signal.SIGKILL)
        self.lent.close()

    def call(self, caller: TrialCaller, *, pace: float = float("inf"), mailbox: str = "sales") -> None:
        """Place a call and note what has to come of it; a service that is dead takes none."""
        said = self.running.serving()
        if said is None:
            return
        host, _, port = said["listen"].rpartition(":")
        variables = {"voicemail_mailbox": mailbox, "socket_resume": "true"}
        try:
            outcome = place_call(
                (host, int(port)),
                caller,
                variables=variables,
                pace=pace,
                patience_seconds=2,
                limit_seconds=SETTLED_SECONDS,
            )
        except OSError:
            if not self.running.ended.wait(SERVING_SECONDS):
                raise
            return
        self._placed += 1
        if outcome.recording and outcome.recorded_ms:
            message = Path(outcome.recording).name.split(".")[1]
            self.heard[message] = caller.heard(0, outcome.recorded_ms * 8)

    def settle(self) -> None:
        """Wait until calls and mails are through, as far as they are due, or the service is dead."""
        told = self._told_before + self._placed

        def through() -> bool:
            return self.running.dead or (self._calls_told() >= told and self._idle())

        try:
            until(through, "calls and mails are through", SETTLED_SECONDS)
        except AssertionError as error:
            deliveries = self.query("SELECT recipient, state, due_at, reply FROM deliveries")
            log = (self.folder / "log").read_text()
            raise AssertionError(f"{error}; {told} calls, deliveries: {deliveries}\n{log}") from None

    def recovered(self) -> None:
        """Wait until nothing is open or queued any more."""
        rows = [0]

        def nothing_left() -> bool:
            rows[:] = self.query(_UNSETTLED, 0)[0][1:]
            return not any(rows)

        try:
            until(nothing_left, "nothing is open or queued", SETTLED_SECONDS)
        except AssertionError:
            raise AssertionError(f"stuck: {rows[0]} deliveries, {rows[1]} open calls") from None

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the journal, while the service runs."""
        with closing(sqlite3.connect(self.folder / "var" / "journal.sqlite", timeout=5)) as db:
            return db.execute(statement, values).fetchall()

    def calm(self) -> None:
        """Let the mail server take everything from now on."""
        if self.server:
            self._taken += self.server.accepted
            self.server.forget()

    def mails(self) -> list[Mail]:
        """Return every mail that has come, wherever this stage's mails go."""
        if self.server:
            taken = [*self._taken, *self.server.accepted]
            return [_mail(one.content, one.recipient) for one in taken]
        return [_mail(path.read_bytes()) for path in sorted((self.folder / "var" / "mail" / "new").iterdir())]

    def lines(self, event: str) -> list[dict[str, str]]:
        """Return the log's lines of one event, but for a last one cut short."""
        log = self.folder / "log"
        if not log.exists():
            return []
        whole = log.read_text().rpartition("\n")[0].splitlines()
        said = (parse_logfmt(line) for line in whole if line.startswith("ts="))
        return [line for line in said if line.get("event") == event]

    def _calls_told(self) -> int:
        return len(self.lines("call"))

    def _idle(self) -> bool:
        now = round((time.time() + self.ahead) * 1000)
        return not self.query(_UNSETTLED, now)[0][0]


def _mail(content: bytes, recipient: str = "") -> Mail:
    mail = message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    brings_audio = any(part.get_content_maintype() == "audio" for part in mail.iter_attachments())
    return Mail(
        recipient or mail["Delivered-To"], mail["Message-ID"], attached(mail) if brings_audio else None
    )


Act = Callable[[Stage], None]
