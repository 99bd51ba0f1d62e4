"""A voicemail as a mail: what a reader's program makes of it, whatever a caller chose to be called."""

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

import pytest
from fast_mail_parser import parse_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.config.templates import Template
from esl_voicemail.config.values import MailAddress, mail_address
from esl_voicemail.mail.forms import duration, duration_words, moment, telephone
from esl_voicemail.mail.headers import message_id
from esl_voicemail.mail.message import POLICY, Attachment, compose, file_name
from esl_voicemail.mail.words import ENDINGS
from esl_voicemail.model import (
    TECHNICAL,
    Attempt,
    Call,
    Caller,
    CallResult,
    Content,
    DeliveryState,
    EarlierCall,
    EndedBy,
    Hearing,
    Reason,
    Recording,
    Undelivered,
    Voicemail,
    one_line,
)

WARSAW = ZoneInfo("Europe/Warsaw")
AUDIO = Attachment(bytes(range(256)) * 40, "wav", "wav", 20_600)
SENDER = MailAddress("Poczta głosowa", "voicemail@example.com")
RECIPIENT = MailAddress("Anna Nowak", "anna@example.com")
OPERATOR = MailAddress("", "postmaster@example.com")
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


def bring(
    kept: Voicemail,
    box: Mailbox,
    sender: MailAddress = SENDER,
    recipient: MailAddress = RECIPIENT,
    audio: Attachment = AUDIO,
) -> EmailMessage:
    """The mail with a voicemail."""
    return compose(attempt(kept, recipient.address, sender.domain), box, sender, recipient, audio)


def notify(empty: Voicemail, box: Mailbox) -> EmailMessage:
    """The mail of a call that left no audio."""
    return compose(attempt(empty), box, SENDER, RECIPIENT)


def report(kept: Voicemail, box: Mailbox, undelivered: Undelivered) -> EmailMessage:
    """The mail to the operator."""
    told = attempt(kept, OPERATOR.address, undelivered=undelivered)
    return compose(told, box, SENDER, OPERATOR)


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


# --- whatever the caller is called -------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    number=names,
    name=names,
    mailbox_name=names,
    reference=names,
    queue=names,
    language=st.sampled_from(["pl", "en"]),
    withheld=st.booleans(),
    wait=st.none() | st.integers(0, 999_999),
    reason=st.sampled_from(Reason),
    ended_by=st.sampled_from(EndedBy),
)
def test_whatever_the_caller_is_called_the_mail_is_well_formed_and_says_so(
    number, name, mailbox_name, reference, queue, language, withheld, wait, reason, ended_by
):
    box = mailbox(name=one_line(mailbox_name, 100), language=language)
    kept = voicemail(
        number="" if withheld else number,
        name=name,
        withheld=withheld,
        reference=reference,
        queue=queue,
        wait=wait,
        reason=reason,
        ended_by=ended_by,
    )
    raw = sent(bring(kept, box))
    well_formed(raw)
    right(raw, SENDER, RECIPIENT, None, to_sort_by(kept))
    mail = read(raw)
    text, html, attached = parts(mail)
    assert attached == AUDIO.content
    other = parse_email(raw)
    assert [part.replace("\r\n", "\n") for part in other.text_plain] == [text]
    assert [part.replace("\r\n", "\n") for part in other.text_html] == [html]
    [sound] = other.attachments
    assert (sound.filename, sound.content) == (file_name(kept, box, "wav"), AUDIO.content)
    page = Page(html)
    assert page.odd == []
    assert all(tag in TAGS and set(attributes) <= TAGS[tag] for tag, attributes in page.tags)
    caller = kept.call.caller
    for said in (caller.name, box.name, kept.call.queue, kept.call.reference):
        assert said in text
        assert said in page.text
    if caller.name:
        assert one_line(caller.name, 40).rstrip("…") in mail["Subject"]
    assert all(re.fullmatch(r"tel:\+?[0-9][0-9;=ext-]*", str(link)) for link in page.links)


@settings(deadline=None, max_examples=100)
@given(
    number=names,
    name=names,
    mailbox_name=names,
    reference=names,
    queue=names,
    reply=names,
    language=st.sampled_from(["pl", "en"]),
    withheld=st.booleans(),
    result=st.sampled_from(CallResult),
    state=st.sampled_from(DeliveryState),
    code=st.none() | st.integers(200, 599),
)
def test_whatever_the_caller_and_the_server_say_a_notice_and_a_report_hold_it_as_text(
    number, name, mailbox_name, reference, queue, reply, language, withheld, result, state, code
):
    box = mailbox(name=one_line(mailbox_name, 100), language=language)
    number = "" if withheld else number
    told = empty(result, number=number, name=name, withheld=withheld, reference=reference, queue=queue)
    said = Undelivered("anna@example.com", state, code, one_line(reply, 400))
    call = told.call
    notice = "failed" if result in TECHNICAL else "empty"
    for message, to, kind, texts in (
        (notify(told, box), RECIPIENT, notice, (call.caller.name, box.name, call.queue, call.reference)),
        (report(told, box, said), OPERATOR, "undelivered", (call.caller.name, box.name, said.reply)),
    ):
        raw = sent(message)
        well_formed(raw)
        right(raw, SENDER, to, None, to_sort_by(told, kind))
        mail = read(raw)
        text, html = bodies(mail)
        page = Page(html)
        assert page.odd == []
        assert all(tag in TAGS and set(attributes) <= TAGS[tag] for tag, attributes in page.tags)
        assert len(page.tags) < 60
        for one in texts:
            assert one in text
            assert one in page.text
        assert all(re.fullmatch(r"tel:\+?[0-9][0-9;=ext-]*", str(link)) for link in page.links)
        assert legacy(raw, "Subject") == mail["Subject"]


