"""When to try a delivery again. Pure: no clock, no randomness of its own.

The delay is the message's age clamped between two bounds, as Postfix's queue manager does it, so that
a short outage is noticed soon and a long one is not hammered.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Schedule:
    """Bounds of the delay between two tries, and the age at which trying ends."""

    shortest: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(hours=2)
    give_up_after: timedelta = timedelta(days=5)


def next_try(schedule: Schedule, queued_at: datetime, now: datetime, jitter: float) -> datetime | None:
    """Return when to try again, or None when the message is too old.

    `jitter` is from 0 to 1 and spreads the delay from 80 to 120 per cent, so that a server which comes
    back is not met by the whole backlog in one second.
    """
    age = now - queued_at
    if age >= schedule.give_up_after:
        return None
    delay = min(max(age, schedule.shortest), schedule.longest)
    return min(now + delay * (0.8 + 0.4 * jitter), queued_at + schedule.give_up_after)
