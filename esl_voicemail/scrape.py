"""Gauges that are computed when they are scraped: true at that moment, and of no work in between.

Those of the queue ask the journal, those of the worker threads count who uses them now.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric

from esl_voicemail.errors import JournalError
from esl_voicemail.model import Backlog


class QueueGauges:
    """A collector for the registry; `backlog` counts what is queued."""

    def __init__(self, backlog: Callable[[], Backlog], clock: Callable[[], datetime]) -> None:
        self._backlog = backlog
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Return the families; of the queue none when the journal does not answer: all else is still true."""
        backlog: Backlog | None = None
        with suppress(JournalError):
            backlog = self._backlog()
        yield GaugeMetricFamily(
            "voicemail_journal_up", "1 when the journal answered this scrape.", 0 if backlog is None else 1
        )
        if backlog is None:
            return
        queue = GaugeMetricFamily(
            "voicemail_queue_messages", "Deliveries not final, and held.", labels=["state"]
        )
        for state, count in backlog.counts.items():
            queue.add_metric([state], count)
        yield queue
        yield GaugeMetricFamily(
            "voicemail_queue_oldest_age_seconds",
            "Since the end of the caller whose mail was queued first and is not final.",
            self._since(backlog.oldest),
        )
        yield GaugeMetricFamily(
            "voicemail_delivery_stalled_seconds",
            "How long callers' mails were queued while none of them was accepted.",
            self._since(backlog.stalled_since),
        )

    def _since(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else max(0.0, (self._clock() - moment).total_seconds())


class Pool(Protocol):
    """A bounded number of threads, and how much work wants one."""

    @property
    def threads(self) -> int:
        """How many there may be."""

    @property
    def busy(self) -> int:
        """How many are at work, also for those who no longer wait for it."""

    @property
    def waiting(self) -> int:
        """How much work waits for a thread."""


class WorkerGauges:
    """A collector for the registry; `pools` by what they are for."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        threads = GaugeMetricFamily("voicemail_worker_threads", "Threads there may be.", labels=["pool"])
        busy = GaugeMetricFamily("voicemail_workers_busy", "Threads at work.", labels=["pool"])
        waiting = GaugeMetricFamily(
            "voicemail_workers_waiting", "Work that waits for a thread.", labels=["pool"]
        )
        for name, pool in self._pools.items():
            threads.add_metric([name], pool.threads)
            busy.add_metric([name], pool.busy)
            waiting.add_metric([name], pool.waiting)
        return threads, busy, waiting
