"""Mails to look at: what they are made of, and how a reader's program takes them apart."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fast_mail_parser import parse_email
from hypothesis import strategies as st

from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress
from esl_voicemail.mail.message import Attachment, compose
from esl_voicemail.model import (
    Attempt,
    Call,
    Caller,
    CallResult,
    DeliveryState,
    EndedBy,
    Reason,
    Recording,
    Undelivered,
    Voicemail,
    one_line,
)

# A mail as it stands: nothing folded or encoded again.
POLICY = policy.SMTP.clone(utf8=False, refold_source="none", max_line_length=76)

WARSAW = ZoneInfo("Europe/Warsaw")
AUDIO = Attachment(bytes(range(256)) * 40, "wav", "wav", 20_600)
SENDER = MailAddress("Poczta głosowa", "voicemail@example.com")
RECIPIENT = MailAddress("Anna Nowak", "anna@example.com")
OPERATOR = MailAddress("", "postmaster@example.com")
FAILED = Undelivered(RECIPIENT.address, DeliveryState.BOUNCED, 550, "5.1.1 no such user")
HEADERS = {
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
}
# Every tag the templates have, each with the attributes it has there.
TAGS = {
    "html": {"lang"},
    "head": set(),
    "meta": {"charset", "name", "content"},
    "title": set(),
    "style": set(),
    "body": {"class", "style"},
    "div": {"class", "style"},
    "h1": {"style"},
    "bdi": set(),
    "a": {"class", "href", "style"},
    "table": {"role", "style"},
    "tr": {"class"},
    "th": {"style"},
    "td": {"style"},
    "code": {"style"},
}

NASTY = [
    "",
    "Jan Kowalski",
    'Łoś, Jan "J"',
    "a\r\nBcc: victim@example.com\r\n\r\nbody",
    "a\nb\rc\x00d\x0be\x0cf\x85g\u2028h\u2029i",
    "%0d%0aX-Injected: yes %s %(name)s {0} {{ 7*7 }} {% raw %} ${x}",
    "<script>alert(1)</script><b onclick='x'>\"&amp;&lt;",
    "</h1></div><a href='https://evil.example/'>call back</a><!--",
    "עברית مرحبا \u202egnp.exe\u2066\u200f",
    "👩‍👩‍👧‍👦🇵🇱 e\u0301 \U0001f600",
    "\ud800\udc00\udfff lone \udcff",
    "=?utf-8?q?a=0D=0ABcc:_victim@example.com?=",
    "=?utf-8?b?PHNjcmlwdD4=?= =?iso-8859-2?q?=B1?= =?x?",
    "Ż" * 10_000,
    "x" * 10_000,
    "word " * 2_000,
    "ż x " * 500,
    "\\" * 100 + '"' * 100,
    ";=,:<>@[]()\\\"'",
    "(comment) <anna@example.com>, other@example.com",
    ".",
    "undisclosed-recipients:;",
]
names = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(), max_size=120), st.text('=?utf8qb_ "\\,łÅ', max_size=90)
)


def mailbox(**changes: object) -> Mailbox:
    settled = Mailbox(
        key="sales",
        name="Sprzedaż",
        numbers=("48221234567",),
        recipients=(RECIPIENT,),
        reply_to=None,
        greetings={"default": Path("/greeting.wav")},
        thanks=Path("/thanks.wav"),
        apology=Path("/apology.wav"),
        week=None,
        holidays=None,
        language="pl",
        timezone=WARSAW,
        region="PL",
        attachment="wav",
        max_seconds=180,
        min_seconds=1,
        silence_seconds=5,
    )
    return replace(settled, **changes)


def voicemail(
    *,
    number: str = "48601234567",
    name: str = "",
    withheld: bool = False,
    dialled: str = "48221234567",
    queue: str = "",
    wait: int | None = None,
    reference: str = "",
    arrived_at: datetime = datetime(2026, 7, 15, 10, 30, tzinfo=UTC),
    reason: Reason = Reason.NO_ANSWER,
    duration_ms: int = 21_300,
    ended_by: EndedBy = EndedBy.HANG_UP,
) -> Voicemail:
    """A message whose texts went through the same cleaning as in `esl/arrival.py`."""
    call = Call(
        call_id="632a12f3-e1e0-465c-93f6-e410df5bf5f5",
        mailbox="sales",
        reason=reason,
        caller=Caller(one_line(number, 40), one_line(name, 80), withheld),
        dialled=one_line(dialled, 40),
        arrived_at=arrived_at,
        language="pl",
        queue=one_line(queue, 60),
        queue_wait_seconds=wait,
        reference=one_line(reference, 60),
    )
    recording = Recording(Path("/sales.wav"), duration_ms, 340_844, "0" * 64)
    return Voicemail(
        "01KC3MZ0000000000000000000", call, recording, ended_by, arrived_at + timedelta(minutes=1)
    )


def attempt(
    kept: Voicemail | None = None,
    recipient: str = RECIPIENT.address,
    domain: str = SENDER.domain,
    undelivered: Undelivered | None = None,
    number: int = 1,
) -> Attempt:
    """A try to mail it, or a report that it did not reach somebody."""
    kept = kept or voicemail()
    return Attempt(7, kept, recipient, number, kept.closed_at, domain, undelivered)


def composed(
    attempt: Attempt,
    box: Mailbox,
    sender: MailAddress,
    recipient: MailAddress,
    audio: Attachment | None = None,
    *,
    left_out: str | None = None,
) -> EmailMessage:
    """The mail of an attempt, as it stands."""
    mail = bytes(compose(attempt, box, sender, recipient, audio, left_out=left_out))
    return as_it_stands(mail)


def as_it_stands(mail: bytes) -> EmailMessage:
    """A mail taken apart so that it is put together to the same octets."""
    parsed = message_from_bytes(mail, policy=POLICY)
    assert isinstance(parsed, EmailMessage)
    assert parsed.as_bytes(policy=POLICY) == mail
    return parsed


def bring(
    kept: Voicemail,
    box: Mailbox,
    sender: MailAddress = SENDER,
    recipient: MailAddress = RECIPIENT,
    audio: Attachment = AUDIO,
) -> EmailMessage:
    """The mail with a voicemail."""
    return composed(attempt(kept, recipient.address, sender.domain), box, sender, recipient, audio)


def notify(empty: Voicemail, box: Mailbox) -> EmailMessage:
    """The mail of a call that left no audio."""
    return composed(attempt(empty), box, SENDER, RECIPIENT)


def report(kept: Voicemail, box: Mailbox, undelivered: Undelivered) -> EmailMessage:
    """The mail to the operator."""
    told = attempt(kept, OPERATOR.address, undelivered=undelivered)
    return composed(told, box, SENDER, OPERATOR)


def empty(result: CallResult, **details: Any) -> Voicemail:
    """A call that left no audio."""
    return replace(voicemail(**details), recording=None, ended_by=None, result=result)


def bodies(mail: EmailMessage) -> tuple[str, str]:
    """Return the text and the HTML of a mail without audio."""
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert list(mail.iter_attachments()) == []
    return lines(text), lines(html)


def lines(part: Any) -> str:
    return part.get_content().replace("\r\n", "\n")


def parts(mail: EmailMessage) -> tuple[str, str, bytes]:
    """Return the text, the HTML and the attachment."""
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    [attached] = mail.iter_attachments()
    return lines(text), lines(html), attached.get_content()


def sent(message: EmailMessage) -> bytes:
    return message.as_bytes(policy=POLICY)


def read(raw: bytes) -> EmailMessage:
    parsed = message_from_bytes(raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def head(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[0]


def legacy(raw: bytes, name: str) -> str:
    """Read a header as older programs do."""
    return str(make_header(decode_header(message_from_bytes(raw, policy=policy.compat32)[name])))


def legacy_address(raw: bytes, name: str) -> tuple[str, str]:
    """Split the raw header first, decode the name after, as RFC 2047 section 5 wants it."""
    display, address = parseaddr(re.sub(r"\r?\n", "", message_from_bytes(raw, policy=policy.compat32)[name]))
    return str(make_header(decode_header(display))) if display else "", address


class Page(HTMLParser):
    """What a reader's program finds in the HTML part."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.odd: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "body":
            self.text = ""  # what was said before is shown nowhere

    @property
    def links(self) -> list[str | None]:
        """Where the page leads."""
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.odd.append(data)

    def handle_pi(self, data: str) -> None:
        self.odd.append(data)

    def unknown_decl(self, data: str) -> None:
        self.odd.append(data)


