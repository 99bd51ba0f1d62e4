"""What came of a generator's job, collected as it happens and told as shares of the calls."""

from array import array
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Figures:
    """What came of a job; times in seconds.

    `reactions` are from a completion to the next command, `keeping` those of them that follow a recording.
    From its connection to a call's `connect`, its first command behind that, its first application and its
    `answer` are `connected`, `commanded`, `executed` and `answered`.
    """

    ended: int = 0
    failed: int = 0
    why: str = ""
    event_bytes: int = 0
    reactions: "array[float]" = field(default_factory=lambda: array("d"))
    keeping: "array[float]" = field(default_factory=lambda: array("d"))
    connected: "array[float]" = field(default_factory=lambda: array("d"))
    commanded: "array[float]" = field(default_factory=lambda: array("d"))
    executed: "array[float]" = field(default_factory=lambda: array("d"))
    answered: "array[float]" = field(default_factory=lambda: array("d"))

    @property
    def milestones(self) -> "tuple[array[float], ...]":
        """The times by which calls came so far, in the order of `Call.progress`."""
        return self.connected, self.commanded, self.executed, self.answered

    def told(self, seconds: float) -> dict[str, Any]:
        """Return them as they are printed."""
        return {
            "ended": self.ended,
            "failed": self.failed,
            "why": self.why,
            "seconds": seconds,
            "event_bytes": self.event_bytes,
            **{
                name: {"p50": _share(times, 0.5), "p99": _share(times, 0.99), "max": _share(times, 1.0)}
                for name, times in (
                    ("reaction", self.reactions),
                    ("keeping", self.keeping),
                    ("connected", self.connected),
                    ("commanded", self.commanded),
                    ("executed", self.executed),
                    ("answered", self.answered),
                )
            },
        }


def _share(times: "array[float]", share: float) -> float:
    """Return the time that this share of all kept within; 0 where there are none."""
    return sorted(times)[max(0, round(share * len(times)) - 1)] if times else 0.0
