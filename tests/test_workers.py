"""Native threads that greenlets wait for: what comes back, what is given up, and what is never begun."""

import gc
import os
import sys
import weakref
from collections.abc import Iterator

import gevent
import pytest

from esl_voicemail.workers import Workers
from tests.support.service import until


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(2)
    yield pool
    pool.close()


class Gate:
    """Where work stands until it is let through."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> bytes:
        return os.read(self._read, 1)

    def let(self, count: int) -> None:
        os.write(self._write, b"." * count)

    def close(self) -> None:
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


def test_each_greenlet_has_the_result_of_its_own_work(workers: Workers) -> None:
    asked = [gevent.spawn(workers.run, divmod, number, 7) for number in range(500)]
    assert [one.get(timeout=10) for one in asked] == [divmod(number, 7) for number in range(500)]
    assert (workers.busy, workers.waiting) == (0, 0)


def test_one_thread_does_what_is_asked_in_its_order() -> None:
    pool, done = Workers(1), list[int]()
    gevent.joinall([gevent.spawn(pool.run, done.append, number) for number in range(100)], timeout=10)
    pool.close()
    assert done == list(range(100))


def test_where_the_system_has_no_thread_to_give_who_asks_hears_it_and_the_next_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool = Workers(1)
    with monkeypatch.context() as patch:
        patch.setattr("esl_voicemail.workers._start_thread", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.run(divmod, 7, 2)
    assert (pool.busy, pool.waiting) == (0, 0)
    assert pool.run(divmod, 7, 2) == (3, 1)
    pool.close()


def test_work_that_was_given_up_keeps_nothing_while_the_threads_are_stuck(gate: Gate) -> None:
    class Large:
        def do(self) -> None:
            pass

    pool, large = Workers(1), Large()
    stuck = gevent.spawn(pool.run, gate.wait)
    gevent.sleep(0)
    assert pool.run_within(0.01, large.do, None) is None
    kept = weakref.ref(large)
    del large
    gc.collect()
    assert kept() is None
    gate.let(1)
    stuck.get(timeout=10)
    pool.close()


def test_an_error_is_raised_where_its_work_is_waited_for_and_nowhere_else(
    workers: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        workers.run(divmod, 1, 0)
    with pytest.raises(SystemExit):
        workers.run_within(10, sys.exit, None)
    assert workers.run(divmod, 7, 2) == (3, 1)
    assert capfd.readouterr().err == ""


def test_no_more_threads_work_at_once_than_there_may_be(workers: Workers, gate: Gate) -> None:
    asked = [gevent.spawn(workers.run, gate.wait) for _ in range(5)]
    gevent.sleep(0)
    assert (workers.busy, workers.waiting) == (2, 3)
    gate.let(5)
    assert [one.get(timeout=10) for one in asked] == [b"."] * 5


def test_work_that_nobody_waits_for_any_more_is_never_begun(workers: Workers, gate: Gate) -> None:
    begun: list[str] = []
    held = [gevent.spawn(workers.run, gate.wait) for _ in range(2)]
    gevent.sleep(0)
    assert workers.run_within(0.01, lambda: begun.append("late"), "late") == "late"  # type: ignore[arg-type]
    killed = gevent.spawn(workers.run, begun.append, "killed")
    gevent.sleep(0)
    assert workers.waiting == 1
    killed.kill(timeout=10)
    assert (workers.busy, workers.waiting) == (2, 0)
    gate.let(2)
    gevent.joinall(held, timeout=10, raise_error=True)
    workers.run(begun.append, "after")
    assert begun == ["after"]


def test_who_gave_up_is_not_woken_by_what_comes_later(workers: Workers, gate: Gate) -> None:
    def waits() -> str:
        assert workers.run_within(0.01, gate.wait, b"late") == b"late"
        gate.let(1)
        until(lambda: not workers.busy, "the late work is over")
        gevent.sleep(0)
        return "in its own time"

    assert gevent.spawn(waits).get(timeout=10) == "in its own time"


def test_a_limit_of_whoever_waits_goes_on_counting(workers: Workers, gate: Gate) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        workers.run_within(10, gate.wait, b"late")
    gate.let(1)


def test_closing_waits_for_what_is_under_way(gate: Gate) -> None:
    workers, done = Workers(2), []
    asked = gevent.spawn(workers.run, lambda: done.append(gate.wait()))
    gevent.sleep(0)
    letting = gevent.spawn_later(0.05, gate.let, 1)
    workers.close()
    assert done == [b"."]
    gevent.joinall([asked, letting], timeout=10, raise_error=True)


def test_a_thread_that_is_held_does_not_keep_it_from_closing(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esl_voicemail.workers._CLOSE_SECONDS", 0.05)
    workers = Workers(1)
    holding = gevent.spawn(workers.run, gate.wait)
    gevent.sleep(0)
    workers.close()
    assert workers.busy == 1
    gate.let(1)
    holding.get(timeout=10)
