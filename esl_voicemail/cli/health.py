"""`health`: whether the service lives, and whether it takes calls, as it says itself over HTTP."""

import argparse
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any

from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.config.values import Address
from esl_voicemail.errors import CannotReachError, VoicemailError
from esl_voicemail.loopback import reachable
from esl_voicemail.model import one_line
from esl_voicemail.running import listening

_SECONDS = 5.0


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "health", parents=[common], help="ask the running service whether it lives; for a container's check"
    )
    verb.add_argument("--ready", action="store_true", help="also fail when it takes no calls, and say why")
    verb.set_defaults(run=_health)


def _health(asked: argparse.Namespace) -> int:
    address = _address(load(find(asked.config)))
    if _ask(address, "/healthz") != (200, "ok\n"):
        raise CannotReachError(
            f"{address}: another program answers there; does the service run, and listen there?"
        )
    status, reasons = _ask(address, "/readyz")
    if status != 200:
        why = one_line(reasons.strip().replace("\n", "; "), 500)
        if asked.ready:
            raise VoicemailError(f"{address}: takes no calls: {why}")
        print(f"{address}: lives, and takes no calls: {why}")
        return 0
    print(f"{address}: lives, and takes calls")
    return 0


def _address(config: Config) -> Address:
    """Where it listens, as it says itself; before it takes calls, where it was told to."""
    return reachable(listening(config.directory, "http") or config.http.listen)


def _ask(address: Address, path: str) -> tuple[int, str]:
    try:
        with closing(HTTPConnection(address.host, address.port, timeout=_SECONDS)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(10_000).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        words = one_line(str(error), 200)
        raise CannotReachError(
            f"{address}: the service does not answer: {words}; does it run, with this configuration?"
        ) from error
