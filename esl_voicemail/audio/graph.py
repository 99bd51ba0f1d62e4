"""A chain of FFmpeg's filters for sound: frames or samples in, samples out. Decides nothing of them."""

from array import array
from collections.abc import Iterator
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
        self._graph.push(frame)
        while True:
            try:
                out = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if isinstance(out, av.AudioFrame):
                yield out


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
