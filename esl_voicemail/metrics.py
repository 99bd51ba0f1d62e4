"""The families of the metrics, each series begun at 0, and labels' words; who moves them is `telemetry`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric

from esl_voicemail import __version__
from esl_voicemail.model import (
    CallResult,
    Content,
    EndedBy,
    ProbeStage,
    Reason,
    TranscriptResult,
    VoicemailState,
)
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held

Family = TypeVar("Family", Counter, Gauge, Histogram)

# A second series for each, saying when it began, is of no use to a service that says when it started.
disable_created_metrics()  # type: ignore[no-untyped-call]

# The label of calls whose mailbox is not configured: what a dialplan wrote is no label.
UNKNOWN = "unknown"
STAGES = ("opening", "greeting", "recording", "keeping", "closing")
RECOVERIES = ("kept", "discarded", "lost", "foreign", "orphan", "requeued", "held")
RELOADS = ("taken", "refused")
# Who may not connect, calls beyond the most, who said nothing, and who said what no switch says.
PEERS_REFUSED = ("not_allowed", "at_capacity", "silent", "no_call")
# Of an attempt: building the mail, writing it out, being let in by the server, the server's or the
# Maildir's part, writing down what came of it; a Maildir has neither the second nor the third.
DELIVERY_STAGES = ("compose", "encode", "connect", "send", "note")
SET_UP_FAULTS = ("authentication", "refused", "other")

PROBED = "success"
RESULT_OF: dict[type, str] = {
    Delivered: "delivered",
    Deferred: "deferred",
    Bounced: "bounced",
    Expired: "expired",
    Held: "held",
}
CLASSES = ("2xx", "4xx", "5xx", "none")
# What a server says to who has not logged in, or may not (RFC 4954 section 6).
_AUTHENTICATION = (530, 534, 535, 538)
_CLOSED = [state for state in VoicemailState if state is not VoicemailState.OPEN]
_LAG_BUCKETS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_DURATION_BUCKETS = (1, 3, 5, 10, 20, 30, 60, 120, 180, 300, 600)
_STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_LATE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SPEECH_BUCKETS = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300)


def smtp_class(code: int | None) -> str:
    """Return the label of a reply's code; none for what is no code of SMTP's."""
    found = f"{code // 100}xx" if code else "none"
    return found if found in CLASSES else "none"


def set_up_fault(code: int | None) -> str:
    """Return the label of a fault of our set-up, by the server's code if it had a say."""
    if code in _AUTHENTICATION:
        return "authentication"
    return "other" if code is None else "refused"


def each(family: Family, values: Iterable[str]) -> dict[str, Family]:
    """Begin a family's series at 0, one for each value of its label, and return them by that.

    To find one in the library takes longer than to move it.
    """
    return {str(value): family.labels(str(value)) for value in values}


