"""The dialogue's table: complete, and one fate a call whatever the order of events."""

from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from esl_voicemail.dialogue import (
    IGNORED,
    INPUTS,
    TABLE,
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
    Dialogue,
    DigitPressed,
    Discard,
    HandBack,
    HangUp,
    Input,
    Keep,
    KeepFailed,
    Kept,
    Menu,
    Note,
    NothingKept,
    Pause,
    Play,
    Prepare,
    Record,
    Salvage,
    Script,
    State,
    Tell,
    Transfer,
    Typed,
)
from esl_voicemail.model import CallResult, EndedBy, Take

SCRIPT = Script(
    greeting=(Path("/sounds/greeting.wav"), Path("/sounds/promise.wav")),
    greeting_seconds=5,
    thanks=Path("/sounds/thanks.wav"),
    apology=Path("/sounds/apology.wav"),
    recordings=(Path("/spool/sales.1.wav"),),
    max_seconds=60,
    silence_seconds=7,
)
FATES = (Keep, Discard, Salvage, HandBack)
# Answered, greeted, beeped.
RECORDING: tuple[type[Input], ...] = (Begun, *[ApplicationDone] * 3)


ASKED = replace(
    SCRIPT,
    recordings=tuple(Path(f"/spool/sales.{take}.wav") for take in (1, 2, 3)),
    operator="1000",
    connecting=Path("/sounds/operator.wav"),
    ask_number=Path("/sounds/leave-number.wav"),
    review=Path("/sounds/review.wav"),
    keep_digits=True,
)


def start(script: Script = SCRIPT) -> Dialogue:
    numbers = count(1)
    return Dialogue(script, lambda: f"app-{next(numbers)}")


def done(dialogue: Dialogue, **said: object) -> ApplicationDone:
    """The completion of the application the dialogue waits for."""
    return ApplicationDone(dialogue._awaited, **said)  # type: ignore[arg-type]


def typed(dialogue: Dialogue, digits: str) -> Typed:
    """What the caller types at the application the dialogue waits for."""
    return Typed(dialogue._awaited, digits)


def walk(dialogue: Dialogue, *happened: type[Input] | Input | str) -> list[Command]:
    """Feed inputs; a bare `ApplicationDone` is that of the one awaited, and a text is typed at it."""
    said = list(dialogue.open())
    for one in happened:
        said.extend(feed(dialogue, one))
    return said


def feed(dialogue: Dialogue, one: type[Input] | Input | str) -> tuple[Command, ...]:
    if one is ApplicationDone:
        one = done(dialogue)
    elif isinstance(one, str):
        one = typed(dialogue, one)
    return dialogue.receive(one() if isinstance(one, type) else one)  # type: ignore[call-arg]


def test_every_pair_of_state_and_input_is_a_move_or_an_explicit_ignore_and_never_both() -> None:
    for state in State:
        for kind in INPUTS:
            # What is typed where nothing is offered only ends what was played.
            ends = kind is Typed and (state, kind) not in TABLE and kind not in IGNORED[state]
            moves = (state, ApplicationDone if ends else kind) in TABLE
            ignored = kind in IGNORED[state]
            assert moves != ignored, f"{state.name} x {kind.__name__}: move {moves}, ignored {ignored}"


