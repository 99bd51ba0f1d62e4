"""An office for one test: the callers' switch, the office's own switch, the service, and what it mails."""

import json
import re
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.live import speech
from tests.live.console import HOST, Event
from tests.live.sip import SipCaller
from tests.live.switch import Leg, Switch, extension
from tests.support import service as services
from tests.support.service import Service, until

GREETING_SECONDS = 3.0
# Recovery waits until nobody writes any more, 15 s and the longest silence that ends a message, and looks
# every 20 s.
RECOVERED_SECONDS = 75.0
CUT_OFF = "the recording was cut off by a fault"
REASON = "no-answer"
NUMBER, NAME = "+48601234567", "Jan Kowalski"
_FIELD = re.compile(r"([A-Z][a-z ]+): {2,}(.+)")


def dialplan(service_port: int) -> str:
    """Return the office's dialplan: `vm_MAILBOX` asks the service, and what follows is the fallback."""
    fallback = (
        ("log", "NOTICE fallback of ${uuid} after result [${voicemail_result}]"),
        ("answer", ""),
        ("playback", "tone_stream://%(300,0,425)"),
        ("hangup", ""),
    )

    def asking(port: object) -> tuple[tuple[str, str], ...]:
        return (
            ("set", "socket_resume=true"),
            ("set", "voicemail_mailbox=$1"),
            ("set", f"voicemail_reason={REASON}"),
            ("socket", f"{HOST}:{port} async full"),
            *fallback,
        )

    return extension("^vm_([a-z]+)$", *asking(service_port)) + extension("^(probe)_([0-9]+)$", *asking("$2"))


@dataclass(frozen=True)
class Conversation:
    """One call seen from both ends."""

    caller: Leg
    channel: Leg

    def recording(self, seconds: float = 30.0) -> float:
        """Wait until the beep is over and the switch records; return when that was."""
        return self.channel.event("RECORD_START", seconds=seconds).at

    def playing(self, sound: str) -> Event:
        """Wait until the office plays a sound."""
        return self.channel.event("PLAYBACK_START", lambda event: sound in event.get("Playback-File-Path"))

    def fallback(self, seconds: float = 30.0) -> str:
        """Wait until the dialplan's next action runs, and return the result it was told."""

        def is_fallback(event: Event) -> bool:
            return event.get("Application") == "log"

        said = self.channel.event("CHANNEL_EXECUTE", is_fallback, seconds).get("Application-Data")
        assert said.startswith(f"NOTICE fallback of {self.channel.uuid} after result [")
        return said.rpartition("[")[2].rstrip("]")


@dataclass(frozen=True)
class Message:
    """One mail, as its reader gets it; a notice has no audio."""

    mail: EmailMessage
    text: str
    who: str
    fields: dict[str, str]
    audio: "array[int]"

    @property
    def seconds(self) -> float:
        """How long the attached audio is."""
        return speech.seconds_of(self.audio)


