"""`make soak`: random faults for minutes, then a ledger: who got past the beep has a voicemail and its mails.

Callers hang up, press keys, fall silent; switches die and babble; the service and the mail server are killed
again and again; the mail server refuses, hangs up, takes mails without a word; the disk of the recordings
runs full. Loopback only, bounded in time (SOAK_SECONDS, the end included) and seeded (SOAK_SEED).
"""

import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gevent import monkey

monkey.patch_all()

import gevent

from esl_voicemail.cli.progress import shown
from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.editor import RETRY
from esl_voicemail.trial.caller import RATE, Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.soak.ledger import Ledger, Spoken, read_mail, unreadable
from tests.support.service import Service, start, until
from tests.support.small_disk import SmallDisk, way_in

SECONDS = min(600.0, float(os.environ.get("SOAK_SECONDS", "120")))
SEED = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(1 << 32))))
# Said to the process that has mounts of its own.
MOUNTS = "SOAK_MOUNTS"
RECIPIENTS = ["anna@example.com", "jan@example.com"]
CALLERS = 32
FIRING, SETTLING = 0.55 * SECONDS, max(60.0, 0.4 * SECONDS)
_ROOT = Path(__file__).parents[2]
_SAID_EVERY = 15.0

_STAGES = [Stage.RINGING, Stage.PAUSE, Stage.BEEP, Stage.RECORDING, Stage.RECORDING, Stage.THANKS]
_MISHAPS = [mishap for mishap in Mishap if mishap not in {Mishap.FREEZE, Mishap.STALL}]
# Every caller says another part of it, so that no two recordings are alike.
_NOISE = memoryview(random.Random(SEED).randbytes(2 * RATE * 60))


def someone(chance: random.Random) -> tuple[TrialCaller, memoryview]:
    """Return a caller who does something, at some time, to whom something may happen; and what he says."""
    begin, length = chance.randrange(RATE * 50), round(chance.uniform(1.2, 3.0) * RATE)
    speech = _NOISE[2 * begin : 2 * (begin + length)]
    moment = Moment(chance.choice(_STAGES), chance.uniform(0.0, 3.0))
    later = Moment(Stage.RECORDING, chance.uniform(0.0, 4.0))
    caller = TrialCaller(
        speech=bytes(speech),
        then=chance.choice(["hang-up", "stay"]),
        keys=(KeyPress(chance.choice("#1*"), later),) if chance.random() < 0.3 else (),
        hang_up=moment if chance.random() < 0.2 else None,
        fault=Fault(chance.choice(_MISHAPS), moment) if chance.random() < 0.2 else None,
    )
    return caller, speech


