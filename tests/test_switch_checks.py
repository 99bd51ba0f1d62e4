"""Whether another user could record into our folder, by owner, group and mode."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from esl_voicemail.switch_checks import shut_for

MINE = os.getgid()
OTHER, OTHERS = 54321, 54322


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may enter, as they may not those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="voicemail-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "user", "groups", "may"),
    [
        (0o2770, OTHER, [MINE], True),
        (0o2770, OTHER, [OTHERS], False),
        (0o2750, OTHER, [MINE], False),
        (0o2760, OTHER, [MINE], False),
        (0o777, OTHER, [OTHERS], True),
        (0o775, OTHER, [OTHERS], False),
        (0o707, OTHER, [MINE], False),
        (0o000, 0, [0], True),
    ],
)
def test_who_may_write_into_the_folder(
    place: Path, mode: int, user: int, groups: list[int], may: bool
) -> None:
    folder = place / "recordings"
    folder.mkdir()
    folder.chmod(mode)
    assert shut_for(folder, user, groups) == (None if may else folder)


def test_a_folder_above_that_lets_nobody_through_is_named(place: Path) -> None:
    above = place / "var"
    folder = above / "recordings"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    above.chmod(0o700)
    assert shut_for(folder, OTHER, [OTHERS]) == above
