"""The shipped dialplans in a stock FreeSWITCH: each condition, its mailbox, its reason and its greeting."""

import re
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from esl_voicemail.mail.words import REASONS
from esl_voicemail.model import Reason
from tests.live import office as offices
from tests.live import speech, stock
from tests.live import switch as switches
from tests.live.console import HOST, Event
from tests.live.office import NAME, NUMBER, Conversation, Message, Office
from tests.live.phone import ANSWERS, IS_DEAD, RINGS, Phone
from tests.live.switch import Leg, Switch, extension
from tests.support import dialplans
from tests.support import service as services

SAME, OTHER = 0.9, 0.6
BUSY, REJECTED, DO_NOT_DISTURB = 486, 603, 480
UNREGISTERED = "is not registered"
GREETING_SECONDS = 2.0
PHONES = ("1000", "1001", "1002")
GREETINGS = {reason: speech.words(GREETING_SECONDS, seed=200 + n) for n, reason in enumerate(Reason)}

# What nobody wants to wait for in a test, each file's own.
SHORTER = {
    "no-answer.xml": {"call_timeout=25": "call_timeout=3"},
    "busy.xml": {"call_timeout=25": "call_timeout=3"},
    "unavailable.xml": {
        "call_timeout=25": "call_timeout=6",
        "leg_progress_timeout=8": "leg_progress_timeout=2",
    },
    "queue-fifo.xml": {"_continue_:60": "_continue_:3"},
    "after-hours.xml": {"call_timeout=25": "call_timeout=3"},
    "company.xml": {
        "call_timeout=20": "call_timeout=3",
        "call_timeout=40": "call_timeout=5",
        "originate_timeout=25": "originate_timeout=3",
        "_continue_:60": "_continue_:3",
        "group_confirm_timeout=10": "group_confirm_timeout=3",
    },
}
HOURS = 'wday="2-6" time-of-day="08:00:00-15:59:59"'
OPEN = {HOURS: 'wday="1-7" time-of-day="00:00:00-23:59:59"', r' mon="\d+"': ' mon="13"'}


def closed() -> stock.Changes:
    """Business hours that are over now."""
    now = datetime.now(ZoneInfo("Europe/Warsaw"))
    first, last = now + timedelta(hours=2), now + timedelta(hours=3)
    return {**OPEN, HOURS: f'wday="1-7" time-of-day="{first:%H:%M:%S}-{last:%H:%M:%S}"'}


def holiday() -> stock.Changes:
    """Business hours that are on, on a public holiday that is today."""
    now = datetime.now(ZoneInfo("Europe/Warsaw"))
    last = r'(?s) mon="12" mday="24-26"(?= break="never">\s+<action application="set" data="\w+_closed=true")'
    return {last: f' month="{now.month}" mday="{now.day}"', **OPEN, ' month="': ' mon="'}


@dataclass
class Company(Office):
    """A stock FreeSWITCH with our dialplans, its telephones, and the service."""

    phones: dict[str, Phone]
    mobile: Phone

    def dial(self, number: str) -> Conversation:
        """Call a number from outside; what the caller hears from the answer on is recorded."""
        given = {
            "origination_caller_id_number": NUMBER,
            "origination_caller_id_name": NAME,
            "RECORD_READ_ONLY": "true",
            "execute_on_answer": f"record_session {self.folder / 'heard.wav'}",
        }
        caller = self.telephones.originate(self.exchange, number, **given)
        return Conversation(caller, self.exchange.channel_of(caller.uuid))

    def heard(self) -> "array[int]":
        """Return what the caller heard, once his call is over."""
        return speech.read((self.folder / "heard.wav").read_bytes())

    def let(self, does: str | int, *phones: str) -> None:
        """Let telephones, or all, treat calls so."""
        for name in phones or PHONES:
            phone = self.phones[name]
            phone.does = RINGS if does == UNREGISTERED else does
            phone.register(self.exchange.sip_port, 0 if does == UNREGISTERED else 300)

    def change(self, name: str, changes: stock.Changes) -> None:
        """Change a dialplan as an administrator would."""
        stock.drop_in(self.exchange.folder, name, {**self.ordinary(name), **changes})
        assert self.exchange.api("reloadxml").startswith("+OK")

    def ordinary(self, name: str) -> dict[str, str]:
        """Return the changes that every test makes."""
        return {"127.0.0.1:8084": str(self.settings["listen"]), **SHORTER.get(name, {})}


