"""What a switch's connections need of the system: no waiting to fill a packet, and to learn of its end.

Set once, on the socket that listens: Linux has each connection begin with what that one is set to.
"""

from gevent import socket

# A machine or a line that is gone says nothing, and by itself the kernel asks after two hours. Asked after
# 30 s of silence and then every 10 s, it is known to be gone within 60 s, where a recording may last an hour;
# so it is where nothing confirms what was written. A frozen switch's kernel answers: deadlines see to that.
_TCP = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,
}


def prepare(sock: socket.socket) -> None:
    """Set a socket, and with it every connection that it accepts."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
