"""Runs a program of the machine within bounds: of time, of what it prints, and of what it leaves running.

Knows nothing of what the program is for. Holds the greenlet that asks, never the event loop.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import gevent

from esl_voicemail.errors import ProgramError, ProgramTimeoutError
from esl_voicemail.model import one_line

# Above these it does not end by itself; and what is read without a pause keeps all calls waiting.
OUTPUT_AT_MOST = 64 << 10
ERRORS_AT_MOST = 1 << 20
_PART = 64 << 10
# What is killed is gone at once, but for one that a disk holds.
_GONE_SECONDS = 2.0


def run(command: Sequence[str], folder: Path, seconds: float, given: IO[bytes] | None = None) -> bytes:
    """Return what a program prints; `given` is its standard input.

    It and all it started are killed when it has ended, when its seconds are over or when the greenlet is.
    ProgramError, ProgramTimeoutError when it is of no use; the line ends with the last one it complained by.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(  # noqa: S603 - what the operator configured; no shell reads it
            command,
            bufsize=0,
            cwd=folder,
            stdin=given or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramError(f"{command[0]}: cannot be run: {error.strerror or error}") from error
    output, errors = bytearray(), bytearray()
    readers = [
        gevent.spawn(_read, process, process.stdout, output, OUTPUT_AT_MOST),
        gevent.spawn(_read, process, process.stderr, errors, ERRORS_AT_MOST),
    ]
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise ProgramTimeoutError(f"{name}: not done after {seconds:.1f} s") from error
    finally:
        _kill(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GONE_SECONDS)
        # Who has left the process group may still hold the other end.
        gevent.joinall(readers, timeout=_GONE_SECONDS)
        gevent.killall(readers)
        for stream in (process.stdout, process.stderr):
            _close(stream)
    if len(output) > OUTPUT_AT_MOST or len(errors) > ERRORS_AT_MOST:
        raise ProgramError(f"{name}: prints without end")
    if code:
        how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
        said = _last_line(errors)
        raise ProgramError(f"{name}: {how}" + (f": {said}" if said else ""), bytes(output))
    return bytes(output)


def _read(process: "subprocess.Popen[bytes]", stream: IO[bytes] | None, found: bytearray, most: int) -> None:
    """Read to the end; above what is allowed, it is the program's."""
    while stream and (part := stream.read(_PART)):
        found += part
        if len(found) > most:
            _kill(process)
            return


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(stream: IO[bytes] | None) -> None:
    with suppress(OSError):
        if stream is not None:
            stream.close()


def _last_line(errors: bytearray) -> str:
    """What it gave up with stands at the end, below warnings and traces."""
    lines = (one_line(line, 200) for line in reversed(errors.decode(errors="replace").splitlines()))
    return next(filter(None, lines), "")
