"""The dialogue's table: complete, and one fate a call whatever the order of events."""

from collections import Counter
from collections.abc import Callable
from copy import copy
from itertools import count
from pathlib import Path

import pytest

from esl_voicemail.dialogue import (
    IGNORED,
    INPUTS,
    TABLE,
    Answer,
    ApplicationDone,
    Beep,
    Begin,
    BeginFailed,
    Begun,
    CallerHungUp,
    Command,
    ControlLost,
    DeadlineExpired,
    Dialogue,
    Discard,
    HandBack,
    HangUp,
    Input,
    Keep,
    KeepFailed,
    Kept,
    NothingKept,
    Pause,
    Play,
    Prepare,
    Record,
    Salvage,
    Script,
    State,
)
from esl_voicemail.model import CallResult, EndedBy, Take

SCRIPT = Script(
    greeting=Path("/sounds/greeting.wav"),
    greeting_seconds=5,
    thanks=Path("/sounds/thanks.wav"),
    apology=Path("/sounds/apology.wav"),
    recording=Path("/spool/sales.1.wav"),
    max_seconds=60,
    silence_seconds=7,
)
FATES = (Keep, Discard, Salvage, HandBack)


def start() -> Dialogue:
    numbers = count(1)
    return Dialogue(SCRIPT, lambda: f"app-{next(numbers)}")


def done(dialogue: Dialogue, **said: object) -> ApplicationDone:
    """The completion of the application the dialogue waits for."""
    return ApplicationDone(dialogue._awaited, **said)  # type: ignore[arg-type]


def walk(dialogue: Dialogue, *happened: type[Input] | Input) -> list[Command]:
    """Feed inputs; a bare `ApplicationDone` stands for the one awaited."""
    said = list(dialogue.open())
    for one in happened:
        if one is ApplicationDone:
            one = done(dialogue)  # noqa: PLW2901
        said.extend(dialogue.receive(one() if isinstance(one, type) else one))
    return said


def test_every_pair_of_state_and_input_is_a_move_or_an_explicit_ignore_and_never_both() -> None:
    for state in State:
        for kind in INPUTS:
            moves, ignored = (state, kind) in TABLE, kind in IGNORED[state]
            assert moves != ignored, f"{state.name} x {kind.__name__}: move {moves}, ignored {ignored}"


def test_a_whole_message_runs_from_answer_to_hang_up() -> None:
    dialogue = start()
    said = walk(
        dialogue,
        Begun,
        ApplicationDone,
        ApplicationDone,
        ApplicationDone,
        ApplicationDone,
    )
    said += dialogue.receive(done(dialogue, duration_ms=4200, ended_by=EndedBy.KEY))
    said += dialogue.receive(Kept())
    said += dialogue.receive(done(dialogue))
    said += dialogue.receive(CallerHungUp())
    assert said == [
        Prepare("app-1"),
        Begin(),
        Answer("app-2"),
        Pause("app-3", 400),
        Play("app-4", SCRIPT.greeting),
        Beep("app-5"),
        Record("app-6", SCRIPT.recording, 60, 7),
        Keep(Take(SCRIPT.recording, 4200, EndedBy.KEY)),
        Play("app-7", SCRIPT.thanks),
        HangUp(),
    ]
    assert dialogue.done


RECORDING: tuple[type[Input], ...] = (Begun, *[ApplicationDone] * 4)


@pytest.mark.parametrize(
    ("happened", "fate"),
    [
        ((BeginFailed,), HandBack(CallResult.FAILED)),
        ((CallerHungUp, Begun), Discard(CallResult.HANGUP_BEFORE_ANSWER)),
        ((ControlLost, Begun), Discard(CallResult.HANGUP_BEFORE_ANSWER)),
        ((Begun, CallerHungUp), Discard(CallResult.HANGUP_BEFORE_ANSWER)),
        ((Begun, ControlLost), Discard(CallResult.CONTROL_LOST)),
        ((Begun, DeadlineExpired), Discard(CallResult.SWITCH_STALLED)),
        ((Begun, ApplicationDone, CallerHungUp), Discard(CallResult.HANGUP_IN_GREETING)),
        ((Begun, *[ApplicationDone] * 2, CallerHungUp), Discard(CallResult.HANGUP_IN_GREETING)),
        ((Begun, *[ApplicationDone] * 2, ControlLost), Discard(CallResult.CONTROL_LOST)),
        ((Begun, *[ApplicationDone] * 3, CallerHungUp), Discard(CallResult.HANGUP_IN_GREETING)),
        ((Begun, *[ApplicationDone] * 3, DeadlineExpired), Discard(CallResult.SWITCH_STALLED)),
        ((Begun, CallerHungUp(by_fault=True)), Discard(CallResult.CONTROL_LOST)),
        ((Begun, *[ApplicationDone] * 3, CallerHungUp(by_fault=True)), Discard(CallResult.CONTROL_LOST)),
        ((*RECORDING, ControlLost), Salvage()),
        ((*RECORDING, CallerHungUp, ControlLost), Salvage()),
        ((*RECORDING, CallerHungUp, DeadlineExpired), Salvage()),
        ((*RECORDING, DeadlineExpired, DeadlineExpired), Salvage()),
    ],
)
def test_a_call_that_ends_early_leaves_its_trace(
    happened: tuple[type[Input] | Input, ...], fate: Command
) -> None:
    dialogue = start()
    assert [one for one in walk(dialogue, *happened) if isinstance(one, FATES)] == [fate]


