"""What a caller may type, in whole calls: for a person, for his number, for a case, and to hear himself."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.service import Service, command, running, until
from tests.support.speech import attached, tone

SPEECH = tone(3.0)
BOXES = {
    "plain": {"recipients": ["plain@example.com"]},
    "person": {"recipients": ["person@example.com"], "operator": "1000", "notify_empty": "always"},
    "review": {"recipients": ["review@example.com"], "review": True},
    "number": {"recipients": ["number@example.com"], "ask_number": True, "notify_empty": "always"},
    "deaf": {"recipients": ["deaf@example.com"], "keep_digits": False},
}
PROMISING = {
    "recipients": ["p@example.com"],
    "promise": True,
    "hours": {"mon-sun": "00:00-24:00"},
    "notify_empty": "always",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "defaults": {"language": "en", "silence_seconds": 2, "region": "PL"},
        "mailboxes": {**BOXES, "promising": PROMISING},
    }
    with running(tmp_path_factory.mktemp("service"), settings) as started:
        yield started


class SilentAtLast(TrialCaller):
    """A caller who has nothing to say when he is recorded again."""

    def heard(self, start: int, end: int) -> bytes:
        return bytes(2 * (end - start)) if self.is_again() else super().heard(start, end)

    def silent_after(self, threshold: int, seconds: float) -> float:
        # Asked once a recording, as it begins.
        BEGUN[self] += 1
        return seconds if self.is_again() else super().silent_after(threshold, seconds)

    def is_again(self) -> bool:
        return BEGUN[self] > 1


BEGUN: Counter[TrialCaller] = Counter()


def key(digit: str, stage: Stage, seconds: float = 0.5) -> KeyPress:
    return KeyPress(digit, Moment(stage, seconds))


def place(service: Service, box: str, caller: TrialCaller) -> tuple[TrialOutcome, dict[str, str]]:
    outcome = service.call(caller, box, pace=math.inf)
    return outcome, service.line_of(outcome.call_id)


def mail_of(service: Service, call_id: str) -> EmailMessage:
    """Wait for the one mail of a call."""
    until(lambda: [one for one in service.lines("delivery") if one["call"] == call_id], "it is delivered")
    (mail,) = [one for one in service.mails() if call_id in text_of(one)]
    return mail


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def played(outcome: TrialOutcome) -> list[str]:
    return [argument.rpartition("/")[2] for name, argument in outcome.applications if name == "playback"]


def test_0_in_the_greeting_transfers_to_a_person_and_nobody_is_mailed_of_it(serving: Service) -> None:
    outcome, line = place(serving, "person", TrialCaller(keys=(key("0", Stage.GREETING),)))
    assert (outcome.transferred, outcome.handed_back, outcome.recording) == ("1000", False, None)
    assert outcome.variables["voicemail_result"] == "operator"
    assert line["result"] == "operator"
    assert played(outcome)[-1] == "operator.wav"
    shown = command("messages", "show", "--json", outcome.call_id, folder=serving.folder)
    story = json.loads(shown.stdout)
    assert (story["state"], story["result"], story["recipients"]) == ("discarded", "operator", 0)


def test_without_an_operator_0_in_the_greeting_changes_nothing(serving: Service) -> None:
    caller = TrialCaller(speech=SPEECH, keys=(key("0", Stage.GREETING),))
    outcome, line = place(serving, "plain", caller)
    assert (outcome.transferred, outcome.greeting_played, line["result"]) == (None, True, "recorded")


def test_digits_typed_while_speaking_are_in_the_mail_and_end_nothing(serving: Service) -> None:
    keys = tuple(key(digit, Stage.RECORDING, 0.5 + n / 4) for n, digit in enumerate("1742"))
    outcome, line = place(serving, "plain", TrialCaller(speech=SPEECH, keys=keys))
    assert line["recording_ms"] == "3000"
    mail = mail_of(serving, outcome.call_id)
    assert "Digits typed:       1742" in text_of(mail)
    assert attached(mail) == SPEECH


def test_a_mailbox_that_keeps_no_digits_mails_none(serving: Service) -> None:
    outcome, _ = place(serving, "deaf", TrialCaller(speech=SPEECH, keys=(key("7", Stage.RECORDING),)))
    assert "Digits typed" not in text_of(mail_of(serving, outcome.call_id))


def test_who_keeps_his_message_at_the_review_is_thanked(serving: Service) -> None:
    keys = (key("#", Stage.RECORDING, 2.0), key("1", Stage.MENU))
    outcome, line = place(serving, "review", TrialCaller(speech=SPEECH, then="stay", keys=keys))
    assert (line["ended_by"], line["recording_ms"]) == ("key", "2000")
    assert played(outcome)[-1] == "thanks.wav"


def test_who_listens_hears_what_he_recorded_and_is_asked_again(serving: Service) -> None:
    keys = (key("#", Stage.RECORDING, 2.0), key("2", Stage.MENU), key("1", Stage.MENU, 1.0))
    outcome, line = place(serving, "review", TrialCaller(speech=SPEECH, then="stay", keys=keys))
    assert line["result"] == "recorded"
    assert played(outcome)[-2] == outcome.recording.rpartition("/")[2]  # type: ignore[union-attr]
    assert [name for name, _ in outcome.applications].count("play_and_get_digits") == 2


def test_who_records_again_is_heard_as_he_spoke_last(serving: Service) -> None:
    keys = (key("#", Stage.RECORDING, 2.0), key("3", Stage.MENU))
    outcome, line = place(serving, "review", TrialCaller(speech=SPEECH, keys=keys))
    assert (line["ended_by"], line["recording_ms"]) == ("hang-up", "3000")
    assert attached(mail_of(serving, outcome.call_id)) == SPEECH


def test_who_hangs_up_as_he_begins_again_has_left_his_first_message(serving: Service) -> None:
    keys = (key("#", Stage.RECORDING, 2.0), key("3", Stage.MENU))
    caller = TrialCaller(speech=SPEECH, then="stay", keys=keys, hang_up=Moment(Stage.RECORDING, 2.3))
    outcome, line = place(serving, "review", caller)
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")
    assert attached(mail_of(serving, outcome.call_id)) == SPEECH[: 2000 * 16]


@pytest.mark.parametrize("left", [None, Moment(Stage.RECORDING, 3.5)], ids=["waits", "hangs up"])
def test_who_records_again_and_says_nothing_is_heard_as_he_spoke_before(
    serving: Service, left: Moment | None
) -> None:
    keys = (key("#", Stage.RECORDING, 2.0), key("3", Stage.MENU))
    caller = SilentAtLast(speech=SPEECH, then="stay", keys=keys, hang_up=left)
    outcome, line = place(serving, "review", caller)
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")
    assert attached(mail_of(serving, outcome.call_id)) == SPEECH[: 2000 * 16]


def test_digits_of_the_recording_that_was_given_up_are_not_the_new_one_s(serving: Service) -> None:
    keys = (
        *(key(digit, Stage.RECORDING, 0.2 + n / 4) for n, digit in enumerate("99")),
        key("#", Stage.RECORDING, 2.0),
        key("3", Stage.MENU),
        *(key(digit, Stage.RECORDING, 2.5 + n / 4) for n, digit in enumerate("17")),
    )
    outcome, _ = place(serving, "review", TrialCaller(speech=SPEECH, keys=keys))
    assert "Digits typed:       17\n" in text_of(mail_of(serving, outcome.call_id))


@pytest.mark.parametrize("stage", [Stage.MENU, Stage.THANKS])
def test_hanging_up_at_any_point_of_the_review_keeps_the_message(serving: Service, stage: Stage) -> None:
    listens = (key("2", Stage.MENU, 0.2),) if stage is Stage.THANKS else ()
    keys = (key("#", Stage.RECORDING, 2.0), *listens)
    caller = TrialCaller(speech=SPEECH, then="stay", keys=keys, hang_up=Moment(stage, 0.5))
    outcome, line = place(serving, "review", caller)
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")
    assert attached(mail_of(serving, outcome.call_id)) == SPEECH[: 2000 * 16]


def withheld(**more: object) -> TrialCaller:
    return TrialCaller(number="", name="", withheld=True, speech=SPEECH, **more)  # type: ignore[arg-type]


NUMBER = tuple(key(digit, Stage.MENU, 0.5 + n / 4) for n, digit in enumerate("601234567#"))


def test_a_number_left_by_a_withheld_caller_is_what_the_mail_calls(serving: Service) -> None:
    outcome, line = place(serving, "number", withheld(keys=NUMBER))
    assert line["result"] == "recorded"
    mail = mail_of(serving, outcome.call_id)
    assert "Number left:        +48 601 234 567" in text_of(mail)
    html = mail.get_body(("html",))
    assert html is not None
    assert "tel:+48-601-234-567" in html.get_content()


def test_it_is_in_the_notice_too_when_he_leaves_no_message(serving: Service) -> None:
    caller = withheld(keys=NUMBER, then="stay", hang_up=Moment(Stage.BEEP, 0.1))
    outcome, line = place(serving, "number", caller)
    assert line["result"] == "hangup_in_greeting"
    assert "Number left:        +48 601 234 567" in text_of(mail_of(serving, outcome.call_id))


def test_who_shows_his_number_is_not_asked_for_it(serving: Service) -> None:
    outcome, _ = place(serving, "number", TrialCaller(speech=SPEECH))
    assert "play_and_get_digits" not in [name for name, _ in outcome.applications]


def test_a_hash_alone_skips_the_question(serving: Service) -> None:
    outcome, line = place(serving, "number", withheld(keys=(key("#", Stage.MENU),)))
    assert line["result"] == "recorded"
    assert "Number left" not in text_of(mail_of(serving, outcome.call_id))


def test_the_promise_is_heard_behind_the_greeting_and_in_the_mail(serving: Service) -> None:
    outcome, _ = place(serving, "promising", TrialCaller(speech=SPEECH))
    heard = next(argument for name, argument in outcome.applications if name == "playback")
    assert heard.startswith("file_string://")
    assert [part.rpartition("/")[2] for part in heard.split("!")] == ["default.wav", "promise-today.wav"]
    assert outcome.greeting_played
    assert "Caller was told:    today" in text_of(mail_of(serving, outcome.call_id))


@pytest.mark.parametrize(
    "caller",
    [
        TrialCaller(speech=SPEECH, keys=(key("#", Stage.GREETING, 0.2),)),
        TrialCaller(hang_up=Moment(Stage.GREETING, 0.2)),
    ],
    ids=["skips", "leaves"],
)
def test_of_a_promise_that_was_not_heard_the_mail_says_nothing(serving: Service, caller: TrialCaller) -> None:
    outcome, _ = place(serving, "promising", caller)
    assert "Caller was told" not in text_of(mail_of(serving, outcome.call_id))


def test_digits_survive_a_switch_that_is_lost(serving: Service) -> None:
    keys = tuple(key(digit, Stage.RECORDING, 0.5 + n / 4) for n, digit in enumerate("17"))
    fault = Fault(Mishap.VANISH, Moment(Stage.RECORDING, 2.0))
    outcome, line = place(serving, "plain", TrialCaller(speech=SPEECH, keys=keys, fault=fault))
    assert line["result"] == "salvaged"
    shown = command("messages", "show", "--json", outcome.call_id, folder=serving.folder)
    assert json.loads(shown.stdout)["typed"] == "17"


def test_after_all_of_them_nothing_crashed(serving: Service) -> None:
    assert serving.stop() == 0
    assert not [line for line in serving.log.splitlines() if "crashed" in line]
