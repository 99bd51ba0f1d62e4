"""What is said of a call as a mail: values in, `EmailMessage` out. Pure but for its templates' files.

Three kinds: a voicemail with its audio; a notice of a call that left none; a report to the operator that
somebody did not get one of those. Delivery is at least once, so the Message-ID follows from what is
delivered to whom alone: a repeat is recognised as one.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import policy
from email.header import Header
from email.message import EmailMessage
from email.utils import format_datetime

from jinja2 import PackageLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress
from esl_voicemail.errors import ComposeError
from esl_voicemail.mail.words import (
    ENDINGS,
    NEEDS_A_PERSON,
    NO_AUDIO,
    NO_AUDIO_OTHERWISE,
    OUTCOMES,
    REASONS,
    duration,
    moment,
    promise_words,
    telephone,
)
from esl_voicemail.model import TECHNICAL, Attempt, CallResult, Voicemail, one_line

# CRLF line ends, lines folded at 78 (RFC 5322 section 2.1.1), encoded words where needed (RFC 2047).
# Texts are encoded in this room: the policy's own folding drops quotes and spaces (python/cpython#92081,
# #121284), and takes a caller's name that looks encoded for encoded, with the line breaks in it.
POLICY = policy.SMTP.clone(utf8=False, refold_source="none")

_TEMPLATES = ImmutableSandboxedEnvironment(
    loader=PackageLoader("esl_voicemail.mail"),
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# Who left in the greeting did not hear what comes at its end.
_BEFORE_THE_PROMISE = {
    CallResult.HANGUP_BEFORE_ANSWER,
    CallResult.HANGUP_IN_GREETING,
    CallResult.CONTROL_LOST,
}
_LINE = 75  # an encoded word may be no longer
_FOLD = "\r\n "
# What needs neither quotes nor encoding, in a phrase as in a subject (RFC 5322 section 3.2.3).
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]+")
_UNTELLING = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Attachment:
    """The audio as it is attached: `suffix` names the file, `subtype` the MIME type under audio/.

    `codecs` is that parameter's value (RFC 6381), empty for none.
    """

    content: bytes
    suffix: str
    subtype: str
    codecs: str = ""


def message_id(attempt: Attempt) -> str:
    """Return the Message-ID of a delivery, the same on every attempt (RFC 5322 section 3.6.4)."""
    failed = attempt.undelivered
    parties = [attempt.recipient, failed.recipient] if failed else [attempt.recipient]
    who = hashlib.sha256("\n".join(parties).lower().encode()).hexdigest()[:16]
    return f"<{attempt.voicemail.message_id.lower()}.{who}@{attempt.mail_domain}>"


def file_name(voicemail: Voicemail, mailbox: Mailbox, suffix: str) -> str:
    """Return a telling ASCII name for the audio: when, who, which mailbox."""
    local = voicemail.call.arrived_at.astimezone(mailbox.timezone)
    caller = _UNTELLING.sub("", voicemail.call.caller.number) or "withheld"
    return f"{local:%Y-%m-%d_%H%M}_{caller[:20]}_{mailbox.key}.{suffix}"


def compose(
    attempt: Attempt,
    mailbox: Mailbox,
    sender: MailAddress,
    recipient: MailAddress,
    audio: Attachment | None = None,
    *,
    left_out: str | None = None,
) -> EmailMessage:
    """Build the mail of an attempt, `audio` with a voicemail only; ComposeError when a template fails.

    `left_out` is where the audio is kept that is too large to be attached.
    """
    voicemail = attempt.voicemail
    words = {**_words(attempt, mailbox), "left_out": left_out or ""}
    try:
        subject = one_line(_TEMPLATES.get_template("subject.j2").render(words), 200)
        text = _TEMPLATES.get_template("plain.txt.j2").render(words)
        html = _TEMPLATES.get_template("card.html.j2").render(words)
    except TemplateError as error:
        raise ComposeError(f"template of the mail: {error}") from error
    message = EmailMessage(policy=POLICY)
    message.set_raw("Subject", _encoded("Subject", subject))
    message.set_raw("From", _address("From", sender))
    message.set_raw("To", _address("To", recipient))
    if mailbox.reply_to and attempt.undelivered is None:
        message.set_raw("Reply-To", _address("Reply-To", mailbox.reply_to))
    message["Date"] = format_datetime(voicemail.closed_at.astimezone(mailbox.timezone))
    message["Message-ID"] = message_id(attempt)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice answers a machine
    if audio:
        message["Message-Context"] = "voice-message"  # RFC 3458
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    if audio:
        message.add_attachment(
            audio.content,
            maintype="audio",
            subtype=audio.subtype,
            filename=file_name(voicemail, mailbox, audio.suffix),
            params={"codecs": audio.codecs} if audio.codecs else None,
            headers=[f"Content-Duration: {_seconds(voicemail)}"],  # RFC 3803
        )
    return message


def _address(header: str, who: MailAddress) -> str:
    """Write an address for a header; the address itself is never folded."""
    if not who.name:
        return who.address
    name = _encoded(header, who.name)
    fits = len(header) + 2 + len(name) + len(who.address) + 3 <= _LINE
    return f"{name}{' ' if fits else _FOLD}<{who.address}>"


def _encoded(header: str, text: str) -> str:
    """Write a text for a header as it is, where it is short and plain, or as encoded words (RFC 2047)."""
    if _PLAIN.fullmatch(text) and len(header) + 2 + len(text) <= _LINE:
        return text
    return Header(text, "utf-8", maxlinelen=_LINE, header_name=header).encode(linesep="\r\n")


def _seconds(voicemail: Voicemail) -> int:
    return round(voicemail.recording.duration_ms / 1000) if voicemail.recording else 0


def _kind(attempt: Attempt) -> str:
    if attempt.undelivered:
        return "report"
    return "voicemail" if attempt.voicemail.recording else "notice"


def _words(attempt: Attempt, mailbox: Mailbox) -> Mapping[str, object]:
    """What a template may say, empty where there is nothing. Every text is one line; HTML escapes it."""
    voicemail, failed = attempt.voicemail, attempt.undelivered
    call, recording = voicemail.call, voicemail.recording
    language = mailbox.language
    number = telephone("" if call.caller.withheld else call.caller.number, mailbox.region)
    callback = telephone(call.callback, mailbox.region)
    return {
        "kind": _kind(attempt),
        "language": language,
        "caller_name": call.caller.name,
        "caller_number": number.shown,
        "caller_link": callback.link or number.link,
        "withheld": call.caller.withheld,
        "mailbox": mailbox.name,
        "dialled": telephone(call.dialled, mailbox.region).shown,
        "reason": REASONS[language][call.reason],
        "queue": call.queue,
        "waited": "" if call.queue_wait_seconds is None else duration(call.queue_wait_seconds * 1000),
        "reference": ", ".join(filter(None, (call.reference, call.typed))),
        "callback": callback.shown,
        "to_call": callback.shown or number.shown,
        "promise": promise_words(call.promise, call.arrived_at.astimezone(mailbox.timezone), language)
        if call.promise and voicemail.result not in _BEFORE_THE_PROMISE
        else "",
        "time": moment(call.arrived_at, mailbox.timezone, language),
        "duration": duration(recording.duration_ms) if recording else "",
        "ending": ENDINGS[language].get(voicemail.ended_by, "") if voicemail.ended_by else "",
        "technical": voicemail.result in TECHNICAL,
        "why_no_audio": NO_AUDIO[language].get(voicemail.result, NO_AUDIO_OTHERWISE[language]),
        "undelivered_to": failed.recipient if failed else "",
        "outcome": OUTCOMES[language][failed.state] if failed else "",
        "given_up": failed is not None and failed.state in NEEDS_A_PERSON,
        "server_code": failed.code if failed else None,
        "server_said": f"{failed.code or ''} {failed.reply}".strip() if failed else "",
        "call_id": call.call_id,
        "message_id": voicemail.message_id,
    }
