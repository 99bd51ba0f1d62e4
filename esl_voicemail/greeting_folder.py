"""The folder of a company's own greetings: safe names, files written whole, who uses which.

How a greeting sounds is left to `audio.greeting`.
"""

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from esl_voicemail.config import Config
from esl_voicemail.config.load import shipped_greetings
from esl_voicemail.config.mailbox import DEFAULT, HOLIDAY
from esl_voicemail.errors import GreetingError
from esl_voicemail.model import MISREAD, Reason
from esl_voicemail.promise import KINDS

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

# The switch would take these in a path for something else.
_MISREAD = f"{MISREAD} "
# Letters that Unicode does not take apart into one of ours and a mark.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe"})
# Not the umask's business: every caller hears a greeting, and the switch may be another user.
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class Kept:
    """A sound that is played, or lies where such are looked for; `uses` says by which mailboxes, and why."""

    path: Path
    shown: str
    uses: tuple[str, ...]


def name_for(stem: str) -> str:
    """Return a file's name made safe for the switch; empty when nothing of it is left."""
    plain = unicodedata.normalize("NFKD", stem.lower().translate(_LETTERS))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:64]


def place(folder: Path, name: str) -> Path:
    """Return where a greeting of this name stands; GreetingError when the switch would misread its path."""
    path = folder.absolute() / f"{name}.wav"
    if not NAME.fullmatch(name):
        raise GreetingError(f"{name!r} is no name for a greeting: use a-z, 0-9, _ and -, and give --name")
    if any(sign in str(folder) for sign in _MISREAD):
        raise GreetingError(
            f"{folder}: the switch would misread a space or one of {_MISREAD.strip()} in it; "
            "name another folder as greetings_dir"
        )
    return path


def write(path: Path, content: bytes, original: Path | None = None, *, force: bool = False) -> None:
    """Write a greeting whole or not at all, readable for the switch; its folder is made when missing.

    GreetingError when a file is in its place and `force` is not said, when that file is the original, or
    when the disk refuses.
    """
    free_for(path, original, force=force)
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            path.parent.chmod(_FOLDER_MODE)
        _write(path, content, force=force)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise GreetingError(f"{path}: cannot be written: {error.strerror}") from error


def _write(path: Path, content: bytes, *, force: bool) -> None:
    number, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    unfinished = Path(name)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - a descriptor, no path
            os.fchmod(number, _FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(number)
        if force:
            unfinished.replace(path)
        else:
            path.hardlink_to(unfinished)  # fails where anything has taken the name meanwhile
        _fsync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def free_for(path: Path, original: Path | None = None, *, force: bool = False) -> None:
    """Refuse a place that is taken, as `write` does; GreetingError."""
    if original is not None and path.exists() and path.samefile(original):
        raise GreetingError(f"{path}: is the original, which stays as it is; give another --name")
    if not force and os.path.lexists(path):
        raise _taken(path)


def kept(config: Config) -> list[Kept]:
    """Return the greetings in the folder, those that mailboxes name elsewhere, and the shipped ones."""
    uses: dict[Path, dict[str, list[str]]] = {}
    for key, reason, path in _named(config):
        uses.setdefault(_plain(path), {}).setdefault(key, []).append(reason)
    shipped = shipped_greetings("pl").parent
    own = [path for path in (*_files(config.greetings), *uses) if not path.is_relative_to(shipped)]
    return [
        Kept(
            path,
            _shown(path, _plain(config.greetings), shipped),
            tuple(f"{key}: {', '.join(reasons)}" for key, reasons in uses.get(path, {}).items()),
        )
        for path in dict.fromkeys([*own, *sorted(shipped.glob("*/*.wav"))])
    ]


def closed_to_others(path: Path) -> Path | None:
    """Return the first folder, or the file, on the way that only its owner and its group may read."""
    for step in (*reversed(path.absolute().parents), path):
        mode = step.stat().st_mode
        if not mode & (0o001 if step.is_dir() else 0o004):
            return step
    return None


def _named(config: Config) -> Iterator[tuple[str, str, Path]]:
    for key, mailbox in config.mailboxes.items():
        used = dict(mailbox.greetings)
        if DEFAULT not in used:
            # What it has no greeting of its own for, the shipped ones are there for.
            shipped = mailbox.shipped.get(mailbox.language, {})
            names = (DEFAULT, HOLIDAY, *(reason.value for reason in Reason))
            used |= {name: shipped[name] for name in names if name in shipped and name not in used}
        yield from ((key, name, path) for name, path in used.items())
        yield from ((key, f"promise {kind}", path) for kind, path in mailbox.promises.items())
        for kind in KINDS if mailbox.promise else ():
            said = mailbox.sentence(kind)
            if said and said[0] not in mailbox.promises.values():
                yield key, f"promise {kind}", said[0]
        yield from ((key, name, path) for name, path in mailbox.prompts.items())


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(_plain(path) for path in folder.iterdir() if path.name[0] != "." and not path.is_dir())
    except FileNotFoundError:
        return []


def _shown(path: Path, folder: Path, shipped: Path) -> str:
    if path.is_relative_to(shipped):
        return f"shipped {path.relative_to(shipped)}"
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _taken(path: Path) -> GreetingError:
    return GreetingError(f"{path}: is there already; give another --name, or --force to replace it")


def _fsync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
