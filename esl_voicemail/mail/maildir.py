"""A Maildir: each mail written into tmp, on disk before it is moved into new, under a name used once.

See https://cr.yp.to/proto/maildir.html. Blocks on a disk; call it from a worker thread.
"""

import glob
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from esl_voicemail.mail.parts import Entity
from esl_voicemail.spool import sync_folder
from esl_voicemail.verdict import Envelope

# What `_store` names its files; no other delivery agent has that R.
_OURS = re.compile(r"\d+\.M\d{6}P\d+R[0-9a-f]{16}\..+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Maildir:
    """The folder that holds tmp, new and cur."""

    folder: Path

    def create(self) -> None:
        """Make the folders that are missing."""
        for name in ("tmp", "new", "cur"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def sweep(self) -> None:
        """Remove from tmp what a killed process left half-written there; for a start, as nothing is sent yet.

        Only names of our own making, of whatever host: a container has a new one each time. Should another
        service store its mails here too, it writes once more what went in mid-writing.
        """
        # A disk that refuses now is no reason not to start.
        with suppress(OSError):
            for path in [path for path in (self.folder / "tmp").iterdir() if _OURS.fullmatch(path.name)]:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def store(self, envelope: Envelope, mail: Entity) -> str:
        """Store a mail durably and return its file's name; OSError when the disk refuses.

        Folders that somebody removed meanwhile are made again.
        """
        head = f"Return-Path: <{envelope.sender}>\nDelivered-To: {envelope.recipient}\n".encode("ascii")
        # A Maildir keeps mails with the system's line ends. Piece by piece, as a long one holds others up.
        content = b"".join([head, *(piece.replace(b"\r\n", b"\n") for piece in mail.pieces)])
        try:
            return self._store(content)
        except FileNotFoundError:
            self.create()
            sync_folder(self.folder.parent)
            sync_folder(self.folder)
            return self._store(content)

    def find(self, name: str) -> Path | None:
        """Return where a mail is that was stored under a name; a mail program moves it and adds flags."""
        read = (self.folder / "cur").glob(f"{glob.escape(name)}*")
        return next((path for path in (self.folder / "new" / name, *read) if path.is_file()), None)

    def _store(self, content: bytes) -> str:
        host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        # No ULID: its generator holds a lock, which gevent's patch made one that native threads hang in.
        name = f"{seconds}.M{nanoseconds // 1000:06d}P{os.getpid()}R{os.urandom(8).hex()}.{host}"
        unfinished = self.folder / "tmp" / name
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self.folder / "new" / name)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(self.folder / "new")
        return name
