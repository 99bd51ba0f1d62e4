"""The parts of a mail, encoded and joined: texts, audio, and what holds them. Pure.

Each is made as the octets that go out, once: the library's messages would be parsed, copied and gone through
line by line again, which takes longer than all else of a mail.
"""

import random
from binascii import b2a_qp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.quoprimime import body_encode
from itertools import groupby

import numpy as np
from pybase64 import b64encode

# Base64 of 57 bytes is a line of 76 (RFC 2045 section 6.8); so many at a time hold no other thread up.
OCTETS, LINE = 57, 76
_PIECE = OCTETS * 16384
# For lines of base64, as they are copied one by one: with their ends, and without.
_ENDED = np.dtype([("line", f"V{LINE}"), ("end", "V2")])
_END = b"\r\n"
# Of their own: whoever reads boundaries learns nothing of other numbers that are drawn.
_boundaries = random.Random()  # noqa: S311 - a boundary is no secret

Headers = Iterable[tuple[str, str]]


class Base64(bytearray):
    """Lines of base64, which has no dots."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A mail or a part of one: its headers and its content (RFC 2045 section 2.4), lines ended by CR LF.

    Each piece begins a line, and ends one.
    """

    pieces: tuple[bytes | Base64, ...] = field(repr=False)

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


def text(subtype: str, said: str) -> Entity:
    """Return a part of text, quoted-printable."""
    headers = [
        ("Content-Type", f'text/{subtype}; charset="utf-8"'),
        ("Content-Transfer-Encoding", "quoted-printable"),
    ]
    return Entity((_head(headers) + _quoted(said),))


def audio(kind: str, file_name: str, content: bytes, seconds: int) -> Entity:
    """Return a part of audio to be saved under a name, which is in plain letters; `kind` is its MIME type."""
    headers = [
        ("Content-Type", kind),
        ("Content-Duration", str(seconds)),  # RFC 3803
        ("Content-Transfer-Encoding", "base64"),
        _with("Content-Disposition", "attachment", f'filename="{file_name}"'),
    ]
    return Entity((_head(headers), *base64_lines(content)))


def join(subtype: str, headers: Headers, *parts: Entity) -> Entity:
    """Put parts behind one another into one that has these headers; UnicodeError if they are not ASCII."""
    boundary = new_boundary()
    kind = _with("Content-Type", f"multipart/{subtype}", f'boundary="{boundary}"')
    between = f"--{boundary}\r\n".encode()
    pieces: list[bytes | Base64] = [_head([*headers, kind])]
    for part in parts:
        pieces += (between, *part.pieces, _END)
    pieces.append(f"--{boundary}--\r\n".encode())
    return Entity(tuple(_merged(pieces)))


def new_boundary() -> str:
    """Return one that no part has in it."""
    # Neither quoted-printable nor base64 has these two in a row (RFC 2045 section 6.7).
    return f"=_{_boundaries.getrandbits(128):032x}"


def _merged(pieces: Iterable[bytes | Base64]) -> Iterator[bytes | Base64]:
    """Put neighbours together, but for base64, which is not copied once more than it must be."""
    for kind, run in groupby(pieces, type):
        if kind is Base64:
            yield from run
        else:
            yield b"".join(run)


def base64_lines(content: bytes) -> Iterator[Base64]:
    """Encode in lines of 76, as a mail has them, many of them in a piece."""
    for at in range(0, len(content), _PIECE):
        letters = b64encode(content[at : at + _PIECE])
        count, rest = divmod(len(letters), LINE)
        lines = Base64(count * _ENDED.itemsize + (rest + len(_END) if rest else 0))
        # To end each line by a search takes most of twice as long (138 KB: 0.20 against 0.12 ms).
        array = np.frombuffer(lines, _ENDED, count)
        array["line"] = np.frombuffer(letters, f"V{LINE}", count)
        array["end"] = np.void(_END)
        if rest:
            lines[-rest - len(_END) :] = letters[-rest:] + _END
        yield lines


def _quoted(said: str) -> bytes:
    lines = _END.join(said.encode().splitlines()) + _END
    if b" \r\n" in lines or b"\t\r\n" in lines:
        # The codec in C makes no room for what a blank at the end of a line becomes.
        return body_encode(lines.replace(_END, b"\n").decode("latin-1"), LINE, "\r\n").encode()
    return b2a_qp(lines)


def _head(headers: Headers) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers] + ["\r\n"]).encode("ascii")


def _with(name: str, value: str, parameter: str) -> tuple[str, str]:
    """Return a header with its parameter, on a line of its own where they are too long for one."""
    fits = len(f"{name}: {value}; {parameter}") <= LINE
    return name, f"{value};{'' if fits else _END.decode()} {parameter}"
