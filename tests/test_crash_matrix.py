"""Killed with SIGKILL anywhere, the service keeps its promise after the next start; see `tests.crash`.

As a rule KILLS kills, spread evenly over the points of the code; where and when is left to CRASH_SEED.
CRASH_MATRIX=points kills once at each point, and CRASH_MATRIX=all before and after each, in each scenario.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.crash.matrix import UNPASSED, Matrix, lanes
from tests.crash.points import points, weave

SEED = int(os.environ.get("CRASH_SEED", "1"))
EXTENT = os.environ.get("CRASH_MATRIX", "some")
KILLS = 72

CODE = """
class Shelf:
    def tidy(self, path, text):
        text.replace("a", "b")
        path.replace(text)
        with path.open("rb") as file:
            file.read()
        with path.open("wb") as file:
            file.write(text)

class Journal:
    def shred(self, path):
        self._worker.run(path.unlink)

class Room:
    def clear(self):
        self._journal.look()
        self._journal.shred(self)
"""


def test_points_are_found_by_what_is_called() -> None:
    found = [point.name for point in weave("room", CODE)[1]]
    assert found == [
        "room:Shelf.tidy:path.replace",
        "room:Shelf.tidy:path.open",
        "room:Shelf.tidy:file.write",
        "room:Journal.shred:path.unlink",
    ]


@pytest.mark.parametrize(
    "named",
    [
        "session:Session._keep:journal.keep",
        "spool:Spool._read:os.fsync",
        "spool:Spool.remove:path.unlink",
        "journal.writer:Writer._commit:_db.begin",
        "mail.transaction:_sent:server.getreply",
        "recovery:Recovery._keep:_journal.keep",
    ],
)
def test_what_a_promise_hangs_on_is_a_point(named: str) -> None:
    assert named in points()


def test_what_is_said_to_be_passed_by_nobody_exists() -> None:
    assert set(UNPASSED) <= set(points())


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """What the scenarios pass, without a kill; they hold the promise themselves."""
    with lanes() as started:
        built = Matrix(tmp_path_factory.mktemp("crash"), started)
        built.survey()
        yield built


@pytest.mark.timeout(300)
def test_every_point_of_the_code_is_passed_by_a_scenario(matrix: Matrix) -> None:
    assert [point.name for point in matrix.unpassed()] == []


@pytest.mark.timeout({"some": 600, "points": 1800, "all": 14400}[EXTENT])
def test_nobody_past_the_beep_is_lost_wherever_the_service_is_killed(matrix: Matrix) -> None:
    chance = random.Random(SEED)
    cases = matrix.every() if EXTENT == "all" else matrix.once(chance)
    if EXTENT == "some":
        every = len(cases) / KILLS
        begin = chance.random() * every
        cases = [cases[int(begin + n * every)] for n in range(KILLS)]
    results = matrix.run(cases)
    print(f"{len(results)} kills at {len(points())} points, CRASH_SEED={SEED}")
    assert [f"{one.case}: {fault}" for one in results for fault in one.faults] == []
    assert all(one.reached for one in results)