@settings(deadline=None, max_examples=100)
@given(name=names, mailbox_name=names, language=st.sampled_from(["pl", "en"]))
@example(name="=?utf-8?q?x?=", mailbox_name="a", language="pl")
def test_the_subject_reads_the_same_to_new_and_old_programs(name, mailbox_name, language):
    box = mailbox(name=one_line(mailbox_name, 100), language=language)
    kept = voicemail(name=name, number="1001", duration_ms=5_000)
    raw = sent(bring(kept, box))
    who = kept.call.caller.name or "1001"
    wanted = {
        "pl": f"Wiadomość głosowa: {who}, 5 s ({box.name})",
        "en": f"Voicemail: {who}, 5 s ({box.name})",
    }[language]
    wanted = one_line(wanted, 200)
    assert read(raw)["Subject"] == wanted
    assert legacy(raw, "Subject") == wanted


@settings(deadline=None, max_examples=100)
@given(sender=names, recipient=names, reply_to=names)
@example(sender='Łoś, Jan "J"', recipient='Jan "J" Łoś', reply_to="Łoś, Jan")
@example(sender="=?utf-8?q?x?=", recipient="a, b", reply_to="😀" * 100)
@example(sender="x" * 100, recipient="\\" * 100, reply_to='"' * 100)
def test_display_names_of_any_kind_survive_for_new_and_old_programs(sender, recipient, reply_to):
    who = [
        MailAddress(one_line(name, 100), f"{key}@example.com")
        for key, name in [("from", sender), ("to", recipient), ("reply", reply_to)]
    ]
    raw = sent(bring(voicemail(), mailbox(reply_to=who[2]), who[0], who[1]))
    well_formed(raw)
    right(raw, *who, to_sort_by(voicemail()))


@pytest.mark.parametrize(
    "text",
    [
        "anna@example.com",
        "Anna Nowak <anna@example.com>",
        '"Łoś, Jan" <jan@example.com>',
        "Dział 💰 Sprzedaży <sales@example.com>",
        "Jan <jan+voicemail@bücher.example>",
        f"{'long ' * 20}<{'l' * 64}@{'.'.join(['d' * 60] * 2)}.example>",
    ],
)
def test_addresses_as_configured_arrive_as_configured(text):
    who = mail_address(text)
    raw = sent(bring(voicemail(), mailbox(reply_to=who), who, who))
    well_formed(raw)
    right(raw, who, who, who, to_sort_by(voicemail()))


def test_the_mail_reads_as_documented():
    raw = sent(bring(voicemail(name="Jan Kowalski"), mailbox()))
    mail = read(raw)
    assert mail["Subject"] == "Wiadomość głosowa: Jan Kowalski, 21 s (Sprzedaż)"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-Context"] == "voice-message"
    assert mail["Date"].datetime == voicemail().closed_at
    assert mail.get_content_type() == "multipart/mixed"
    [attached] = mail.iter_attachments()
    assert attached.get_content_type() == "audio/wav"
    # Its own, which is less than the recording's where silence was cut off.
    assert attached["Content-Duration"] == "21"
    assert mail["X-Voicemail-Duration"] == "21"
    assert attached.get_filename() == "2026-07-15_1230_48601234567_sprzedaz.wav"
    text, html, _ = parts(mail)
    for said in (
        "Jan Kowalski",
        "+48 601 234 567",
        "nikt nie odebrał",
        "Sprzedaż",
        "21 s",
        "+48 22 123 45 67",
    ):
        assert said in text
        assert said in html


def test_a_reply_goes_where_the_mailbox_says():
    reply_to = MailAddress("Biuro", "office@example.com")
    raw = sent(bring(voicemail(), mailbox(reply_to=reply_to)))
    right(raw, SENDER, RECIPIENT, reply_to, to_sort_by(voicemail()))


@settings(deadline=None)
@given(number=names, key=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True))
def test_the_file_name_is_plain_ascii_whoever_called(number, key):
    kept = voicemail(number=number)
    box = mailbox(key=key)
    name = file_name(kept, box, "mp3")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name)
    raw = sent(bring(kept, box, audio=Attachment(b"ID3", "mp3", "mpeg", 1000)))
    well_formed(raw)
    [attached] = read(raw).iter_attachments()
    assert attached.get_filename() == name
    assert attached.get_content_type() == "audio/mpeg"
    *_, old = message_from_bytes(raw, policy=policy.compat32).get_payload()
    assert old.get_filename() == name


