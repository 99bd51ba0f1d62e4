"""What a switch may say: spoiled recordings of the event socket, read by `esl.frames` and `esl.arrival`."""

import json
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

from esl_voicemail.config import Mailbox, load
from esl_voicemail.errors import FrameError
from esl_voicemail.esl import arrival
from esl_voicemail.esl.frames import LARGEST_BODY, LARGEST_HEAD, FrameReader, Headers
from tests.fuzz.mutation import pieces, spoil

_CAPTURES = Path(__file__).parents[1] / "captures"
_NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
_NAMES = (
    "Unique-ID",
    "Event-Name",
    "Application-UUID",
    "Caller-Caller-ID-Name",
    "Reply-Text",
    "Content-Disposition",
)
_PART_BYTES = 30_000
# The same frames may take so long, of the thread's own time: a slow machine is no finding, a square is.
_SECONDS = 1.0
_SECONDS_PER_BYTE = 2e-6

Read = tuple[str, bytes, bytes]
Outcome = tuple[list[Read], int, str]


@cache
def good() -> tuple[bytes, ...]:
    """Return what a switch said in the recorded calls, cut into parts that spoil quickly."""
    found: list[bytes] = []
    for path in sorted(_CAPTURES.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        said = [
            row["text"].encode("utf-8", "surrogateescape")
            for row in rows
            if row["from"] == "switch" and "text" in row
        ]
        part = b""
        for frame in said:
            part += frame
            if len(part) > _PART_BYTES:
                found.append(part)
                part = b""
        found.append(part)
    return tuple(part for part in found if part)


@cache
def _mailbox() -> Mailbox:
    return load(None).mailboxes["default"]


def case(chance: Random) -> bytes:
    """Return a stream to read."""
    match chance.randrange(20):
        case 0:  # a head that is exactly as large as it may be, or nearly
            size = LARGEST_HEAD + chance.randrange(-3, 4)
            return b"Content-Type: x\n".ljust(size, b"a") + b"\n\n" + chance.choice(good())
        case 1:  # the same for a body
            size = LARGEST_BODY + chance.randrange(-3, 2)
            return (
                b"Content-Type: text/event-plain\nContent-Length: %d\n\n" % size
                + b"b" * size
                + chance.choice(good())
            )
        case 2:
            return chance.choice(
                [b"\n", b"\nA: b\n\n", b"A:\n", b"\r\n\r\n", b"Content-Type: x\n\n"]
            ) * chance.randrange(200_000)
        case _:
            return spoil(chance, good())


def check(stream: bytes, chance: Random) -> None:
    """Read a stream whole and in pieces; AssertionError for what must not be."""
    began = time.thread_time()
    whole = _read([stream])
    took = time.thread_time() - began
    allowed = _SECONDS + _SECONDS_PER_BYTE * len(stream)
    assert took < allowed, f"{len(stream)} bytes took {took:.1f} s"
    assert whole == _read(pieces(chance, stream)), "what is read depends on where the stream is cut"
    for kind, head, body in whole[0][:50]:
        assert kind
        for headers in (Headers(head), Headers(body.partition(b"\n\n")[0])):
            _understand(headers)


def _read(parts: list[bytes]) -> Outcome:
    reader = FrameReader()
    found: list[Read] = []
    largest = max(map(len, parts), default=0) + LARGEST_BODY
    try:
        for part in parts:
            for frame in reader.feed(part):
                found.append((frame.kind, frame.headers._block, frame.body))
            assert reader.held <= largest, f"holds {reader.held} bytes"
    except FrameError as error:
        return found, reader.refused, str(error)
    return found, reader.refused, ""


def _understand(headers: Headers) -> None:
    for name in _NAMES:
        headers.get(name)
    headers.number("variable_record_ms")
    mailbox, named = arrival.mailbox_of(headers, {"default": _mailbox()})
    assert mailbox is None or mailbox.key == "default"
    assert len(named) <= 40
    try:
        call = arrival.read_call(headers, _mailbox(), _NOW)
    except ValueError:
        return
    texts = (call.call_id, call.caller.number, call.caller.name, call.dialled, call.queue, call.reference)
    for text in texts:
        assert text.isprintable(), f"{text!r} is not one line"
        assert len(text) <= 80, f"{text!r} is too long"
        text.encode()
