"""The service, woven with its points, in processes that are really killed: `python -m tests.crash.launch`.

Imports everything once and then forks a child for each start, so that a start costs a tenth of a second.
Orders come from stdin, a JSON object a line; each child is answered with its process id, and with how it
ended. Ends, with its child, when stdin does.

An order: `folder` to work in; the `command`; `ahead`, by how many seconds the machine's clock is ahead;
`trace`, a file for the names of the points passed; or `kill`, [name, "before" or "after", passage], and
`count`, a file for how often that was passed.
"""

import ast
import builtins
import gc
import importlib.abc
import importlib.machinery
import itertools
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from gevent.monkey import get_original

from tests.crash.points import PACKAGE, WRAP, WRAP_TRANSACTION, takes_part, weave

# --- at the points ----------------------------------------------------------------------------------


class Fate:
    """What shall happen at the points of this process; nothing, until it is a child with an order."""

    def __init__(self) -> None:
        self._trace = -1
        self._count = -1
        self._target = ("", "")
        self._passages = itertools.count(1)
        self._fatal = 0

    def take(self, order: dict[str, Any]) -> None:
        """Take an order."""
        if order.get("trace"):
            self._trace = os.open(order["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if order.get("kill"):
            name, when, self._fatal = order["kill"]
            self._count = os.open(order["count"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self._target = (name, when)

    def pass_by(self, name: str, when: str) -> None:
        """Note a passage, or die of it."""
        if self._trace >= 0:
            os.write(self._trace, f"{name} {when}\n".encode())
        elif self._target == (name, when):
            os.write(self._count, b".")
            if next(self._passages) == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


FATE = Fate()


def crash_point(name: str, callee: Any) -> Any:
    """Return a callee that passes by its point, before and after."""

    def passing(*args: Any, **kwargs: Any) -> Any:
        FATE.pass_by(name, "before")
        try:
            return callee(*args, **kwargs)
        finally:
            FATE.pass_by(name, "after")

    return passing if callable(callee) else callee


class _Transaction:
    """A transaction that passes by its point, before and after its commit."""

    def __init__(self, name: str, inner: Any) -> None:
        self._name = name
        self._inner = inner

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> Any:
        FATE.pass_by(self._name, "before")
        try:
            return self._inner.__exit__(kind, error, at)
        finally:
            FATE.pass_by(self._name, "after")


def crash_transaction(name: str, begin: Callable[..., Any]) -> Callable[..., _Transaction]:
    """Return what begins a transaction whose end is a point."""
    return lambda *args, **kwargs: _Transaction(name, begin(*args, **kwargs))


# --- weaving ----------------------------------------------------------------------------------------


class _Woven(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree: ast.Module = weave(fullname.removeprefix(f"{PACKAGE}."), self.get_data(self.path).decode())[0]
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(f"{PACKAGE}.") or not takes_part(fullname.removeprefix(f"{PACKAGE}.")):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            spec.loader = _Woven(fullname, spec.origin)
        return spec


def import_woven() -> None:
    """Import the service with its points woven in, and do once what each start would do again."""
    setattr(builtins, WRAP, crash_point)
    setattr(builtins, WRAP_TRANSACTION, crash_transaction)
    already = [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]
    assert not already, f"imported unwoven: {already}"
    sys.meta_path.insert(0, _Finder())

    from esl_voicemail import checks
    from esl_voicemail.config.load import load
    from esl_voicemail.journal.engine import migrate, open_engine, url_of

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "voicemail.yaml"
        config.write_text(json.dumps({"storage": {"directory": folder}}))
        engine = open_engine(url_of(Path(folder)), writing=True)
        migrate(engine)
        engine.dispose()
        checks.problems(load(config))
    # What all children share stays shared: the collector would touch every page of it in each.
    gc.collect()
    gc.freeze()


# --- starting ---------------------------------------------------------------------------------------


def live(order: dict[str, Any]) -> NoReturn:
    """Be the command `esl-voicemail`, in a child that has a folder of its own."""
    signal.set_wakeup_fd(-1)
    get_original("signal", "signal")(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["folder"])
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for theirs, ours in ((null, 0), (log, 1), (log, 2)):
        os.dup2(theirs, ours)

    from esl_voicemail import app
    from esl_voicemail.cli import run

    ahead = timedelta(seconds=order.get("ahead", 0))
    app.Clock = partial(app.Clock, lambda: datetime.now(UTC) + ahead)  # type: ignore[misc]
    FATE.take(order)
    code = 70
    try:
        code = run(order["command"])
    finally:
        os._exit(code)


def main() -> None:
    """Start what is ordered, until stdin ends."""
    import_woven()
    from gevent.hub import _get_hub  # type: ignore[attr-defined]

    # No child may share an event loop or a thread with its siblings.
    assert _get_hub() is None, "an event loop before the fork"
    fork, waitpid = get_original("os", "fork"), get_original("os", "waitpid")
    select = get_original("select", "select")
    told, ending = os.pipe()
    os.set_blocking(ending, False)
    get_original("signal", "signal")(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ending)
    pending, children = b"", set()
    _say(ready=os.getpid())
    while True:
        readable = select([0, told], [], [])[0]
        if told in readable and os.read(told, 4096):
            for child in list(children):
                ended, status = waitpid(child, os.WNOHANG)
                if ended:
                    children.discard(child)
                    _say(ended=child, status=os.waitstatus_to_exitcode(status))
        if 0 in readable:
            received = os.read(0, 65536)
            if not received:
                break
            pending += received
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                order = json.loads(line)
                child = fork()
                if not child:
                    live(order)
                children.add(child)
                _say(started=child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        waitpid(child, 0)


def _say(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
