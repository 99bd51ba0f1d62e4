"""When somebody will call back, from hours, holidays and closed days. Pure.

What the caller hears of it is the mailbox's to choose.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from esl_voicemail.hours import DAYS, ClosedDays, Week, is_open, opening
from esl_voicemail.model import Promise

TODAY, NEXT_WORKING_DAY = "today", "next-working-day"
KINDS = (TODAY, NEXT_WORKING_DAY, *DAYS)

_FURTHEST_DAYS = 60
# The same weekday comes again after seven days: further off, its name alone would mislead.
_NAMED_DAYS = 6


def promise(
    week: Week, country: str | None, local: datetime, closed: Collection[ClosedDays] = ()
) -> Promise | None:
    """Return when somebody will call back who called at a local moment, or None within 60 days."""
    today = local.date()
    later = any(span.start > local.time() for span in opening(week, country, closed, today))
    if later or is_open(week, country, local, closed):
        return Promise(TODAY, today)
    for days in range(1, _FURTHEST_DAYS + 1):
        day = today + timedelta(days)
        if opening(week, country, closed, day):
            return Promise(DAYS[day.weekday()] if days <= _NAMED_DAYS else NEXT_WORKING_DAY, day)
    return None


def sentences(kind: str) -> tuple[str, ...]:
    """Return which sentences say a promise, the closest first; each is a kind too."""
    return (kind, NEXT_WORKING_DAY) if kind in DAYS else (kind,)
