"""What a configuration promises, held against this machine: folders, journal, greetings, secrets, mails.

The same checks run at `esl-voicemail check` and before `serve` takes its first call.
"""

import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from esl_voicemail.audio import wav
from esl_voicemail.config import Config, Mailbox
from esl_voicemail.config.folder import SUFFIX
from esl_voicemail.config.load import shipped_greetings
from esl_voicemail.config.source import name_of, unread
from esl_voicemail.config.templates import Template
from esl_voicemail.errors import ConfigError, DiskError, JournalError, RecordingError, TemplateError
from esl_voicemail.journal.engine import FILE, examine
from esl_voicemail.mail import rendering
from esl_voicemail.mail.composer import COMPOSING
from esl_voicemail.mail.facts import facts_of
from esl_voicemail.model import MISREAD
from esl_voicemail.running import LOCK_FILE
from esl_voicemail.samples import every_sort
from esl_voicemail.sounds import own_sounds, shipped_sounds
from esl_voicemail.spool import IDENTITY, Spool
from esl_voicemail.storage import reserve_of

# As much as a clock may be set by without anybody's noticing.
_AHEAD = timedelta(minutes=2)


def problems(config: Config, *, serving: bool = False) -> list[str]:
    """Return one line a problem, each with file:line and section.key; none when the service can start.

    DiskError when serving would fail on the journal's disk, which no change of the configuration mends.

    `serving`: a storage that has served before and now fails is not one. The service starts without taking
    calls: what is queued goes out, and what is old makes room. Nor is a file that nothing reads, a
    transcriber that is not there, or an operator's template, in whose place there is a shipped one.
    """
    return [
        *(_rights(config) or _state(config, serving=serving)),
        *(() if serving else _not_read(config)),
        *_mail(config),
        *_installed(config),
        *_greetings(config),
        *(() if serving else (*_transcribers(config), *_probe(config), *_clock(config))),
        *_templates(config, {key: replace(one, templates=()) for key, one in config.mailboxes.items()}),
        *(() if serving else template_problems(config)),
    ]


def prepare(config: Config) -> None:
    """Make the folders that are ours to make; ConfigError when the machine refuses."""
    try:
        config.directory.mkdir(exist_ok=True)
        if not config.recordings_named:
            config.recordings.mkdir(exist_ok=True)
    except OSError as error:
        where = config.at("storage", "directory")
        raise ConfigError([f"{where}: {error.filename}: cannot be made: {error.strerror}"]) from error
    trouble = None if has_served(config) else spool_of(config).trouble()
    if trouble:
        raise ConfigError([f"{config.at('storage', 'recordings')}: {trouble}"])


def has_served(config: Config) -> bool:
    """Whether a service has worked on this storage, with these recordings."""
    return os.access(config.directory / IDENTITY, os.F_OK)


def spool_of(config: Config) -> Spool:
    """Return the spool a configuration describes, with the mark that says whose its folder is."""
    return Spool(
        config.recordings,
        config.directory / "corrupt",
        config.storage.min_free_mb << 20,
        config.directory / IDENTITY,
    )


def greeting_seconds(config: Config) -> dict[str, float]:
    """Return how long each sound before the tone lasts, by its path.

    Greetings and promises, own and shipped; ConfigError for one that is gone since the checks.
    """
    shipped = ((config.at("mailboxes"), path) for path in shipped_sounds(config))
    return {str(path): _seconds(path, where) for where, path in (*own_sounds(config), *shipped)}


def _seconds(path: Path, where: str) -> float:
    try:
        return wav.inspect(path).duration_ms / 1000
    except (RecordingError, OSError) as error:
        raise ConfigError([f"{where}: {path}: {error}"]) from error


def _rights(config: Config) -> list[str]:
    """What an earlier service left must be this one's to read and write; the first thing that is not."""
    folder = config.directory
    if not os.access(folder, os.F_OK) or not folder.is_dir():
        return []
    within = [folder / name for name in (LOCK_FILE, IDENTITY, FILE, f"{FILE}-wal", f"{FILE}-shm")]
    for path in (folder, *within):
        needed = os.R_OK | (os.X_OK if path is folder else 0)
        # A file system that is read-only keeps everybody out, and may be well again soon.
        if path.name != IDENTITY and not os.statvfs(folder).f_flag & os.ST_RDONLY:
            needed |= os.W_OK
        if os.access(path, os.F_OK) and not os.access(path, needed):
            owner, me = _user(path.stat().st_uid), _user(os.getuid())
            todo = f"run as {owner}, or chown -R {me} {folder}" if me != owner else f"chmod -R u+rwX {folder}"
            where = config.at("storage", "directory")
            return [f"{where}: {path}: this user may not read and write it: {todo}"]
    return []


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _state(config: Config, *, serving: bool) -> Iterator[str]:
    if serving and has_served(config):
        # On a full disk the journal cannot even be opened.
        reserve_of(config.directory).tend()
    else:
        yield from _storage(config)
    yield from _journal(config, serving=serving)


