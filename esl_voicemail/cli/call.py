"""`call`: a trial call against the running service, by the stand-in switch."""

import argparse
import math
import re
import time
import wave
from pathlib import Path
from typing import Any

import gevent

from esl_voicemail.audio.convert import pcm
from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.errors import CannotReachError, RecordingError, VoicemailError
from esl_voicemail.journal import JournalReader
from esl_voicemail.journal.reader import Story
from esl_voicemail.model import Reason, VoicemailState
from esl_voicemail.running import listening
from esl_voicemail.samples import SAMPLE
from esl_voicemail.trial.caller import KeyPress, Moment, Stage, TrialCaller
from esl_voicemail.trial.switch import TrialOutcome, place_call

# Nobody listens to a trial call, so its seconds need not be whole ones.
_PACE = 20.0
# How long the service may take to make the recording safe.
_KEEPING_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.05
_REMEDIES = {
    "refused": "; is the mailbox one of `esl-voicemail mailbox list`, or are there too many calls?",
    "failed": "; /readyz and the log say why nothing can be recorded",
}


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "call", parents=[common], help="place a trial call, without a switch, against the running service"
    )
    verb.add_argument("mailbox", metavar="MAILBOX")
    verb.add_argument("--caller", metavar="N", default="+48601234567", help="the number that calls")
    verb.add_argument("--name", metavar="S", default="Jan Kowalski", help="the name that calls")
    verb.add_argument("--withheld", action="store_true", help="the caller hides his number")
    verb.add_argument(
        "--reason", metavar="R", choices=[reason.value for reason in Reason], default="no-answer"
    )
    verb.add_argument("--audio", metavar="FILE", type=Path, default=SAMPLE, help="what the caller says")
    verb.add_argument("--hang-up-after", metavar="S", type=_seconds, help="seconds into the recording")
    verb.add_argument(
        "--digits",
        metavar="D",
        type=_digits,
        default="",
        help="keys pressed a second apart in the recording; # ends it",
    )
    verb.set_defaults(run=_call)


def _call(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    ended = place(config, _caller(asked), asked.mailbox, asked.reason)
    for application, argument in ended.applications:
        print(f"  {application} {argument}".rstrip())
    if ended.error:
        raise VoicemailError(
            f"the trial call failed: {ended.error}; the service's log says what became of it"
        )
    if ended.handed_back:
        result = ended.variables.get("voicemail_result", "nothing")
        raise VoicemailError(
            f"the service handed the call back to the dialplan: voicemail_result={result}"
            + _REMEDIES.get(result, "")
        )
    print(f"call {ended.call_id}: recorded {ended.recorded_ms / 1000:.1f} s, ended by {ended.hangup_cause}")
    print(_left(config, ended.call_id))
    return 0


def _left(config: Config, call_id: str) -> str:
    """Return what message a call left, once the service has made up its mind; VoicemailError for none."""
    reader = JournalReader(config.directory, config.recordings)
    try:
        end = time.monotonic() + _KEEPING_SECONDS
        while _is_open(story := reader.show(call_id)) and time.monotonic() < end:
            gevent.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        reader.close()
    if story is None:
        raise VoicemailError(
            f"call {call_id}: the journal in {config.directory} knows nothing of it; "
            "is the service running with this configuration?"
        )
    one = story.summary
    if one.state == VoicemailState.KEPT:
        return f"message {one.message_id} kept for {one.recipients} recipient{'s' * (one.recipients != 1)}"
    if one.state == VoicemailState.OPEN:
        raise VoicemailError(
            f"call {call_id}: no message kept yet; see `esl-voicemail messages show {one.message_id}`"
        )
    raise VoicemailError(
        f"call {call_id}: no message kept: {one.result or one.state}; "
        f"`esl-voicemail messages show {call_id}` tells more"
    )


def _is_open(story: Story | None) -> bool:
    return story is not None and story.summary.state == VoicemailState.OPEN


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _digits(text: str) -> str:
    if not re.fullmatch("[0-9*#]*", text):
        raise argparse.ArgumentTypeError(f"must hold 0-9, * and # only, not {text!r}")
    return text


def place(config: Config, caller: TrialCaller, mailbox: str, reason: str) -> TrialOutcome:
    """Place a trial call and return how it ended; CannotReachError when no service answers."""
    address = listening(config.directory) or config.listen
    variables = {"voicemail_mailbox": mailbox, "voicemail_reason": reason, "socket_resume": "true"}
    try:
        return place_call((address.host, address.port), caller, variables=variables, pace=_PACE)
    except OSError as error:
        raise CannotReachError(
            f"no service answers at {address}: {error.strerror}; run `esl-voicemail serve`"
        ) from error


def speech(path: Path) -> bytes:
    """Return a sound file as a caller says it: 8 kHz, mono, 16 bit."""
    try:
        with wave.open(str(path)) as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, 1, 2):
                return bytes(sound.readframes(sound.getnframes()))
    except (wave.Error, EOFError):
        pass
    except OSError as error:
        raise VoicemailError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return pcm(path)
    except RecordingError as error:
        raise VoicemailError(str(error)) from error


def _caller(asked: argparse.Namespace) -> TrialCaller:
    keys = tuple(
        KeyPress(digit, Moment(Stage.RECORDING, 1.0 + second)) for second, digit in enumerate(asked.digits)
    )
    left = None if asked.hang_up_after is None else Moment(Stage.RECORDING, asked.hang_up_after)
    return TrialCaller(
        number=asked.caller,
        name=asked.name,
        withheld=asked.withheld,
        speech=speech(asked.audio),
        keys=keys,
        hang_up=left,
    )
