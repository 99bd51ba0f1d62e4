"""How late the event loop comes to what is due, measured by who sleeps and looks when he is woken.

Whatever holds the loop, a codec that missed its thread or a processor that is not ours, makes it late.
"""

import time

from gevent.event import Event

from esl_voicemail.telemetry import Telemetry

_EVERY_SECONDS = 0.2


class Pulse:
    """Measures until told to stop; what it costs is five wake-ups a second."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._stopping = Event()

    def run(self) -> None:
        """Keep measuring until `stop`."""
        due = time.monotonic() + _EVERY_SECONDS
        while not self._stopping.wait(_EVERY_SECONDS):
            now = time.monotonic()
            self._telemetry.late(max(0.0, now - due))
            due = now + _EVERY_SECONDS

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
