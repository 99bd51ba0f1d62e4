"""Callers who hang up, hide, say nothing or mean harm."""

import re
import time
from email import message_from_bytes, policy

import pytest

from tests.live import speech
from tests.live.office import Office

SECRET = "48609876543"


def check_trace(office: Office, channel: str, result: str) -> dict[str, str]:
    """The call left its line and its count, and nothing else."""
    line = office.told(channel)
    assert line["result"] == result, line
    office.no_mail()
    assert office.counted(result) == 1
    assert office.service.metric('voicemail_messages_total{mailbox="sales",state="kept"}') == 0
    return line


@pytest.mark.parametrize("sound", ["greeting.wav", "tone_stream:"], ids=["greeting", "beep"])
def test_hanging_up_before_the_recording_is_counted_and_mails_nothing(office: Office, sound: str) -> None:
    call = office.call()
    call.playing(sound)
    call.caller.hang_up()
    call.channel.ended()
    line = check_trace(office, call.channel.uuid, "hangup_in_greeting")
    assert not call.channel.events("RECORD_START")
    print(line)


def test_hanging_up_before_the_answer_is_counted_and_mails_nothing(office: Office) -> None:
    with office.journal_busy(), office.sip_call() as caller:
        channel = office.exchange.channel_of(caller.mark)
        channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "socket")
        caller.cancel()
        channel.ended()
    line = check_trace(office, channel.uuid, "hangup_before_answer")
    assert not channel.events("CHANNEL_ANSWER")
    print(line)


def test_hanging_up_right_after_the_beep_is_counted_and_mails_nothing(office: Office) -> None:
    call = office.call()
    call.recording()
    call.caller.hang_up()
    line = office.told(call.channel.uuid)
    office.no_mail()
    assert line["result"] in {"too_short", "no_audio"}
    print(line)


@pytest.mark.parametrize("mailbox", ["short", "quiet"], ids=["by_the_limit", "by_the_silence"])
def test_a_caller_who_sends_no_audio_is_counted_not_mailed_and_let_go(office: Office, mailbox: str) -> None:
    with office.sip_call(mailbox) as caller:
        began = time.monotonic()
        caller.answered()
        caller.wait_for_bye(30)
        took = time.monotonic() - began
        channel = office.exchange.channel_of(caller.mark)
    line = office.told(channel.uuid)
    assert line["result"] == "no_audio", line
    office.no_mail()
    assert office.counted("no_audio", mailbox) == 1
    print(f"let go after {took:.1f} s; {line}")


HOSTILE = (
    b'"Eve\\"%0AX-Evil: 1%0D%0ABcc: all@example.com <b>bold</b> {{7*7}} ${uuid} $${domain} \xf0\x9f\x98\x80" '
    b"<sip:eve%0Avariable_voicemail_mailbox%3A%20other%0ACaller-Caller-ID-Name%3A%20Boss@127.0.0.1>"
)


def test_a_hostile_caller_plants_nothing(office: Office) -> None:
    said = speech.words(9.0, seed=11)
    with office.sip_call(
        "sales",
        HOSTILE,
        b"X-Note: a%0Avariable_voicemail_mailbox: other",
        b"X-Evil: ${system(id)}%0A%0Asendmsg%0Acall-command: hangup",
        b"User-Agent: x%0AUnique-ID: evil%0AContent-Type: text/disconnect-notice",
        b"Subject: \xe2\x80\xa8<script>alert(1)</script>",
    ) as caller:
        caller.answered()
        caller.talk(speech.alaw(said))
        caller.hang_up()
        channel = office.exchange.channel_of(caller.mark)
        channel.ended()
    message = office.message()
    line = office.told(channel.uuid)
    assert (line["result"], line["mailbox"]) == ("recorded", "sales")
    assert message.fields["Mailbox"] == "Sales"
    assert office.counted("recorded", "other") == 0
    check_mail_intact(message.mail.as_bytes())
    html = message.mail.get_body(("html",)).get_content()
    print(line, dict(message.mail.items()), message.fields, sep="\n")
    assert "<b>" not in html
    assert "49" not in message.who
    assert message.text.splitlines()[3].startswith("New voicemail, ")
    assert speech.same_wave(said, message.audio) > 0.9
    lines = office.service.log.splitlines()
    assert all(found.startswith("ts=") for found in lines)
    assert len([found for found in lines if " event=call " in found]) == 1
    assert not [found for found in lines if " level=error " in found]


def check_mail_intact(raw: bytes) -> None:
    """A mail has exactly the headers we write, each once."""
    mail = message_from_bytes(raw, policy=policy.default)
    ours = {
        "return-path", "delivered-to", "subject", "from", "to", "date", "message-id",
        "auto-submitted", "x-auto-response-suppress", "message-context", "mime-version", "content-type",
        "x-voicemail-kind", "x-voicemail-mailbox", "x-voicemail-reason", "x-voicemail-caller",
        "x-voicemail-duration", "x-voicemail-message", "x-voicemail-call",
    }  # fmt: skip
    names = [name.lower() for name in mail]
    assert sorted(names) == sorted(ours)
    assert not mail.defects
    assert mail["To"] == "sales@example.com"


def check_nowhere(office: Office, number: str) -> None:
    """Neither the mail, nor the journal, nor the log holds a number, however it is written."""
    digits = re.compile(rb"[ .-]?".join(bytes([digit]) for digit in number.encode()))
    searched = [path for path in office.folder.rglob("*") if path.is_file() and path.suffix != ".wav"]
    assert {"log", "journal.sqlite"} <= {path.name for path in searched}
    for path in searched:
        assert not digits.search(path.read_bytes()), path
    for mail in office.service.mails():
        for part in mail.walk():
            assert part.is_multipart() or not digits.search(part.get_payload(decode=True))


def test_a_withheld_number_stands_nowhere_though_the_network_told_it(office: Office) -> None:
    said = speech.words(8.0, seed=12)
    with office.sip_call(
        "sales",
        b'"Anonymous" <sip:anonymous@anonymous.invalid>',
        b'P-Asserted-Identity: "Secret Caller" <sip:+%b@127.0.0.1>' % SECRET.encode(),
        b"Privacy: id",
    ) as caller:
        caller.answered()
        caller.talk(speech.alaw(said))
        caller.hang_up()
        channel = office.exchange.channel_of(caller.mark)
    # It is a test of the service only if the switch knew the number.
    assert SECRET in channel.event("CHANNEL_CREATE").get("Caller-Caller-ID-Number")
    message = office.message()
    assert office.told(channel.uuid)["caller"] == "withheld"
    print(message.fields, message.mail["Subject"])
    assert (message.who, message.fields["Number"]) == ("Number withheld", "withheld")
    check_nowhere(office, SECRET[2:])


def test_a_caller_whose_switch_hides_the_number_is_withheld(office: Office) -> None:
    call = office.call(number=f"+{SECRET}", name="Secret Caller", origination_privacy="hide_number:hide_name")
    call.recording()
    call.caller.speak(office.sound(speech.words(2.0, seed=13)))
    call.caller.hang_up()
    message = office.message()
    created = call.channel.event("CHANNEL_CREATE")
    print(created.get("Caller-Caller-ID-Number"), created.get("Caller-Privacy-Hide-Number"), message.fields)
    assert (message.who, message.fields["Number"]) == ("Number withheld", "withheld")
    check_nowhere(office, SECRET[2:])
    assert "Secret" not in message.text
