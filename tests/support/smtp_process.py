"""An SMTP server that does as it is told: run as a process of its own by `tests.support.smtp`.

Reads its set-up from its one argument and then orders from stdin, a JSON object a line; answers each with
one on stdout. Ends when stdin ends, so it never outlives the tests.
"""

import base64
import contextlib
import hmac
import json
import re
import socket
import ssl
import struct
import sys
import threading
from dataclasses import dataclass
from typing import Any

_BACKLOG = 128
_BUFFER = 1 << 16
_DRIBBLE_SECONDS = 0.02
_LATE_SECONDS = 0.1
_ADDRESS = re.compile(rb"<([^<>]*)>")
_SIZE = re.compile(rb"\bSIZE=(\d+)", re.IGNORECASE)
_DEFAULTS = {
    "CONNECT": b"220 test.invalid ESMTP ready",
    "HELO": b"250 test.invalid",
    "STARTTLS": b"220 2.0.0 go ahead",
    "AUTH": b"235 2.7.0 welcome",
    "MAIL": b"250 2.1.0 sender ok",
    "RCPT": b"250 2.1.5 recipient ok",
    "DATA": b"354 end with a dot on a line of its own",
    "RSET": b"250 2.0.0 forgotten",
    "NOOP": b"250 2.0.0 nothing done",
    "QUIT": b"221 2.0.0 bye",
}


class Gone(Exception):  # noqa: N818 - an end of the connection, not always an error
    """The connection has ended."""


@dataclass
class Order:
    """What to do at a step instead of the usual, and how often; None is for ever."""

    step: str
    action: str
    reply: bytes = b""
    times: int | None = None
    recipient: str | None = None
    accept: bool = False