@dataclass
class Office:
    """All parts of one test."""

    folder: Path
    exchange: Switch
    telephones: Switch
    settings: dict[str, Any]
    service: Service

    def call(
        self, mailbox: str = "sales", *, number: str = NUMBER, name: str = NAME, **variables: str
    ) -> Conversation:
        """Call a mailbox from the callers' switch, saying nothing yet."""
        given = {"origination_caller_id_number": number, "origination_caller_id_name": name, **variables}
        caller = self.telephones.originate(self.exchange, f"vm_{mailbox}", **given)
        return Conversation(caller, self.exchange.channel_of(caller.uuid))

    @contextmanager
    def sip_call(
        self, mailbox: str = "sales", sender: bytes | None = None, *headers: bytes
    ) -> Iterator[SipCaller]:
        """Call a mailbox over a bare socket."""
        given = {} if sender is None else {"sender": sender}
        caller = SipCaller(self.exchange.sip_port, b"vm_" + mailbox.encode(), headers=headers, **given)
        try:
            caller.invite()
            yield caller
        finally:
            caller.close()

    @property
    def recordings(self) -> Path:
        """Where the switch records."""
        return Path(self.settings["storage"].get("recordings", self.service.recordings))

    def recorded_bytes(self) -> int:
        """Return how much there is in all recordings."""
        return sum(path.stat().st_size for path in self.recordings.glob("*.wav"))

    def speak(self, call: Conversation, said: "array[int]", seconds: float) -> float:
        """Let the caller say something; return when he began, once so much more is on the disk."""
        wanted = self.recorded_bytes() + round(2 * speech.RATE * seconds)
        began = call.caller.start_speaking(self.sound(said))
        until(lambda: self.recorded_bytes() > wanted, f"{seconds:g} s are on the disk")
        return began

    def sound(self, samples: "array[int]", name: str = "said") -> Path:
        """Write what a caller is going to say."""
        return speech.write(self.folder / f"{name}.wav", samples)

    def restart(self) -> None:
        """Start the service again in the same folder, on the same port."""
        self.service = services.start(self.folder, self.settings)

    def messages(self, count: int, seconds: float = 30.0) -> list[Message]:
        """Wait for mails, and until nothing more is on its way; there must be exactly as many."""
        new = self.folder / "var" / "mail" / "new"
        until(lambda: len(list(new.iterdir())) >= count, f"{count} mails", seconds)
        self.settled()
        mails = self.service.mails(count)
        assert len(mails) == count
        assert len({mail["Message-ID"] for mail in mails}) == count
        return [_read(mail) for mail in mails]

    def message(self, seconds: float = 30.0) -> Message:
        """Wait for the one mail there must be, a voicemail."""
        (message,) = self.messages(1, seconds)
        assert message.audio, message.text
        return message

    def notice(self, seconds: float = 30.0) -> Message:
        """Wait for the one mail there must be, a notice that a call left no audio."""
        (notice,) = self.messages(1, seconds)
        assert notice.mail["Subject"].startswith("Message not recorded: "), notice.mail["Subject"]
        assert not notice.audio
        return notice

    def no_mail(self) -> None:
        """There is none, and none is on its way."""
        self.settled()
        assert not list((self.folder / "var" / "mail" / "new").iterdir())

    def settled(self) -> None:
        """Wait until no call is in anybody's hands and no mail waits."""
        until(lambda: self.exchange.channels() == 0, "the office's switch has no channel left", 60)
        until(lambda: self.in_progress() == 0, "the service has no call left")

        def waiting() -> float:
            states = ("queued", "sending", "held")
            return sum(
                self.service.metric(f'voicemail_queue_messages{{state="{state}"}}') for state in states
            )

        until(lambda: waiting() == 0, "no mail waits")

    def in_progress(self) -> float:
        """Return how many calls the service has, at whatever stage."""
        samples = re.findall(
            r"(?m)^voicemail_calls_in_progress(?:{.*})? (.+)$", self.service.get("/metrics")[1]
        )
        assert samples
        return sum(map(float, samples))

    def told(self, channel: str, seconds: float = 30.0) -> dict[str, str]:
        """Wait for the canonical line of a call; there must be one, and every line must be one."""

        def lines() -> list[dict[str, str]]:
            return [line for line in self.service.lines("call") if line.get("call") == channel]

        until(lines, f"the canonical line of {channel}", seconds)
        assert len(lines()) == 1
        return lines()[0]

    def story(self, channel: str) -> dict[str, Any]:
        """Return what the journal says of a call, as an operator asks for it."""
        shown = services.command("messages", "show", channel, "--json", folder=self.folder)
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    def missing(self, channel: str, said: "array[int]", spoken: float, message: Message) -> float:
        """Return how many of the seconds spoken after the beep are not in the mail, and print the figures."""
        heard = speech.heard_of(said, message.audio) if message.audio else 0.0
        story, fields = self.story(channel), message.fields
        note = fields.get("Note") or fields.get("No recording") or "none"
        told = (story["state"], story["result"], story["ended_by"], story["repaired"] and "header repaired")
        print(
            f"spoken {spoken:.2f} s, in the mail {heard:.2f} s, missing {spoken - heard:.2f} s "
            f"(the whole recording: {message.seconds:.2f} s); note: {note}; "
            f"journal: {', '.join(filter(None, told))}; {story['delivered']}/{story['recipients']} delivered"
        )
        return spoken - heard

    def no_audio(self, channel: str, notice: Message) -> None:
        """Print what became of a call that left no audio."""
        self.missing(channel, speech.silence(0), 0.0, notice)

    def counted(self, result: str, mailbox: str = "sales", reason: str = REASON) -> float:
        """Return how many calls ended so since the service started."""
        return self.service.metric(
            f'voicemail_calls_total{{mailbox="{mailbox}",reason="{reason}",result="{result}"}}'
        )

    @contextmanager
    def journal_busy(self) -> Iterator[None]:
        """Hold the journal's write lock, as a backup or a slow disk would."""
        connection = sqlite3.connect(self.folder / "var" / "journal.sqlite", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.rollback()
            connection.close()


def settings(folder: Path, port: int, storage: dict[str, Any]) -> dict[str, Any]:
    """Write the office's greeting and return its configuration."""
    greeting = speech.write(folder / "greeting.wav", speech.words(GREETING_SECONDS, seed=99))

    def mailbox(name: str, **more: object) -> dict[str, object]:
        return {
            "name": name,
            "recipients": [f"{name.lower()}@example.com"],
            "greetings": {"default": str(greeting)},
            **more,
        }

    return {
        "listen": f"{HOST}:{port}",
        "http": {"listen": f"{HOST}:0"},
        "storage": storage,
        "defaults": {"language": "en", "silence_seconds": 10, "attachment": "wav", "min_speech_seconds": 0},
        "mailboxes": {
            "sales": mailbox("Sales"),
            "other": mailbox("Other"),
            "quiet": mailbox("Quiet", silence_seconds=2),
            "short": mailbox("Short", max_seconds=3),
            # As it is without these settings; and who leaves nothing is told of.
            "heard": mailbox("Heard", min_speech_seconds=0.1, attachment="mp3", notify_empty="always"),
        },
    }


def moment(message: Message) -> datetime:
    """Return when the mail's text says the call came, to the minute."""
    return datetime.strptime(message.fields["When"], "%A, %d %B %Y, %H:%M (%z)")


def _read(mail: EmailMessage) -> Message:
    text = mail.get_body(("plain",)).get_content()
    rows = re.sub(r"\n {20}(?=\S)", ", ", text).splitlines()
    fields = dict(found.groups() for found in map(_FIELD.fullmatch, rows) if found)
    audio: array[int] = array("h")
    for attached in mail.iter_attachments():
        assert not audio, "more than one recording"
        assert attached.get_content_type() == "audio/wav", attached.get_content_type()
        audio = speech.read(attached.get_content())
    return Message(mail, text, text.splitlines()[2], fields, audio)
