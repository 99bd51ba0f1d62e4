"""`render`: a mail as it would be sent, on standard output."""

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.errors import VoicemailError
from esl_voicemail.journal import JournalReader
from esl_voicemail.mail.composer import Composer
from esl_voicemail.model import Attempt, Voicemail
from esl_voicemail.samples import KINDS, first_attempt, sample


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("render", parents=[common], help="print a mail as it would be sent")
    what = verb.add_mutually_exclusive_group(required=True)
    what.add_argument("id", metavar="ID", nargs="?", help="a message's id or its call's UUID")
    what.add_argument("--sample", metavar="MAILBOX", help="an invented message to this mailbox")
    verb.add_argument(
        "--kind", choices=KINDS, default=KINDS[0], help="which kind of mail the sample is: %(default)s"
    )
    verb.set_defaults(run=_render)


def _render(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    attempt = (
        _sample(config, asked.sample, asked.kind)
        if asked.sample
        else first_attempt(config, _closed(config, asked.id))
    )
    failed: list[str] = []
    composer = Composer(config.mailboxes, config.mail.sender, lambda why, _: failed.append(why))
    mail = composer.compose(attempt)
    sys.stdout.buffer.write(bytes(mail).replace(b"\r\n", b"\n"))
    if failed:
        sys.stdout.flush()
        raise VoicemailError(f"{failed[0]}; so the mail is made by the shipped templates")
    return 0


def _closed(config: Config, name: str) -> Voicemail:
    voicemail = JournalReader(config.directory, config.recordings).voicemail(name)
    if voicemail is None:
        raise VoicemailError(f"no message and no closed call {name!r}; see `esl-voicemail messages list`")
    return voicemail


def _sample(config: Config, mailbox: str, kind: str) -> Attempt:
    if mailbox not in config.mailboxes:
        raise VoicemailError(f"no mailbox {mailbox!r}; there are {', '.join(config.mailboxes)}")
    return sample(config, mailbox, datetime.now(UTC), kind)
