"""Cases of a storage that is not what one would wish: a year's journal, a disk that takes its time."""

import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.claims import AT_ONCE, CLAIMS
from tests.bench.crowds import warm_up
from tests.bench.dialogues import NO_MAIL, WARM_UP_CALLS, said, settings, smtp
from tests.bench.journals import old_calls, queued_messages
from tests.bench.mailing import arrived, loop, mail_server
from tests.bench.processes import ROOT, SERVICE_CORE, Spent, load, pinned, served

ROWS = 1_000_000
SYNC_MS = 50
SLOW_CALLS = 300
SLOW_CALLS_A_SECOND = 30
SCRAPES = 30


def old_rows(folder: Path, audio: Path) -> dict[str, Any]:
    """A journal of a year's calls against an empty one: to start, to be scraped, to claim mails of."""
    empty = _journal(folder / "empty", audio, 0)
    full = _journal(folder / "full", audio, ROWS)
    return {
        "rows": ROWS,
        **{f"{name}_ms": round(full[name] * 1000, 2) for name in full},
        **{f"{name}_ms_of_empty": round(empty[name] * 1000, 2) for name in empty},
    }


def _journal(folder: Path, audio: Path, rows: int) -> dict[str, float]:
    folder.mkdir()
    if rows:
        old_calls(folder, settings(NO_MAIL), rows)
    start, scrapes = [], []
    for _ in range(3):
        began = time.monotonic()
        with served(folder, settings(NO_MAIL)) as (service, _watch):
            start.append(time.monotonic() - began)
            Spent(service.process.pid).quiet(10)
            scrapes += [_scraped(f"http://{service.http}/metrics") for _ in range(SCRAPES)]
    queued_messages(folder, settings(NO_MAIL), CLAIMS * AT_ONCE, audio)
    with pinned(SERVICE_CORE):
        claimed = subprocess.run(
            [sys.executable, "-m", "tests.bench.claims", str(folder / "var")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=120,
            check=True,
        )
    shutil.rmtree(folder)
    return {
        "start": statistics.median(start),
        "scrape": statistics.median(scrapes),
        "claim": json.loads(claimed.stdout)["seconds"],
    }


def _scraped(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
    return time.perf_counter() - began


def slow_disk(folder: Path, audio: Path) -> dict[str, Any]:
    """Calls and mails while every fsync takes long."""
    library = folder / "slow_sync.so"
    source = ROOT / "tests" / "bench" / "slow_sync.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", library, source, "-ldl"], check=True)
    slow = {"LD_PRELOAD": str(library), "SLOW_SYNC_MS": str(SYNC_MS)}
    with (
        mail_server() as (port, sink),
        served(folder, settings(smtp(port)), watched=True, **slow) as (service, watch),
        load(service.address, audio) as generator,
    ):
        warm_up(generator, Spent(service.process.pid), sink)
        watch.forget()
        figures = generator.ask(calls=SLOW_CALLS, per_second=SLOW_CALLS_A_SECOND)
        began = time.monotonic()
        behind = arrived(sink, WARM_UP_CALLS + SLOW_CALLS) - began
        now = service.metrics()
        commits = now["voicemail_journal_commit_seconds_count"]
        return {
            **said(figures, SLOW_CALLS),
            "commit_mean_ms": round(now["voicemail_journal_commit_seconds_sum"] * 1000 / commits, 1),
            "mails_behind_seconds": round(behind, 1),
            **loop(watch),
        }


CASES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "old rows": old_rows,
    "slow disk": slow_disk,
}
