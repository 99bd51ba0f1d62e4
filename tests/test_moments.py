"""Times as people write them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.moments import begin, end

WARSAW = ZoneInfo("Europe/Warsaw")
# A Monday morning.
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=WARSAW)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=WARSAW)


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11-21", at(21), at(22)),
        ("today", at(23), at(24)),
        ("Yesterday", at(22), at(23)),
        ("2h", at(23, 7, 30), at(23, 7, 30)),
        ("90 min", at(23, 8), at(23, 8)),
        ("1w", at(16, 9, 30), at(16, 9, 30)),
        ("9:00", at(23, 9), at(23, 9)),
        ("17:00", at(22, 17), at(22, 17)),
        ("yesterday 17:00", at(22, 17), at(22, 17)),
        ("2026-11-21 7:05", at(21, 7, 5), at(21, 7, 5)),
        ("2026-11-21T07:05", at(21, 7, 5), at(21, 7, 5)),
        ("2026-11-21T07:05:00Z", at(21, 8, 5), at(21, 8, 5)),
        ("2026-11-21T07:05:00+01:00", at(21, 7, 5), at(21, 7, 5)),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, since: datetime, until: datetime) -> None:
    assert (begin(text, NOW), end(text, NOW)) == (since, until)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("8:00", "10:00", at(23, 10)),
        ("17:00", "18:00", at(22, 18)),
        ("22:00", "6:00", at(23, 6)),
        ("2026-11-20 16:00", "17:30", at(20, 17, 30)),
        ("2026-11-20", "2026-11-21", at(22)),
    ],
)
def test_a_time_of_day_that_ends_a_span_is_the_next_after_its_beginning(
    since: str, until: str, expected: datetime
) -> None:
    assert end(until, NOW, begin(since, NOW)) == expected


def test_a_day_is_as_long_as_its_zone_makes_it() -> None:
    assert end("2026-10-25", NOW) - begin("2026-10-25", NOW) == timedelta(days=1)  # on the wall
    assert end("2026-10-25", NOW).astimezone(UTC) - begin("2026-10-25", NOW).astimezone(UTC) == timedelta(
        hours=25
    )


@pytest.mark.parametrize(
    "text", ["", "five", "25:00", "17:60", "2026-13-01", "2026-02-30", "0001-01-01x", "999999w", "-2h", "17"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a time such as 17:00, yesterday, .*, not "):
        begin(text, NOW)


@given(st.text() | st.from_regex(r"[0-9:\- hdwT]{1,20}", fullmatch=True))
def test_any_text_is_a_time_with_a_zone_or_refused_in_a_line(text: str) -> None:
    refused = ""
    try:
        assert begin(text, NOW).tzinfo is not None
    except ValueError as error:
        refused = str(error)
    assert refused == "" or refused.startswith("must be a time such as ")
