"""Whether a folder can be written and has room, and some room kept aside; blocks on a disk."""

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Reserve:
    """Room kept aside in a file, for what must still be written once others have filled the disk.

    A database that cannot note an attempt cannot send what waits either, nor even be opened.
    """

    path: Path
    size_bytes: int = 4 << 20

    def tend(self) -> None:
        """Give the room up on a full disk, take it on one that has plenty; failing, try again next time."""
        with suppress(OSError):
            free = shutil.disk_usage(self.path.parent).free
            if free < self.size_bytes // 4:
                self.path.unlink(missing_ok=True)
            elif free > 4 * self.size_bytes and not self.path.exists():
                with self.path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, self.size_bytes)


def trouble(folder: Path, min_free_bytes: int) -> str | None:
    """Return in one line why nothing more should be written into a folder, or None when all is well."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # A file without content fits on a full disk too.
            file.write(bytes(_BLOCK_BYTES))
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder}: cannot be written: {error.strerror}"
    if free < min_free_bytes:
        return f"{folder}: {free >> 20} MiB free, less than storage.min_free_mb {min_free_bytes >> 20}"
    return None
