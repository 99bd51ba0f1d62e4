"""The journal's native thread: each who asked is answered, whatever became of the others."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original

from esl_voicemail.journal.thread import Thread
from tests.support.service import until

native_id = get_original("_thread", "get_native_id")


@pytest.fixture
def thread() -> Iterator[Thread]:
    opened = Thread()
    yield opened
    opened.close()


def held() -> Any:
    """Return a lock of the threads, not of the greenlets, that is held."""
    lock = get_original("_thread", "allocate_lock")()
    lock.acquire()
    return lock


def run(thread: Thread, work: Any) -> Any:
    with gevent.Timeout(20):
        return thread.run(work)


def test_each_is_answered_with_what_his_work_came_to_in_the_order_asked(thread):
    done: list[int] = []

    def work(n: int) -> int:
        done.append(n)
        if n % 3 == 0:
            raise ZeroDivisionError(n)
        return n

    def outcome(n: int) -> Any:
        try:
            return run(thread, lambda: work(n))
        except ZeroDivisionError as error:
            return error.args

    asked = [gevent.spawn(outcome, n) for n in range(100)]
    assert [one.get(timeout=20) for one in asked] == [(n,) if n % 3 == 0 else n for n in range(100)]
    assert done == list(range(100))


def test_it_is_one_thread_and_not_the_event_loop_s(thread):
    found = {run(thread, native_id) for _ in range(3)}
    assert len(found) == 1
    assert found != {native_id()}


def test_who_gave_up_waiting_is_not_answered_and_keeps_nobody_from_it(thread):
    stuck = held()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        thread.run(stuck.acquire)
    waiting = gevent.spawn(thread.run, lambda: "answered")
    gevent.sleep(0)
    assert not waiting.ready()
    stuck.release()
    assert waiting.get(timeout=20) == "answered"


def test_closed_it_does_what_was_asked_before_and_ends():
    thread, stuck, done = Thread(), held(), []
    ident = run(thread, native_id)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        thread.run(lambda: (stuck.acquire(), done.append("done")))
    thread.close()
    stuck.release()
    until(lambda: not Path(f"/proc/{os.getpid()}/task/{ident}").exists(), "the thread is gone")
    assert done == ["done"]
