"""Whatever a switch or an editor wrote is read or refused: a bounded form of `make fuzz`."""

from pathlib import Path
from random import Random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import settings as configurations
from tests.fuzz import stream
from tests.fuzz.__main__ import attempt

CASES = {"stream": 40, "settings": 80}

blocks = st.lists(st.sampled_from(stream.good()) | st.binary(max_size=60), max_size=4).map(b"".join)
keys = st.sampled_from(["mailboxes", "defaults", "mail", "smtp", "switch", "sales", "recipients", "hours"])
values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", CASES)
def test_a_fixed_run_of_cases_finds_nothing(tmp_path: Path, kind: str) -> None:
    found = [attempt(kind, 3, number, tmp_path) for number in range(CASES[kind])]
    assert [str(finding) for finding in found if finding] == []


def test_a_case_is_the_same_every_time() -> None:
    for case in (stream.case, configurations.case):
        assert [case(Random(f"{n}")) for n in range(10)] == [case(Random(f"{n}")) for n in range(10)]


@settings(max_examples=60, deadline=None)
@given(blocks, st.randoms(use_true_random=False))
def test_parts_of_recorded_calls_in_any_order_read_the_same_in_any_pieces(
    said: bytes, chance: Random
) -> None:
    stream.check(said, chance)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, values, max_size=5))
def test_any_values_in_known_places_load_or_are_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, written: dict[str, object]
) -> None:
    text = yaml.safe_dump(written, allow_unicode=True)
    configurations.check(text.encode("utf-8", "surrogatepass"), Random(0), tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("text", configurations.TRAPS)
def test_every_known_trap_is_refused_line_by_line(tmp_path: Path, text: str) -> None:
    configurations.check(text.encode("utf-8", "surrogatepass"), Random(0), tmp_path)
