"""`check`: what is wrong before a caller finds out."""

import argparse
from typing import Any

from esl_voicemail import checks
from esl_voicemail.app import transport_of
from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.errors import CannotReachError, ConfigError
from esl_voicemail.mail.transport import SmtpTransport
from esl_voicemail.verdict import Delivered


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("check", parents=[common], help="look for what is wrong, change nothing")
    verb.add_argument(
        "--smtp", action="store_true", help="also ask the mail server about every recipient, up to RCPT"
    )
    verb.set_defaults(run=_check)


def _check(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    found = checks.problems(config)
    if found:
        raise ConfigError(found)
    if asked.smtp:
        _ask_server(config)
    recipients = sum(len(mailbox.recipients) for mailbox in config.mailboxes.values())
    print(f"{config.source.name}: ok, {len(config.mailboxes)} mailboxes, {recipients} recipients")
    return 0


def _ask_server(config: Config) -> None:
    transport = transport_of(config)
    if not isinstance(transport, SmtpTransport):
        raise ConfigError([f"{config.at('mail')}: --smtp needs mail.smtp; mails go into {config.maildir}"])
    recipients = {to.address: None for mailbox in config.mailboxes.values() for to in mailbox.recipients}
    refused: list[str] = []
    for recipient, verdict in transport.probe(config.mail.sender.address, recipients):
        said = f"{verdict.code or ''} {verdict.reply}".strip()
        if isinstance(verdict, Delivered):
            print(f"{recipient}: accepted: {said}")
        else:
            print(f"{recipient}: {type(verdict).__name__.lower()}: {said}")
            refused.append(f"{recipient}: {said}")
    if refused:
        raise CannotReachError(
            f"{transport.host}:{transport.port}: {len(refused)} of {len(recipients)} recipients not taken; "
            f"the first: {refused[0]}; mend the addresses, or ask whoever runs the server"
        )
