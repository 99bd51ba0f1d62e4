"""The recordings folder: names, whether it can be written, and audio that is on disk for good.

The switch writes here, so every name is ours and says whose message it is: the mailbox, the message and
nothing a caller chose. Everything in this room blocks on a disk; call it from a worker thread.
"""

import errno
import hashlib
import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from esl_voicemail import disk
from esl_voicemail.audio import wav
from esl_voicemail.digests import Digests, tells_changes
from esl_voicemail.errors import RecordingError
from esl_voicemail.model import MAILBOX_NAME, TAKES_AT_MOST, Recording

_NAME = re.compile(
    rf"(?P<mailbox>{MAILBOX_NAME.pattern})\.(?P<message_id>[0-9A-Z]{{26}})(\.[2-{TAKES_AT_MOST}])?\.wav"
)
# Says whose the folder is: without it, an empty mount point would pass for a folder without recordings.
MARK = ".esl-voicemail"
IDENTITY = "recordings.id"  # repeats it, in the storage directory
_ANOTHERS = f"its mark {MARK} is another storage directory's; name another storage.recordings"
_WORDS_BYTES = 256
# A recording of about a minute is read at once, to be hashed and heard; a longer one in blocks.
_AT_ONCE, _BLOCK = 1 << 20, 1 << 16
# mod_sndfile looks for DIR/RATE/NAME first, even to write, and then fails the recording.
_RATES = ("8000", "16000", "32000", "48000")


@dataclass(frozen=True, slots=True)
class Seen:
    """A file at one look; `written` is its time of writing in epoch seconds."""

    path: Path
    size: int
    written: float


