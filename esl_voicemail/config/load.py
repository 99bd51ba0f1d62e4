"""From files to a `Config`: finds them, joins them, and words every error for the person who wrote them."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from esl_voicemail.config.mailbox import Mailbox
from esl_voicemail.config.sections import (
    ConfigSection,
    DefaultsSection,
    HttpSection,
    Inherited,
    LogSection,
    MailboxSection,
    MailSection,
    SmtpSection,
    StorageSection,
    SwitchSection,
)
from esl_voicemail.config.source import Source, Trail, parse, read, show
from esl_voicemail.config.values import Address, NotTextError, mailbox_name
from esl_voicemail.errors import ConfigError
from esl_voicemail.hours import parse_week
from esl_voicemail.model import one_line

PLACES = (Path("voicemail.yaml"), Path("/etc/esl-voicemail/voicemail.yaml"))
VARIABLE = "ESL_VOICEMAIL_CONFIG"
EMBEDDED = """\
mailboxes:
  default:
    name: Voicemail
    recipients: [voicemail@localhost]
"""

_MAILBOX = TypeAdapter(MailboxSection)


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
    mailboxes: Mapping[str, Mailbox]
    mailbox_sources: Mapping[str, tuple[Source, Trail]] = field(default_factory=dict)

    def at(self, *trail: str | int) -> str:
        """Return `file:line: section.key` of a setting, as an error message begins."""
        if len(trail) > 1 and trail[0] == "mailboxes" and trail[1] in self.mailbox_sources:
            source, prefix = self.mailbox_sources[str(trail[1])]
            return f"{source.at((*prefix, *trail[2:]))}: {show(trail)}"
        return f"{self.source.at(trail)}: {show(trail)}"


def find(named: str | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration file to use, or None for the embedded defaults."""
    if named or environment.get(VARIABLE):
        return Path(named or environment[VARIABLE])
    return next((place for place in PLACES if _is_there(place)), None)


def load(path: Path | None) -> Config:
    """Load a configuration, or the embedded defaults for None; ConfigError lists every problem found."""
    source = read(path) if path else parse(EMBEDDED, "embedded defaults", Path.cwd())
    try:
        if not isinstance(source.values, dict):
            raise ConfigError(
                [f"{source.at(())}: must hold sections (key: value), not {_kind(source.values)}"]
            )
        values = dict(source.values)
        if path and values.get("mailboxes") is None and not values.get("mailboxes_dir"):
            values["mailboxes"] = parse(EMBEDDED, "embedded defaults", Path.cwd()).values["mailboxes"]
        config = ConfigSection.model_validate(values)
    except ValidationError as error:
        raise ConfigError([_word(problem, source, ()) for problem in error.errors()]) from error
    sections = dict(config.mailboxes or {})
    origins: dict[str, tuple[Source, Trail]] = {key: (source, ("mailboxes", key)) for key in sections}
    if config.mailboxes_dir is not None:
        _add_folder(source, source.folder / config.mailboxes_dir, sections, origins)
    return _resolve(source, config, sections, origins)


def _add_folder(
    source: Source,
    folder: Path,
    sections: dict[str, MailboxSection],
    origins: dict[str, tuple[Source, Trail]],
) -> None:
    problems: list[str] = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".yaml")
    except OSError as error:
        where = source.at(("mailboxes_dir",))
        raise ConfigError([f"{where}: mailboxes_dir: {folder}: cannot be read: {error.strerror}"]) from error
    for path in paths:
        key = path.stem
        try:
            mailbox_name(key)
            if key in sections:
                where = origins[key][0].at(origins[key][1])
                problems.append(f"{path}:1: mailboxes.{key}: stands twice, first at {where}; keep one")
                continue
            one = read(path)
            sections[key] = _MAILBOX.validate_python(one.values)
            origins[key] = (one, ())
        except ConfigError as error:
            problems.extend(error.problems)
        except ValidationError as error:
            problems.extend(_word(problem, one, ("mailboxes", key)) for problem in error.errors())
        except ValueError as error:
            problems.append(f"{path}:1: {show(('mailboxes', key))}: {error}")
    if problems:
        raise ConfigError(problems)


def _resolve(
    source: Source,
    config: ConfigSection,
    sections: dict[str, MailboxSection],
    origins: dict[str, tuple[Source, Trail]],
) -> Config:
    folder = source.folder
    directory = folder / config.storage.directory
    mail = config.mail
    smtp = mail.smtp or SmtpSection(host="localhost")
    greetings = [folder / (config.greetings_dir or "greetings")]
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
        mailboxes=MappingProxyType(
            {key: _mailbox(key, one, config.defaults, greetings) for key, one in sections.items()}
        ),
        mailbox_sources=MappingProxyType(origins),
    )
    problems = _contradictions(resolved)
    if problems:
        raise ConfigError(problems)
    return resolved


