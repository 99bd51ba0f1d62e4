"""From files to a `Config`: finds them, joins them, and refuses what contradicts itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError

from esl_voicemail.config.folder import MAILBOXES_DIR, Drafts, mailbox_of, read_folder
from esl_voicemail.config.mailbox import DEFAULT, Mailbox
from esl_voicemail.config.sections import (
    ConfigSection,
    DefaultsSection,
    HttpSection,
    Inherited,
    Language,
    LogSection,
    MailboxSection,
    MailSection,
    SmtpSection,
    StorageSection,
    SwitchSection,
)
from esl_voicemail.config.source import Source, Trail, name_of, parse, read, show
from esl_voicemail.config.templates import read_looks
from esl_voicemail.config.transcriber import Transcriber, located, unknown
from esl_voicemail.config.values import Address
from esl_voicemail.config.wording import kind, word
from esl_voicemail.errors import ConfigError
from esl_voicemail.hours import parse_week

PLACES = (Path("voicemail.yaml"), Path("/etc/esl-voicemail/voicemail.yaml"))
VARIABLE = "ESL_VOICEMAIL_CONFIG"
EMBEDDED_NAME = "embedded defaults"
BUILT_IN = "built in"
EMBEDDED = """\
mailboxes:
  default:
    name: Voicemail
    recipients: [voicemail@localhost]
"""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything configured; paths are absolute. `at` says where a setting stands."""

    source: Source
    listen: Address
    switch: SwitchSection
    storage: StorageSection
    directory: Path
    recordings: Path
    recordings_named: bool
    mail: MailSection
    maildir: Path | None
    password_file: Path | None
    ca_file: Path | None
    http: HttpSection
    log: LogSection
    greetings: Path
    transcribers: Mapping[str, Transcriber]
    mailboxes: Mapping[str, Mailbox]
    mailboxes_dir: Path
    mailbox_sources: Mapping[str, tuple[Source, Trail]] = field(default_factory=dict)
    template_folders: tuple[Path, ...] = ()

    def at(self, *trail: str | int) -> str:
        """Return `file:line: section.key` of a setting, as an error message begins."""
        if len(trail) > 1 and trail[0] == "mailboxes" and trail[1] in self.mailbox_sources:
            source, prefix = self.mailbox_sources[str(trail[1])]
            return f"{source.at((*prefix, *trail[2:]))}: {show(trail)}"
        return f"{self.source.at(trail)}: {show(trail)}"

    def origin(self, mailbox: str, *setting: str | int) -> str:
        """Return `file:line` of a mailbox or its setting, its own or the defaults', or `built in`."""
        source, prefix = self.mailbox_sources[mailbox]
        places = [(source, (*prefix, *setting)), (self.source, ("defaults", *setting))]
        for place, trail in places if setting else places[:1]:
            if place.name != EMBEDDED_NAME and place.holds(trail):
                return place.at(trail)
        return BUILT_IN


