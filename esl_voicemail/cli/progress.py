"""How far long work has come, as a bar on a terminal's standard error; elsewhere nothing is shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

# Its watching thread is of no use to one who never stalls.
tqdm.monitor_interval = 0


def shown(work: Iterable[T], unit: str, total: int | None = None) -> Iterable[T]:
    """Go through work, showing how much of it is done; the bar goes when the work does."""
    # None: not where standard error is no terminal.
    bar: Iterable[T] = tqdm(work, unit=f" {unit}", total=total, disable=None, leave=False)
    return bar


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Show which stage work is at, one in place of the other; the last goes when the work does."""
    with tqdm(bar_format="{desc} …", disable=None, leave=False) as line:
        yield line.set_description_str
