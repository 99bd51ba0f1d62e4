"""A voicemail as a mail: well formed whatever a caller chose to be called, and known by its Message-ID."""

import re
from dataclasses import replace
from email import message_from_bytes, policy

import pytest
from fast_mail_parser import parse_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esl_voicemail.config.values import MailAddress, mail_address
from esl_voicemail.mail.headers import message_id
from esl_voicemail.mail.message import Attachment, file_name
from esl_voicemail.model import (
    TECHNICAL,
    CallResult,
    DeliveryState,
    EndedBy,
    Reason,
    Undelivered,
    one_line,
)
from tests.support.mails import (
    AUDIO,
    FAILED,
    OPERATOR,
    RECIPIENT,
    SENDER,
    TAGS,
    Page,
    attempt,
    bodies,
    bring,
    composed,
    empty,
    legacy,
    mailbox,
    names,
    notify,
    parts,
    read,
    report,
    right,
    sent,
    to_sort_by,
    voicemail,
    well_formed,
)

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


@pytest.mark.parametrize("undelivered", [None, FAILED], ids=["to a recipient", "to the operator"])
@pytest.mark.parametrize("kept", [voicemail(), empty(CallResult.NO_AUDIO)], ids=["audio", "no audio"])
def test_the_message_id_is_the_same_on_every_attempt_whatever_changes_between_them(kept, undelivered):
    first = attempt(kept, domain="example.com", undelivered=undelivered)
    another_from = MailAddress("", "voicemail@example.net")
    later = replace(undelivered, state=DeliveryState.QUEUED, code=None, reply="") if undelivered else None
    ids = {
        composed(first, mailbox(), SENDER, RECIPIENT)["Message-ID"],
        composed(replace(first, number=2), mailbox(), another_from, RECIPIENT)["Message-ID"],
        composed(replace(first, undelivered=later), mailbox(language="en"), SENDER, RECIPIENT)["Message-ID"],
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
