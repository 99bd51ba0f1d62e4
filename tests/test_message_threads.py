"""How a mail is sorted, answered and threaded, and what its file is called."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings

from esl_voicemail.config import mailbox_of
from esl_voicemail.config.templates import Template
from esl_voicemail.config.values import MailAddress
from esl_voicemail.mail.message import Attachment, file_name
from esl_voicemail.model import (
    CallResult,
    one_line,
)
from tests.support.mails import (
    FAILED,
    OPERATOR,
    RECIPIENT,
    SENDER,
    attempt,
    bring,
    composed,
    empty,
    legacy_address,
    mailbox,
    names,
    notify,
    read,
    report,
    sent,
    voicemail,
    well_formed,
)

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
    mails.append(composed(by_hand, box, SENDER, RECIPIENT))
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