@pytest.fixture(scope="module")
def mobile() -> Iterator[Phone]:
    """The mobile telephone behind the gateway."""
    phone = Phone("48600000000")
    yield phone
    phone.close()


@pytest.fixture(scope="module")
def exchange(
    prefix: Path, tmp_path_factory: pytest.TempPathFactory, service_port: int, mobile: Phone
) -> Iterator[Switch]:
    """A stock FreeSWITCH with our dialplans, and the queue and agent that one of them shows."""
    installed = stock.configuration(prefix)
    if installed is None:
        pytest.skip(f"no stock configuration below {prefix}: put one into {stock.PLACES[0]}")
    folder = tmp_path_factory.mktemp("stock")
    more = stock.prepare(installed, folder, mobile.port, callcenter())
    with switches.running(
        prefix, folder, extension("^(.*)$", ("transfer", "$1 XML default")), more
    ) as switch:
        yield switch


def callcenter() -> str:
    """The settings that the dialplan's comment shows, with a queue that waits 3 seconds."""
    text = (stock.DIALPLANS / "queue-callcenter.xml").read_text()
    (queue,), (agent,), (tier,) = (dialplans.shown(text, element) for element in ("queue", "agent", "tier"))
    limited = queue.replace('name="max-wait-time" value="60"', 'name="max-wait-time" value="3"')
    assert limited != queue
    return (
        f'<configuration name="callcenter.conf"><settings/><queues>\n{limited}\n</queues><agents>\n{agent}\n'
        f"</agents><tiers>\n{tier}\n</tiers></configuration>"
    )


@pytest.fixture(scope="module")
def phones(exchange: Switch) -> Iterator[dict[str, Phone]]:
    """The telephones that the stock extensions are for."""
    found = {name: Phone(name) for name in PHONES}
    yield found
    for phone in found.values():
        phone.close()


@pytest.fixture
def company(
    tmp_path: Path,
    exchange: Switch,
    telephones: Switch,
    service_port: int,
    phones: dict[str, Phone],
    mobile: Phone,
) -> Iterator[Company]:
    """Everything, with a service of the test's own."""
    settings = {**offices.settings(tmp_path, service_port, {}), "mailboxes": mailboxes(tmp_path)}
    service = services.start(tmp_path, settings)
    company = Company(tmp_path, exchange, telephones, settings, service, phones, mobile)
    try:
        for path in stock.DIALPLANS.glob("*.xml"):
            company.change(path.name, {})
        company.let(RINGS)
        mobile.does = RINGS
        yield company
    finally:
        for switch in (telephones, exchange):
            switch.api("hupall")
        company.service.process.kill()
        company.service.process.wait()
        for phone in (*phones.values(), mobile):
            phone.calls.clear()


def mailboxes(folder: Path) -> dict[str, Any]:
    """The mailboxes that the dialplans name, each reason with a greeting of its own."""
    greetings = {
        str(reason): str(speech.write(folder / f"{reason}.wav", said)) for reason, said in GREETINGS.items()
    }
    return {
        name: {"name": name.title(), "recipients": [f"{name}@example.com"], "greetings": greetings}
        for name in ("default", "sales", "service", "urgent")
    } | {
        "made": {
            "name": "Made",
            "recipients": ["made@example.com"],
            "numbers": ["48221234567"],
            "greetings": greetings,
        }
    }


def check(company: Company, call: Conversation, mailbox: str, reason: Reason, said: "array[int]") -> Message:
    """The one mail is for that mailbox, names that reason, and the caller heard the greeting for it."""
    message = company.message(60)
    line = company.told(call.channel.uuid)
    heard = company.heard()
    alike = {str(one): speech.same_wave(greeting, heard) for one, greeting in GREETINGS.items()}
    print(
        f"mail to {message.mail['To']}: {message.fields['Reason']}; "
        f"said={speech.same_wave(said, message.audio):.3f}; greeting heard: "
        + ", ".join(f"{one} {likeness:.3f}" for one, likeness in alike.items())
    )
    assert (line["result"], line["mailbox"], line["reason"]) == ("recorded", mailbox, reason)
    assert message.mail["To"] == f"{mailbox}@example.com"
    assert message.fields["Mailbox"] == mailbox.title()
    waited = reason is Reason.QUEUE_TIMEOUT
    assert message.fields["Reason"].startswith("waited " if waited else REASONS["en"][reason])
    assert speech.same_wave(said, message.audio) > SAME
    assert alike.pop(reason) > SAME
    assert max(alike.values()) < OTHER
    return message


