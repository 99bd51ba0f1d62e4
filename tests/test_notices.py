"""The lead survives: whoever a message would have been for learns of a call that left none."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gevent
import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.service import Service, running, until
from tests.support.speech import tone

BOXES = {
    "always": {"notify_empty": "always", "recipients": ["anna@always.example", "jan@always.example"]},
    "known": {"notify_empty": "known-callers", "recipients": ["anna@known.example"]},
    "never": {"notify_empty": "never", "recipients": ["anna@never.example"]},
    "default": {"recipients": ["anna@default.example"]},
}
GONE_IN_GREETING = TrialCaller(number="+48601000001", hang_up=Moment(Stage.GREETING, 0.5))
GONE_AT_THE_BEEP = TrialCaller(number="+48601000002", hang_up=Moment(Stage.RECORDING, 0.3), speech=tone(0.3))
UNHEARD = TrialCaller(
    number="+48601000003", rtp=False, then="stay", keys=(KeyPress("#", Moment(Stage.RECORDING, 2.0)),)
)
EMPTY = {"greeting": GONE_IN_GREETING, "beep": GONE_AT_THE_BEEP, "unheard": UNHEARD}


@dataclass
class Notice:
    """A mail without audio, as it arrived."""

    recipient: str
    text: str


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running(
        folder, {"defaults": {"language": "en", "silence_seconds": 2}, "mailboxes": BOXES}
    ) as started:
        yield started


def placed(service: Service, caller: TrialCaller, box: str, pace: float = math.inf) -> TrialOutcome:
    """Place a call, and wait until the service is done with it: it may see its end after the switch did."""
    outcome = service.call(caller, box, pace=pace)
    service.line_of(outcome.call_id)
    return outcome


def settled(service: Service) -> list[Notice]:
    """Return all notices of the calls that are over, once nothing waits to be sent."""
    states = [f'voicemail_queue_messages{{state="{state}"}}' for state in ("queued", "sending")]
    until(lambda: not any(service.metric(state) for state in states), "the queue is empty")
    mails = service.mails(0)
    assert all(not list(mail.iter_attachments()) for mail in mails)
    bodies = [mail.get_body(("plain",)) for mail in mails]
    return [
        Notice(mail["Delivered-To"], body.get_content())
        for mail, body in zip(mails, bodies, strict=True)
        if body is not None
    ]


def told(service: Service, caller: TrialCaller) -> list[str]:
    """Return who has been told of a caller."""
    number = f"{caller.number[:3]} {caller.number[3:6]} {caller.number[6:9]} {caller.number[9:]}"
    return sorted(notice.recipient for notice in settled(service) if number in notice.text)


@pytest.mark.parametrize("how", EMPTY)
def test_a_caller_who_left_nothing_is_told_of_as_each_mailbox_asks(serving: Service, how: str) -> None:
    caller = EMPTY[how]
    for box in BOXES:
        placed(serving, caller, box)
    assert told(serving, caller) == ["anna@always.example", "anna@known.example", "jan@always.example"]


def test_a_withheld_number_is_no_known_caller(serving: Service) -> None:
    caller = TrialCaller(number="", name="", withheld=True, hang_up=Moment(Stage.GREETING, 0.5))
    before = len(settled(serving))
    for box in ("always", "known", "never"):
        placed(serving, caller, box)
    new = settled(serving)[before:]
    assert sorted(notice.recipient for notice in new) == ["anna@always.example", "jan@always.example"]


@pytest.mark.parametrize("box", ["never", "default"])
def test_a_recording_that_failed_is_always_told(serving: Service, box: str) -> None:
    caller = TrialCaller(number=f"+4860200000{len(box)}", speech=tone(3.0))
    call = gevent.spawn(placed, serving, caller, box, pace=2.0)
    greeting = 'voicemail_calls_in_progress{stage="greeting"}'
    until(lambda: serving.metric(greeting), "the caller hears the greeting")
    shadow = serving.recordings / "8000"
    shadow.mkdir()
    try:
        ended = call.get(timeout=60)
    finally:
        shadow.rmdir()
    assert ended.recorded_ms == 0
    assert serving.line_of(ended.call_id)["result"] == "record_failed"
    assert told(serving, caller) == [f"anna@{box}.example"]


@pytest.mark.parametrize("mishap", [Mishap.VANISH, Mishap.SHUTDOWN])
def test_a_switch_that_is_lost_before_the_beep_is_told_too(serving: Service, mishap: Mishap) -> None:
    number = f"+4860300000{mishap is Mishap.VANISH:d}"
    caller = TrialCaller(number=number, fault=Fault(mishap, Moment(Stage.GREETING, 0.5)))
    placed(serving, caller, "never")
    assert told(serving, caller) == ["anna@never.example"]


def test_the_journal_knows_them_all(serving: Service, tmp_path: Path) -> None:
    ended = [line["result"] for line in serving.lines("call")]
    assert {"hangup_in_greeting", "too_short", "no_audio", "record_failed", "control_lost"} <= set(ended)
    assert serving.stop() == 0
