"""`check`: what is wrong before a caller finds out."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from esl_voicemail import checks, sharing, switch_checks
from esl_voicemail.binding import bind, is_same
from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.config.values import Address, address_of
from esl_voicemail.errors import CannotBindError, CannotReachError, ConfigError
from esl_voicemail.esl.console import Console
from esl_voicemail.mail.advice import advice
from esl_voicemail.mail.transport import SmtpTransport, transport_of
from esl_voicemail.model import PROBE
from esl_voicemail.running import is_served, listening
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Verdict


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("check", parents=[common], help="look for what is wrong, change nothing")
    verb.add_argument(
        "--smtp", action="store_true", help="also ask the mail server about every recipient, up to RCPT"
    )
    verb.add_argument(
        "--switch",
        metavar="HOST:PORT",
        type=_address,
        help="also ask the switch, by its event socket, what it has, sees and reaches",
    )
    verb.add_argument(
        "--password-file", metavar="FILE", type=Path, help="the event socket's password, for --switch"
    )
    verb.set_defaults(run=_check)


def _check(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    found, taken = checks.problems(config), _taken(config)
    if found:
        raise ConfigError([*found, *taken])
    if taken:
        raise CannotBindError("\n".join(taken))
    if asked.smtp:
        _ask_server(config)
    if asked.switch:
        _ask_switch(config, asked.switch, asked.password_file)
    else:
        for note in (*sharing.notes(config), _unasked(config)):
            print(note)
    to_root = sharing.note_to_root(config)
    if to_root:
        print(to_root)
    mailboxes = [mailbox for key, mailbox in config.mailboxes.items() if key != PROBE]
    recipients = sum(len(mailbox.recipients) for mailbox in mailboxes)
    counts = f"{_count(len(mailboxes), 'mailbox', 'es')}, {_count(recipients, 'recipient')}"
    print(f"{config.source.name}: ok, {counts}")
    return 0


def _taken(config: Config) -> list[str]:
    """Where a server could not listen; where the running one of this storage does, none has to."""
    is_running, found = is_served(config.directory), []
    places: dict[Literal["listen", "http"], tuple[Address, str]] = {
        "listen": (config.listen, config.at("listen")),
        "http": (config.http.listen, config.at("http", "listen")),
    }
    for on, (address, where) in places.items():
        try:
            bind(address).close()
        except CannotBindError as error:
            running_at = listening(config.directory, on) if is_running else None
            if running_at is None or not is_same(address, running_at):
                found.append(f"{where}: {error}")
    return found


def _unasked(config: Config) -> str:
    """Say what nobody looked at."""
    switch = config.probe and config.probe.switch
    address = Address(switch.host, switch.port) if switch else "HOST:PORT"
    return (
        f"{config.at('storage', 'recordings')}: note: the switch was not asked whether it can write there, "
        f"read the greetings and reach {config.listen}; ask it by --switch {address}"
    )


def _count(n: int, word: str, plural: str = "s") -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}{plural}"


def _address(text: str) -> Address:
    try:
        return address_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _ask_switch(config: Config, address: Address, password_file: Path | None) -> None:
    with Console(address, checks.console_password(config, password_file)) as console:
        version = console.api("version")
        found = switch_checks.ask(config, console)
    print(f"{address}: {version}")
    for note in found.notes:
        print(f"{address}: note: {note}")
    if found.problems:
        raise ConfigError(found.problems)


def _ask_server(config: Config) -> None:
    transport = transport_of(config)
    if not isinstance(transport, SmtpTransport):
        raise ConfigError([f"{config.at('mail')}: --smtp needs mail.smtp; mails go into {config.maildir}"])
    recipients = {to.address: None for mailbox in config.mailboxes.values() for to in mailbox.recipients}
    verdicts = transport.probe(config.mail.sender.address, recipients)
    _reach(config, transport, [verdict for _, verdict in verdicts])
    refused: list[str] = []
    for recipient, verdict in verdicts:
        if isinstance(verdict, Delivered):
            print(f"{recipient}: accepted: {_said(verdict)}")
        else:
            print(f"{recipient}: {type(verdict).__name__.lower()}: {_said(verdict)}")
            refused.append(f"{recipient}: {_said(verdict)}")
    if refused:
        later = all(isinstance(verdict, Delivered | Deferred) for _, verdict in verdicts)
        raise CannotReachError(
            f"{transport.host}:{transport.port}: {len(refused)} of {len(recipients)} recipients not taken; "
            f"the first: {refused[0]}; "
            + ("ask again in some minutes" if later else "mend the addresses, or ask whoever runs the server")
        )


def _reach(config: Config, transport: SmtpTransport, verdicts: Sequence[Verdict]) -> None:
    """Say once what is no recipient's fault; CannotReachError."""
    first, where = verdicts[0], f"{transport.host}:{transport.port}"
    if any(verdict != first for verdict in verdicts) or isinstance(first, Delivered):
        return
    if isinstance(first, Deferred) and first.unreachable:
        setting, todo = advice(first.code, first.reply)
        said = _said(first) if where in first.reply else f"{where}: {_said(first)}"
        raise CannotReachError(f"{config.at('mail', 'smtp', setting)}: {said}; {todo}")
    if len(verdicts) > 1 and isinstance(first, Bounced):
        raise CannotReachError(
            f"{config.at('mail', 'from')}: {where}: takes no mail of {config.mail.sender.address} for any of "
            f"{len(verdicts)} recipients: {_said(first)}; mend `from`, or ask whoever runs the server"
        )


def _said(verdict: Verdict) -> str:
    return f"{verdict.code or ''} {verdict.reply}".strip()
