"""A connect reply read into a call: whose mailbox, who calls, and why."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.config import Config, Mailbox
from esl_voicemail.config.load import load
from esl_voicemail.esl.arrival import mailbox_of, read_call
from esl_voicemail.esl.frames import Headers
from esl_voicemail.model import Call, Reason

CAPTURES = Path(__file__).parent / "captures"
MONDAY_NOON = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
MONDAY_NIGHT = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)

CONFIG = """\
mailboxes:
  sales: {recipients: [a@example.com], numbers: ["48221234567"], hours: {mon-fri: "08:00-16:00"}}
  service: {recipients: [b@example.com], numbers: ["2002"], language: en}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "voicemail.yaml"
    path.write_text(CONFIG)
    return load(path)


@pytest.fixture(scope="module")
def sales(config: Config) -> Mailbox:
    return config.mailboxes["sales"]


def headers(fields: Mapping[str, str]) -> Headers:
    said = {"Unique-ID": "u-1", **fields}
    return Headers("".join(f"{name}: {quote(value)}\n" for name, value in said.items()).encode())


def recorded(name: str) -> Headers:
    rows = [json.loads(line) for line in (CAPTURES / f"{name}.jsonl").read_text().splitlines()]
    return Headers(next(row["text"] for row in rows if row["from"] == "switch").encode())


def call_of(mailbox: Mailbox, now: datetime = MONDAY_NOON, /, **fields: str) -> Call:
    return read_call(
        headers({name.replace("__", "-"): value for name, value in fields.items()}), mailbox, now
    )


def test_a_recorded_call_is_read(config: Config) -> None:
    said = recorded("left_with_key")
    mailbox, named = mailbox_of(said, config.mailboxes)
    assert mailbox is not None
    assert named == "sales"
    call = read_call(said, mailbox, MONDAY_NOON)
    assert (call.caller.number, call.caller.name, call.caller.withheld) == (
        "+48221234567",
        "Jan Kowalski",
        False,
    )
    assert (call.mailbox, call.reason, call.dialled) == ("sales", Reason.NO_ANSWER, "vm_sales")


def test_a_withheld_number_is_not_even_read(sales: Mailbox) -> None:
    caller = read_call(recorded("anonymous"), sales, MONDAY_NOON).caller
    assert (caller.number, caller.name, caller.withheld) == ("", "", True)


def test_a_hostile_callers_name_is_one_line(sales: Mailbox) -> None:
    call = read_call(recorded("hostile_caller"), sales, MONDAY_NOON)
    assert call.caller.name == "Evil variable_injected: yes <b>x</b> {{7*7}}"


@pytest.mark.parametrize("number", ["anonymous", "Anonymous", "unknown", "Restricted", "0000000000", ""])
def test_the_words_for_a_withheld_number_are_known(sales: Mailbox, number: str) -> None:
    caller = call_of(sales, Caller__Caller__ID__Number=number).caller
    assert (caller.number, caller.withheld) == ("", True)


def test_a_name_that_only_repeats_the_number_is_no_name(sales: Mailbox) -> None:
    fields = {"Caller__Caller__ID__Number": "600700800", "Caller__Caller__ID__Name": "600700800"}
    assert call_of(sales, **fields).caller.name == ""