def _mailbox(key: str, section: MailboxSection, defaults: DefaultsSection, folders: list[Path]) -> Mailbox:
    inherited: dict[str, Any] = {
        name: getattr(section, name) if getattr(section, name) is not None else getattr(defaults, name)
        for name in Inherited.model_fields
    }
    shipped = shipped_greetings(inherited["language"])
    greetings = {"default": shipped / "default.wav"}
    greetings |= {reason: _greeting(path, folders) for reason, path in section.greetings.items()}
    return Mailbox(
        key=key,
        name=section.name or key,
        numbers=section.numbers,
        recipients=section.recipients,
        reply_to=section.reply_to,
        greetings=MappingProxyType(greetings),
        thanks=shipped / "thanks.wav",
        apology=shipped / "apology.wav",
        week=None if section.hours is None else parse_week(section.hours),
        holidays=section.holidays,
        **inherited,
    )


def shipped_greetings(language: str) -> Path:
    """Return the folder of the greetings that travel with the project."""
    return Path(str(files("esl_voicemail.greetings").joinpath(language)))


def _greeting(path: str, folders: list[Path]) -> Path:
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
    owner: dict[str, str] = {}
    for key, mailbox in config.mailboxes.items():
        addresses = [recipient.address.lower() for recipient in mailbox.recipients]
        for n, address in enumerate(addresses):
            if address in addresses[:n]:
                where = config.at("mailboxes", key, "recipients", n)
                problems.append(f"{where}: {address} stands twice; keep one")
        for n, number in enumerate(mailbox.numbers):
            if owner.setdefault(number, key) != key:
                where = config.at("mailboxes", key, "numbers", n)
                problems.append(f"{where}: {number} already means the mailbox {owner[number]}; keep one")
    return problems


def _word(problem: ErrorDetails, source: Source, prefix: Trail) -> str:
    trail = tuple(step for step in problem["loc"] if step != "[key]")
    shown = show((*prefix, *trail))
    sentence = one_line(_sentence(problem, source.written.get(trail)), 400)
    return f"{source.at(trail)}: {shown + ': ' if shown else ''}{sentence}"


def _sentence(problem: ErrorDetails, written: str | None) -> str:
    kind, limits = problem["type"], problem.get("ctx", {})
    given = _given(problem["input"], written)
    match kind:
        case "extra_forbidden":
            return "unknown key" + _hint(str(problem["loc"][-1]))
        case "missing":
            return "is missing" + (
                "; give at least one mail address" if problem["loc"][-1] == "recipients" else ""
            )
        case "string_type":
            return _not_text(given, written)
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number, not {given}"
        case "bool_type":
            return f"must be true or false, not {given}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}, not {given}"
        case "less_than_equal":
            return f"must be at most {limits['le']}, not {given}"
        case "literal_error":
            return f"must be one of {limits['expected']}, not {given}"
        case "tuple_type" | "list_type":
            return f"must be a list, as in [one, two], not {given}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a section (key: value), not {given}"
        case "value_error" if isinstance(limits.get("error"), NotTextError):
            return _not_text(given, written)
        case "value_error":
            return str(limits.get("error", problem["msg"]))
        case _:
            return problem["msg"]


def _hint(key: str) -> str:
    sections = (
        ConfigSection,
        SwitchSection,
        StorageSection,
        SmtpSection,
        MailSection,
        MailboxSection,
        LogSection,
    )
    known = {info.alias or name for section in sections for name, info in section.model_fields.items()}
    close = difflib.get_close_matches(key[:60], known, n=1, cutoff=0.7)
    return (
        f"; did you mean {close[0]!r}?" if close else "; see voicemail.yaml in the documentation for the keys"
    )


def _not_text(given: str, written: str | None) -> str:
    if not written or given == "nothing":
        return f"must be text, not {given}"
    return f'must be text; write it in quotes, as in "{written}"'


def _given(value: Any, written: str | None) -> str:
    """Name what stands there: text in quotes, anything else as the file has it (`yes`, 010, 1:20)."""
    return written if written and not isinstance(value, str | None) else _kind(value)


def _kind(value: Any) -> str:
    return {dict: "a section", list: "a list", type(None): "nothing"}.get(type(value), repr(value)[:60])
