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
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esl_voicemail.config import Mailbox
from esl_voicemail.config.values import MailAddress, mail_address
from esl_voicemail.mail.message import POLICY, Attachment, compose, file_name, message_id
from esl_voicemail.mail.words import duration, moment, telephone
from esl_voicemail.model import Call, Caller, EndedBy, Reason, Recording, Voicemail, one_line

WARSAW = ZoneInfo("Europe/Warsaw")
AUDIO = Attachment(bytes(range(256)) * 40, "wav", "wav")
SENDER = MailAddress("Poczta głosowa", "voicemail@example.com")
RECIPIENT = MailAddress("Anna Nowak", "anna@example.com")
HEADERS = {
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Message-Context",
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
    "body": set(),
    "div": {"class"},
    "h1": set(),
    "a": {"href"},
    "table": {"role"},
    "tr": {"class"},
    "th": set(),
    "td": set(),
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


def parts(mail: EmailMessage) -> tuple[str, str, bytes]:
    """Return the text, the HTML and the attachment."""
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    [attached] = mail.iter_attachments()
    return text.get_content(), html.get_content(), attached.get_content()


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
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert head(raw).isascii()
    lines = head(raw).split(b"\r\n")
    # Only what may not be folded, a long address or Message-ID, makes a long line.
    assert all(len(line) <= 78 or max(map(len, line.split())) > 60 for line in lines), lines
    # A folded line that is blank would end the headers for some programs.
    assert all(line.strip() for line in lines)
    assert all(len(word) <= 75 for word in re.findall(rb"=\?[^?]+\?[^?]+\?[^?]*\?=", head(raw)))


def right(raw: bytes, sender: MailAddress, recipient: MailAddress, reply_to: MailAddress | None) -> None:
    """The header set, once each, and every address as configured, for new and for old readers."""
    mail = read(raw)
    expected = HEADERS | ({"Reply-To"} if reply_to else set())
    assert sorted(mail.keys()) == sorted(expected)
    assert sorted(message_from_bytes(raw, policy=policy.compat32).keys()) == sorted(expected)
    assert [header.defects for header in mail.values() if getattr(header, "defects", ())] == []
    for name, who in {"From": sender, "To": recipient, "Reply-To": reply_to}.items():
        if who is not None:
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
    raw = sent(compose(kept, box, SENDER, RECIPIENT, AUDIO))
    well_formed(raw)
    right(raw, SENDER, RECIPIENT, None)
    mail = read(raw)
    text, html, attached = parts(mail)
    assert attached == AUDIO.content
    page = Page(html)
    assert page.odd == []
    assert all(tag in TAGS and set(attributes) <= TAGS[tag] for tag, attributes in page.tags)
    caller = kept.call.caller
    for said in (caller.name, box.name, kept.call.queue, kept.call.reference):
        assert said in text
        assert said in page.text
    if caller.name:
        assert one_line(caller.name, 40).rstrip("…") in mail["Subject"]
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert all(re.fullmatch(r"tel:\+?[0-9][0-9;=ext-]*", link) for link in links)


@settings(deadline=None, max_examples=100)
@given(name=names, mailbox_name=names, language=st.sampled_from(["pl", "en"]))
@example(name="=?utf-8?q?x?=", mailbox_name="a", language="pl")
def test_the_subject_reads_the_same_to_new_and_old_programs(name, mailbox_name, language):
    box = mailbox(name=one_line(mailbox_name, 100), language=language)
    kept = voicemail(name=name, number="1001", duration_ms=5_000)
    raw = sent(compose(kept, box, SENDER, RECIPIENT, AUDIO))
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
    raw = sent(compose(voicemail(), mailbox(reply_to=who[2]), who[0], who[1], AUDIO))
    well_formed(raw)
    right(raw, *who)


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
    raw = sent(compose(voicemail(), mailbox(reply_to=who), who, who, AUDIO))
    well_formed(raw)
    right(raw, who, who, who)


def test_the_mail_reads_as_documented():
    raw = sent(compose(voicemail(name="Jan Kowalski"), mailbox(), SENDER, RECIPIENT, AUDIO))
    mail = read(raw)
    assert mail["Subject"] == "Wiadomość głosowa: Jan Kowalski, 21 s (Sprzedaż)"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-Context"] == "voice-message"
    assert mail["Date"].datetime == voicemail().kept_at
    assert mail.get_content_type() == "multipart/mixed"
    [attached] = mail.iter_attachments()
    assert attached.get_content_type() == "audio/wav"
    assert attached["Content-Duration"] == "21"
    assert attached.get_filename() == "2026-07-15_1230_48601234567_sales.wav"
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
    raw = sent(compose(voicemail(), mailbox(reply_to=reply_to), SENDER, RECIPIENT, AUDIO))
    right(raw, SENDER, RECIPIENT, reply_to)


@settings(deadline=None)
@given(number=names, key=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True))
def test_the_file_name_is_plain_ascii_whoever_called(number, key):
    kept = voicemail(number=number)
    box = mailbox(key=key)
    name = file_name(kept, box, "mp3")
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name)
    raw = sent(compose(kept, box, SENDER, RECIPIENT, Attachment(b"ID3", "mp3", "mpeg")))
    well_formed(raw)
    [attached] = read(raw).iter_attachments()
    assert attached.get_filename() == name
    assert attached.get_content_type() == "audio/mpeg"
    *_, old = message_from_bytes(raw, policy=policy.compat32).get_payload()
    assert old.get_filename() == name