def test_hanging_up_while_recording_waits_for_the_file_and_keeps_it() -> None:
    dialogue = start()
    walk(dialogue, *RECORDING)
    assert dialogue.receive(CallerHungUp()) == ()
    assert dialogue.state is State.SETTLING
    assert dialogue.receive(done(dialogue, ended_by=EndedBy.HANG_UP)) == (
        Keep(Take(SCRIPT.recording, 0, EndedBy.HANG_UP)),
    )
    assert dialogue.receive(Kept()) == ()
    assert dialogue.done


def test_a_recording_that_outlasts_its_deadline_is_ended_and_kept() -> None:
    dialogue = start()
    walk(dialogue, *RECORDING)
    assert dialogue.receive(DeadlineExpired()) == (HangUp(),)
    assert isinstance(dialogue.receive(done(dialogue))[0], Keep)


def test_no_thanks_before_the_commit_and_an_apology_when_it_fails() -> None:
    dialogue = start()
    walk(dialogue, *RECORDING)
    dialogue.receive(done(dialogue))
    assert dialogue.state is State.KEEPING
    assert dialogue.receive(KeepFailed()) == (Play("app-7", SCRIPT.apology),)


def test_an_empty_message_is_not_thanked_for() -> None:
    dialogue = start()
    walk(dialogue, *RECORDING)
    dialogue.receive(done(dialogue))
    assert dialogue.receive(NothingKept()) == (HangUp(),)


def test_a_completion_of_somebody_elses_application_changes_nothing() -> None:
    dialogue = start()
    walk(dialogue, Begun)
    assert dialogue.receive(ApplicationDone("app-1")) == ()
    assert dialogue.receive(ApplicationDone("unknown")) == ()
    assert dialogue.state is State.ANSWERING


def possible(state: State, kind: type[Input]) -> bool:
    """Whether the session can feed this input in this state: a row answers only while it is asked."""
    if kind in (Begun, BeginFailed):
        return state in (State.OPENING, State.OPENING_GONE)
    if kind in (Kept, NothingKept, KeepFailed):
        return state in (State.KEEPING, State.KEEPING_GONE)
    return True


def whatever(_state: State, _kind: type[Input]) -> bool:
    """Every input in every state, even those that the session never feeds."""
    return True


def explore(
    longest: int,
    *,
    first: tuple[type[Input], ...] = (),
    fed: Callable[[State, type[Input]], bool] = possible,
) -> tuple[Counter[int], int]:
    """Walk every sequence after a beginning: at most one fate in each, exactly one when done.

    Sequences share the dialogue of what they begin with: at each input it goes on as a copy. Returned are
    how many sequences of each length there were, and how many of all of them were done.
    """
    dialogue = start()
    fates = sum(isinstance(one, FATES) for one in walk(dialogue, *first))
    walked: Counter[int] = Counter()
    ended = 0
    pending: list[tuple[tuple[type[Input], ...], Dialogue, int]] = [((), dialogue, fates)]
    while pending:
        happened, dialogue, fates = pending.pop()
        assert fates <= 1, (first, happened)
        assert fates == 1 or not dialogue.done, (first, happened)
        walked[len(happened)] += 1
        ended += dialogue.done
        if len(happened) == longest:
            continue
        for kind in INPUTS:
            if fed(dialogue.state, kind):
                after = copy(dialogue)
                said = after.receive(done(after) if kind is ApplicationDone else kind())
                met = fates + sum(isinstance(one, FATES) for one in said)
                pending.append(((*happened, kind), after, met))
    return walked, ended


def test_every_sequence_of_six_inputs_from_the_start_meets_exactly_one_fate() -> None:
    _, ended = explore(6)
    assert ended > 10_000


def test_every_sequence_of_five_inputs_from_the_recording_meets_exactly_one_fate() -> None:
    _, ended = explore(5, first=RECORDING)
    assert ended > 1_000


def test_no_sequence_at_all_of_up_to_six_inputs_breaks_the_dialogue() -> None:
    """Even inputs that the session never feeds are moves or ignored, and never bring a second fate."""
    walked, _ = explore(6, fed=whatever)
    assert [walked[length] for length in range(7)] == [len(INPUTS) ** length for length in range(7)]


@pytest.mark.parametrize("state", [state for state in State if state is not State.DONE])
def test_every_state_waits_for_a_bounded_time(state: State) -> None:
    dialogue = start()
    dialogue.state = state
    assert 0 < dialogue.deadline_seconds <= SCRIPT.max_seconds + 20
