"""The table: every state, where each input leads from it, what that asks for; and one call's way through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from pathlib import Path

from esl_voicemail.dialogue.values import (
    Answer,
    ApplicationDone,
    AskKey,
    AskNumber,
    Beep,
    Begin,
    BeginFailed,
    Begun,
    CallerHungUp,
    Command,
    ControlLost,
    DeadlineExpired,
    DigitPressed,
    Discard,
    HandBack,
    HangUp,
    Input,
    Keep,
    KeepFailed,
    Kept,
    Note,
    NothingKept,
    Pause,
    Play,
    Prepare,
    Record,
    Salvage,
    Script,
    Tell,
    Transfer,
    Typed,
    Unheard,
)
from esl_voicemail.model import TYPED_AT_MOST, CallResult, EndedBy, Take

# --- the table ------------------------------------------------------------------------------------


class State(IntEnum):
    """Where a call stands; a number, as that is looked up quickest."""

    OPENING = auto()  # its row is being written
    OPENING_GONE = auto()  # the same, and the caller is gone
    ANSWERING = auto()
    GREETING = auto()
    ASKING = auto()  # which number to call
    CONNECTING = auto()  # he asked for a person, and hears that he gets one
    TRANSFERRING = auto()
    BEEPING = auto()
    BEEPING_AGAIN = auto()  # a recording is there already
    RECORDING = auto()
    SETTLING = auto()  # the caller is gone, the switch is closing the file
    REVIEWING = auto()  # he is asked whether to keep it
    LISTENING = auto()
    KEEPING = auto()
    KEEPING_GONE = auto()  # the same, and the caller is gone
    CLOSING = auto()
    HANGING_UP = auto()
    DONE = auto()


# What an operator wants to tell apart of the dialogue's states.
STAGE_OF = {
    State.OPENING: "opening",
    State.OPENING_GONE: "opening",
    State.ANSWERING: "greeting",
    State.GREETING: "greeting",
    State.ASKING: "greeting",
    State.BEEPING: "greeting",
    State.RECORDING: "recording",
    State.REVIEWING: "recording",
    State.LISTENING: "recording",
    State.BEEPING_AGAIN: "recording",
    State.SETTLING: "keeping",
    State.KEEPING: "keeping",
    State.KEEPING_GONE: "keeping",
    State.CONNECTING: "closing",
    State.TRANSFERRING: "closing",
    State.CLOSING: "closing",
    State.HANGING_UP: "closing",
}


Step = Callable[["Dialogue", Input], tuple[Command, ...]]


@dataclass(frozen=True, slots=True)
class Move:
    """Where an input leads, and what it asks for; the steps run in order."""

    to: State
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Fork:
    """Two moves, and what decides between them."""

    condition: Callable[["Dialogue", Input], bool]
    then: "Move | Fork"
    otherwise: "Move | Fork"


@dataclass(frozen=True, slots=True)
class Menu:
    """A move for each key that the caller may type, and one for all else."""

    keys: Mapping[str, Move | Fork]
    otherwise: Move | Fork


def _answer(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return Prepare(d.next_id()), Answer(d.next_id())


def _greet(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    pause = Pause(d.next_id(), d.script.pause_ms)
    return pause, Play(d.next_id(), d.script.greeting, OPERATOR_KEY if d.script.operator else "")


def _ask_number(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (AskNumber(d.next_id(), _there(d.script.ask_number)),)


def _note_number(_d: "Dialogue", happened: Input) -> tuple[Command, ...]:
    number = happened.digits if isinstance(happened, Typed) else ""
    return (Note(number=number),) if number.isdecimal() else ()


def _connect(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), (_there(d.script.connecting),)),)


def _transfer(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return Tell(d.next_id(), "operator"), Transfer(d.next_id(), d.script.operator)


def _beep(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Beep(d.next_id()),)


def _record(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    script = d.script
    return (Record(d.next_id(), d.place, script.max_seconds, script.silence_seconds),)


def _note_digit(d: "Dialogue", happened: Input) -> tuple[Command, ...]:
    if isinstance(happened, DigitPressed) and d.script.keep_digits:
        d.type(happened.digit)
    return ()


def _take(d: "Dialogue", happened: Input) -> tuple[Command, ...]:
    if not isinstance(happened, ApplicationDone):
        raise TypeError("only a recording that ended can be taken")
    d.take(Take(d.place, happened.duration_ms, happened.ended_by, d.typed))
    return ()


def _keep(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    newest, *earlier = reversed(d.takes)
    return (Keep(newest, tuple(earlier)),)


def _offer(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (AskKey(d.next_id(), _there(d.script.review), KEEP_KEY + LISTEN_KEY + AGAIN_KEY),)


def _listen(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    d.listened += 1
    return (Play(d.next_id(), (d.takes[-1].path,)),)


def _thank(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), (d.script.thanks,)),)


def _apologise(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (Play(d.next_id(), (d.script.apology,)),)


def _hang_up(_d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (HangUp(),)


def _salvage(d: "Dialogue", _: Input) -> tuple[Command, ...]:
    return (*([Note(typed=d.typed)] if d.typed else []), Salvage())


def _heard(d: "Dialogue", happened: Input) -> tuple[Command, ...]:
    """Strike out a promise that the caller skipped."""
    skipped = isinstance(happened, ApplicationDone) and happened.ended_by is EndedBy.KEY
    return (Unheard(),) if skipped and d.script.promises else ()


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


def _there(sound: Path | None) -> Path:
    if sound is None:
        raise TypeError("the script names no sound for what it offers")
    return sound


def _has_operator(d: "Dialogue", _: Input) -> bool:
    return bool(d.script.operator)


def _asks_number(d: "Dialogue", _: Input) -> bool:
    return d.script.ask_number is not None


def _reviews(d: "Dialogue", happened: Input) -> bool:
    """Whether the caller is asked: not one who hung up, nor of a recording that a fault cut off."""
    ended_by = happened.ended_by if isinstance(happened, ApplicationDone) else EndedBy.CUT
    return d.script.review is not None and ended_by in {EndedBy.KEY, EndedBy.SILENCE, EndedBy.LIMIT}


def _may_listen(d: "Dialogue", _: Input) -> bool:
    return d.listened < LISTENS_AT_MOST


def _may_again(d: "Dialogue", _: Input) -> bool:
    return len(d.takes) < len(d.script.recordings)


# Nobody holds a line by hearing himself again and again.
LISTENS_AT_MOST = 5
OPERATOR_KEY, KEEP_KEY, LISTEN_KEY, AGAIN_KEY = "0", "1", "2", "3"

_early = _gone(CallResult.HANGUP_BEFORE_ANSWER)
_in_greeting = _gone(CallResult.HANGUP_IN_GREETING)
_lost = _discard(CallResult.CONTROL_LOST)
_stalled = _discard(CallResult.SWITCH_STALLED)
_to_operator = _discard(CallResult.OPERATOR)

S = State
_ASKING, _BEEPING = Move(S.ASKING, (_heard, _ask_number)), Move(S.BEEPING, (_heard, _beep))
_CONNECTING = Move(S.CONNECTING, (_to_operator, _connect))
_GREETED = Fork(_asks_number, _ASKING, _BEEPING)
_KEPT, _KEPT_GONE = Move(S.KEEPING, (_keep,)), Move(S.KEEPING_GONE, (_keep,))
_OFFERED = Move(S.REVIEWING, (_offer,))

TABLE: dict[tuple[State, type], Move | Fork | Menu] = {
    (S.OPENING, Begun): Move(S.ANSWERING, (_answer,)),
    (S.OPENING, BeginFailed): Move(S.DONE, (_hand_back,)),
    (S.OPENING, CallerHungUp): Move(S.OPENING_GONE),
    (S.OPENING, ControlLost): Move(S.OPENING_GONE),
    (S.OPENING_GONE, Begun): Move(S.DONE, (_early,)),
    (S.OPENING_GONE, BeginFailed): Move(S.DONE, (_hand_back,)),
    (S.ANSWERING, ApplicationDone): Move(S.GREETING, (_greet,)),
    (S.ANSWERING, CallerHungUp): Move(S.DONE, (_early,)),
    (S.ANSWERING, ControlLost): Move(S.DONE, (_lost,)),
    (S.ANSWERING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.GREETING, ApplicationDone): _GREETED,
    (S.GREETING, Typed): Menu({OPERATOR_KEY: Fork(_has_operator, _CONNECTING, _GREETED)}, _GREETED),
    (S.GREETING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.GREETING, ControlLost): Move(S.DONE, (_lost,)),
    (S.GREETING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.ASKING, ApplicationDone): Move(S.BEEPING, (_beep,)),
    (S.ASKING, Typed): Move(S.BEEPING, (_note_number, _beep)),
    (S.ASKING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.ASKING, ControlLost): Move(S.DONE, (_lost,)),
    (S.ASKING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.CONNECTING, ApplicationDone): Move(S.TRANSFERRING, (_transfer,)),
    (S.CONNECTING, CallerHungUp): Move(S.DONE),
    (S.CONNECTING, ControlLost): Move(S.DONE),
    (S.CONNECTING, DeadlineExpired): Move(S.TRANSFERRING, (_transfer,)),
    (S.TRANSFERRING, ApplicationDone): Move(S.DONE),
    (S.TRANSFERRING, CallerHungUp): Move(S.DONE),
    (S.TRANSFERRING, ControlLost): Move(S.DONE),
    (S.TRANSFERRING, DeadlineExpired): Move(S.DONE),
    (S.BEEPING, ApplicationDone): Move(S.RECORDING, (_record,)),
    (S.BEEPING, CallerHungUp): Move(S.DONE, (_in_greeting,)),
    (S.BEEPING, ControlLost): Move(S.DONE, (_lost,)),
    (S.BEEPING, DeadlineExpired): Move(S.HANGING_UP, (_stalled, _hang_up)),
    (S.RECORDING, ApplicationDone): Fork(
        _reviews, Move(S.REVIEWING, (_take, _offer)), Move(S.KEEPING, (_take, _keep))
    ),
    (S.RECORDING, DigitPressed): Move(S.RECORDING, (_note_digit,)),
    (S.RECORDING, CallerHungUp): Move(S.SETTLING),
    (S.RECORDING, ControlLost): Move(S.DONE, (_salvage,)),
    (S.RECORDING, DeadlineExpired): Move(S.SETTLING, (_hang_up,)),
    (S.SETTLING, ApplicationDone): Move(S.KEEPING_GONE, (_take, _keep)),
    (S.SETTLING, ControlLost): Move(S.DONE, (_salvage,)),
    (S.SETTLING, DeadlineExpired): Move(S.DONE, (_salvage,)),
    (S.REVIEWING, ApplicationDone): _KEPT,
    (S.REVIEWING, Typed): Menu(
        {
            LISTEN_KEY: Fork(_may_listen, Move(S.LISTENING, (_listen,)), _KEPT),
            AGAIN_KEY: Fork(_may_again, Move(S.BEEPING_AGAIN, (_beep,)), _KEPT),
        },
        _KEPT,
    ),
    (S.REVIEWING, CallerHungUp): _KEPT_GONE,
    (S.REVIEWING, ControlLost): _KEPT_GONE,
    (S.REVIEWING, DeadlineExpired): _KEPT,
    (S.LISTENING, ApplicationDone): _OFFERED,
    (S.LISTENING, CallerHungUp): _KEPT_GONE,
    (S.LISTENING, ControlLost): _KEPT_GONE,
    (S.LISTENING, DeadlineExpired): _KEPT,
    (S.BEEPING_AGAIN, ApplicationDone): Move(S.RECORDING, (_record,)),
    (S.BEEPING_AGAIN, CallerHungUp): _KEPT_GONE,
    (S.BEEPING_AGAIN, ControlLost): _KEPT_GONE,
    (S.BEEPING_AGAIN, DeadlineExpired): _KEPT,
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

_COMPLETIONS = (ApplicationDone, Typed)
_SWITCH_SPEAKS = {ApplicationDone, Typed, DigitPressed, CallerHungUp, ControlLost, DeadlineExpired}
_ROW_ANSWERS = {Begun, BeginFailed}
_KEEP_ANSWERS = {Kept, NothingKept, KeepFailed}
# A key counts where it was asked for, and while the caller speaks.
_WHILE_TALKING = _ROW_ANSWERS | _KEEP_ANSWERS | {DigitPressed}

# What may come and changes nothing. A row's answer comes only while it is awaited; in OPENING and
# KEEPING the journal has the word, so the switch's completions and the deadline wait.
IGNORED: dict[State, frozenset[type]] = {
    S.OPENING: frozenset(_KEEP_ANSWERS | {ApplicationDone, Typed, DigitPressed, DeadlineExpired}),
    S.OPENING_GONE: frozenset(_KEEP_ANSWERS | _SWITCH_SPEAKS),
    S.ANSWERING: frozenset(_WHILE_TALKING),
    S.GREETING: frozenset(_WHILE_TALKING),
    S.ASKING: frozenset(_WHILE_TALKING),
    S.CONNECTING: frozenset(_WHILE_TALKING),
    S.TRANSFERRING: frozenset(_WHILE_TALKING),
    S.BEEPING: frozenset(_WHILE_TALKING),
    S.RECORDING: frozenset(_ROW_ANSWERS | _KEEP_ANSWERS),
    S.SETTLING: frozenset(_WHILE_TALKING | {CallerHungUp}),
    S.REVIEWING: frozenset(_WHILE_TALKING),
    S.LISTENING: frozenset(_WHILE_TALKING),
    S.BEEPING_AGAIN: frozenset(_WHILE_TALKING),
    S.KEEPING: frozenset(_ROW_ANSWERS | {ApplicationDone, Typed, DigitPressed, DeadlineExpired}),
    S.KEEPING_GONE: frozenset(_ROW_ANSWERS | _SWITCH_SPEAKS),
    S.CLOSING: frozenset(_WHILE_TALKING),
    S.HANGING_UP: frozenset(_WHILE_TALKING | {ApplicationDone, Typed}),
    S.DONE: frozenset(_WHILE_TALKING | _SWITCH_SPEAKS),
}


class Dialogue:
    """One call's way through the table."""

    def __init__(self, script: Script, new_id: Callable[[], str]) -> None:
        self.script = script
        self.state = State.OPENING
        self.takes: tuple[Take, ...] = ()
        self.typed = ""
        self.listened = 0
        self._new_id = new_id
        self._awaited = ""

    def open(self) -> tuple[Command, ...]:
        """Return the first commands; call it once."""
        return (Begin(),)

    def receive(self, happened: Input) -> tuple[Command, ...]:
        """Take what happened and return what to do; a completion that is not ours changes nothing."""
        if isinstance(happened, _COMPLETIONS) and happened.application_id != self._awaited:
            return ()
        kind: type = type(happened)
        if kind is Typed and (self.state, Typed) not in TABLE:
            # Where nothing was asked, all that counts is that it ended.
            happened, kind = ApplicationDone(self._awaited), ApplicationDone
        move = TABLE.get((self.state, kind))
        if move is None:
            if kind not in IGNORED[self.state]:
                raise TypeError(f"{kind.__name__} has no place in {self.state.name}")
            return ()
        chosen = self._choose(move, happened)
        self.state = chosen.to
        said: tuple[Command, ...] = ()
        for step in chosen.steps:
            said += step(self, happened)
        return said

    def _choose(self, move: Move | Fork | Menu, happened: Input) -> Move:
        if isinstance(move, Menu):
            move = move.keys.get(happened.digits if isinstance(happened, Typed) else "", move.otherwise)
        while isinstance(move, Fork):
            move = move.then if move.condition(self, happened) else move.otherwise
        return move

    @property
    def done(self) -> bool:
        """Whether nothing more is to be said or heard."""
        return self.state is State.DONE

    @property
    def place(self) -> Path:
        """Where the next recording goes, or the one that is made."""
        return self.script.recordings[len(self.takes)]

    @property
    def deadline_seconds(self) -> float:
        """How long the switch may take, from now, to say what this state waits for."""
        script = self.script
        match self.state:
            case State.ANSWERING:
                return script.answer_seconds
            case State.GREETING:
                return script.pause_ms / 1000 + script.greeting_seconds + script.spare_seconds
            case State.ASKING:
                return script.typing_seconds
            case State.REVIEWING:
                return script.choosing_seconds
            case State.RECORDING | State.LISTENING:
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

    def take(self, take: Take) -> None:
        """Remember a recording that has ended."""
        self.takes += (take,)
        self.typed = ""

    def type(self, digit: str) -> None:
        """Remember a digit that the caller typed while he spoke."""
        if digit.isdecimal() and len(self.typed) < TYPED_AT_MOST:
            self.typed += digit
