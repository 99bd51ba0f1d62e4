"""The service as a process of its own, on free ports, with what a test wants to know of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import logfmtkv
import orjson
import yaml

from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.switch import TrialOutcome, place_call
from tests.support import forks

# What a caller said is found again byte for byte.
_AS_RECORDED = {"attachment": "wav"}
DEFAULTS: dict[str, Any] = {
    "listen": "127.0.0.1:0",
    "http": {"listen": "127.0.0.1:0"},
    "defaults": _AS_RECORDED,
}


def settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with what every server of a test has."""
    return {**DEFAULTS, **settings, "defaults": {**_AS_RECORDED, **settings.get("defaults", {})}}


def until(met: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Wait for something another process brings about, and return it; fail loudly when it never comes."""
    end = time.monotonic() + seconds
    while not (found := met()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return found


@dataclass
class Service:
    """A running server."""

    folder: Path
    process: subprocess.Popen[bytes]
    config: Path
    address: tuple[str, int]
    http: str

    @property
    def log(self) -> str:
        """All it has said so far, but for a line that is just being written."""
        said = (self.folder / "log").read_bytes()
        return said[: said.rfind(b"\n") + 1].decode()

    @property
    def recordings(self) -> Path:
        """Where the switch records."""
        return self.folder / "var" / "recordings"

    def lines(self, event: str) -> list[dict[str, str]]:
        """Return the log lines of one event, parsed."""
        return [line for line in map(parse_logfmt, self.log.splitlines()) if line.get("event") == event]

    def line_of(self, call_id: str, seconds: float = 60.0) -> dict[str, str]:
        """Wait for a call's canonical line: what its end brings about has been noted before it."""
        return until(
            lambda: next((line for line in self.lines("call") if line.get("call") == call_id), None),
            f"the line of call {call_id}",
            seconds,
        )

    def call(
        self, caller: TrialCaller, mailbox: str = "default", *, pace: float = 50.0, **variables: str
    ) -> TrialOutcome:
        """Place a trial call and wait for its end."""
        named = {"voicemail_mailbox": mailbox, "socket_resume": "true", **variables}
        return place_call(self.address, caller, variables=named, pace=pace)

    def mails(self, count: int = 1, seconds: float = 30.0) -> list[EmailMessage]:
        """Wait for this many mails in the Maildir and return them, oldest first."""
        new = self.folder / "var" / "mail" / "new"
        until(lambda: len(list(new.iterdir())) >= count, f"{count} mails", seconds)
        found = [
            message_from_bytes(path.read_bytes(), policy=policy.default) for path in sorted(new.iterdir())
        ]
        return [mail for mail in found if isinstance(mail, EmailMessage)]

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and body of an HTTP answer."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """Return all samples of one moment by their whole names, labels included."""
        lines = self.get("/metrics")[1].splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in samples}

    def metric(self, series: str) -> float:
        """Return a sample's value by its whole name, labels included."""
        return self.metrics()[series]

    def stages(self) -> dict[str, int]:
        """Return how many calls it has in each stage that has any."""
        named = {
            found[1]: int(count)
            for series, count in self.metrics().items()
            if (found := re.fullmatch(r'voicemail_calls_in_progress{stage="(.*)"}', series))
        }
        assert named
        return {stage: count for stage, count in named.items() if count}

    def in_progress(self) -> int:
        """Return how many calls it has now, whatever their stage."""
        return sum(self.stages().values())

    def queued(self) -> int:
        """Return how many mails it has still to send."""
        now = self.metrics()
        return int(
            sum(now[f'voicemail_queue_messages{{state="{state}"}}'] for state in ("queued", "sending"))
        )

    def refuses(self) -> bool:
        """Whether nobody takes connections at its address."""
        try:
            socket.create_connection(self.address, timeout=10).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            # It stopped listening with this connection still waiting to be accepted: the next one says it.
            return False
        return False

    @property
    def descriptors(self) -> int:
        """How many files and sockets it holds open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def resident_kb(self) -> int:
        """How much memory it has in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Signal it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def command(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a folder and return what it printed; with variables, in a Python of its own."""
    if not environment:
        return forks.run(arguments, folder)
    return subprocess.run(
        [sys.executable, "-m", "esl_voicemail", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    module: str = "esl_voicemail",
    **environment: str,
) -> Service:
    """Start a server with embedded defaults but for `settings`; wait until it serves."""
    config = folder / "voicemail.yaml"
    config.write_text(yaml.safe_dump(settled(settings or {}), allow_unicode=True))
    state = folder / "var" / "serve.json"
    state.unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve"],
            cwd=folder,
            env={**os.environ, **environment},
            stderr=log,
            stdout=log,
        )

    def serving() -> dict[str, Any] | None:
        if process.poll() is not None:
            raise AssertionError(
                f"the server ended with {process.returncode}: {(folder / 'log').read_text()}"
            )
        return json.loads(state.read_text()) if state.exists() else None

    said = until(serving, "the server serves")
    host, _, port = said["listen"].rpartition(":")
    return Service(folder, process, config, (host, int(port)), said["http"])


@contextmanager
def running(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Service]:
    """Run a server for the length of a block; it must not have died meanwhile."""
    service = start(folder, settings)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def parse_logfmt(line: str) -> dict[str, str]:
    """Read a logfmt line as Go's reference does, strictly: by a library, so not by what we take it for."""
    found = logfmtkv.parse(line, strict=True, duplicates="error")
    values = {key: value for key, value in found.items() if isinstance(value, str) and key.isidentifier()}
    assert values, f"nothing: {line!r}"
    assert values == found, f"a key without a value, or none of ours: {line!r}"
    return values


def parse_json(line: str) -> dict[str, Any]:
    """Read a JSON line strictly: no half characters, no NaN, and no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs), f"a key twice: {line!r}"
        return found

    read = json.loads(line, object_pairs_hook=once)
    assert orjson.loads(line) == read
    return read
