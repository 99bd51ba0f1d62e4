"""From files to a `Config`: finds them, joins them, and refuses what contradicts itself."""

import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError

from esl_voicemail.config.contradictions import contradictions
from esl_voicemail.config.folder import MAILBOXES_DIR, Drafts, mailbox_of, read_folder
from esl_voicemail.config.mailbox import DEFAULT, Mailbox
from esl_voicemail.config.probe import probe_mailbox
from esl_voicemail.config.resolved import Config
from esl_voicemail.config.sections import (
    ConfigSection,
    DefaultsSection,
    Inherited,
    Language,
    MailboxSection,
    SmtpSection,
)
from esl_voicemail.config.source import EMBEDDED_NAME, Source, Trail, parse, read
from esl_voicemail.config.templates import read_looks
from esl_voicemail.config.transcriber import Transcriber, located, unknown
from esl_voicemail.config.wording import kind, word
from esl_voicemail.errors import ConfigError
from esl_voicemail.hours import parse_week
from esl_voicemail.model import PROBE

PLACES = (Path("voicemail.yaml"), Path("/etc/esl-voicemail/voicemail.yaml"))
VARIABLE = "ESL_VOICEMAIL_CONFIG"
EMBEDDED = """\
mailboxes:
  default:
    name: Voicemail
    recipients: [voicemail@localhost]
"""


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
    if PROBE in sections:
        raise ConfigError(
            [f"{origins[PROBE][0].at(origins[PROBE][1])}: {PROBE} is the probe's own name; choose another"]
        )
    if config.probe:
        sections[PROBE], origins[PROBE] = probe_mailbox(config.probe), (source, ("probe",))
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
    console = config.probe.switch if config.probe else None
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
        probe=config.probe,
        console_password_file=folder / console.password_file if console else None,
        template_folders=looks.folders,
        template_problems=looks.problems,
    )
    chosen = {key: one.transcriber for key, one in sections.items()}
    problems = [
        *contradictions(resolved, config, sections),
        *unknown(resolved.at, transcribers, config.defaults.transcriber, chosen),
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
