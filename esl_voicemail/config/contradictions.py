"""What contradicts itself in a configuration whose every value is right by itself; a line each."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from esl_voicemail.config.resolved import Config
from esl_voicemail.config.sections import ConfigSection, DefaultsSection, MailboxSection
from esl_voicemail.config.source import name_of
from esl_voicemail.config.values import Address
from esl_voicemail.model import PROBE

_REAL_CALL_SECONDS = 60


def contradictions(config: Config, whole: ConfigSection, sections: Mapping[str, MailboxSection]) -> list[str]:
    """Return what cannot be together; `whole` and `sections` are what was written."""
    return [
        *_everywhere(config),
        *_promises(config),
        *_limits(config, whole.defaults, sections),
        *_recordings_shared(config, whole),
        *_probe(config),
    ]


def _everywhere(config: Config) -> list[str]:
    problems: list[str] = []
    if not config.mailboxes.keys() - {PROBE}:
        problems.append(f"{config.at('mailboxes')}: there is no mailbox; add one with its recipients")
    smtp = config.mail.smtp
    if smtp and smtp.security == "none" and smtp.username is not None and not _is_loopback(smtp.host):
        where = config.at("mail", "smtp", "security")
        problems.append(f"{where}: the password would go to {smtp.host} in the clear; use starttls or tls")
    if _collide(config.listen, config.http.listen):
        where = config.at("http", "listen")
        problems.append(f"{where}: {config.http.listen} is where `listen` listens too; name another port")
    owner: dict[str, tuple[str, str]] = {}
    for key, mailbox in config.mailboxes.items():
        addresses = [recipient.address.lower() for recipient in mailbox.recipients]
        for n, address in enumerate(addresses):
            if address in addresses[:n]:
                where = config.at("mailboxes", key, "recipients", n)
                problems.append(f"{where}: {address} stands twice; keep one")
        for n, number in enumerate(mailbox.numbers):
            # Switches write the same number with and without the plus.
            first, other = owner.setdefault(number.removeprefix("+"), (key, number))
            if first != key:
                where = config.at("mailboxes", key, "numbers", n)
                written = "" if other == number else f" as {other}"
                problems.append(f"{where}: {number} already means the mailbox {first}{written}; keep one")
    return problems


def _probe(config: Config) -> list[str]:
    """A probe whose mails have nowhere to go, or somebody to annoy."""
    if config.probe is None:
        return []
    if config.probe.switch and config.probe.limit_seconds < _REAL_CALL_SECONDS:
        where = config.at("probe", "limit_seconds")
        return [f"{where}: a call through a switch takes half a minute; give {_REAL_CALL_SECONDS} or more"]
    if config.probe.to is None:
        if config.mail.smtp is None:
            return []
        where = config.at("probe")
        return [f"{where}: mails go by SMTP; name an address that nobody reads, as in to: probe@example.com"]
    to = config.probe.to.address.lower()
    return [
        f"{config.at('probe', 'to')}: {to} gets the messages of {key}; name an address that nobody reads"
        for key, mailbox in config.mailboxes.items()
        if key != PROBE and to in {address.lower() for address in mailbox.addresses}
    ]


def _promises(config: Config) -> list[str]:
    """Mailboxes that promise a call back without the hours that say when."""
    return [
        f"{config.at('mailboxes', key, 'promise')}: is counted from hours, and there are none; give hours too"
        for key, mailbox in config.mailboxes.items()
        if mailbox.promise and mailbox.week is None
    ]


def _limits(config: Config, defaults: DefaultsSection, sections: Mapping[str, MailboxSection]) -> list[str]:
    """Messages that would be too short at their longest; a fault of `defaults` is told once."""
    problems: dict[str, None] = {}
    for key, mailbox in config.mailboxes.items():
        for least in ("min_seconds", "min_speech_seconds"):
            if getattr(mailbox, least) < mailbox.max_seconds:
                continue
            names = (least, "max_seconds")
            own = [name for name in names if getattr(sections[key], name) is not None]
            written = [name for name in names if name in defaults.model_fields_set]
            where = config.at("mailboxes", key, own[0]) if own else config.at("defaults", *written[:1])
            problems[
                f"{where}: {least} {getattr(mailbox, least):g} is not below max_seconds "
                f"{mailbox.max_seconds}: no message would be long enough"
            ] = None
    return list(problems)


def _recordings_shared(config: Config, section: ConfigSection) -> list[str]:
    """Folders of other things that the recordings would take for theirs: what is foreign there is moved."""
    folder = config.source.folder
    others = {
        "storage.directory": config.directory,
        "corrupt/ of storage.directory": config.directory / "corrupt",
        "mail.maildir": config.maildir,
        "mailboxes_dir": config.mailboxes_dir
        if section.mailboxes_dir or config.mailboxes_dir.is_dir()
        else None,
        "greetings_dir": folder / (section.greetings_dir or "greetings"),
        "the configuration": folder,
    }
    real = Path(os.path.realpath(config.recordings))
    held = [
        name for name, other in others.items() if other and Path(os.path.realpath(other)).is_relative_to(real)
    ]
    if not held:
        return []
    where = config.at("storage", "recordings")
    implied = {"corrupt/ of storage.directory"} if "storage.directory" in held else set()
    names = ", ".join(name for name in held if name not in implied)
    return [f"{where}: {name_of(config.recordings)}: holds {names} too; recordings need their own folder"]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _collide(one: Address, other: Address) -> bool:
    """Whether two listeners would be in each other's way: 0.0.0.0 takes every IPv4 address, :: takes all."""
    hosts = {"127.0.0.1" if host.lower() == "localhost" else host.lower() for host in (one.host, other.host)}
    if one.port != other.port or not one.port:
        return False
    everywhere = "0.0.0.0" in hosts and not any(":" in host for host in hosts)  # noqa: S104 - told, not bound
    return len(hosts) == 1 or everywhere or "::" in hosts
