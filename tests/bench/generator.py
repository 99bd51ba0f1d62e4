"""The load: recorded calls placed against whatever listens, and what the other side took to react.

A process of its own: one job a line of JSON on its standard input, one line of figures back. Owns the sockets
and the clock; what is said is `switch`'s.
"""

import gc
import json
import resource
import select
import socket
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import recording
from tests.bench.figures import Figures
from tests.bench.switch import Call

# The event socket of a real switch looks for commands this often.
TICK_SECONDS = 0.02
_READ_BYTES = 65536
_LONGEST_SECONDS = 300.0
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """So many calls: `at_once` of them, or `per_second` new ones; with `hold` they stay in their recording.

    `release` lets those that are held go on, within `spread` seconds; `tick` is what the switch takes to
    carry out an application.
    """

    calls: int = 0
    at_once: int = 100
    per_second: float = 0.0
    hold: bool = False
    release: bool = False
    spread: float = 0.0
    tick: float = TICK_SECONDS


class Line:
    """One call's connection."""

    __slots__ = ("began", "call", "held", "listening", "recorded", "sock", "spoke", "unsent")

    def __init__(self, sock: socket.socket, call: Call, began: float) -> None:
        self.sock = sock
        self.call = call
        self.began = began
        self.spoke = 0.0  # when a completion went out that nothing has answered yet
        self.recorded = False  # it was a recording's
        self.unsent = b""
        self.listening = False
        self.held = False


class Generator:
    """Places calls against an address; every recording gets the same audio."""

    def __init__(self, address: tuple[str, int], capture: Path, audio: bytes) -> None:
        self._address = address
        self._recording = recording.read(capture)
        self._audio = audio
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._held: list[Line] = []
        self._due: deque[tuple[float, Line]] = deque()
        self._leaving: deque[tuple[float, Line]] = deque()
        self._job = Job()
        self._figures = Figures()

    def run(self, job: Job) -> dict[str, Any]:
        """Do a job and return its figures; those that do not end in time have failed."""
        self._job, self._figures = job, Figures()
        began = time.monotonic()
        if job.release:
            apart = job.spread / max(1, len(self._held))
            self._leaving = deque((began + n * apart, line) for n, line in enumerate(self._held))
            self._held = []
        left, last = job.calls, began
        while left or len(self._lines) > len(self._held):
            now = time.monotonic()
            if now - began > _LONGEST_SECONDS or now - last > _PATIENCE_SECONDS:
                self._give_up("no answer in time")
                break
            for _ in range(min(left, self._wanted(job, left, now - began))):
                self._place()
                left -= 1
            for due in (self._due, self._leaving):
                while due and due[0][0] <= now:
                    self._complete(due.popleft()[1])
            for number, what in self._epoll.poll(self._pause(job, left, began)):
                last = now
                self._attend(number, what)
        return self._figures.told(time.monotonic() - began)

    def _wanted(self, job: Job, left: int, elapsed: float) -> int:
        if job.per_second:
            return int(elapsed * job.per_second) - (job.calls - left)
        return job.at_once - (len(self._lines) - len(self._held))

    def _pause(self, job: Job, left: int, began: float) -> float:
        now = time.monotonic()
        pause = min([0.5, *(due[0][0] - now for due in (self._due, self._leaving) if due)])
        if left and job.per_second:
            pause = min(pause, began + (job.calls - left + 1) / job.per_second - now)
        return max(0.0, pause)

    def _place(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = Line(sock, Call(self._recording, str(uuid.uuid4())), time.monotonic())
        self._lines[sock.fileno()] = line
        sock.connect_ex(self._address)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _attend(self, number: int, what: int) -> None:
        line = self._lines[number]
        try:
            if what & select.EPOLLOUT:
                self._send(line, b"")
            if what & ~select.EPOLLOUT:
                received = line.sock.recv(_READ_BYTES)
                if received:
                    self._take(line, received)
                else:
                    self._end(line, "" if line.call.hung_up else "it left a call that was up")
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._end(line, "" if line.call.hung_up and isinstance(error, OSError) else str(error))

    def _take(self, line: Line, received: bytes) -> None:
        now, call = time.monotonic(), line.call
        figures, before, executed = self._figures, call.progress, call.executed
        if line.spoke:
            figures.reactions.append(now - line.spoke)
            if line.recorded:
                figures.keeping.append(now - line.spoke)
            line.spoke = 0.0
        said = call.take(received)
        if call.progress != before:
            for reached, times in enumerate(figures.milestones):
                if before <= reached < call.progress:
                    times.append(now - line.began)
        self._send(line, said)
        for step, _ in list(call.due)[executed - call.executed :] if call.executed > executed else ():
            if step.application == "record" and self._job.hold:
                line.held = True
                self._held.append(line)
            else:
                self._due.append((now + self._job.tick, line))
        if call.closed and not line.unsent:
            self._end(line, "")

    def _complete(self, line: Line) -> None:
        call = line.call
        if call.closed or not call.due or line.sock.fileno() < 0:
            return
        line.recorded = call.due[0][0].application == "record"
        if line.recorded:
            Path(call.file).write_bytes(self._audio)
        said = call.complete()
        try:
            self._send(line, said)
        except OSError as error:
            self._end(line, "" if call.hung_up else str(error))
            return
        if said and not call.hung_up:
            line.spoke = time.monotonic()

    def _send(self, line: Line, said: bytes) -> None:
        unsent = line.unsent + said
        if not unsent:
            return
        try:
            line.unsent = unsent[line.sock.send(unsent) :]
        except BlockingIOError:
            line.unsent = unsent
        if bool(line.unsent) is not line.listening:
            line.listening = bool(line.unsent)
            wanted = select.EPOLLIN | (select.EPOLLOUT if line.listening else 0)
            self._epoll.modify(line.sock.fileno(), wanted)

    def _end(self, line: Line, why: str) -> None:
        del self._lines[line.sock.fileno()]
        if line.held and line in self._held:
            self._held.remove(line)
        line.sock.close()
        self._figures.event_bytes += line.call.event_bytes
        if why:
            self._figures.failed += 1
            self._figures.why = self._figures.why or why
        else:
            self._figures.ended += 1

    def _give_up(self, why: str) -> None:
        for line in list(self._lines.values()):
            self._end(line, why)
        self._due.clear()
        self._leaving.clear()


def main() -> None:
    """Take jobs until standard input ends: HOST PORT CAPTURE AUDIO."""
    host, port, capture, audio = sys.argv[1:]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    generator = Generator((host, int(port)), Path(capture), Path(audio).read_bytes())
    gc.freeze()
    for asked in sys.stdin:
        print(json.dumps(generator.run(Job(**json.loads(asked)))), flush=True)


if __name__ == "__main__":
    main()
