"""What a configuration promises, held against this machine: folders, greetings, secrets.

The same checks run at `esl-voicemail check` and before `serve` takes its first call.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from esl_voicemail.audio import wav
from esl_voicemail.config import Config
from esl_voicemail.errors import ConfigError, RecordingError
from esl_voicemail.spool import Spool

_UNSAFE = "'\"\\${}"


def problems(config: Config) -> list[str]:
    """Return one line a problem, each with file:line and section.key; none when the service can start."""
    return [*_storage(config), *_mail(config), *_greetings(config)]


def prepare(config: Config) -> None:
    """Make the folders that are ours to make; ConfigError when the machine refuses."""
    try:
        config.directory.mkdir(exist_ok=True)
        if not config.recordings_named:
            config.recordings.mkdir(exist_ok=True)
    except OSError as error:
        where = config.at("storage", "directory")
        raise ConfigError([f"{where}: {error.filename}: cannot be made: {error.strerror}"]) from error
    trouble = spool_of(config).trouble()
    if trouble:
        raise ConfigError([f"{config.at('storage', 'recordings')}: {trouble}"])


def spool_of(config: Config) -> Spool:
    """Return the spool a configuration describes."""
    return Spool(config.recordings, config.directory / "corrupt", config.storage.min_free_mb << 20)


def greeting_seconds(config: Config) -> dict[str, float]:
    """Return how long each greeting lasts, by its path."""
    found: dict[str, float] = {}
    for mailbox in config.mailboxes.values():
        for path in mailbox.greetings.values():
            found[str(path)] = wav.inspect(path).duration_ms / 1000
    return found


def _storage(config: Config) -> Iterator[str]:
    where = config.at("storage", "directory")
    if os.access(config.directory, os.F_OK):
        if not config.directory.is_dir() or not os.access(config.directory, os.R_OK | os.W_OK | os.X_OK):
            yield f"{where}: {config.directory}: is no folder this user can write"
    elif not os.access(config.directory.parent, os.W_OK | os.X_OK):
        yield f"{where}: {config.directory.parent}: cannot be written; create {config.directory}"
    where = config.at("storage", "recordings")
    if any(sign in str(config.recordings) for sign in _UNSAFE):
        yield f"{where}: {config.recordings}: the switch would misread one of {_UNSAFE}"
    elif (config.recordings_named or os.access(config.recordings, os.F_OK)) and (
        trouble := spool_of(config).trouble()
    ):
        yield f"{where}: {trouble}"


def _mail(config: Config) -> Iterator[str]:
    for key, path in (("password_file", config.password_file), ("ca_file", config.ca_file)):
        if path is not None and (refused := _unreadable(path)):
            yield f"{config.at('mail', 'smtp', key)}: {refused}"
    if config.maildir is not None:
        # Folders that are missing are made, below the nearest that is there.
        nearest = next(
            place for place in (config.maildir, *config.maildir.parents) if os.access(place, os.F_OK)
        )
        told = config.maildir.is_relative_to(config.directory) and config.directory.is_relative_to(nearest)
        if not told and not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
            yield f"{config.at('mail', 'maildir')}: {nearest}: is no folder this user can write"


def _greetings(config: Config) -> Iterator[str]:
    for key, mailbox in config.mailboxes.items():
        for reason, path in mailbox.greetings.items():
            where = config.at("mailboxes", key, "greetings", reason)
            if any(sign in str(path) for sign in _UNSAFE):
                yield f"{where}: {path}: the switch would misread one of {_UNSAFE}; move it"
                continue
            try:
                shape = wav.inspect(path)
            except RecordingError as error:
                yield f"{where}: {path}: is no sound the switch can play: {error}"
                continue
            if shape.duration_ms == 0:
                yield f"{where}: {path}: is empty"


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
