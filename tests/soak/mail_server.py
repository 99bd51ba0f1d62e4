"""The soak's mail server: the scripted one, scripting itself at random. PORT SEED FOLDER MOOD.

Of mood FRIENDLY it does as it should. Each mail that it takes is a file before it says so, as it may be
killed at any moment.
"""

import base64
import random
import socket
import sys
from os import getpid
from pathlib import Path

from tests.support.smtp_process import Order, Server

# A client that is left alone at most for so long: ours would wait for minutes, as the standard says.
_SILENCE_SECONDS = 2.0
_LIKELY = {
    "CONNECT": 0.003,
    "EHLO": 0.003,
    "MAIL": 0.03,
    "RCPT": 0.03,
    "DATA": 0.03,
    "CONTENT": 0.02,
    "FINAL": 0.08,
    "QUIT": 0.05,
}
# After a 421 the service gives the server a rest of seconds: rare, or hardly any mail would go out.
_WEIGHTS = (10, 10, 5, 20, 1)
_NOT_NOW, _CLOSING = b"451 4.3.0 not now", b"421 4.3.2 closing"


class Kept:
    """The mails taken, as files: the recipient in the first line, then the mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, taken: dict[str, str]) -> None:
        """Put one more into the folder, whole or not at all."""
        self._count += 1
        name = f"{getpid()}.{self._count}"
        unfinished = self._folder / f".{name}"
        unfinished.write_bytes(taken["recipient"].encode() + b"\n" + base64.b64decode(taken["content"]))
        unfinished.rename(self._folder / name)


class RandomServer(Server):
    """Does at random what a script could have it do, but for a refusal for good."""

    def __init__(self, port: int, seed: int, folder: Path, *, friendly: bool) -> None:
        setup = dict.fromkeys(("user", "password", "starttls_offered", "size", "certificate"))
        super().__init__({**setup, "security": "none", "mechanisms": (), "port": port})
        self.listener.settimeout(None)
        self.accepted = Kept(folder)  # type: ignore[assignment]
        self._chance = random.Random(seed)
        self._friendly = friendly

    def order(self, step: str, recipient: str | None = None) -> Order | None:
        """Decide what happens at a step."""
        with self.lock:
            self.transcript.clear()
            if self._friendly or self._chance.random() >= _LIKELY.get(step, 0.0):
                return None
            refusal = "refuse_content" if step == "CONTENT" else "say"
            (way,) = self._chance.choices(["drop", "reset", "silence", refusal, "say_and_drop"], _WEIGHTS)
            reply = _CLOSING if way == "say_and_drop" else _NOT_NOW
            # Taken without a word of it: the client cannot know.
            taken = step == "FINAL" and way in ("drop", "reset", "silence") and self._chance.random() < 0.5
            return Order(step, way, reply, accept=taken)


def main() -> None:
    """Serve until killed."""
    port, seed, folder, friendly = sys.argv[1:]
    socket.setdefaulttimeout(_SILENCE_SECONDS)
    server = RandomServer(int(port), int(seed), Path(folder), friendly=friendly == "FRIENDLY")
    print(server.listener.getsockname()[1], flush=True)
    server.serve()


if __name__ == "__main__":
    main()