@pytest.mark.parametrize("content", [b"", b"\r\n.\r\n", b"\n" * 1000, b"\x00\xff" * 100_000])
def test_the_audio_arrives_byte_for_byte(content):
    raw = sent(bring(voicemail(), mailbox(), audio=Attachment(content, "wav", "wav", 1000)))
    well_formed(raw)
    assert parts(read(raw))[2] == content


# --- the Message-ID ----------------------------------------------------------------------------------


FAILED = Undelivered(RECIPIENT.address, DeliveryState.BOUNCED, 550, "5.1.1 no such user")


@pytest.mark.parametrize("undelivered", [None, FAILED], ids=["to a recipient", "to the operator"])
@pytest.mark.parametrize("kept", [voicemail(), empty(CallResult.NO_AUDIO)], ids=["audio", "no audio"])
def test_the_message_id_is_the_same_on_every_attempt_whatever_changes_between_them(kept, undelivered):
    first = attempt(kept, domain="example.com", undelivered=undelivered)
    another_from = MailAddress("", "voicemail@example.net")
    later = replace(undelivered, state=DeliveryState.QUEUED, code=None, reply="") if undelivered else None
    ids = {
        compose(first, mailbox(), SENDER, RECIPIENT)["Message-ID"],
        compose(replace(first, number=2), mailbox(), another_from, RECIPIENT)["Message-ID"],
        compose(replace(first, undelivered=later), mailbox(language="en"), SENDER, RECIPIENT)["Message-ID"],
        message_id(first),
    }
    assert len(ids) == 1
    assert re.fullmatch(r"<[a-z0-9.]+@example\.com>", ids.pop())


def test_the_message_id_differs_by_message_recipient_and_what_is_told():
    another = replace(voicemail(), message_id="01KC3MZ0000000000000000001")
    jan = replace(FAILED, recipient="jan@example.com")
    operator = OPERATOR.address
    ids = {
        message_id(attempt(recipient=RECIPIENT.address)),
        message_id(attempt(recipient="jan@example.com")),
        message_id(attempt(another)),
        # The operator may be a recipient too.
        message_id(attempt(recipient=operator)),
        message_id(attempt(recipient=operator, undelivered=FAILED)),
        message_id(attempt(recipient=operator, undelivered=jan)),
        message_id(attempt(another, operator, undelivered=FAILED)),
    }
    assert len(ids) == 7


def test_the_message_id_of_a_voicemail_is_the_one_that_earlier_versions_gave_it():
    assert message_id(attempt()) == "<01kc3mz0000000000000000000.f7d54c22dda5b178@example.com>"


def test_the_message_id_is_one_word_however_long_the_domain():
    sender = MailAddress("", "voicemail@" + ".".join(["d" * 60] * 3) + ".example")
    message = bring(voicemail(), mailbox(), sender)
    wanted = message_id(attempt(domain=sender.domain))
    assert read(sent(message))["Message-ID"].strip() == wanted
    assert f"Message-ID: {wanted}".encode() in re.sub(rb"\r\n(?=[ \t])", b"", sent(message))


# --- a call that left no audio -----------------------------------------------------------------------

WHY = {
    CallResult.HANGUP_BEFORE_ANSWER: ("rozłączyła się, zanim", "hung up before voicemail answered"),
    CallResult.HANGUP_IN_GREETING: ("rozłączyła się podczas powitania", "hung up during the greeting"),
    CallResult.TOO_SHORT: ("za krótkie na wiadomość", "too short for a message"),
    CallResult.NO_SPEECH: ("za mało mowy na wiadomość", "too little speech"),
    CallResult.NO_AUDIO: ("nic się nie nagrało", "nothing was recorded"),
    CallResult.RECORD_FAILED: ("nie zapisała nagrania", "did not save the recording"),
    CallResult.SWITCH_STALLED: ("przestała odpowiadać", "stopped answering"),
    CallResult.CONTROL_LOST: ("utracono kontakt", "contact with the telephone switch was lost"),
}
RESULTS = [*WHY, CallResult.FAILED]


@pytest.mark.parametrize("language", ["pl", "en"])
@pytest.mark.parametrize("result", RESULTS)
def test_a_notice_tells_who_called_and_why_there_is_no_audio(result, language):
    told = empty(
        result, name="Jan Kowalski", reason=Reason.QUEUE_TIMEOUT, queue="VIP", wait=63, reference="A-7"
    )
    raw = sent(notify(told, mailbox(language=language, reply_to=OPERATOR)))
    well_formed(raw)
    kind = "failed" if result in TECHNICAL else "empty"
    right(raw, SENDER, RECIPIENT, OPERATOR, to_sort_by(told, kind))
    mail = read(raw)
    assert mail["Date"].datetime == told.closed_at
    text, html = bodies(mail)
    page = Page(html)
    wanted = {
        "pl": ("601 234 567", "środa, 15 lipca 2026, 12:30 (+02:00)", "Sprzedaż", "A-7"),
        "en": ("601 234 567", "Wednesday, 15 July 2026, 12:30 (+02:00)", "Sprzedaż", "A-7"),
    }[language]
    waited = {"pl": "czekanie w kolejce VIP: 1 min 3 s", "en": "waited 1 min 3 s in the queue VIP"}[language]
    why = WHY.get(result, ("nagranie nie powstało", "there is no recording"))[language == "en"]
    for said in ("Jan Kowalski", *wanted, waited, why, told.call.call_id, told.message_id):
        assert said in text
        assert said in page.text
    assert page.links == ["tel:+48-601-234-567"]
    technical = result in TECHNICAL
    assert (("tr", {"class": "note"}) in page.tags) == technical
    spoken = {"pl": "coś powiedziała", "en": "may have spoken"}[language]
    assert (spoken in text) == (spoken in page.text) == technical


