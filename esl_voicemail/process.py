"""What the service asks of the process it runs in: enough open files, and nothing printed beside the log."""

import logging
import resource
import sys
import threading
import warnings

import gevent

from esl_voicemail.esl.listener import REFUSALS_AT_MOST, SILENT_AT_MOST
from esl_voicemail.http.server import CLIENTS_AT_MOST
from esl_voicemail.telemetry import Telemetry


def raise_descriptor_limit(max_calls: int) -> None:
    """Ask for as many open files as the calls may need: sockets, recordings, and some to spare."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * max_calls + SILENT_AT_MOST + REFUSALS_AT_MOST + CLIENTS_AT_MOST + 512
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def say_all_in_lines(telemetry: Telemetry) -> None:
    """Have all that would be printed be a log line: an unforeseen end, and what libraries have to say."""

    def crashed(event: str, error: object) -> None:
        telemetry.crashed(event, error if isinstance(error, BaseException) else Exception(str(error)))

    def greenlet(_context: object, _kind: object, error: object, _trace: object) -> None:
        crashed("greenlet_crashed", error)

    def thread(found: threading.ExceptHookArgs) -> None:
        crashed("thread_crashed", found.exc_value or found.exc_type.__name__)

    def unraised(found: "sys.UnraisableHookArgs") -> None:
        crashed("crash_ignored", found.exc_value or found.exc_type.__name__)

    def warned(words: Warning | str, kind: type[Warning], file: str, line: int, *_: object) -> None:
        telemetry.warned(kind.__name__, f"{words} ({file}:{line})")

    gevent.get_hub().print_exception = greenlet  # type: ignore[assignment,method-assign]
    threading.excepthook = thread
    sys.unraisablehook = unraised
    warnings.showwarning = warned  # type: ignore[assignment]
    logging.getLogger().addHandler(_Listening(telemetry))


class _Listening(logging.NullHandler):
    """Hears what libraries log. It has no lock, as native threads would hang where they meet at it."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def handle(self, record: logging.LogRecord) -> bool:
        """Say it; who logs is never to fail for it."""
        try:
            words = record.getMessage()
        except (TypeError, ValueError):
            words = str(record.msg)
        self._telemetry.warned(record.name, words)
        return True
