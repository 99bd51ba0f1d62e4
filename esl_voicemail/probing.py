"""The probe at an interval: `esl-voicemail probe` as a process of its own, and what came of it to telemetry.

A process, as a switch that waits, a disk that hangs or a codec at work there must not hold up a call here.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import gevent
from gevent.event import Event

from esl_voicemail import program
from esl_voicemail.config import Config, Mailbox
from esl_voicemail.errors import ProgramError
from esl_voicemail.model import PROBE, ProbeStage
from esl_voicemail.telemetry import Telemetry

# The service has just come up.
_FIRST_SECONDS = 5.0
# Beyond its own limit: for Python to start, and for what it is about to say.
_MORE_SECONDS = 30.0


class Probing:
    """Places a probe every so often until it is stopped; nothing where none is configured."""

    def __init__(
        self, config: Config, path: Path | None, mailboxes: Mapping[str, Mailbox], telemetry: Telemetry
    ) -> None:
        self._probe = config.probe
        self._command = [sys.executable, "-P", "-m", "esl_voicemail", "probe", "--json"]
        if path is not None:
            self._command += ["--config", str(path.absolute())]
        self._mailboxes = mailboxes
        self._telemetry = telemetry
        self._stopping = Event()
        self._under_way: gevent.Greenlet[..., None] | None = None
        self.expect()

    def expect(self) -> bool:
        """Tell, and let telemetry say, whether probes are made; a reload may take their mailbox away."""
        if self._probe is None or PROBE not in self._mailboxes:
            self._telemetry.expect_probes(None)
            return False
        # One that takes longer than the interval is waited for.
        longest = self._probe.limit_seconds + _MORE_SECONDS
        self._telemetry.expect_probes(max(60.0 * self._probe.every_minutes, longest))
        return True

    def run(self) -> None:
        """Probe until `stop`."""
        if self._probe is None:
            self._stopping.wait()
            return
        pause = _FIRST_SECONDS
        while not self._stopping.wait(pause):
            began = time.monotonic()
            if self.expect():
                self._under_way = gevent.spawn(self._run_once, self._probe.limit_seconds + _MORE_SECONDS)
                self._under_way.join()
            pause = max(0.0, 60.0 * self._probe.every_minutes - (time.monotonic() - began))

    def stop(self) -> None:
        """End `run`, and a probe that is under way: what it would find is the service's end."""
        self._stopping.set()
        if self._under_way:
            self._under_way.kill(block=False)

    def _run_once(self, seconds: float) -> None:
        began = time.monotonic()
        try:
            printed = program.run(self._command, Path.cwd(), seconds)
            why = "it printed nothing of use"
        except ProgramError as error:
            printed, why = error.output, str(error)
        try:
            said = json.loads(printed)
            failed_at = said["failed_at"] and ProbeStage(said["failed_at"])
            told = failed_at, int(said["duration_ms"]), str(said["why"])
            self._telemetry.probed(*told, call=str(said["call_id"]), message=str(said["message_id"]))
        except (ValueError, KeyError, TypeError):
            spent_ms = round((time.monotonic() - began) * 1000)
            self._telemetry.probed(ProbeStage.START, spent_ms, why)
