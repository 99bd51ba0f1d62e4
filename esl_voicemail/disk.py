"""Whether a folder can be written and has room, and some room kept aside; blocks on a disk."""

import errno
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
    seen = trouble_in_sight(folder, min_free_bytes)
    if seen:
        return seen
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # A file without content fits on a full disk too.
            file.write(bytes(_BLOCK_BYTES))
            file.flush()
    except OSError as error:
        return f"{folder}: cannot be written: {error.strerror}"
    return None


def trouble_in_sight(folder: Path, min_free_bytes: int) -> str | None:
    """Return the same as far as it shows without writing: a quota, say, or a broken disk does not."""
    try:
        # With the dot, what is no folder is told from one.
        found = os.statvfs(f"{folder}/.")
    except OSError as error:
        return f"{folder}: cannot be written: {error.strerror}"
    code = 0
    if found.f_flag & os.ST_RDONLY:
        code = errno.EROFS
    elif not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EACCES
    # A file system without a bound on bytes or on files has, by its own word, none at all.
    elif (found.f_blocks and not found.f_bavail) or (found.f_files and not found.f_favail):
        code = errno.ENOSPC
    if code:
        return f"{folder}: cannot be written: {os.strerror(code)}"
    free = found.f_bavail * found.f_frsize
    if free < min_free_bytes:
        return f"{folder}: {free >> 20} MiB free, less than storage.min_free_mb {min_free_bytes >> 20}"
    return None
