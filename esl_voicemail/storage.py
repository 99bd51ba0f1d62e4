"""The storage while it is in use: whether it can take a call now, how much room it has. Blocks on a disk."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from esl_voicemail import disk
from esl_voicemail.disk import Reserve
from esl_voicemail.journal.engine import FILE
from esl_voicemail.spool import Spool

_Identity = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How much room there is, in bytes; not a number of a disk that does not say."""

    recordings_free: float = math.nan
    recordings_size: float = math.nan
    journal_free: float = math.nan


@dataclass(frozen=True, slots=True)
class Storage:
    """The recordings' folder and the journal's files, as they were when the journal was opened."""

    spool: Spool
    journal: Path
    opened_as: _Identity
    reserve: Reserve

    @classmethod
    def in_use(cls, spool: Spool, directory: Path) -> "Storage":
        """Return the storage of a journal that has just been opened."""
        journal = directory / FILE
        return cls(spool, journal, _identity(journal), reserve_of(directory))

    def trouble(self) -> str | None:
        """Return why a call taken now could not be recorded or noted, or None when it can."""
        return (
            self.spool.trouble()
            or self._replaced()
            or disk.trouble(self.journal.parent, self.spool.min_free_bytes)
        )

    def trouble_in_sight(self) -> str | None:
        """Return the same as far as it shows without writing; the journal is written to at once anyway."""
        return (
            self.spool.trouble_in_sight()
            or self._replaced()
            or disk.trouble_in_sight(self.journal.parent, self.spool.min_free_bytes)
        )

    def _replaced(self) -> str | None:
        if _identity(self.journal) == self.opened_as:
            return None
        # What is written now would be lost with this process.
        return f"{self.journal}: the journal was removed or replaced while in use; restart the service"

    def room(self) -> Room:
        """Return how much room there is now."""
        recordings, journal = _usage(self.spool.recordings), _usage(self.journal.parent)
        return Room(recordings[1], recordings[0], journal[1])


def _usage(folder: Path) -> tuple[float, float]:
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return math.nan, math.nan
    return found.total, found.free


def reserve_of(directory: Path) -> Reserve:
    """Return the room kept aside beside the journal."""
    return Reserve(directory / "journal.reserve")


def _identity(journal: Path) -> _Identity:
    """Which files the journal is, its log included."""
    return _file(f"{journal}"), _file(f"{journal}-wal")


def _file(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each look costs more than the look
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
