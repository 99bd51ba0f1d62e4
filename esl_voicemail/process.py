"""What the service asks of the process it runs in: enough open files, and its crashes said in the log."""

import resource

import gevent

from esl_voicemail.esl.listener import REFUSALS_AT_MOST, SILENT_AT_MOST
from esl_voicemail.telemetry import Telemetry


def raise_descriptor_limit(max_calls: int) -> None:
    """Ask for as many open files as the calls may need: sockets, recordings, and some to spare."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * max_calls + SILENT_AT_MOST + REFUSALS_AT_MOST + 512
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def say_crashes_in_one_line(telemetry: Telemetry) -> None:
    """A greenlet's unforeseen end is a log line like all else; gevent would print a traceback."""

    def say(_context: object, _kind: object, error: object, _trace: object) -> None:
        telemetry.crashed(
            "greenlet_crashed", error if isinstance(error, BaseException) else Exception(str(error))
        )

    gevent.get_hub().print_exception = say  # type: ignore[assignment,method-assign]
