"""The dialplan made for a mailbox, and the shipped ones' clock: what FreeSWITCH would read in them."""

import re
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.causes import CAUSES
from esl_voicemail.config import Mailbox
from esl_voicemail.config.load import load
from esl_voicemail.config.values import Address
from esl_voicemail.dialplan import REASONS, USUAL, dialplan, expression
from esl_voicemail.esl.arrival import read_call
from esl_voicemail.esl.frames import Headers
from esl_voicemail.hours import ClosedDays, Span, is_open, parse_closed, parse_week
from esl_voicemail.model import MAILBOX_NAME
from tests.support import dialplans
from tests.support.service import command

ROOT = Path(__file__).parent.parent
LOCAL = Address("127.0.0.1", 8084)
TODAY = date(2026, 3, 2)
USAGE, BAD_CONFIG = 64, 78

CONFIG = """\
listen: 0.0.0.0:9000
mailboxes:
  default: {recipients: [a@example.com]}
  sales:
    name: "Dział <sprzedaży> -- & „spółka”"
    recipients: [a@example.com]
    numbers: ["48221234567", "+48221234568"]
    hours: {mon-fri: "08:00-16:00"}
    holidays: PL
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    (folder / "voicemail.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def sales(folder: Path) -> Mailbox:
    return load(folder / "voicemail.yaml").mailboxes["sales"]


def places(text: str) -> list[str]:
    """The expressions of the dialled numbers, in order, each once."""
    found = [
        one.get("expression", "")
        for one in dialplans.parse(text).iter("condition")
        if one.get("field") == "destination_number"
    ]
    return list(dict.fromkeys(found))


NUMBERS = r"^\+?(?:48221234567|48221234568)$"


@pytest.mark.parametrize(
    ("reasons", "extensions", "where"),
    [
        (USUAL, ["ring"], [NUMBERS]),
        (("busy",), ["ring"], [NUMBERS]),
        (("queue-timeout",), ["queue"], [NUMBERS]),
        (("after-hours",), ["hours", "closed"], [NUMBERS]),
        (("direct",), ["direct"], [NUMBERS]),
        (("after-hours", "no-answer"), ["hours", "closed", "ring"], [NUMBERS]),
        (("direct", "after-hours"), ["hours", "closed", "direct"], [NUMBERS]),
        (
            REASONS,
            ["hours", "closed", "ring", "queue", "direct"],
            [NUMBERS, r"^voicemail\-sales\-queue$", r"^voicemail\-sales\-direct$"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_each_reason_has_its_part_and_each_number_one_use(
    sales: Mailbox, reasons: tuple[str, ...], extensions: list[str], where: list[str]
) -> None:
    text = dialplan(sales, LOCAL, reasons, today=TODAY)
    found = [one.get("name") for one in dialplans.parse(text).iter("extension")]
    assert found == [f"voicemail-sales-{name}" for name in extensions]
    assert places(text) == where
    assert text == dialplan(sales, LOCAL, reasons[::-1], today=TODAY)


@pytest.mark.parametrize("reason", USUAL)
def test_the_causes_that_go_on_are_those_of_the_reason_and_are_read_so(sales: Mailbox, reason: str) -> None:
    (executed,) = dialplans.hand_overs(dialplans.parse(dialplan(sales, LOCAL, [reason], today=TODAY)))
    causes = dialplans.variables(executed)["continue_on_fail"].split(",")
    assert causes == list(CAUSES[reason])
    for cause in causes:
        said = Headers(f"Unique-ID: u-1\nvariable_voicemail_reason: {cause}\n".encode())
        assert read_call(said, sales, datetime.now(sales.timezone)).reason == reason


@pytest.mark.parametrize(
    ("key", "said"), [("a-b", "a-b"), ("a--b", "a- -b"), ("a---", "a- - -"), ("a-", "a-")]
)
def test_the_comment_holds_any_key(sales: Mailbox, key: str, said: str) -> None:
    text = dialplan(replace(sales, key=key), LOCAL, today=TODAY)
    assert f"the mailbox {said} (" in text
    executed = dialplans.hand_overs(dialplans.parse(text))[0]
    assert dialplans.variables(executed)["voicemail_mailbox"] == key


def test_without_numbers_there_is_a_place_to_transfer_to(sales: Mailbox) -> None:
    text = dialplan(replace(sales, numbers=()), LOCAL, ("direct",), today=TODAY)
    assert places(text) == [r"^voicemail\-sales$"]
    assert "<!-- CHANGE: the number; as it is, a place to transfer calls to. -->" in text


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        (Address("127.0.0.1", 8084), "127.0.0.1:8084"),
        (Address("10.1.2.3", 9000), "10.1.2.3:9000"),
        (Address("voice.example.com", 8084), "voice.example.com:8084"),
        (Address("0.0.0.0", 8084), "127.0.0.1:8084"),
        (Address("::", 8084), "127.0.0.1:8084"),
        (Address("::1", 8084), "::1:8084"),  # FreeSWITCH takes the last colon and knows no brackets
    ],
    ids=str,
)
def test_the_switch_is_told_an_address_that_it_can_reach(
    sales: Mailbox, listen: Address, reached: str
) -> None:
    text = dialplan(sales, listen, ("direct",), today=TODAY)
    (executed,) = dialplans.hand_overs(dialplans.parse(text))
    assert ("socket", f"{reached} async full") in executed
    assert ("listens on every address" in text) == (listen.host in {"0.0.0.0", "::"})


REACHED = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}
TIMES = st.times().map(lambda one: one.replace(second=0, microsecond=0))
WEEKS = st.tuples(*[st.lists(st.builds(Span, TIMES, TIMES), max_size=2).map(tuple)] * 7)


@given(
    key=st.from_regex(MAILBOX_NAME, fullmatch=True)
    | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}--[a-z0-9_-]{0,9}", fullmatch=True),
    name=st.text(max_size=40),
    numbers=st.lists(st.from_regex(r"\+?[0-9A-Za-z_.*#-]{1,40}", fullmatch=True), max_size=3),
    host=st.sampled_from(sorted(REACHED))
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20),
    port=st.integers(1, 65535),
    week=st.none() | WEEKS,
    holidays=st.sampled_from([None, "PL"]),
    reasons=st.sets(st.sampled_from(REASONS), min_size=1),
)
def test_any_mailbox_gives_xml_that_reads_back_to_the_same_values(
    sales: Mailbox,
    key: str,
    name: str,
    numbers: list[str],
    host: str,
    port: int,
    week: tuple[tuple[Span, ...], ...] | None,
    holidays: str | None,
    reasons: set[str],
) -> None:
    mailbox = replace(sales, key=key, name=name, numbers=tuple(numbers), week=week, holidays=holidays)
    text = dialplan(mailbox, Address(host, port), reasons, today=TODAY)
    root = dialplans.parse(text)
    for executed in dialplans.hand_overs(root):
        assert dialplans.variables(executed)["voicemail_mailbox"] == key
        (address,) = (data for application, data in executed if application == "socket")
        assert address == f"{REACHED.get(host, host)}:{port} async full"
    first = places(text)[0]
    for number in numbers:
        bare = number.removeprefix("+")
        assert re.search(first, bare)
        assert re.search(first, f"+{bare}")
        assert first == expression(numbers)
    said = {dialplans.variables(executed)["voicemail_reason"] for executed in dialplans.hand_overs(root)}
    bridged = {"${originate_disposition}"} if reasons & set(USUAL) else set()
    assert said == bridged | (reasons - set(USUAL))
    assert not re.search(r"X-PRE-PROCESS|<!--#|<\?", text, re.IGNORECASE)
    assert [line for line in text.splitlines() if "include>" in line] == ["<include>", "</include>"]


@given(
    number=st.from_regex(r"\+?[0-9A-Za-z_.*#-]{1,40}", fullmatch=True),
    other=st.from_regex(r"\+?[0-9A-Za-z_.*#-]{1,40}", fullmatch=True),
)
def test_an_expression_matches_its_number_and_no_other(number: str, other: str) -> None:
    matched = re.search(expression([number]), other) is not None
    assert matched == (number.removeprefix("+") == other.removeprefix("+"))


def test_a_dialplan_made_for_a_mailbox_is_as_safe_as_the_shipped_ones(sales: Mailbox) -> None:
    for n in range(1, 2 ** len(REASONS)):
        reasons = [reason for bit, reason in enumerate(REASONS) if n >> bit & 1]
        assert dialplans.problems(dialplans.parse(dialplan(sales, LOCAL, reasons, today=TODAY))) == []


@given(
    week=WEEKS, moment=st.builds(datetime.combine, st.dates(date(2026, 1, 1), date(2030, 12, 31)), st.times())
)
def test_its_clock_agrees_with_the_mailboxs_hours(
    sales: Mailbox, week: tuple[tuple[Span, ...], ...], moment: datetime
) -> None:
    mailbox = replace(sales, week=week, holidays=None)
    root = dialplans.parse(dialplan(mailbox, LOCAL, ("after-hours",), today=TODAY))
    hours = next(iter(root.iter("extension")))
    assert dialplans.closed(hours, moment) == (not is_open(week, None, moment))


DATED = st.builds(
    lambda first, days: ClosedDays(first, first + timedelta(days)),
    st.dates(date(2025, 12, 1), date(2027, 12, 31)),
    st.integers(0, 366),
)
YEARLY = st.builds(
    lambda first, last: ClosedDays(first, last, yearly=True),
    *[st.dates(date(2000, 1, 1), date(2000, 12, 31))] * 2,
)


@given(
    closed=st.lists(DATED | YEARLY, max_size=3),
    country=st.sampled_from([None, "PL", "US"]),
    day=st.dates(TODAY, date(2027, 12, 31)),
    at=st.sampled_from([time(), time(7, 59, 59), time(8), time(15, 59, 59), time(16), time(23, 59, 59)]),
)
def test_its_clock_knows_holidays_and_closed_days(
    sales: Mailbox, closed: list[ClosedDays], country: str | None, day: date, at: time
) -> None:
    week = parse_week({"mon-sun": "08:00-16:00"})
    mailbox = replace(sales, week=week, holidays=country, closed=tuple(closed))
    text = dialplan(mailbox, LOCAL, ("after-hours",), today=TODAY)
    moment = datetime.combine(day, at)
    hours = next(iter(dialplans.parse(text).iter("extension")))
    assert dialplans.closed(hours, moment) == (not is_open(week, country, moment, closed))
    assert text == dialplan(mailbox, LOCAL, ("after-hours",), today=TODAY)


@pytest.mark.parametrize(
    ("days", "conditions"),
    [
        ("2026-12-24", ['year="2026" mon="12" mday="24"']),
        ("12-24", ['mon="12" mday="24"']),
        ("02-29", ['mon="2" mday="29"']),
        ("12-30..01-02", ['mon="1" mday="1-2"', 'mon="12" mday="30-31"']),
        ("2026-12-30..2027-01-02", ['year="2026" mon="12" mday="30-31"', 'year="2027" mon="1" mday="1-2"']),
        ("2026-03-01", []),
        ("2026-03-01..2026-03-02", ['year="2026" mon="3" mday="1-2"']),
    ],
)
def test_a_closed_day_is_a_condition_unless_it_is_past(
    sales: Mailbox, days: str, conditions: list[str]
) -> None:
    mailbox = replace(sales, holidays=None, closed=(parse_closed(days),))
    text = dialplan(mailbox, LOCAL, ("after-hours",), today=TODAY)
    assert re.findall(r'<condition ((?:year="\d+" )?mon=.*) break="never">', text) == conditions
    assert "CHANGE" not in text.partition("-->")[2].partition("</extension>")[0]


def test_what_its_clock_cannot_know_is_to_be_changed(sales: Mailbox) -> None:
    text = dialplan(sales, LOCAL, ("after-hours",), today=TODAY)
    assert "<!-- The public holidays of PL. CHANGE: add those after 2027. -->" in text
    ages = replace(sales, closed=(parse_closed("2026-12-01..2099-12-31"),))
    text = dialplan(ages, LOCAL, ("after-hours",), today=TODAY)
    assert "<!-- CHANGE: add the closed days 2026-12-01..2099-12-31. -->" in text
    night = replace(sales, week=parse_week({"fri": "22:00-06:00"}))
    text = dialplan(night, LOCAL, ("after-hours",), today=TODAY)
    assert "<!-- CHANGE: hours past midnight: this closes at midnight before such a day. -->" in text


def test_the_shipped_clock_agrees_with_the_services_for_years_of_polish_holidays() -> None:
    root = dialplans.parse((ROOT / "dialplans" / "after-hours.xml").read_text())
    hours = next(iter(root.iter("extension")))
    week = parse_week({"mon-fri": "08:00-16:00"})
    for n in range((date(2031, 1, 1) - date(2026, 1, 1)).days):
        day = date(2026, 1, 1) + timedelta(days=n)
        for at in (time(), time(7, 59, 59), time(8), time(12), time(15, 59, 59), time(16), time(23, 59, 59)):
            moment = datetime.combine(day, at)
            assert dialplans.closed(hours, moment) == (not is_open(week, "PL", moment)), moment


class TestCommand:
    def test_it_prints_the_file_for_a_mailbox_of_the_configuration(
        self, folder: Path, sales: Mailbox
    ) -> None:
        done = command("dialplan", "sales", "--on", "busy", "direct", folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == dialplan(sales, Address("0.0.0.0", 9000), ("busy", "direct"), today=TODAY)
        assert "the mailbox sales (Dział sprzedaży spółka): busy, direct." in done.stdout

    def test_it_is_for_no_answer_busy_and_unavailable_when_not_told(
        self, folder: Path, sales: Mailbox
    ) -> None:
        done = command("dialplan", "sales", folder=folder)
        assert done.stdout == dialplan(sales, Address("0.0.0.0", 9000), USUAL, today=TODAY)

    @pytest.mark.parametrize(
        ("arguments", "listen", "code", "said"),
        [
            (("nobody",), "", 1, "no mailbox 'nobody'; there are default, sales\n"),
            (("no\nbody",), "", 1, "no mailbox 'no\\nbody'; there are default, sales\n"),
            ((), "", USAGE, "esl-voicemail dialplan: the following arguments are required: MAILBOX;"),
            (("sales", "--on"), "", USAGE, "esl-voicemail dialplan: argument --on: expected at least one"),
            (
                ("sales", "--on", "lunch"),
                "",
                USAGE,
                "esl-voicemail dialplan: argument --on: invalid choice: 'lunch'",
            ),
            (
                ("sales",),
                "127.0.0.1:0",
                BAD_CONFIG,
                "voicemail.yaml:1: listen: a dialplan needs a port that stays",
            ),
            (("sales",), "nowhere", BAD_CONFIG, "voicemail.yaml:1: listen: "),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(
        self, tmp_path: Path, arguments: tuple[str, ...], listen: str, code: int, said: str
    ) -> None:
        text = CONFIG.replace("0.0.0.0:9000", listen) if listen else CONFIG
        (tmp_path / "voicemail.yaml").write_text(text)
        done = command("dialplan", *arguments, folder=tmp_path)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1


def test_the_zone_is_one_that_freeswitch_may_be_asked_for(sales: Mailbox) -> None:
    text = dialplan(
        replace(sales, timezone=ZoneInfo("America/New_York")), LOCAL, ("after-hours",), today=TODAY
    )
    assert 'data="timezone=America/New_York" inline="true"' in text
