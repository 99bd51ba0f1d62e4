"""The folder of mailboxes: one file each, named as the mailbox. Reads it; `changes` writes it."""

from collections.abc import Mapping
from pathlib import Path
from stat import S_ISDIR

from pydantic import TypeAdapter, ValidationError

from esl_voicemail.config.sections import MailboxSection
from esl_voicemail.config.source import Source, Trail, name_of, parse, read, show, unread
from esl_voicemail.config.values import mailbox_name
from esl_voicemail.config.wording import word
from esl_voicemail.errors import ConfigError

MAILBOXES_DIR = "mailboxes"
SUFFIX = ".yaml"

# Files as they are to be: the text of one that is not written yet, None for one that is to go.
Drafts = Mapping[str, str | None]

_MAILBOX = TypeAdapter(MailboxSection)


def mailbox_of(values: object) -> MailboxSection:
    """Return values as a mailbox's section; ValidationError for what it may not hold."""
    return _MAILBOX.validate_python(values)


def read_folder(
    folder: Path,
    taken: Mapping[str, tuple[Source, Trail]],
    drafts: Drafts,
    *,
    where: str,
    must_exist: bool,
) -> dict[str, tuple[Source, MailboxSection]]:
    """Return the mailboxes of a folder by name; ConfigError lists every problem of every file.

    `taken` are the mailboxes that stand elsewhere, and where. `where` is the place to name when the folder
    cannot be read; it may be missing unless it `must_exist`.
    """
    problems: list[str] = []
    found: dict[str, tuple[Source, MailboxSection]] = {}
    try:
        there = set(folder.iterdir()) if must_exist or _is_folder(folder) else set()
    except OSError as error:
        raise ConfigError([f"{where}: mailboxes_dir: {name_of(folder)}: {unread(error)}"]) from error
    there |= {folder / f"{name}{SUFFIX}" for name in drafts}
    # A draft comes last: what it has in common with another is said of the draft.
    ordered = sorted(there, key=lambda path: (path.stem in drafts, path))
    for path in filter(holds_mailbox, ordered):
        if drafts.get(path.stem, "") is None:
            continue
        key = path.stem
        try:
            mailbox_name(key)
            if key in taken:
                where = taken[key][0].at(taken[key][1])
                problems.append(
                    f"{name_of(path)}:1: mailboxes.{key}: stands twice, first at {where}; keep one"
                )
                continue
            draft = drafts.get(key)
            one = read(path) if draft is None else parse(draft, name_of(path), folder)
            found[key] = one, mailbox_of(one.values)
        except ConfigError as error:
            problems.extend(error.problems)
        except ValidationError as error:
            problems.extend(word(problem, one, ("mailboxes", key)) for problem in error.errors())
        except ValueError as error:
            problems.append(f"{name_of(path)}:1: {show(('mailboxes', key))}: {error}")
    if problems:
        raise ConfigError(problems)
    return found


def holds_mailbox(path: Path) -> bool:
    """Whether a file of the folder is a mailbox by its name; editors lay files with a dot beside theirs."""
    return path.suffix == SUFFIX and not path.name.startswith(".")


def _is_folder(path: Path) -> bool:
    """Whether a folder stands there; what may not be looked at counts, so that it is reported."""
    try:
        return S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
