"""Proof of life: one trial call through the running service, followed from its call to its mail.

Runs in a process of its own, as `esl-voicemail probe` does, and asks no more of the service than a switch and
the command line do. `probing` repeats it.
"""

import json
import tempfile
import time
import uuid
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar

import gevent

from esl_voicemail.audio.convert import pcm
from esl_voicemail.checks import console_password
from esl_voicemail.config import Config
from esl_voicemail.config.sections import ConsoleSection, ProbeSection
from esl_voicemail.config.source import EMBEDDED_NAME
from esl_voicemail.config.values import Address
from esl_voicemail.errors import (
    CannotReachError,
    ConfigError,
    JournalError,
    RecordingError,
    VoicemailError,
)
from esl_voicemail.esl.console import Console
from esl_voicemail.journal import JournalEditor, JournalReader
from esl_voicemail.journal.editor import DROP
from esl_voicemail.journal.reader import Story, ToRecipient
from esl_voicemail.loopback import LoopbackCall, destination, reachable
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.transport import STORED
from esl_voicemail.model import PROBE, DeliveryState, ProbeStage, Reason, VoicemailState, one_line
from esl_voicemail.running import listening
from esl_voicemail.samples import SAMPLE
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.likeness import likeness
from esl_voicemail.trial.switch import place_call

# Nobody listens, so the stand-in's seconds need not be whole ones.
_PACE = 20.0
# A codec of a mail's bit rate leaves more; another voice, or half of what was said, less.
_ALIKE = 0.85
_LOOK_AGAIN_SECONDS = 0.1
_NUMBER, _NAME = "+48000000000", "Probe"
_VARIABLES = {
    "voicemail_mailbox": PROBE,
    "voicemail_reason": Reason.DIRECT.value,
    "socket_resume": "true",
}
_ANSWER_SECONDS = 30
# What the switch has not heard yet when its file is played.
_SILENCE_SECONDS = 0.5
_UNSETTLED = {DeliveryState.QUEUED, DeliveryState.SENDING}

T = TypeVar("T")


