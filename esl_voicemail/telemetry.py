"""What happened, said once: each verb writes one log line and moves its metrics, so the two cannot disagree.

No caller's data in a label, no secret anywhere, telephone numbers masked unless configured otherwise.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from esl_voicemail import __version__
from esl_voicemail.logline import Value, masked, render
from esl_voicemail.model import (
    Attempt,
    Backlog,
    Bounced,
    Call,
    CallResult,
    Content,
    Deferred,
    Delivered,
    EndedBy,
    Expired,
    Hearing,
    Held,
    Reason,
    Recording,
    TranscriptResult,
    Verdict,
    VoicemailState,
    one_line,
)
from esl_voicemail.scrape import QueueGauges

# A second series for each, saying when it began, is of no use to a service that says when it started.
disable_created_metrics()  # type: ignore[no-untyped-call]

# The label of calls whose mailbox is not configured: what a dialplan wrote is no label.
UNKNOWN = "unknown"

STAGES = ("opening", "greeting", "recording", "keeping", "closing")
RECOVERIES = ("kept", "discarded", "lost", "foreign", "orphan", "requeued", "held")
RELOADS = ("taken", "refused")
PEERS_REFUSED = ("not_allowed", "at_capacity", "silent")

_RESULTS: dict[type, str] = {
    Delivered: "delivered",
    Deferred: "deferred",
    Bounced: "bounced",
    Expired: "expired",
    Held: "held",
}
_CLASSES = ("2xx", "4xx", "5xx", "none")
_LAG_BUCKETS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_DURATION_BUCKETS = (1, 3, 5, 10, 20, 30, 60, 120, 180, 300, 600)
_SPEECH_BUCKETS = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300)


class Telemetry:
    """The log and the metrics of one running service."""

    def __init__(
        self,
        mailboxes: Iterable[str],
        clock: Callable[[], datetime],
        *,
        style: str = "logfmt",
        mask_numbers: bool = True,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._style = style
        self._mask = mask_numbers
        self._write = write or _to_stderr

        def counter(name: str, text: str, *names: str) -> Counter:
            return Counter(f"voicemail_{name}", text, names, registry=self.registry)

        def gauge(name: str, text: str, *names: str) -> Gauge:
            return Gauge(f"voicemail_{name}", text, names, registry=self.registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"voicemail_{name}", text, buckets=buckets, registry=self.registry)

        gauge("build_info", "The version that runs.", "version").labels(__version__).set(1)
        self._ready = gauge("ready", "1 while new calls are taken and can be recorded.")
        self._calls = counter("calls_total", "Calls, by how they ended.", "mailbox", "reason", "result")
        self._in_progress = gauge("calls_in_progress", "Calls the service has now.", "stage")
        self._duration = histogram(
            "recording_duration_seconds", "Length of kept recordings.", _DURATION_BUCKETS
        )
        self._speech = histogram("recording_speech_seconds", "Speech in kept recordings.", _SPEECH_BUCKETS)
        self._heard = counter("recordings_heard_total", "Recordings, by what they hold.", "content")
        self._ended = counter("recording_ended_total", "Kept recordings, by what ended them.", "reason")
        self._messages = counter("messages_total", "Calls' rows closed, by state.", "mailbox", "state")
        self._attempts = counter("delivery_attempts_total", "Tries to deliver.", "result", "smtp_class")
        self._lag = histogram("delivery_lag_seconds", "From a message's end to its acceptance.", _LAG_BUCKETS)
        self._transcripts = counter("transcripts_total", "Messages to be written down.", "result")
        self._transcribing = histogram(
            "transcript_duration_seconds", "How long transcripts took.", _DURATION_BUCKETS
        )
        self._recovered = counter("recovered_total", "What recovery found and mended.", "kind")
        self._peers_refused = counter("peers_refused_total", "Event-socket connections refused.", "why")
        self._frames_refused = counter("esl_frames_refused_total", "Frames from a switch that were none.")
        self._free = gauge("recordings_free_bytes", "Free for recordings.")
        self._reloads = counter("config_reloads_total", "Configurations read again at SIGHUP.", "result")
        self._last_call = gauge(
            "last_call_timestamp_seconds", "When the last call arrived; 0 before the first."
        )
        self._last_delivery = gauge(
            "last_delivery_timestamp_seconds", "When a server last accepted a mail; 0 before the first."
        )
        self._labels: set[str] = set()
        self.know_mailboxes([*mailboxes, UNKNOWN])
        for labelled, values in (
            (self._reloads, RELOADS),
            (self._heard, Content),
            (self._ended, EndedBy),
            (self._in_progress, STAGES),
            (self._recovered, RECOVERIES),
            (self._peers_refused, PEERS_REFUSED),
            (self._transcripts, TranscriptResult),
        ):
            for value in values:
                labelled.labels(str(value))
        for name in _RESULTS.values():
            for smtp_class in _CLASSES:
                self._attempts.labels(name, smtp_class)

    # --- the service -------------------------------------------------------------------------------

    def watch(self, backlog: Callable[[], Backlog]) -> None:
        """Compute the queue's gauges when they are scraped."""
        self.registry.register(QueueGauges(backlog, self._clock))

    def ready(self, now: bool) -> None:
        """Say whether new calls can be taken."""
        self._ready.set(1 if now else 0)

    def free(self, free_bytes: int) -> None:
        """Say how much room is left for recordings."""
        self._free.set(free_bytes)

    def know_mailboxes(self, mailboxes: Iterable[str]) -> None:
        """Begin the series of mailboxes at 0; only these may stand in a label."""
        for mailbox in mailboxes:
            self._labels.add(mailbox)
            for reason in [UNKNOWN] if mailbox == UNKNOWN else list(map(str, Reason)):
                for result in CallResult:
                    self._calls.labels(mailbox, reason, result.value)
            for state in VoicemailState:
                self._messages.labels(mailbox, state.value)

    def reloaded(self, result: str, **fields: Value) -> None:
        """A new configuration was taken or refused."""
        self._reloads.labels(result).inc()
        self._log("info" if result == "taken" else "error", "reload", {"result": result, **fields})

    def service(self, event: str, **fields: Value) -> None:
        """Say what the service as a whole does: started, draining, stopped."""
        self._log("info", event, fields)

    def trouble(self, event: str, why: str, **fields: Value) -> None:
        """Say what an operator should look at."""
        self._log("error", event, {**fields, "why": one_line(why, 500)})

    def crashed(self, event: str, error: BaseException, **fields: Value) -> None:
        """Say that something failed which nobody foresaw, with where, on one line."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
        )
        self._log(
            "error", event, {**fields, "why": one_line(f"{type(error).__name__}: {error}", 300), "at": where}
        )

    # --- calls -------------------------------------------------------------------------------------

    def peer_refused(self, why: str, peer: str) -> None:
        """A connection was closed before it became a call."""
        self._peers_refused.labels(why).inc()
        self._log("warning", "peer_refused", {"peer": peer, "why": why})

    def call_moved(self, left: str, entered: str) -> None:
        """A call went from one stage to the next; empty is outside the service's hands."""
        if left:
            self._in_progress.labels(left).dec()
        else:
            self._last_call.set(self._clock().timestamp())
        if entered:
            self._in_progress.labels(entered).inc()

    def frames_refused(self, count: int) -> None:
        """A switch sent bytes that are no frames."""
        self._frames_refused.inc(count)

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
        self._calls.labels(label if label in self._labels else UNKNOWN, reason, result.value).inc()
        self._log(
            "info" if result in _EXPECTED else "warning",
            "call",
            {
                "call": call.call_id if call else call_id or None,
                "message": message,
                "mailbox": call.mailbox if call else mailbox or None,
                "caller": self._number(call),
                "dialled": call.dialled if call else None,
                "reason": reason if call else None,
                "result": result.value,
                "recording_ms": recording.duration_ms if recording else None,
                "ended_by": ended_by.value if ended_by and recording else None,
                "heard": hearing.content.value if hearing else None,
                "speech_ms": hearing.speech_ms if hearing else None,
                "duration_ms": duration_ms,
                "why": one_line(why, 300) or None,
            },
        )

    def message_closed(self, mailbox: str, state: VoicemailState) -> None:
        """A call's row got its fate."""
        self._messages.labels(mailbox if mailbox in self._labels else UNKNOWN, state.value).inc()

    def heard(self, hearing: Hearing) -> None:
        """A recording was listened to; the call's own line says the rest."""
        self._heard.labels(hearing.content.value).inc()

    def message_kept(
        self, mailbox: str, recording: Recording, ended_by: EndedBy, hearing: Hearing | None = None
    ) -> None:
        """A recording became a message."""
        self.message_closed(mailbox, VoicemailState.KEPT)
        self._duration.observe(recording.duration_ms / 1000)
        if hearing:
            self._speech.observe(hearing.speech_ms / 1000)
        self._ended.labels(ended_by.value).inc()

    def transcript(
        self, result: TranscriptResult, duration_ms: int, *, call: Call, message: str, why: str = ""
    ) -> None:
        """A message was written down, or was not; what was said in it is no line's business."""
        self._transcripts.labels(result.value).inc()
        if result is TranscriptResult.WRITTEN:
            self._transcribing.observe(duration_ms / 1000)
        self._log(
            _TRANSCRIPT_LEVELS.get(result, "info"),
            "transcript",
            {
                "call": call.call_id,
                "message": message,
                "mailbox": call.mailbox,
                "result": result.value,
                "duration_ms": duration_ms,
                "why": one_line(why, 300) or None,
            },
        )

    # --- deliveries --------------------------------------------------------------------------------

    def delivery_attempt(
        self,
        attempt: Attempt,
        verdict: Verdict,
        duration_ms: int,
        due_at: datetime | None,
        finished_at: datetime,
    ) -> None:
        """The canonical line of one try, with the server's own words."""
        result = _RESULTS[type(verdict)]
        smtp_class = f"{verdict.code // 100}xx" if verdict.code else "none"
        self._attempts.labels(result, smtp_class if smtp_class in _CLASSES else "none").inc()
        if isinstance(verdict, Delivered):
            self._lag.observe(max(0.0, (finished_at - attempt.voicemail.closed_at).total_seconds()))
            self._last_delivery.set(finished_at.timestamp())
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
                "result": result,
                "code": verdict.code,
                "reply": verdict.reply,
                "next_try": None if due_at is None else f"{due_at:%Y-%m-%dT%H:%M:%SZ}",
                "duration_ms": duration_ms,
                "why": why or None,
            },
        )

    def mail_server(self, *, reachable: bool, why: str = "") -> None:
        """The mail server went away, or is back."""
        if reachable:
            self._log("info", "mail_server_back", {})
        else:
            self._log("error", "mail_server_unreachable", {"why": one_line(why, 300)})

    def recovered(self, kind: str, count: int = 1, **fields: Value) -> None:
        """Recovery set something right."""
        self._recovered.labels(kind).inc(count)
        self._log("warning", "recovered", {"result": kind, "count": count if count > 1 else None, **fields})

    def _number(self, call: Call | None) -> str | None:
        if call is None:
            return None
        if call.caller.withheld:
            return "withheld"
        return masked(call.caller.number) if self._mask else call.caller.number

    def _log(self, level: str, event: str, fields: dict[str, Value]) -> None:
        self._write(render(self._style, self._clock(), level, event, fields))


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


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
