"""A mail server that takes every mail and keeps none: cheap, so that the sender is what is measured.

A process of its own. Prints its port as it begins, then answers each line with what it has taken so far.
Knows EHLO, MAIL, RCPT, DATA, RSET, NOOP and QUIT, and pipelining (RFC 2920).
"""

import json
import select
import socket
import sys
from typing import Any

_BLOCK = memoryview(bytearray(1 << 18))
_END = b"\r\n.\r\n"
# Behind the end of a mail may stand the next one's commands, and no more than these many bytes of them.
_COMMANDS_BYTES = 2048
_REPLIES = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"HELO": b"250 sink\r\n",
    b"EHLO": b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lines = b""
        self.last = b""  # of a mail: its last bytes, as the end may come in two pieces
        self.in_mail = False


class Sink:
    """Takes mails from any number of connections."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._epoll = select.epoll()
        self._peers: dict[int, Peer] = {}
        self.taken = {"mails": 0, "bytes": 0, "connections": 0}

    def serve(self) -> None:
        """Serve until standard input ends."""
        print(json.dumps({"port": self._server.getsockname()[1]}), flush=True)
        for sock in (self._server.fileno(), sys.stdin.fileno()):
            self._epoll.register(sock, select.EPOLLIN)
        while True:
            for number, _ in self._epoll.poll():
                if number == self._server.fileno():
                    self._accept()
                elif number != sys.stdin.fileno():
                    self._read(self._peers[number])
                elif not sys.stdin.readline():
                    return
                else:
                    print(json.dumps(self.taken), flush=True)

    def _accept(self) -> None:
        sock, _ = self._server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[sock.fileno()] = Peer(sock)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self.taken["connections"] += 1
        sock.sendall(b"220 sink ESMTP\r\n")

    def _read(self, peer: Peer) -> None:
        try:
            size = peer.sock.recv_into(_BLOCK)
            received = _BLOCK[:size]
            commands = self._take(peer, received) if peer.in_mail else bytes(received)
            stays = bool(size) and (not commands or self._obey(peer, commands))
        except OSError:
            stays = False
        if not stays:
            del self._peers[peer.sock.fileno()]
            peer.sock.close()

    def _take(self, peer: Peer, received: "memoryview[Any]") -> bytes:
        """Take a piece of a mail; return what comes behind its end."""
        self.taken["bytes"] += len(received)
        tail = peer.last + bytes(received[-_COMMANDS_BYTES:])
        end = tail.find(_END)
        if end < 0:
            peer.last = tail[-len(_END) :]
            return b""
        peer.in_mail = False
        self.taken["mails"] += 1
        peer.sock.sendall(b"250 2.0.0 Ok: taken\r\n")
        return tail[end + len(_END) :]

    def _obey(self, peer: Peer, received: bytes) -> bool:
        """Answer whole lines; return whether the connection goes on."""
        *lines, peer.lines = (peer.lines + received).split(b"\r\n")
        verbs = [line[:4].upper() for line in lines]
        if verbs:
            peer.sock.sendall(b"".join([_REPLIES.get(verb, b"502 5.5.2 What?\r\n") for verb in verbs]))
        # The message that follows DATA begins behind a line end, which may be all of it.
        peer.in_mail = b"DATA" in verbs
        peer.last = b"\r\n" if peer.in_mail else b""
        return b"QUIT" not in verbs


if __name__ == "__main__":
    Sink().serve()