class StageError(Exception):
    """A probe came to its end at a stage, and why."""

    def __init__(self, stage: ProbeStage, why: str) -> None:
        super().__init__(why)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of a probe: the stage it failed at, or None; what happened there, in one line."""

    failed_at: ProbeStage | None
    why: str
    duration_ms: int
    call_id: str
    message_id: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the call became a mail that was accepted."""
        return self.failed_at is None

    def __str__(self) -> str:
        seconds = f"{self.duration_ms / 1000:.1f} s"
        if self.succeeded:
            return f"probe: well after {seconds}: message {self.message_id}: {self.why}"
        return f"probe: failed at {self.failed_at} after {seconds}: {self.why}"

    def as_json(self) -> str:
        """Return it as one JSON object on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


def prove(config: Config, begun: Callable[[ProbeStage], None] = lambda _: None) -> Proof:
    """Place a trial call and follow it until its mail is accepted, or until the time limit.

    `begun` is told of each stage. ConfigError where no probe is configured.
    """
    if config.probe is None:
        raise ConfigError([_to_add(config)])
    trial = _Trial(config, config.probe, begun)
    began = time.monotonic()
    stage, why = None, ""
    try:
        why = trial.run()
    except StageError as error:
        stage, why = error.stage, str(error)
    return Proof(
        stage, one_line(why, 400), round((time.monotonic() - began) * 1000), trial.call_id, trial.message_id
    )


def _to_add(config: Config) -> str:
    """Say what makes a probe of a configuration without one; a Maildir needs no address."""
    section = "{}" if config.maildir is not None else "{to: ADDRESS}"
    where = "to ./voicemail.yaml" if config.source.name == EMBEDDED_NAME else "there"
    unread = "" if config.maildir is not None else ", an address that nobody reads,"
    return (
        f"{config.at('probe')}: is not configured; add the line `probe: {section}`{unread} {where} "
        "and restart the service"
    )


class _Trial:
    """One call and what became of it."""

    def __init__(self, config: Config, probe: ProbeSection, begun: Callable[[ProbeStage], None]) -> None:
        self._config = config
        self._probe = probe
        self._begun = begun
        self._end = time.monotonic() + probe.limit_seconds
        self.call_id = str(uuid.uuid4())
        self.message_id = ""
        self._address = listening(config.directory) or config.listen
        with wave.open(str(SAMPLE)) as sample:
            self._speech = sample.readframes(sample.getnframes())

    def run(self) -> str:
        """Return the words by which the mail was accepted; StageError."""
        self._begun(ProbeStage.CALL)
        if self._probe.switch is None:
            self._call_by_stand_in()
        try:
            reader = JournalReader(self._config.directory, self._config.recordings)
        except VoicemailError as error:
            raise StageError(ProbeStage.RECORDING, str(error)) from error
        try:
            if self._probe.switch is not None:
                self._call_by_switch(self._probe.switch, reader)
            self._begun(ProbeStage.RECORDING)
            story = self._kept(reader)
            self._compare(ProbeStage.RECORDING, story.recording or Path())
            self._begun(ProbeStage.DELIVERY)
            return self._delivered(reader)
        except JournalError as error:
            raise StageError(ProbeStage.RECORDING, str(error)) from error
        finally:
            reader.close()

    def _call_by_stand_in(self) -> None:
        address = self._address
        caller = TrialCaller(number=_NUMBER, name=_NAME, speech=self._speech)
        try:
            ended = place_call(
                (address.host, address.port),
                caller,
                dialled=PROBE,
                variables=_VARIABLES,
                pace=_PACE,
                call_id=self.call_id,
                limit_seconds=self._left(),
            )
        except OSError as error:
            raise StageError(
                ProbeStage.REACH,
                f"no service answers at {address}: {error.strerror or error}; run `esl-voicemail serve`",
            ) from error
        if ended.error:
            raise StageError(ProbeStage.CALL, ended.error)
        if ended.handed_back:
            result = ended.variables.get("voicemail_result", "nothing")
            raise StageError(
                ProbeStage.CALL,
                f"the service handed the call back: voicemail_result={result}; its log says why. "
                "Was `probe:` added since it read its configuration? SIGHUP lets it read it again",
            )
        if not ended.recording:
            raise StageError(ProbeStage.CALL, f"nothing was recorded; hung up by {ended.hangup_cause}")

    def _call_by_switch(self, switch: ConsoleSection, reader: JournalReader) -> None:
        """Speak once the switch has begun to record, and hang up."""
        given = {
            "origination_caller_id_number": _NUMBER,
            "origination_caller_id_name": _NAME,
            **_VARIABLES,
        }
        try:
            with Console(Address(switch.host, switch.port), console_password(self._config)) as console:
                to = destination(reachable(self._address), switch.dial)
                call = LoopbackCall(console, to, given, min(_ANSWER_SECONDS, int(self._left())))
                self.call_id = call.call_id
                try:
                    self._speak(call, reader)
                finally:
                    call.hang_up()
        except CannotReachError as error:
            raise StageError(ProbeStage.REACH, str(error)) from error
        except ConfigError:
            raise
        except VoicemailError as error:
            raise StageError(ProbeStage.CALL, str(error)) from error

    def _speak(self, call: LoopbackCall, reader: JournalReader) -> None:
        def recording() -> bool | None:
            story = reader.show(call.call_id)
            begun = bool(story and story.recording and story.recording.exists())
            return begun or (None if call.is_up else False)

        if not self._await(recording):
            raise StageError(
                ProbeStage.CALL,
                f"call {call.call_id}: the switch recorded nothing in {self._config.recordings}",
            )
        call.speak(SAMPLE)
        gevent.sleep(len(self._speech) / 16000 + _SILENCE_SECONDS)

    def _kept(self, reader: JournalReader) -> Story:
        """Return the call's story once it is a message."""

        def closed() -> Story | None:
            story = reader.show(self.call_id)
            return story if story and story.summary.state != VoicemailState.OPEN else None

        story = self._await(closed)
        if story is None:
            raise StageError(ProbeStage.RECORDING, f"call {self.call_id}: no message in time; see the log")
        one = story.summary
        self.message_id = one.message_id
        if one.state != VoicemailState.KEPT:
            raise StageError(
                ProbeStage.RECORDING, f"call {self.call_id}: no message: {one.result or one.state}"
            )
        return story

    def _delivered(self, reader: JournalReader) -> str:
        def mail() -> ToRecipient | None:
            story = reader.show(self.message_id)
            return story.deliveries[0] if story and story.deliveries else None

        def settled() -> ToRecipient | None:
            now = mail()
            return now if now and now.state not in _UNSETTLED else None

        found = self._await(settled) or mail()
        if found is None:
            raise StageError(ProbeStage.DELIVERY, f"message {self.message_id}: is for nobody")
        said = " ".join(filter(None, (str(found.code or ""), found.reply)))
        if found.state != DeliveryState.DELIVERED:
            self._drop()
            raise StageError(
                ProbeStage.DELIVERY,
                f"message {self.message_id}: the mail to {found.recipient} is {found.state}: "
                + (
                    said
                    or "it was not tried: the log says whether the mail server is away, or many mails wait"
                ),
            )
        if self._config.maildir is not None:
            self._look_into(Maildir(self._config.maildir), (found.reply or "").removeprefix(STORED))
        return f"the mail to {found.recipient} was accepted: {said}"

    def _drop(self) -> None:
        """Its proof has failed: sent hours later, the mail would be of no use to anybody."""
        try:
            with JournalEditor(self._config.directory, self._config.recordings) as journal:
                journal.change(self.message_id, DROP, datetime.now(UTC), None)
        except VoicemailError as error:
            raise StageError(
                ProbeStage.DELIVERY, f"message {self.message_id}: cannot be dropped: {error}"
            ) from error

    def _look_into(self, maildir: Maildir, name: str) -> None:
        """Find the mail where it was stored, with the audio that was spoken; then it has done its work."""
        path = maildir.find(name)
        if path is None:
            raise StageError(ProbeStage.MAIL, f"{maildir.folder}: holds no mail {name}")
        try:
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            self._hear(mail, path)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StageError(ProbeStage.MAIL, f"{path}: {error.strerror}") from error

    def _hear(self, mail: EmailMessage, path: Path) -> None:
        audio = next(mail.iter_attachments(), None)
        content = audio.get_payload(decode=True) if audio else None
        if not isinstance(content, bytes):
            raise StageError(ProbeStage.MAIL, f"{path}: holds no audio")
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            self._compare(ProbeStage.MAIL, Path(file.name), f"{path}: its audio")

    def _compare(self, stage: ProbeStage, audio: Path, what: str = "") -> None:
        try:
            alike = likeness(self._speech, pcm(audio))
        except RecordingError as error:
            raise StageError(stage, f"{what}: {error}" if what else str(error)) from error
        if alike < _ALIKE:
            raise StageError(stage, f"{what or audio}: is not what was said (likeness {alike:.2f})")

    def _await(self, look: Callable[[], T | None]) -> T | None:
        while (found := look()) is None and self._left():
            gevent.sleep(_LOOK_AGAIN_SECONDS)
        return found

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())
