"""The processes of a run, each on its core, and what they take of it.

The service has a core to itself; the load, the mail server and whoever measures share the other.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.watched import VARIABLE, Watch
from tests.support.service import Service, start, until

ROOT = Path(__file__).parents[2]
LOAD_CORE, *_, SERVICE_CORE = sorted(os.sched_getaffinity(0)) * 2
_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET_SECONDS = 0.3


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Start processes on a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Spent:
    """A process and what it started, from outside."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads and of the processes it started."""
        seconds = 0.0
        for pid in self._all():
            with suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                seconds += sum(map(int, fields[11:15])) / _TICKS
        return seconds

    def resident_bytes(self) -> int:
        """Return the memory it has in use."""
        pages = 0
        for pid in self._all():
            with suppress(FileNotFoundError, ProcessLookupError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _all(self) -> Iterator[int]:
        waiting = [self.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    waiting += map(int, children.read_text().split())

    def quiet(self, seconds: float = 60.0) -> None:
        """Wait until it no longer works."""
        end, before = time.monotonic() + seconds, self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(_QUIET_SECONDS)
            now = self.cpu_seconds()
            if now - before <= 1 / _TICKS:
                return
            before = now


class Asked:
    """A process that answers a line with a line of JSON; see `generator` and `sink`."""

    def __init__(self, module: str, *arguments: str) -> None:
        with pinned(LOAD_CORE):
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    @property
    def spent(self) -> Spent:
        """What it takes itself."""
        return Spent(self._process.pid)

    def ask(self, **question: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return the next line it says; EOFError when it died instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError(f"{self._process.args!r} ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def load(address: tuple[str, int], audio: Path, capture: str = "left_with_key") -> Asked:
    """Return a generator that places a recorded call at an address."""
    recorded = ROOT / "tests" / "captures" / f"{capture}.jsonl"
    return Asked("tests.bench.generator", address[0], str(address[1]), str(recorded), str(audio))


@contextmanager
def served(
    folder: Path, settings: Mapping[str, Any], *, watched: bool = False, **environment: str
) -> Iterator[tuple[Service, Watch]]:
    """Run the service on its core for the length of a block; only when `watched` does the watch see it."""
    watch = Watch(folder / "watch")
    program = "tests.bench.watched" if watched else "esl_voicemail"
    paths = {VARIABLE: str(folder / "watch"), "PYTHONPATH": str(ROOT), **environment}
    with pinned(SERVICE_CORE):
        service = start(folder, settings, program, **paths)
    try:
        yield service, watch
    finally:
        service.process.kill()
        service.process.wait()


@contextmanager
def other(python: Path, program: Path, folder: Path) -> Iterator[tuple[tuple[str, int], Spent]]:
    """Run another program on the service's core, told its port and its folder for recordings."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("wb") as log, pinned(SERVICE_CORE):
        process = subprocess.Popen(
            [str(python), str(program), str(port), str(folder)], env=environment, stdout=log, stderr=log
        )

    def listening() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{program.name} ended: {(folder / 'log').read_text()[-2000:]}")
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        return False

    try:
        until(listening, f"{program.name} listens")
        yield ("127.0.0.1", port), Spent(process.pid)
    finally:
        process.kill()
        process.wait()
