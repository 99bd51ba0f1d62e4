"""Changes to the folder of mailboxes: one file more, or one less; the other files stay as they are.

A change is held against the whole configuration first, and is there whole or not at all.
"""

import fcntl
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from esl_voicemail.config.folder import SUFFIX, Drafts
from esl_voicemail.config.load import load
from esl_voicemail.config.resolved import BUILT_IN, Config
from esl_voicemail.config.source import name_of, write
from esl_voicemail.config.values import mailbox_name
from esl_voicemail.errors import ConfigError, VoicemailError

_HEADER = """\
# Made by `esl-voicemail mailbox add {name}`; edit it as you like. voicemail.yaml explains the keys.
"""
_DRAFT = ".{}.new"
# Not the umask's business: who adds a mailbox need not be the service's user, who reads it.
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755

# Says what a configuration would have wrong on this machine.
Examine = Callable[[Config], list[str]]


def add_mailbox(path: Path | None, name: str, settings: Mapping[str, Any], examine: Examine) -> Path:
    """Write a mailbox's file and return its path.

    VoicemailError when there is one of that name; ConfigError, and nothing written, when the configuration
    could not be used with it.
    """
    try:
        mailbox_name(name)
    except ValueError as error:
        raise VoicemailError(f"{name!r}: {error}") from error
    with _alone(path) as before:
        if name in before.mailboxes and before.origin(name) != BUILT_IN:
            raise VoicemailError(f"{before.origin(name)}: there is a mailbox {name} already")
        file = before.mailboxes_dir / f"{name}{SUFFIX}"
        text = _HEADER.format(name=name) + write(settings)
        try:
            _examined(path, {name: text}, before, examine)
        except ConfigError as error:
            # Nobody has seen the file that the places are in.
            raise ConfigError([_without_place(problem, file) for problem in error.problems]) from error
        _make_folder(file.parent)
        _put(file, text)
    return file


def remove_mailbox(path: Path | None, name: str, examine: Examine) -> Path:
    """Remove a mailbox's file and return the path it had.

    VoicemailError when there is none, when it stands elsewhere, or when no mailbox would be left.
    """
    with _alone(path) as before:
        if name not in before.mailboxes:
            raise VoicemailError(f"no mailbox {name!r}; there are {', '.join(before.mailboxes)}")
        file = before.mailboxes_dir / f"{name}{SUFFIX}"
        source, trail = before.mailbox_sources[name]
        if trail:
            if before.origin(name) == BUILT_IN:
                raise VoicemailError(f"{name} is built in: there is no file of it")
            raise VoicemailError(
                f"{source.at(trail)}: {name} stands there, not in a file of its own; edit it"
            )
        if len(before.mailboxes) == 1:
            raise VoicemailError(f"{name_of(file)}: {name} is the only mailbox; add another one first")
        _examined(path, {name: None}, before, examine)
        try:
            file.unlink()
            _sync(file.parent)
        except OSError as error:
            raise _unwritable(file.parent, error) from error
    return file


@contextmanager
def _alone(path: Path | None) -> Iterator[Config]:
    """Keep other changes to the same folder waiting, and give the configuration as it is now."""
    folder = load(path).source.folder
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield load(path)
    finally:
        os.close(descriptor)


def _examined(path: Path | None, drafts: Drafts, before: Config, examine: Examine) -> None:
    """Refuse a change that brings a problem; what was wrong before is for `check`."""
    after = load(path, drafts)
    known = set(examine(before))
    problems = [problem for problem in examine(after) if problem not in known]
    if problems:
        raise ConfigError(problems)


def _without_place(problem: str, file: Path) -> str:
    place, _, said = problem.removeprefix(f"{name_of(file)}:").partition(": ")
    return said if place.isdecimal() and problem.startswith(name_of(file)) else problem


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    try:
        folder.mkdir()
        folder.chmod(_FOLDER_MODE)
        _sync(folder.parent)
    except OSError as error:
        raise VoicemailError(f"{folder}: cannot be made: {_why(error, folder.parent)}") from error


def _put(file: Path, text: str) -> None:
    """Put a file in its place whole; one that a killed program left half written is taken over."""
    draft = file.with_name(_DRAFT.format(file.name))
    try:
        with draft.open("w", encoding="utf-8") as out:
            os.fchmod(out.fileno(), _FILE_MODE)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
        _sync(file.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise _unwritable(file.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> VoicemailError:
    return VoicemailError(f"{folder}: cannot be written: {_why(error, folder)}")


def _why(error: OSError, folder: Path) -> str:
    """Say what the disk refused; of rights, who has them."""
    if not isinstance(error, PermissionError):
        return str(error.strerror)
    number = folder.stat().st_uid
    try:
        owner = pwd.getpwuid(number).pw_name
    except KeyError:
        owner = str(number)
    return f"{error.strerror}; run this as {owner}, who owns {folder}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
