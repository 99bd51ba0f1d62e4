"""The log's stream: who does not read it, and a disk that is full, cost lines, but no halves and no time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import gevent

from esl_voicemail.logwriter import LogWriter
from tests.support.service import until

PIPE_BYTES = 4096
LONG = "long=" + "x" * 6000


class Counted(FileIO):
    """One end of a pipe that counts how often it was written to."""

    tries = 0

    def write(self, data: "bytes | memoryview") -> int | None:  # type: ignore[override]
        self.tries += 1
        return super().write(data)


@contextmanager
def small_pipe(*, waits: bool) -> Iterator[tuple[FileIO, Counted]]:
    """Lend both ends of a pipe; one that does not wait refuses what finds no room, as a full disk does."""
    read_from, write_to = os.pipe()
    fcntl.fcntl(read_from, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(write_to, waits)
    with FileIO(read_from) as reader, Counted(write_to, "w") as writer:
        yield reader, writer


def dropped(count: int) -> str:
    return f"dropped={count}"


def total(lines: list[str]) -> int:
    """Return how many lines are said to be lost."""
    return sum(int(line.removeprefix("dropped=")) for line in lines if line.startswith("dropped="))


def test_a_reader_that_stops_holds_nobody_up_and_hears_how_many_lines_he_missed() -> None:
    heard = bytearray()

    def listen(reader: FileIO) -> None:
        while part := reader.read(1 << 16):
            heard.extend(part)

    with small_pipe(waits=True) as (reader, writer):
        log = LogWriter(writer, dropped)
        began = time.monotonic()
        for n in range(15_000):
            log.write(f"line={n}")
        assert time.monotonic() - began < 5
        listening = gevent.get_hub().threadpool.spawn(listen, reader)
        until(lambda: heard.count(b"\n") >= 10_000, "what waited is written")
        log.write("last=1")
        log.close()
        writer.close()
        listening.get()
    lines = heard.decode().splitlines()
    said = [int(line.removeprefix("line=")) for line in lines if line.startswith("line=")]
    assert said == sorted(set(said))
    assert len(said) + total(lines) == 15_000 > len(said)
    # Told where they are missing: in one place, or in two where the thread was slow to fill the pipe.
    reached = 0
    for line in lines[:-1]:
        if line.startswith("dropped="):
            reached += int(line.removeprefix("dropped="))
        else:
            assert line == f"line={reached}"
            reached += 1
    assert (reached, lines[-1]) == (15_000, "last=1")


def test_a_line_that_was_cut_for_want_of_room_is_ended_before_the_next_begins() -> None:
    with small_pipe(waits=False) as (reader, writer):
        log = LogWriter(writer, dropped)
        log.write(LONG)
        until(lambda: writer.tries == 2, "it is cut")
        for n in range(50):
            log.write(f"lost={n}")
        # Each but the first is tried with the count of those before it.
        until(lambda: writer.tries == 2 + 1 + 2 * 49, "none of them finds room")
        heard = reader.read(1 << 16) or b""
        log.write("next=1")
        log.close()
        heard += reader.read(1 << 16) or b""
    assert heard.decode().splitlines() == [LONG, "dropped=50", "next=1"]


def test_lines_that_find_no_room_at_all_are_counted() -> None:
    with small_pipe(waits=False) as (reader, writer):
        log = LogWriter(writer, dropped)
        full = "x" * (PIPE_BYTES - 1)
        for line in (full, "lost=1", "lost=2"):
            log.write(line)
        until(lambda: writer.tries == 4, "two find no room")
        heard = reader.read(1 << 16) or b""
        for line in ("next=1", "next=2"):
            log.write(line)
        log.close()
        heard += reader.read(1 << 16) or b""
    assert heard.decode().splitlines() == [full, "dropped=2", "next=1", "next=2"]


def test_what_a_full_disk_refused_is_said_at_the_end_if_not_before(tmp_path: Path) -> None:
    with Counted("/dev/full", "w") as writer, (tmp_path / "log").open("wb") as back:
        log = LogWriter(writer, dropped)
        log.write("lost=0")
        until(lambda: writer.tries == 1, "it is refused")
        os.dup2(back.fileno(), writer.fileno())
        log.close()
    assert (tmp_path / "log").read_text() == "dropped=1\n"


def test_a_line_is_utf_8_and_one_write() -> None:
    """So two writers of one file, and a kill at any moment, leave whole lines."""
    with small_pipe(waits=True) as (reader, writer):
        log = LogWriter(writer, dropped)
        log.write("name=Żółw")
        log.close()
        assert reader.read(100) == b"name=\xc5\xbb\xc3\xb3\xc5\x82w\n"
        assert writer.tries == 1
