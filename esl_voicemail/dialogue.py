"""One call's conversation as a table: what happened in, what to do out.

Sans-IO: no clock, no socket, no database, no logger. The table says, for every pair of state and
input, where the call goes and what is asked of the switch (through the channel) and of the session.
Whatever the order of events, a call meets exactly one fate: `Keep`, `Discard` or `Salvage`, or, where
its row was never written, `HandBack`.

Left to others: turning commands into text (`esl.commands`), waiting (`session`), the file (`spool`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from esl_voicemail.model import CallResult, EndedBy, Take

# --- what happens ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """The call's row is committed."""


@dataclass(frozen=True, slots=True)
class BeginFailed:
    """The call's row could not be written."""


@dataclass(frozen=True, slots=True)
class ApplicationDone:
    """An application ended (CHANNEL_EXECUTE_COMPLETE); only ours, known by its Application-UUID, counts."""

    application_id: str
    response: str = ""
    duration_ms: int = 0
    ended_by: EndedBy = EndedBy.CUT


@dataclass(frozen=True, slots=True)
class CallerHungUp:
    """The channel is down; the switch may still be closing the recording (facts of `linger`).

    `by_fault`: it was not the caller who ended the call.
    """

    by_fault: bool = False


@dataclass(frozen=True, slots=True)
class ControlLost:
    """The event socket ended: nothing more will be heard of this call."""


@dataclass(frozen=True, slots=True)
class DeadlineExpired:
    """The switch did not say in time what it had to say in this state."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The message and its deliveries are committed."""


@dataclass(frozen=True, slots=True)
class NothingKept:
    """The recording holds no message: too short, or no audio at all."""


@dataclass(frozen=True, slots=True)
class KeepFailed:
    """The message could not be committed; its row stays open and its file where it is."""


Input = (
    Begun
    | BeginFailed
    | ApplicationDone
    | CallerHungUp
    | ControlLost
    | DeadlineExpired
    | Kept
    | NothingKept
    | KeepFailed
)
INPUTS: tuple[type, ...] = Input.__args__

# --- what to do -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Set the channel variables that recording and interrupting need."""

    application_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the call."""

    application_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for a moment, so that the first word is not cut off."""

    application_id: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Play:
    """Play a sound file; the caller's # ends it."""

    application_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Beep:
    """Play the tone after which the caller speaks."""

    application_id: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record the caller into a file until #, silence, the limit or the end of the call."""

    application_id: str
    path: Path
    max_seconds: int
    silence_seconds: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call at once, whatever application runs."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """Leave the call, unanswered, to the dialplan's next action."""

    result: CallResult


@dataclass(frozen=True, slots=True)
class Begin:
    """Write the call's row before the caller hears anything."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Make a recording a message, durably."""

    take: Take


@dataclass(frozen=True, slots=True)
class Discard:
    """Close the call's row without a message; it still counts."""

    why: CallResult


@dataclass(frozen=True, slots=True)
class Salvage:
    """Leave the row open: recovery reads the file when it is quiet."""


Command = (
    Prepare | Answer | Pause | Play | Beep | Record | HangUp | HandBack | Begin | Keep | Discard | Salvage
)


# --- the table ------------------------------------------------------------------------------------


class State(Enum):
    """Where a call stands."""

    OPENING = auto()  # its row is being written
    OPENING_GONE = auto()  # the same, and the caller is gone
    ANSWERING = auto()
    PAUSING = auto()
    GREETING = auto()
    BEEPING = auto()
    RECORDING = auto()
    SETTLING = auto()  # the caller is gone, the switch is closing the file
    KEEPING = auto()
    KEEPING_GONE = auto()  # the same, and the caller is gone
    CLOSING = auto()
    HANGING_UP = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Script:
    """What one call plays, where it records, and how long each step may take."""

    greeting: Path
    greeting_seconds: float
    thanks: Path
    apology: Path
    recording: Path
    max_seconds: int
    silence_seconds: int
    pause_ms: int = 400
    answer_seconds: float = 10.0
    spare_seconds: float = 10.0
    settling_seconds: float = 25.0
    hang_up_seconds: float = 5.0


Step = Callable[["Dialogue", Input], tuple[Command, ...]]


