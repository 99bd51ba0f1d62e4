"""The stand-in's end of the event socket: reads commands, answers them in order, writes events.

Owns the socket and the subscription; what the commands do to the call is left to `session`.
"""

import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import gevent
from gevent import socket
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.queue import SimpleQueue

from esl_voicemail.trial import wire

_CONNECT_SECONDS = 25.0
_ENDLESS_BYTES = 16 * 1024 * 1024
_CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """A queued `sendmsg`: `hangup` has no application."""

    application: str | None
    argument: str
    application_uuid: str


class Listener:
    """Holds the socket: reads commands, answers them in order, writes the events subscribed to."""

    def __init__(
        self, connection: socket.socket, channel: wire.Channel, pace: float, patience: float
    ) -> None:
        self.inbox: SimpleQueue[Message | None] = SimpleQueue()
        self.killed = ""
        self.begun = Event()  # `connect` was answered, or never will be
        self.broken = Event()  # the running application is to stop
        self.connected = False
        self.left = False
        self.commands: list[str] = []
        self.events_bytes = 0
        self.error: str | None = None
        self._socket = connection
        self._channel = channel
        self._pace = pace
        self._patience = patience
        self._writing = BoundedSemaphore(1)
        self._mute = False
        self._mine = False
        self._wanted: set[str] = set()
        self._filters: list[wire.Header] = []
        self._linger: int | None = None
        self._lingering = False
        self._timer: gevent.Greenlet[..., None] | None = None

    def run(self) -> None:
        """Read and obey until either side closes."""
        self._later(max(_CONNECT_SECONDS / self._pace, self._patience), self._give_up)
        try:
            for command in self._read():
                self.commands.append(command.raw)
                self._obey(command)
        except (OSError, ValueError):
            pass  # A reset, or a command's length that makes FreeSWITCH close the socket: both are an end.
        finally:
            self._let_go()
            self.close()

    def _read(self) -> Iterator[wire.Command]:
        data = b""
        while chunk := self._socket.recv(65536):
            data = b"" if self._mute else data + chunk
            while not self._mute:
                command, data = wire.take_command(data)
                if command is None:
                    break
                yield command

    def _obey(self, command: wire.Command) -> None:
        word, _, rest = command.line.partition(" ")
        word, words = word.lower(), rest.split()
        first, text = len(self.commands) == 1, ""
        message: Message | None = None
        match word:
            case "connect":
                if not self.connected:
                    self._later(0, None)
                self.send(wire.connect_reply(self._channel.event("CHANNEL_DATA")))
                self.connected = True
                self.begun.set()
                return
            case "api":
                self.send(wire.api_reply(self._api(words)))
                return
            case "sendmsg":
                text, message = self._message(command, words)
            case "myevents" | "event" | "nixevent" | "noevents":
                text = self._subscribe(word, [name.upper() for name in words])
            case "filter" if words:
                text = self._filter(words, rest)
            case "linger":
                text = self._set_linger(words)
            case "nolinger":
                text = "+OK will not linger"
                self._linger = None
            case "resume":
                text = "+OK"
                self._channel.set("socket_resume", "true")
            case "getvar" if self._channel.variables.get(rest.strip()):
                text = self._channel.variables[rest.strip()]
            case _ if word.startswith(("exit", "...")):
                self.send(b"" if first else wire.command_reply("+OK bye"))
                self._let_go()
                self.finish()
                return
            case _:
                text = "-ERR command not found"
        if not first:  # FreeSWITCH throws the reply to a first command away unless it is `connect`
            self.send(wire.command_reply(text))
        if message:
            self.inbox.put(message)
        if self._lingering and word == "linger" and words:
            # The relative number replaces the absolute end of the linger time, which is thus over.
            self.finish()

    def _subscribe(self, word: str, names: list[str]) -> str:
        if word == "myevents":
            text = "-ERR aready enabled." if self._mine else "+OK Events Enabled"
            self._mine = True
            self._wanted |= wire.MY_EVENTS
        elif word == "noevents":
            text = "+OK no longer listening for events" if self._wanted else "-ERR not listening for events"
            self._wanted.clear()
        elif not set(names) - {"PLAIN"}:
            text = "-ERR no keywords supplied"
        elif word == "event":
            text = "+OK event listener enabled plain"
            self._wanted |= set(names) - {"PLAIN"}
        else:
            text = "+OK events nixed"
            self._wanted -= set(names)
        return text

    def _message(self, command: wire.Command, words: list[str]) -> tuple[str, Message | None]:
        headers = command.headers
        if words and words[0] != self._channel.call_id:
            return f"-ERR invalid session id [{words[0]}]", None
        match headers.get("call-command"):
            case "execute":
                body = command.body if headers.get("content-type") == "text/plain" else ""
                argument = headers.get("execute-app-arg") or body
                application_uuid = headers.get("event-uuid") or str(uuid.uuid4())
                return "+OK", Message(headers.get("execute-app-name", ""), argument, application_uuid)
            case "hangup":
                return "+OK", Message(None, headers.get("hangup-cause") or "NORMAL_CLEARING", "")
            case _:
                return "+OK", None

    def _api(self, words: list[str]) -> str:
        here = words[1:2] == [self._channel.call_id] and self._channel.hangup_cause is None
        match words[:1]:
            case ["uuid_break"]:
                if here:
                    self.broken.set()
                return "+OK\n" if here else "-ERR No such channel!\n"
            case ["uuid_kill"]:
                if here:
                    self.killed = words[2] if len(words) > 2 else "NORMAL_CLEARING"
                    self.broken.set()
                    self.inbox.put(Message(None, self.killed, ""))
                return "+OK\n" if here else "-ERR No such channel!\n"
            case ["uuid_exists"]:
                return str(here).lower()
            case _:
                return f"-ERR {words[0] if words else ''} Command not found!\n"

    def _filter(self, words: list[str], rest: str) -> str:
        if words[0].lower() != "delete":
            name, _, value = rest.partition(" ")
            self._filters.append((name, value))
            return f"+OK filter added. [{name}]=[{value}]"
        name, value = [*words[1:3], "", ""][:2]
        if not name:
            return "-ERR invalid syntax"
        gone = [
            kept for kept in self._filters if name == "all" or (kept[0] == name and value in {"", kept[1]})
        ]
        self._filters = [kept for kept in self._filters if kept not in gone]
        return f"+OK filter deleted. [{name}][{value}]"

    def _set_linger(self, words: list[str]) -> str:
        if words and words[0].isdigit():
            self._linger = int(words[0])
            return f"+OK will linger {self._linger} seconds"
        self._linger = -1
        return "+OK will linger"

    def send(self, data: bytes) -> None:
        """Write, unless the connection is over."""
        with self._writing:
            if not self._mute:
                try:
                    self._socket.sendall(data)
                except OSError:
                    self._mute = True

    def emit(self, name: str, extra: Iterable[wire.Header] = (), first: Iterable[wire.Header] = ()) -> None:
        """Write an event if the service subscribed to it."""
        if not self._wanted & {name, "ALL"}:
            return
        headers = self._channel.event(name, extra, first)
        if self._filters and not any(wanted in headers for wanted in self._filters):
            return
        frame = wire.event_frame(headers)
        if not self._mute:
            self.events_bytes += len(frame)
        self.send(frame)

    def notice(self) -> None:
        """Tell that the channel is down, once; without `linger` that is the end of the connection."""
        if self._lingering or self._mute:
            return
        if self._linger is None:
            self.finish()
            return
        self._lingering = True
        self.send(wire.linger_notice(self._channel.call_id, self._channel.name, self._linger))
        if self._linger >= 0:
            seconds = self._linger + 0.5  # FreeSWITCH compares whole seconds: N to N + 1 s
            self._later(min(seconds, max(seconds / self._pace, self._patience)), self.finish)

    def finish(self) -> None:
        """Send the final notice and close; what the service still sends is not read any more."""
        self.send(wire.final_notice(self._channel.call_id))
        self._mute = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._later(_CLOSE_SECONDS, self.close)

    def vanish(self, *, reset: bool = False) -> None:
        """End the connection with no notice, by RST or by FIN."""
        self._mute = True
        with suppress(OSError):
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def freeze(self) -> None:
        """Stop answering and writing; bytes are still taken off, so as to see the service close."""
        self._mute = True

    def babble(self) -> None:
        """Send a header line without an end, for as long as the service takes it."""
        self.send(b"Event-Name: ")
        for _ in range(_ENDLESS_BYTES // 65536):
            self.send(b"a" * 65536)
        self.vanish()

    def close(self) -> None:
        """Close the socket; more than once is no harm."""
        self._mute = True
        self._later(0, None)
        self._socket.close()

    def _give_up(self) -> None:
        self.error = "the service sent nothing for 25 s"
        self.finish()

    def _let_go(self) -> None:
        """The service holds the channel no longer: the session goes on without it."""
        self.left = True
        if self._channel.variables.get("socket_resume") == "true":
            self.broken.set()
        self.begun.set()
        self.inbox.put(None)

    def _later(self, seconds: float, act: Callable[[], None] | None) -> None:
        if self._timer is not None and self._timer is not gevent.getcurrent():
            self._timer.kill(block=False)
        self._timer = gevent.spawn_later(seconds, act) if act else None
