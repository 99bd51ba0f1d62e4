"""The stand-in switch beside calls recorded from FreeSWITCH 1.11: the same commands get the same frames."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from esl_voicemail.trial.caller import Fault, KeyPress, Mishap, Moment, Stage, TrialCaller
from tests.trial.line import Frame, Line

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CAPTURES = Path(__file__).parent.parent / "captures"
LOUD = b"\xb8\x0b" * 8000 * 60
STAYS = TrialCaller(speech=LOUD, then="stay")


def key(digit: str, stage: Stage, seconds: float) -> KeyPress:
    return KeyPress(digit, Moment(stage, seconds))


CALLERS = {
    "left_with_key": TrialCaller(speech=LOUD, keys=(key("#", Stage.RECORDING, 8.6),)),
    "left_with_key_nixed": TrialCaller(speech=LOUD, keys=(key("#", Stage.RECORDING, 8.6),)),
    "hangup_in_record": TrialCaller(speech=LOUD[: 16000 * 8 + 9600], name="Żółta Łódź"),
    "hangup_in_greeting": TrialCaller(hang_up=Moment(Stage.GREETING, 2.08)),
    "hangup_before_answer": TrialCaller(hang_up=Moment(Stage.RINGING, 0.2)),
    "silence_ends": TrialCaller(then="stay"),
    "max_length": STAYS,
    "record_unwritable": STAYS,
    "greeting_missing": STAYS,
    "hash_skips_greeting": TrialCaller(speech=LOUD, keys=(key("#", Stage.GREETING, 1.36),)),
    "digits_in_record": TrialCaller(
        speech=LOUD, keys=tuple(key(digit, Stage.RECORDING, 1 + n) for n, digit in enumerate("12345#"))
    ),
    "no_linger": TrialCaller(speech=LOUD[: 16000 * 8 + 9600]),
    "no_rtp": TrialCaller(then="stay", rtp=False),
    "exit_no_resume": STAYS,
    "exit_resume": STAYS,
    "anonymous": TrialCaller(withheld=True),
    "early_media": STAYS,
    "bad_commands": STAYS,
    "switch_killed": TrialCaller(speech=LOUD, fault=Fault(Mishap.VANISH, Moment(Stage.RECORDING, 3.5))),
}
DIALPLAN = {"voicemail_mailbox": "sales", "voicemail_reason": "no-answer"}
TOLD = re.compile(
    "Event-Name|Event-Calling-Line-Number|Application|Application-(Data|Response)|Answer-State|Hangup-Cause|"
    "DTMF-Digit|Channel-(State|State-Number|Call-State|Read-Codec-Name)|Caller-Caller-ID-(Name|Number)|"
    "Caller-(Screen-Bit|Privacy-Hide-Number)|Content-(Disposition|Type)|Linger-Time|Reply-Text|Socket-Mode|"
    "Control|variable_(playback_terminator_used|silence_hits_exhausted|hangup_cause|hangup_cause_q850|"
    "digits_dialed|sip_hangup_disposition|current_application|endpoint_disposition|last_app)"
)


def told(frame: Frame) -> dict[str, str]:
    """What a frame says that is the same in every such call."""
    facts = {name: value for name, value in frame.headers.items() if TOLD.fullmatch(name)}
    if facts.get("Application") == "socket":
        facts.pop("Application-Data")
    elif "Application-UUID" in frame.headers:
        facts["Application-UUID"] = frame.headers["Application-UUID"]
    if UUID.fullmatch(facts.get("Reply-Text", "")):
        facts["Reply-Text"] = "a SIP call id"
    return facts


class Recorded:
    """A recorded call, its paths moved into a folder of the test."""

    def __init__(self, name: str, folder: Path) -> None:
        text = (CAPTURES / f"{name}.jsonl").read_text("utf-8")
        text = text.replace("/var/greetings", str(folder)).replace("/var/spool/voicemail", str(folder))
        self.rows = [row for row in map(json.loads, text.splitlines()) if "text" in row]
        self.dialled = "vm_sales"

    @staticmethod
    def frame(row: dict[str, str]) -> Frame:
        head, blank, body = row["text"].partition("\n\n")
        return Frame(head + blank, body)

    def frames(self) -> list[Frame]:
        return [self.frame(row) for row in self.rows if row["from"] == "switch"]

    def service(self, line: Line) -> None:
        """Send each command when what came before it in the recorded call has come; read to the last."""
        replies, awaited = 0, None
        for row in self.rows:
            if row["from"] == "service":
                while sum(frame.is_reply for frame in line.frames) < replies:
                    line.until(lambda frame: frame.is_reply)
                if awaited and not any(awaited in frame.text for frame in line.frames):
                    line.until(lambda frame, awaited=awaited: awaited in frame.text)
                line.socket.sendall(row["text"].encode())
                continue
            frame = self.frame(row)
            replies += frame.is_reply
            if frame.event == "CHANNEL_EXECUTE_COMPLETE" and frame.headers["Application"] != "socket":
                awaited = f"Application-UUID: {frame.headers['Application-UUID']}\n\n"
        final = told(self.frames()[-1])
        while final not in map(told, line.frames) and line.read():
            pass
        while sum(frame.is_reply for frame in line.frames) < replies and line.read():
            pass


@pytest.mark.parametrize("name", CALLERS)
def test_the_same_commands_get_the_same_frames_in_the_same_order(name, sounds, place):
    recorded = Recorded(name, sounds)
    frames: list[Frame] = []

    def service(line: Line) -> None:
        recorded.service(line)
        frames.extend(line.frames)

    variables = DIALPLAN | ({"socket_resume": "true"} if name in {"exit_resume", "switch_killed"} else {})
    caller = replace(CALLERS[name], number="+48221234567")
    place(service, caller, dialled=recorded.dialled, variables=variables)

    def parted(all_frames: list[Frame]) -> tuple[list[Frame], list[Frame]]:
        # A reply and an event race in FreeSWITCH too, and so do `nixevent` and the first CHANNEL_PARK.
        told_ones = [frame for frame in all_frames if frame.event != "CHANNEL_PARK"]
        return [frame for frame in told_ones if frame.is_reply], [
            frame for frame in told_ones if not frame.is_reply
        ]

    for ours, theirs in zip(parted(frames), parted(recorded.frames()), strict=True):
        assert [told(frame) for frame in ours] == [told(frame) for frame in theirs]
        assert [frame.names for frame in ours] == [frame.names for frame in theirs]
        for our, their in zip(ours, theirs, strict=True):
            assert len(our.text) == pytest.approx(len(their.text), rel=0.03, abs=len(str(sounds)) * 4)
