"""The command `esl-voicemail`: patches the standard library for gevent first, then hands over to `cli`."""

from gevent import monkey

monkey.patch_all()

import sys

from esl_voicemail.cli import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
