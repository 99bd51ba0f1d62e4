"""The targets of a run, most as ratios within it, and whether they are met. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Found = Mapping[str, Mapping[str, Any]]

CPU = "cpu_seconds_per_1000_calls"
HELD_MS = "event_loop_held_ms"
OTHERS = "processors_for_others"
# Mails that may be on their way at once, by default, each composed, in pieces and on its way out.
WORKERS = 4 * 3


@dataclass(frozen=True, slots=True)
class Target:
    """What is promised: a figure of some cases, and the most, or with `least` the least, it may be."""

    name: str
    cases: tuple[str, ...]
    value: Callable[[Found], float]
    limit: float
    least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured."""

    target: Target
    value: float

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        limit = self.target.limit
        return self.value >= limit if self.target.least else self.value <= limit

    @property
    def share(self) -> float:
        """How much of what is allowed was taken; with `least`, how often what was reached would be needed."""
        above, below = self.value, self.target.limit
        if self.target.least:
            above, below = below, above
        return above / below if below else float(above > 0)


def _against_greenswitch(case: str) -> Callable[[Found], float]:
    return lambda found: float(found[case][CPU] / found["greenswitch"][CPU])


def _figure(case: str, name: str) -> Callable[[Found], float]:
    return lambda found: float(found[case][name])


def _against_empty(name: str) -> Callable[[Found], float]:
    return lambda found: float(found["old rows"][f"{name}_ms"] / found["old rows"][f"{name}_ms_of_empty"])


def _longest_held(found: Found) -> float:
    return float(max(figures[HELD_MS] for figures in found.values() if HELD_MS in figures))


WATCHED = ("whole path MP3", "backlog", "held", "held and new", "burst", "slow disk")

TARGETS = (
    Target(
        "calls that failed, in all cases",
        (),
        lambda found: float(sum(figures.get("calls_failed", 0) for figures in found.values())),
        0,
    ),
    Target(
        "dialogue only: processor time, greenswitch's being 1",
        ("dialogue only", "greenswitch"),
        _against_greenswitch("dialogue only"),
        0.25,
    ),
    Target(
        "whole path with WAV: processor time, greenswitch's being 1",
        ("whole path WAV", "greenswitch"),
        _against_greenswitch("whole path WAV"),
        1.0,
    ),
    Target(
        "events a call: bytes",
        ("whole path WAV",),
        _figure("whole path WAV", "event_bytes_per_call"),
        65_000,
    ),
    Target("a held call: bytes of memory", ("held",), _figure("held", "rss_bytes_per_held_call"), 40_000),
    Target(
        "reaction, p99 with 1,000 held and 100 new a second: ms",
        ("held and new",),
        _figure("held and new", "reaction_p99_ms"),
        10,
    ),
    Target("500 at once: ms to the last `connect`", ("burst",), _figure("burst", "connected_max_ms"), 250),
    Target("500 at once: ms to the last `answer`", ("burst",), _figure("burst", "answered_max_ms"), 250),
    Target("event loop, held longest in any case: ms", WATCHED, _longest_held, 20),
    Target("backlog: mails a second", ("backlog",), _figure("backlog", "mails_per_second"), 150, least=True),
    Target(
        "backlog: growth of memory, in mails", ("backlog",), _figure("backlog", "rss_growth_mails"), WORKERS
    ),
    Target(
        "old rows: time to claim, an empty journal's being 1", ("old rows",), _against_empty("claim"), 1.5
    ),
    Target(
        "old rows: time to scrape, an empty journal's being 1", ("old rows",), _against_empty("scrape"), 1.5
    ),
    Target("old rows: ms to start", ("old rows",), _figure("old rows", "start_ms"), 2000),
)


def judged(found: Found) -> list[Verdict]:
    """Judge every target whose cases have run."""
    return [
        Verdict(target, target.value(found))
        for target in TARGETS
        if all(case in found for case in target.cases)
    ]
