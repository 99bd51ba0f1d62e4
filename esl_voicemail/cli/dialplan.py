"""`dialplan`: the XML by which FreeSWITCH sends calls to a mailbox, on standard output."""

import argparse
from datetime import datetime
from typing import Any

from esl_voicemail.config import load
from esl_voicemail.config.load import find
from esl_voicemail.dialplan import REASONS, USUAL, dialplan
from esl_voicemail.errors import ConfigError, VoicemailError


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "dialplan", parents=[common], help="print the dialplan that sends calls to a mailbox"
    )
    verb.add_argument("mailbox", metavar="MAILBOX")
    verb.add_argument(
        "--on",
        metavar="REASON",
        nargs="+",
        choices=REASONS,
        default=USUAL,
        help=f"what leads there: {', '.join(REASONS)}; else the first three",
    )
    verb.set_defaults(run=_dialplan)


def _dialplan(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    mailbox = config.mailboxes.get(asked.mailbox)
    if mailbox is None:
        raise VoicemailError(f"no mailbox {asked.mailbox!r}; there are {', '.join(config.mailboxes)}")
    if config.listen.port == 0:
        raise ConfigError(
            [f"{config.at('listen')}: a dialplan needs a port that stays; name one, as in 8084"]
        )
    today = datetime.now(mailbox.timezone).date()
    print(dialplan(mailbox, config.listen, asked.on, today=today), end="")
    return 0
