"""`make bench`: what a call costs the service, one JSON line a case.

The service is a process of its own; the callers are in this one, so its processor time is the service's
alone. Compare cases within one run: machines differ and are noisy.
"""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gevent import monkey

monkey.patch_all()

from gevent.pool import Pool

from esl_voicemail.cli.progress import shown
from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, running, until
from tests.support.speech import tone

CALLS = 400
AT_ONCE = 50
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(name: str, attachment: str, seconds: float) -> dict[str, Any]:
    """Place the calls, wait for the mails, and return what it took."""
    mailbox = {"recipients": ["bench@example.com"], "attachment": attachment}
    settings = {"mailboxes": {"default": mailbox}}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), settings) as service:
        return {"case": name, "calls": CALLS, "message_seconds": seconds, **_calls(service, seconds)}


def _calls(service: Service, seconds: float) -> dict[str, Any]:
    caller = TrialCaller(speech=tone(seconds))
    service.call(caller, pace=math.inf)
    until(lambda: _delivered(service) == 1, "the first mail")
    before, began = cpu_seconds(service.process.pid), time.monotonic()
    placed = Pool(AT_ONCE).imap_unordered(lambda _: service.call(caller, pace=math.inf), range(CALLS))
    ended = list(shown(placed, "calls", CALLS))
    called = time.monotonic()
    until(lambda: _delivered(service) == CALLS + 1, "all mails", 300)
    done = time.monotonic()
    return {
        "cpu_seconds_per_1000_calls": round((cpu_seconds(service.process.pid) - before) * 1000 / CALLS, 2),
        "calls_per_second": round(CALLS / (called - began), 1),
        "mails_per_second": round(CALLS / (done - began), 1),
        "event_bytes_per_call": round(sum(one.events_bytes for one in ended) / CALLS),
    }


def _delivered(service: Service) -> int:
    return int(service.metric('voicemail_delivery_attempts_total{result="delivered",smtp_class="2xx"}'))


def cases() -> Iterator[dict[str, Any]]:
    """Run each case and yield its figures."""
    yield measure("wav into the Maildir", "wav", 8.6)
    yield measure("mp3 into the Maildir", "mp3", 8.6)


if __name__ == "__main__":
    for case in cases():
        print(json.dumps(case), flush=True)
    sys.exit(0)
