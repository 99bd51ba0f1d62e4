"""The switch's side of one call: commands in, replies and events out. No socket, no clock.

Replies are due at once; what an application brings is due when whoever drives the call says so, one
application at a time, as with event-lock.
"""

import re
import uuid
from collections import deque

from tests.bench.recording import Event, Recording, Step
from tests.bench.subscription import Subscription

_NAME = re.compile(rb"^execute-app-name: (.*)$", re.MULTILINE)
_ARGUMENT = re.compile(rb"^execute-app-arg: '?([^' \n]*)", re.MULTILINE)
_EVENT_UUID = re.compile(rb"^Event-UUID: (.*)$", re.MULTILINE)
_OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
_API_OK = b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"
_BYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

SILENT = Subscription()


class Call:
    """One channel, from `connect` to the disconnect-notice."""

    __slots__ = (
        "_buffer",
        "_done",
        "_linger",
        "_recording",
        "_subscription",
        "call_id",
        "closed",
        "due",
        "event_bytes",
        "executed",
        "file",
        "hung_up",
        "progress",
    )

    def __init__(self, recording: Recording, call_id: str) -> None:
        self.call_id = call_id.encode()
        # How far the client has come: 1 `connect`, 2 a command behind it, 3 an application, 4 `answer`.
        self.progress = 0
        self.hung_up = False
        self.closed = False
        self.due: deque[tuple[Step, bytes]] = deque()
        self.executed = 0
        self.event_bytes = 0
        self.file = ""
        self._recording = recording
        self._subscription = SILENT
        self._linger: bytes | None = None
        self._buffer = b""
        self._done: dict[str, int] = {}

    def take(self, received: bytes) -> bytes:
        """Take what the client says and return the replies; ValueError for what the recording lacks."""
        *commands, self._buffer = (self._buffer + received).split(b"\n\n")
        return b"".join([self._reply(command.lstrip(b"\n")) for command in commands])

    def complete(self) -> bytes:
        """Let the oldest application that is due run to its end; return the events the client asked for."""
        step, application_id = self.due.popleft()
        said = self._say(step.events, application_id)
        return said + self._end() if step.hangs_up else said

    def _reply(self, command: bytes) -> bytes:
        if self.progress < 2:
            self.progress += 1
        if command.startswith(b"sendmsg"):
            return self._execute(command)
        asked = self._subscription.after(command)
        if asked is not None:
            self._subscription, reply = asked
            return b"Content-Type: command/reply\nReply-Text: %b\n\n" % reply
        verb, _, rest = command.partition(b" ")
        match verb:
            case b"connect":
                return self._recording.connected(self.call_id)
            case b"linger":
                self._linger = rest.strip()
                said = b" %b seconds" % self._linger if self._linger else b""
                return b"Content-Type: command/reply\nReply-Text: +OK will linger%b\n\n" % said
            case b"api":
                if rest.startswith(b"uuid_kill ") and not self.hung_up:
                    return _API_OK + self._say(self._recording.hang_up, b"") + self._end()
                return _API_OK
            case b"exit":
                return self._leave(b"Content-Type: command/reply\nReply-Text: +OK bye\n\n")
        return b"Content-Type: command/reply\nReply-Text: -ERR command not found\n\n"

    def _execute(self, command: bytes) -> bytes:
        found = _NAME.search(command)
        # After a hang-up a `sendmsg` is accepted, and nothing ever follows.
        if found is None or self.hung_up:
            return _OK
        name = found[1].decode()
        steps = self._recording.by_name.get(name)
        if steps is None:
            raise ValueError(f"the recorded call has no `{name}`")
        if name == "record" and (argument := _ARGUMENT.search(command)):
            self.file = argument[1].decode()
        self.progress = max(self.progress, 4 if name == "answer" else 3)
        turn = self._done.get(name, 0)
        self._done[name] = turn + 1
        self.executed += 1
        given = _EVENT_UUID.search(command)
        application_id = given[1] if given else str(uuid.uuid4()).encode()
        self.due.append((steps[min(turn, len(steps) - 1)], application_id))
        return _OK

    def _say(self, events: tuple[Event, ...], application_id: bytes) -> bytes:
        wants, call_id = self._subscription.wants, self.call_id
        frames = [
            event.frame(call_id, application_id) for event in events if wants(event, call_id, application_id)
        ]
        said = b"".join(frames)
        self.event_bytes += len(said)
        return said

    def _end(self) -> bytes:
        """Say what follows a hang-up; who does not linger is let go."""
        self.hung_up = True
        said = self._say(self._recording.farewell, str(uuid.uuid4()).encode())
        if self._linger is None:
            return self._leave(said)
        return said + (
            b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: %b\n"
            b"Content-Disposition: linger\nChannel-Name: %b\nLinger-Time: %b\nContent-Length: 0\n\n"
        ) % (self.call_id, self._recording.channel, self._linger or b"-1")

    def _leave(self, said: bytes) -> bytes:
        self.closed = True
        return said + (
            b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: %b\n"
            b"Content-Disposition: disconnect\nContent-Length: %d\n\n%b"
        ) % (self.call_id, len(_BYE), _BYE)
