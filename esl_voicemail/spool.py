"""The recordings folder: names, whether it can be written, and audio that is on disk for good.

The switch writes here, so every name is ours and says whose message it is: the mailbox, the message and
nothing a caller chose. Everything in this room blocks on a disk; call it from a worker thread.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from esl_voicemail.audio import wav
from esl_voicemail.errors import RecordingError
from esl_voicemail.model import MAILBOX_NAME, Recording

_NAME = re.compile(rf"(?P<mailbox>{MAILBOX_NAME.pattern})\.(?P<message_id>[0-9A-Z]{{26}})\.wav")
# mod_sndfile looks for DIR/RATE/NAME first, even to write, and then fails the recording (facts of `record`).
_RATES = ("8000", "16000", "32000", "48000")


@dataclass(frozen=True, slots=True)
class Spool:
    """The folder the switch records into, and the one for what cannot be read."""

    recordings: Path
    corrupt: Path
    min_free_bytes: int = 0

    def trouble(self) -> str | None:
        """Return in one line why nothing can be recorded now, or None when all is well."""
        folder = self.recordings
        try:
            if not folder.exists():
                return f"{folder}: no such folder; create it, writable for the switch and for this service"
            shadow = next((rate for rate in _RATES if (folder / rate).exists()), None)
            if shadow:
                return f"{folder}/{shadow}: the switch would write there instead; remove or rename it"
            with tempfile.TemporaryFile(dir=folder):
                pass
            free = shutil.disk_usage(folder).free
        except OSError as error:
            return f"{folder}: cannot be written: {error.strerror}"
        if free < self.min_free_bytes:
            return (
                f"{folder}: {free >> 20} MiB free, less than storage.min_free_mb {self.min_free_bytes >> 20}"
            )
        return None

    def place(self, mailbox: str, message_id: str) -> Path:
        """Return where a message's audio goes."""
        return self.recordings / f"{mailbox}.{message_id}.wav"

    def admit(self, path: Path) -> Recording:
        """Make a recording safe: readable, its header right, file and folder on disk; and measure it.

        RecordingError when there is no such file or it is no audio.
        """
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise RecordingError(f"{path.name}: is no plain file")
            shape = wav.inspect(path)
            if not shape.header_right:
                self._mend(path, shape)
            digest, size = hashlib.sha256(), 0
            with path.open("rb") as file:
                while block := file.read(1 << 16):
                    digest.update(block)
                    size += len(block)
                os.fsync(file.fileno())
            sync_folder(path.parent)
        except OSError as error:
            raise RecordingError(f"{path.name}: {error.strerror}") from error
        return Recording(path, shape.duration_ms, size, digest.hexdigest(), not shape.header_right)

    def _mend(self, path: Path, shape: wav.Wav) -> None:
        if os.access(path, os.W_OK):
            wav.mend(path, shape)
            return
        # The switch's own user owns the file; the folder is shared, so a mended copy can take its place.
        copy = path.with_suffix(".mending")
        shutil.copyfile(path, copy)
        wav.mend(copy, shape)
        copy.replace(path)

    def quarantine(self, path: Path) -> Path:
        """Move what cannot be read aside, never over another file; return its new place."""
        self.corrupt.mkdir(exist_ok=True)
        aside = self.corrupt / path.name
        n = 1
        while os.path.lexists(aside):
            aside = self.corrupt / f"{path.name}.{n}"
            n += 1
        try:
            path.rename(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _carry(path, aside)
        sync_folder(self.corrupt)
        return aside

    def files(self) -> list[tuple[Path, float]]:
        """Return what lies in the folder, with the time each was last written (epoch seconds)."""
        found = []
        with os.scandir(self.recordings) as entries:
            for entry in entries:
                try:
                    found.append((Path(entry.path), entry.stat(follow_symlinks=False).st_mtime))
                except FileNotFoundError:
                    continue
        return found


def owner_of(path: Path) -> tuple[str, str] | None:
    """Return the mailbox and message a file's name speaks of, or None for a foreign file."""
    found = _NAME.fullmatch(path.name)
    return (found["mailbox"], found["message_id"]) if found else None


def _carry(path: Path, aside: Path) -> None:
    """Move across file systems: a whole copy stands on the other disk before the original goes."""
    if not stat.S_ISREG(path.lstat().st_mode):
        shutil.move(path, aside)
        return
    shutil.copy2(path, aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(aside.parent)
    path.unlink()


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk; a file's own fsync does not (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
