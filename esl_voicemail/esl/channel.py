"""One call's event socket: greenswitch's OutboundSession, hardened. The only room that knows greenswitch.

greenswitch reads in one greenlet and dispatches in another, unquotes before it splits, matches
completions by a variable that the switch does not reset, waits without end and polls. Here the call's own
greenlet reads, so there is no second waiter to wake; a completion is known by its Application-UUID; every
read and write has a deadline; and any end of the stream is a `ControlLost`.

Left to others: what to say (`dialogue`), the text of commands (`esl.commands`), cutting frames
(`esl.frames`).
"""

import math
import time
from collections import deque
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from greenswitch.esl import OutboundSession

from esl_voicemail.dialogue import (
    ApplicationDone,
    CallerHungUp,
    ControlLost,
    DeadlineExpired,
    DigitPressed,
    Input,
    Record,
    Typed,
)
from esl_voicemail.errors import CallerGoneError, ControlLostError, FrameError
from esl_voicemail.esl.commands import TYPED, SwitchCommand, codec_in, execute, leave_word, take_over, text_of
from esl_voicemail.esl.frames import Frame, FrameReader, Headers, Room
from esl_voicemail.esl.sockets import Stream
from esl_voicemail.model import EndedBy, one_line

CONNECT_SECONDS = 5.0
LINGER_SECONDS = 30
_SEND_SECONDS = 10.0
_READS_AT_ONCE = 8
# Between two things that matter a switch sends a few replies and events we did not mean.
_UNREAD_FRAMES_AT_MOST = 2000
_LATE_FRAMES_AT_MOST = 500
# Of all hang-ups, those that are not the caller's: he was cut off.
_FAULTS = {
    "DESTINATION_OUT_OF_ORDER",
    "MANAGER_REQUEST",
    "MEDIA_TIMEOUT",
    "NETWORK_OUT_OF_ORDER",
    "RECOVERY_ON_TIMER_EXPIRE",
    "SYSTEM_SHUTDOWN",
}


