"""A switch's own event socket, where it takes commands (mod_event_socket, inbound): one command, one answer.

What is said is ours; what comes back is bounded and trusted no more than a call's frames are.
"""

import socket
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Self

from esl_voicemail.config.values import Address
from esl_voicemail.errors import CannotReachError, FrameError
from esl_voicemail.esl.frames import Frame, FrameReader
from esl_voicemail.model import one_line

_PART = 64 * 1024
# Letters of an answer: versions, causes, ids and offsets are short.
_ANSWER = 500
_SEE_ITS_FILE = "is that the port of its event_socket.conf.xml? Its log says more"


class Console:
    """One connection; CannotReachError when the switch is away, silent, or takes no commands from us."""

    def __init__(self, address: Address, password: str, seconds: float = 10.0) -> None:
        self.address = address
        self._frames: deque[Frame] = deque()
        self._reader = FrameReader()
        try:
            self._socket = socket.create_connection((address.host, address.port), timeout=seconds)
        except OSError as error:
            raise CannotReachError(
                f"{self._name}: {error.strerror or error}; is mod_event_socket loaded, and does it listen "
                "there?"
            ) from error
        try:
            if self._next(seconds, "auth/request", "text/rude-rejection").kind != "auth/request":
                raise CannotReachError(
                    f"{self._name}: takes no commands from this machine; see apply-inbound-acl in its "
                    "event_socket.conf.xml"
                )
            if not self._ask(f"auth {password}", seconds, "command/reply").startswith("+OK"):
                raise CannotReachError(f"{self._name}: refuses the password; see its event_socket.conf.xml")
        except BaseException:
            self._socket.close()
            raise

    @property
    def _name(self) -> str:
        return f"the switch's event socket at {self.address}"

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Our end of the connection and the switch's: host and port."""
        near, far = self._socket.getsockname(), self._socket.getpeername()
        return (near[0], near[1]), (far[0], far[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._socket.close()

    def api(self, command: str, seconds: float = 10.0) -> str:
        """Return what the switch answers a command of its console, as one line that a terminal may see."""
        return self._ask(f"api {command}", seconds, "api/response")

    def _ask(self, command: str, seconds: float, kind: str) -> str:
        if "\n" in command or "\r" in command:
            raise ValueError("a command is one line")
        try:
            self._socket.sendall(f"{command}\n\n".encode())
        except OSError as error:
            raise CannotReachError(f"{self._name}: {error.strerror or error}") from error
        frame = self._next(seconds, kind)
        said = frame.body.decode("utf-8", "replace") if frame.body else frame.headers.get("Reply-Text")
        return one_line(said, _ANSWER)

    def _next(self, seconds: float, *kinds: str) -> Frame:
        """Return the next frame of one of these kinds."""
        end = time.monotonic() + seconds
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.kind in kinds:
                    return frame
                if frame.kind == "text/disconnect-notice":
                    raise CannotReachError(f"{self._name}: closed the connection; {_SEE_ITS_FILE}")
            left = end - time.monotonic()
            if left <= 0:
                raise CannotReachError(f"{self._name}: is silent for {seconds:.0f} s; {_SEE_ITS_FILE}")
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(_PART)
                self._frames.extend(self._reader.feed(received))
            except TimeoutError:
                continue
            except (OSError, FrameError) as error:
                words = one_line(str(error), 200)
                raise CannotReachError(f"{self._name}: is no event socket: {words}") from error
            if not received:
                raise CannotReachError(f"{self._name}: closed the connection; {_SEE_ITS_FILE}")
