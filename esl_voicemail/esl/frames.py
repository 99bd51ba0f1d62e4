"""Bytes of the event socket into frames, and frames into values. Pure.

Split first, decode after: FreeSWITCH does not encode a `%` that is already followed by two hex digits,
so a caller's display name may decode to a line break; decoded before the split, it would become a header
of its own. Sizes are bounded, whoever is speaking.
"""

import re
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote_to_bytes

from esl_voicemail.errors import FrameError

# A caller's name of 10,000 letters stands in a dozen headers, each letter up to 12 bytes once encoded.
LARGEST_HEAD = 2 * 1024 * 1024
LARGEST_BODY = 4 * 1024 * 1024
_LITTLE = 64 * 1024

_BLANK = re.compile(rb"[\r\n]+")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_LENGTH_SAID = b"\nContent-Length: "
# What a call's end of the switch says all the time, and never with a body.
_WITHOUT_BODY = tuple(
    b"Event-Name: %b\n" % name for name in (b"CHANNEL_EXECUTE_COMPLETE", b"CHANNEL_HANGUP", b"DTMF")
)


@cache
def _mark(name: str) -> bytes:
    return f"\n{name}: ".encode("ascii")


class Headers:
    """Header lines of a frame or an event; a value is looked up and decoded only when asked for."""

    __slots__ = ("_block",)

    def __init__(self, block: bytes) -> None:
        self._block = b"\n" + block

    def __len__(self) -> int:
        return len(self._block)

    def raw(self, name: str) -> bytes | None:
        """Return a value as it came, or None; of several the first counts."""
        mark = _mark(name)
        start = self._block.find(mark)
        if start < 0:
            return None
        start += len(mark)
        end = self._block.find(b"\n", start)
        return self._block[start:] if end < 0 else self._block[start:end]

    def since(self, name: str) -> "Headers":
        """Return the headers from the last one of a name on, all of them where there is none.

        It is looked for from the end: where that is known to be near, nothing else of an event is looked at.
        """
        start = self._block.rfind(_mark(name))
        return self if start < 0 else Headers(self._block[start + 1 :])

    def get(self, name: str, default: str = "") -> str:
        """Return a value percent-decoded; it may hold any character, line breaks too.

        Bytes that are no UTF-8 are read as Latin-1, which some telephones send.
        """
        raw = self.raw(name)
        if raw is None:
            return default
        plain = unquote_to_bytes(raw) if b"%" in raw else raw
        try:
            return plain.decode("utf-8")
        except UnicodeDecodeError:
            return plain.decode("latin-1")

    def number(self, name: str) -> int | None:
        """Return a value as a whole number of at most 18 digits, or None."""
        text = self.get(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None

    def variable(self, name: str) -> str:
        """Return a channel variable, empty when unset."""
        return self.get(f"variable_{name}")


class Frame:
    """One frame: its own headers and, where it has one, its body."""

    __slots__ = ("body", "headers", "kind")

    def __init__(self, kind: str, headers: Headers, body: bytes) -> None:
        self.kind = kind
        self.headers = headers
        self.body = body

    def event(self) -> Headers:
        """Return the headers of the event in the body; an event's own body stays apart.

        Where it has one, it has a Content-Length too (switch_event_serialize): to look for that in a head of
        7 KB takes a tenth of what it takes to look for a blank line, and not to look, nothing.
        """
        if not self.body.startswith(_WITHOUT_BODY) and _LENGTH_SAID in self.body:
            return Headers(self.body.partition(b"\n\n")[0])
        return Headers(self.body)


class Room:
    """What the readers of all connections may hold together, so that a crowd cannot take all memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0


class FrameReader:
    """Collects bytes and gives back whole frames; holds at most one frame's largest size."""

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room(LARGEST_HEAD + LARGEST_BODY)
        self._taken = 0
        self._buffer = bytearray()
        self._searched = 0
        self._head: tuple[str, Headers, int] | None = None
        self.refused = 0

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer) + (len(self._head[1]) if self._head else 0)

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Take bytes and yield the frames that are complete.

        A frame without a Content-Type is counted in `refused` and left out. FrameError, after which
        nothing can be read any more: a head or body too large, a length that is none, no more room.
        """
        # Nearly always whole frames come, and they need no buffer.
        data: bytes | bytearray = received
        if self._buffer:
            self._buffer += received
            data = self._buffer
        at = 0
        while self._head or at < len(data):
            if self._head is None:
                at = self._take_head(data, at)
                if self._head is None:
                    break
            kind, headers, length = self._head
            if len(data) - at < length:
                break
            body = bytes(data[at : at + length])
            at += length
            self._head = None
            if kind:
                yield Frame(kind, headers, body)
            else:
                self.refused += 1
        if data is self._buffer:
            del self._buffer[:at]
        elif at < len(data):
            self._buffer = bytearray(data[at:])
        self._take_room(self.held)

    def close(self) -> None:
        """Forget what waits, and give its room back."""
        self._buffer, self._head = bytearray(), None
        self._take_room(0)

    def _take_room(self, size: int) -> None:
        self._room.held += size - self._taken
        self._taken = size
        # Who holds little is let in all the same: a crowd must not shut a call out.
        if size > _LITTLE and self._room.held > self._room.size:
            self.refused += 1
            raise FrameError("the frames that wait on all connections are too large together")

    def _take_head(self, data: bytes | bytearray, at: int) -> int:
        """Take the head that begins here, if it is whole; return where the next thing begins."""
        # Blank lines between frames mean nothing (FreeSWITCH ends an event with one too many at times).
        if blank := _BLANK.match(data, at):
            at = blank.end()
            self._searched = 0
        end = data.find(b"\n\n", at + self._searched)
        # Of a head that is not whole yet, the last byte may be the first of its end.
        if (end if end >= 0 else len(data) - 1) - at > LARGEST_HEAD:
            self.refused += 1
            raise FrameError(f"a head of more than {LARGEST_HEAD} bytes")
        if end < 0:
            self._searched = max(0, len(data) - at - 1)
            return at
        headers = Headers(bytes(data[at:end]))
        self._searched = 0
        self._head = (headers.get("Content-Type"), headers, self._length(headers))
        return end + 2

    def _length(self, headers: Headers) -> int:
        raw = headers.raw("Content-Length")
        if raw is None:
            return 0
        if not _LENGTH.fullmatch(raw.strip()) or int(raw) > LARGEST_BODY:
            self.refused += 1
            raise FrameError(f"a Content-Length of {raw[:40]!r}")
        return int(raw)
