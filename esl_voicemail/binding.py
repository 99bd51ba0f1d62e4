"""A socket for an address, bound first and listened on later: the one way both listeners come to theirs."""

import errno
import os
from typing import Any

from gevent import socket

from esl_voicemail.config.values import Address
from esl_voicemail.errors import CannotBindError

# As many calls may knock in one moment as a burst brings; the kernel's own limit caps it.
_BACKLOG = 1024
_TODO = {
    errno.EADDRINUSE: "; is another server running?",
    errno.EADDRNOTAVAIL: "; name an address of this machine",
    errno.EACCES: "; name a port above 1023",
}


def bind(address: Address) -> socket.socket:
    """Return a bound socket, for `listen`; CannotBindError when the address is taken or not ours."""
    family, place = _found(address)
    sock = _socket(address, family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        said = os.strerror(error.errno) if error.errno else str(error)
        todo = _TODO.get(error.errno or 0, "")
        raise CannotBindError(f"cannot listen on {address}: {said}{todo}") from error
    return sock


def listen(sock: socket.socket) -> None:
    """Let others connect; CannotBindError when another server was quicker."""
    try:
        sock.listen(_BACKLOG)
    except OSError as error:
        raise CannotBindError(f"cannot listen on {bound(sock)}: {error.strerror}") from error


def is_same(address: Address, listening: Address) -> bool:
    """Whether somebody who listens where it was said does so at an address, be that a name."""
    try:
        return _found(address)[1][:2] == (listening.host, listening.port)
    except CannotBindError:
        return False


def _found(address: Address) -> tuple[int, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise CannotBindError(
            f"cannot listen on {address}: {error.strerror or error}; name an address of this machine"
        ) from error
    return found[0][0], found[0][4]


def _socket(address: Address, family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise CannotBindError(f"cannot listen on {address}: {error.strerror}") from error


def bound(sock: socket.socket) -> Address:
    """Return the address a socket really has: port 0 has become a number."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)