@pytest.mark.parametrize(
    ("language", "result", "subject"),
    [
        ("pl", CallResult.TOO_SHORT, "Nieodebrane połączenie: Jan Kowalski (Sprzedaż)"),
        ("en", CallResult.TOO_SHORT, "Missed call: Jan Kowalski (Sprzedaż)"),
        ("pl", CallResult.RECORD_FAILED, "Nie udało się nagrać wiadomości: Jan Kowalski (Sprzedaż)"),
        ("en", CallResult.RECORD_FAILED, "Message not recorded: Jan Kowalski (Sprzedaż)"),
    ],
)
def test_a_notice_s_subject_tells_a_caller_s_choice_from_our_fault(language, result, subject):
    mail = read(sent(notify(empty(result, name="Jan Kowalski"), mailbox(language=language))))
    assert mail["Subject"] == subject


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize(
    ("language", "who", "please"),
    [("pl", "numer zastrzeżony", "oddzwoni"), ("en", "number withheld", "call back")],
)
def test_nobody_is_asked_to_call_a_withheld_number(result, language, who, please):
    mail = read(sent(notify(empty(result, number="", withheld=True), mailbox(language=language))))
    text, html = bodies(mail)
    assert who in mail["Subject"]
    for said in (text, Page(html).text):
        assert who.capitalize() in said
        assert please not in said.lower()
    assert "tel:" not in html


def test_a_number_that_was_withheld_is_not_in_the_mail_even_where_it_is_known():
    for mail in (
        bring(voicemail(withheld=True), mailbox()),
        notify(empty(CallResult.RECORD_FAILED, withheld=True), mailbox()),
        report(voicemail(withheld=True), mailbox(), FAILED),
    ):
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        for said in (mail["Subject"], text.get_content(), html.get_content()):
            assert "601" not in said
        assert b"601" not in head(sent(mail))
        assert [part for part in mail.iter_attachments() if "601" in str(part.get_filename())] == []


# --- a report to the operator ------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["pl", "en"])
@pytest.mark.parametrize("state", list(DeliveryState))
@pytest.mark.parametrize("result", [None, CallResult.HANGUP_IN_GREETING])
def test_a_report_tells_who_did_not_get_what_why_and_what_to_do(language, state, result):
    details = {"name": "Jan Kowalski", "queue": "VIP", "reference": "A-7"}
    kept = voicemail(**details) if result is None else empty(result, **details)
    undelivered = Undelivered("gone@example.com", state, 550, "5.1.1 no such user")
    raw = sent(report(kept, mailbox(language=language, reply_to=RECIPIENT), undelivered))
    well_formed(raw)
    # Who answers it does not mean the mailbox's callers.
    right(raw, SENDER, OPERATOR, None, to_sort_by(kept, "undelivered"))
    text, html = bodies(read(raw))
    page = Page(html)
    when = {"pl": "środa, 15 lipca 2026, 12:30", "en": "Wednesday, 15 July 2026, 12:30"}[language]
    for said in (
        "gone@example.com",
        "550 5.1.1 no such user",
        "Jan Kowalski, +48 601 234 567",
        when,
        "Sprzedaż",
        f"esl-voicemail messages show {kept.message_id}",
    ):
        assert said in text
        assert said in page.text
    waits = state in {DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.HELD}
    retry = f"esl-voicemail messages retry {kept.message_id}"
    assert (retry in text) == (retry in page.text) == waits
    for untold in ("VIP", "A-7", "tel:"):
        assert untold not in text
        assert untold not in html


@pytest.mark.parametrize(
    ("language", "kept", "subject"),
    [
        ("pl", voicemail(), "Nie dostarczono wiadomości głosowej: anna@example.com (Sprzedaż)"),
        ("en", voicemail(), "Voicemail not delivered: anna@example.com (Sprzedaż)"),
        (
            "pl",
            empty(CallResult.NO_AUDIO),
            "Nie dostarczono powiadomienia o połączeniu: anna@example.com (Sprzedaż)",
        ),
        ("en", empty(CallResult.NO_AUDIO), "Notice of a call not delivered: anna@example.com (Sprzedaż)"),
    ],
)
def test_a_report_s_subject_tells_what_did_not_reach_whom(language, kept, subject):
    assert read(sent(report(kept, mailbox(language=language), FAILED)))["Subject"] == subject


