"""`make test`: the test files, shared out among several pytest processes.

Each file is claimed by one process and runs there as under pytest alone, its tests in order; the processes
have nothing in common but the claims. (pytest-xdist will not do: its workers talk from a native thread to
the tests' thread through locks and events, and gevent's patch has made those a greenlet's.)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

# Most tests wait for other processes more than they compute.
PROCESSES = 2 * (os.cpu_count() or 1)
# What takes longest begins first, so that no process is left alone with it at the end.
FIRST = (
    "test_crash_matrix.py",
    "test_disk.py",
    "test_calls.py",
    "test_cli.py",
    "test_bad_peers.py",
    "test_switch_dies.py",
    "test_mailboxes.py",
    "test_graceful_stop.py",
    "test_outages.py",
    "test_delivery.py",
    "transport/test_transport.py",
    "test_checks.py",
    "test_packaging.py",
    "test_message.py",
)
CLAIMS, PROGRESS = "TESTS_CLAIMS", "TESTS_PROGRESS"


# --- in each pytest process, which has this file as its plugin ---------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the files that no other process has claimed; what is wrong with collecting is pytest's to say."""
    if session.testsfailed or session.config.option.collectonly:
        return None
    for name, items in claimed(session.items):
        began, failed = time.monotonic(), session.testsfailed
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        failed = session.testsfailed - failed
        said = f"{name}: {len(items)} run, {failed} failed, {time.monotonic() - began:.1f} s\n"
        os.write(int(os.environ[PROGRESS]), said.encode())
    return True


def claimed(items: list[pytest.Item]) -> Iterator[tuple[str, list[pytest.Item]]]:
    """Claim file after file for this process; each with its tests."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    places = {f"tests/{name}": place for place, name in enumerate(FIRST)}
    for name in sorted(files, key=lambda name: places.get(name, len(FIRST))):
        with suppress(FileExistsError):
            (Path(os.environ[CLAIMS]) / name.replace("/", ":")).touch(exist_ok=False)
            yield name, files[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leave the numbers for the sum of all processes."""
    numbers = {outcome: len(reports) for outcome, reports in terminalreporter.stats.items() if outcome}
    session = terminalreporter._session
    numbers["collected"] = len(session.items) if session else 0
    (Path(os.environ[CLAIMS]) / f"{os.getpid()}.json").write_text(json.dumps(numbers))


# --- the one that starts them ------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Run all tests but those of a real switch; return 0 when every one was run and none failed."""
    began = time.monotonic()
    pytest_ = [sys.executable, "-m", "pytest", "-p", "tests.parallel", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory() as folder:
        claims = Path(folder)
        progress = os.dup(sys.stdout.fileno())
        environment = {**os.environ, CLAIMS: folder, PROGRESS: str(progress)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of some hundred starts compiles anew
        started = []
        for number in range(PROCESSES):
            with (claims / f"{number}.out").open("wb") as output:
                started.append(
                    subprocess.Popen(
                        [*pytest_, "--ignore=tests/live", *arguments],
                        env=environment,
                        stdout=output,
                        stderr=output,
                        pass_fds=[progress],
                    )
                )
        codes = {process.wait() for process in started}
        total, collected = Counter[str](), 0
        for left in claims.glob("*.json"):
            numbers = json.loads(left.read_text())
            collected = max(collected, numbers.pop("collected"))
            total.update(numbers)
        codes -= {pytest.ExitCode.NO_TESTS_COLLECTED}  # the others had claimed everything
        run = total["passed"] + total["skipped"] + total["xfailed"]
        failed = codes != {pytest.ExitCode.OK} or run != collected
        if failed or arguments:
            for output in sorted(claims.glob("*.out")):
                print(output.read_text(errors="replace"))
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(total.items()))
    print(f"{said} of {collected} in {time.monotonic() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
