"""The lead survives: whoever a message would have been for learns of a call that left none."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import gevent
import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.held import held
from tests.support.service import Service, command, running, until
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
        assert started.stop() == 0


def placed(service: Service, caller: TrialCaller, box: str) -> TrialOutcome:
    """Place a call, and wait until the service is done with it: it may see its end after the switch did."""
    outcome = service.call(caller, box, pace=math.inf)
    service.line_of(outcome.call_id)
    return outcome


def settled(service: Service) -> list[Notice]:
    """Return all notices of the calls that are over, once nothing waits to be sent."""
    until(lambda: service.queued() == 0, "the queue is empty")
    mails = service.mails(0)
    assert all(not list(mail.iter_attachments()) for mail in mails)
    bodies = [mail.get_body(("plain",)) for mail in mails]
    return [
        Notice(mail["Delivered-To"], body.get_content())
        for mail, body in zip(mails, bodies, strict=True)
        if body is not None
    ]


def told(service: Service, number: str) -> list[str]:
    """Return who has been told of a caller."""
    written = f"{number[:3]} {number[3:6]} {number[6:9]} {number[9:]}"
    return sorted(notice.recipient for notice in settled(service) if written in notice.text)


@pytest.mark.parametrize("how", EMPTY)
def test_a_caller_who_left_nothing_is_told_of_as_each_mailbox_asks(serving: Service, how: str) -> None:
    caller = EMPTY[how]
    for box in BOXES:
        placed(serving, caller, box)
    assert told(serving, caller.number) == ["anna@always.example", "anna@known.example", "jan@always.example"]


def test_a_withheld_number_is_no_known_caller(serving: Service) -> None:
    caller = TrialCaller(number="", name="", withheld=True, hang_up=Moment(Stage.GREETING, 0.5))
    before = len(settled(serving))
    for box in ("always", "known", "never"):
        placed(serving, caller, box)
    new = settled(serving)[before:]
    assert sorted(notice.recipient for notice in new) == ["anna@always.example", "jan@always.example"]


def unrecorded(service: Service, number: str, box: str) -> TrialOutcome:
    """Place a call whose recording the switch cannot write: its folder is spoilt during the greeting."""
    shadow = service.recordings / "8000"
    with held(Stage.GREETING) as released:
        call = gevent.spawn(placed, service, TrialCaller(number=number, speech=tone(3.0)), box)
        until(lambda: service.stages() == {"greeting": 1}, "the caller hears the greeting")
        shadow.mkdir()
        try:
            released.set()
            return call.get(timeout=60)
        finally:
            shadow.rmdir()


@pytest.mark.parametrize("box", ["never", "default"])
def test_a_recording_that_failed_is_always_told(serving: Service, box: str) -> None:
    number = f"+4860200000{len(box)}"
    ended = unrecorded(serving, number, box)
    assert ended.recorded_ms == 0
    assert serving.line_of(ended.call_id)["result"] == "record_failed"
    assert told(serving, number) == [f"anna@{box}.example"]


@pytest.mark.parametrize("mishap", [Mishap.VANISH, Mishap.SHUTDOWN])
def test_a_switch_that_is_lost_before_the_beep_is_told_too(serving: Service, mishap: Mishap) -> None:
    number = f"+4860300000{mishap is Mishap.VANISH:d}"
    caller = TrialCaller(number=number, fault=Fault(mishap, Moment(Stage.GREETING, 0.5)))
    placed(serving, caller, "never")
    assert told(serving, caller.number) == ["anna@never.example"]


def test_the_journal_knows_them_all(serving: Service) -> None:
    lost = TrialCaller(fault=Fault(Mishap.VANISH, Moment(Stage.GREETING, 0.5)))
    fates = {
        placed(serving, GONE_IN_GREETING, "never").call_id: "hangup_in_greeting",
        placed(serving, GONE_AT_THE_BEEP, "never").call_id: "too_short",
        placed(serving, UNHEARD, "never").call_id: "no_audio",
        placed(serving, lost, "never").call_id: "control_lost",
        unrecorded(serving, "+48604000001", "never").call_id: "record_failed",
    }
    listed = command("messages", "list", "--json", folder=serving.folder).stdout.splitlines()
    known = {row["call"]: row["result"] for row in map(json.loads, listed)}
    assert {call_id: known.get(call_id) for call_id in fates} == fates
