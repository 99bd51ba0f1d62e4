"""An operator's templates of the mails, as they were when their folders were read."""

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from esl_voicemail.config.source import Source, Trail, name_of, show, unread

SUFFIX = ".j2"
# In the place of a folder: the shipped templates alone.
SHIPPED = "none"
_LARGEST_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Template:
    """A template's name, its text, and the file to name when something is wrong with it."""

    name: str
    text: str
    file: str


@dataclass(frozen=True, slots=True)
class Looks:
    """The templates of each mailbox, its own and the installation's, and the folders that they are from.

    `problems` are the folders that cannot be read, a line each: without them, mails are as shipped.
    """

    of: Mapping[str, tuple[Template, ...]]
    folders: tuple[Path, ...]
    problems: tuple[str, ...]


def read_looks(
    source: Source,
    for_all: str | None,
    for_one: Mapping[str, str | None],
    origins: Mapping[str, tuple[Source, Trail]],
) -> Looks:
    """Read the folder for all mailboxes and those for one, in whose place `none` may stand."""
    named: dict[Path, str] = {}
    if for_all and for_all != SHIPPED:
        trail = ("defaults", "templates")
        named[source.folder / for_all] = f"{source.at(trail)}: {show(trail)}"
    for key, folder in for_one.items():
        if folder and folder != SHIPPED:
            one, prefix = origins[key]
            where = f"{one.at((*prefix, 'templates'))}: {show(('mailboxes', key, 'templates'))}"
            named.setdefault(source.folder / folder, where)
    found: dict[Path, tuple[Template, ...]] = {}
    problems: list[str] = []
    for place, where in named.items():
        try:
            found[place] = _read(place)
        except ValueError as error:
            found[place] = ()
            problems.append(f"{where}: {error}")

    def templates(own: str | None) -> tuple[Template, ...]:
        wanted = () if own == SHIPPED else (own, for_all)
        return _first_of_each_name(found[source.folder / one] for one in wanted if one and one != SHIPPED)

    return Looks({key: templates(own) for key, own in for_one.items()}, tuple(found), tuple(problems))


def is_template(path: Path) -> bool:
    """Whether a file of the folder is a template by its name; editors lay files with a dot beside theirs."""
    return path.suffix == SUFFIX and not path.name.startswith(".")


def _first_of_each_name(folders: Iterable[tuple[Template, ...]]) -> tuple[Template, ...]:
    found: dict[str, Template] = {}
    for template in chain.from_iterable(folders):
        found.setdefault(template.name, template)
    return tuple(found.values())


def _read(folder: Path) -> tuple[Template, ...]:
    try:
        paths = sorted(path for path in folder.iterdir() if is_template(path))
    except OSError as error:
        raise ValueError(f"{folder}: {unread(error)}") from error
    return tuple(Template(path.name, _text(path), name_of(path)) for path in paths)


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path}: is no file")  # to open a pipe is to wait for whoever writes into it
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            raise ValueError(f"{path}: is larger than {_LARGEST_BYTES >> 10} KiB, too much for a template")
        return content.decode()
    except OSError as error:
        raise ValueError(f"{path}: {unread(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text; save it as such") from error
