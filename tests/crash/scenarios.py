"""What a service goes through and is killed in: whole calls, mishaps, leftovers of crashes, a drain."""

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from ulid import ULID

from esl_voicemail.journal.engine import FILE
from esl_voicemail.journal.picking import CRASHES_AT_MOST
from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, TrialCaller
from esl_voicemail.trial.caller import Stage as Part
from tests.crash.stage import HOMELESS, HOUR, RECIPIENTS, Act, Stage
from tests.support.service import until
from tests.support.speech import save, tone

SPEECH = tone(2.0)
DAY = 24 * HOUR
GARBAGE = b"this is no audio"

BY_KEY = TrialCaller(speech=SPEECH, then="stay", keys=(KeyPress("#", Moment(Part.RECORDING, 1.5)),))
BY_HANG_UP = TrialCaller(speech=SPEECH)
SWITCH_GONE = TrialCaller(speech=SPEECH, fault=Fault(Mishap.VANISH, Moment(Part.RECORDING, 1.5)))
SILENT = TrialCaller(speech=SPEECH, hang_up=Moment(Part.GREETING, 0.1))
MUTE = TrialCaller(speech=SPEECH, rtp=False)
SHORT = TrialCaller(speech=tone(0.5))
# Leaves a number, and having listened records what he said again.
TYPING = TrialCaller(
    number="",
    name="",
    withheld=True,
    speech=SPEECH,
    keys=(
        *(KeyPress(digit, Moment(Part.MENU, 0.5 + n / 4)) for n, digit in enumerate("601234567#")),
        KeyPress("#", Moment(Part.RECORDING, 1.5)),
        *(KeyPress(digit, Moment(Part.MENU, 3.5 + n)) for n, digit in enumerate("23")),
    ),
)
ASKING = {"mailboxes": {"sales": {"recipients": list(RECIPIENTS), "ask_number": True, "review": True}}}
WRITTEN_DOWN = {
    "transcribers": {"echo": {"command": ["echo", "words"]}},
    "mailboxes": {"sales": {"recipients": list(RECIPIENTS), "transcriber": "echo"}},
}

# Recordings are carried, not renamed, to another file system; most machines have this one.
_SHARED_MEMORY = Path("/dev/shm")
ANOTHER_DISK = (
    _SHARED_MEMORY.is_dir()
    and os.access(_SHARED_MEMORY, os.W_OK)
    and _SHARED_MEMORY.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
)

# Where leftovers are made.
_BEFORE_KEEP = ["session:Session._keep:journal.keep", "before", 1]
_ADMITTED = ["session:Session._keep:spool.admit", "after", 1]
_BEGUN = ["session:Session._begin:journal.begin", "after", 1]
_ACCEPTED = ["mail.transport:MaildirTransport.send:maildir.store", "after", 1]


@dataclass(frozen=True)
class Scenario:
    """A name, what is done, and what it is done to; `ground` names the folder it begins with.

    `command` is what is killed; one that is no service is given again after the kill, as a person would.
    """

    name: str
    act: Act
    settings: Mapping[str, Any] = field(default_factory=dict)
    smtp: tuple[str, str] | None = None
    ground: str = "used"
    ahead: int = 0
    command: tuple[str, ...] = ("serve",)


@dataclass(frozen=True)
class Garbled(TrialCaller):
    """A caller of whom the switch writes something that is no audio."""

    recordings: Path = Path()

    def heard(self, start: int, end: int) -> bytes:
        for path in self.recordings.glob("*.wav"):
            path.unlink()
            path.write_bytes(GARBAGE)
        return super().heard(start, end)


def _call(caller: TrialCaller, *, mailbox: str = "sales") -> Act:
    return lambda stage: stage.call(caller, mailbox=mailbox)


def _garbled(stage: Stage) -> None:
    stage.call(Garbled(speech=SPEECH, recordings=stage.recordings))
    for message in list(stage.heard):
        del stage.heard[message]
        stage.unreadable[f"sales.{message}.wav"] = GARBAGE


def _garbled_elsewhere(stage: Stage) -> None:
    corrupt = stage.folder / "var" / "corrupt"
    corrupt.symlink_to(stage.lent.enter_context(tempfile.TemporaryDirectory(dir=_SHARED_MEMORY)))
    _garbled(stage)


