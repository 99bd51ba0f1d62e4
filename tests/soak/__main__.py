"""`make soak`: random faults for minutes, then a ledger: who got past the beep has a voicemail and its mails.

Callers hang up, press keys, fall silent; switches die, freeze and babble; the service is killed with SIGKILL
again and again. Loopback only, bounded in time (SOAK_SECONDS) and seeded (SOAK_SEED).
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gevent import monkey

monkey.patch_all()

import gevent

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.service import Service, start, until
from tests.support.speech import tone

SECONDS = min(600.0, float(os.environ.get("SOAK_SECONDS", "120")))
SEED = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(1 << 32))))
RECIPIENTS = ["anna@example.com", "jan@example.com"]
SETTINGS: dict[str, Any] = {"mailboxes": {"default": {"recipients": RECIPIENTS, "silence_seconds": 2}}}
SPEECH = tone(6.0)
CALLERS = 20
# Shorter than this is no message by configuration, and a frame either way must not decide.
LEAST_MS = 1100

_STAGES = [Stage.RINGING, Stage.PAUSE, Stage.BEEP, Stage.RECORDING, Stage.RECORDING, Stage.THANKS]
_MISHAPS = [mishap for mishap in Mishap if mishap not in {Mishap.FREEZE, Mishap.STALL}]


def someone(chance: random.Random) -> TrialCaller:
    """Return a caller who does something, at some time, to whom something may happen."""
    moment = Moment(chance.choice(_STAGES), chance.uniform(0.0, 4.0))
    later = Moment(Stage.RECORDING, chance.uniform(0.0, 5.0))
    return TrialCaller(
        speech=SPEECH,
        then=chance.choice(["hang-up", "stay"]),
        keys=(KeyPress(chance.choice("#1*"), later),) if chance.random() < 0.3 else (),
        hang_up=moment if chance.random() < 0.3 else None,
        fault=Fault(chance.choice(_MISHAPS), moment) if chance.random() < 0.3 else None,
    )


class Soak:
    """The service under fire, and what its callers saw."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.service: Service = start(folder, SETTINGS)
        self.ended: list[TrialOutcome] = []
        self.kills = 0
        self.refused = 0
        self.over = time.monotonic() + SECONDS

    def call(self) -> None:
        """Call again and again until the time is over."""
        while time.monotonic() < self.over:
            try:
                self.ended.append(
                    self.service.call(someone(self.chance), pace=self.chance.choice([5.0, 20.0, 100.0]))
                )
            except OSError:
                self.refused += 1
                gevent.sleep(0.2)

    def kill(self) -> None:
        """Kill the service at random moments, and start it again."""
        while time.monotonic() < self.over:
            gevent.sleep(self.chance.uniform(1.0, 8.0))
            self.service.process.send_signal(signal.SIGKILL)
            self.service.process.wait()
            self.kills += 1
            self.service = start(self.folder, SETTINGS)

    def run(self) -> None:
        """Let all of it happen."""
        gevent.joinall(
            [gevent.spawn(self.kill), *[gevent.spawn(self.call) for _ in range(CALLERS)]], raise_error=True
        )

    def settle(self) -> None:
        """Let recovery see quiet files and the queue run empty."""
        self.service.stop()
        for path in self.service.recordings.glob("*.wav"):
            os.utime(path, (time.time() - 60,) * 2)
        self.service = start(self.folder, SETTINGS)
        waiting = ('voicemail_queue_messages{state="queued"}', 'voicemail_queue_messages{state="sending"}')
        until(lambda: not any(self.service.metric(series) for series in waiting), "the queue runs empty", 120)
        self.service.stop()

    def ledger(self) -> int:
        """Print the account and return how many messages are lost."""
        past = {
            name.split(".")[1]
            for one in self.ended
            if one.recording and one.recorded_ms >= LEAST_MS and (name := Path(one.recording).name)
        }
        mails: Counter[tuple[str, str]] = Counter()
        ids: dict[tuple[str, str], set[str]] = {}
        for path in (self.folder / "var" / "mail" / "new").iterdir():
            head = path.read_bytes().partition(b"\n\n")[0].decode()
            fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
            message_id = fields["Message-ID"].strip("<>")
            key = (message_id.split(".")[0].upper(), fields["Delivered-To"])
            mails[key] += 1
            ids.setdefault(key, set()).add(message_id)
        lost = [one for one in past if any((one, to) not in mails for to in RECIPIENTS)]
        kept = {message for message, _ in mails}
        repeated = sum(count - 1 for count in mails.values())
        renamed = sum(len(found) - 1 for found in ids.values())
        print(f"calls {len(self.ended)}, refused connections {self.refused}, kills {self.kills}, seed {SEED}")
        print(
            f"calls past the beep {len(past)} = voicemails {len(past & kept)} "
            + "".join(f"= mails to {to} {sum((one, to) in mails for one in past)} " for to in RECIPIENTS)
            + f", {len(lost)} lost, {repeated} repeated, {renamed} of them with another Message-ID"
        )
        for one in sorted(lost):
            print(f"lost: {one}")
        if not past:
            print("nobody got past the beep: this proves nothing")
        return len(lost) + renamed + (not past)


def main() -> int:
    """Run the soak; return 1 when anything is lost."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        print(f"{SECONDS:g} seconds, seed {SEED}", flush=True)
        soak = Soak(Path(folder), random.Random(SEED))
        try:
            soak.run()
            soak.settle()
            return 1 if soak.ledger() else 0
        finally:
            soak.service.process.kill()


if __name__ == "__main__":
    sys.exit(main())
