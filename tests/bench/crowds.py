"""Cases of many calls at once: held in their recording, arriving on top of those, and all in one moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.dialogues import AT_ONCE, WARM_UP_CALLS, said, settings, smtp
from tests.bench.mailing import arrived, loop, mail_server
from tests.bench.processes import Asked, Spent, load, served
from tests.bench.targets import CPU

HELD = 2000
HELD_BESIDE = 1000
NEW_A_SECOND = 100
ARRIVING_SECONDS = 10
BURST = 500
# The pause before the greeting, the shortest of what a switch carries out in real time for a caller.
SHORTEST_SECONDS = 0.4


def held(folder: Path, audio: Path) -> dict[str, Any]:
    """Calls that all are in their recording, and then end."""
    with (
        mail_server() as (port, sink),
        served(folder, settings(smtp(port)), watched=True) as (service, watch),
        load(service.address, audio) as generator,
    ):
        spent = Spent(service.process.pid)
        warm_up(generator, spent, sink)
        watch.forget()
        before = spent.resident_bytes()
        begun = generator.ask(calls=HELD, at_once=AT_ONCE, hold=True)
        spent.quiet()
        grown = spent.resident_bytes() - before
        idle = spent.cpu_seconds()
        ended = generator.ask(release=True, spread=5.0)
        arrived(sink, WARM_UP_CALLS + HELD)
        return {
            "calls": HELD,
            "calls_failed": begun["failed"] + ended["failed"],
            "why": begun["why"] or ended["why"],
            "rss_bytes_per_held_call": round(grown / HELD),
            "end_cpu_seconds_per_1000_calls": round((spent.cpu_seconds() - idle) * 1000 / HELD, 3),
            **loop(watch),
        }


def held_and_new(folder: Path, audio: Path) -> dict[str, Any]:
    """New calls at a steady rate beside many that are held; theirs are the figures."""
    calls = NEW_A_SECOND * ARRIVING_SECONDS
    with (
        mail_server() as (port, sink),
        served(folder, settings(smtp(port)), watched=True) as (service, watch),
        load(service.address, audio) as generator,
    ):
        spent = Spent(service.process.pid)
        warm_up(generator, spent, sink)
        generator.ask(calls=HELD_BESIDE, at_once=AT_ONCE, hold=True)
        spent.quiet()
        watch.forget()
        before = spent.cpu_seconds()
        figures = generator.ask(calls=calls, per_second=NEW_A_SECOND)
        arrived(sink, WARM_UP_CALLS + calls)
        spent.quiet()
        cpu = spent.cpu_seconds() - before
        return {
            "held": HELD_BESIDE,
            CPU: round(cpu * 1000 / calls, 3),
            **said(figures, calls),
            **loop(watch),
        }


def burst(folder: Path, audio: Path) -> dict[str, Any]:
    """Calls that all come in one moment; what they hear lasts as long as the shortest of it does."""
    with (
        mail_server() as (port, sink),
        served(folder, settings(smtp(port)), watched=True) as (service, watch),
        load(service.address, audio) as generator,
    ):
        warm_up(generator, Spent(service.process.pid), sink)
        watch.forget()
        figures = generator.ask(calls=BURST, at_once=BURST, tick=SHORTEST_SECONDS)
        arrived(sink, WARM_UP_CALLS + BURST)
        moments = {
            f"{name}_{share}_ms": round(figures[name][share] * 1000, 1)
            for name in ("connected", "commanded", "executed", "answered")
            for share in ("p50", "max")
        }
        return {**said(figures, BURST), **moments, **loop(watch)}


def warm_up(generator: Asked, spent: Spent, sink: Asked) -> None:
    """Let a service take a few calls whose mails arrive, and come to rest."""
    generator.ask(calls=WARM_UP_CALLS, at_once=AT_ONCE)
    arrived(sink, WARM_UP_CALLS)
    spent.quiet()


CASES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "held": held,
    "held and new": held_and_new,
    "burst": burst,
}
