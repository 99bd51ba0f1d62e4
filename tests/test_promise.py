"""Open or closed over a whole year, and when somebody calls back: tables by hand, and what always holds."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esl_voicemail.hours import (
    DAYS,
    ClosedDays,
    Span,
    Week,
    is_open,
    parse_closed,
    parse_week,
    public_holidays,
    write_week,
)
from esl_voicemail.mail.words import promised
from esl_voicemail.promise import KINDS, Promise, promise, sentences

WARSAW = ZoneInfo("Europe/Warsaw")
MINUTE = timedelta(minutes=1)

# Dni wolne od pracy (ustawa z 18 stycznia 1951, as of 2025), by hand. Easter is on 5 April.
HOLIDAYS = {
    *((1, 1), (1, 6), (4, 5), (4, 6), (5, 1), (5, 3), (5, 24), (6, 4), (8, 15)),
    *((11, 1), (11, 11), (12, 24), (12, 25), (12, 26)),
}
# The office's own: a day of one year, the days between the years, and the patron's day every year.
CLOSED = tuple(map(parse_closed, ("2026-06-05", "2026-12-28..2026-12-31", "03-19")))
CLOSED_2026 = {(3, 19), (6, 5), (12, 28), (12, 29), (12, 30), (12, 31)}

OFFICE = parse_week({"mon-fri": "08:00-12:00, 13:00-16:00"})
NIGHT = parse_week({"mon-fri": "22:00-06:00"})
SUNDAYS = parse_week({"sun": "01:00-05:00"})
MONDAYS = parse_week({"mon": "08:00-16:00"})
NEVER = parse_week({})


def works(day: date) -> bool:
    return day.weekday() < 5 and (day.month, day.day) not in HOLIDAYS | CLOSED_2026


def moments(first: date, last: date, step: timedelta) -> list[datetime]:
    """Every moment from one midnight UTC to another, as the clock on the wall shows it."""
    begin, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    return [(begin + n * step).astimezone(WARSAW) for n in range((end - begin) // step)]


# --- a whole year ------------------------------------------------------------------------------------


@pytest.mark.parametrize("minute", [0, 1, 59])
def test_an_office_with_a_lunch_break_over_a_year_with_holidays_and_closed_days(minute: int) -> None:
    for local in moments(date(2026, 1, 2), date(2026, 12, 31), timedelta(hours=1)):
        at = local.replace(minute=minute)
        expected = works(at.date()) and at.hour in {8, 9, 10, 11, 13, 14, 15}
        assert is_open(OFFICE, "PL", at, CLOSED) is expected, at


@pytest.mark.parametrize("minute", [0, 1, 59])
def test_night_shifts_over_a_year_belong_to_the_day_they_began(minute: int) -> None:
    for local in moments(date(2026, 1, 2), date(2026, 12, 31), timedelta(hours=1)):
        at = local.replace(minute=minute)
        began = at.date() if at.hour >= 6 else at.date() - timedelta(days=1)
        expected = works(began) and at.hour in {22, 23, 0, 1, 2, 3, 4, 5}
        assert is_open(NIGHT, "PL", at, CLOSED) is expected, at


def test_a_year_has_as_many_open_minutes_as_a_calendar_on_the_wall_says() -> None:
    """261 weekdays, 8 of them holidays, 6 closed: 247 days of 7 hours."""
    year = moments(date(2026, 1, 1), date(2027, 1, 1), timedelta(minutes=5))
    assert sum(is_open(OFFICE, "PL", local, CLOSED) for local in year) * 5 == 247 * 420


@pytest.mark.parametrize(
    ("day", "minutes"),
    [
        (date(2026, 3, 22), 240),
        (date(2026, 3, 29), 180),  # the hour from two to three was left out
        (date(2026, 10, 18), 240),
        (date(2026, 10, 25), 300),  # the hour from two to three came twice
    ],
)
def test_the_hours_of_a_day_on_which_the_clocks_change_are_the_walls_clocks(day: date, minutes: int) -> None:
    around = moments(day - timedelta(days=1), day + timedelta(days=2), MINUTE)
    assert sum(is_open(SUNDAYS, "PL", local) for local in around) == minutes


def test_the_library_knows_the_holidays_of_the_law() -> None:
    assert {(day.month, day.day) for day in public_holidays("PL", 2026)} == HOLIDAYS


# --- closed days -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2026-12-24", "2026-12-24", "2026-12-23 2026-12-25 2027-12-24"),
        ("2026-12-24..2027-01-02", "2026-12-24 2026-12-31 2027-01-02", "2026-12-23 2027-01-03 2025-12-30"),
        ("2026-12-24 .. 2026-12-24", "2026-12-24", "2026-12-25"),
        ("12-24", "2026-12-24 2031-12-24", "2026-12-25"),
        ("07-01..07-14", "2026-07-01 2027-07-14", "2026-06-30 2026-07-15"),
        ("12-24..01-01", "2026-12-24 2026-12-31 2027-01-01", "2026-12-23 2027-01-02 2026-07-01"),
        ("02-29", "2028-02-29", "2027-02-28 2027-03-01"),
    ],
)
def test_closed_days_are_those_written(text: str, inside: str, outside: str) -> None:
    days = parse_closed(text)
    assert all(date.fromisoformat(day) in days for day in inside.split())
    assert not any(date.fromisoformat(day) in days for day in outside.split())
    assert parse_closed(str(days)) == days


@pytest.mark.parametrize(
    "text",
    ["", "24.12.2026", "2026", "2026-12", "12-24-2026", "2026-12-24..12-31", "12-24..2026-12-31",
     "2026-12-24-31", "2026-13-01", "2026-02-30", "02-30", "00-00", "0000-01-01", "2026-12-31..2026-12-24",
     "٢٠٢٦-١٢-٢٤", "12-24..", "..12-24", "1-1", "christmas"],
)  # fmt: skip
def test_what_is_no_day_is_refused_as_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 2026-12-24|calendar|ends before") as caught:
        parse_closed(text)
    assert repr(text) in str(caught.value)


@given(
    st.lists(
        st.lists(st.tuples(st.times(), st.times()), max_size=3).map(
            lambda spans: tuple(Span(*(at.replace(second=0, microsecond=0) for at in ends)) for ends in spans)
        ),
        min_size=7,
        max_size=7,
    ).map(tuple)
)
def test_a_week_that_is_written_reads_back(week: Week) -> None:
    assert parse_week(write_week(week)) == week


def test_a_week_is_written_in_few_words() -> None:
    hours = {"mon-tue": "08:00-12:00, 13:00-24:00", "thu": "08:00-16:00", "sat-sun": "22:00-06:00"}
    assert write_week(parse_week(hours)) == hours
    assert write_week(NEVER) == {}


# --- the promise -------------------------------------------------------------------------------------

BETWEEN_THE_YEARS = (parse_closed("12-27..12-31"),)


@pytest.mark.parametrize(
    ("week", "closed", "called", "kind", "day"),
    [
        (OFFICE, (), "2026-11-25 00:00", "today", "2026-11-25"),
        (OFFICE, (), "2026-11-25 07:59", "today", "2026-11-25"),
        (OFFICE, (), "2026-11-25 10:00", "today", "2026-11-25"),
        (OFFICE, (), "2026-11-25 12:30", "today", "2026-11-25"),
        (OFFICE, (), "2026-11-25 15:59", "today", "2026-11-25"),
        (OFFICE, (), "2026-11-25 16:00", "thu", "2026-11-26"),
        (OFFICE, (), "2026-11-25 23:59", "thu", "2026-11-26"),
        (OFFICE, (), "2026-11-27 16:00", "mon", "2026-11-30"),
        (OFFICE, (), "2026-11-28 10:00", "mon", "2026-11-30"),
        (OFFICE, (), "2026-11-29 10:00", "mon", "2026-11-30"),
        # Independence Day is a Wednesday, Corpus Christi a Thursday, Epiphany of 2027 a Wednesday.
        (OFFICE, (), "2026-11-10 16:00", "thu", "2026-11-12"),
        (OFFICE, (), "2026-11-11 10:00", "thu", "2026-11-12"),
        (OFFICE, (), "2026-06-03 16:00", "fri", "2026-06-05"),
        (OFFICE, CLOSED, "2026-06-03 16:00", "mon", "2026-06-08"),
        (OFFICE, (), "2027-01-05 16:00", "thu", "2027-01-07"),
        # Easter: from Friday afternoon to Tuesday.
        (OFFICE, (), "2026-04-03 16:00", "tue", "2026-04-07"),
        # Christmas: from Wednesday afternoon to Monday; longer where the office is closed between the years.
        (OFFICE, (), "2026-12-23 16:00", "mon", "2026-12-28"),
        (OFFICE, BETWEEN_THE_YEARS, "2026-12-23 16:00", "next-working-day", "2027-01-04"),
        (OFFICE, BETWEEN_THE_YEARS, "2026-12-28 10:00", "next-working-day", "2027-01-04"),
        (OFFICE, BETWEEN_THE_YEARS, "2026-12-29 10:00", "mon", "2027-01-04"),
        (OFFICE, (), "2026-12-31 16:00", "mon", "2027-01-04"),
        # A weekday is only named where it is the next of its name.
        (MONDAYS, (), "2026-11-30 15:59", "today", "2026-11-30"),
        (MONDAYS, (), "2026-11-30 16:00", "next-working-day", "2026-12-07"),
        (MONDAYS, (), "2026-12-01 00:00", "mon", "2026-12-07"),
        # Night shifts: open now is today, be it of yesterday's.
        (NIGHT, (), "2026-07-17 06:00", "today", "2026-07-17"),
        (NIGHT, (), "2026-07-18 05:59", "today", "2026-07-18"),
        (NIGHT, (), "2026-07-18 06:00", "mon", "2026-07-20"),
        (NIGHT, (), "2026-07-20 00:00", "today", "2026-07-20"),
        # The clocks change on a Sunday.
        (OFFICE, (), "2026-03-29 01:59", "mon", "2026-03-30"),
        (OFFICE, (), "2026-10-25 02:30", "mon", "2026-10-26"),
        (SUNDAYS, (), "2026-03-29 00:30", "today", "2026-03-29"),
        (SUNDAYS, (), "2026-10-25 05:00", "next-working-day", "2026-11-08"),  # the first is a holiday
    ],
)  # fmt: skip
def test_somebody_calls_back_on_the_next_day_with_hours(
    week: Week, closed: tuple[ClosedDays, ...], called: str, kind: str, day: str
) -> None:
    expected = Promise(kind, date.fromisoformat(day))
    assert promise(week, "PL", datetime.fromisoformat(called), closed) == expected


@pytest.mark.parametrize(
    ("week", "closed"),
    [
        (NEVER, ()),
        (OFFICE, (parse_closed("2026-01-01..2026-12-31"),)),
        (OFFICE, (parse_closed("01-01..12-31"),)),
    ],
)
def test_nobody_is_promised_a_day_that_is_not_in_sight(week: Week, closed: tuple[ClosedDays, ...]) -> None:
    assert promise(week, "PL", datetime.fromisoformat("2026-07-15 10:00"), closed) is None


half_hours = st.integers(0, 47).map(lambda n: time(n // 2, n % 2 * 30))
dates = st.dates(date(2025, 11, 1), date(2028, 3, 1))
weeks = st.lists(
    st.lists(st.builds(Span, half_hours, half_hours), max_size=2).map(tuple), min_size=7, max_size=7
).map(tuple)
closures = st.lists(
    st.one_of(
        st.builds(lambda first, days: ClosedDays(first, first + timedelta(days)), dates, st.integers(0, 40)),
        dates.map(lambda day: parse_closed(f"{day:%m-%d}")),
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=300)
@given(
    week=weeks,
    country=st.sampled_from([None, "PL", "DE"]),
    closed=closures,
    called=st.builds(datetime.combine, dates, half_hours),
)
def test_the_promised_day_is_the_first_on_which_somebody_is_there(
    week: Week, country: str | None, closed: list[ClosedDays], called: datetime
) -> None:
    made = promise(week, country, called, closed)
    end = (
        datetime.combine(called.date() + timedelta(days=61), time())
        if made is None
        else (datetime.combine(made.day, time()))
    )
    moment = called
    while moment < end:
        assert not is_open(week, country, moment, closed), moment
        moment += 30 * MINUTE
    if made is None:
        return
    assert made.day >= called.date()
    first = max(called, end)
    assert any(is_open(week, country, first + n * 30 * MINUTE, closed) for n in range(48))
    days = (made.day - called.date()).days
    assert made.kind == (
        "today" if not days else DAYS[made.day.weekday()] if days < 7 else "next-working-day"
    )


def test_a_weekday_may_be_said_as_the_next_working_day_and_nothing_else_otherwise() -> None:
    assert {kind: sentences(kind) for kind in KINDS} == {
        "today": ("today",),
        "next-working-day": ("next-working-day",),
        **{day: (day, "next-working-day") for day in DAYS},
    }


@pytest.mark.parametrize(
    ("made", "language", "said"),
    [
        (Promise("today", date(2026, 11, 25)), "en", "today"),
        (Promise("today", date(2026, 11, 25)), "pl", "dzisiaj"),
        (Promise("tue", date(2026, 12, 1)), "en", "Tuesday, 1 December"),
        (Promise("tue", date(2026, 12, 1)), "pl", "wtorek, 1 grudnia"),
        (
            Promise("next-working-day", date(2026, 12, 7)),
            "en",
            "the next working day, Monday, 7 December",
        ),
        (
            Promise("next-working-day", date(2027, 1, 4)),
            "pl",
            "następny dzień roboczy, poniedziałek, 4 stycznia 2027",
        ),
        (Promise("mon", date(2027, 1, 4)), "en", "Monday, 4 January 2027"),
    ],
)  # fmt: skip
def test_a_mail_says_what_the_caller_was_told(made: Promise, language: str, said: str) -> None:
    assert promised(made, date(2026, 11, 25), language) == said
    assert promised(made, datetime(2026, 11, 25, 9, 30, tzinfo=WARSAW), language) == said
