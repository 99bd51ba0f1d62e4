"""What a mail says: who called, when, for how long, how it was recorded, and how often he did."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import phonenumbers
import pytest
from hypothesis import given, settings

from esl_voicemail.mail.forms import duration, duration_words, moment, telephone
from esl_voicemail.mail.words import ENDINGS
from esl_voicemail.model import (
    CallResult,
    Content,
    EarlierCall,
    EndedBy,
    Hearing,
    Reason,
    Voicemail,
    one_line,
)
from tests.support.mails import (
    RECIPIENT,
    SENDER,
    TAGS,
    WARSAW,
    Page,
    attempt,
    bodies,
    bring,
    composed,
    empty,
    mailbox,
    names,
    notify,
    parts,
    read,
    right,
    sent,
    to_sort_by,
    voicemail,
    well_formed,
)

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


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_a_link_is_what_the_standard_makes_of_a_number_of_any_country(region):
    example = phonenumbers.example_number(region)
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    link = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.RFC3966)
    assert telephone(number, "PL").link == link


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
    mail = composed(
        told, mailbox(language=language), SENDER, RECIPIENT, left_out="/var/spool/vm/sales.01.wav"
    )
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
