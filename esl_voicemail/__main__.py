"""The command `esl-voicemail`: patches the standard library for gevent first, then hands over to `cli`."""

import os
import sys

# A standard stream that is closed, as `2>&-` leaves it, would lend its number to the next file or socket
# opened, and what is meant for a person would be written into that. Before anything else is opened:
for number, name in enumerate(("stdin", "stdout", "stderr")):
    if getattr(sys, name) is None:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
        setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115

from gevent import monkey

monkey.patch_all()

from esl_voicemail.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
