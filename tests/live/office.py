"""An office for one test: the callers' switch, the office's own switch, the service, and what it mails."""

import re
import sqlite3
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.live import speech
from tests.live.sip import SipCaller
from tests.live.switch import HOST, Leg, Switch, extension
from tests.support import service as services
from tests.support.service import Service, until

GREETING_SECONDS = 3.0
REASON = "no-answer"
NUMBER, NAME = "+48601234567", "Jan Kowalski"
_FIELD = re.compile(r"([A-Z][a-z]+): {2,}(.+)")


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
        self.channel.event("RECORD_START", seconds=seconds)
        return time.time()


@dataclass(frozen=True)
class Message:
    """One mail, as its reader gets it."""

    mail: EmailMessage
    text: str
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
        """Wait for the one mail there must be."""
        return self.messages(1, seconds)[0]

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


def settings(folder: Path, port: int) -> dict[str, Any]:
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
        "defaults": {"language": "en", "silence_seconds": 10},
        "mailboxes": {
            "sales": mailbox("Sales"),
            "other": mailbox("Other"),
            "quiet": mailbox("Quiet", silence_seconds=2),
            "short": mailbox("Short", max_seconds=3),
        },
    }


def moment(message: Message) -> datetime:
    """Return when the mail's text says the call came, to the minute."""
    return datetime.strptime(message.fields["When"], "%A, %d %B %Y, %H:%M (%z)")


def _read(mail: EmailMessage) -> Message:
    text = mail.get_body(("plain",)).get_content()
    attached = list(mail.iter_attachments())
    assert len(attached) == 1
    assert attached[0].get_content_type() == "audio/wav", attached[0].get_content_type()
    fields = dict(found.groups() for found in map(_FIELD.fullmatch, text.splitlines()) if found)
    return Message(mail, text, fields, speech.read(attached[0].get_content()))
