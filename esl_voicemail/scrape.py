"""The queue's gauges, computed when they are scraped: true at that moment, and of no work in between."""

from collections.abc import Callable, Iterable
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from esl_voicemail.errors import JournalError
from esl_voicemail.model import Backlog


class QueueGauges:
    """A collector for the registry; `backlog` counts what is queued."""

    def __init__(self, backlog: Callable[[], Backlog], clock: Callable[[], datetime]) -> None:
        self._backlog = backlog
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Return the families; without them when the journal does not answer, as all else is still true."""
        try:
            backlog = self._backlog()
        except JournalError:
            return
        queue = GaugeMetricFamily(
            "voicemail_queue_messages", "Deliveries not final, and held.", labels=["state"]
        )
        for state, count in backlog.counts.items():
            queue.add_metric([state], count)
        yield queue
        age = 0.0 if backlog.oldest is None else max(0.0, (self._clock() - backlog.oldest).total_seconds())
        yield GaugeMetricFamily(
            "voicemail_queue_oldest_age_seconds", "Age of the oldest delivery not final.", age
        )
