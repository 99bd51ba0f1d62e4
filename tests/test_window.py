"""A server that is away is left in peace, and one that is back is not overrun."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.window import Window


def test_at_first_it_is_as_wide_as_it_may_be() -> None:
    window = Window(4)
    assert [window.room(under_way, 0.0) for under_way in range(6)] == [4, 3, 2, 1, 0, 0]
    assert not window.reached()


def test_a_server_that_cannot_be_reached_shuts_it_once_however_many_mails_found_out() -> None:
    window = Window(4)
    assert window.unreachable(100.0, 0.5)
    assert [window.unreachable(100.0 + n, 0.5) for n in range(3)] == [False] * 3
    assert (window.failures, window.pause(100.0)) == (1, 5.0)
    assert window.room(0, 104.9) == 0


def test_after_a_pause_one_mail_asks_and_no_second_beside_it() -> None:
    window = Window(4)
    window.unreachable(0.0, 0.5)
    assert (window.room(0, 5.0), window.room(1, 5.0)) == (1, 0)


def test_the_pauses_grow_to_five_minutes_and_no_further() -> None:
    window, now, pauses = Window(4), 0.0, []
    for _ in range(9):
        window.unreachable(now, 0.5)
        pauses.append(window.pause(now))
        now += window.pause(now)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_jitter_spreads_the_pause_by_a_fifth_either_way() -> None:
    for jitter, pause in [(0.0, 4.0), (1.0, 6.0)]:
        window = Window(4)
        window.unreachable(0.0, jitter)
        assert window.pause(0.0) == pytest.approx(pause)


def test_a_server_that_is_back_meets_one_mail_then_two_then_more() -> None:
    window = Window(4)
    window.unreachable(0.0, 0.5)
    widths = []
    for n in range(6):
        assert window.reached() is (n == 0)
        widths.append(window.room(0, 5.0))
    assert widths == [1, 2, 3, 4, 4, 4]


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1000), st.floats(0, 1)), max_size=60),
)
def test_it_never_exceeds_its_bounds_and_never_stays_shut(
    widest: int, steps: list[tuple[bool, float, float]]
) -> None:
    window, now = Window(widest), 0.0
    for reached, passed, jitter in steps:
        now += passed
        if reached:
            window.reached()
        else:
            window.unreachable(now, jitter)
        assert 0 <= window.pause(now) <= window.longest_pause * 1.2
        assert 0 <= window.room(0, now) <= widest
        assert window.room(0, now + window.pause(now) + 0.001) >= 1
