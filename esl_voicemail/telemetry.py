"""What happened, said once: each verb writes one log line and moves its metrics, so the two cannot disagree.

No caller's data in a label, no secret anywhere, telephone numbers masked unless configured otherwise. What
the probe's calls do has its lines; in metrics that tell of callers it counts only by its mailbox's own label.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

import gevent
from prometheus_client import CollectorRegistry

from esl_voicemail.log import Log, raised_at
from esl_voicemail.logline import Value
from esl_voicemail.masking import Masking
from esl_voicemail.metrics import PROBED, RESULT_OF, UNKNOWN, Metrics, ProbeMetrics, set_up_fault, smtp_class
from esl_voicemail.model import (
    PROBE,
    Attempt,
    Backlog,
    Call,
    CallResult,
    EndedBy,
    Hearing,
    ProbeStage,
    Recording,
    TranscriptResult,
    VoicemailState,
    one_line,
)
from esl_voicemail.scrape import Pool, QueueGauges, WorkerGauges
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held, Verdict


class Telemetry:
    """The log and the metrics of one running service."""

    def __init__(
        self,
        mailboxes: Iterable[str],
        clock: Callable[[], datetime],
        *,
        log: Log,
        mask_numbers: bool = True,
    ) -> None:
        self.registry = CollectorRegistry()
        self._metrics = Metrics(self.registry)
        self._clock = clock
        self._log, self._says = log.say, log.says
        self._masking = Masking(mask_numbers)
        self._labels: set[str] = set()
        self._probe: ProbeMetrics | None = None
        self._accepted_at: datetime | None = None
        self.know_mailboxes([*mailboxes, UNKNOWN])

    # --- the service -------------------------------------------------------------------------------

    def watch(self, backlog: Callable[[datetime | None], Backlog], pools: Mapping[str, Pool]) -> None:
        """Compute the gauges of the queue and of the worker threads when they are scraped.

        `backlog` is told when a caller's mail was last accepted.
        """
        self.registry.register(QueueGauges(lambda: backlog(self._accepted_at), self._clock))
        self.registry.register(WorkerGauges(pools))

    def expect_probes(self, every_seconds: float | None) -> None:
        """Begin the series of the probe; with None end them, as none is made any more."""
        if every_seconds is None:
            if self._probe:
                self.registry.unregister(self._probe.registry)
            self._probe = None
            return
        if self._probe is None:
            self._probe = ProbeMetrics()
            self.registry.register(self._probe.registry)
        self._probe.interval.set(every_seconds)

    def ready(self, now: bool) -> None:
        """Say whether new calls can be taken."""
        self._metrics.ready.set(1 if now else 0)

    def room(
        self, *, recordings_free: float, recordings_size: float, journal_free: float, at_least: int
    ) -> None:
        """Say in bytes how much room the disks have, and with how little no calls are taken."""
        self._metrics.recordings_free.set(recordings_free)
        self._metrics.recordings_size.set(recordings_size)
        self._metrics.journal_free.set(journal_free)
        self._metrics.min_free.set(at_least)

    def late(self, seconds: float) -> None:
        """Say how late the event loop came to something that was due."""
        self._metrics.late.observe(seconds)

    def committed(self, seconds: float) -> None:
        """Say how long the journal's disk took for a commit."""
        self._metrics.commits.observe(seconds)

    def know_mailboxes(self, mailboxes: Iterable[str]) -> None:
        """Begin the series of mailboxes at 0, one after the other; only these may stand in a label."""
        for mailbox in mailboxes:
            if mailbox not in self._labels:
                self._labels.add(mailbox)
                self._metrics.begin(mailbox)
                # Hundreds take most of a second, which no call should wait for.
                gevent.sleep(0)

    def forget_mailboxes(self, mailboxes: Iterable[str]) -> None:
        """End the series of mailboxes that are no more; what still comes of them is counted as unknown."""
        for mailbox in mailboxes:
            self._labels.discard(mailbox)
            self._metrics.end(mailbox)

    def reloaded(self, result: str, **fields: Value) -> None:
        """A new configuration was taken or refused."""
        self._metrics.reloads[result].inc()
        self._log("info" if result == "taken" else "error", "reload", {"result": result, **fields})

    def service(self, event: str, **fields: Value) -> None:
        """Say what the service as a whole does: started, draining, stopped."""
        self._log("info", event, fields)

    def trouble(self, event: str, why: str, **fields: Value) -> None:
        """Say what an operator should look at."""
        self._log("error", event, {**fields, "why": one_line(why, 500)})

    def crashed(self, event: str, error: BaseException, **fields: Value) -> None:
        """Say that something failed which nobody foresaw, with where, on one line."""
        why = one_line(f"{type(error).__name__}: {error}", 300)
        self._log("error", event, {**fields, "why": why, "at": raised_at(error)})

    def warned(self, by: str, words: str) -> None:
        """Say what a library has to say, which it would have printed."""
        self._log("warning", "warned", {"by": one_line(by, 100), "why": one_line(words, 300)})

    def probed(
        self, failed_at: ProbeStage | None, duration_ms: int, why: str, call: str = "", message: str = ""
    ) -> None:
        """A probe came to its end, at a stage or, with its mail accepted, at none."""
        result = failed_at or PROBED
        if self._probe:
            self._probe.ended(result, duration_ms / 1000, self._clock().timestamp())
        fields: dict[str, Value] = {"call": call or None, "message": message or None, "result": result}
        level = "error" if failed_at else "info"
        self._log(level, "probe", {**fields, "duration_ms": duration_ms, "why": one_line(why, 500)})

    # --- calls -------------------------------------------------------------------------------------

    def peer_refused(self, why: str, peer: str) -> None:
        """A connection was closed before it became a call, or was a call too many."""
        self._metrics.peers_refused[why].inc()
        self._log("warning", "peer_refused", {"peer": peer, "why": why})

    def unknown_mailbox(self, named: str, used: str, call_id: str) -> None:
        """A call came for a mailbox that is not configured, by name or number, and another one takes it."""
        why = self._masking.said(f"no mailbox {named!r}; using {used!r}", None)
        self.trouble("unknown_mailbox", why, call=call_id)

    def call_moved(self, call_id: str, left: str, entered: str) -> None:
        """A call went from one stage to the next; empty is outside the service's hands."""
        if left:
            self._metrics.in_progress[left].dec()
        if entered:
            self._metrics.in_progress[entered].inc()
        if self._says("debug"):
            fields = {"call": call_id or None, "left": left or None, "entered": entered or None}
            self._log("debug", "stage", fields)

    def call_arrived(self, named: str) -> None:
        """A call came for a mailbox, as its dialplan names it."""
        if named != PROBE:
            self._metrics.last_call.set(self._clock().timestamp())

    def frames_refused(self, count: int, peer: str, call_id: str) -> None:
        """A connection ended that brought so many frames that were none."""
        self._metrics.frames_refused.inc(count)
        if count:
            self._log("warning", "frames_refused", {"call": call_id or None, "peer": peer, "count": count})

    def call_ended(
        self,
        result: CallResult,
        duration_ms: int,
        *,
        call: Call | None = None,
        call_id: str = "",
        mailbox: str = "",
        message: str | None = None,
        recording: Recording | None = None,
        ended_by: EndedBy | None = None,
        hearing: Hearing | None = None,
        why: str = "",
    ) -> None:
        """The canonical line of one call."""
        label = call.mailbox if call else UNKNOWN
        reason = call.reason.value if call else UNKNOWN
        self._metrics.calls.labels(label if label in self._labels else UNKNOWN, reason, result.value).inc()
        self._log(
            "info" if result in _EXPECTED else "warning",
            "call",
            {
                "call": call.call_id if call else call_id or None,
                "message": message,
                "mailbox": call.mailbox if call else self._masking.said(mailbox, None) or None,
                "caller": self._masking.caller(call),
                "dialled": call.dialled if call else None,
                "reason": reason if call else None,
                "result": result.value,
                "recording_ms": recording.duration_ms if recording else None,
                "ended_by": ended_by.value if ended_by and recording else None,
                "heard": hearing.content.value if hearing else None,
                "speech_ms": hearing.speech_ms if hearing else None,
                "duration_ms": duration_ms,
                "why": one_line(self._masking.said(why, call), 300) or None,
            },
        )

    def message_closed(self, mailbox: str, state: VoicemailState) -> None:
        """A call's row got its fate."""
        self._metrics.messages.labels(mailbox if mailbox in self._labels else UNKNOWN, state.value).inc()

    def heard(self, mailbox: str, hearing: Hearing) -> None:
        """A recording was listened to; the call's own line says the rest."""
        if mailbox == PROBE:
            return
        self._metrics.heard[hearing.content.value].inc()

    def message_kept(
        self, mailbox: str, recording: Recording, ended_by: EndedBy, hearing: Hearing | None = None
    ) -> None:
        """A recording became a message."""
        self.message_closed(mailbox, VoicemailState.KEPT)
        if mailbox == PROBE:
            return
        self._metrics.duration.observe(recording.duration_ms / 1000)
        if hearing:
            self._metrics.speech.observe(hearing.speech_ms / 1000)
        self._metrics.ended[ended_by.value].inc()

    def transcript(
        self, result: TranscriptResult, duration_ms: int, *, call: Call, message: str, why: str = ""
    ) -> None:
        """A message was written down, or was not; what was said in it is no line's business."""
        self._metrics.transcripts[result.value].inc()
        if result is TranscriptResult.WRITTEN:
            self._metrics.transcribing.observe(duration_ms / 1000)
        self._log(
            _TRANSCRIPT_LEVELS.get(result, "info"),
            "transcript",
            {
                "call": call.call_id,
                "message": message,
                "mailbox": call.mailbox,
                "result": result.value,
                "duration_ms": duration_ms,
                "why": one_line(self._masking.said(why, call), 300) or None,
            },
        )

    # --- deliveries --------------------------------------------------------------------------------

    def delivering(self, mailbox: str, stage: str) -> AbstractContextManager[object]:
        """Measure one part of an attempt, for as long as a block takes."""
        if mailbox == PROBE:
            return nullcontext()
        return self._metrics.delivering[stage].time()

    def delivery_attempt(
        self,
        attempt: Attempt,
        verdict: Verdict,
        duration_ms: int,
        due_at: datetime | None,
        finished_at: datetime,
    ) -> None:
        """The canonical line of one try, with the server's own words."""
        if attempt.voicemail.call.mailbox != PROBE:
            self._count(attempt, verdict, finished_at)
        # Whose mail it was that found it out makes no difference to our set-up.
        if isinstance(verdict, Deferred) and verdict.ours:
            self._metrics.set_up_faults[set_up_fault(verdict.code)].inc()
        loud = isinstance(verdict, Expired | Held | Bounced) or (
            isinstance(verdict, Deferred) and verdict.ours
        )
        smaller = verdict.smaller if isinstance(verdict, Delivered) else ""
        why = "our set-up is refused, not the message" if getattr(verdict, "ours", False) else smaller
        self._log(
            "error" if loud else "warning" if smaller or isinstance(verdict, Deferred) else "info",
            "delivery",
            {
                "call": attempt.voicemail.call.call_id,
                "message": attempt.voicemail.message_id,
                "mailbox": attempt.voicemail.call.mailbox,
                "rcpt": attempt.recipient,
                "about": attempt.undelivered.recipient if attempt.undelivered else None,
                "attempt": attempt.number,
                "result": RESULT_OF[type(verdict)],
                "code": verdict.code,
                "reply": self._masking.said(verdict.reply, attempt.voicemail.call),
                "next_try": None if due_at is None else f"{due_at:%Y-%m-%dT%H:%M:%SZ}",
                "duration_ms": duration_ms,
                "why": why or None,
            },
        )

    def _count(self, attempt: Attempt, verdict: Verdict, finished_at: datetime) -> None:
        result, voicemail = RESULT_OF[type(verdict)], attempt.voicemail
        if attempt.undelivered:
            self._metrics.reports[result].inc()
            return
        self._metrics.attempts[result, smtp_class(verdict.code)].inc()
        if isinstance(verdict, Delivered):
            self.accepted_before(finished_at)
            if voicemail.recording:
                lag = (finished_at - voicemail.closed_at).total_seconds()
                self._metrics.lag.observe(max(0.0, lag))

    def accepted_before(self, moment: datetime | None) -> None:
        """A caller's mail was last accepted at that time, by this process or by one before it."""
        self._accepted_at = moment
        self._metrics.last_delivery.set(moment.timestamp() if moment else 0)

    def mail_server(self, *, reachable: bool, why: str = "") -> None:
        """The mail server went away, or is back."""
        if reachable:
            self._log("info", "mail_server_back", {})
        else:
            self._log("error", "mail_server_unreachable", {"why": one_line(why, 300)})

    def recovered(self, kind: str, count: int = 1, **fields: Value) -> None:
        """Recovery set something right."""
        self._metrics.recovered[kind].inc(count)
        self._log("warning", "recovered", {"result": kind, "count": count if count > 1 else None, **fields})


_EXPECTED = {
    CallResult.RECORDED,
    CallResult.TOO_SHORT,
    CallResult.NO_SPEECH,
    CallResult.NO_AUDIO,
    CallResult.HANGUP_BEFORE_ANSWER,
    CallResult.HANGUP_IN_GREETING,
}

_TRANSCRIPT_LEVELS = {
    TranscriptResult.FAILED: "error",
    TranscriptResult.TIMED_OUT: "warning",
    TranscriptResult.TOO_LATE: "warning",
}
