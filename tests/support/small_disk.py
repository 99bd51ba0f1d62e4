"""Disks small enough to be filled, and the processes that may mount them.

Mounting takes a process with mounts of its own, which `unshare` (util-linux) gives to anybody where the
system allows it; a test that wants it runs as such a process, by `tests.support.small_disk_process`.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.service import Service, running

_ROOT = Path(__file__).parents[2]
_ELSEWHERE = 65534
# No right to overrule a file's owner, so that a wrong one matters to root as well; gone when we are gone.
_OBEDIENT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--pdeathsig", "TERM")
_WAYS = (
    ("unshare", "--mount", "--propagation", "private", *_OBEDIENT),
    ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", *_OBEDIENT),
)


@cache
def way_in() -> tuple[tuple[str, ...], str]:
    """Return the command that runs another with mounts of its own; or none, and what the system said."""
    said = []
    for way in _WAYS:
        try:
            tried = subprocess.run(
                [*way, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            return (), f"{error.filename} is not installed"
        if tried.returncode == 0:
            return way, ""
        said.append(tried.stderr.strip())
    return (), f"no mounts of our own: {'; '.join(said)}"


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory; whatever befalls it is over at the end of its block."""

    folder: Path

    @classmethod
    def mounted(cls, folder: Path, megabytes: int = 4) -> "SmallDisk":
        """Mount a new one over a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder))
        return cls(folder)

    def unmount(self) -> None:
        """Let it go, with all that is on it."""
        _run("umount", str(self.folder))

    @contextmanager
    def full(self, *, but: int = 0) -> Iterator[None]:
        """Leave no room, but for so many bytes."""
        self.fill(but=but)
        try:
            yield
        finally:
            self.free()

    def fill(self, *, but: int = 0) -> None:
        """Take all the room there is, but for so many bytes."""
        filling = os.open(self.folder / ".filling", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with suppress(OSError):
            while True:
                os.write(filling, bytes(1 << 16))
        os.ftruncate(filling, os.fstat(filling).st_size - but)
        os.close(filling)

    def free(self) -> None:
        """Give the room back."""
        (self.folder / ".filling").unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse writes; files that are open for writing already are beyond what can be refused here."""
        where = str(self.folder)
        _run("mount", "--rbind", where, where)
        _run("mount", "-o", "remount,bind,ro", where)
        try:
            yield
        finally:
            _run("umount", "--recursive", where)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Have the folder without the disk that belongs there."""
        elsewhere = self.folder.with_name(f"{self.folder.name}-elsewhere")
        elsewhere.mkdir(exist_ok=True)
        _run("mount", "--move", str(self.folder), str(elsewhere))
        try:
            yield
        finally:
            _run("mount", "--move", str(elsewhere), str(self.folder))

    @contextmanager
    def anothers(self) -> Iterator[None]:
        """Have it belong to somebody else; where the system knows nobody else here, be forbidden to write."""
        mode = self.folder.stat().st_mode
        try:
            os.chown(self.folder, _ELSEWHERE, _ELSEWHERE)
        except OSError:
            self.folder.chmod(0o555)
        try:
            yield
        finally:
            self.folder.chmod(mode)
            os.chown(self.folder, os.getuid(), os.getgid())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


@dataclass(frozen=True)
class Disks:
    """A disk for each thing that the service keeps."""

    state: SmallDisk
    recordings: SmallDisk
    mail: SmallDisk


@contextmanager
def on_small_disks(
    folder: Path, settings: dict[str, object], *, megabytes: int = 4
) -> Iterator[tuple[Service, Disks]]:
    """Run a server whose journal, recordings and mails lie on a small disk each."""
    var = folder / "var"
    disks = Disks(*(SmallDisk.mounted(at, megabytes) for at in (var, var / "recordings", var / "mail")))
    with ExitStack() as stack:
        with one_after_another():
            service = stack.enter_context(running(folder, settings))
        yield service, disks


@contextmanager
def one_after_another() -> Iterator[None]:
    """Let one process at a time do what is heavy: started all at once, servers starve each other."""
    with Path(__file__).open("rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


# --- tests as processes of their own ---------------------------------------------------------------------

Scenario = Callable[[Path], None]


class Beside:
    """Scenarios that run each in a process with mounts of its own, all at once, as they mostly wait."""

    def __init__(self, scenarios: Sequence[Scenario], new_folder: Callable[[str], Path]) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        way, _ = way_in()
        for scenario in scenarios if way else ():
            folder = new_folder(scenario.__name__)
            process_of = [sys.executable, "-m", "tests.support.small_disk_process"]
            told = [scenario.__module__, scenario.__name__, str(folder)]
            with (folder / "said").open("wb") as said:
                process = subprocess.Popen([*way, *process_of, *told], cwd=_ROOT, stdout=said, stderr=said)
            self._running[scenario.__name__] = process, folder

    def passed(self, scenario: Scenario) -> None:
        """Wait for the end of a scenario; AssertionError with all it said when it failed."""
        process, folder = self._running[scenario.__name__]
        if process.wait() != 0:
            raise AssertionError((folder / "said").read_text(errors="replace"))

    def close(self) -> None:
        """End those that still run."""
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.wait()
