"""What can be seen, without asking the switch, of whether it may reach what it must: owners and modes.

What is found may be as it should be, as nobody says here as whom the switch runs; `switch_checks` asks.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from esl_voicemail.config import Config

_READ, _ENTER, _WRITE_INTO = 0o4, 0o1, 0o3


def notes(config: Config) -> list[str]:
    """Return one line for each file or folder that the switch needs and only we may use, as it seems."""
    found: dict[Path, str] = {}
    for where, path, needed in _wanted(config):
        with suppress(OSError):  # what is not there, or not for us to see, the checks tell
            real = path.resolve()
            for one, bits in (*((above, _ENTER) for above in reversed(real.parents)), (real, needed)):
                if users := _alone(one.stat(), bits, _ours(config)):
                    found.setdefault(one, f"{where}: note: {one}: {_remedy(one, bits, users)}")
    return [*found.values(), *_foreign_group(config)]


def note_to_root(config: Config) -> str | None:
    """Return, for root, how to ask as the service's user, whom other rights bind; None for anybody else."""
    if os.geteuid() != 0:
        return None
    user = next(iter(sorted(_ours(config) - {_user(0)})), "voicemail")
    return (
        f"{config.at('storage', 'directory')}: note: asked as root, who may read and write everything; "
        f"as the user of the service: runuser -u {user} -- esl-voicemail check"
    )


def _ours(config: Config) -> frozenset[str]:
    """Who is surely none but us: this user, and whose the storage is."""
    users = {os.geteuid(), 0}
    with suppress(OSError):
        users.add(config.directory.stat().st_uid)
    return frozenset(map(_user, users))


def _wanted(config: Config) -> Iterator[tuple[str, Path, int]]:
    yield config.at("storage", "recordings"), config.recordings, _WRITE_INTO
    for key, mailbox in config.mailboxes.items():
        for section, sounds in (("greetings", mailbox.greetings), ("promises", mailbox.promises)):
            for name, path in sounds.items():
                yield config.at("mailboxes", key, section, name), path, _READ
        yield config.at("mailboxes"), mailbox.thanks, _READ  # shipped, and so are all beside it


def _alone(status: os.stat_result, needed: int, ours: frozenset[str]) -> frozenset[str]:
    """Return who has these rights where, as far as this machine knows, only the owner and we have."""
    mode, owner = stat.S_IMODE(status.st_mode), _user(status.st_uid)
    members = _members(status.st_gid) if mode >> 3 & needed == needed else frozenset()
    return frozenset() if mode & needed == needed or members - ours - {owner} else members | {owner}


def _remedy(path: Path, needed: int, users: frozenset[str]) -> str:
    who = " and ".join(sorted(users))
    unless = f"unless the switch runs as {' or '.join(sorted(users | {_user(0)}))},"
    if needed == _WRITE_INTO:
        return (
            f"only {who} may write there; {unless} chgrp GROUP {path} && chmod 2770 {path}, "
            "by a group that both are in"
        )
    what, right = ("enter it", "x") if needed == _ENTER else ("read it", "r")
    return f"only {who} may {what}; {unless} chmod o+{right} {path}"


def _foreign_group(config: Config) -> Iterator[str]:
    """A folder shared by its mode alone: what the switch makes there is of a group that is its own."""
    with suppress(OSError):
        where, folder = config.at("storage", "recordings"), config.recordings
        mode = folder.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISGID:
            yield (
                f"{where}: note: {folder}: what the switch records there is of the switch's own group, "
                f"not the folder's: chmod g+s {folder}"
            )


@cache
def _members(group: int) -> frozenset[str]:
    primary = {user.pw_name for user in pwd.getpwall() if user.pw_gid == group}
    with suppress(KeyError):
        return frozenset({*primary, *grp.getgrgid(group).gr_mem})
    return frozenset(primary)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
