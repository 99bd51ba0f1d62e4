"""FFmpeg's filters for sound, in a chain: frames or samples in, samples out. Decides nothing of them."""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.filter import Graph

# What a telephone hears: one channel of 8000 samples a second, here as floats whose full scale is 1.
RATE = 8000
_FRAME = 1 << 13


class Chain:
    """Filters one after the other for frames of one format, layout and rate."""

    def __init__(self, first: av.AudioFrame, *filters: tuple[str, str]) -> None:
        self._graph = Graph()
        source = self._graph.add_abuffer(
            sample_rate=first.sample_rate,
            format=first.format.name,
            layout=first.layout.name,
            time_base=Fraction(1, first.sample_rate),
        )
        steps = [self._graph.add(name, settings) for name, settings in filters]
        self._graph.link_nodes(source, *steps, self._graph.add("abuffersink")).configure()

    def frames(self, frame: av.AudioFrame | None) -> Iterator[av.AudioFrame]:
        """Give the chain a frame, or None at the end, and yield what comes out of it."""
        # Filters that have all they want, as they cut off what follows, take no more.
        with suppress(av.EOFError):
            self._graph.push(frame)
        while True:
            try:
                out = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if isinstance(out, av.AudioFrame):
                yield out


def chained(frames: Iterable[av.AudioFrame], *filters: tuple[str, str]) -> Iterator[av.AudioFrame]:
    """Yield what comes of frames, all of one form, behind filters."""
    chain = None
    for frame in frames:
        chain = chain or Chain(frame, *filters)
        yield from chain.frames(frame)
    if chain:
        yield from chain.frames(None)


class Product:
    """Two sounds of one channel and the same format and rate, multiplied sample by sample."""

    def __init__(self, first: av.AudioFrame) -> None:
        self._graph = Graph()
        self._first, self._second = (
            self._graph.add_abuffer(
                sample_rate=first.sample_rate,
                format=first.format.name,
                layout="mono",
                time_base=Fraction(1, first.sample_rate),
            )
            for _ in range(2)
        )
        both, self._out = self._graph.add("amultiply"), self._graph.add("abuffersink")
        self._first.link_to(both, 0, 0)
        self._second.link_to(both, 0, 1)
        both.link_to(self._out)
        self._graph.configure()

    def of(self, frame: av.AudioFrame, factors: bytes) -> av.AudioFrame:
        """Return a frame with each sample multiplied by its factor; more factors than samples are left."""
        other = av.AudioFrame(frame.format.name, "mono", frame.samples)
        factors = factors[: frame.samples * frame.format.bytes]
        other.planes[0].update(factors.ljust(other.planes[0].buffer_size, b"\0"))
        other.sample_rate, other.pts, other.time_base = frame.sample_rate, frame.pts, frame.time_base
        self._first.push(frame)
        self._second.push(other)
        out = self._out.pull()
        assert isinstance(out, av.AudioFrame)
        return out


def samples_of(frame: av.AudioFrame, plane: int = 0) -> bytes:
    """Return the samples of a plane without the padding behind them."""
    interleaved = 1 if frame.format.is_planar else len(frame.layout.channels)
    return bytes(frame.planes[plane])[: frame.samples * frame.format.bytes * interleaved]


def filtered(samples: "array[float]", *filters: tuple[str, str]) -> "array[float]":
    """Return a telephone's samples as they come out of filters that keep their form."""
    out = array("f")
    chain = None
    for start in range(0, len(samples), _FRAME):
        part = samples[start : start + _FRAME]
        frame = av.AudioFrame("flt", "mono", len(part))
        frame.planes[0].update(part.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        chain = chain or Chain(frame, *filters, ("aformat", "sample_fmts=flt:channel_layouts=mono"))
        for result in chain.frames(frame):
            out.frombytes(samples_of(result))
    if chain:
        for result in chain.frames(None):
            out.frombytes(samples_of(result))
    return out