@pytest.mark.parametrize(
    ("fields", "key", "named"),
    [
        ({"variable_voicemail_mailbox": "service"}, "service", "service"),
        ({"variable_voicemail_mailbox": "nobody"}, None, "nobody"),
        ({"variable_voicemail_mailbox": "../../etc"}, None, "../../etc"),
        ({"variable_sip_req_user": "+48221234567"}, "sales", "48221234567"),
        ({"variable_sip_to_user": "48221234567", "Caller-Destination-Number": "vm"}, "sales", "48221234567"),
        ({"Caller-RDNIS": "2002", "Caller-Destination-Number": "vm"}, "service", "2002"),
        ({"Caller-Destination-Number": "2002"}, "service", "2002"),
        ({"Caller-Destination-Number": "999"}, None, "999"),
        ({}, None, ""),
    ],
)
def test_the_mailbox_is_the_dialplans_else_that_of_the_dialled_number(
    config: Config, fields: dict[str, str], key: str | None, named: str
) -> None:
    mailbox, found = mailbox_of(headers(fields), config.mailboxes)
    assert (mailbox.key if mailbox else None, found) == (key, named)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"variable_voicemail_reason": "busy"}, Reason.BUSY),
        ({"variable_voicemail_reason": "QUEUE_TIMEOUT"}, Reason.QUEUE_TIMEOUT),
        ({"variable_voicemail_reason": "USER_BUSY"}, Reason.BUSY),
        ({"variable_voicemail_reason": "holiday"}, Reason.AFTER_HOURS),
        (
            {"variable_voicemail_reason": "nonsense", "variable_originate_disposition": "NO_ANSWER"},
            Reason.NO_ANSWER,
        ),
        ({"variable_originate_disposition": "USER_NOT_REGISTERED"}, Reason.UNAVAILABLE),
        ({"variable_originate_disposition": "SUCCESS"}, Reason.DIRECT),
        ({"variable_DIALSTATUS": "BUSY"}, Reason.BUSY),
        ({"variable_DIALSTATUS": "NOANSWER"}, Reason.NO_ANSWER),
        ({"variable_cc_cause": "cancel", "variable_cc_cancel_reason": "TIMEOUT"}, Reason.QUEUE_TIMEOUT),
        ({"variable_cc_cause": "answered", "variable_cc_cancel_reason": "NONE"}, Reason.DIRECT),
        ({"variable_fifo_status": "TIMEOUT"}, Reason.QUEUE_TIMEOUT),
        ({}, Reason.DIRECT),
    ],
)
def test_the_reason_is_the_dialplans_else_the_switchs(
    sales: Mailbox, fields: dict[str, str], reason: Reason
) -> None:
    assert read_call(headers(fields), sales, MONDAY_NOON).reason is reason


def test_a_call_at_night_without_a_reason_came_after_hours(sales: Mailbox) -> None:
    assert call_of(sales, MONDAY_NIGHT).reason is Reason.AFTER_HOURS


def test_the_dialled_number_is_the_mailboxes_own_where_it_is_among_them(sales: Mailbox) -> None:
    fields = {"variable_sip_req_user": "gw1", "variable_sip_to_user": "48221234567"}
    assert call_of(sales, **fields).dialled == "48221234567"


@pytest.mark.parametrize(
    ("said", "seconds"), [("63", 63), ("", None), ("-1", None), ("soon", None), ("9" * 17, None)]
)
def test_the_wait_in_a_queue_is_a_number_or_nothing(sales: Mailbox, said: str, seconds: int | None) -> None:
    assert call_of(sales, variable_voicemail_queue_wait=said).queue_wait_seconds == seconds


def test_what_the_dialplan_says_of_queue_reference_and_language_is_kept(sales: Mailbox) -> None:
    call = call_of(
        sales,
        variable_voicemail_queue="Sprzedaż",
        variable_voicemail_reference="ZAM/1",
        variable_voicemail_language="EN",
    )
    assert (call.queue, call.reference, call.language) == ("Sprzedaż", "ZAM/1", "en")


@given(st.text(max_size=500))
def test_whatever_a_telephone_sends_the_call_holds_short_single_lines(text: str) -> None:
    fields = dict.fromkeys(
        (
            "Caller-Caller-ID-Number",
            "Caller-Caller-ID-Name",
            "variable_sip_req_user",
            "variable_voicemail_queue",
            "variable_voicemail_reference",
            "variable_voicemail_language",
            "variable_voicemail_reason",
        ),
        text.encode("utf-8", "replace").decode(),
    )
    mailbox = next(iter(load(None).mailboxes.values()))
    call = read_call(headers(fields), mailbox, MONDAY_NOON)
    for line in (call.caller.number, call.caller.name, call.dialled, call.queue, call.reference):
        assert len(line) <= 80
        assert len(line.splitlines()) <= 1
