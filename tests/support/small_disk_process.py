"""Runs one scenario of a test module, in a process that may mount: MODULE SCENARIO FOLDER."""

import importlib
import signal
import sys
from pathlib import Path

from gevent import monkey

monkey.patch_all()

import gevent


def main() -> None:
    """Run the scenario; its error, if any, is printed and makes the exit code."""
    module, name, folder = sys.argv[1:]
    scenario = gevent.spawn(getattr(importlib.import_module(module), name).scenario, Path(folder))
    gevent.signal_handler(signal.SIGTERM, scenario.kill)
    scenario.get()


if __name__ == "__main__":
    main()