class CounterByMailbox:
    """A counter with a part for each mailbox: a scrape of hundreds takes one at a time."""

    def __init__(self, name: str, text: str, names: Sequence[str], registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._names = ("mailbox", *names)
        self._parts: dict[str, Counter] = {}
        self._series: dict[str, dict[tuple[str, ...], Counter]] = {}
        registry.register(self)

    def labels(self, mailbox: str, *values: str) -> Counter:
        """Return the series of these labels, begun at 0 if it is new."""
        if mailbox not in self._parts:
            self._parts[mailbox] = Counter(self._name, self._text, self._names, registry=None)
            self._series[mailbox] = {}
        series = self._series[mailbox]
        found = series.get(values)
        if found is None:
            found = series[values] = self._parts[mailbox].labels(mailbox, *values)
        return found

    def forget(self, mailbox: str) -> None:
        """End a mailbox's series."""
        self._parts.pop(mailbox, None)
        self._series.pop(mailbox, None)

    def collect(self) -> Iterator[Metric]:
        """Return the family part by part, each measured when it is asked for."""
        for part in tuple(self._parts.values()):
            yield from part.collect()


class Metrics:
    """One registry's families; their names are what dashboards and alerts hold on to."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *names: str) -> Counter:
            return Counter(f"voicemail_{name}", text, names, registry=registry)

        def by_mailbox(name: str, text: str, *names: str) -> CounterByMailbox:
            return CounterByMailbox(f"voicemail_{name}", text, names, registry)

        def gauge(name: str, text: str, *names: str) -> Gauge:
            return Gauge(f"voicemail_{name}", text, names, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *names: str) -> Histogram:
            return Histogram(f"voicemail_{name}", text, names, buckets=buckets, registry=registry)

        # Processor, memory and open files, under the names that all programs give them.
        ProcessCollector(registry=registry)
        gauge("build_info", "The version that runs.", "version").labels(__version__).set(1)
        self.ready = gauge("ready", "1 while new calls are taken and can be recorded.")
        self.calls = by_mailbox("calls_total", "Calls, by how they ended.", "reason", "result")
        self.in_progress = each(gauge("calls_in_progress", "Calls the service has now.", "stage"), STAGES)
        self.duration = histogram(
            "recording_duration_seconds", "Length of kept recordings.", _DURATION_BUCKETS
        )
        self.speech = histogram("recording_speech_seconds", "Speech in kept recordings.", _SPEECH_BUCKETS)
        self.heard = each(
            counter("recordings_heard_total", "Recordings, by what they hold.", "content"), Content
        )
        self.ended = each(
            counter("recording_ended_total", "Kept recordings, by what ended them.", "reason"), EndedBy
        )
        self.messages = by_mailbox("messages_total", "Calls' rows closed, by state.", "state")
        attempts = counter("delivery_attempts_total", "Tries to deliver.", "result", "smtp_class")
        self.attempts = {
            (result, code): attempts.labels(result, code) for result in RESULT_OF.values() for code in CLASSES
        }
        self.reports = each(
            counter("delivery_reports_total", "Tries to tell the operator who did not get a mail.", "result"),
            RESULT_OF.values(),
        )
        self.lag = histogram(
            "delivery_lag_seconds", "From the end of a message's caller to its acceptance.", _LAG_BUCKETS
        )
        self.delivering = each(
            histogram(
                "delivery_duration_seconds",
                "How long each part of a try took, its wait for a thread included.",
                _STAGE_BUCKETS,
                "stage",
            ),
            DELIVERY_STAGES,
        )
        self.set_up_faults = each(
            counter("delivery_setup_faults_total", "Tries that our set-up spoiled, not the message.", "kind"),
            SET_UP_FAULTS,
        )
        self.transcripts = each(
            counter("transcripts_total", "Messages to be written down.", "result"), TranscriptResult
        )
        self.transcribing = histogram(
            "transcript_duration_seconds", "How long transcripts took.", _DURATION_BUCKETS
        )
        self.recovered = each(
            counter("recovered_total", "What recovery found and mended.", "kind"), RECOVERIES
        )
        self.peers_refused = each(
            counter("peers_refused_total", "Event-socket connections refused.", "why"), PEERS_REFUSED
        )
        self.frames_refused = counter("esl_frames_refused_total", "Frames from a switch that were none.")
        self.recordings_free = gauge("recordings_free_bytes", "Free for recordings.")
        self.recordings_size = gauge("recordings_size_bytes", "Size of the recordings' file system.")
        self.journal_free = gauge("journal_free_bytes", "Free for the journal.")
        self.min_free = gauge("storage_min_free_bytes", "With less than this free no calls are taken.")
        self.commits = histogram(
            "journal_commit_seconds",
            "How long the disk took for what was committed together.",
            _COMMIT_BUCKETS,
        )
        self.late = histogram(
            "event_loop_lag_seconds", "How late the event loop comes to what is due.", _LATE_BUCKETS
        )
        self.reloads = each(
            counter("config_reloads_total", "Configurations read again, changed or asked to.", "result"),
            RELOADS,
        )
        self.last_call = gauge(
            "last_call_timestamp_seconds", "When the last call arrived; 0 before the first."
        )
        self.last_delivery = gauge(
            "last_delivery_timestamp_seconds", "When a caller's mail was last accepted; 0 before the first."
        )

    def begin(self, mailbox: str) -> None:
        """Begin a mailbox's series at 0."""
        for reason in [UNKNOWN] if mailbox == UNKNOWN else list(Reason):
            for result in CallResult:
                self.calls.labels(mailbox, str(reason), str(result))
        for state in _CLOSED:
            self.messages.labels(mailbox, str(state))

    def end(self, mailbox: str) -> None:
        """End a mailbox's series, as it is no more."""
        self.calls.forget(mailbox)
        self.messages.forget(mailbox)


class ProbeMetrics:
    """The families of the probe, which are there only where one is made: 0 would be a failure.

    A registry of their own, to be registered with another one for as long as that is so.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"voicemail_probe_{name}", text, registry=self.registry)

        self.interval = gauge("interval_seconds", "From one probe to the next, should the one take its time.")
        self.last = gauge(
            "last_timestamp_seconds", "When a probe last ended, well or not; 0 before the first."
        )
        self.success = gauge("success", "1 when the last probe's call became a mail; 0 before the first.")
        self.failures = gauge("failures", "How many probes have failed in a row.")
        self.last_success = gauge(
            "last_success_timestamp_seconds", "When a probe last succeeded; 0 before the first."
        )
        self.duration = gauge("duration_seconds", "How long the last probe took, from call to mail.")
        runs = Counter(
            "voicemail_probes_total",
            "Probes, by the stage they failed at.",
            ["result"],
            registry=self.registry,
        )
        self.runs = each(runs, (PROBED, *ProbeStage))

    def ended(self, result: str, seconds: float, now: float) -> None:
        """A probe ended, as PROBED or at a stage, after so many seconds; `now` is of the epoch."""
        self.runs[result].inc()
        if result == ProbeStage.START:
            return  # No call was placed: nothing is proved, either way.
        self.last.set(now)
        self.success.set(result == PROBED)
        self.duration.set(seconds)
        if result == PROBED:
            self.last_success.set(now)
            self.failures.set(0)
        else:
            self.failures.inc()