class Server:
    """What all connections share."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.security = setup["security"]
        self.user, self.password = setup["user"], setup["password"]
        self.mechanisms = setup["mechanisms"]
        self.starttls_offered = setup["starttls_offered"]
        self.size = setup["size"]
        self.pipelining = True
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.open = 0
        self.held = 0
        self.forget()
        self.tls: ssl.SSLContext | None = None
        if setup["certificate"]:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(setup["certificate"])
        self.listener = socket.socket()
        # Small, so that a sender soon notices that nobody reads.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", setup["port"]))
        self.listener.listen(_BACKLOG)

    def forget(self) -> None:
        """Start afresh: no orders, nothing held, nothing recorded."""
        self.released.set()
        with self.lock:
            self.released = threading.Event()
            self.epoch = object()
            self.orders: list[Order] = []
            self.accepted: list[dict[str, str]] = []
            self.transcript: list[str] = []
            self.connections = 0
            self.most_at_once = 0
            self.most_together = 0

    def order(self, step: str, recipient: str | None = None) -> Order | None:
        """Take the first order that stands for a step."""
        with self.lock:
            for order in self.orders:
                wanted = order.recipient in (None, recipient)
                if order.step == step and wanted and order.times != 0:
                    if order.times is not None:
                        order.times -= 1
                    return order
        return None

    def serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            # Each reply to commands that came together goes out at once.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open += 1
                self.most_at_once = max(self.most_at_once, self.open)
            threading.Thread(target=Session(self, connection).run, daemon=True).start()


class Session:
    """One connection."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server = server
        self.epoch = server.epoch
        self.socket = connection
        self.buffer = bytearray()
        self.secure = False
        self.sender: str | None = None
        self.recipients: list[str] = []

    def run(self) -> None:
        with contextlib.suppress(Gone, OSError):
            if self.server.security == "tls":
                self.secure_it()
            self.answer("CONNECT")
            while True:
                self.command(self.line())
        self.socket.close()
        with self.server.lock:
            self.server.open -= 1

    # --- the wire ----------------------------------------------------------------------------------

    def note(self, who: str, what: bytes) -> None:
        with self.server.lock:
            if self.epoch is self.server.epoch:
                self.server.transcript.append(f"{who}: {what.decode('utf-8', 'backslashreplace')}")

    def receive(self) -> None:
        block = self.socket.recv(_BUFFER)
        if not block:
            raise Gone
        self.buffer += block

    def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.receive()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        self.note("C", line)
        with self.server.lock:
            self.server.most_together = max(self.server.most_together, 1 + self.buffer.count(b"\r\n"))
        return line

    def say(self, reply: bytes) -> None:
        self.note("S", reply)
        self.socket.sendall(reply + b"\r\n")

    def secure_it(self) -> None:
        assert self.server.tls
        self.mishap("TLS")
        self.socket = self.server.tls.wrap_socket(self.socket, server_side=True)
        self.buffer.clear()
        self.secure = True

    def mishap(self, step: str, recipient: str | None = None) -> bytes | None:
        """Do what is ordered for a step; the reply that is ordered, or None for the usual one."""
        order = self.server.order(step, recipient)
        if order is None:
            return None
        if order.action == "say":
            return order.reply
        if order.action == "say_late":
            threading.Timer(_LATE_SECONDS, self.say, [order.reply]).start()
            return None
        if order.accept:
            self.accept()
        if order.action == "say_and_drop":
            self.say(order.reply)
        elif order.action == "hold":
            released = self.server.released
            self.count_held(1)
            released.wait()
            self.count_held(-1)
            return None
        elif order.action == "silence":
            while True:
                self.receive()
        elif order.action in ("pour", "dribble"):
            while True:
                self.socket.sendall(order.reply)
                if order.action == "dribble":
                    threading.Event().wait(_DRIBBLE_SECONDS)
        elif order.action == "refuse_content":
            self.receive()
            self.say(order.reply)
        elif order.action == "stop_reading":
            threading.Event().wait()
        elif order.action == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def count_held(self, by: int) -> None:
        with self.server.lock:
            self.server.held += by

    def answer(self, step: str, *, usual: bytes | None = None, recipient: str | None = None) -> int:
        """Say what is ordered for a step, or the usual; return the reply's code."""
        reply = self.mishap(step, recipient)
        if reply is None:
            reply = _DEFAULTS[step] if usual is None else usual
        self.say(reply)
        return int(reply[:3]) if reply[:3].isdigit() else 0

    # --- the commands ------------------------------------------------------------------------------

    def command(self, line: bytes) -> None:
        verb = line.split(b" ", 1)[0].decode("latin-1").upper()
        if verb == "EHLO":
            self.answer("EHLO", usual=self.features())
        elif verb == "STARTTLS":
            if self.answer("STARTTLS") == 220:
                self.secure_it()
        elif verb == "AUTH":
            self.authenticate(line)
        elif verb == "MAIL":
            # A connection that was kept is used again by who has forgotten what it was used for.
            self.epoch = self.server.epoch
            size = _SIZE.search(line)
            limit = self.server.size
            too_large = size and limit and int(size[1]) > limit
            usual = b"552 5.3.4 larger than the limit" if too_large else None
            if self.answer("MAIL", usual=usual) == 250:
                self.sender, self.recipients = self.address(line), []
        elif verb == "RCPT":
            recipient = self.address(line)
            if self.answer("RCPT", recipient=recipient) in (250, 251):
                self.recipients.append(recipient)
        elif verb == "DATA":
            if self.sender is None or not self.recipients:
                if self.answer("NOBODY", usual=b"503 5.5.1 no transaction") == 354:
                    self.data()
            elif self.answer("DATA") == 354:
                self.data()
        elif verb == "RSET":
            self.sender, self.recipients = None, []
            self.answer("RSET")
        elif verb in ("HELO", "NOOP", "QUIT"):
            self.answer(verb)
            if verb == "QUIT":
                raise Gone
        else:
            self.say(b"500 5.5.2 what?")

    def features(self) -> bytes:
        lines = ["test.invalid"]
        if self.server.pipelining:
            lines.append("PIPELINING")
        if self.server.size:
            lines.append(f"SIZE {self.server.size}")
        if self.server.security == "starttls" and self.server.starttls_offered and not self.secure:
            lines.append("STARTTLS")
        if self.server.user:
            lines.append("AUTH " + " ".join(self.server.mechanisms))
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]).encode()

    def address(self, line: bytes) -> str:
        found = _ADDRESS.search(line)
        return found[1].decode("ascii", "backslashreplace") if found else ""

    def authenticate(self, line: bytes) -> None:
        _, mechanism, *rest = line.decode("latin-1").split(" ")
        if mechanism not in self.server.mechanisms:
            self.say(b"504 5.5.4 no such mechanism")
            return
        if mechanism == "PLAIN":
            _, user, password = self.secret(b"334 ", rest).split(b"\0")
        else:
            user = self.secret(b"334 VXNlcm5hbWU6", rest)
            password = self.secret(b"334 UGFzc3dvcmQ6", [])
        right = hmac.compare_digest(user, self.server.user.encode())
        right &= hmac.compare_digest(password, self.server.password.encode())
        self.answer("AUTH", usual=None if right else b"535 5.7.8 wrong user or password")

    def secret(self, prompt: bytes, given: list[str]) -> bytes:
        if given:
            return base64.b64decode(given[0])
        self.say(prompt)
        return base64.b64decode(self.line())

    def data(self) -> None:
        self.mishap("CONTENT")
        # Searched from where the last search ended, as a message may be large.
        self.buffer[:0] = b"\r\n"
        searched = 0
        while (end := self.buffer.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(self.buffer) - 4)
            self.receive()
        lines = bytes(self.buffer[2 : end + 2]).split(b"\r\n")
        del self.buffer[: end + 5]
        self.content = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
        self.note("C", f"({len(self.content)} bytes of mail)".encode())
        reply = self.mishap("FINAL")
        if reply is None:
            reply = b"250 2.0.0 Ok: queued as T%d" % (len(self.server.accepted) + 1)
        if reply.startswith(b"2"):
            self.accept()
        self.sender, self.recipients = None, []
        self.say(reply)

    def accept(self) -> None:
        content = base64.b64encode(self.content).decode()
        with self.server.lock:
            for recipient in self.recipients if self.epoch is self.server.epoch else []:
                self.server.accepted.append(
                    {"sender": self.sender or "", "recipient": recipient, "content": content}
                )


def _obey(server: Server, order: dict[str, Any]) -> dict[str, Any]:
    what = order.pop("do")
    if what == "order":
        reply = order.pop("reply").encode("latin-1")
        with server.lock:
            server.orders.append(Order(reply=reply, **order))
    elif what == "forget":
        server.forget()
    elif what == "release":
        server.released.set()
    elif what == "change":
        for name in ("size", "starttls_offered", "mechanisms", "pipelining"):
            if name in order:
                setattr(server, name, order[name])
    elif what == "accepted":
        with server.lock:
            return {"accepted": server.accepted[order["after"] :]}
    elif what == "seen":
        with server.lock:
            return {
                "connections": server.connections,
                "most_at_once": server.most_at_once,
                "most_together": server.most_together,
                "held": server.held,
                "transcript": server.transcript,
            }
    return {}


def main() -> None:
    """Serve until stdin ends."""
    server = Server(json.loads(sys.argv[1]))
    threading.Thread(target=server.serve, daemon=True).start()
    print(json.dumps({"port": server.listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(server, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
