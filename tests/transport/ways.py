"""Ways to a mail server for the tests: patient ones, with and without a password, and a mail to send."""

from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.transaction import Timeouts
from esl_voicemail.mail.transport import SmtpTransport
from esl_voicemail.verdict import Envelope
from tests.support.smtp import ScriptedSmtp

USER, PASSWORD = "voicemail", "s3cret-and-long"
ENVELOPE = Envelope("voicemail@example.com", "anna@example.com")
PATIENT = Timeouts(20, 20, 20, 20, 20, 20, 20)
SHORT = Timeouts(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)

# gevent 26.9 leaves a socket for the garbage collector that was reset before its handshake began.
RESET_BEFORE_TLS = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# The steps before a mail is offered: a server that fails there takes none at all now.
SET_UP = ("CONNECT", "EHLO", "STARTTLS", "TLS", "AUTH")
# Every step at which a server that wants STARTTLS and a password can misbehave before it has the mail.
STEPS = ["CONNECT", "EHLO", "STARTTLS", "TLS", "AUTH", "MAIL", "RCPT", "DATA", "CONTENT", "FINAL"]


USED: list[SmtpTransport] = []


def used(transport: SmtpTransport) -> SmtpTransport:
    USED.append(transport)
    return transport


def unguarded(server: ScriptedSmtp, timeouts: Timeouts = PATIENT) -> SmtpTransport:
    return used(SmtpTransport(server.host, server.port, "none", timeouts=timeouts))


def through(
    server: ScriptedSmtp, password_file: Path, security: str = "starttls", timeouts: Timeouts = PATIENT
) -> SmtpTransport:
    return used(
        SmtpTransport(server.host, server.port, security, USER, password_file, server.ca_file, timeouts)
    )


def mail(text: str = "Good morning.\n", sound: bytes = b"") -> Entity:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = "A message"
    message["From"] = ENVELOPE.sender
    message["To"] = ENVELOPE.recipient
    message.set_content(text, cte="7bit")
    if sound:
        message.add_attachment(sound, maintype="audio", subtype="wav", filename="message.wav")
    return Entity((message.as_bytes(),))


def taken(server: ScriptedSmtp) -> list[bytes]:
    """The texts of the mails that a server took."""
    return [one.content.rpartition(b"\r\n\r\n")[2].strip() for one in server.accepted]