def _too_short(stage: Stage) -> None:
    stage.call(SHORT)
    stage.too_short.update(stage.heard)


def _greylisted(stage: Stage) -> None:
    assert stage.server
    stage.server.say("EHLO", "502 5.5.1 what is that?")
    stage.server.say("RCPT", "450 4.2.0 come again", times=1)
    stage.call(BY_KEY)


def _refused(stage: Stage) -> None:
    assert stage.server
    stage.server.say("RCPT", "550 5.1.1 nobody of that name", recipient=RECIPIENTS[1])
    stage.server.say("NOBODY", "354 go on", times=1)
    stage.fates.add("bounced")
    stage.call(BY_KEY)


def _crashing(stage: Stage) -> None:
    stage.fates.add("held")
    stage.running.serving()


def _maildir_gone(stage: Stage) -> None:
    if stage.running.serving():
        shutil.rmtree(stage.folder / "var" / "mail")
    stage.call(BY_HANG_UP)


def _crowded(stage: Stage) -> None:
    """One call is there already, and says nothing; the next is handed back."""
    said = stage.running.serving()
    if said is None:
        return
    host, _, port = said["listen"].rpartition(":")
    try:
        with socket.create_connection((host, int(port))) as first:
            until(lambda: stage.running.dead or first.recv(100), "the first call is taken")
            stage.call(BY_HANG_UP)
            with socket.create_connection((host, int(port))) as second:
                until(lambda: stage.running.dead or second.recv(100), "the second is asked as well")
    except OSError:
        stage.running.ended.get(timeout=10)


def _draining(stage: Stage) -> None:
    """The service is told to stop in the middle of a message; the switch records on."""
    call = gevent.spawn(stage.call, BY_HANG_UP, pace=10.0)
    until(
        lambda: stage.running.dead or call.dead or any(stage.recordings.glob("*.wav")),
        "the switch records",
    )
    stage.running.stop(signal.SIGTERM)
    call.get()


def _nothing(stage: Stage) -> None:
    stage.running.serving()


def _ended(stage: Stage) -> None:
    stage.running.ended.get(timeout=10)


SCENARIOS = (
    Scenario("leftovers", _nothing, ground="leftovers", ahead=HOUR),
    Scenario("retention", _nothing, ground="delivered", ahead=40 * DAY),
    Scenario("first start, Maildir, #", _call(BY_KEY), ground="nothing"),
    Scenario("upgrade", _nothing, ground="older"),
    Scenario("STARTTLS, #", _call(BY_KEY), smtp=("starttls", "PLAIN")),
    Scenario("typing", _call(TYPING), ASKING),
    Scenario("written down", _call(BY_HANG_UP), WRITTEN_DOWN),
    Scenario("TLS, hang-up", _call(BY_HANG_UP), smtp=("tls", "LOGIN")),
    Scenario("HELO, greylisted", _greylisted, smtp=("none", "")),
    Scenario("one refused", _refused, smtp=("none", "")),
    Scenario("crashing", _crashing, ground="crashing", ahead=HOUR),
    Scenario("erasing", _ended, ground="delivered", command=("erase", "--caller", BY_KEY.number)),
    Scenario("Maildir gone", _maildir_gone),
    Scenario("hang-up in the greeting", _call(SILENT)),
    Scenario("no audio", _call(MUTE)),
    Scenario("too short", _too_short),
    Scenario("unreadable", _garbled),
    Scenario("switch gone", _call(SWITCH_GONE)),
    Scenario("no such mailbox", _call(BY_KEY, mailbox="nobody")),
    Scenario("crowded", _crowded, {"switch": {"max_calls": 1}}),
    *([Scenario("corrupt/ on another disk", _garbled_elsewhere)] if ANOTHER_DISK else []),
    Scenario("drain", _draining, {"switch": {"drain_seconds": 0}}),
)


# --- the folders they begin with ----------------------------------------------------------------------


@dataclass
class Ground:
    """A folder as an earlier service left it, and what must come of what lies there."""

    folder: Path
    heard: dict[str, bytes] = field(default_factory=dict)
    unreadable: dict[str, bytes] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)

    def lay(self, stage: Stage) -> None:
        """Give a stage a copy."""
        shutil.copytree(self.folder, stage.folder, dirs_exist_ok=True)
        stage.heard |= self.heard
        stage.unreadable |= self.unreadable
        stage.retired |= self.retired


