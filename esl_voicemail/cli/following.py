"""Which calls `messages list --follow` has not shown yet; what it asks and how they look is `listing`'s."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.listing import Summary, Wanted

# Of so many calls at least is known, when one is looked at again, that it was shown.
LOOKED_AT = 1000

Found = list[Summary | JournalError]


class News:
    """Calls as they come to be among those that are wanted, each once; `newest` looks for them."""

    def __init__(
        self,
        newest: Callable[[Wanted, int], list[tuple[str, datetime]]],
        wanted: Wanted,
        looked_at: int = LOOKED_AT,
    ) -> None:
        self._newest = newest
        self._wanted = wanted
        self._most = looked_at
        self._seen: dict[str, datetime] = {}

    def begin(self, page: Callable[[], Iterable[Summary | JournalError]]) -> Found:
        """Return the page that is shown first; whatever came before it, or is in it, is not new."""
        there = self._newest(self._wanted, self._most)
        found = list(page())
        self._see(there)
        self._see([(one.message_id, one.call.arrived_at) for one in found if isinstance(one, Summary)])
        if len(there) == self._most:
            self._forget_before(there[-1][1])
        return found

    def look(self) -> list[str]:
        """Return the ids of the calls that are new, newest first."""
        there = self._newest(self._wanted, self._most)
        new = [message_id for message_id, _ in there if message_id not in self._seen]
        self._see(there)
        if len(self._seen) > 2 * self._most:
            self._forget_before(sorted(self._seen.values())[-self._most])
        return new

    def _see(self, found: Iterable[tuple[str, datetime]]) -> None:
        self._seen.update(found)

    def _forget_before(self, moment: datetime) -> None:
        """Ask no more for what came before: forgotten, it would be new when it is met again."""
        since = max(moment, self._wanted.since or moment)
        self._wanted = replace(self._wanted, since=since)
        self._seen = {one: came for one, came in self._seen.items() if came >= since}