class MailServer:
    """A mail server process, always at the same port; killed and started again."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self._chance = chance
        self.port = 0
        self.start()

    def start(self, mood: str = "MOODY") -> None:
        """Start it, FRIENDLY or not."""
        told = [str(self.port), str(self._chance.randrange(1 << 32)), str(self.folder), mood]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.mail_server", *told], cwd=_ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """Kill it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class Soak:
    """The service under fire, and what its callers saw."""

    def __init__(self, folder: Path, chance: random.Random, disk: SmallDisk | None) -> None:
        self.folder, self.chance, self.disk = folder, chance, disk
        self.counts: Counter[str] = Counter()
        self.spoken: dict[str, Spoken] = {}
        self.unwritten: set[str] = set()
        (folder / "taken").mkdir()
        self.mail_server = MailServer(folder / "taken", chance)
        smtp = {"host": "127.0.0.1", "port": self.mail_server.port, "security": "none"}
        self.settings: dict[str, Any] = {
            "mail": {"smtp": smtp, "max_connections": 10},
            "storage": {"min_free_mb": 0},
            # What these callers say is noise.
            "defaults": {"silence_seconds": 2, "min_speech_seconds": 0},
            "mailboxes": {"default": {"recipients": RECIPIENTS}},
        }
        self.service: Service = start(folder, self.settings)
        self.over = time.monotonic() + FIRING

    # --- the fire ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let all of it happen."""
        troubles = [self.kill_service, self.kill_mail_server, self.fill_disk, self.say_how_it_goes]
        everything = [*troubles, *[self.call] * CALLERS]
        gevent.joinall([gevent.spawn(one) for one in everything], raise_error=True)

    def until_over(self, least: float, most: float) -> Iterator[None]:
        """Go on at random moments until the time is over."""
        while (pause := self.chance.uniform(least, most)) < self.over - time.monotonic():
            gevent.sleep(pause)
            yield

    def call(self) -> None:
        """Call again and again."""
        while time.monotonic() < self.over:
            caller, speech = someone(self.chance)
            try:
                ended = self.service.call(caller, pace=self.chance.choice([3.0, 8.0, math.inf]))
            except OSError:
                self.counts["connections refused"] += 1
                gevent.sleep(0.2)
            else:
                self.note(speech, ended)
                gevent.sleep(0.5 if ended.handed_back else 0.0)

    def note(self, speech: memoryview, ended: TrialOutcome) -> None:
        """Write down what the switch knows of a call."""
        self.counts["calls"] += 1
        self.counts["handed back"] += ended.handed_back
        recorded = [argument for name, argument in ended.applications if name == "record"]
        if not recorded:
            return
        message_id = Path(recorded[0].split()[0]).name.split(".")[1]
        if ended.recording is None:
            self.unwritten.add(message_id)
        else:
            self.spoken[message_id] = Spoken(speech, ended.recorded_ms)

    def kill_service(self) -> None:
        """Kill the service at random moments, and start it again."""
        for _ in self.until_over(5.0, 20.0):
            self.service.process.send_signal(signal.SIGKILL)
            self.service.process.wait()
            self.counts["kills of the service"] += 1
            self.start_service()

    def start_service(self) -> None:
        """Start it as a supervisor does: again and again, as it refuses while it could not record."""
        until(self.service_starts, "the service starts", 60)

    def service_starts(self) -> bool:
        """Start it; tell whether it did."""
        try:
            self.service = start(self.folder, self.settings)
        except AssertionError:
            self.counts["starts refused"] += 1
            return False
        return True

    def kill_mail_server(self) -> None:
        """Kill the mail server at random moments, and start it again."""
        for _ in self.until_over(10.0, 25.0):
            self.mail_server.kill()
            self.counts["kills of the mail server"] += 1
            gevent.sleep(self.chance.uniform(0.0, 2.0))
            self.mail_server.start()

    def fill_disk(self) -> None:
        """Leave no room for recordings, for a moment at a time."""
        for _ in self.until_over(4.0, 12.0) if self.disk else ():
            with self.disk.full(but=self.chance.choice([0, 40_000])):
                self.counts["times the disk was full"] += 1
                gevent.sleep(self.chance.uniform(0.5, 2.0))

    def say_how_it_goes(self) -> None:
        """Show a terminal how much of the time has passed; print a line now and then where there is none."""
        if sys.stderr.isatty():
            for _ in shown(range(math.floor(FIRING)), "seconds"):
                gevent.sleep(1.0)
        else:
            for _ in self.until_over(_SAID_EVERY, _SAID_EVERY):
                self.say()

    def say(self) -> None:
        """Print how it stands."""
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        print(f"{self.over - time.monotonic():4.0f} s: {counts}, mails taken {len(self.taken())}", flush=True)

    # --- the end -----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Heal everything; let recovery see quiet files, a person send what waits, the queue run empty."""
        self.say()
        end = time.monotonic() + SETTLING
        self.mail_server.kill()
        self.mail_server.start("FRIENDLY")
        self.service.stop(seconds=60)
        for path in self.service.recordings.glob("*.wav"):
            os.utime(path, (time.time() - 60,) * 2)
        self.send_at_once()
        self.start_service()
        with suppress(AssertionError):  # The ledger says what is stuck.
            until(lambda: not self.unsettled(), "the queue runs empty", max(10.0, end - time.monotonic()))
        self.service.stop(seconds=60)

    def send_at_once(self) -> None:
        """Do as a person would with `messages retry`: some wait for minutes, some crashed us too often."""
        waiting = "SELECT DISTINCT message_id FROM deliveries WHERE state IN ('queued', 'held')"
        self.counts["mails held"] = list(self.unsettled().values()).count("held")
        with JournalEditor(self.folder / "var", self.service.recordings) as journal:
            for (message_id,) in self.journal(waiting):
                journal.change(message_id, RETRY, datetime.now(UTC))

    def journal(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the journal, past the program."""
        with closing(sqlite3.connect(f"file:{self.folder}/var/journal.sqlite?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def unsettled(self) -> dict[tuple[str, str], str]:
        """Return the states of the mails that are not delivered, by message and recipient."""
        rows = self.journal("SELECT message_id, recipient, state FROM deliveries WHERE state != 'delivered'")
        return {(message_id, recipient): state for message_id, recipient, state in rows}

    def taken(self) -> list[Path]:
        """Return the mails that the server took."""
        return [path for path in self.mail_server.folder.iterdir() if not path.name.startswith(".")]

    def account(self) -> bool:
        """Print the ledger and return whether it adds up."""
        ledger = Ledger(RECIPIENTS, self.spoken, self.unwritten)
        for path in self.taken():
            recipient, _, content = path.read_bytes().partition(b"\n")
            ledger.enter(read_mail(recipient.decode(), content))
        kept = [row[0] for row in self.journal("SELECT message_id FROM voicemails WHERE state = 'kept'")]
        faults = [
            *ledger.faults(kept, self.unsettled()),
            *unreadable(self.service.log, self.counts["starts refused"]),
        ]
        print("; ".join(f"{name} {count}" for name, count in self.counts.items()) + f"; seed {SEED}")
        for line in [*ledger.balance(kept, faults), *faults[:50]]:
            print(line)
        return not faults


def _in_a_process_that_may_mount(why_not: Callable[[str], None]) -> bool:
    """Become one, if the system lets us; tell whether we are."""
    if MOUNTS in os.environ:
        return True
    way, said = way_in()
    if way:
        os.execvpe(way[0], [*way, sys.executable, "-m", "tests.soak"], {**os.environ, MOUNTS: "1"})
    why_not(f"without a disk that runs full: {said}")
    return False


def main() -> int:
    """Run the soak; return 1 when anything is lost, renamed, wrong or stuck."""
    mounts = _in_a_process_that_may_mount(print)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"{SECONDS:g} seconds, seed {SEED}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    disk = SmallDisk.mounted(folder / "var" / "recordings", 64 + round(SECONDS)) if mounts else None
    soak = Soak(folder, random.Random(SEED), disk)
    try:
        soak.run()
        soak.settle()
        right = soak.account()
    finally:
        soak.service.process.kill()
        soak.mail_server.process.kill()
    if not right:
        print(f"see {folder}: the log, the journal, the mails taken")
        return 1
    if disk:
        disk.unmount()
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
