"""The command line on a terminal of a width: what it says there."""

import os
import pty
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path


def on_terminal(folder: Path, columns: int, *arguments: str) -> str:
    """Run a command that does well and says some thousand letters at most, and return what it said."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    without = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "esl_voicemail", *arguments],
        cwd=folder,
        stdout=theirs,
        stderr=theirs,
        env=without,
        timeout=60,
        check=False,
    )
    os.set_blocking(ours, False)
    said = b""
    with suppress(BlockingIOError):
        while part := os.read(ours, 4096):
            said += part
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, said
    return said.decode()