def test_a_whole_message_runs_from_answer_to_hang_up() -> None:
    dialogue = start()
    said = walk(dialogue, *RECORDING)
    said += dialogue.receive(done(dialogue, duration_ms=4200, ended_by=EndedBy.KEY))
    said += dialogue.receive(Kept())
    said += dialogue.receive(done(dialogue))
    said += dialogue.receive(CallerHungUp())
    assert said == [
        Begin(),
        Prepare("app-1"),
        Answer("app-2"),
        Pause("app-3", 400),
        Play("app-4", SCRIPT.greeting),
        Beep("app-5"),
        Record("app-6", SCRIPT.recordings[0], 60, 7),
        Keep(Take(SCRIPT.recordings[0], 4200, EndedBy.KEY)),
        Play("app-7", (SCRIPT.thanks,)),
        HangUp(),
    ]
    assert dialogue.done


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
        ((Begun, ApplicationDone, ControlLost), Discard(CallResult.CONTROL_LOST)),
        ((Begun, ApplicationDone, DeadlineExpired), Discard(CallResult.SWITCH_STALLED)),
        ((Begun, *[ApplicationDone] * 2, CallerHungUp), Discard(CallResult.HANGUP_IN_GREETING)),
        ((Begun, *[ApplicationDone] * 2, ControlLost), Discard(CallResult.CONTROL_LOST)),
        ((Begun, *[ApplicationDone] * 2, DeadlineExpired), Discard(CallResult.SWITCH_STALLED)),
        ((Begun, CallerHungUp(by_fault=True)), Discard(CallResult.CONTROL_LOST)),
        ((Begun, *[ApplicationDone] * 2, CallerHungUp(by_fault=True)), Discard(CallResult.CONTROL_LOST)),
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
        Keep(Take(SCRIPT.recordings[0], 0, EndedBy.HANG_UP)),
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
    assert dialogue.receive(KeepFailed()) == (Play("app-7", (SCRIPT.apology,)),)


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
    script: Script = SCRIPT,
    first: tuple[type[Input] | str, ...] = (),
    fed: Callable[[State, type[Input]], bool] = possible,
) -> tuple[Counter[int], int]:
    """Walk every sequence after a beginning: at most one fate in each, exactly one when done.

    Sequences share the dialogue of what they begin with: at each input it goes on as a copy. Returned are
    how many sequences of each length there were, and how many of all of them were done.
    """
    dialogue = start(script)
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
            # What is typed matters where keys are offered, and there it is one of them.
            for digits in ("0", "2", "3") if kind is Typed and asks(dialogue.state) else ("1",):
                if not fed(dialogue.state, kind):
                    continue
                after = copy(dialogue)
                said = feed(after, digits if kind is Typed else kind)
                met = fates + sum(isinstance(one, FATES) for one in said)
                pending.append(((*happened, kind), after, met))
    return walked, ended


def asks(state: State) -> bool:
    """Whether a state offers keys."""
    return isinstance(TABLE.get((state, Typed)), Menu)


@pytest.mark.parametrize("script", [SCRIPT, ASKED], ids=["plain", "asking"])
def test_every_sequence_of_six_inputs_from_the_start_meets_exactly_one_fate(script: Script) -> None:
    _, ended = explore(6, script=script)
    assert ended > 10_000


@pytest.mark.parametrize("script", [SCRIPT, ASKED], ids=["plain", "asking"])
def test_every_sequence_of_five_inputs_from_the_recording_meets_exactly_one_fate(script: Script) -> None:
    asked = ("0601",) if script.ask_number else ()
    first = (*RECORDING[:-1], *asked, ApplicationDone) if asked else RECORDING
    _, ended = explore(5, script=script, first=first)
    assert ended > 1_000


def test_every_sequence_of_five_inputs_from_the_review_meets_exactly_one_fate() -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    assert dialogue.state is State.REVIEWING
    _, ended = explore(5, script=replace(ASKED, ask_number=None), first=(*RECORDING, ApplicationDone))
    assert ended > 1_000


def test_no_sequence_at_all_of_up_to_five_inputs_breaks_the_dialogue() -> None:
    """Even inputs that the session never feeds are moves or ignored, and never bring a second fate."""
    walked, _ = explore(5, fed=whatever)
    assert all(walked[length] >= len(INPUTS) ** length for length in range(6))


# --- what the caller may type ----------------------------------------------------------------------------


def reviewed(dialogue: Dialogue) -> tuple[Command, ...]:
    """Lead a caller to the question whether to keep what he has recorded."""
    walk(dialogue, *RECORDING[:-1], "48601234567", ApplicationDone)
    return dialogue.receive(done(dialogue, duration_ms=4000, ended_by=EndedBy.KEY))


FIRST = Take(ASKED.recordings[0], 4000, EndedBy.KEY)


def test_0_in_the_greeting_leads_to_a_person() -> None:
    dialogue = start(ASKED)
    said = walk(dialogue, Begun, ApplicationDone, "0", ApplicationDone, ApplicationDone)
    assert said[4:] == [
        Play("app-4", ASKED.greeting, "0"),
        Discard(CallResult.OPERATOR),
        Play("app-5", (Path("/sounds/operator.wav"),)),
        Tell("app-6", "operator"),
        Transfer("app-7", "1000"),
    ]
    assert dialogue.done


def test_without_an_operator_no_key_but_the_hash_ends_the_greeting() -> None:
    assert walk(start(), Begun, ApplicationDone)[-1] == Play("app-4", SCRIPT.greeting, "")


def test_a_number_left_by_a_caller_without_one_is_noted_before_he_speaks() -> None:
    said = walk(start(ASKED), *RECORDING[:-1], "48601234567")
    assert said[-3:] == [
        AskNumber("app-5", Path("/sounds/leave-number.wav")),
        Note(number="48601234567"),
        Beep("app-6"),
    ]


