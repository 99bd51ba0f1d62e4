"""The switch, its machine or the network dies in every part of a call: what reached the disk is mailed.

All deaths happen at once to one server, so that the deadlines of those that say nothing are waited for once.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path

import gevent
import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome
from tests.support.service import Service, running, until
from tests.support.speech import attached, save, tone

SPEECH_SECONDS = 0.8
DIES_AT = 0.4
ENDS = KeyPress("#", Moment(Stage.RECORDING, DIES_AT))
CUT_OFF = "the recording was cut off by a fault"

# As long as nothing is heard of a recording, the switch may be at it for max_seconds and then some.
MAILBOX = {
    "recipients": ["desk@example.com"],
    "language": "en",
    "max_seconds": 1,
    "min_seconds": 0,
    "silence_seconds": 2,
}

DEATHS = {
    "its process is killed": Mishap.VANISH,
    "it is killed and its kernel resets": Mishap.RESET,
    "it is killed within an event": Mishap.TRUNCATE,
    "it is frozen": Mishap.FREEZE,
    "it is shut down": Mishap.SHUTDOWN,
    "the connection is cut": Mishap.CUT,
    "the network stalls": Mishap.STALL,
}
# The call itself goes on, with nobody to tell us.
LIVES_ON = {Mishap.CUT, Mishap.STALL}

# At the very start of a call, before its row is written, a lost switch counts as a caller who left.
IN_RINGING = {"control_lost", "hangup_before_answer", "switch_stalled"}

GREETED = [Stage.PAUSE, Stage.GREETING, Stage.BEEP]
WITHOUT_A_WORD = {
    Stage.PAUSE: "control_lost",
    Stage.GREETING: "control_lost",
    Stage.BEEP: "control_lost",
    Stage.RECORDING: "salvaged",
    Stage.SETTLING: "salvaged",
    Stage.MENU: "recorded",
    Stage.THANKS: "recorded",
}
SILENT = {**WITHOUT_A_WORD, **dict.fromkeys(GREETED, "switch_stalled")}
SHUT_DOWN = {
    **dict.fromkeys(GREETED, "control_lost"),
    Stage.RECORDING: "recorded",
    Stage.SETTLING: "recorded",
    Stage.MENU: "recorded",
    Stage.THANKS: "recorded",
}


def fates(stage: Stage, death: Mishap) -> set[str]:
    """Return the results that a call's line may say."""
    if stage is Stage.RINGING:
        return IN_RINGING
    match death:
        case Mishap.FREEZE | Mishap.STALL:
            return {SILENT[stage]}
        case Mishap.SHUTDOWN:
            return {SHUT_DOWN[stage]}
        case _:
            return {WITHOUT_A_WORD[stage]}


@dataclass
class Death:
    """One call and how it ended."""

    speech: bytes
    outcome: TrialOutcome
    line: dict[str, str]


@dataclass
class Aftermath:
    """The server after all of it, with what it had before."""

    service: Service
    descriptors: int
    deaths: dict[tuple[Stage, Mishap], Death]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    folder = tmp_path_factory.mktemp("service")
    greeting = save(folder / "greeting.wav", tone(1.0, 300))
    mailbox = {**MAILBOX, "greetings": {"default": str(greeting)}}
    mailboxes = {"default": mailbox, "asking": {**mailbox, "review": True}}
    with running(folder, {"mailboxes": mailboxes}) as service:
        # What is opened once and for all is opened by the first call.
        assert service.call(TrialCaller(speech=tone(0.5))).recorded_ms == 500
        service.mails(1)
        until(lambda: service.in_progress() == 0, "the first call is over")
        descriptors = service.descriptors
        placed = {}
        for stage in Stage:
            for death in DEATHS.values():
                # Each caller has a voice of his own; where he dies in the stage is seen in what is recorded.
                speech = tone(SPEECH_SECONDS, 400 + 10 * len(placed))
                seconds = DIES_AT if stage is Stage.RECORDING else 0.0
                caller = TrialCaller(speech=speech, fault=Fault(death, Moment(stage, seconds)))
                box = "default"
                if stage is Stage.MENU:
                    box, caller = "asking", replace(caller, then="stay", keys=(ENDS,))
                placed[stage, death] = (speech, gevent.spawn(service.call, caller, box, pace=20.0))
        calls = [call for _, call in placed.values()]
        gevent.joinall(calls, timeout=60, raise_error=True)
        assert all(call.ready() for call in calls)
        deaths = {
            key: Death(speech, call.get(), service.line_of(call.get().call_id))
            for key, (speech, call) in placed.items()
        }
        yield Aftermath(service, descriptors, deaths)


