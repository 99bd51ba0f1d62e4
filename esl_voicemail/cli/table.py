"""A table on a terminal: columns of a width, measured as a terminal shows them, never wider than it is."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from wcwidth import clip, ljust, rjust, width

_BETWEEN = "  "
_MARK = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """What a column is headed by and how many cells it takes; the last one takes what is left."""

    head: str
    cells: int
    is_number: bool = False


def room() -> int | None:
    """Return how many cells a line may take: those of the terminal, or None where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def row(columns: Sequence[Column], values: Sequence[str], most: int | None) -> str:
    """Return one row's line; where it may take only so many cells, what is too long is cut."""
    line = _BETWEEN.join(
        (rjust if column.is_number else ljust)(
            value if most is None or column is columns[-1] else _cut(value, column.cells), column.cells
        )
        for column, value in zip(columns, values, strict=True)
    ).rstrip()
    return line if most is None else _cut(line, most)


def _cut(line: str, most: int) -> str:
    """Return a line in at most so many cells, its end marked where it was cut."""
    return line if width(line) <= most else clip(line, 0, most - 1).rstrip() + _MARK
