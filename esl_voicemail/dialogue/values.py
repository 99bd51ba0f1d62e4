"""What happens in a call and what is to be done: inputs, commands, and one call's script."""

from dataclasses import dataclass
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
class Typed:
    """An application ended by what the caller typed: a key that was offered, or a whole number."""

    application_id: str
    digits: str = ""


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """The caller pressed a key that ended nothing."""

    digit: str = ""


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
    | Typed
    | DigitPressed
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
    """Play sound files one after the other; the caller's # ends them all, and so does each of `keys`."""

    application_id: str
    paths: tuple[Path, ...]
    keys: str = ""


@dataclass(frozen=True, slots=True)
class AskKey:
    """Play a sound and wait for one of some keys."""

    application_id: str
    path: Path
    keys: str


@dataclass(frozen=True, slots=True)
class AskNumber:
    """Play a sound and wait for a telephone number and #."""

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
class Tell:
    """Leave word for the dialplan how it went."""

    application_id: str
    result: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Send the call to an extension of the dialplan, which has it from then on."""

    application_id: str
    extension: str


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
class Note:
    """Write down what the caller typed: the number he wants to be called at, or the digits of his case."""

    number: str = ""
    typed: str = ""


@dataclass(frozen=True, slots=True)
class Unheard:
    """Strike out what the caller was to be promised: he skipped it."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Make a recording a message, durably; where it holds none, the newest of `earlier` that does."""

    take: Take
    earlier: tuple[Take, ...] = ()

    @property
    def typed(self) -> str:
        """What the caller typed while he spoke, or when he spoke before."""
        return next((take.typed for take in (self.take, *self.earlier) if take.typed), "")

    def before(self) -> "Keep":
        """Return the same of the recording before."""
        return Keep(self.earlier[0], self.earlier[1:])


@dataclass(frozen=True, slots=True)
class Discard:
    """Close the call's row without a message; it still counts."""

    why: CallResult


@dataclass(frozen=True, slots=True)
class Salvage:
    """Leave the row open: recovery reads the file when it is quiet."""


Command = (
    Prepare
    | Answer
    | Pause
    | Play
    | AskKey
    | AskNumber
    | Beep
    | Record
    | Tell
    | Transfer
    | HangUp
    | HandBack
    | Begin
    | Note
    | Unheard
    | Keep
    | Discard
    | Salvage
)


# --- one call's own ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Script:
    """What one call plays, where it records, what its caller may type, and how long each step may take.

    `recordings` has a place for each time that the caller may record, one at least. Without an `operator`
    (an extension), `review` or `ask_number` (sounds) he is not asked.
    """

    greeting: tuple[Path, ...]
    greeting_seconds: float
    thanks: Path
    apology: Path
    recordings: tuple[Path, ...]
    max_seconds: int
    silence_seconds: int
    operator: str = ""
    connecting: Path | None = None
    ask_number: Path | None = None
    review: Path | None = None
    keep_digits: bool = False
    promises: bool = False
    pause_ms: int = 400
    answer_seconds: float = 10.0
    spare_seconds: float = 10.0
    settling_seconds: float = 25.0
    hang_up_seconds: float = 5.0
    typing_seconds: float = 120.0
    choosing_seconds: float = 30.0
