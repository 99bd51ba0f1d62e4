"""Plays the switch's side of a recorded call against the running service.

The recorded Application-UUIDs are exchanged for the service's own, application by application, and the
recorded file is really written; everything else goes out as it was captured.
"""

import json
import re
import time
import wave
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gevent import socket

_UUID = re.compile(r"^(?:Event-UUID: )(.*)$", re.MULTILINE)
_APPLICATION = re.compile(r"^execute-app-name: (.*)$", re.MULTILINE)
_RECORD = re.compile(r"^execute-app-arg: '([^']+)'", re.MULTILINE)
_RECORDED_MS = re.compile(r"^variable_record_ms: (\d+)$", re.MULTILINE)

# What the service asks for; a recorded script may ask for more, and then there is nothing to wait for.
_ASKED_FOR = {"multiset", "answer", "sleep", "playback", "record"}
_PATIENCE_SECONDS = 3.0


@dataclass
class Replayed:
    """What the service did with a recorded call."""

    commands: list[str] = field(default_factory=list)
    closed: bool = False

    @property
    def applications(self) -> list[str]:
        """The applications it asked for."""
        return [found[1] for command in self.commands if (found := _APPLICATION.search(command))]


class Replay:
    """One recorded call, played once."""

    def __init__(self, capture: Path, address: tuple[str, int], call_id: str, speech: bytes) -> None:
        self._rows = deque(json.loads(line) for line in capture.read_text(encoding="utf-8").splitlines())
        self._socket = socket.create_connection(address, timeout=5)
        self._call_id = call_id
        self._speech = speech
        self._buffer = ""
        self._replayed = Replayed()
        self._exchanged: dict[str, str] = {}
        self._asked: deque[tuple[str, str]] = deque()
        self._path: Path | None = None
        self._patience = _PATIENCE_SECONDS

    def play(self) -> Replayed:
        """Play it to its end, then wait for the service to leave."""
        first = next(row["text"] for row in self._rows if row["from"] == "switch" and "text" in row)
        self._recorded_id = re.search(r"^Unique-ID: (.*)$", first, re.MULTILINE)[1]  # type: ignore[index]
        try:
            for row in self._rows:
                if row.get("event") in {"eof", "eof while waiting", "close"}:
                    break
                if "text" not in row:
                    continue
                if row["from"] == "service":
                    self._await(row["text"])
                elif not self._is_reply(row["text"]):
                    self._say(row["text"])
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(30)
            while self._read():
                pass
        except (ConnectionError, BrokenPipeError):
            self._replayed.closed = True
        finally:
            self._socket.close()
        return self._replayed

    @staticmethod
    def _is_reply(text: str) -> bool:
        """Replies answer the service's own commands, which are not the recorded ones; see `_take`."""
        kind = re.search(r"^Content-Type: (.*)$", text.partition("\n\n")[0], re.MULTILINE)
        return bool(kind) and kind[1] in {"command/reply", "api/response"} and "Event-Name" not in text

    def _await(self, recorded: str) -> None:
        """Wait until the service has asked for what was asked for here, if it ever does."""
        application, uuid = _APPLICATION.search(recorded), _UUID.search(recorded)
        if recorded.strip() == "connect":
            self._until(lambda: bool(self._replayed.commands))
        elif application and uuid and application[1] in _ASKED_FOR:
            self._until(lambda: any(asked == application[1] for asked, _ in self._asked))
            for asked in list(self._asked):
                if asked[0] == application[1]:
                    self._exchanged[uuid[1]] = asked[1]
                    self._asked.remove(asked)
                    return

    def _until(self, met: Callable[[], bool]) -> None:
        end = time.monotonic() + self._patience
        while not met():
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                if not self._read():
                    raise ConnectionError("the service has left")
            except TimeoutError:
                # The two have parted: the service waits for what this script never says.
                self._patience = 0.0
                return

    def _take(self, command: str) -> None:
        self._replayed.commands.append(command)
        if found := _APPLICATION.search(command):
            self._asked.append((found[1], _UUID.search(command)[1]))  # type: ignore[index]
        if found := _RECORD.search(command):
            self._path = Path(found[1])
        if command.startswith("api "):
            self._socket.sendall(b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n")
        elif command != "connect":
            self._socket.sendall(b"Content-Type: command/reply\nReply-Text: +OK\n\n")

    def _say(self, text: str) -> None:
        text = text.replace(self._recorded_id, self._call_id)
        for recorded, ours in self._exchanged.items():
            text = text.replace(recorded, ours)
        if "Event-Name: CHANNEL_EXECUTE_COMPLETE" in text and "\nApplication: record\n" in text:
            self._write_file(text)
        head, blank, body = text.partition("\n\n")
        if "\nContent-Length: " in f"\n{head}" and "Event-Name: " in body:
            head = re.sub(r"Content-Length: \d+", f"Content-Length: {len(body.encode())}", head)
        self._socket.sendall(f"{head}{blank}{body}".encode())

    def _write_file(self, event: str) -> None:
        recorded = _RECORDED_MS.search(event)
        if self._path is None or recorded is None:
            return
        with wave.open(str(self._path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(self._speech[: int(recorded[1]) * 16])

    def _read(self) -> bool:
        received = self._socket.recv(65536)
        self._buffer += received.decode()
        while "\n\n" in self._buffer:
            command, _, self._buffer = self._buffer.partition("\n\n")
            self._take(command)
        return bool(received)
