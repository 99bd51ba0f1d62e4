"""What is said of a call as a mail: values in, an entity out. Pure.

Four kinds: a voicemail with its audio; a notice of a call whose caller left nothing, or of one that could not
be recorded; a report to the operator that somebody did not get one of those. Delivery is at least once, so
the Message-ID follows from what is delivered to whom alone: a repeat is recognised as one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import format_datetime

from anyascii import anyascii

from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress
from esl_voicemail.mail import headers, parts
from esl_voicemail.mail.facts import Facts, facts_of
from esl_voicemail.mail.parts import Entity
from esl_voicemail.mail.rendering import render
from esl_voicemail.mail.words import UNKNOWN, WITHHELD
from esl_voicemail.model import Attempt, Voicemail

_UNTELLING = re.compile(r"[^A-Za-z0-9]+")
# A longer name would be cut in parts (RFC 2231 section 3), which not every mail program joins.
_NAME_CHARACTERS = 56


@dataclass(frozen=True, slots=True)
class Attachment:
    """The audio as it is attached: `suffix` names the file, `subtype` the MIME type under audio/.

    `duration_ms` is its own, `codecs` that parameter's value (RFC 6381), empty for none.
    """

    content: bytes
    suffix: str
    subtype: str
    duration_ms: int
    codecs: str = ""


def file_name(voicemail: Voicemail, mailbox: Mailbox, suffix: str) -> str:
    """Return a telling ASCII name for the audio: when, who, which mailbox."""
    local = voicemail.call.arrived_at.astimezone(mailbox.timezone)
    who = voicemail.call.caller
    withheld, unknown = WITHHELD[mailbox.language], UNKNOWN[mailbox.language]
    caller = withheld if who.withheld else _UNTELLING.sub("", who.number) or unknown
    where = _UNTELLING.sub("-", anyascii(mailbox.name)).strip("-").lower() or mailbox.key
    stem = f"{local:%Y-%m-%d_%H%M}_{caller[:20]}_{where}"
    return f"{stem[:_NAME_CHARACTERS].rstrip('-')}.{suffix}"


def compose(
    attempt: Attempt,
    mailbox: Mailbox,
    sender: MailAddress,
    recipient: MailAddress,
    audio: Attachment | None = None,
    *,
    left_out: str | None = None,
) -> Entity:
    """Build the mail of an attempt; TemplateError when a template fails.

    `audio` goes with a voicemail only; where it is too large for the way, `left_out` says where it is kept.
    """
    voicemail = attempt.voicemail
    thread = headers.thread(attempt, mailbox)
    facts = facts_of(attempt, mailbox, left_out, threaded=bool(thread))
    page = render(facts, mailbox.templates)
    says = parts.text("plain", page.text), parts.text("html", page.html)
    head = _head(
        attempt,
        mailbox,
        facts,
        sender=sender,
        recipient=recipient,
        subject=page.subject,
        thread=thread,
        voice=audio is not None,
    )
    if audio is None:
        return parts.join("alternative", head, *says)
    kind = f"audio/{audio.subtype}" + (f'; codecs="{audio.codecs}"' if audio.codecs else "")
    name, seconds = file_name(voicemail, mailbox, audio.suffix), round(audio.duration_ms / 1000)
    attached = parts.audio(kind, name, audio.content, seconds)
    return parts.join("mixed", head, parts.join("alternative", (), *says), attached)


def _head(
    attempt: Attempt,
    mailbox: Mailbox,
    facts: Facts,
    *,
    sender: MailAddress,
    recipient: MailAddress,
    subject: str,
    thread: str,
    voice: bool,
) -> Iterator[tuple[str, str]]:
    everybody = mailbox.recipients if mailbox.show_recipients and attempt.undelivered is None else ()
    yield "Subject", headers.text("Subject", subject)
    yield "From", headers.addresses("From", [headers.sender_of(mailbox, sender, facts)])
    yield "To", headers.addresses("To", everybody if recipient in everybody else [recipient])
    if mailbox.reply_to and attempt.undelivered is None:
        yield "Reply-To", headers.addresses("Reply-To", [mailbox.reply_to])
    yield "Date", format_datetime(attempt.voicemail.closed_at.astimezone(mailbox.timezone))
    yield "Message-ID", headers.message_id(attempt)
    if thread:
        yield "References", thread
    yield "Auto-Submitted", "auto-generated"  # RFC 3834: no holiday notice answers a machine
    # The same to Exchange ([MS-OXCMAIL] section 2.2.3.2.14).
    yield "X-Auto-Response-Suppress", "All"
    if voice:
        yield "Message-Context", "voice-message"  # RFC 3458
    if mailbox.important:
        yield "Importance", "high"  # RFC 4021 section 2.1.53
    for name, value in headers.for_filters(attempt, facts):
        yield name, headers.text(name, value)
    yield "MIME-Version", "1.0"
