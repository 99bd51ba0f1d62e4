"""A socket for an address, bound first and listened on later: the one way both listeners come to theirs."""

import os

from gevent import socket

from esl_voicemail.config.values import Address
from esl_voicemail.errors import CannotBindError

# As many calls may knock in one moment as a burst brings; the kernel's own limit caps it.
_BACKLOG = 1024


def bind(address: Address) -> socket.socket:
    """Return a bound socket, for `listen`; CannotBindError when the address is taken or not ours."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotBindError(f"cannot listen on {address}: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        said = os.strerror(error.errno) if error.errno else str(error)
        raise CannotBindError(f"cannot listen on {address}: {said}; is another server running?") from error
    return sock


def listen(sock: socket.socket) -> None:
    """Let others connect; CannotBindError when another server was quicker."""
    try:
        sock.listen(_BACKLOG)
    except OSError as error:
        raise CannotBindError(f"cannot listen on {bound(sock)}: {error.strerror}") from error


def bound(sock: socket.socket) -> Address:
    """Return the address a socket really has: port 0 has become a number."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)
