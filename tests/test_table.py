"""Rows on a terminal: as wide as it is at most, whatever stands in them."""

from hypothesis import given
from hypothesis import strategies as st
from wcwidth import width

from esl_voicemail.cli.table import Column, row

COLUMNS = (Column("WHO", 8), Column("SECONDS", 7, is_number=True), Column("MAIL", 4))


def test_columns_stand_below_each_other() -> None:
    rows = [["WHO", "SECONDS", "MAIL"], ["Łucja", "3.0", "2/2 delivered"], ["日本", "", ""]]

    assert [row(COLUMNS, one, 80) for one in rows] == [
        "WHO       SECONDS  MAIL",
        "Łucja         3.0  2/2 delivered",
        "日本",
    ]


def test_what_is_too_long_is_cut_on_a_terminal_alone() -> None:
    values = ["Konstantynopol", "3.0", "2/2 delivered, 1 bounced"]

    assert row(COLUMNS, values, 30) == "Konstan…      3.0  2/2 delive…"
    assert row(COLUMNS, values, None) == "Konstantynopol      3.0  2/2 delivered, 1 bounced"


@given(st.lists(st.text(), min_size=3, max_size=3), st.integers(1, 60))
def test_no_row_is_wider_than_the_terminal(values: list[str], most: int) -> None:
    assert width(row(COLUMNS, values, most)) <= most
