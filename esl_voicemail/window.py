"""How many mails may be on their way at once, by how the mail server has answered. Pure.

A server that cannot be reached is asked by one mail at a time, after growing pauses, and no mail's own
schedule suffers for it. When it is back, it meets one mail, then two, then more: no stampede.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Window:
    """Opens by one for each mail the server deals with, up to `widest`; shuts when it cannot be reached.

    Times are seconds of any clock that only goes forward.
    """

    widest: int
    shortest_pause: float = 5.0
    longest_pause: float = 300.0
    width: int = 0
    failures: int = 0
    shut_until: float = 0.0

    def __post_init__(self) -> None:
        self.width = self.width or self.widest

    def room(self, under_way: int, now: float) -> int:
        """Return how many more mails may start."""
        return 0 if now < self.shut_until else max(0, self.width - under_way)

    @property
    def asking(self) -> bool:
        """Whether the next mail goes out to ask if the server is back."""
        return self.failures > 0

    def pause(self, now: float) -> float:
        """Return how long it stays shut."""
        return max(0.0, self.shut_until - now)

    def reached(self) -> bool:
        """Take note of a server that answered; return whether that is news."""
        news = self.failures > 0
        self.width = 1 if news else min(self.widest, self.width + 1)
        self.failures, self.shut_until = 0, 0.0
        return news

    def unreachable(self, now: float, jitter: float) -> bool:
        """Take note of a server that could not be reached; return whether that is news.

        `jitter` from 0 to 1 spreads the pause from 80 to 120 per cent. What was under way already when
        the window shut says nothing new.
        """
        if now < self.shut_until:
            return False
        pause = min(self.longest_pause, self.shortest_pause * 2.0 ** min(self.failures, 16))
        self.shut_until = now + pause * (0.8 + 0.4 * jitter)
        self.failures += 1
        self.width = 1
        return self.failures == 1