@pytest.mark.parametrize("language", ["pl", "en"])
def test_a_cause_of_our_own_is_not_put_into_a_server_s_mouth(language):
    held = Undelivered("a@example.com", DeliveryState.HELD, None, "sales.wav: cannot be read")
    text, _ = bodies(report(voicemail(), mailbox(language=language), held))
    assert re.search(r"^(Przyczyna|Cause): +sales.wav: cannot be read$", text, re.MULTILINE)


# --- text and HTML -----------------------------------------------------------------------------------


def every_kind(language: str) -> list[EmailMessage]:
    box = mailbox(language=language)
    return [
        *(bring(voicemail(name="Jan", ended_by=ended_by), box) for ended_by in EndedBy),
        *(notify(empty(result, name="Jan"), box) for result in RESULTS),
        *(report(voicemail(), box, replace(FAILED, state=state)) for state in DeliveryState),
    ]


@pytest.mark.parametrize("language", ["pl", "en"])
def test_text_and_html_say_the_same(language):
    button = {"pl": "Oddzwoń: +48 601 234 567", "en": "Call back: +48 601 234 567"}[language]
    for mail in every_kind(language):
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert text is not None
        assert html is not None
        shown = Page(html.get_content()).text
        # What a text has not: a button. What HTML has not: a colon behind each label, a line before the foot.
        shown = shown.replace(button, "")
        plain = text.get_content().replace("--\n", "")
        assert re.sub(r"[\s:]", "", plain) == re.sub(r"[\s:]", "", shown)


# --- who called --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "said"), [("pl", "numer zastrzeżony"), ("en", "number withheld")])
def test_a_withheld_caller_is_said_to_be_so(language, said):
    kept = voicemail(number="", withheld=True)
    mail = read(sent(bring(kept, mailbox(language=language))))
    text, html, _ = parts(mail)
    assert said in mail["Subject"]
    for body in (text, html):
        assert said.capitalize() in body
        assert "tel:" not in body
    assert {"pl": "zastrzezony", "en": "withheld"}[language] in mail.get_payload()[1].get_filename()


def test_a_named_caller_with_a_withheld_number_keeps_the_name():
    kept = voicemail(number="", name="Anna", withheld=True)
    text, html, _ = parts(read(sent(bring(kept, mailbox()))))
    for body in (text, Page(html).text):
        assert re.search(r"Anna\s.*Numer:?\s*zastrzeżony", body, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "region", "shown", "national", "link"),
    [
        ("48601234567", "PL", "+48 601 234 567", "601 234 567", "tel:+48-601-234-567"),
        ("+48601234567", "PL", "+48 601 234 567", "601 234 567", "tel:+48-601-234-567"),
        ("0048601234567", "PL", "+48 601 234 567", "601 234 567", "tel:+48-601-234-567"),
        ("601234567", "PL", "+48 601 234 567", "601 234 567", "tel:+48-601-234-567"),
        ("221234567", "PL", "+48 22 123 45 67", "22 123 45 67", "tel:+48-22-123-45-67"),
        ("+442079460958", "PL", "+44 20 7946 0958", "", "tel:+44-20-7946-0958"),
        ("+442079460958", "GB", "+44 20 7946 0958", "020 7946 0958", "tel:+44-20-7946-0958"),
        ("+12125550123", "CA", "+1 212-555-0123", "(212) 555-0123", "tel:+1-212-555-0123"),
        ("anna", "PL", "anna", "", ""),
        # A name that anybody may choose is not the number in it.
        ("alice601234567", "PL", "alice601234567", "", ""),
        ("601234567@example.com", "PL", "601234567@example.com", "", ""),
        ("601234567;ext=1", "PL", "601234567;ext=1", "", ""),
        ("(601) 234-567", "PL", "(601) 234-567", "", ""),
        ("+48 601-234-567", "PL", "+48 601 234 567", "601 234 567", "tel:+48-601-234-567"),
        ("1001", "PL", "1001", "", "tel:1001"),
        ("112", "PL", "112", "", "tel:112"),
        ("*97", "PL", "*97", "", ""),
        ("٤٢", "PL", "٤٢", "", ""),
        ("", "PL", "", "", ""),
    ],
)
def test_a_number_is_shown_in_its_forms_and_linked(number, region, shown, national, link):
    found = telephone(number, region)
    assert (found.shown, found.national, found.link) == (shown, national, link)


@settings(deadline=None)
@given(names)
def test_a_link_holds_digits_only_whatever_the_number(number):
    found = telephone(one_line(number, 40), "PL")
    assert re.fullmatch(r"(tel:\+?[0-9][0-9;=ext-]*)?", found.link)


