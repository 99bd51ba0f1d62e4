"""`serve`: the service in the foreground."""

import argparse
from typing import Any

from esl_voicemail.config.load import find


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("serve", parents=[common], help="run the service until SIGTERM")
    verb.set_defaults(run=_serve)


def _serve(asked: argparse.Namespace) -> int:
    from esl_voicemail.app import App  # noqa: PLC0415 - the other verbs need none of it
    from esl_voicemail.watching import Watch  # noqa: PLC0415

    watch = Watch(find(asked.config))
    return App(watch.read(), watch).run()
