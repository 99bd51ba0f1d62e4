"""The command line in processes forked from one that has imported it already: a second less for each.

Each command has a process of its own all the same, with its own folder, output and exit code. What happens
before the imports (standard streams, encodings) is for tests that start Python anew.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_SECONDS = 60
_one_at_a_time = threading.Lock()


def run(arguments: tuple[str, ...], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command line in a folder and return what it printed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        streams = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (output, errors)]
        with _one_at_a_time:
            parent = _parent()
            assert parent.stdin
            assert parent.stdout
            parent.stdin.write(json.dumps([arguments, str(folder), *streams]) + "\n")
            parent.stdin.flush()
            code = int(parent.stdout.readline())
        said = [(file.seek(0), file.read().decode())[1] for file in (output, errors)]
    return subprocess.CompletedProcess(arguments, code, *said)


@cache
def _parent() -> "subprocess.Popen[str]":
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forks"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(parent.communicate)
    return parent


def main() -> None:
    """Fork a command for each order on stdin, wait for it and say its exit code."""
    from gevent.monkey import get_original

    from esl_voicemail.__main__ import main as program  # patches first, as in a process of its own

    # A collection in a fork, at its end at the latest, would write to every object and so copy all memory.
    gc.freeze()
    fork, waitpid = get_original("os", "fork"), get_original("os", "waitpid")
    for order in sys.stdin:
        arguments, folder, *streams = json.loads(order)
        child = fork()
        if child == 0:
            for number, stream in enumerate([os.devnull, *streams]):
                os.dup2(os.open(stream, os.O_RDWR), number)
            os.chdir(folder)
            sys.argv[1:] = arguments
            signal.alarm(_SECONDS)
            program()
        code = os.waitstatus_to_exitcode(waitpid(child, 0)[1])
        os.write(1, f"{code}\n".encode())


if __name__ == "__main__":
    main()