def well_formed(raw: bytes) -> None:
    """What holds of every mail: RFC 5322 sections 2.1.1 and 2.3, RFC 2047."""
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", raw) is None
    # Bodies are quoted-printable or base64 (RFC 2045 section 6.7).
    assert max(map(len, raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert head(raw).isascii()
    lines = head(raw).split(b"\r\n")
    # Only what may not be folded, a long address or Message-ID, makes a long line.
    assert all(len(line) <= 78 or max(map(len, line.split())) > 60 for line in lines), lines
    # A folded line that is blank would end the headers for some programs.
    assert all(line.strip() for line in lines)
    assert all(len(word) <= 75 for word in re.findall(rb"=\?[^?]+\?[^?]+\?[^?]*\?=", head(raw)))


def to_sort_by(told: Voicemail, kind: str = "voicemail") -> dict[str, str]:
    """What the headers for filters are to say."""
    call = told.call
    found = {"X-Voicemail-Kind": kind, "X-Voicemail-Mailbox": call.mailbox}
    if kind != "undelivered":
        found["X-Voicemail-Reason"] = call.reason.value
        number = "" if call.caller.withheld else call.caller.number
        found["X-Voicemail-Caller"] = number or ("withheld" if call.caller.withheld else "unknown")
        found |= {"X-Voicemail-Reference": call.reference} if call.reference else {}
        found |= {"X-Voicemail-Digits": call.typed} if call.typed else {}
    if kind == "voicemail":
        assert told.recording is not None
        found["X-Voicemail-Duration"] = str(round(told.recording.duration_ms / 1000))
        found["Message-Context"] = "voice-message"
    return found | {"X-Voicemail-Message": told.message_id, "X-Voicemail-Call": call.call_id}


def right(
    raw: bytes,
    sender: MailAddress,
    recipient: MailAddress,
    reply_to: MailAddress | None,
    filters: dict[str, str],
) -> None:
    """The header set, once each, and every address and text as meant, for new and for old readers."""
    mail = read(raw)
    expected = HEADERS | ({"Reply-To"} if reply_to else set()) | filters.keys()
    assert sorted(mail.keys()) == sorted(expected)
    assert sorted(message_from_bytes(raw, policy=policy.compat32).keys()) == sorted(expected)
    assert [header.defects for header in mail.values() if getattr(header, "defects", ())] == []
    other = parse_email(raw)  # neither the library's nor ours
    assert sorted(other.headers) == sorted(expected)
    for name, value in filters.items():
        assert other.headers[name] == [value]
        assert legacy(raw, name) == mail[name] == value
    assert other.subject == mail["Subject"]
    for name, who in {"From": sender, "To": recipient, "Reply-To": reply_to}.items():
        if who is not None:
            assert who.address in other.headers[name][0]
            [found] = mail[name].addresses
            # Python's newer reader puts a space between the encoded words of a long name
            # (python/cpython#128110), which RFC 2047 section 6.2 forbids; its older one does it right.
            assert found.display_name.replace(" ", "") == who.name.replace(" ", "")
            assert found.addr_spec == who.address
            assert legacy_address(raw, name) == (who.name, who.address)
