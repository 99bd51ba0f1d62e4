"""How good input is spoiled; every choice is the given `Random`'s, so a seed repeats it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

_LONGEST = 400
NUMBERS = [
    b"-1",
    b"0",
    b"4194304",
    b"4194305",
    b"99999999999999999999",
    b"1e9",
    b"0x7f",
    "²".encode(),
    b"-0",
    b"",
]
UNICODE = ["\0", "\u2028", "\ufeff", "\x85", "\u202e", "é", "🙂", "\ud7ff", "\x1b[31m", "ı"]

Spoiler = Callable[[Random, bytes, Sequence[bytes]], bytes]


def _span(chance: Random, data: bytes, longest: int = _LONGEST) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.randrange(longest))


def _flip(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    spoiled = bytearray(data)
    for _bit in range(chance.choice([1, 1, 2, 10])):
        if spoiled:
            spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
    return bytes(spoiled)


def _remove(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _repeat(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    times = chance.choice([1, 2, 10, 100, 1000])
    return data[:end] + data[start:end] * times + data[end:]


def _splice(chance: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _transplant(chance: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    start, end = _span(chance, other)
    at, until = _span(chance, data, chance.choice([1, _LONGEST]))
    return data[:at] + other[start:end] + data[until:]


def _truncate(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _number(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put another number in the place of one."""
    at = chance.randrange(len(data) + 1)
    while at < len(data) and not data[at : at + 1].isdigit():
        at += 1
    end = at
    while end < len(data) and data[end : end + 1].isdigit():
        end += 1
    return data[:at] + chance.choice(NUMBERS) + data[end:]


def _noise(chance: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    piece = chance.choice(
        [
            chance.randbytes(chance.randrange(1, 40)),
            chance.choice(UNICODE).encode() * chance.choice([1, 1, 500]),
            b"\n" * chance.choice([1, 2, 3, 1000]),
            b"%0A%0D%00%FF%zz%",
        ]
    )
    return data[:at] + piece + data[at:]


SPOILERS: tuple[Spoiler, ...] = (
    _flip,
    _remove,
    _repeat,
    _splice,
    _transplant,
    _truncate,
    _number,
    _noise,
)


def spoil(chance: Random, good: Sequence[bytes]) -> bytes:
    """Return one of the good inputs, spoiled a few times over."""
    data = chance.choice(good)
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3, 8])):
        data = chance.choice(SPOILERS)(chance, data, good)
    return data


def pieces(chance: Random, data: bytes) -> list[bytes]:
    """Return the data cut at random places, many of them where it matters: around ends of lines."""
    breaks = [at + n for n in (-1, 0, 1, 2) for at in _line_ends(chance, data)]
    cuts = [chance.randrange(len(data) + 1) for _ in range(chance.choice([0, 1, 20, 200]))]
    places = sorted({0, len(data), *cuts, *(at for at in breaks if 0 <= at <= len(data))})
    return [data[start:end] for start, end in pairwise(places)]


def _line_ends(chance: Random, data: bytes) -> list[int]:
    found: list[int] = []
    for _ in range(20):
        at = data.find(b"\n", chance.randrange(len(data) + 1))
        if at >= 0:
            found.append(at)
    return found
