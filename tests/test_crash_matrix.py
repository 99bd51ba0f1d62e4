"""Killed with SIGKILL anywhere, the service keeps its promise after the next start; see `tests.crash`.

One kill for each point of the code, at a place and passage that the seed chooses: CRASH_SEED repeats them,
CRASH_MATRIX=all kills at each point, before and after, in each scenario that passes it.
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.crash.matrix import UNPASSED, Matrix, lanes
from tests.crash.points import points, weave

SEED = int(os.environ.get("CRASH_SEED", "1"))
ALL = os.environ.get("CRASH_MATRIX") == "all"

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
        "spool:Spool.admit:os.fsync",
        "spool:Spool.remove:path.unlink",
        "journal.writer:Writer._commit:_engine.begin",
        "mail.transport:SmtpTransport._transaction:server.getreply",
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


@pytest.mark.timeout(7200 if ALL else 600)
def test_nobody_past_the_beep_is_lost_wherever_the_service_is_killed(matrix: Matrix) -> None:
    cases = matrix.every() if ALL else matrix.once(random.Random(SEED))
    results = matrix.run(cases)
    print(f"seed {SEED}: {len(results)} kills")
    assert [f"{one.case}: {fault}" for one in results for fault in one.faults] == []
    assert all(one.reached for one in results)
