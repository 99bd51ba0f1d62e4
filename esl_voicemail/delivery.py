"""The runner that brings kept messages to their recipients: claim what is due, compose, send, mark.

Knows when, not how: the journal leases and records, `mail` builds and sends, `backoff` spaces the tries.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import gevent
from gevent.event import Event
from gevent.pool import Pool

from esl_voicemail.backoff import Schedule, next_try
from esl_voicemail.errors import ComposeError, JournalError, RecordingError
from esl_voicemail.journal import Journal
from esl_voicemail.mail.composer import Composer
from esl_voicemail.mail.transport import Transport
from esl_voicemail.model import Attempt, Deferred, Envelope, Expired, Held, Verdict, one_line
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers

# Longer than the timeouts of one SMTP transaction can add up to (RFC 5321 section 4.5.3.2).
LEASE = timedelta(minutes=60)
_ATTEMPT_SECONDS = 55 * 60
_LOOK_AGAIN_SECONDS = 30.0
_LAST_SECONDS = 5.0
_MARK_PAUSES_SECONDS = (0.0, 1.0, 5.0, 15.0, 60.0)


class Delivery:
    """Claims due deliveries and sends them, a bounded number at a time."""

    def __init__(
        self,
        journal: Journal,
        composer: Composer,
        transport: Transport,
        workers: Workers,
        telemetry: Telemetry,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        schedule: Schedule,
        max_connections: int,
    ) -> None:
        self._journal = journal
        self._composer = composer
        self._transport = transport
        self._workers = workers
        self._telemetry = telemetry
        self._clock = clock
        self._jitter = jitter
        self._schedule = schedule
        self._pool = Pool(max_connections)
        self._woken = Event()
        self._ended = Event()
        self._stop_asked = Event()

    def wake(self) -> None:
        """Look at once whether something is due."""
        self._woken.set()

    def run(self) -> None:
        """Deliver until `stop`; only a fault of our own ends it otherwise."""
        try:
            self._run()
        finally:
            self._ended.set()

    def _run(self) -> None:
        """Claim and send; after `stop` once more, for the message of the last call."""
        while True:
            last = self._stop_asked.is_set()
            self._woken.clear()
            try:
                claimed = self._journal.claim(self._pool.free_count(), self._clock(), LEASE)
                pause = 0.0 if claimed else self._pause()
            except JournalError as error:
                self._telemetry.trouble("journal_refused", str(error))
                claimed, pause = [], _LOOK_AGAIN_SECONDS
            for attempt in claimed:
                self._pool.spawn(self._attempt, attempt)
            if last:
                return
            if self._pool.full():
                self._pool.wait_available()
            elif not claimed:
                self._woken.wait(pause)

    def stop(self, seconds: float) -> bool:
        """Claim once more, let the current mails finish within a limit; tell whether they did.

        What has not finished is cut off and tried again by the next server.
        """
        self._stop_asked.set()
        self._woken.set()
        with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
            # First the runner: what it has just claimed is in the pool then.
            self._ended.wait()
            self._pool.join()
        finished = not len(self._pool)
        self._pool.kill(timeout=_LAST_SECONDS)
        return finished

    def _pause(self) -> float:
        due = self._journal.next_due()
        if due is None:
            return _LOOK_AGAIN_SECONDS
        return min(_LOOK_AGAIN_SECONDS, max(0.05, (due - self._clock()).total_seconds()))

    def _attempt(self, attempt: Attempt) -> None:
        started = time.monotonic()
        try:
            with gevent.Timeout(_ATTEMPT_SECONDS):
                verdict = self._send(attempt)
        except gevent.Timeout:
            verdict = Deferred(None, "gave up waiting for the mail server")
        except gevent.GreenletExit:
            verdict = Deferred(None, "the service stopped while sending")
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must not be stuck in `sending`
            self._telemetry.crashed("delivery_crashed", error, message=attempt.voicemail.message_id)
            verdict = Deferred(None, one_line(f"{type(error).__name__}: {error}", 300))
        now = self._clock()
        due_at: datetime | None = None
        if isinstance(verdict, Deferred):
            due_at = next_try(self._schedule, attempt.queued_at, now, self._jitter())
            if due_at is None:
                verdict = Expired(verdict.code, verdict.reply)
        duration_ms = round((time.monotonic() - started) * 1000)
        self._mark(attempt, verdict, now, duration_ms, due_at)
        self._telemetry.delivery_attempt(attempt, verdict, duration_ms, due_at, now)
        self._woken.set()

    def _send(self, attempt: Attempt) -> Verdict:
        try:
            message = self._workers.run(self._composer.compose, attempt.voicemail, attempt.recipient)
        except (ComposeError, RecordingError) as error:
            return Held(one_line(str(error), 300))
        except OSError as error:
            return Deferred(None, one_line(str(error), 300), ours=True)
        envelope = Envelope(self._composer.sender.address, attempt.recipient)
        if self._transport.blocks_on_disk:
            return self._workers.run(self._transport.send, envelope, message)
        return self._transport.send(envelope, message)

    def _mark(
        self, attempt: Attempt, verdict: Verdict, now: datetime, duration_ms: int, due_at: datetime | None
    ) -> None:
        """Record the verdict, patiently: unrecorded, an accepted mail would be sent again."""
        for pause in _MARK_PAUSES_SECONDS:
            gevent.sleep(pause)
            try:
                self._journal.mark(attempt, verdict, now, duration_ms, due_at)
            except JournalError as error:
                self._telemetry.trouble("journal_refused", str(error), message=attempt.voicemail.message_id)
            else:
                return
