"""The command line: one file a verb group, exit codes, one line an error; no logic of its own."""

import argparse
import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import esl_voicemail
from esl_voicemail import __version__
from esl_voicemail.cli import (
    call,
    check,
    completion,
    dialplan,
    erase,
    greeting,
    health,
    mailbox,
    messages,
    probe,
    render,
    serve,
    transcribe,
)
from esl_voicemail.errors import (
    CannotBindError,
    CannotReachError,
    ConfigError,
    StorageBusyError,
    VoicemailError,
)
from esl_voicemail.model import one_line

# sysexits(3)
FAILED, USAGE, UNAVAILABLE, BUSY, BAD_CONFIG = 1, 64, 69, 75, 78

_CODES: tuple[tuple[type[VoicemailError], int], ...] = (
    (ConfigError, BAD_CONFIG),
    (CannotBindError, UNAVAILABLE),
    (CannotReachError, UNAVAILABLE),
    (StorageBusyError, BUSY),
)


_TODO = {
    errno.ENOSPC: "; make room on its disk, and ask again",
    errno.EDQUOT: "; make room in this user's quota, and ask again",
    errno.EROFS: "; its disk is read-only: see dmesg, mount it again",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = _Parser(prog="esl-voicemail", description="Voicemail to e-mail for FreeSWITCH.")
    top.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration; else $ESL_VOICEMAIL_CONFIG, ./voicemail.yaml, "
        "/etc/esl-voicemail/voicemail.yaml, else embedded defaults",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for group in (
        serve,
        check,
        call,
        probe,
        health,
        messages,
        mailbox,
        greeting,
        dialplan,
        render,
        erase,
        transcribe,
    ):
        group.add(verbs, common)
    completion.add(verbs, common, parser)
    return top


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors go to standard error, one line each."""
    if getattr(sys, "stdout", None) is None:  # closed, as `>&-` leaves it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - held until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without our letters sees them escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: that is its right.
        _say_no_more()
        return 0
    except OSError as error:
        print(f"esl-voicemail: {error}{_TODO.get(error.errno or 0, '')}", file=sys.stderr)
        _say_no_more()
        return FAILED
    else:
        return code


def _run(arguments: Sequence[str]) -> int:
    try:
        asked = parser().parse_args(arguments)
        code: int = asked.run(asked)
    except VoicemailError as error:
        print(error, file=sys.stderr)
        return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
    except SystemExit as end:  # argparse, after --help, --version or a wrong argument
        return int(end.code or 0)
    except KeyboardInterrupt:
        return 130
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a traceback tells a person nothing
        print(
            f"esl-voicemail: {_fault(error)}; this is a fault of the program: report it, with this line",
            file=sys.stderr,
        )
        return FAILED
    else:
        return code


def _fault(error: Exception) -> str:
    """Say what failed, and in which line of ours."""
    ours = Path(esl_voicemail.__file__).parent
    frames = [one for one in traceback.extract_tb(error.__traceback__) if ours in Path(one.filename).parents]
    where = Path(frames[-1].filename).relative_to(ours.parent)
    words = one_line(f"{type(error).__name__}: {error}", 300).removesuffix(":")
    return f"{words} (at {where}:{frames[-1].lineno})"


def _say_no_more() -> None:
    """Let what is still buffered go nowhere, or Python fails on it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