@cache
def read(path: Path) -> EmailMessage:
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return str(body.get_content())


def mail_of(aftermath: Aftermath, death: Death) -> EmailMessage:
    """Wait for a call's mail; recovery takes a file that nobody has written to for 17 seconds, every 20."""
    service, call_id = aftermath.service, death.outcome.call_id
    until(
        lambda: [line for line in service.lines("delivery") if line["call"] == call_id],
        f"the mail of {call_id}",
        90,
    )
    mails = [read(path) for path in (service.folder / "var" / "mail" / "new").iterdir()]
    (mail,) = [mail for mail in mails if call_id in text(mail)]
    return mail


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_every_call_ends_with_one_line_that_says_how(
    aftermath: Aftermath, stage: Stage, death: Mishap
) -> None:
    died = aftermath.deaths[stage, death]
    assert died.line["result"] in fates(stage, death)
    lines = [one for one in aftermath.service.lines("call") if one.get("call") == died.outcome.call_id]
    assert len(lines) == 1


@pytest.mark.parametrize("stage", [Stage.RECORDING, Stage.SETTLING])
@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_all_audio_that_reached_the_disk_is_mailed_and_said_to_be_cut_off(
    aftermath: Aftermath, stage: Stage, death: Mishap
) -> None:
    died = aftermath.deaths[stage, death]
    whole = stage is Stage.SETTLING or death in LIVES_ON
    assert died.outcome.recorded_ms == (SPEECH_SECONDS if whole else DIES_AT) * 1000
    mail = mail_of(aftermath, died)
    assert attached(mail) == died.speech[: died.outcome.recorded_ms * 16]
    # A caller who hung up by himself, and whose file the switch closed, was not cut off.
    assert (CUT_OFF in text(mail)) == ((stage, death) != (Stage.SETTLING, Mishap.SHUTDOWN))


@pytest.mark.parametrize("stage", [Stage.MENU, Stage.THANKS])
@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_a_message_recorded_before_is_mailed_whole_and_not_said_to_be_cut_off(
    aftermath: Aftermath, stage: Stage, death: Mishap
) -> None:
    died = aftermath.deaths[stage, death]
    mail = mail_of(aftermath, died)
    assert attached(mail) == died.speech[: died.outcome.recorded_ms * 16]
    assert died.outcome.recorded_ms == (DIES_AT if stage is Stage.MENU else SPEECH_SECONDS) * 1000
    assert CUT_OFF not in text(mail)


def test_whoever_a_fault_kept_from_the_beep_is_told_of_in_one_notice(aftermath: Aftermath) -> None:
    early = [died for (stage, _), died in aftermath.deaths.items() if stage in {Stage.RINGING, *GREETED}]
    # Of a switch that died before it said who calls, there is nothing to tell.
    told = [
        died.outcome.call_id
        for died in early
        if died.line["result"] != "hangup_before_answer" and "mailbox" in died.line
    ]
    assert len(told) >= len(GREETED) * len(DEATHS)

    def mailed() -> Counter[str]:
        mails = Counter(line["call"] for line in aftermath.service.lines("delivery"))
        return Counter({died.outcome.call_id: mails[died.outcome.call_id] for died in early})

    until(lambda: +mailed() == Counter(told), "one notice of each")


def test_nothing_of_them_is_left_in_the_server(aftermath: Aftermath) -> None:
    service = aftermath.service
    until(lambda: service.in_progress() == 0, "no call in progress")
    until(lambda: service.descriptors <= aftermath.descriptors, "no descriptor more than before")
    assert not [line for line in service.log.splitlines() if "crashed" in line]


def test_it_still_takes_a_call_and_stops_at_once(aftermath: Aftermath) -> None:
    service = aftermath.service
    assert service.call(TrialCaller(speech=tone(0.5))).recorded_ms == 500
    until(lambda: service.in_progress() == 0, "the call is over")
    # A call that is left would be waited for a minute long.
    assert service.stop(seconds=20) == 0
    assert service.lines("stopped")[-1]["calls_left"] == "0"