def leave(company: Company, number: str, mailbox: str, reason: str) -> Message:
    """Call a number and leave a message; it must come to that mailbox for that reason."""
    said = speech.words(2.0, seed=50)
    call = company.dial(number)
    call.recording(60)
    call.caller.speak(company.sound(said))
    call.caller.hang_up()
    message = check(company, call, mailbox, Reason(reason), said)
    assert re.sub(r"[+ ]", "", message.fields["Dialled number"]) == number
    return message


def executed(channel: Leg, application: str) -> list[Event]:
    """Return when the switch executed an application."""
    return [event for event in channel.events("CHANNEL_EXECUTE") if event.get("Application") == application]


def not_ours(company: Company, call: Conversation) -> str:
    """The call ends without having come to the service; return how."""
    cause = call.caller.ended(60).get("Hangup-Cause")
    call.channel.ended()
    print(f"the caller's call ended with {cause}; the service had none")
    company.no_mail()
    assert not executed(call.channel, "socket")
    assert company.service.lines("call") == []
    return cause


@pytest.mark.parametrize(
    ("number", "does", "reason"),
    [
        ("61000", RINGS, "no-answer"),
        ("61000", BUSY, "busy"),
        ("61000", REJECTED, "busy"),
        ("61000", DO_NOT_DISTURB, "unavailable"),
        ("61000", UNREGISTERED, "unavailable"),
        ("61000", IS_DEAD, "no-answer"),  # it is registered, so the switch cannot tell
        ("62000", BUSY, "busy"),
        ("62000", REJECTED, "busy"),
        ("63000", UNREGISTERED, "unavailable"),
        ("63000", DO_NOT_DISTURB, "unavailable"),
        ("63000", 404, "unavailable"),
        ("63000", 503, "unavailable"),
        ("63000", IS_DEAD, "unavailable"),
    ],
)
def test_a_call_that_no_telephone_takes_comes_to_the_mailbox_with_its_reason(
    company: Company, number: str, does: str | int, reason: str
) -> None:
    company.let(does)
    leave(company, number, "default", reason)


@pytest.mark.parametrize(
    ("number", "does", "cause"),
    [
        ("62000", RINGS, "NO_ANSWER"),
        ("62000", UNREGISTERED, "USER_NOT_REGISTERED"),
        ("63000", RINGS, "NO_ANSWER"),
        ("63000", BUSY, "USER_BUSY"),
    ],
)
def test_what_a_dialplan_is_not_for_ends_as_without_voicemail(
    company: Company, number: str, does: str | int, cause: str
) -> None:
    company.let(does)
    call = company.dial(number)
    not_ours(company, call)
    assert call.channel.ended().get("Hangup-Cause") == cause


@pytest.mark.parametrize("phone", [BUSY, UNREGISTERED, RINGS])
def test_whom_a_callcenter_queue_kept_3_of_3_seconds_leaves_a_message_that_says_so(
    company: Company, phone: str | int
) -> None:
    company.let(phone)
    message = leave(company, "64000", "service", "queue-timeout")
    print(message.fields["Reason"])
    said = re.fullmatch(r"waited (\d+) s in the queue support", message.fields["Reason"])
    assert said
    assert 3 <= int(said[1]) <= 5


def test_whom_a_fifo_kept_3_of_3_seconds_leaves_a_message_that_says_so(company: Company) -> None:
    message = leave(company, "65000", "sales", "queue-timeout")
    print(message.fields["Reason"])
    said = re.fullmatch(r"waited (\d+) s in the queue sales", message.fields["Reason"])
    assert said
    assert 3 <= int(said[1]) <= 5


