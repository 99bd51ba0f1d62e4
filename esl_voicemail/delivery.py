"""The runner that brings kept messages to their recipients: claim what is due, compose, send, mark.

Knows when, not how: the queue hands out and records, `mail` builds and sends, `backoff` spaces the tries of
one mail and `window` those of all while the server is away.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, repeat

import gevent
from gevent.event import Event
from gevent.pool import Group

from esl_voicemail.backoff import Schedule, next_try
from esl_voicemail.clock import Clock
from esl_voicemail.errors import ComposeError, JournalError, RecordingError
from esl_voicemail.journal.queue import Queue
from esl_voicemail.mail.composer import Composed, Composer
from esl_voicemail.mail.transport import Transport
from esl_voicemail.model import PROBE, Attempt, one_line
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Envelope, Expired, Held, TooLarge, Verdict
from esl_voicemail.window import Window
from esl_voicemail.workers import Workers

# Longer than the timeouts of one SMTP transaction can add up to (RFC 5321 section 4.5.3.2).
_ATTEMPT_SECONDS = 55 * 60
# Nothing else is sent beside a mail that was there when the service crashed: it is not to take long.
_SUSPECT_SECONDS = 5 * 60
# The command line writes into the same journal: what it releases goes out this soon.
_LOOK_AGAIN_SECONDS = 2.0
_REFUSED_SECONDS = 30.0
_RECLAIM_SECONDS = 30.0
_LAST_SECONDS = 5.0
_MARK_PAUSES_SECONDS = (1.0, 5.0, 15.0, 60.0)


class Delivery:
    """Claims due deliveries and sends them, a bounded number at a time."""

    def __init__(
        self,
        queue: Queue,
        composer: Composer,
        transport: Transport,
        workers: Workers,
        telemetry: Telemetry,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        schedule: Schedule,
        max_connections: int,
        operator: str | None = None,
        recordings_gone: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._composer = composer
        self._transport = transport
        self._workers = workers
        self._telemetry = telemetry
        self._clock = clock
        self._jitter = jitter
        self._schedule = schedule
        self._operator = operator
        self._recordings_gone = recordings_gone
        self._gone = ""
        self._attempts = Group()
        self._window = Window(max_connections)
        # What has a connection, and what has no verdict in the journal yet.
        self._sending: set[int] = set()
        self._under_way: set[int] = set()
        # While verdicts cannot be noted, no more is sent, as after a crash it would be sent again.
        self._most_under_way = 2 * max_connections
        self._newest_first = False
        # Whether more may be due than there was room for; and when to look if nobody wakes us.
        self._more = True
        self._look_at = 0.0
        self._reclaim_at = 0.0
        self._woken = Event()
        self._ended = Event()
        self._stop_asked = Event()

    def start(self) -> None:
        """Queue again what the last process was sending when it died."""
        try:
            self._telemetry.accepted_before(self._queue.last_accepted())
            self._reclaim(crashed=True)
        except JournalError as error:
            # A full disk, say; `run` looks again.
            self._telemetry.trouble("journal_refused", str(error))

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
                if self._clock.seconds() >= self._reclaim_at:
                    self._reclaim(crashed=False)
                claimed = self._claim()
                pause = _LOOK_AGAIN_SECONDS if claimed else self._pause()
            except JournalError as error:
                self._telemetry.trouble("journal_refused", str(error))
                claimed, self._more, pause = [], True, _REFUSED_SECONDS
            now = self._clock.seconds()
            # Beside what was claimed nothing new is known of what waits.
            self._look_at = min(self._look_at, now + pause) if claimed else now + pause
            for attempt in claimed:
                self._sending.add(attempt.delivery_id)
                self._under_way.add(attempt.delivery_id)
                self._attempts.spawn(self._attempt, attempt)
            if last:
                return
            if not (claimed and self._more):
                self._woken.wait(max(0.0, self._look_at - self._clock.seconds()))

    def _claim(self) -> list[Attempt]:
        room = self._room()
        self._more = not room
        if not room or self._waits_for_recordings():
            return []
        claimed = self._queue.claim(
            room,
            self._clock.latest(),
            self._composer.sender.domain,
            newest_first=self._newest_first,
            under_way=frozenset(self._under_way),
            asking=self._window.asking,
            unreadable=self._unreadable,
        )
        self._newest_first ^= len(claimed) % 2 == 1
        self._more = len(claimed) == room
        return claimed

    def _room(self) -> int:
        connections = self._window.room(len(self._sending), self._clock.seconds())
        return min(connections, self._most_under_way - len(self._under_way))

    def _waits_for_recordings(self) -> bool:
        """Whether the recordings' disk is away: without it every message would be held for want of audio."""
        if self._gone:
            self._gone = self._workers.run(self._recordings_gone) or ""
            if not self._gone:
                self._telemetry.service("recordings_back")
        return bool(self._gone)

    def _unreadable(self, message_id: str, why: str) -> None:
        self._telemetry.trouble("held", why, message=message_id)
        self._telemetry.recovered("held", 1)

    def _reclaim(self, *, crashed: bool) -> None:
        """Here and nowhere else, as between a claim and the list of what is under way nothing may come."""
        queued, held = self._queue.reclaim(
            frozenset(self._under_way), self._clock(), crashed=crashed, operator=self._operator
        )
        self._reclaim_at = self._clock.seconds() + _RECLAIM_SECONDS
        if queued:
            self._telemetry.recovered("requeued", queued)
        if held:
            self._telemetry.trouble(
                "held", f"{held} deliveries crashed the service again and again; see them"
            )
            self._telemetry.recovered("held", held)

    def stop(self, seconds: float) -> bool:
        """Claim once more, let the current mails finish within a limit; tell whether they did.

        What has not finished is cut off and tried again by the next server.
        """
        self._stop_asked.set()
        self._woken.set()
        with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
            # First the runner: what it has just claimed is an attempt then.
            self._ended.wait()
            self._attempts.join()
        finished = not len(self._attempts)
        self._attempts.kill(timeout=_LAST_SECONDS)
        self._transport.close()
        return finished

    def _pause(self) -> float:
        if not self._room():
            return min(_RECLAIM_SECONDS, self._window.pause(self._clock.seconds())) or _RECLAIM_SECONDS
        due = self._queue.next_due()
        if due is None:
            return _LOOK_AGAIN_SECONDS
        return min(_LOOK_AGAIN_SECONDS, max(0.05, (due - self._clock.latest()).total_seconds()))

    def _attempt(self, attempt: Attempt) -> None:
        """Send one mail and note what came of it."""
        started = time.monotonic()
        verdict: Verdict | None = None
        try:
            verdict = self._verdict(attempt)
            now = self._clock()
            due_at: datetime | None = None
            if isinstance(verdict, Deferred):
                due_at = self._next_try(attempt, verdict)
                if due_at is None:
                    verdict = Expired(verdict.code, verdict.reply)
            duration_ms = round((time.monotonic() - started) * 1000)
            self._sending.discard(attempt.delivery_id)
            if self._more:
                # The next is claimed in the transaction that notes this one.
                self._woken.set()
            self._mark(attempt, _as_noted(verdict), now, duration_ms, due_at)
        finally:
            self._sending.discard(attempt.delivery_id)
            self._under_way.discard(attempt.delivery_id)
            # A delivery lets no other one go, unless there was no room for it: a look is two transactions.
            if self._more or attempt.suspect or not isinstance(verdict, Delivered):
                self._woken.set()
        self._telemetry.delivery_attempt(attempt, verdict, duration_ms, due_at, now)

    def _verdict(self, attempt: Attempt) -> Verdict:
        """Send, whatever comes in between: the message must not be stuck in `sending`."""
        try:
            with gevent.Timeout(_SUSPECT_SECONDS if attempt.suspect else _ATTEMPT_SECONDS):
                return self._send(attempt)
        except gevent.Timeout:
            return Deferred(None, "gave up waiting for the mail server")
        except gevent.GreenletExit:
            return Deferred(None, "the service stopped while sending", ended_here=True)
        except Exception as error:  # noqa: BLE001 - it may pass, and no other mail is to wait for it
            self._telemetry.crashed("delivery_crashed", error, message=attempt.voicemail.message_id)
            return Deferred(None, _words(error), ended_here=True)

    def _learn(self, verdict: Verdict | TooLarge) -> None:
        """Widen or shut the window by what the server has just done."""
        if isinstance(verdict, Deferred) and verdict.unreachable:
            if self._window.unreachable(self._clock.seconds(), self._jitter()):
                self._telemetry.mail_server(reachable=False, why=verdict.reply)
        elif self._window.reached():
            self._telemetry.mail_server(reachable=True)

    def _next_try(self, attempt: Attempt, verdict: Deferred) -> datetime | None:
        """By the mail's age; while the server is away, as soon as that is looked at again.

        Only what a server said of a mail, or that it says nothing, ends in None: a fault of ours, or our
        end, expires nothing. What is claimed by the latest time is due by the latest time.
        """
        age_by, now = self._clock.earliest(), self._clock.latest()
        due_at = next_try(self._schedule, attempt.queued_at, age_by, self._jitter())
        if due_at is None and not (verdict.ours or verdict.ended_here):
            return None
        if self._gone:
            return now
        if verdict.unreachable:
            return now + timedelta(seconds=self._window.pause(self._clock.seconds()))
        return now + (self._schedule.longest if due_at is None else due_at - age_by)

    def _send(self, attempt: Attempt) -> Verdict:
        """Send the mail, and while the server finds it too large, one with less of its audio."""
        step, most, smaller = 0, None, ""
        while True:
            composed = self._composed(attempt, step, most)
            if not isinstance(composed, Composed):
                return composed
            if composed.trouble:
                message = attempt.voicemail.message_id
                self._telemetry.trouble("not_converted", composed.trouble, message=message)
            answer = self._handed_over(attempt, composed)
            if isinstance(answer, Delivered) and smaller:
                return replace(answer, smaller=f"sent with {composed.audio}; {smaller}")
            if not isinstance(answer, TooLarge):
                return answer
            if composed.last:
                return Bounced(answer.code, answer.reply)
            # Each round is a step further down, and the steps come to an end.
            step, most, smaller = composed.step + 1, answer.limit or most, smaller or answer.reply

    def _composed(self, attempt: Attempt, step: int, most: int | None) -> Composed | Verdict:
        try:
            with self._telemetry.delivering(attempt.voicemail.call.mailbox, "compose"):
                return self._workers.run(self._composer.compose_within, attempt, step, most)
        except RecordingError as error:
            gone = self._workers.run(self._recordings_gone)
            if gone is None:
                return Held(one_line(str(error), 300))
            self._telemetry.trouble("recordings_gone", gone)
            self._gone = one_line(gone, 300)
            return Deferred(None, self._gone, ours=True)
        except ComposeError as error:
            return Held(one_line(str(error), 300))
        except (OSError, MemoryError) as error:
            return Deferred(None, one_line(str(error), 300), ours=True)
        except Exception as error:  # noqa: BLE001 - what was not foreseen fails again: a person must look
            self._telemetry.crashed("delivery_crashed", error, message=attempt.voicemail.message_id)
            return Held(_words(error))

    def _handed_over(self, attempt: Attempt, composed: Composed) -> Verdict | TooLarge:
        envelope = Envelope(self._composer.sender.address, attempt.recipient)
        stage = partial(self._telemetry.delivering, attempt.voicemail.call.mailbox)
        if self._transport.blocks_on_disk:
            with stage("send"):
                answer = self._workers.run(self._transport.send, envelope, composed.mail)
        else:
            answer = self._transport.send(envelope, composed.mail, stage)
        self._learn(answer)
        return answer

    def _mark(
        self, attempt: Attempt, verdict: Verdict, now: datetime, duration_ms: int, due_at: datetime | None
    ) -> None:
        """Record the verdict, however long it takes: unrecorded, an accepted mail would be sent again."""
        # Of the probe's mails its metrics tell, every quarter of an hour.
        operator = None if attempt.voicemail.call.mailbox == PROBE else self._operator
        for pause in chain(_MARK_PAUSES_SECONDS, repeat(_MARK_PAUSES_SECONDS[-1])):
            try:
                with self._telemetry.delivering(attempt.voicemail.call.mailbox, "note"):
                    self._queue.mark(attempt, verdict, now, duration_ms, due_at, operator=operator)
            except JournalError as error:
                self._telemetry.trouble("journal_refused", str(error), message=attempt.voicemail.message_id)
            except Exception as error:  # noqa: BLE001 - to give up here would send the mail again and again
                self._telemetry.crashed("delivery_crashed", error, message=attempt.voicemail.message_id)
            else:
                return
            # As if it were still being sent: a journal in trouble is asked for less.
            self._sending.add(attempt.delivery_id)
            gevent.sleep(pause)


def _as_noted(verdict: Verdict) -> Verdict:
    """Return a verdict as the journal has it: there the reply is all there is to read."""
    if isinstance(verdict, Delivered) and verdict.smaller:
        return replace(verdict, reply=one_line(f"{verdict.reply} ({verdict.smaller})", 600))
    return verdict


def _words(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", 300)
