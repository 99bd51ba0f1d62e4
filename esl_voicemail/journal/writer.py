"""Writes to the journal: on one native thread, those that wait together committed together.

A disk that takes its time holds that thread, never the event loop. None is answered before the commit.
Where a piece of work fails, nothing of those in its transaction is on disk: the others are done again
without it, and it by itself after them. Work may therefore do nothing but what it does in the database.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult, Event
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import empty_log
from esl_voicemail.workers import Workers

# A disk that takes longer does not answer at all; every wait ends.
_SLOWEST_SECONDS = 60.0

T = TypeVar("T")
Work = Callable[[Connection], Any]


@dataclass(slots=True)
class _Waiting:
    work: Work
    answer: "AsyncResult[Any]" = field(default_factory=AsyncResult)


class _WorkError(Exception):
    """A piece of work failed, by its cause; nothing of its transaction is on disk."""


class Writer:
    """Takes work from any greenlet and answers when it is on disk.

    `committed` hears how many seconds each commit took, of all work that went together.
    """

    def __init__(self, engine: Engine, committed: Callable[[float], None] | None = None) -> None:
        self._engine = engine
        self._db = engine.connect()
        self._committed = committed
        self._thread = Workers(1)
        self._waiting: list[_Waiting] = []
        self._asked = Event()
        self._idle = Event()
        self._idle.set()
        self._committing: gevent.Greenlet[..., None] | None = None

    def write(
        self,
        work: Callable[[Connection], T],
        timeout_seconds: float | None = None,
        *,
        too_late: Work | None = None,
    ) -> T:
        """Run work in a transaction and return its result once committed.

        JournalError when the database refuses it, or when it takes longer than `timeout_seconds`: then
        it may still be committed later, and `too_late` after it.
        """
        seconds = _SLOWEST_SECONDS if timeout_seconds is None else timeout_seconds
        waiting = self._queue(work)
        try:
            result: T = waiting.answer.get(timeout=seconds)  # type: ignore[assignment]
        except gevent.Timeout as expired:
            if too_late is not None:
                self._queue(too_late)
            raise JournalError(f"no commit within {seconds:g} s: the disk is slow or stuck") from expired
        return result

    def _queue(self, work: Work) -> _Waiting:
        waiting = _Waiting(work)
        self._waiting.append(waiting)
        self._idle.clear()
        self._asked.set()
        if not self._committing:
            # Stays, but for a fault of ours: that is not to be the end of all writing.
            self._committing = gevent.spawn(self._commit_all)
        return waiting

    def empty_log(self) -> bool:
        """Empty the write-ahead log between two commits, as far as others' reading allows it."""
        return self._thread.run_within(_SLOWEST_SECONDS, lambda: empty_log(self._engine), False)

    def close(self) -> None:
        """Wait for what is under way, within a limit, and release the thread."""
        with gevent.Timeout(_SLOWEST_SECONDS, False):  # type: ignore[arg-type]
            self._idle.wait()
            # Moves the log into the database: as slow as the disk is.
            self._thread.run(self._let_go)
            self._thread.close()
        if self._committing:
            self._committing.kill(block=False)

    def _let_go(self) -> None:
        self._db.close()
        self._engine.dispose()

    def _commit_all(self) -> None:
        try:
            while True:
                self._asked.wait()
                self._asked.clear()
                while self._waiting:
                    # Who is about to ask is in it too: a commit costs as much for one as for many.
                    gevent.sleep(0)
                    batch, self._waiting = self._waiting, []
                    self._answer_all(batch)
                self._idle.set()
        finally:
            self._idle.set()

    def _answer_all(self, batch: list[_Waiting]) -> None:
        failed = self._answer_together(batch)
        if failed is None:
            return
        # One commit for all others, as they may be many and their callers wait.
        others = [*batch[:failed], *batch[failed + 1 :]]
        alone = [batch[failed]]
        if self._answer_together(others) is not None:
            alone = [*others, *alone]
        for waiting in alone:
            self._answer_together([waiting])

    def _answer_together(self, batch: list[_Waiting]) -> int | None:
        """Commit and answer; return which of several failed, if one did: then nobody is answered yet."""
        outcomes, seconds = self._thread.run(self._timed, batch)
        if isinstance(outcomes, int):
            return outcomes
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set(outcome)
        if self._committed is not None:
            self._committed(seconds)
        return None

    def _timed(self, batch: list[_Waiting]) -> tuple[list[Any] | int, float]:
        """Measure where the work is done: the wait of who asked for it is the event loop's too."""
        began = time.monotonic()
        outcomes = self._commit(batch)
        return outcomes, time.monotonic() - began

    def _commit(self, batch: list[_Waiting]) -> list[Any] | int:
        """Run in the native thread; return each one's result or error, or which one of several failed."""
        done: list[Any] = []
        try:
            if self._db.closed:
                self._db = self._engine.connect()
            with self._db.begin():
                for waiting in batch:
                    done.append(self._done(waiting.work))
                return done
        except _WorkError as error:
            outcomes: list[Any] | int = len(done) if len(batch) > 1 else [_as_ours(error.__cause__)]
        except Exception as error:  # noqa: BLE001 - everyone who waits must hear of it
            outcomes = [_as_ours(error)] * len(batch)
        # The pool undoes what is left of the transaction, whichever way it could not be ended.
        self._db.close()
        return outcomes

    def _done(self, work: Work) -> Any:
        try:
            return work(self._db)
        except Exception as error:
            raise _WorkError from error


def _as_ours(error: Any) -> Any:
    return _refusal(error) if isinstance(error, SQLAlchemyError) else error


def _refusal(error: SQLAlchemyError) -> JournalError:
    """Say what failed first; what came after it failed in tidying up."""
    first: BaseException = error
    at: BaseException | None = error
    while at is not None:
        first = at if isinstance(at, SQLAlchemyError) else first
        at = at.__context__
    cause = getattr(first, "orig", None) or first
    return JournalError(f"the journal refused: {cause}")