@pytest.mark.parametrize("why", [closed, holiday], ids=["by_the_hours", "by_a_holiday"])
def test_of_a_closed_office_no_telephone_rings_and_the_caller_hears_so(company: Company, why: Any) -> None:
    company.change("after-hours.xml", why())
    leave(company, "66000", "sales", "after-hours")
    assert not company.phones["1000"].calls


def test_of_an_open_office_a_telephone_rings_first(company: Company) -> None:
    company.change("after-hours.xml", OPEN)
    leave(company, "66000", "sales", "no-answer")
    assert company.phones["1000"].calls


def test_straight_to_voicemail(company: Company) -> None:
    leave(company, "67000", "default", "direct")
    assert not company.phones["1000"].calls


@pytest.mark.parametrize(
    ("number", "hours", "does", "mailbox", "reason"),
    [
        ("68100", OPEN, RINGS, "sales", "no-answer"),
        ("68100", OPEN, BUSY, "sales", "busy"),
        ("68100", closed(), RINGS, "sales", "after-hours"),
        ("68200", OPEN, RINGS, "service", "queue-timeout"),
        ("68200", closed(), RINGS, "service", "after-hours"),
        ("68300", closed(), RINGS, "urgent", "no-answer"),
        ("68300", closed(), UNREGISTERED, "urgent", "unavailable"),
    ],
    ids=["sales", "sales_busy", "sales_closed", "service", "service_closed", "urgent", "urgent_unavailable"],
)
def test_the_example_company(
    company: Company, number: str, hours: stock.Changes, does: str | int, mailbox: str, reason: str
) -> None:
    company.change("company.xml", hours)
    company.let(does)
    message = leave(company, number, mailbox, reason)
    called = {name for name, phone in company.phones.items() if phone.calls}
    if number == "68100":
        assert called == (set() if reason == "after-hours" else {"1000", "1001"})
    if number == "68300":
        assert company.mobile.calls
        assert called == (set() if does == UNREGISTERED else set(PHONES))
    if reason == "queue-timeout":
        assert re.fullmatch(r"waited [3-5] s in the queue service", message.fields["Reason"])


def test_a_mobile_networks_voicemail_that_answers_does_not_keep_the_urgent_call(company: Company) -> None:
    company.mobile.does = ANSWERS
    leave(company, "68300", "urgent", "no-answer")
    assert company.mobile.calls
    assert company.phones["1002"].calls


def test_who_presses_1_on_the_mobile_telephone_has_the_urgent_call(company: Company) -> None:
    company.mobile.does = ANSWERS
    call = company.dial("68300")
    company.mobile.rung()
    call.caller.event("CHANNEL_CREATE")
    for _ in range(10):
        if call.channel.events("CHANNEL_ANSWER"):
            break
        company.mobile.press(1)
    talked(company, call, company.mobile)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"])
def test_a_dialplan_made_for_a_mailbox_works_as_it_is_printed(company: Company, host: str) -> None:
    company.service.stop()
    company.settings["listen"] = company.settings["listen"].replace(HOST, host)
    company.restart()
    made = services.command("dialplan", "made", "--on", "busy", "direct", folder=company.folder)
    assert (made.returncode, made.stderr) == (0, "")
    file = company.exchange.folder / "conf" / "dialplan" / "default" / "made.xml"
    file.write_text(made.stdout)
    try:
        assert company.exchange.api("reloadxml").startswith("+OK")
        company.let(BUSY)
        leave(company, "48221234567", "made", "busy")
    finally:
        file.unlink()


def test_freeswitch_alone_can_place_the_set_up_guides_first_call(company: Company) -> None:
    guide = (stock.DIALPLANS.parent / "docs" / "setup.md").read_text()
    shown = re.search(r'fs_cli -x "(originate .*loopback/67000/.*playback)\(.*\)"', guide)
    assert shown
    said = company.sound(speech.words(6.0, seed=70))
    company.exchange.api(f"bgapi {shown[1].replace('+30', '+12')}({said})")
    message = company.message(60)
    print(f"mail to {message.mail['To']}: {message.fields['Reason']}, {message.fields['Duration']}")
    assert (message.fields["Mailbox"], message.fields["Reason"]) == ("Default", "called voicemail directly")
    assert message.seconds > 5


