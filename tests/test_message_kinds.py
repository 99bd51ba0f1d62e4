"""What a mail is about: a call that left no audio, one that somebody was not told of; text and HTML alike."""

import re
from dataclasses import replace
from email.message import EmailMessage

import pytest

from esl_voicemail.model import (
    TECHNICAL,
    CallResult,
    DeliveryState,
    EndedBy,
    Reason,
    Undelivered,
)
from tests.support.mails import (
    FAILED,
    OPERATOR,
    RECIPIENT,
    SENDER,
    Page,
    bodies,
    bring,
    empty,
    head,
    lines,
    mailbox,
    notify,
    read,
    report,
    right,
    sent,
    to_sort_by,
    voicemail,
    well_formed,
)

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
        plain = lines(text).replace("--\n", "")
        assert re.sub(r"[\s:]", "", plain) == re.sub(r"[\s:]", "", shown)