# --- when and how long -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("utc", "language", "said"),
    [
        ((2026, 7, 15, 10, 30), "pl", "środa, 15 lipca 2026, 12:30 (+02:00)"),
        ((2026, 7, 15, 10, 30), "en", "Wednesday, 15 July 2026, 12:30 (+02:00)"),
        ((2026, 1, 15, 10, 30), "pl", "czwartek, 15 stycznia 2026, 11:30 (+01:00)"),
        ((2026, 1, 15, 10, 30), "en", "Thursday, 15 January 2026, 11:30 (+01:00)"),
        ((2026, 12, 31, 23, 5), "pl", "piątek, 1 stycznia 2027, 00:05 (+01:00)"),
        ((2026, 3, 29, 0, 59), "pl", "niedziela, 29 marca 2026, 01:59 (+01:00)"),
        ((2026, 3, 29, 1, 0), "pl", "niedziela, 29 marca 2026, 03:00 (+02:00)"),
        ((2026, 10, 25, 0, 30), "pl", "niedziela, 25 października 2026, 02:30 (+02:00)"),
        ((2026, 10, 25, 1, 30), "pl", "niedziela, 25 października 2026, 02:30 (+01:00)"),
        ((2026, 10, 25, 1, 30), "en", "Sunday, 25 October 2026, 02:30 (+01:00)"),
    ],
)
def test_the_time_is_local_and_says_its_offset(utc, language, said):
    at = datetime(*utc, tzinfo=UTC)
    assert moment(at, WARSAW, language) == said
    kept = voicemail(arrived_at=at)
    text, html, _ = parts(read(sent(bring(kept, mailbox(language=language)))))
    assert said in text
    assert said in html


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (499, "1 s"),
        (1_499, "1 s"),
        (1_501, "2 s"),
        (59_499, "59 s"),
        (59_600, "1 min 0 s"),
        (60_000, "1 min 0 s"),
        (61_000, "1 min 1 s"),
        (125_300, "2 min 5 s"),
        (600_000, "10 min 0 s"),
        (3_599_499, "59 min 59 s"),
        (3_600_000, "1 h 0 min"),
        (7_325_000, "2 h 2 min"),
    ],
)
def test_a_duration_is_said_in_minutes_and_seconds(ms, said):
    assert duration(ms) == said


@pytest.mark.parametrize(
    ("ms", "language", "said"),
    [
        (0, "pl", "0 sekund"),
        (900, "pl", "1 sekunda"),
        (22_000, "pl", "22 sekundy"),
        (25_000, "pl", "25 sekund"),
        (60_000, "pl", "1 minuta"),
        (125_300, "pl", "2 minuty 5 sekund"),
        (301_000, "pl", "5 minut 1 sekunda"),
        (3_600_000, "pl", "1 godzina"),
        (7_325_000, "pl", "2 godziny 2 minuty"),
        (900, "en", "1 second"),
        (63_000, "en", "1 minute 3 seconds"),
        (120_000, "en", "2 minutes"),
    ],
)
def test_a_duration_has_its_plural_forms(ms, language, said):
    assert duration_words(ms, language) == said


# --- how it was recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["pl", "en"])
@pytest.mark.parametrize("ended_by", list(EndedBy))
def test_how_it_ended_is_said_and_stressed_where_that_cost_words(language, ended_by):
    kept = voicemail(ended_by=ended_by)
    text, html, _ = parts(read(sent(bring(kept, mailbox(language=language)))))
    ended, noted = {"pl": ("Zakończone:", "Uwaga:"), "en": ("Ended:", "Note:")}[language]
    cut = ended_by in {EndedBy.LIMIT, EndedBy.CUT}
    assert (noted in text) == ('class="note"' in html) == cut
    assert (ended in text) != cut
    assert ENDINGS[language][ended_by] in text


def heard(content: Content, speech_ms: int = 0, *, clipped: bool = False) -> Voicemail:
    return replace(voicemail(), hearing=Hearing(content, speech_ms, -31.5, clipped))


@pytest.mark.parametrize(
    ("hearing", "language", "said"),
    [
        (heard(Content.SPEECH, 14_000), "pl", ["Długość:            21 s, w tym mowa 14 s"]),
        (heard(Content.SPEECH, 14_000), "en", ["Duration:           21 s, 14 s of it speech"]),
        (heard(Content.BUSY_TONE), "pl", ["w tym mowa 0 s", "W nagraniu:         tylko sygnał zajętości"]),
        (heard(Content.FAX_TONE), "en", ["0 s of it speech", "In the recording:   nothing but a fax tone"]),
        (
            heard(Content.SPEECH, 9_000, clipped=True),
            "en",
            ["Quality:            the recording is distorted"],
        ),
        (voicemail(), "en", ["Duration:           21 s\n"]),
    ],
)
def test_what_was_heard_is_said(hearing, language, said):
    text, _, _ = parts(read(sent(bring(hearing, mailbox(language=language)))))
    assert [one for one in said if one not in text] == []


