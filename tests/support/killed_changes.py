"""Adds or removes a mailbox in forks that are killed, each a line of `config/changes.py` later than the last.

Run as a process of its own, in an empty folder; says, one JSON object a fork, what the fork left behind.
"""

import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from esl_voicemail.config import changes, load

SETTINGS = {"name": "Pomoc", "recipients": ["help@example.com"], "numbers": ["22"]}
BASE = "mailboxes: {sales: {recipients: [s@example.com]}}\n"


def kill_at(step: int) -> None:
    """Kill this process before it runs a line of the changes, the first of them counted as 0."""
    lines = itertools.count()

    def look(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and next(lines) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return look

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        return look if frame.f_code.co_filename == changes.__file__ else None

    sys.settrace(enter)


def change(verb: str, config: Path) -> None:
    """Add the mailbox `help`, or remove it."""
    if verb == "add":
        changes.add_mailbox(config, "help", SETTINGS, lambda _: [])
    else:
        changes.remove_mailbox(config, "help", lambda _: [])


def main(verb: str) -> None:
    """Kill a change at every line, until one comes to its end."""
    config = Path.cwd() / "voicemail.yaml"
    config.write_text(BASE)
    folder = config.parent / "mailboxes"
    for step in itertools.count():
        shutil.rmtree(folder, ignore_errors=True)
        if verb == "remove":
            change("add", config)
        child = os.fork()
        if child == 0:
            kill_at(step)
            change(verb, config)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        mailboxes = sorted(load(config).mailboxes)
        # Whatever it left is no obstacle to the next change.
        if ("help" in mailboxes) != (verb == "add"):
            change(verb, config)
        after = sorted(path.name for path in folder.iterdir())
        print(json.dumps({"code": code, "left": left, "mailboxes": mailboxes, "after": after}))
        if code == 0:
            return


if __name__ == "__main__":
    main(sys.argv[1])
