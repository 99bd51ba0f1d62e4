"""Writes to the journal: on one native thread, those that wait together committed together.

A disk that takes its time holds that thread, never the event loop. Each piece of work has a savepoint of
its own, so one that fails does not take the others along; none is answered before the commit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from esl_voicemail.errors import JournalError
from esl_voicemail.journal.engine import empty_log
from esl_voicemail.journal.statement import Statement

# A disk that takes longer does not answer at all; every wait ends.
_SLOWEST_SECONDS = 60.0

# Standard SQL; SQLAlchemy's own way takes longer than most work does.
_SAVE, _UNDO, _RELEASE = (
    Statement(text(f"{verb}SAVEPOINT work")) for verb in ("", "ROLLBACK TO ", "RELEASE ")
)

T = TypeVar("T")
Work = Callable[[Connection], Any]


@dataclass(slots=True)
class _Waiting:
    work: Work
    answer: "AsyncResult[Any]" = field(default_factory=AsyncResult)


class Writer:
    """Takes work from any greenlet and answers when it is on disk.

    `committed` hears how many seconds each commit took, of all work that went together.
    """

    def __init__(self, engine: Engine, committed: Callable[[float], None] | None = None) -> None:
        self._engine = engine
        self._committed = committed
        self._thread = ThreadPool(1)
        self._waiting: list[_Waiting] = []
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
        if self._committing is None:
            self._committing = gevent.spawn(self._commit_all)
        return waiting

    def empty_log(self) -> bool:
        """Empty the write-ahead log between two commits, as far as others' reading allows it."""
        emptied: bool = self._thread.apply(empty_log, (self._engine,))
        return emptied

    def close(self) -> None:
        """Wait for what is under way, within a limit, and release the thread."""
        with gevent.Timeout(_SLOWEST_SECONDS, False):  # type: ignore[arg-type]
            while self._committing is not None:
                self._committing.join()
            # Moves the log into the database: as slow as the disk is.
            self._thread.apply(self._engine.dispose)
            self._thread.kill()

    def _commit_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                outcomes, seconds = self._thread.apply(self._timed, (batch,))
                self._settle(batch, outcomes)
                if self._committed is not None:
                    self._committed(seconds)
        finally:
            self._committing = None

    def _settle(self, batch: list[_Waiting], outcomes: list[Any]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set(outcome)

    def _timed(self, batch: list[_Waiting]) -> tuple[list[Any], float]:
        """Measure where the work is done: the wait of who asked for it is the event loop's too."""
        began = time.monotonic()
        outcomes = self._commit(batch)
        return outcomes, time.monotonic() - began

    def _commit(self, batch: list[_Waiting]) -> list[Any]:
        """Run in the native thread; return for each piece of work its result or its error."""
        outcomes: list[Any] = []
        try:
            with self._engine.begin() as connection:
                for waiting in batch:
                    outcomes.append(self._one(connection, waiting.work))
                    if not _in_transaction(connection):
                        # A full disk makes SQLite roll back everything, the work before this one too.
                        raise JournalError(str(outcomes[-1]))
        except SQLAlchemyError as error:
            outcomes = [_refusal(error)] * len(batch)
        except Exception as error:  # noqa: BLE001 - everyone who waits must hear of it
            outcomes = [error] * len(batch)
        return outcomes

    def _one(self, connection: Connection, work: Work) -> Any:
        try:
            with _savepoint(connection):
                return work(connection)
        except JournalError as error:
            return error
        except SQLAlchemyError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - the greenlet that asked must get it, not this thread
            return error


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    _SAVE.execute(connection)
    try:
        yield
    except BaseException:
        _UNDO.execute(connection)
        raise
    finally:
        _RELEASE.execute(connection)


def _in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def _refusal(error: SQLAlchemyError) -> JournalError:
    """Say what failed first; what came after it failed in tidying up."""
    first: BaseException = error
    at: BaseException | None = error
    while at is not None:
        first = at if isinstance(at, SQLAlchemyError) else first
        at = at.__context__
    cause = getattr(first, "orig", None) or first
    return JournalError(f"the journal refused: {cause}")