class Channel(OutboundSession):  # type: ignore[misc]
    """The control connection of one call; it has the verbs of greenswitch's, none of its machinery."""

    def __init__(self, address: Any, sock: socket.socket, room: Room | None = None) -> None:
        # Not greenswitch's own: its queues, handlers and buffer are for greenlets that are not started here.
        self.sock, self.connected = sock, True
        self._stream = Stream(sock)
        self.peer = str(address[0])
        self.call_id = ""
        # A port that is only looked at, by a load balancer say, is spoken to by no switch.
        self.is_call = self.has_spoken = False
        self.hung_up = False
        self.commands_refused: list[str] = []
        self.foreign_events = 0
        self._reader = FrameReader(room)
        self._frames: deque[Frame] = deque()
        self._sent: deque[str] = deque()
        self._unsaid: list[str] = []
        self._heard_in: Headers | None = None
        self._limit_ms = 0
        self._limit_at = math.inf
        self._broken = ""
        self._reads = 0
        self._unread = 0
        self._late = 0

    @property
    def frames_refused(self) -> int:
        """How many frames were no frames."""
        return self._reader.refused

    def connect(self, seconds: float = CONNECT_SECONDS) -> Headers:
        """Take the call over and return what the switch knows of it.

        In the same breath a bounded linger is asked for, and the events that are read, and no others.
        ControlLostError when the peer says nothing in time or says no frame; CallerGoneError when the caller
        is gone already.
        """
        self._write(*take_over(LINGER_SECONDS))
        until = time.monotonic() + seconds
        while True:
            frame = self._next_frame(until)
            if frame is None:
                raise ControlLostError(f"the peer did not answer `connect` within {seconds:g} s")
            if frame.kind == "command/reply" and frame.headers.raw("Event-Name") is not None:
                self._sent.popleft()
                self.is_call = True
                self.call_id = one_line(frame.headers.get("Unique-ID"), 80)
                return frame.headers
            if frame.kind == "text/disconnect-notice":
                self.is_call = True
                self.call_id = one_line(frame.headers.get("Controlled-Session-UUID"), 80)
                raise CallerGoneError("the caller hung up before the service had the call")

    def perform(self, command: SwitchCommand) -> None:
        """Have a command said with others at the next `receive`, through which its outcome arrives."""
        if isinstance(command, Record):
            self._limit_ms = command.max_seconds * 1000
            self._limit_at = time.monotonic() + command.max_seconds
            self._unsaid.append(text_of(command, self.call_id, codec_in(self._heard_in)))
            self._heard_in = None
        else:
            self._unsaid.append(text_of(command, self.call_id))

    def receive(self, until: float) -> Input:
        """Return the next thing that happened, `DeadlineExpired` at `until` (monotonic seconds)."""
        try:
            if self._unsaid:
                self._write()
            while True:
                frame = self._next_frame(until)
                if frame is None:
                    return DeadlineExpired()
                happened = self._understand(frame)
                # What came before the deadline and is read late still counts, but not without end.
                self._late = self._late + 1 if time.monotonic() > until else 0
                if self._late > _LATE_FRAMES_AT_MOST:
                    return DeadlineExpired()
                if happened is not None:
                    # Keys pressed without end are a flood too.
                    if not isinstance(happened, DigitPressed):
                        self._unread = 0
                    return happened
        except ControlLostError:
            return ControlLost()

    def hand_back(self, result: str, application_id: str, seconds: float = 2.0) -> None:
        """Tell the dialplan how it went, and leave the call to its next action."""
        try:
            self.send(leave_word(application_id, result))
            # It runs in the call's own thread: an `exit` sent on its heels would overtake it.
            until = time.monotonic() + seconds
            while True:
                match self.receive(until):
                    case ApplicationDone(done) if done == application_id:
                        break
                    case ControlLost() | DeadlineExpired() | CallerHungUp():
                        break
        except ControlLostError:
            pass
        finally:
            self.leave()

    def leave(self) -> None:
        """Say `exit` and close; after a hang-up this frees the channel from lingering."""
        try:
            self.send("exit")
        except ControlLostError:
            pass
        finally:
            self.close()

    def dismiss(self, why: str) -> None:
        """End the connection under whoever reads from it: control is lost, for this reason."""
        self.connected = False
        self._broken = why
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; nothing is said."""
        self.connected = False
        self._reader.close()
        self._stream.close()

    # greenswitch's own verbs, where they would undo the hardening.

    def send(self, data: str) -> None:
        """Write one command; its reply is matched in turn as it comes."""
        self._write(data)

    def call_command(self, app_name: str, app_args: str | None = None, *_: Any, **__: Any) -> None:
        """Execute an application without waiting, under a UUID nobody waits for."""
        self.send(execute("unwatched", app_name, app_args or ""))

    def stop(self) -> None:
        """Leave the call, as greenswitch's callers expect of `stop`."""
        self.leave()

    def _write(self, *commands: str) -> None:
        """Say what waits to be said, and these commands behind it."""
        said, self._unsaid = [*self._unsaid, *commands], []
        if not self.connected:
            raise ControlLostError("the event socket is closed")
        self._sent.extend([command.partition("\n")[0] for command in said])
        try:
            self._stream.send(("\n\n".join(said) + "\n\n").encode("utf-8"), _SEND_SECONDS)
        except OSError as error:
            self.connected = False
            raise ControlLostError(f"the switch does not read: {error}") from error

    def _next_frame(self, until: float) -> Frame | None:
        while not self._frames:
            if self._broken:
                self.connected = False
                raise ControlLostError(self._broken)
            try:
                received = self._stream.receive(until, midway=self._reader.held > 0)
            except OSError as error:
                received, self._broken = b"", str(error)
            if received is None:
                return None
            self._take(received)
            # A peer that never pauses must not keep the other calls from running.
            self._reads += 1
            if not self._reads % _READS_AT_ONCE:
                gevent.sleep(0)
        self._unread += 1
        if self._unread > _UNREAD_FRAMES_AT_MOST:
            self._broken = f"the peer sent {self._unread} frames that say nothing"
            self._frames.clear()
            raise ControlLostError(self._broken)
        return self._frames.popleft()

    def _take(self, received: bytes) -> None:
        """Cut what came into frames; those before a fault still count."""
        if not received:
            self._broken = self._broken or "the switch closed the event socket"
            return
        self.has_spoken = True
        try:
            for frame in self._reader.feed(received):
                self._frames.append(frame)
        except FrameError as error:
            self._broken = str(error)

    def _understand(self, frame: Frame) -> Input | None:
        match frame.kind:
            case "text/event-plain":
                return self._understand_event(frame.event())
            case "command/reply" | "api/response":
                return self._match_reply(frame)
            case "text/disconnect-notice":
                if frame.headers.get("Content-Disposition") != "linger":
                    self.connected = False
                    self._broken = "the switch ended the event socket"
                    raise ControlLostError(self._broken)
                return self._hang_up_once("")
        return None

    def _understand_event(self, event: Headers) -> Input | None:
        if event.get("Unique-ID") != self.call_id:
            self.foreign_events += 1
            return None
        match event.get("Event-Name"):
            case "CHANNEL_EXECUTE_COMPLETE":
                return self._completion(event)
            case "DTMF":
                return DigitPressed(event.get("DTMF-Digit")[:1])
            case "CHANNEL_HANGUP":
                return self._hang_up_once(event.get("Hangup-Cause"))
        return None

    def _hang_up_once(self, cause: str) -> Input | None:
        if self.hung_up:
            return None
        self.hung_up = True
        return CallerHungUp(by_fault=cause in _FAULTS)

    def _completion(self, event: Headers) -> ApplicationDone | Typed:
        self._heard_in = event
        # The switch puts them behind all variables (switch_core_session_exec).
        own = event.since("Application")
        application_id, application = own.get("Application-UUID"), own.get("Application")
        response = own.get("Application-Response")
        # Variables outlive the application that set them: only its own are read.
        match application:
            case "playback":
                if ended := event.variable("playback_terminator_used"):
                    typed = ended.replace("#", "")[:40]
                    return (
                        Typed(application_id, typed)
                        if typed
                        else ApplicationDone(application_id, response, ended_by=EndedBy.KEY)
                    )
            case "play_and_get_digits":
                if typed := event.variable(TYPED)[:40]:
                    return Typed(application_id, typed)
            case "record":
                duration_ms = event.number("variable_record_ms") or 0
                return ApplicationDone(
                    application_id, response, duration_ms, self._ended_by(event, duration_ms)
                )
        return ApplicationDone(application_id, response)

    def _ended_by(self, event: Headers, duration_ms: int) -> EndedBy:
        if event.variable("playback_terminator_used"):
            return EndedBy.KEY
        if event.variable("silence_hits_exhausted") == "true":
            return EndedBy.SILENCE
        # The switch keeps the limit by the clock, but writes no audio for gaps in the caller's RTP; a
        # fault of its disk comes before the clock says so.
        if time.monotonic() >= self._limit_at or (self._limit_ms and duration_ms >= self._limit_ms):
            return EndedBy.LIMIT
        if event.get("Answer-State") == "hangup" and event.get("Hangup-Cause") not in _FAULTS:
            return EndedBy.HANG_UP
        return EndedBy.CUT

    def _match_reply(self, frame: Frame) -> Input | None:
        """Match a reply to its command; an application refused will never be done: its time is over now."""
        to_api = frame.kind == "api/response"
        for at, command in enumerate(self._sent):
            if command.startswith("api ") == to_api:
                del self._sent[at]
                break
        else:
            self._reader.refused += 1
            return None
        reply = frame.headers.get("Reply-Text") or frame.body.decode("utf-8", "replace")
        # "No such channel" to a hang-up says that the caller was quicker.
        if reply.startswith("-ERR") and not command.startswith("api uuid_kill"):
            self.commands_refused.append(f"{command}: {reply.strip()[:100]}")
            return DeadlineExpired() if command == "sendmsg" else None
        return None
