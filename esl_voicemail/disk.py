"""Whether a folder can be written and has room; blocks on a disk."""

import shutil
import tempfile
from pathlib import Path

_BLOCK_BYTES = 4096


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