@pytest.mark.parametrize("content", [b"", b"\r\n.\r\n", b"\n" * 1000, b"\x00\xff" * 100_000])
def test_the_audio_arrives_byte_for_byte(content):
    raw = sent(compose(voicemail(), mailbox(), SENDER, RECIPIENT, Attachment(content, "wav", "wav")))
    well_formed(raw)
    assert parts(read(raw))[2] == content


# --- the Message-ID ----------------------------------------------------------------------------------


def test_the_message_id_is_the_same_on_every_attempt():
    one, other = (compose(voicemail(), mailbox(), SENDER, RECIPIENT, AUDIO) for _ in range(2))
    assert (
        one["Message-ID"] == other["Message-ID"] == message_id(voicemail(), RECIPIENT.address, SENDER.domain)
    )
    assert re.fullmatch(r"<[a-z0-9.]+@example\.com>", one["Message-ID"])


def test_the_message_id_differs_by_recipient_and_by_message():
    kept = voicemail()
    another = replace(kept, message_id="01KC3MZ0000000000000000001")
    ids = {
        message_id(kept, "anna@example.com", "example.com"),
        message_id(kept, "jan@example.com", "example.com"),
        message_id(another, "anna@example.com", "example.com"),
    }
    assert len(ids) == 3


def test_the_message_id_is_one_word_however_long_the_domain():
    sender = MailAddress("", "voicemail@" + ".".join(["d" * 60] * 3) + ".example")
    message = compose(voicemail(), mailbox(), sender, RECIPIENT, AUDIO)
    wanted = message_id(voicemail(), RECIPIENT.address, sender.domain)
    assert read(sent(message))["Message-ID"].strip() == wanted
    assert f"Message-ID: {wanted}".encode() in re.sub(rb"\r\n(?=[ \t])", b"", sent(message))


# --- who called --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "said"), [("pl", "numer zastrzeżony"), ("en", "number withheld")])
def test_a_withheld_caller_is_said_to_be_so(language, said):
    kept = voicemail(number="", withheld=True)
    mail = read(sent(compose(kept, mailbox(language=language), SENDER, RECIPIENT, AUDIO)))
    text, html, _ = parts(mail)
    assert said in mail["Subject"]
    assert said in text
    assert "tel:" not in html
    assert said.split()[1] in html
    assert "withheld" in mail.get_payload()[1].get_filename()


def test_a_named_caller_with_a_withheld_number_keeps_the_name():
    kept = voicemail(number="", name="Anna", withheld=True)
    text, html, _ = parts(read(sent(compose(kept, mailbox(), SENDER, RECIPIENT, AUDIO))))
    assert "Anna, numer zastrzeżony" in text
    assert "Anna" in html


@pytest.mark.parametrize(
    ("number", "shown", "link"),
    [
        ("48601234567", "+48 601 234 567", "tel:+48-601-234-567"),
        ("+48601234567", "+48 601 234 567", "tel:+48-601-234-567"),
        ("0048601234567", "+48 601 234 567", "tel:+48-601-234-567"),
        ("601234567", "+48 601 234 567", "tel:+48-601-234-567"),
        ("221234567", "+48 22 123 45 67", "tel:+48-22-123-45-67"),
        ("+442079460958", "+44 20 7946 0958", "tel:+44-20-7946-0958"),
        ("anna", "anna", ""),
        ("1001", "1001", "tel:1001"),
        ("112", "112", "tel:112"),
        ("*97", "*97", ""),
        ("٤٢", "٤٢", ""),
        ("", "", ""),
    ],
)
def test_a_number_is_shown_and_linked_in_its_international_form(number, shown, link):
    found = telephone(number, "PL")
    assert (found.shown, found.link) == (shown, link)


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
    text, html, _ = parts(read(sent(compose(kept, mailbox(language=language), SENDER, RECIPIENT, AUDIO))))
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
        (3_600_000, "60 min 0 s"),
    ],
)
def test_a_duration_is_said_in_minutes_and_seconds(ms, said):
    assert duration(ms) == said


@pytest.mark.parametrize("language", ["pl", "en"])
@pytest.mark.parametrize("ended_by", list(EndedBy))
def test_only_an_ending_that_cost_words_is_mentioned(language, ended_by):
    kept = voicemail(ended_by=ended_by)
    text, html, _ = parts(read(sent(compose(kept, mailbox(language=language), SENDER, RECIPIENT, AUDIO))))
    noted = {"pl": "Uwaga:", "en": "Note:"}[language] in text
    assert noted == (ended_by in {EndedBy.LIMIT, EndedBy.CUT})
    assert noted == ('class="note"' in html)
