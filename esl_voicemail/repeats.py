"""The same trouble again and again is one line and a count, not a thousand lines. Pure.

What is the same, and what is never counted but always said, is for the caller to decide.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
# Beyond these, the kind that has been away for longest is forgotten: its next is a first one again.
KINDS_AT_MOST = 1000

T = TypeVar("T")


@dataclass(slots=True)
class _Quiet(Generic[T]):
    until: float
    seconds: float
    last: T | None = None
    times: int = 0


class Repeats(Generic[T]):
    """Lets the first of a kind through, and then one a period, with how many it stands for.

    A period lasts a second, and twice as long after each in which there was more, up to a minute; after a
    period without any, the next is a first one again. Times are seconds of any clock that only goes forward.
    """

    def __init__(self, kinds_at_most: int = KINDS_AT_MOST) -> None:
        self._most = kinds_at_most
        self._quiet: dict[Hashable, _Quiet[T]] = {}  # in the order in which each came last
        self._forgotten: list[tuple[T, int]] = []  # counted, and to be said at the next occasion

    def passes(self, kind: Hashable, said: T, now: float) -> bool:
        """Tell whether this one is to be said now; else it is counted, and comes with `due`."""
        quiet = self._quiet.pop(kind, None)
        if quiet is None:
            if len(self._quiet) >= self._most:
                self._forget(next(iter(self._quiet)))
            self._quiet[kind] = _Quiet(now + SHORTEST_SECONDS, SHORTEST_SECONDS)
            return True
        self._quiet[kind] = quiet
        quiet.last, quiet.times = said, quiet.times + 1
        return False

    def due(self, now: float) -> list[tuple[T, int]]:
        """Return the last of each kind whose period is over, and how many times it came meanwhile."""
        found, self._forgotten = self._forgotten, []
        for kind, quiet in list(self._quiet.items()):
            if quiet.until > now:
                continue
            if quiet.last is None:
                del self._quiet[kind]
                continue
            found.append((quiet.last, quiet.times))
            seconds = min(2 * quiet.seconds, LONGEST_SECONDS)
            self._quiet[kind] = _Quiet(now + seconds, seconds)
        return found

    def rest(self) -> list[tuple[T, int]]:
        """Return all that is counted and not yet said, and forget it."""
        for kind in list(self._quiet):
            self._forget(kind)
        found, self._forgotten = self._forgotten, []
        return found

    def _forget(self, kind: Hashable) -> None:
        quiet = self._quiet.pop(kind)
        if quiet.last is not None:
            self._forgotten.append((quiet.last, quiet.times))