@dataclass(frozen=True, slots=True)
class Spool:
    """The folder the switch records into, and the one for what cannot be read.

    `identity` is a file of the storage directory that holds the same words as the folder's mark. `forbidden`
    are recordings that the switch wrote and we may not read: the next one would be as well. `digests` are of
    those made safe a moment ago.
    """

    recordings: Path
    corrupt: Path
    min_free_bytes: int = 0
    identity: Path | None = None
    forbidden: set[Path] = field(default_factory=set, compare=False)
    digests: Digests = field(default_factory=Digests, compare=False)

    def take(self) -> None:
        """Mark the folder as this storage's, the first time; RecordingError when it is another's."""
        if self.identity is None or _words(self.identity):
            return
        unfinished = self.identity.with_suffix(".new")
        if not _words(unfinished):
            _put(unfinished, f"{uuid.uuid4()}\n")
        mark = self.recordings / MARK
        if not _words(mark):
            _put(mark, f"{_words(unfinished)}\n")
        if _words(mark) != _words(unfinished):
            raise RecordingError(f"{self.recordings}: {_ANOTHERS}")
        unfinished.rename(self.identity)
        sync_folder(self.identity.parent)

    def strange(self) -> str | None:
        """Return why the folder is not the one used before, or None when it is."""
        if self.identity is None:
            return None
        known, found = _words(self.identity), _words(f"{self.recordings}/{MARK}")
        if found == known or (not known and found == _words(self.identity.with_suffix(".new"))):
            return None
        if not found:
            return (
                f"{self.recordings}: is not the folder used before, as its mark {MARK} is missing; "
                f"mount it, or remove {self.identity} if it was moved on purpose"
            )
        return f"{self.recordings}: {_ANOTHERS}"

    def trouble(self) -> str | None:
        """Return in one line why nothing can be recorded now, or None when all is well."""
        return self._misplaced() or disk.trouble(self.recordings, self.min_free_bytes)

    def trouble_in_sight(self) -> str | None:
        """Return the same as far as it shows without writing."""
        return self._misplaced() or disk.trouble_in_sight(self.recordings, self.min_free_bytes)

    def _misplaced(self) -> str | None:
        """Return why what is recorded now would not come to lie where it is looked for, and can be read."""
        folder = self.recordings
        try:
            if not _is_there(f"{folder}"):
                return f"{folder}: no such folder; create it, writable for the switch and for this service"
            strange = self.strange()
            if strange:
                return strange
            shadow = next((rate for rate in _RATES if _is_there(f"{folder}/{rate}")), None)
            if shadow:
                return f"{folder}/{shadow}: the switch would write there instead; remove or rename it"
        except OSError as error:
            return f"{folder}: cannot be read: {error.strerror}"
        for path in tuple(self.forbidden):
            if os.path.lexists(path) and not os.access(path, os.R_OK):
                return (
                    f"{path}: the switch records what this service may not read; give both a common group "
                    "and the folder its setgid bit, then the file too"
                )
            self.forbidden.discard(path)
        return None

    def place(self, mailbox: str, message_id: str, take: int = 1) -> Path:
        """Return where a message's audio goes; who records again, does so beside what there is."""
        again = f".{take}" if take > 1 else ""
        return self.recordings / f"{mailbox}.{message_id}{again}.wav"

    def takes(self, name: str) -> list[Path]:
        """Return where all audio of a message may lie, given one of the names; the newest first."""
        owner = owner_of(Path(name))
        if owner is None:
            return [self.recordings / name]
        return [self.place(*owner, take) for take in range(TAKES_AT_MOST, 0, -1)]

    def admit(self, path: Path, hold: Callable[[wav.Sound], None] | None = None) -> Recording:
        """Make a recording safe: readable, its header right, file and folder on disk; and measure it.

        `hold` is given what was read of a recording of about a minute or less, to be heard. RecordingError
        when there is no such file or it is no audio, which no second look changes; OSError when the disk, a
        right or a limit is in the way, which says nothing of the audio.
        """
        recording, sound = self._read(path)
        right = sound.shape.header_right
        if not right:
            self._mend(path, sound.shape)
            recording, sound = self._read(path)
        sync_folder(path.parent)
        if hold and len(sound.content) == recording.size:
            hold(sound)
        return recording if right else replace(recording, repaired=True)

    def _read(self, path: Path) -> tuple[Recording, wav.Sound]:
        """Measure a recording and put it on disk; also return it, without its bytes where they are many."""
        descriptor = self._open(path)
        try:
            status = os.fstat(descriptor)
            tells = tells_changes(status)
            if not stat.S_ISREG(status.st_mode):
                raise RecordingError(f"{path.name}: is no plain file")
            content = os.read(descriptor, status.st_size) if status.st_size <= _AT_ONCE else b""
            file = io.BytesIO(content) if content else io.FileIO(descriptor, closefd=False)
            shape = wav.measure(file, status.st_size, path.name)
            if not content:
                os.lseek(descriptor, 0, os.SEEK_SET)
            digest, size = hashlib.sha256(content), len(content)
            while block := os.read(descriptor, _BLOCK):
                digest.update(block)
                size += len(block)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        recording = Recording(path, shape.duration_ms, size, digest.hexdigest())
        if tells:
            self.digests.note(status, recording.sha256)
        return recording, wav.Sound(shape, content)

    def _open(self, path: Path) -> int:
        """Open a recording; to open a pipe would be to wait for whoever writes into it."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise RecordingError(f"{path.name}: {error.strerror}") from error
        except OSError as error:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise RecordingError(f"{path.name}: is no plain file") from error
            if not os.access(path, os.R_OK):
                self.forbidden.add(path)
            raise

    def _mend(self, path: Path, shape: wav.Wav) -> None:
        if os.access(path, os.W_OK):
            wav.mend(path, shape)
            return
        # The switch's own user owns the file; the folder is shared, so a mended copy can take its place.
        copy = _mending(path)
        shutil.copyfile(path, copy)
        wav.mend(copy, shape)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
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

    def set_aside(self, path: Path) -> Path | None:
        """Quarantine a file, if there is one."""
        return self.quarantine(path) if os.path.lexists(path) else None

    def remove(self, name: str) -> list[Path]:
        """Remove a message's audio, wherever it lies; return what was there. May be repeated.

        Only for a message that is forgotten: past its retention, or because its caller asks.
        """
        found: list[Path] = []
        for take in self.takes(name) if _NAME.fullmatch(name) else ():
            found += [path for path in (take, _mending(take)) if os.path.lexists(path)]
            # Only then there, as a file may move there and none comes back.
            found += self.corrupt.glob(f"{take.name}*")
        for path in found:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in found}:
            sync_folder(folder)
        return found

    def files(self) -> list[Seen]:
        """Return the plain files in the folder.

        Folders and names that begin with a dot belong to somebody else: a file system, a backup, us.
        """
        found = []
        with os.scandir(self.recordings) as entries:
            for entry in entries:
                try:
                    if not entry.name.startswith(".") and not entry.is_dir(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.append(Seen(Path(entry.path), status.st_size, status.st_mtime))
                except FileNotFoundError:
                    continue
        return found


def owner_of(path: Path) -> tuple[str, str] | None:
    """Return the mailbox and message a file's name speaks of, or None for a foreign file."""
    found = _NAME.fullmatch(path.name)
    return (found["mailbox"], found["message_id"]) if found else None


def _mending(path: Path) -> Path:
    return path.with_name(f".{path.name}.mending")


def _words(path: Path | str) -> str:
    """Return what a small file says; every call asks, so without what pathlib and text files add."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, _WORDS_BYTES).decode(errors="replace").strip()
    finally:
        os.close(descriptor)


def _is_there(path: str) -> bool:
    """Return whether a path leads anywhere; OSError where nobody may look."""
    try:
        os.stat(path)  # noqa: PTH116 - a Path for each look costs more than the look
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _put(path: Path, words: str) -> None:
    """Write a small file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w") as file:
        file.write(words)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def _carry(path: Path, aside: Path) -> None:
    """Move across file systems: a whole copy stands on the other disk before the original goes."""
    if not stat.S_ISREG(path.lstat().st_mode):
        shutil.move(path, aside)
        return
    try:
        shutil.copy2(path, aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(aside.parent)
    path.unlink()


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk; a file's own fsync does not (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