@pytest.mark.parametrize(
    ("hearing", "said", "unsaid"),
    [
        (Hearing(Content.SILENCE, 0, None, clipped=False), "W nagraniu:         tylko cisza", "Mowa:"),
        (Hearing(Content.SPEECH, 3_000, -20.0, clipped=False), "Mowa:               3 s", "W nagraniu:"),
    ],
)
def test_a_notice_of_a_recording_with_too_little_speech_says_what_was_in_it_and_how_to_have_it(
    hearing, said, unsaid
):
    told = replace(empty(CallResult.NO_SPEECH), hearing=hearing)
    text, html = bodies(notify(told, mailbox()))
    assert said in text
    assert unsaid not in text
    for body in (text, html):
        assert f"esl-voicemail messages keep {told.message_id}" in body
    text, _ = bodies(notify(empty(CallResult.NO_AUDIO), mailbox()))
    assert "messages keep" not in text


@pytest.mark.parametrize(
    "hostile", ["<b>&lt;</b>\n</div><script>", "=?utf-8?q?x?=\n.\nFrom here", "Dzień dobry\nŁoś"]
)
def test_what_a_caller_said_is_written_down_as_text(hostile):
    kept = replace(voicemail(), transcript=hostile)
    text, html, _ = parts(read(sent(bring(kept, mailbox()))))
    page = Page(html)
    assert [line for line in hostile.split("\n") if f"  {line}\n" not in text] == []
    assert hostile in page.text
    assert all(tag in TAGS and set(attributes) <= TAGS[tag] for tag, attributes in page.tags)
    assert page.odd == []


@pytest.mark.parametrize(
    ("language", "said"),
    [("pl", "za duże dla serwera poczty"), ("en", "too large for the mail server")],
)
def test_a_mail_that_cannot_carry_its_audio_says_where_that_is_kept(language, said):
    told = attempt()
    mail = compose(told, mailbox(language=language), SENDER, RECIPIENT, left_out="/var/spool/vm/sales.01.wav")
    raw = sent(mail)
    well_formed(raw)
    without = {key: said for key, said in to_sort_by(told.voicemail).items() if key != "Message-Context"}
    right(raw, SENDER, RECIPIENT, None, without)
    text, html = bodies(read(raw))
    for body in (text, Page(html).text):
        assert said in body
        assert "/var/spool/vm/sales.01.wav" in body
        assert "w załączniku." not in body.replace("nie ma go w załączniku.", "")


# --- how often ---------------------------------------------------------------------------------------

NOON = datetime(2026, 7, 15, 10, 0, tzinfo=UTC)
YESTERDAY = EarlierCall(datetime(2026, 7, 14, 21, 59, tzinfo=UTC), message=True)  # 23:59 in Warsaw
AT_MIDNIGHT = EarlierCall(datetime(2026, 7, 14, 22, 0, tzinfo=UTC), message=True)
AT_NINE = EarlierCall(datetime(2026, 7, 15, 7, 2, tzinfo=UTC), message=False)


@pytest.mark.parametrize(
    ("earlier", "language", "said"),
    [
        ((), "pl", ""),
        ((YESTERDAY,), "pl", ""),
        ((AT_NINE,), "pl", "2. połączenie dzisiaj"),
        ((YESTERDAY, AT_NINE), "en", "2nd call today"),
        ((AT_MIDNIGHT, AT_NINE), "pl", "3. połączenie dzisiaj, ostatnia wiadomość 00:00"),
        ((AT_MIDNIGHT, AT_NINE), "en", "3rd call today, last message 00:00"),
        ((AT_MIDNIGHT,) * 10, "en", "11th call today, last message 00:00"),
        ((AT_MIDNIGHT,) * 20, "en", "21st call today, last message 00:00"),
    ],
)
def test_the_reader_knows_which_call_of_the_day_it_is(earlier, language, said):
    kept = replace(voicemail(arrived_at=NOON), earlier=earlier)
    text, html, _ = parts(read(sent(bring(kept, mailbox(language=language)))))
    label = {"pl": "Dzwoni znów:", "en": "Calls again:"}[language]
    assert re.findall(rf"^{label} +(.*)$", text, re.MULTILINE) == ([said] if said else [])
    assert said in Page(html).text


def test_a_list_of_mails_shows_the_essence_beside_the_subject():
    kept = replace(voicemail(arrived_at=NOON, reason=Reason.AFTER_HOURS), earlier=(AT_NINE,))
    text, html, _ = parts(read(sent(bring(kept, mailbox()))))
    for body in (text, Page(html).text.strip()):
        assert body.startswith("Poza godzinami pracy, 2. połączenie dzisiaj\n")


# --- how it is sorted, answered and threaded ---------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(name=names, number=names, ours=names)
@example(name="ceo@example.com", number="48601234567", ours="Poczta głosowa")
@example(name="", number="", ours="")
def test_the_caller_may_stand_in_the_name_of_our_address_and_in_nothing_else(name, number, ours):
    kept = voicemail(name=name, number=number)
    sender = MailAddress(one_line(ours, 100), SENDER.address)
    raw = sent(bring(kept, mailbox(caller_in_from=True), sender))
    well_formed(raw)
    shown, address = legacy_address(raw, "From")
    assert address == SENDER.address
    assert [one.addr_spec for one in read(raw)["From"].addresses] == [SENDER.address]
    called = shown.removesuffix(f"({sender.name})").strip() if sender.name else shown
    assert "@" not in called or not (kept.call.caller.name or kept.call.caller.number)
    assert one_line(kept.call.caller.name.replace("@", " at "), 30).rstrip("…") in shown