def find(named: str | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration file to use, or None for the embedded defaults."""
    if named or environment.get(VARIABLE):
        return Path(named or environment[VARIABLE])
    return next((place for place in PLACES if _is_there(place)), None)


def load(path: Path | None, drafts: Drafts = MappingProxyType({})) -> Config:
    """Load a configuration, or the embedded defaults for None; ConfigError lists every problem found.

    `drafts` are texts of mailbox files that are not written yet, or None for one that is to go.
    """
    source = read(path) if path else parse(EMBEDDED, EMBEDDED_NAME, Path.cwd())
    try:
        if not isinstance(source.values, dict):
            raise ConfigError(
                [f"{source.at(())}: must hold sections (key: value), not {kind(source.values)}"]
            )
        config = ConfigSection.model_validate(source.values)
    except ValidationError as error:
        raise ConfigError([word(problem, source, ()) for problem in error.errors()]) from error
    folder = source.folder / (config.mailboxes_dir or MAILBOXES_DIR)
    named = config.mailboxes_dir is not None
    sections = dict(config.mailboxes or {})
    origins: dict[str, tuple[Source, Trail]] = {key: (source, ("mailboxes", key)) for key in sections}
    # A file may take the place of the mailbox that nobody wrote.
    taken = origins if path else {}
    where = source.at(("mailboxes_dir",))
    found = read_folder(folder, taken, drafts, where=where, must_exist=named)
    for key, (one, section) in found.items():
        sections[key], origins[key] = section, (one, ())
    if config.mailboxes is None and not named and not found:
        built_in = parse(EMBEDDED, EMBEDDED_NAME, source.folder)
        sections[DEFAULT] = mailbox_of(built_in.values["mailboxes"][DEFAULT])
        origins[DEFAULT] = built_in, ("mailboxes", DEFAULT)
    return _resolve(source, config, folder, sections, origins)


def _resolve(
    source: Source,
    config: ConfigSection,
    mailboxes_dir: Path,
    sections: dict[str, MailboxSection],
    origins: dict[str, tuple[Source, Trail]],
) -> Config:
    folder = source.folder
    directory = folder / config.storage.directory
    mail = config.mail
    smtp = mail.smtp or SmtpSection(host="localhost")
    greetings = [folder / (config.greetings_dir or "greetings")]
    shipped = shipped_sounds()
    looks = read_looks(
        source, config.defaults.templates, {key: one.templates for key, one in sections.items()}, origins
    )
    transcribers = {
        name: Transcriber(name, located(one.command, folder), folder, one.seconds, one.at_once)
        for name, one in config.transcribers.items()
    }
    resolved = Config(
        source=source,
        listen=config.listen,
        switch=config.switch,
        storage=config.storage,
        directory=directory,
        recordings=folder / config.storage.recordings
        if config.storage.recordings
        else directory / "recordings",
        recordings_named=config.storage.recordings is not None,
        mail=mail,
        maildir=None if mail.smtp else (folder / mail.maildir if mail.maildir else directory / "mail"),
        password_file=folder / smtp.password_file if smtp.password_file else None,
        ca_file=folder / smtp.ca_file if smtp.ca_file else None,
        http=config.http,
        log=config.log,
        greetings=greetings[0],
        transcribers=MappingProxyType(transcribers),
        mailboxes=MappingProxyType(
            {
                key: replace(
                    _mailbox(key, one, config.defaults, greetings, shipped),
                    templates=looks.of[key],
                    transcriber=transcribers.get(one.transcriber or config.defaults.transcriber),
                )
                for key, one in sections.items()
            }
        ),
        mailboxes_dir=mailboxes_dir,
        mailbox_sources=MappingProxyType(origins),
        template_folders=looks.folders,
    )
    chosen = {key: one.transcriber for key, one in sections.items()}
    problems = [
        *_contradictions(resolved),
        *_promises(resolved),
        *unknown(resolved.at, transcribers, config.defaults.transcriber, chosen),
        *_limits(resolved, config.defaults, sections),
        *_recordings_shared(resolved, config),
    ]
    if problems:
        raise ConfigError(problems)
    return resolved


def _mailbox(
    key: str,
    section: MailboxSection,
    defaults: DefaultsSection,
    folders: list[Path],
    shipped: Mapping[str, Mapping[str, Path]],
) -> Mailbox:
    inherited: dict[str, Any] = {
        name: getattr(section, name) if getattr(section, name) is not None else getattr(defaults, name)
        for name in Inherited.model_fields.keys() - {"transcriber"}
    }
    hours = inherited.pop("hours")
    sounds = shipped_greetings(inherited["language"])
    return Mailbox(
        key=key,
        name=section.name or key,
        numbers=section.numbers,
        recipients=section.recipients,
        reply_to=section.reply_to,
        greetings=MappingProxyType({why: _sound(path, folders) for why, path in section.greetings.items()}),
        promises=MappingProxyType({kind: _sound(path, folders) for kind, path in section.promises.items()}),
        operator=section.operator,
        shipped=shipped,
        thanks=sounds / "thanks.wav",
        apology=sounds / "apology.wav",
        week=None if hours is None else parse_week(hours),
        **inherited,
    )


def shipped_greetings(language: str) -> Path:
    """Return the folder of the greetings that travel with the project."""
    return Path(str(files("esl_voicemail.greetings").joinpath(language)))


def shipped_sounds() -> Mapping[str, Mapping[str, Path]]:
    """Return the sounds that travel with the project and are there, by language and name."""
    return MappingProxyType(
        {
            language: MappingProxyType(
                {path.stem: path for path in sorted(shipped_greetings(language).glob("*.wav"))}
            )
            for language in get_args(Language)
        }
    )


def _sound(path: str, folders: list[Path]) -> Path:
    places = [folder / path for folder in (*folders, folders[0].parent)]
    return next((place for place in places if _is_there(place)), places[0])


def _is_there(path: Path) -> bool:
    """Whether something stands there; what may not even be looked at counts, so that it is reported."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _contradictions(config: Config) -> list[str]:
    problems: list[str] = []
    if not config.mailboxes:
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
