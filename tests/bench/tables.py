"""A run's figures and verdicts as tables, in Markdown, for a terminal and for `docs/performance.md`. Pure."""

from collections.abc import Sequence
from typing import Any

from tests.bench.targets import CPU, HELD_MS, OTHERS, Found, Verdict

_COLUMNS = {
    CPU: "CPU s / 1,000 calls",
    "calls_per_second": "calls/s",
    "reaction_p50_ms": "reaction p50, ms",
    "reaction_p99_ms": "p99, ms",
    "event_bytes_per_call": "event bytes / call",
    "rss_bytes_per_held_call": "bytes / held call",
    "mails_per_second": "mails/s",
    HELD_MS: "loop held, ms",
    OTHERS: "others' share",
}


def of_cases(found: Found) -> list[str]:
    """Return the figures that the cases have in common."""
    rows = [
        [name, *(_shown(figures[key]) if key in figures else "" for key in _COLUMNS)]
        for name, figures in found.items()
    ]
    return _table(["case", *_COLUMNS.values()], rows)


def of_verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    """Return what was promised, what was measured, how much of what is allowed that is, and pass or fail."""
    rows = [
        [
            verdict.target.name,
            _shown(verdict.value),
            f"{'at least' if verdict.target.least else 'at most'} {_shown(verdict.target.limit)}",
            f"{verdict.share:.2f}",
            "pass" if verdict.met else "FAIL",
        ]
        for verdict in verdicts
    ]
    return _table(["target", "measured", "limit", "of it", "verdict"], rows)


def _shown(value: Any) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return [
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |" for line in lines
    ]
