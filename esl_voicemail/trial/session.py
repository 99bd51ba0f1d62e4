"""The stand-in's channel at work: executes what the service queued while the caller lives.

Owns virtual time and what happens in it; the socket is left to `listener`, the text to `wire`.
"""

import math
import re
import time
import uuid
import wave
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gevent
from gevent.queue import Empty

from esl_voicemail.trial import wire
from esl_voicemail.trial.caller import (
    FRAME_SECONDS,
    RATE,
    Fault,
    KeyPress,
    Mishap,
    Moment,
    Notice,
    Stage,
    TrialCaller,
    open_recording,
)
from esl_voicemail.trial.listener import Listener, Message

_TICK_SECONDS = 0.02
_WRITE_SECONDS = 0.5
_LONGEST_SECONDS = 3600.0
_MOMENT_SECONDS = 1e-6
_DIGITS = "1234567890*#"


_Planned = tuple[Moment, KeyPress | Fault | None]  # None: he hangs up


class SwitchDied(Exception):  # noqa: N818 - it is no error: a mishap ends the session where it stands
    """The switch is gone or frozen."""


class Session:
    """Executes what the service queues, one application after the other, while the caller lives."""

    def __init__(self, channel: wire.Channel, caller: TrialCaller, listener: Listener, pace: float) -> None:
        self.applications: list[tuple[str, str]] = []
        self.given: dict[str, str] = {}
        self.greeting_played = False
        self.recording: str | None = None
        self.recorded_ms = 0
        self.handed_back = False
        self.transferred: str | None = None
        self.error: str | None = None
        self._channel = channel
        self._caller = caller
        self._listener = listener
        self._pace = pace
        self._digits = ""
        self._parked = False
        self._clocks = dict.fromkeys(Stage, 0.0)
        plan: list[_Planned] = [(key.at, key) for key in caller.keys]
        plan += [(caller.fault.at, caller.fault)] if caller.fault else []
        plan += [(caller.hang_up, None)] if caller.hang_up else []
        framed = [(moment.framed(), what) for moment, what in plan]
        self._plan = sorted(framed, key=lambda item: item[0].seconds)
        self._known: dict[str, Callable[[str], None]] = {
            "answer": self._answer,
            "pre_answer": self._pre_answer,
            "sleep": self._sleep,
            "playback": self._playback,
            "play_and_get_digits": self._play_and_get_digits,
            "record": self._record,
            "transfer": self._transfer,
            "set": self._set,
            "multiset": self._multiset,
            "unset": lambda argument: self._set(f"{argument}="),
            "hangup": lambda argument: self._hang_up(argument or "NORMAL_CLEARING"),
        }

    def run(self) -> None:
        """Wait for `connect`, then execute until the call or the connection is over."""
        self._listener.begun.wait()
        if not self._listener.connected:
            # FreeSWITCH parks such a call in silence, unless the dialplan set socket_resume before.
            self.handed_back = self._channel.variables.get("socket_resume") == "true"
            self.error = "the service closed the connection before it sent connect"
            return
        try:
            while self.transferred is None and (message := self._next()):
                self._execute(message)
            self.handed_back = self._up and self.transferred is None
            if not self._up:
                self._report()
        except SwitchDied:
            self.handed_back = False

    @property
    def _up(self) -> bool:
        return self._channel.hangup_cause is None

    @property
    def _ringing(self) -> bool:
        return self._channel.answered_us == 0

    def _next(self) -> Message | None:
        """Park until a message comes; None when the call is over or the service has gone."""
        while self._up and not self._listener.left:
            ahead = self._ahead(Stage.RINGING) if self._ringing else math.inf
            endless = math.isinf(ahead) or (ahead > 0 and math.isinf(self._pace))
            began = time.monotonic()
            try:
                message = self._listener.inbox.get(timeout=None if endless else ahead / self._pace)
            except Empty:
                self._age(Stage.RINGING, ahead)
                self._live(Stage.RINGING, 0.0)
                continue
            if math.isfinite(self._pace):
                self._age(Stage.RINGING, min(ahead, (time.monotonic() - began) * self._pace))
            return message
        return None

    def _execute(self, message: Message) -> None:
        if not self._listener.killed:
            self._listener.broken.clear()
        self._live(self._stage(None), _TICK_SECONDS)
        self._park()
        if not self._up or self._listener.left:
            return
        if message.application is None:
            self._hang_up(message.argument)
            return
        name, channel = message.application, self._channel
        if channel.answered_us and "sip_to_tag" not in channel.variables:
            channel.learn("acknowledged")
        channel.set("app_uuid", message.application_uuid)
        channel.set("current_loop", "1")
        channel.set("total_loops", "1")
        if name not in self._known:
            self._hang_up("DESTINATION_OUT_OF_ORDER")
            return
        scoped, argument = wire.scope(wire.expand(message.argument, channel.variables))
        channel.set("app_uuid", "")
        channel.set("current_application_response", "")
        channel.set("current_application", name)
        channel.set("current_application_data", argument)
        about = [("Application", name), *([("Application-Data", argument)] if argument else [])]
        self.applications.append((name, argument))
        self._listener.emit("CHANNEL_EXECUTE", [*about, ("Application-UUID", message.application_uuid)])
        channel.set("current_application", name)
        before = {key: channel.variables.get(key, "") for key in scoped}
        for key, value in scoped.items():
            channel.set(key, value)
        self._known[name](argument)
        for key, value in before.items():
            channel.set(key, value)
        self._completed(about, message.application_uuid)

    def _completed(self, about: list[wire.Header], application_uuid: str) -> None:
        response = self._channel.variables.get("current_application_response", "_none_")
        tail = [("Application-Response", response), ("Application-UUID", application_uuid)]
        self._listener.emit("CHANNEL_EXECUTE_COMPLETE", [*about, *tail])

    def _park(self) -> None:
        if not self._parked:
            self._parked = True
            self._listener.emit("CHANNEL_PARK")

    # What happens while time passes.

    def _stage(self, stage: Stage | None) -> Stage | None:
        return Stage.RINGING if self._ringing else stage

    def _live(
        self,
        stage: Stage | None,
        seconds: float,
        ends: str = "",
        reach: Callable[[float], bool] | None = None,
    ) -> str | None:
        """Let so many seconds pass in a stage; return what cut them short: a digit of `ends`, or a word."""
        lived = 0.0
        while True:
            ahead = self._ahead(stage)
            step = min(seconds - lived, ahead, _WRITE_SECONDS if reach else math.inf)
            lived += self._pass(stage, step)
            if reach and not reach(lived):
                return "disk-full"
            if self._listener.killed:
                self._hang_up(self._listener.killed)
                return "hang-up"
            if self._listener.broken.is_set():
                return "break"
            if ahead <= step:
                cut = self._happen(next(item for item in self._plan if item[0].stage is stage), ends)
                if cut and (reach or cut != "disk-full"):
                    return cut
            elif seconds - lived < _MOMENT_SECONDS:
                return None

    def _ahead(self, stage: Stage | None) -> float:
        """How far the next thing planned for a stage is."""
        due = (item[0].seconds for item in self._plan if item[0].stage is stage)
        return max(0.0, next(due, math.inf) - self._clocks.get(stage, 0.0)) if stage else math.inf

    def _pass(self, stage: Stage | None, seconds: float) -> float:
        """Wait so long, or whole frames of it when the application is told to stop; return how long."""
        began = time.monotonic()
        if math.isinf(self._pace):
            gevent.sleep(0)
        elif self._listener.broken.wait(seconds / self._pace):
            frames = (time.monotonic() - began) * self._pace // FRAME_SECONDS
            seconds = min(seconds, frames * FRAME_SECONDS)
        self._age(stage, seconds)
        return seconds

    def _age(self, stage: Stage | None, seconds: float) -> None:
        self._channel.now += seconds
        if stage:
            self._clocks[stage] = round(self._clocks[stage] + seconds, 6)

    def _happen(self, item: _Planned, ends: str) -> str | None:
        self._plan.remove(item)
        match item[1]:
            case KeyPress(digit):
                self._digits += digit
                about = [("DTMF-Digit", digit), ("DTMF-Duration", "2080"), ("DTMF-Source", "RTP")]
                self._listener.emit("DTMF", about)
                return digit if digit in ends else None
            case Fault(mishap):
                return self._suffer(mishap)
            case _:
                self._ring_off()
                return "hang-up"

    def _ring_off(self) -> None:
        """End the call from the caller's side."""
        self._channel.learn("cancelled" if self._ringing else "left")
        self._hang_up("ORIGINATOR_CANCEL" if self._ringing else "NORMAL_CLEARING")
        if not self._ringing:
            self._channel.learn("bye")

    def _suffer(self, mishap: Mishap) -> str | None:
        listener = self._listener
        match mishap:
            case Mishap.DISK_FULL:
                return "disk-full"
            case Mishap.SHUTDOWN:
                self._hang_up("SYSTEM_SHUTDOWN", Notice.BEFORE_RECORD_DONE)
                return "hang-up"
            case Mishap.CUT:
                listener.vanish(reset=True)
                return None
            case Mishap.STALL:
                listener.freeze()
                return None
            case Mishap.FREEZE:
                listener.freeze()
            case Mishap.VANISH | Mishap.RESET:
                listener.vanish(reset=mishap is Mishap.RESET)
            case Mishap.TRUNCATE:
                frame = wire.event_frame(self._channel.event("CHANNEL_EXECUTE_COMPLETE"))
                listener.send(frame[: len(frame) // 2])
                listener.vanish()
            case Mishap.ENDLESS_HEADER:
                listener.babble()
            case _:
                listener.send(wire.disturbance(mishap, self._channel))
                return None
        raise SwitchDied

    # How a call ends.

    def _hang_up(self, cause: str, notice: Notice | None = None) -> None:
        if not self._up:
            return
        self._park()
        channel, notice = self._channel, notice or self._caller.notice
        channel.hangup_cause = cause
        channel.answer_state, channel.state_number = "hangup", 10
        if notice is Notice.BEFORE_HANGUP:
            self._listener.notice()
        self._listener.emit("CHANNEL_HANGUP")
        if notice is Notice.BEFORE_RECORD_DONE:
            self._listener.notice()

    def _report(self) -> None:
        channel, listener = self._channel, self._listener
        channel.set("current_loop", "")
        channel.set("total_loops", "")
        listener.emit("CHANNEL_UNPARK")
        self._completed([("Application", "socket"), ("Application-Data", channel.socket)], str(uuid.uuid4()))
        channel.state = "CS_HANGUP"
        listener.emit("CHANNEL_STATE")
        channel.state, channel.state_number, channel.call_state = "CS_REPORTING", 11, "HANGUP"
        channel.hangup_us = channel.microseconds()
        listener.emit("CHANNEL_STATE")
        last = self.applications[-1] if self.applications else ("socket", channel.socket)
        channel.report(self._digits, last)
        listener.emit("CHANNEL_HANGUP_COMPLETE", first=[("Hangup-Cause", channel.hangup_cause or "")])
        listener.notice()

    # The applications.

    def _answer(self, _argument: str) -> None:
        if not self._ringing or self._live(Stage.RINGING, _TICK_SECONDS):
            return
        channel = self._channel
        channel.learn("answered" if channel.answer_state == "early" else "media")
        channel.answered_us = channel.microseconds()
        channel.answer_state = "answered"
        self._listener.emit("CHANNEL_ANSWER")
        channel.set("endpoint_disposition", "ANSWER")
        channel.call_state = "ACTIVE"

    def _pre_answer(self, _argument: str = "") -> None:
        """Start early media, as FreeSWITCH does by itself before it plays to an unanswered call."""
        channel = self._channel
        if channel.answer_state == "ringing":
            channel.answer_state = "early"
            channel.progress_us = channel.microseconds()
            channel.learn("media")
            channel.set("endpoint_disposition", "EARLY MEDIA")
            self._listener.emit("CHANNEL_PROGRESS_MEDIA")
            channel.call_state = "EARLY"

    def _sleep(self, argument: str) -> None:
        """Wait milliseconds, or until any digit: FreeSWITCH needs sleep_eat_digits to sleep on."""
        ends = "" if self._channel.variables.get("sleep_eat_digits") == "true" else _DIGITS
        self._live(self._stage(Stage.PAUSE), wire.whole_number(argument) / 1000, ends)

    def _set(self, argument: str) -> None:
        name, _, value = argument.partition("=")
        self._channel.set(name, value)
        self.given.pop(name, None)
        if value:
            self.given[name] = value

    def _multiset(self, argument: str) -> None:
        separator = " "
        if argument.startswith("^^"):
            separator, argument = argument[2:3], argument[3:]
        for pair in argument.split(separator):
            self._set(pair)

    def _terminators(self) -> str:
        given = self._channel.variables.get("playback_terminators", "*")
        return {"any": _DIGITS, "none": ""}.get(given, given)

    def _sound(self, argument: str) -> tuple[Stage, float | None]:
        """Tell what is played and how long; None where FreeSWITCH finds no file."""
        kind, _, rest = argument.partition("://")
        if kind == "tone_stream":
            return Stage.BEEP, wire.tone_seconds(rest)
        if kind == "silence_stream":
            milliseconds = rest.partition(",")[0]
            endless = milliseconds.startswith("-")
            return Stage.PAUSE, _LONGEST_SECONDS if endless else wire.whole_number(milliseconds) / 1000
        stage = Stage.THANKS if self.recording else Stage.GREETING
        if kind == "file_string":
            # Of several files, one after the other, those that are missing are passed over.
            return stage, sum(_file_seconds(Path(part)) or 0.0 for part in rest.split("!"))
        return stage, _file_seconds(Path(argument))

    def _playback(self, argument: str) -> None:
        self._pre_answer()
        channel = self._channel
        channel.set("playback_terminator_used", "")
        stage, seconds = self._sound(argument)
        if seconds is None:
            channel.set("current_application_response", "FILE NOT FOUND")
            return
        kind, scheme, _ = argument.partition("://")
        about = [("Playback-File-Path", argument), *([("Playback-File-Type", kind)] if scheme else [])]
        self._listener.emit("PLAYBACK_START", about)
        began = channel.now
        cut = self._live(self._stage(stage), seconds, self._terminators())
        self._note_terminator(cut)
        samples = round((channel.now - began) * RATE)
        for name, value in (("last_offset_pos", samples), ("seconds", samples // RATE), ("ms", samples // 8)):
            channel.set(f"playback_{name}", str(value))
        channel.set("playback_samples", str(samples))
        self._listener.emit("PLAYBACK_STOP", [*about, ("Playback-Status", "break" if cut else "done")])
        channel.set("current_application_response", "FILE PLAYED" if self._up else "PLAYBACK ERROR")
        if cut is None and stage is Stage.GREETING:
            self.greeting_played = True

    def _play_and_get_digits(self, argument: str) -> None:
        """Play a prompt, which the first digit stops, and take digits; ask again for what does not fit."""
        self._pre_answer()
        words = [*wire.split_arguments(argument), "", ""]
        least, most, tries, wait_ms = (wire.whole_number(word) for word in words[:4])
        terminators, prompt, invalid, name, wanted, digit_wait = words[4:10]
        channel, stage = self._channel, self._stage(Stage.MENU)
        for variable in (name, "read_terminator_used"):
            channel.set(variable, "")
        for _ in range(max(1, tries)):
            cut = self._live(stage, self._sound(prompt)[1] or 0.0, _DIGITS) or self._live(
                stage, wait_ms / 1000, _DIGITS
            )
            typed = ""
            while cut and cut in _DIGITS and cut not in terminators:
                typed += cut
                if len(typed) == most:
                    break
                cut = self._live(stage, wire.whole_number(digit_wait or str(wait_ms)) / 1000, _DIGITS)
            if not self._up:
                return
            if cut and cut in terminators:
                channel.set("read_terminator_used", cut)
            if len(typed) >= least and re.search(wanted, typed):
                channel.set(name, typed)
                channel.set("read_result", "success")
                return
            self._live(stage, self._sound(invalid)[1] or 0.0)
        channel.set("read_result", "failure")

    def _transfer(self, argument: str) -> None:
        self.transferred = argument

    def _note_terminator(self, cut: str | None) -> None:
        if cut and cut in _DIGITS:
            self._channel.set("playback_terminator_used", cut)

    def _record(self, argument: str) -> None:
        self._pre_answer()
        channel, caller = self._channel, self._caller
        path, *numbers = [*wire.split_arguments(argument), "", "", "", ""][:4]
        limit, threshold, silence = (wire.whole_number(number) for number in numbers)
        buffered = channel.variables.get("enable_file_write_buffering") != "false"
        recording = open_recording(Path(path), caller, buffered=buffered)
        if recording is None:
            self._hang_up("DESTINATION_OUT_OF_ORDER")
            return
        self.recording = path
        channel.set("playback_terminator_used", "")
        channel.set("silence_hits_exhausted", "false")
        channel.read_with("L16")
        self._listener.emit("RECORD_START", [("Record-File-Path", path)])
        ends = {
            "hang-up": caller.speech_seconds if caller.then == "hang-up" else _LONGEST_SECONDS,
            "silence": caller.silent_after(threshold, silence or 3) if threshold else math.inf,
            "limit": limit or math.inf,
        }
        end = min(ends, key=lambda name: ends[name])
        stage, terminators = self._stage(Stage.RECORDING), self._terminators()
        with recording:
            try:
                cut = self._live(stage, ends[end], terminators, recording.reach) or end
                if cut == "hang-up":
                    if self._up:
                        self._ring_off()
                    self._live(Stage.SETTLING, 0.0)
                elif cut == "silence":
                    channel.set("silence_hits_exhausted", "true")
                recording.finish()
            finally:
                self.recorded_ms = recording.samples * 1000 // RATE
        self._note_terminator(cut)
        size = str(44 + 2 * recording.samples)
        for name, value in (
            ("record_record_file_size", size),
            ("record_file_size", size),
            ("record_seconds", str(recording.samples // RATE)),
            ("record_ms", str(self.recorded_ms)),
            ("record_samples", str(recording.samples)),
        ):
            channel.set(name, value)
        channel.read_with("PCMA")
        self._listener.emit("RECORD_STOP", [("Record-File-Path", path)])
        if cut == "break" and self._listener.left:
            # With socket_resume a service that leaves cuts a recording off, and FreeSWITCH ends the call.
            self._hang_up("DESTINATION_OUT_OF_ORDER")


def _file_seconds(path: Path) -> float | None:
    """How long a WAV file plays; FreeSWITCH first looks into a folder beside it named like the rate."""
    for place in (path.parent / str(RATE) / path.name, path):
        with suppress(OSError, EOFError, wave.Error), wave.open(str(place), "rb") as file:
            if path.is_absolute():
                return file.getnframes() / file.getframerate()
    return None