def _storage(config: Config) -> Iterator[str]:
    where = config.at("storage", "directory")
    if os.access(config.directory, os.F_OK):
        if not config.directory.is_dir() or not os.access(config.directory, os.R_OK | os.W_OK | os.X_OK):
            yield f"{where}: {config.directory}: is no folder this user can write"
    elif not os.access(config.directory.parent, os.W_OK | os.X_OK):
        yield f"{where}: {config.directory.parent}: cannot be written; create {config.directory}"
    where = config.at("storage", "recordings")
    if any(sign in str(config.recordings) for sign in MISREAD):
        yield f"{where}: {config.recordings}: the switch would misread one of {MISREAD}"
    elif config.recordings_named or has_served(config) or os.access(config.recordings, os.F_OK):
        trouble = spool_of(config).trouble()
        if trouble:
            yield f"{where}: {trouble}"
    elif not os.access(config.recordings, os.F_OK):
        # They are made at the start, on the disk that is there already.
        nearest, where = _nearest(config.recordings), config.at("storage", "min_free_mb")
        try:
            free_mb = shutil.disk_usage(nearest).free >> 20
        except OSError as error:
            yield f"{where}: {nearest}: its disk cannot be measured: {error.strerror}"
            return
        if free_mb < config.storage.min_free_mb:
            yield f"{where}: {nearest}: {free_mb} MiB free, less than {config.storage.min_free_mb}"


def _journal(config: Config, *, serving: bool) -> Iterator[str]:
    if os.access(config.directory / FILE, os.F_OK):
        try:
            examine(config.directory)
        except JournalError as error:
            if serving and isinstance(error, DiskError):
                raise
            yield f"{config.at('storage', 'directory')}: {error}"


def _not_read(config: Config) -> Iterator[str]:
    """Files among the mailboxes that were meant for one, perhaps; not what editors leave there."""
    folder = config.mailboxes_dir
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != SUFFIX and path.name[0] != "." and path.name[-1] != "~" and not path.is_dir():
            yield (
                f"{name_of(path)}: is not read, as its name does not end in {SUFFIX}: "
                "rename it, or put it elsewhere"
            )


def _mail(config: Config) -> Iterator[str]:
    for key, path in (("password_file", config.password_file), ("ca_file", config.ca_file)):
        if path is not None and (refused := _unreadable(path)):
            yield f"{config.at('mail', 'smtp', key)}: {refused}"
    if config.maildir is not None:
        # Folders that are missing are made, below the nearest that is there.
        nearest = _nearest(config.maildir)
        told = config.maildir.is_relative_to(config.directory) and config.directory.is_relative_to(nearest)
        if not told and not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
            yield f"{config.at('mail', 'maildir')}: {nearest}: is no folder this user can write"


def _installed(config: Config) -> Iterator[str]:
    """Every mailbox plays shipped sounds, thanks and apology at least, and nobody can move those alone."""
    for folder in dict.fromkeys(shipped_greetings(mailbox.language) for mailbox in config.mailboxes.values()):
        if any(sign in str(folder) for sign in MISREAD):
            yield (
                f"{config.at('mailboxes')}: {folder}: the switch would misread one of {MISREAD} "
                "in the shipped greetings' path; install the program elsewhere"
            )


def _greetings(config: Config) -> Iterator[str]:
    for where, path in own_sounds(config):
        if any(sign in str(path) for sign in MISREAD):
            yield f"{where}: {path}: the switch would misread one of {MISREAD}; move it"
        elif trouble := _unplayable(path):
            yield f"{where}: {trouble}"
    for path in shipped_sounds(config):
        if trouble := _unplayable(path):
            yield f"{config.at('mailboxes')}: {trouble}; install the program again"


