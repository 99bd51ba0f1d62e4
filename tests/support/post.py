"""The delivery runner with everything it stands on, for tests: real parts, and a clock that obeys."""

import io
import itertools
import struct
import wave
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path

import gevent
from sqlalchemy import func, select

from esl_voicemail.backoff import Schedule
from esl_voicemail.clock import Clock
from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress
from esl_voicemail.delivery import Delivery
from esl_voicemail.journal import Journal, JournalReader
from esl_voicemail.journal.engine import url_of
from esl_voicemail.journal.reader import ToRecipient
from esl_voicemail.journal.schema import attempts
from esl_voicemail.log import Log
from esl_voicemail.mail.composer import Composer
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import SmtpTransport, Transport
from esl_voicemail.model import Call, Caller, EndedBy, Reason, Recording
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.workers import Workers
from tests.support import mails
from tests.support.service import parse_logfmt, until
from tests.support.smtp import Accepted, ScriptedSmtp

NOW = datetime(2026, 7, 15, 10, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SENDER = MailAddress("Poczta głosowa", "voicemail@example.com")
ANNA, JAN = "anna@example.com", "jan@example.com"
_numbers = itertools.count()


def mailbox(**changes: object) -> Mailbox:
    """Return a mailbox of two recipients, Anna and Jan."""
    return mails.mailbox(**{"recipients": (MailAddress("Anna", ANNA), MailAddress("", JAN)), **changes})


def sound(samples: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, samples, "NONE", ""))
        file.writeframes(struct.pack("<h", 3000) * samples)
    return out.getvalue()


class Post:
    """The runner with everything it stands on; time goes on when a test says so."""

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        *,
        box: Mailbox | None = None,
        connections: int = 4,
        operator: str | None = None,
        recordings_gone: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.now = NOW
        self.ran = 0.0
        self.clock = Clock(lambda: self.now, lambda: self.ran)
        self.folder = folder
        self.stream = io.StringIO()
        self.journal = Journal(url_of(folder), folder)
        self.reader = JournalReader(folder, folder)
        self.workers = Workers(4)
        settled = box or mailbox()
        self.telemetry = Telemetry(
            [settled.key], self.clock, log=Log(lambda line: print(line, file=self.stream), self.clock)
        )
        self.delivery = Delivery(
            self.journal.queue,
            Composer({settled.key: settled}, SENDER),
            transport,
            self.workers,
            self.telemetry,
            clock=self.clock,
            jitter=lambda: 0.5,
            schedule=Schedule(),
            max_connections=connections,
            operator=operator,
            recordings_gone=recordings_gone,
        )
        self._running: gevent.Greenlet[..., None] | None = None

    def begin(self, key: str = "sales") -> str:
        """Write a call's row."""
        message_id = f"01TEST{next(_numbers):020d}"
        caller = Caller("48601234567", "Jan Kowalski", withheld=False)
        call = Call("632a12f3-e1e0", key, Reason.NO_ANSWER, caller, "48221234567", self.now, "pl")
        self.journal.begin(message_id, call, f"{key}.{message_id}.wav", 10)
        return message_id

    def keep(
        self, *recipients: str, audio: bytes | None = None, key: str = "sales", duration_ms: int = 1000
    ) -> str:
        """Keep a message, its recording on disk."""
        message_id = self.begin(key)
        path = self.folder / f"{key}.{message_id}.wav"
        path.write_bytes(sound() if audio is None else audio)
        digest = sha256(path.read_bytes()).hexdigest()
        recording = Recording(path, duration_ms, path.stat().st_size, digest)
        recipients = recipients or (ANNA,)
        assert self.journal.keep(message_id, recording, EndedBy.KEY, recipients, now=self.now)
        return message_id

    def run(self) -> None:
        """Start delivering, and wait until what is due now is done."""
        self._running = gevent.spawn(self.delivery.run)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being sent, and nothing is due or the server is given a rest."""

        def settled() -> bool:
            due = self.journal.queue.next_due()
            rests = self.delivery._window.pause(self.clock.seconds()) > 0
            idle = not self.journal.queue.backlog().counts["sending"]
            return idle and (rests or due is None or due > self.clock.latest())

        until(settled, "all that is due is done")

        def said() -> bool:
            with self.reader._connected() as db:
                tried = db.execute(select(func.count()).select_from(attempts)).scalar_one()
            return tried == self.stream.getvalue().count(" event=delivery ")

        # The journal is marked before the line is written.
        until(said, "each try has its line", 5)

    def advance(self, by: timedelta) -> None:
        """Let time pass and wait until what became due is done."""
        self.now += by
        self.ran += by.total_seconds()
        self.delivery.wake()
        self.settle()

    def set_clock(self, by: timedelta) -> None:
        """Set the wall clock, while time goes on as ever."""
        self.now += by

    def to(self, message_id: str) -> dict[str, ToRecipient]:
        """Return where a message's deliveries stand."""
        story = self.reader.show(message_id)
        assert story is not None
        return {one.recipient: one for one in story.deliveries}

    def states(self, message_id: str) -> dict[str, str]:
        """Return the states of a message's deliveries."""
        return {recipient: one.state for recipient, one in self.to(message_id).items()}

    def lines(self, event: str = "delivery") -> list[dict[str, str]]:
        """Return the log lines of one event."""
        said = map(parse_logfmt, self.stream.getvalue().splitlines())
        return [line for line in said if line["event"] == event]

    def metric(self, result: str, smtp_class: str) -> float | None:
        """Return how many tries ended so."""
        labels = {"result": result, "smtp_class": smtp_class}
        return self.telemetry.registry.get_sample_value("voicemail_delivery_attempts_total", labels)

    def close(self) -> None:
        """Stop and release everything."""
        self.delivery.stop(0.5)
        self.delivery._attempts.kill()
        if self._running is not None:
            self._running.join(10)
        self.journal.close()
        self.workers.close()


def smtp_transport(server: ScriptedSmtp) -> SmtpTransport:
    return SmtpTransport(server.host, server.port, "none", timeouts=Timeouts(20, 20, 20, 20, 20, 20, 0.5))


def parsed(accepted: Accepted) -> EmailMessage:
    mail = message_from_bytes(accepted.content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def attached(accepted: Accepted) -> tuple[str, bytes]:
    [part] = parsed(accepted).iter_attachments()
    return part.get_content_type(), part.get_content()