@pytest.mark.parametrize("answer", [ApplicationDone, "12*4"])
def test_a_caller_who_leaves_no_number_hears_the_beep_all_the_same(answer: type[Input] | str) -> None:
    said = walk(start(ASKED), *RECORDING[:-1], answer)
    assert isinstance(said[-1], Beep)
    assert not [one for one in said if isinstance(one, Note)]


def test_digits_typed_while_he_speaks_are_kept_with_the_message_and_end_nothing() -> None:
    dialogue = start(replace(SCRIPT, keep_digits=True))
    walk(dialogue, *RECORDING, *(DigitPressed(digit) for digit in "17*4"))
    [kept] = dialogue.receive(done(dialogue, duration_ms=4000, ended_by=EndedBy.HANG_UP))
    assert kept == Keep(Take(SCRIPT.recordings[0], 4000, EndedBy.HANG_UP, "174"))
    assert kept.typed == "174"


def test_a_mailbox_that_keeps_no_digits_forgets_them() -> None:
    dialogue = start()
    walk(dialogue, *RECORDING, DigitPressed("1"))
    [kept] = dialogue.receive(done(dialogue))
    assert isinstance(kept, Keep)
    assert kept.typed == ""


def test_no_end_of_digits_is_kept() -> None:
    dialogue = start(replace(SCRIPT, keep_digits=True))
    walk(dialogue, *RECORDING, *[DigitPressed("7")] * 1000)
    [kept] = dialogue.receive(done(dialogue))
    assert isinstance(kept, Keep)
    assert kept.typed == "7" * 30


def test_a_review_offers_to_keep_to_listen_and_to_record_again() -> None:
    assert reviewed(start(ASKED)) == (AskKey("app-8", Path("/sounds/review.wav"), "123"),)


@pytest.mark.parametrize("answer", ["1", "9", ApplicationDone, CallerHungUp, ControlLost, DeadlineExpired])
def test_whatever_is_answered_to_the_review_the_message_is_kept(answer: type[Input] | str) -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    assert feed(dialogue, answer) == (Keep(FIRST),)


def test_who_listens_is_asked_again() -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    assert feed(dialogue, "2") == (Play("app-9", (ASKED.recordings[0],)),)
    assert feed(dialogue, ApplicationDone) == (AskKey("app-10", Path("/sounds/review.wav"), "123"),)


def test_nobody_listens_without_end() -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    for _ in range(5):
        feed(dialogue, "2")
        feed(dialogue, ApplicationDone)
    assert feed(dialogue, "2") == (Keep(FIRST),)


@pytest.mark.parametrize("end", [CallerHungUp, ControlLost, DeadlineExpired])
@pytest.mark.parametrize("where", ["2", "3"])
def test_who_hangs_up_listening_or_before_the_second_beep_has_left_what_he_recorded(
    where: str, end: type[Input]
) -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    feed(dialogue, where)
    assert feed(dialogue, end) == (Keep(FIRST),)


def test_who_records_again_leaves_the_newest_and_what_was_before_it() -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    assert feed(dialogue, "3") == (Beep("app-9"),)
    assert feed(dialogue, ApplicationDone) == (Record("app-10", ASKED.recordings[1], 60, 7),)
    feed(dialogue, CallerHungUp)
    second = Take(ASKED.recordings[1], 200, EndedBy.HANG_UP)
    kept = dialogue.receive(done(dialogue, duration_ms=200, ended_by=EndedBy.HANG_UP))
    assert kept == (Keep(second, (FIRST,)),)


def test_nobody_records_without_end() -> None:
    dialogue = start(ASKED)
    reviewed(dialogue)
    for _ in range(2):
        feed(dialogue, "3")
        feed(dialogue, ApplicationDone)
        dialogue.receive(done(dialogue, duration_ms=4000, ended_by=EndedBy.KEY))
    [kept] = feed(dialogue, "3")
    assert isinstance(kept, Keep)
    assert (kept.take.path, len(kept.earlier)) == (ASKED.recordings[2], 2)


def test_who_hung_up_or_was_cut_off_is_not_asked() -> None:
    for ended_by in (EndedBy.HANG_UP, EndedBy.CUT):
        dialogue = start(replace(ASKED, ask_number=None))
        walk(dialogue, *RECORDING)
        [kept] = dialogue.receive(done(dialogue, duration_ms=4000, ended_by=ended_by))
        assert isinstance(kept, Keep)


@pytest.mark.parametrize("state", [state for state in State if state is not State.DONE])
def test_every_state_waits_for_a_bounded_time(state: State) -> None:
    dialogue = start()
    dialogue.state = state
    assert 0 < dialogue.deadline_seconds <= SCRIPT.max_seconds + 60
