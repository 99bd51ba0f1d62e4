"""The targets of a run, most as ratios within it, and whether they are met. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Found = Mapping[str, Mapping[str, Any]]

CPU = "cpu_seconds_per_1000_calls"


@dataclass(frozen=True, slots=True)
class Target:
    """What is promised: a figure of some cases, and the most, or with `least` the least, it may be."""

    name: str
    cases: tuple[str, ...]
    value: Callable[[Found], float]
    limit: float
    unit: str
    least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured."""

    target: Target
    value: float

    @property
    def share(self) -> float:
        """How much of what is allowed was used; with `least`, how much of what is asked for was missed by."""
        if self.target.least:
            return self.target.limit / self.value if self.value else float("inf")
        return self.value / self.target.limit

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.share <= 1.0


def _against_greenswitch(case: str) -> Callable[[Found], float]:
    return lambda found: found[case][CPU] / found["greenswitch"][CPU]


TARGETS = (
    Target(
        "dialogue only, processor time against greenswitch's",
        ("dialogue only", "greenswitch"),
        _against_greenswitch("dialogue only"),
        0.25,
        "x",
    ),
    Target(
        "dialogue and journal, processor time against greenswitch's",
        ("dialogue and journal", "greenswitch"),
        _against_greenswitch("dialogue and journal"),
        0.25,
        "x",
    ),
)


def judged(found: Found) -> list[Verdict]:
    """Judge every target whose cases have run."""
    return [
        Verdict(target, target.value(found))
        for target in TARGETS
        if all(case in found for case in target.cases)
    ]


def table(verdicts: list[Verdict]) -> list[str]:
    """Return the verdicts as lines for a person."""
    return [
        f"{'pass' if verdict.met else 'FAIL'}  {verdict.target.name}: "
        f"{verdict.value:.3g} {verdict.target.unit} "
        f"({'at least' if verdict.target.least else 'at most'} {verdict.target.limit:g}, "
        f"{verdict.share:.2f} of it)"
        for verdict in verdicts
    ]