def test_the_caller_is_shown_as_sender_where_the_mailbox_wants_it():
    box = mailbox(caller_in_from=True)
    for mail, name in (
        (bring(voicemail(name="Jan Łoś"), box), "Jan Łoś, +48 601 234 567 (Poczta głosowa)"),
        (bring(voicemail(), box), "+48 601 234 567 (Poczta głosowa)"),
        (bring(voicemail(number="", withheld=True), box), "Poczta głosowa"),
        (report(voicemail(name="Jan"), box, FAILED), "Poczta głosowa"),
    ):
        assert legacy_address(sent(mail), "From") == (name, SENDER.address)


def test_one_caller_s_mails_are_one_conversation_where_the_mailbox_wants_it():
    box = mailbox(thread_callers=True)
    another = replace(voicemail(name="Jan", duration_ms=5_000), message_id="01KC3MZ0000000000000000001")
    mails = [
        bring(voicemail(), box),
        bring(another, box),
        notify(empty(CallResult.TOO_SHORT), box),
        notify(empty(CallResult.RECORD_FAILED), box),
    ]
    assert {mail["Subject"] for mail in map(read, map(sent, mails))} == {
        "Połączenia: +48 601 234 567 (Sprzedaż)"
    }
    # Kept by a person, it comes from a domain of its own; another From changes it too.
    by_hand = attempt(another, domain=f"message.{'d' * 60}.{'d' * 60}.example")
    mails.append(compose(by_hand, box, SENDER, RECIPIENT))
    [root] = {read(sent(mail))["References"] for mail in mails}
    assert re.fullmatch(r"<caller\.[0-9a-f]{16}@voicemail\.invalid>", root)
    assert root not in {mail["Message-ID"] for mail in mails}
    others = [
        bring(voicemail(number="48601234568"), box),
        bring(voicemail(), replace(box, key="service")),
    ]
    assert root not in {mail["References"] for mail in others}
    for mail in (
        bring(voicemail(), mailbox()),
        bring(voicemail(number="", withheld=True), box),
        bring(voicemail(withheld=True), box),
        report(voicemail(), box, FAILED),
    ):
        assert "References" not in mail
        assert "Połączenia" not in mail["Subject"]


def test_the_team_is_shown_where_the_mailbox_wants_replies_to_reach_all():
    team = (RECIPIENT, MailAddress("Łoś, Jan", "jan@example.com"), MailAddress("", f"{'x' * 60}@example.com"))
    box = mailbox(recipients=team, show_recipients=True)
    raw = sent(bring(voicemail(), box))
    well_formed(raw)
    assert [one.addr_spec for one in read(raw)["To"].addresses] == [one.address for one in team]
    # One who is no recipient any more, or the operator, sees himself alone.
    gone = MailAddress("", "gone@example.com")
    for mail, alone in (
        (bring(voicemail(), box, recipient=gone), gone),
        (report(voicemail(), box, FAILED), OPERATOR),
    ):
        assert read(sent(mail))["To"] == alone.address


def test_a_message_of_a_mailbox_that_is_gone_shows_nothing_of_another_s_team_or_taste():
    box = mailbox(
        key="default",
        recipients=(OPERATOR, RECIPIENT),
        show_recipients=True,
        caller_in_from=True,
        thread_callers=True,
        important=True,
        templates=(Template("subject.j2", "of another", "x"),),
    )
    mail = bring(voicemail(name="Jan"), mailbox_of({"default": box}, "sales"))
    assert mail["To"] == "Anna Nowak <anna@example.com>"
    assert legacy_address(sent(mail), "From") == (SENDER.name, SENDER.address)
    assert read(sent(mail))["Subject"] == "Wiadomość głosowa: Jan, 21 s (sales)"
    assert not {"References", "Importance"} & set(mail.keys())


def test_an_important_mailbox_says_so():
    assert "Importance" not in bring(voicemail(), mailbox())
    assert bring(voicemail(), mailbox(important=True))["Importance"] == "high"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Sprzedaż", "sprzedaz"),
        ("Poczta – sprzedaż", "poczta-sprzedaz"),
        ("Łódź / dział #2", "lodz-dzial-2"),
        ("!!!", "sales"),
        ("", "sales"),
        ("x" * 90, "x" * 28),
        ("Dział obsługi klienta i reklamacji", "dzial-obslugi-klienta-i-rekl"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_the_file_is_named_by_the_mailbox_s_name(name, said):
    wanted = f"2026-07-15_1230_48601234567_{said}.mp3"
    assert file_name(voicemail(), mailbox(name=name), "mp3") == wanted
    raw = sent(bring(voicemail(), mailbox(name=name), audio=Attachment(b"ID3", "mp3", "mpeg", 1000)))
    # In one piece: not every program joins the parts of RFC 2231.
    assert f'filename="{wanted}"'.encode() in raw
