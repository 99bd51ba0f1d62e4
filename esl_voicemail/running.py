"""What a running server leaves in its storage directory for others: a lock, and where it listens."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from esl_voicemail.config.values import Address
from esl_voicemail.errors import StorageBusyError

STATE_FILE = "serve.json"
LOCK_FILE = "lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a storage directory for this process; StorageBusyError when another server does."""
    with (directory / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            raise StorageBusyError(
                f"{directory}: another server (process {holder}) works here; stop it, "
                "or name another storage.directory"
            ) from error
        # Whom to ask about it is worth a word, and on a full disk none.
        with suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())
        yield


def is_served(directory: Path) -> bool:
    """Whether a server works on a storage directory; for a moment, none could begin to."""
    try:
        with (directory / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def announced(directory: Path, listen: Address, http: Address) -> Iterator[None]:
    """Say where the server listens for as long as it does: port 0 has become a number."""
    path = directory / STATE_FILE
    unfinished = path.with_suffix(".tmp")
    state = {"pid": os.getpid(), "listen": str(listen), "http": str(http), "since": round(time.time())}
    with suppress(OSError):  # on a full disk the command line does not find us, and mails go out all the same
        unfinished.write_text(json.dumps(state) + "\n")
        unfinished.replace(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def listening(directory: Path, on: Literal["listen", "http"] = "listen") -> Address | None:
    """Return where the server of a storage directory listens, or None when none says so."""
    try:
        host, _, port = str(json.loads((directory / STATE_FILE).read_text())[on]).rpartition(":")
        return Address(host.strip("[]"), int(port)) if host else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
