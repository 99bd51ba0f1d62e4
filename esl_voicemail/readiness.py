"""Whether new calls can be taken, and if not, why: looked up at an interval, answered from memory."""

from gevent.event import Event

from esl_voicemail.clock import Clock
from esl_voicemail.storage import Room, Storage
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

_EVERY_SECONDS = 5.0
# Whose call waits hears ringing, or silence: past this, the dialplan does better.
_SLOWEST_SECONDS = 3.0
_SET_BY_SECONDS = 30.0
_SLOW: str | None = "the recordings folder does not answer"


class Readiness:
    """Watches the storage, once there is one; a scraper or a probe that asks often costs nothing."""

    def __init__(self, workers: Workers, telemetry: Telemetry, clock: Clock) -> None:
        self._workers = workers
        self._storage: Storage | None = None
        self._telemetry = telemetry
        self._clock = clock
        self._looked = clock(), clock.seconds()
        self._stopping = Event()
        self._leaving = False
        self._last: str | None = "starting"

    def starting(self, step: str) -> None:
        """Say which step of the start keeps calls from being taken."""
        self._last = f"starting: {step}"

    def watch(self, storage: Storage) -> None:
        """Look at a storage from now on."""
        self._storage = storage

    def run(self) -> None:
        """Keep looking until `stop`."""
        while True:
            self.look()
            if self._stopping.wait(_EVERY_SECONDS):
                return

    def trouble(self) -> str | None:
        """Return why a call taken now could not be recorded or noted, or None when it can.

        While all is well, what shows without writing is enough: what does not show is found by the next
        look, and from then on each call looks as closely, so that all resumes as soon as it can.
        """
        storage = self._storage
        if storage is None:
            return self._last
        look = storage.trouble if self._last else storage.trouble_in_sight
        return self._workers.run_within(_SLOWEST_SECONDS, look, _SLOW)

    def look(self) -> None:
        """Look now, and say what changed."""
        storage = self._storage
        if storage is None:
            return
        trouble = self._workers.run_within(_SLOWEST_SECONDS, storage.trouble, _SLOW)
        if trouble and trouble != self._last:
            self._telemetry.trouble("not_ready", trouble)
        elif self._last and not trouble:
            self._telemetry.service("ready")
        self._last = trouble
        self._telemetry.ready(not self.reasons())
        self._look_at_the_clock()
        self._workers.run_within(_SLOWEST_SECONDS, storage.reserve.tend, None)
        room = self._workers.run_within(_SLOWEST_SECONDS, storage.room, Room())
        self._telemetry.room(
            recordings_free=room.recordings_free,
            recordings_size=room.recordings_size,
            journal_free=room.journal_free,
            at_least=storage.spool.min_free_bytes,
        )

    def _look_at_the_clock(self) -> None:
        """What is shown in mails is the wall clock's: whoever reads of an odd hour finds here why."""
        now, seconds = self._clock(), self._clock.seconds()
        then, so_far = self._looked
        set_by = (now - then).total_seconds() - (seconds - so_far)
        self._looked = now, seconds
        if abs(set_by) > _SET_BY_SECONDS:
            self._telemetry.service("clock_set", by_seconds=round(set_by))

    def reasons(self) -> list[str]:
        """Return why no calls are taken; none when they are."""
        found = [self._last] if self._last else []
        return [*found, "draining: no new calls are taken"] if self._leaving else found

    def leave(self) -> None:
        """The service is about to end."""
        self._leaving = True
        self._telemetry.ready(False)

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
