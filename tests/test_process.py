"""Nothing is printed beside the log: what fails unforeseen and what libraries say is a line of it."""

import subprocess
import sys

from tests.support.service import parse_logfmt

BEFORE = r"""
from gevent import monkey
monkey.patch_all()
import logging, sys, threading, warnings
from datetime import UTC, datetime
import gevent
from esl_voicemail.log import Log
from esl_voicemail.process import say_all_in_lines
from esl_voicemail.telemetry import Telemetry

def clock():
    return datetime.now(UTC)

def fail(*_):
    raise ValueError("two\nlines \x1b[31m")

class Failing:
    __del__ = fail

say_all_in_lines(Telemetry([], clock, log=Log(lambda line: print(line, file=sys.stderr), clock)))
"""
WHY = "ValueError: two lines [31m"
SAID = {
    "gevent.spawn(fail).join()": ("greenlet_crashed", WHY),
    "one = threading.Thread(target=fail); one.start(); one.join()": ("thread_crashed", WHY),
    "Failing()": ("crash_ignored", WHY),
    r"warnings.warn('two\nlines', stacklevel=1)": ("warned", "two lines (<string>:"),
    r"logging.getLogger('library').warning('two\n%s', 'lines')": ("warned", "two lines"),
    r"logging.error('%d\n', 'lines')": ("warned", "%d"),
    # Meant for developers:
    "logging.info('x')": None,
    "warnings.warn('x', DeprecationWarning, 2)": None,
}


def test_what_would_be_printed_is_a_line_of_the_log() -> None:
    happens = "\n".join([BEFORE, *SAID])
    done = subprocess.run([sys.executable, "-c", happens], capture_output=True, text=True, check=True)
    lines = [parse_logfmt(line) for line in done.stderr.splitlines()]
    wanted = [said for said in SAID.values() if said]
    assert [line["event"] for line in lines] == [event for event, _ in wanted]
    for line, (_, why) in zip(lines, wanted, strict=True):
        assert line["why"].startswith(why)
