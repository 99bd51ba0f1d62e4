"""Cases in which nothing is mailed: what talking costs us, and what it costs the others."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT, Asked, Spent, load, other, served
from tests.bench.targets import CPU

CALLS = 1000
FEWER_CALLS = 300
HELD_BY_OTHERS = 500
AT_ONCE = 100
WARM_UP_CALLS = 30
_CLOSED_PORT = 9  # `discard`, where nobody listens: no mail leaves, and none is tried for long

RIVALS = ROOT / "tests" / "bench" / "rivals"
GENESIS = ROOT / ".venv" / "genesis" / "bin" / "python"


def settings(mail: dict[str, Any], attachment: str = "wav") -> dict[str, Any]:
    """Return a service's settings for a run."""
    return {
        "switch": {"max_calls": 5000},
        "mail": mail,
        "mailboxes": {"sales": {"recipients": ["sales@example.com"], "attachment": attachment}},
    }


def smtp(port: int) -> dict[str, Any]:
    """Return the settings of a local mail server."""
    return {"smtp": {"host": "127.0.0.1", "port": port, "security": "none"}}


NO_MAIL = smtp(_CLOSED_PORT)


def talked(calls: int, generator: Asked, spent: Spent, **job: Any) -> dict[str, Any]:
    """Place calls after a few to warm up, and return what they cost."""
    warm = {"at_once": AT_ONCE, **job}
    generator.ask(calls=WARM_UP_CALLS, **warm)
    spent.quiet()
    before, placing = spent.cpu_seconds(), generator.spent.cpu_seconds()
    figures = generator.ask(calls=calls, **warm)
    placed = generator.spent.cpu_seconds() - placing
    spent.quiet()
    cpu = spent.cpu_seconds() - before
    return {CPU: round(cpu * 1000 / calls, 3), **said(figures, calls, placed)}


def said(figures: dict[str, Any], calls: int, placing: float = 0.0) -> dict[str, Any]:
    """Return a job's figures as they are printed; times in milliseconds."""
    told = {
        "calls": calls,
        "calls_failed": figures["failed"],
        "calls_per_second": round(calls / figures["seconds"], 1),
        "reaction_p50_ms": round(figures["reaction"]["p50"] * 1000, 2),
        "reaction_p99_ms": round(figures["reaction"]["p99"] * 1000, 2),
        "keeping_p50_ms": round(figures["keeping"]["p50"] * 1000, 2),
        "keeping_p99_ms": round(figures["keeping"]["p99"] * 1000, 2),
        "event_bytes_per_call": round(figures["event_bytes"] / calls),
    }
    if placing:
        told["generator_cpu_seconds_per_1000_calls"] = round(placing * 1000 / calls, 3)
    if figures["why"]:
        told["why"] = figures["why"]
    return told


def greenswitch(folder: Path, audio: Path) -> dict[str, Any]:
    """Stock greenswitch, and what calls that it holds take of its memory."""
    with (
        other(Path(sys.executable), RIVALS / "with_greenswitch.py", folder) as (address, spent),
        load(address, audio) as generator,
    ):
        figures = talked(CALLS, generator, spent)
        before = spent.resident_bytes()
        generator.ask(calls=HELD_BY_OTHERS, at_once=AT_ONCE, hold=True)
        spent.quiet()
        grown = spent.resident_bytes() - before
        generator.ask(release=True, spread=2.0)
        return {**figures, "rss_bytes_per_held_call": round(grown / HELD_BY_OTHERS)}


def genesis(folder: Path, audio: Path) -> dict[str, Any]:
    """Genesis, on asyncio."""
    return _other(GENESIS, RIVALS / "with_genesis.py", folder, audio, FEWER_CALLS)


def bare(folder: Path, audio: Path) -> dict[str, Any]:
    """Our channel and dialogue alone."""
    return _other(Path(sys.executable), ROOT / "tests" / "bench" / "bare.py", folder, audio, CALLS)


def without_mail(folder: Path, audio: Path) -> dict[str, Any]:
    """The service, its mail server away: each call is recorded, checked, heard and in the journal."""
    with (
        served(folder, settings(NO_MAIL)) as (service, _),
        load(service.address, audio) as generator,
    ):
        return talked(CALLS, generator, Spent(service.process.pid))


def _other(python: Path, program: Path, folder: Path, audio: Path, calls: int) -> dict[str, Any]:
    with (
        other(python, program, folder) as (address, spent),
        load(address, audio) as generator,
    ):
        return talked(calls, generator, spent)


CASES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "dialogue only": bare,
    "greenswitch": greenswitch,
    "dialogue and journal": without_mail,
    "genesis": genesis,
}
