"""What a caller of a real switch may type: for a person, for his number, for a case, and to hear himself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import office as offices
from tests.live import speech
from tests.live import switch as switches
from tests.live.office import Office
from tests.live.switch import Switch, extension
from tests.support import service as services

NEAR = 0.4
PERSON = "(2[0-9]{3})"


@pytest.fixture(scope="module")
def exchange(prefix: Path, tmp_path_factory: pytest.TempPathFactory, service_port: int) -> Iterator[Switch]:
    """The office's switch, with a person at extension 2000."""
    person = extension(
        f"^{PERSON}$", ("answer", ""), ("log", "NOTICE person $1"), ("playback", switches.SILENCE)
    )
    dialplan = offices.dialplan(service_port) + person
    with switches.running(prefix, tmp_path_factory.mktemp("keys"), dialplan) as switch:
        yield switch


@pytest.fixture
def office(
    tmp_path: Path, exchange: Switch, telephones: Switch, service_port: int, storage: dict[str, Any]
) -> Iterator[Office]:
    settings = offices.settings(tmp_path, service_port, storage)
    for box in settings["mailboxes"].values():
        box |= {"operator": "2000 XML public", "review": True, "ask_number": True}
    office = Office(tmp_path, exchange, telephones, settings, services.start(tmp_path, settings))
    try:
        yield office
    finally:
        for switch in (telephones, exchange):
            switch.api("hupall")
        office.service.process.kill()
        office.service.process.wait()


def test_0_in_the_greeting_leads_to_a_person(office: Office) -> None:
    call = office.call()
    call.playing("greeting.wav")
    call.caller.press("0")
    said = call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "log")
    assert said.get("Application-Data") == "NOTICE person 2000"
    line = office.told(call.channel.uuid)
    print(line)
    assert line["result"] == "operator"
    assert said.get("variable_voicemail_result") == "operator"
    assert office.exchange.api(f"uuid_exists {call.channel.uuid}") == "true"


def test_digits_typed_while_speaking_are_mailed_and_end_nothing(office: Office) -> None:
    said = speech.words(4.0, seed=41)
    call = office.call()
    call.recording()
    call.caller.start_speaking(office.sound(said))
    for digit in "1742":
        call.caller.press(digit)
    call.channel.event("RECORD_START")
    call.caller.event("PLAYBACK_STOP", lambda event: event.get("Playback-File-Path").endswith(".wav"))
    call.caller.hang_up()
    message = office.message()
    print(message.fields, f"{message.seconds:.2f} s")
    assert message.fields["Digits typed"] == "1742"
    assert message.seconds > 2.0


def test_who_listens_hears_himself_and_who_records_again_is_heard_as_he_spoke_last(office: Office) -> None:
    first, second = speech.words(3.0, seed=42), speech.words(3.0, seed=43)
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(first))
    call.caller.press("#")
    call.playing("review.wav")
    call.caller.press("2")
    call.playing("sales.")
    call.caller.press("#")
    call.caller.press("3")
    again = call.channel.event("RECORD_START", lambda event: event.get("Record-File-Path").endswith(".2.wav"))
    call.caller.speak(office.sound(second, "again"))
    call.caller.press("#")
    call.channel.event("RECORD_STOP", lambda event: event.get("Record-File-Path").endswith(".2.wav"))
    call.caller.press("1")
    message = office.message()
    likeness, before = speech.likeness(second, message.audio), speech.likeness(first, message.audio)
    print(f"{again.get('Record-File-Path')} {message.seconds:.2f} s; like it {likeness:.3f}, {before:.3f}")
    assert abs(message.seconds - 3.0) < NEAR
    assert likeness > max(0.8, before)
    assert office.told(call.channel.uuid)["result"] == "recorded"


def test_who_hangs_up_at_the_review_has_left_his_message(office: Office) -> None:
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(speech.words(3.0, seed=44)))
    call.caller.press("#")
    call.playing("review.wav")
    call.caller.hang_up()
    assert abs(office.message().seconds - 3.0) < NEAR


def test_a_withheld_caller_leaves_his_number(office: Office) -> None:
    call = office.call(number="anonymous", name="Anonymous", origination_privacy="hide_number")
    call.playing("leave-number.wav")
    for digit in "601234567#":
        call.caller.press(digit)
    call.recording()
    call.caller.speak(office.sound(speech.words(3.0, seed=45)))
    call.caller.hang_up()
    message = office.message()
    print(message.fields)
    assert message.fields["Number left"] == "+48 601 234 567"