def talked(company: Company, call: Conversation, phone: Phone) -> None:
    """The call is answered; when the one who took it hangs up, that is all."""
    call.channel.event("CHANNEL_ANSWER", seconds=20)
    call.caller.event("CHANNEL_ANSWER")
    time.sleep(1)  # they talk
    phone.hang_up()
    assert not_ours(company, call) == "NORMAL_CLEARING"
    assert not executed(call.channel, "voicemail")


@pytest.mark.parametrize("number", ["61000", "62000", "63000", "64000", "66000", "68100", "68300"])
def test_a_call_that_is_answered_never_comes_to_the_service(company: Company, number: str) -> None:
    company.change("after-hours.xml", OPEN)
    company.change("company.xml", OPEN)
    company.mobile.does = BUSY
    company.let(BUSY)
    company.let(ANSWERS, "1000")
    call = company.dial(number)
    company.phones["1000"].rung(seconds=30)
    talked(company, call, company.phones["1000"])


@pytest.mark.parametrize(("queue", "agent"), [("65000", "65001"), ("68200", "68201")])
@pytest.mark.parametrize("first", ["agent", "caller"])
def test_who_is_taken_from_a_fifo_never_comes_to_the_service(
    company: Company, queue: str, agent: str, first: str
) -> None:
    company.change("company.xml", OPEN)
    call = company.dial(queue)
    call.channel.event("CHANNEL_ANSWER")
    taker = company.telephones.originate(company.exchange, agent)
    taken = company.exchange.channel_of(taker.uuid)
    services.until(
        lambda: company.exchange.api(f"uuid_getvar {taken.uuid} bridge_uuid") == call.channel.uuid,
        "they talk",
    )
    (taker if first == "agent" else call.caller).hang_up()
    assert not_ours(company, call) == "NORMAL_CLEARING"
    taker.ended()


@pytest.mark.parametrize(
    ("number", "does", "last"),
    [
        ("61000", RINGS, "voicemail"),
        ("62000", BUSY, "voicemail"),
        ("63000", UNREGISTERED, "voicemail"),
        ("64000", BUSY, "playback"),
        ("65000", RINGS, "playback"),
        ("66000", RINGS, "voicemail"),
        ("67000", RINGS, "playback"),
        ("68100", BUSY, "playback"),
        ("68200", BUSY, "playback"),
        ("68300", BUSY, "playback"),
    ],
)
def test_with_the_service_stopped_the_caller_is_not_left_in_silence(
    company: Company, number: str, does: str | int, last: str
) -> None:
    company.let(does)
    company.mobile.does = BUSY
    assert company.service.stop() == 0
    call = company.dial(number)
    call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "socket", 60)
    call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == last)
    if last == "voicemail":
        call.channel.event("RECORD_START")
        call.caller.hang_up()
    cause = call.caller.ended().get("Hangup-Cause")
    loud = [one for one in speech.loudness(company.heard()) if one > 300]
    print(f"{last}: the caller heard {len(loud) * 0.02:.2f} s of sound, and {cause}")
    assert len(loud) * 0.02 > 0.5
    assert last == "voicemail" or cause == "NORMAL_TEMPORARY_FAILURE"


def test_no_number_of_ours_is_taken_by_the_stock_dialplan(exchange: Switch) -> None:
    """Files of ours come last: what stands before them must let their numbers pass."""
    stock_files = [exchange.folder / "conf/dialplan/default.xml"]
    ours = {path.name for path in stock.DIALPLANS.glob("*.xml")}
    stock_files += [
        path for path in (exchange.folder / "conf/dialplan/default").glob("*.xml") if path.name not in ours
    ]
    expressions = [
        found
        for path in stock_files
        for found in re.findall(r'destination_number" expression="([^"]+)"', path.read_text())
        if found != "^(.*)$"
    ]
    numbers = [f"6{kind}{n:03}" for kind in "123" for n in range(20)]
    numbers += ["64000", "65000", "65001", "66000", "67000", "68100", "68200", "68201", "68300"]
    numbers += ["company-voicemail"]
    taken = [(number, found) for number in numbers for found in expressions if re.search(found, number)]
    assert len(expressions) > 60
    assert taken == []
