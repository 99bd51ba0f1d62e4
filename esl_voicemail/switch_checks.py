"""What a switch says of itself, held against the configuration: whether calls of it can be recorded and kept.

Asks by its event socket, changes nothing there, and places no call that anybody hears.
"""

import grp
import os
import pwd
import socket
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from esl_voicemail.config import Config
from esl_voicemail.config.values import Address
from esl_voicemail.errors import VoicemailError
from esl_voicemail.esl.console import Console
from esl_voicemail.loopback import LoopbackCall, destination, reachable
from esl_voicemail.sounds import own_sounds, shipped_sounds
from esl_voicemail.spool import MARK

# What calls are answered, greeted, beeped and recorded with.
_MODULES = ("mod_dptools", "mod_sndfile", "mod_tone_stream")
_LOOPBACK = "mod_loopback"
_APART_SECONDS = 5.0
_CALL_SECONDS = 2
# Each is a question; more than this are as likely to be seen as these.
_SOUNDS_AT_MOST = 1000
_ENTER, _READ, _WRITE_AND_ENTER = 0o1, 0o4, 0o3

User = tuple[str, int, list[int]]


@dataclass
class Findings:
    """Problems, each a line with what to do; and notes, which may be as they should."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ask(config: Config, console: Console) -> Findings:
    """Ask a switch all there is to ask; CannotReachError when it stops answering."""
    found = Findings()
    user = _user(console)
    found.problems += _modules(config, console)
    found.problems += _recordings(config, console, user)
    sounds = _sounds(config)
    found.problems += _unheard(sounds[:_SOUNDS_AT_MOST], console, user)
    if len(sounds) > _SOUNDS_AT_MOST:
        found.notes.append(f"of {len(sounds)} sounds it was asked about the first {_SOUNDS_AT_MOST}")
    found.problems += _clock(console)
    found.notes += _zones(config, console)
    if console.api(f"module_exists {_LOOPBACK}") == "true":
        _reached(config, console, found)
    else:
        found.notes.append(f"whether it reaches {config.listen} cannot be asked without {_LOOPBACK}")
    return found


def _modules(config: Config, console: Console) -> Iterator[str]:
    wanted = [*_MODULES, *([_LOOPBACK] if config.probe and config.probe.switch else [])]
    for module in wanted:
        if console.api(f"module_exists {module}") != "true":
            yield f"{console.address}: the switch has no {module}; load it in its modules.conf.xml"


def _recordings(config: Config, console: Console, user: User | None) -> Iterator[str]:
    where, folder = config.at("storage", "recordings"), config.recordings
    if not folder.is_dir():
        yield f"{where}: {folder}: is not there yet; make it, or start the service once, and ask again"
        return
    if user is not None and (shut := shut_for(folder, *user[1:])):
        name, _, groups = user
        yield (
            f"{where}: {shut}: the switch runs as {name}, who may not write there; "
            f"chgrp {_group(groups)} {folder} && chmod 2770 {folder}"
            if shut == folder
            else f"{where}: {shut}: the switch runs as {name}, who may not enter it; chmod o+x {shut}"
        )
        return
    # The mark, as another machine may have a folder of that name.
    seen = folder / MARK if (folder / MARK).exists() else folder
    if console.api(f"file_exists {seen}") != "true":
        yield f"{where}: {seen}: the switch does not see it; share the folder with it, under the same path"


def _sounds(config: Config) -> list[tuple[str, Path]]:
    """Return what calls may hear, each file once, with who asks for it."""
    found: dict[Path, str] = {}
    for where, path in (
        *own_sounds(config),
        *((config.at("mailboxes"), one) for one in shipped_sounds(config)),
    ):
        found.setdefault(path, where)
    return [(where, path) for path, where in found.items()]


def _unheard(sounds: list[tuple[str, Path]], console: Console, user: User | None) -> Iterator[str]:
    """A sound that the switch does not find is silence to the caller, and one in a container finds none."""
    shut: dict[Path, str] = {}
    unseen: dict[Path, list[tuple[str, Path]]] = {}
    for where, path in sounds:
        keeps_out = user and shut_for(path, *user[1:], needed=_READ)
        if keeps_out:
            shut.setdefault(keeps_out, where)
        elif console.api(f"file_exists {path}") != "true":
            unseen.setdefault(path.parent, []).append((where, path))
    for path, where in shut.items():
        may, letter = ("read", "r") if path.is_file() else ("enter", "x")
        name = user[0] if user else ""
        yield f"{where}: {path}: the switch runs as {name}, who may not {may} it; chmod o+{letter} {path}"
    for folder, missing in unseen.items():
        remedy = f"callers would hear nothing: share {folder} with it, under the same path"
        asked = sum(path.parent == folder for _, path in sounds)
        if len(missing) == asked > 1:
            yield f"{missing[0][0]}: {folder}: the switch sees none of {asked} sounds in it; {remedy}"
        else:
            yield from (f"{where}: {path}: the switch does not see it; {remedy}" for where, path in missing)


def _user(console: Console) -> User | None:
    """Return name, number and groups of the user whose socket a switch of this machine answers by.

    None for a switch elsewhere, and for a user without a name, whose groups nobody tells.
    """
    (_, near_port), (far, far_port) = console.ends
    wanted = f":{far_port:04X}", f":{near_port:04X}"
    if not ip_address(far).is_loopback:
        return None
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError, KeyError):
            for columns in map(str.split, Path(table).read_text().splitlines()[1:]):
                if columns[1].endswith(wanted[0]) and columns[2].endswith(wanted[1]):
                    user = pwd.getpwuid(int(columns[7]))
                    return user.pw_name, user.pw_uid, os.getgrouplist(user.pw_name, user.pw_gid)
    return None


def shut_for(place: Path, user: int, groups: Collection[int], needed: int = _WRITE_AND_ENTER) -> Path | None:
    """Return what keeps a user from a place: itself, a folder above it, or nothing.

    `needed` are the mode's bits for others: by default, those to write into a folder.
    """
    real = place.resolve()
    for path in (*reversed(real.parents), real):
        bits = needed if path == real else _ENTER
        status = path.stat()
        shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
        if user and stat.S_IMODE(status.st_mode) >> shift & bits != bits:
            return place if path == real else path
    return None


def _group(groups: list[int]) -> str:
    with suppress(KeyError, IndexError):
        return grp.getgrgid(groups[0]).gr_name
    return "GROUP"


def _clock(console: Console) -> Iterator[str]:
    said = console.api("strepoch")
    apart = float(said) - time.time() if said.isdecimal() else 0.0
    if abs(apart) > _APART_SECONDS:
        yield f"{console.address}: the switch's clock is {apart:+.0f} s off ours; keep both by NTP"


def _zones(config: Config, console: Console) -> Iterator[str]:
    theirs = console.api("strftime %z")
    for zone in dict.fromkeys(mailbox.timezone for mailbox in config.mailboxes.values()):
        ours = f"{datetime.now(zone):%z}"
        if theirs != ours:
            yield (
                f"the switch's clock shows {theirs}, {zone.key} is {ours}: conditions on the time of day in "
                f"its dialplan go by {theirs} unless they set `timezone`"
            )


def _reached(config: Config, console: Console, found: Findings) -> None:
    """Have the switch connect to us where the service listens, or beside it while it does."""
    where, (near, _) = config.at("listen"), console.ends[0]
    host = near if reachable(config.listen) != config.listen else config.listen.host
    try:
        listener = _listening(host, config.listen.port)
    except OSError as error:
        why = error.strerror or error
        found.problems.append(f"{where}: {config.listen}: cannot be listened on: {why}")
        return
    with listener:
        address = Address(host, listener.getsockname()[1])
        # Nobody answers, so the call comes to nothing; what counts is who knocked.
        with suppress(VoicemailError):
            to, given = destination(address, None), {"socket_resume": "true"}
            LoopbackCall(console, to, given, _CALL_SECONDS).hang_up()
        listener.settimeout(0.5)
        try:
            connection, peer = listener.accept()
        except OSError:
            if config.listen.port in (0, address.port):
                found.problems.append(
                    f"{where}: the switch does not reach {address}; listen on an address of its network"
                )
            else:
                found.notes.append(
                    f"the switch does not reach {address}, which it was asked for as the service holds "
                    f"{config.listen}: listen on an address of its network, unless a firewall lets that port "
                    "alone through; asked while the service is stopped, it would be that port"
                )
            return
        connection.close()
    came_from = ip_address(peer[0])
    if not any(came_from in network for network in config.switch.allowed):
        found.problems.append(f"{config.at('switch', 'allowed')}: the switch comes from {came_from}; add it")


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError:
        return socket.create_server((host, 0), family=family)