def grounds(stage: Stage) -> dict[str, Ground]:
    """Make them all, by serving and killing; an hour ago, so that nothing is quiet yet."""
    root = stage.folder
    nothing = root / "nothing"
    nothing.mkdir(parents=True)
    stage.folder = root / "work"
    stage.folder.mkdir()
    stage.ahead = -HOUR
    stage.configure({}, None)

    def begin_with(ground: Ground) -> None:
        shutil.rmtree(stage.folder)
        stage.heard, stage.unreadable = {}, {}
        ground.lay(stage)

    def lives(caller: TrialCaller | None, kill: list[Any] | None = None) -> str:
        """Serve one call, to the end or to a kill; return its message."""
        stage.start(kill=kill, count=str(root / "passages"))
        before = set(stage.heard)
        if caller:
            stage.call(caller)
        if kill:
            ended = stage.running.ended.get(timeout=10)
            assert ended == -signal.SIGKILL, f"{kill} was not reached: {ended}"
        else:
            stage.running.serving()
            stage.settle()
            assert stage.running.stop(signal.SIGTERM) == 0
        return next(iter(set(stage.heard) - before), "")

    def kept(name: str) -> Ground:
        shutil.copytree(stage.folder, root / name)
        return Ground(root / name, dict(stage.heard), dict(stage.unreadable))

    lives(None)
    found = {"nothing": Ground(nothing), "used": kept("used")}
    lives(BY_KEY)
    found["delivered"] = kept("delivered")
    found["delivered"].retired |= set(stage.heard)
    lives(BY_KEY, _BEFORE_KEEP)
    lives(MUTE, _ADMITTED)
    lives(SILENT, _BEGUN)
    message = lives(BY_HANG_UP, _BEFORE_KEEP)
    del stage.heard[message]
    lives(SWITCH_GONE)
    # Of a mailbox that is gone: it waits for that to come back.
    save(stage.recordings / f"{HOMELESS}{ULID()}.wav", SPEECH)
    nameless = (f"sales.{message}.wav", f"sales.{ULID()}.wav")
    for name, content in zip(nameless, (GARBAGE, b"RIFF"), strict=True):
        (stage.recordings / name).write_bytes(content)
        stage.unreadable[name] = content
    orphan = str(ULID())
    save(stage.recordings / f"sales.{orphan}.wav", SPEECH)
    stage.heard[orphan] = SPEECH
    lives(BY_HANG_UP, _ACCEPTED)
    # A mail that was being written.
    (stage.folder / "var" / "mail" / "tmp" / f"1767225600.M042137P4711R{'0' * 16}.host").write_bytes(b"Subj")
    for path in stage.recordings.glob("*.wav"):
        os.utime(path, (path.stat().st_mtime - HOUR,) * 2)
    found["leftovers"] = kept("leftovers")
    assert len(found["leftovers"].heard) == 5

    begin_with(found["used"])
    lives(BY_KEY, _ACCEPTED)
    for _ in range(CRASHES_AT_MOST - 1):
        lives(None, _ACCEPTED)
    found["crashing"] = kept("crashing")
    found["older"] = older(root / "older")
    return found


def older(folder: Path) -> Ground:
    """Return what a first version left when it was stopped: a message that waits for both recipients."""
    message = "01KABCDEFGHJKMNPQRSTVWXY03"
    recordings = folder / "var" / "recordings"
    recordings.mkdir(parents=True)
    audio = save(recordings / f"sales.{message}.wav", SPEECH).read_bytes()
    with closing(sqlite3.connect(folder / "var" / FILE)) as db, db:
        db.executescript((Path(__file__).parents[1] / "journals" / "v0001.sql").read_text())
        db.execute("DELETE FROM attempts")
        for table in ("deliveries", "voicemails"):
            db.execute(f"DELETE FROM {table} WHERE message_id != ?", (message,))
        db.execute("UPDATE voicemails SET sha256 = ?", (sha256(audio).hexdigest(),))
        # It came a minute ago, whenever that is.
        db.execute(
            "UPDATE deliveries SET queued_at = :at, due_at = :at", {"at": int(time.time() - 60) * 1000}
        )
    return Ground(folder, {message: SPEECH})
