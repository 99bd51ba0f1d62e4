"""Clocks are set, and machines sleep: what is decided by an age errs on the harmless side."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.clock import Clock
from esl_voicemail.hours import is_open, parse_week
from esl_voicemail.mail.forms import moment

BEGAN = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WARSAW = ZoneInfo("Europe/Warsaw")


class Machine:
    """A computer whose wall clock can be set."""

    def __init__(self) -> None:
        self.wall = BEGAN
        self.ran = 1000.0
        self.clock = Clock(lambda: self.wall, lambda: self.ran)

    def run(self, time: timedelta) -> None:
        self.wall += time
        self.ran += time.total_seconds()


def test_on_a_clock_that_nobody_sets_there_is_one_time() -> None:
    machine = Machine()
    machine.run(3 * HOUR)
    assert machine.clock() == machine.clock.earliest() == machine.clock.latest() == BEGAN + 3 * HOUR
    assert machine.clock.seconds() == 3 * 3600


def test_set_forward_an_end_is_judged_by_the_time_that_passed() -> None:
    machine = Machine()
    machine.wall += HOUR
    assert machine.clock() == BEGAN + HOUR
    assert machine.clock.earliest() == BEGAN


def test_set_back_a_beginning_is_judged_by_the_time_that_passed() -> None:
    machine = Machine()
    machine.wall -= HOUR
    machine.run(2 * HOUR)
    assert machine.clock() == BEGAN + HOUR
    assert machine.clock.latest() == BEGAN + 2 * HOUR


def test_a_clock_that_was_wrong_by_years_is_believed_once_it_has_stood_for_a_day() -> None:
    machine = Machine()
    machine.wall += timedelta(days=20_000)
    machine.clock.earliest()
    machine.run(23 * HOUR)
    assert machine.clock.earliest() == BEGAN + 23 * HOUR
    machine.run(2 * HOUR)
    assert machine.clock.earliest() == machine.wall
    assert machine.clock.seconds() == 25 * 3600


def test_an_hour_s_difference_is_kept_apart_for_ever() -> None:
    machine = Machine()
    machine.wall += HOUR
    for _ in range(60):
        machine.run(24 * HOUR)
        assert machine.clock.earliest() == machine.wall - HOUR


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(-3600, 3600)), max_size=20))
def test_an_end_never_comes_early_and_a_beginning_never_late(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    for seconds, set_by in steps:
        machine.run(timedelta(seconds=seconds))
        machine.wall += timedelta(seconds=set_by)
        passed = BEGAN + timedelta(seconds=machine.clock.seconds())
        assert machine.clock.earliest() <= passed <= machine.clock.latest()
        assert machine.clock.earliest() <= machine.clock() <= machine.clock.latest()


def test_the_machine_s_own_clocks_are_read_without_further_words() -> None:
    clock = Clock()
    assert abs(clock() - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock().tzinfo is UTC
    assert 0 <= clock.seconds() < 5


# Warsaw goes from +02:00 to +01:00 on 25 October 2026 at 01:00 UTC, and back on 28 March 2027.
@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Sunday, 25 October 2026, 02:30 (+02:00)"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Sunday, 25 October 2026, 02:30 (+01:00)"),
        (datetime(2027, 3, 28, 0, 59, tzinfo=UTC), "Sunday, 28 March 2027, 01:59 (+01:00)"),
        (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), "Sunday, 28 March 2027, 03:00 (+02:00)"),
        (
            datetime(2026, 7, 1, 0, 0, tzinfo=timezone(timedelta(hours=-5))),
            "Wednesday, 1 July 2026, 07:00 (+02:00)",
        ),
    ],
    ids=str,
)
def test_a_call_is_shown_at_the_hour_its_mailbox_had_also_when_that_hour_came_twice(
    at: datetime, shown: str
) -> None:
    assert moment(at, WARSAW, "en") == shown


@pytest.mark.parametrize(
    ("at", "is_it"),
    [
        # Monday morning, 08:00 Warsaw, before and after the change.
        (datetime(2026, 10, 19, 5, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 19, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 26, 6, 0, tzinfo=UTC), False),
        (datetime(2026, 10, 26, 7, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 26, 14, 59, tzinfo=UTC), True),
        (datetime(2026, 10, 26, 15, 0, tzinfo=UTC), False),
    ],
    ids=str,
)
def test_business_hours_are_the_wall_clock_s_of_the_mailbox_all_year(at: datetime, is_it: bool) -> None:
    week = parse_week({"mon-fri": "08:00-16:00"})
    assert is_open(week, None, at.astimezone(WARSAW)) is is_it