@dataclass(frozen=True, slots=True)
class Move:
    """Where an input leads, and what it asks for; the steps run in order."""

    to: State
    steps: tuple[Step, ...] = ()


def _answer(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Answer(d.next_id()),)


def _pause(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Pause(d.next_id(), d.script.pause_ms),)


def _greet(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), d.script.greeting),)


def _beep(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Beep(d.next_id()),)


def _record(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    script = d.script
    return (Record(d.next_id(), script.recording, script.max_seconds, script.silence_seconds),)


def _keep(d: "Dialogue", happened: Input) -> tuple[Command, ...]:
    if not isinstance(happened, ApplicationDone):
        raise TypeError("only a recording that ended can be kept")
    return (Keep(Take(d.script.recording, happened.duration_ms, happened.ended_by)),)


def _thank(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), d.script.thanks),)


def _apologise(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), d.script.apology),)


def _hang_up(_d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (HangUp(),)


def _salvage(_d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Salvage(),)


def _hand_back(_d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (HandBack(CallResult.FAILED),)


def _discard(why: CallResult) -> Step:
    return lambda _d, _: (Discard(why),)


def _gone(why: CallResult) -> Step:
    """Return the step for a caller who left; one who was cut off did not, and somebody is told of him."""

    def step(_d: "Dialogue", happened: Input) -> tuple[Command, ...]:
        cut_off = isinstance(happened, CallerHungUp) and happened.by_fault
        return (Discard(CallResult.CONTROL_LOST if cut_off else why),)

    return step


_early = _gone(CallResult.HANGUP_BEFORE_ANSWER)
_in_greeting = _gone(CallResult.HANGUP_IN_GREETING)
_lost = _discard(CallResult.CONTROL_LOST)
_stalled = _discard(CallResult.SWITCH_STALLED)

S = State
TABLE: dict[tuple[State, type], Move] = {
    (S.OPENING, Begun): Move(S.ANSWERING, (_answer,)),
    (S.OPENING, BeginFailed): Move(S.DONE, (_hand_back,)),
    (S.OPENING, CallerHungUp): Move(S.OPENING_GONE),
    (S.OPENING, ControlLost): Move(S.OPENING_GONE),
    (S.OPENING_GONE, Begun): Move(S.DONE, (_early,)),
    (S.OPENING_GONE, BeginFailed): Move(S.DONE, (_hand_back,)),
    (S.ANSWERING, ApplicationDone): Move(S.PAUSING, (_pause,)),
    (S.ANSWERING, CallerHungUp): Move(S.DONE, (_early,)),
    (S.ANSWERING, ControlLost): Move(S.DONE, (_lost,)),
    (S.ANSWERING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.PAUSING, ApplicationDone): Move(S.GREETING, (_greet,)),
    (S.PAUSING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.PAUSING, ControlLost): Move(S.DONE, (_lost,)),
    (S.PAUSING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.GREETING, ApplicationDone): Move(S.BEEPING, (_beep,)),
    (S.GREETING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.GREETING, ControlLost): Move(S.DONE, (_lost,)),
    (S.GREETING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.BEEPING, ApplicationDone): Move(S.RECORDING, (_record,)),
    (S.BEEPING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.BEEPING, ControlLost): Move(S.DONE, (_lost,)),
    (S.BEEPING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.RECORDING, ApplicationDone): Move(S.KEEPING, (_keep,)),
    (S.RECORDING, CallerHungUp): Move(S.SETTLING),
    (S.RECORDING, ControlLost): Move(S.DONE, (_salvage,)),
    (S.RECORDING, DeadlineExpired): Move(S.SETTLING, (_hang_up,)),
    (S.SETTLING, ApplicationDone): Move(S.KEEPING_GONE, (_keep,)),
    (S.SETTLING, ControlLost): Move(S.DONE, (_salvage,)),
    (S.SETTLING, DeadlineExpired): Move(S.DONE, (_salvage,)),
    (S.KEEPING, Kept): Move(S.CLOSING, (_thank,)),
    (S.KEEPING, NothingKept): Move(S.HANGING_UP, (_hang_up,)),
    (S.KEEPING, KeepFailed): Move(S.CLOSING, (_apologise,)),
    (S.KEEPING, CallerHungUp): Move(S.KEEPING_GONE),
    (S.KEEPING, ControlLost): Move(S.KEEPING_GONE),
    (S.KEEPING_GONE, Kept): Move(S.DONE),
    (S.KEEPING_GONE, NothingKept): Move(S.DONE),
    (S.KEEPING_GONE, KeepFailed): Move(S.DONE),
    (S.CLOSING, ApplicationDone): Move(S.HANGING_UP, (_hang_up,)),
    (S.CLOSING, CallerHungUp): Move(S.DONE),
    (S.CLOSING, ControlLost): Move(S.DONE),
    (S.CLOSING, DeadlineExpired): Move(S.HANGING_UP, (_hang_up,)),
    (S.HANGING_UP, CallerHungUp): Move(S.DONE),
    (S.HANGING_UP, ControlLost): Move(S.DONE),
    (S.HANGING_UP, DeadlineExpired): Move(S.DONE),
}

_SWITCH_SPEAKS = {ApplicationDone, CallerHungUp, ControlLost, DeadlineExpired}
_ROW_ANSWERS = {Begun, BeginFailed}
_KEEP_ANSWERS = {Kept, NothingKept, KeepFailed}
_WHILE_TALKING = _ROW_ANSWERS | _KEEP_ANSWERS

# What may come and changes nothing. A row's answer comes only while it is awaited; in OPENING and
# KEEPING the journal has the word, so the switch's completions and the deadline wait.
IGNORED: dict[State, frozenset[type]] = {
    S.OPENING: frozenset(_KEEP_ANSWERS | {ApplicationDone, DeadlineExpired}),
    S.OPENING_GONE: frozenset(_KEEP_ANSWERS | _SWITCH_SPEAKS),
    S.ANSWERING: frozenset(_WHILE_TALKING),
    S.PAUSING: frozenset(_WHILE_TALKING),
    S.GREETING: frozenset(_WHILE_TALKING),
    S.BEEPING: frozenset(_WHILE_TALKING),
    S.RECORDING: frozenset(_WHILE_TALKING),
    S.SETTLING: frozenset(_WHILE_TALKING | {CallerHungUp}),
    S.KEEPING: frozenset(_ROW_ANSWERS | {ApplicationDone, DeadlineExpired}),
    S.KEEPING_GONE: frozenset(_ROW_ANSWERS | _SWITCH_SPEAKS),
    S.CLOSING: frozenset(_WHILE_TALKING),
    S.HANGING_UP: frozenset(_WHILE_TALKING | {ApplicationDone}),
    S.DONE: frozenset(_WHILE_TALKING | _SWITCH_SPEAKS),
}


class Dialogue:
    """One call's way through the table."""

    def __init__(self, script: Script, new_id: Callable[[], str]) -> None:
        self.script = script
        self.state = State.OPENING
        self._new_id = new_id
        self._awaited = ""

    def open(self) -> tuple[Command, ...]:
        """Return the first commands; call it once."""
        return (Prepare(self._new_id()), Begin())

    def receive(self, happened: Input) -> tuple[Command, ...]:
        """Take what happened and return what to do; a completion that is not ours changes nothing."""
        if isinstance(happened, ApplicationDone) and happened.application_id != self._awaited:
            return ()
        move = TABLE.get((self.state, type(happened)))
        if move is None:
            if type(happened) not in IGNORED[self.state]:
                raise TypeError(f"{type(happened).__name__} has no place in {self.state.name}")
            return ()
        self.state = move.to
        return tuple(command for step in move.steps for command in step(self, happened))

    @property
    def done(self) -> bool:
        """Whether nothing more is to be said or heard."""
        return self.state is State.DONE

    @property
    def deadline_seconds(self) -> float:
        """How long the switch may take, from now, to say what this state waits for."""
        script = self.script
        match self.state:
            case State.ANSWERING:
                return script.answer_seconds
            case State.GREETING:
                return script.greeting_seconds + script.spare_seconds
            case State.RECORDING:
                # The switch counts whole seconds and stops up to one late (mod_dptools `record`).
                return script.max_seconds + 1 + script.spare_seconds
            case State.SETTLING:
                return script.settling_seconds
            case State.HANGING_UP:
                return script.hang_up_seconds
            case _:
                return script.spare_seconds

    def next_id(self) -> str:
        """Return a new Application-UUID and remember it as the one awaited."""
        self._awaited = self._new_id()
        return self._awaited