def _transcribers(config: Config) -> Iterator[str]:
    """A program that is missing costs a transcript, no call: it keeps no service from serving."""
    for name, transcriber in config.transcribers.items():
        program = transcriber.command[0]
        if shutil.which(program) is None:
            there = Path(program).exists() if "/" in program else False
            yield f"{config.at('transcribers', name, 'command', 0)}: {program}: " + (
                "is no program this user can run"
                if there
                else "is not there; install it, or name it with its folder"
            )


def _unplayable(path: Path) -> str:
    try:
        shape = wav.inspect(path)
    except RecordingError as error:
        return f"{path}: is no sound the switch can play: {error}"
    except OSError as error:
        return f"{path}: {unread(error)}"
    return "" if shape.duration_ms else f"{path}: is empty"


def template_problems(config: Config) -> list[str]:
    """What keeps an operator's templates from making the mails they are meant for, a line each.

    None of it costs a call or a mail: the shipped ones are there. What mailboxes share is told once.
    """
    own = {key: mailbox for key, mailbox in config.mailboxes.items() if mailbox.templates}
    return [*config.template_problems, *(_templates(config, own) or _unused_templates(own))]


def _unused_templates(mailboxes: Mapping[str, Mailbox]) -> list[str]:
    """Files that were meant for a template, perhaps; told once."""
    with COMPOSING:
        found = [one.file for box in mailboxes.values() for one in rendering.unused(box.templates)]
    return [
        f"{file}: no mail is made by it: rename it as a shipped one, or include it in one"
        for file in dict.fromkeys(found)
    ]


def _templates(config: Config, mailboxes: Mapping[str, Mailbox]) -> list[str]:
    found: dict[str, str] = {}
    tried: set[tuple[str, tuple[Template, ...]]] = set()
    for key, mailbox in mailboxes.items():
        look = mailbox.language, mailbox.templates
        if look not in tried:
            tried.add(look)
            with COMPOSING:
                own = list(rendering.problems(mailbox.templates))
            # What is wrong with a template by itself fails in many mails too.
            for problem in own or _failures(config, mailbox):
                found.setdefault(problem, key)
    return [f"{config.at('mailboxes', key)}: {problem}" for problem, key in found.items()]


def _failures(config: Config, mailbox: Mailbox) -> Iterator[str]:
    for attempt in every_sort(config, mailbox.key):
        for left_out, threaded in ((None, False), (str(config.recordings), True)):
            try:
                # A reload does this while mails are composed.
                with COMPOSING:
                    facts = facts_of(attempt, mailbox, left_out, threaded=threaded)
                    rendering.render(facts, mailbox.templates)
            except TemplateError as error:
                yield str(error)


def console_password(config: Config, path: Path | None = None) -> str:
    """Return the password for the switch's event socket, from a file or the configured one; ConfigError."""
    configured = path is None and config.console_password_file is not None
    where = config.at("probe", "switch", "password_file") if configured else "--password-file"
    path = path or config.console_password_file
    if path is None:
        raise ConfigError([f"{where}: is not given; name the file that holds the switch's password"])
    try:
        words = path.read_text().strip()
    except UnicodeError as error:
        raise ConfigError([f"{where}: {path}: is no text; write the switch's password into it"]) from error
    except OSError as error:
        raise ConfigError([f"{where}: {path}: {unread(error)}"]) from error
    if not words or "\n" in words or "\r" in words:
        raise ConfigError([f"{where}: {path}: must hold one line, the switch's password"])
    return words


def _clock(config: Config) -> Iterator[str]:
    """What is shown in mails, and promised, is this machine's clock."""
    with suppress(OSError):
        written = datetime.fromtimestamp((config.directory / FILE).stat().st_mtime, UTC)
        if written > datetime.now(UTC) + _AHEAD:
            where, then, now = config.at("storage", "directory"), f"{written:%F %H:%M}", datetime.now(UTC)
            yield f"{where}: the journal was written at {then}, and it is {now:%F %H:%M} UTC: set the clock"


def _probe(config: Config) -> Iterator[str]:
    if config.console_password_file is not None:
        try:
            console_password(config)
        except ConfigError as error:
            yield from error.problems


def _nearest(path: Path) -> Path:
    """Return the nearest folder, upwards from a path, that is there."""
    return next(place for place in (path, *path.parents) if os.access(place, os.F_OK))


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{path}: {unread(error)}"
