"""Cases in which mails leave, to a local server: the whole path of a call, and a backlog."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.dialogues import AT_ONCE, CALLS, WARM_UP_CALLS, said, settings, smtp
from tests.bench.journals import queued_messages
from tests.bench.processes import Asked, Spent, load, served
from tests.bench.targets import CPU, HELD_MS
from tests.bench.watched import Watch
from tests.support.service import Service, until

BACKLOG = 5000
WARM_UP_MAILS = 300
_MAILS_SECONDS = 120.0


@contextmanager
def mail_server() -> Iterator[tuple[int, Asked]]:
    """Run a sink for the length of a block; return its port and whom to ask."""
    with Asked("tests.bench.sink") as sink:
        yield sink.answer()["port"], sink


def wav(folder: Path, audio: Path) -> dict[str, Any]:
    """The whole path, the recording attached as it is."""
    return _whole_path(folder, audio, "wav", CALLS)


def mp3(folder: Path, audio: Path) -> dict[str, Any]:
    """The whole path, the recording levelled and attached as MP3."""
    return _whole_path(folder, audio, "mp3", CALLS // 2)


def _whole_path(folder: Path, audio: Path, attachment: str, calls: int) -> dict[str, Any]:
    with (
        mail_server() as (port, sink),
        served(folder, settings(smtp(port), attachment), watched=True) as (service, watch),
        load(service.address, audio) as generator,
    ):
        spent = Spent(service.process.pid)
        generator.ask(calls=WARM_UP_CALLS, at_once=AT_ONCE)
        arrived(sink, WARM_UP_CALLS)
        spent.quiet()
        watch.forget()
        before, began = spent.cpu_seconds(), time.monotonic()
        figures = generator.ask(calls=calls, at_once=AT_ONCE)
        took = arrived(sink, WARM_UP_CALLS + calls) - began
        spent.quiet()
        cpu = spent.cpu_seconds() - before
        return {
            CPU: round(cpu * 1000 / calls, 3),
            **said(figures, calls),
            "mails_per_second": round(calls / took, 1),
            "connections": sink.ask()["connections"],
            **loop(watch),
        }


def backlog(folder: Path, audio: Path) -> dict[str, Any]:
    """Messages that waited for their mail server, which is there now."""
    with mail_server() as (port, sink):
        queued_messages(folder, settings(smtp(port)), BACKLOG, audio)
        with served(folder, settings(smtp(port)), watched=True) as (service, watch):
            return _emptied(service, watch, sink)


def _emptied(service: Service, watch: Watch, sink: Asked) -> dict[str, Any]:
    spent = Spent(service.process.pid)
    # What is read and built once, templates and all, is no growth.
    arrived(sink, WARM_UP_MAILS)
    watch.forget()
    began, already, cpu = time.monotonic(), sink.ask()["mails"], spent.cpu_seconds()
    first = most = spent.resident_bytes()
    while (mails := sink.ask()["mails"]) < BACKLOG and time.monotonic() - began < _MAILS_SECONDS:
        most = max(most, spent.resident_bytes())
        time.sleep(0.05)
    took, sent = time.monotonic() - began, mails - already
    taken = sink.ask()
    return {
        "mails": mails,
        "mails_per_second": round(sent / took, 1),
        "cpu_seconds_per_1000_mails": round((spent.cpu_seconds() - cpu) * 1000 / sent, 3),
        "rss_growth_bytes": most - first,
        "rss_growth_mails": round((most - first) * taken["mails"] / taken["bytes"], 1),
        "connections": taken["connections"],
        **loop(watch),
    }


def arrived(sink: Asked, mails: int) -> float:
    """Wait until so many mails are there, and return when that was seen."""
    until(lambda: sink.ask()["mails"] >= mails, f"{mails} mails", _MAILS_SECONDS)
    return time.monotonic()


def loop(watch: Watch) -> dict[str, Any]:
    """Return what the watch saw, as it is printed."""
    held, wall, late = watch.times
    return {
        HELD_MS: round(held * 1000, 1),
        "event_loop_held_wall_ms": round(wall * 1000, 1),
        "event_loop_lag_ms": round(late * 1000, 1),
        "held_by": watch.holder,
    }


CASES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "whole path WAV": wav,
    "whole path MP3": mp3,
    "backlog": backlog,
}
