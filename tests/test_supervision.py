"""The unit that is shipped, and what the service says to the manager that runs it."""

import configparser
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from esl_voicemail.cli import BAD_CONFIG, USAGE, parser
from esl_voicemail.config import load
from esl_voicemail.supervision import Supervision
from tests.support.service import settled, until

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "docs" / "esl-voicemail.service"
WATCHDOG_USEC = 600_000


class Manager:
    """What systemd is to a service: the socket its words arrive at."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.settimeout(30)
        self.name = name
        self.heard: list[dict[str, str]] = []

    def hear(self, key: str) -> dict[str, str]:
        """Wait for the next word of a kind; what comes before it is kept in `heard` too."""
        while True:
            lines = self._socket.recv(4096).decode().splitlines()
            self.heard.append(dict(line.split("=", 1) for line in lines))
            if key in self.heard[-1]:
                return self.heard[-1]

    def hears_within(self, seconds: float) -> bool:
        """Whether there is another word in this time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return False
        self.hear("WATCHDOG")
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"{tmp_path}/notify" if request.param == "a path" else f"@{tmp_path}"
    listening = Manager(name)
    yield listening
    listening.close()


@contextmanager
def started(folder: Path, drain_seconds: int = 1, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The service as a manager starts it."""
    settings = settled({"switch": {"drain_seconds": drain_seconds}})
    (folder / "voicemail.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "esl_voicemail", "serve"],
            cwd=folder,
            env={**os.environ, **environment},
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_manager_is_told_of_ready_reloading_stopping_and_that_the_loop_runs(
    manager: Manager, tmp_path: Path
) -> None:
    with started(
        tmp_path, drain_seconds=300, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC=str(WATCHDOG_USEC)
    ) as process:
        manager.hear("READY")
        assert (tmp_path / "var" / "serve.json").exists()
        began = time.monotonic()
        for _ in range(6):
            manager.hear("WATCHDOG")
        # Three a period, so that a late one is not the end.
        assert time.monotonic() - began < 3 * WATCHDOG_USEC / 1e6
        process.send_signal(signal.SIGHUP)
        asked = int(manager.hear("RELOADING")["MONOTONIC_USEC"])
        assert began < asked / 1e6 < time.monotonic()
        manager.hear("READY")
        process.terminate()
        assert int(manager.hear("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 330e6
        assert process.wait(30) == 0
    words = [next(iter(words)) for words in manager.heard]
    assert [word for word in words if word != "WATCHDOG"] == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_loop_that_stands_still_is_not_said_to_run(tmp_path: Path) -> None:
    manager = Manager(f"{tmp_path}/notify")
    with started(tmp_path, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC=str(WATCHDOG_USEC)) as process:
        manager.hear("WATCHDOG")
        process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 10
        until(lambda: "State:\tT" in Path(f"/proc/{process.pid}/status").read_text(), "it stands still")
        while manager.hears_within(2 * WATCHDOG_USEC / 1e6):
            assert time.monotonic() < end, "it is said to run"
    manager.close()


@pytest.mark.parametrize("named", ["/nowhere/notify", "@nobody-listens", "", "vsock:2:1"])
def test_a_manager_that_does_not_listen_costs_nothing(tmp_path: Path, named: str) -> None:
    with started(tmp_path, NOTIFY_SOCKET=named, WATCHDOG_USEC="junk") as process:
        until((tmp_path / "var" / "serve.json").exists, "the service serves")
        process.terminate()
        assert process.wait(30) == 0
    assert b"level=error" not in (tmp_path / "log").read_bytes()


def test_programs_that_the_service_runs_do_not_inherit_the_managers_socket() -> None:
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Supervision(environment)
    assert environment == {"PATH": "/bin"}


def test_a_watchdog_of_another_process_is_not_fed(manager: Manager) -> None:
    supervision = Supervision(
        {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid())}
    )
    supervision.stop()
    supervision.run()
    supervision.ready()
    manager.hear("READY")
    assert manager.heard == [{"READY": "1"}]


class TestTheUnit:
    @pytest.fixture
    def unit(self) -> configparser.ConfigParser:
        """The unit; no key stands twice, or this fails."""
        found = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
        found.optionxform = str  # type: ignore[assignment,method-assign]
        found.read_string(UNIT.read_text())
        return found

    def test_it_starts_what_the_command_line_knows(self, unit: configparser.ConfigParser) -> None:
        words = shlex.split(unit["Service"]["ExecStart"])
        assert parser().parse_args(words[1:]).run
        guide = (ROOT / "docs" / "setup.md").read_text()
        assert f"ln -s {words[0]} /usr/local/bin/" in guide
        assert f"cp {Path(words[0]).parent.parent}/share/esl-voicemail/{UNIT.name} " in guide

    def test_it_is_told_of_by_the_service_and_watches_it(self, unit: configparser.ConfigParser) -> None:
        service = unit["Service"]
        assert service["Type"] == "notify"
        assert int(service["WatchdogSec"]) >= 10
        assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"

    def test_another_start_is_tried_but_where_it_mends_nothing(self, unit: configparser.ConfigParser) -> None:
        service = unit["Service"]
        assert service["Restart"] == "on-failure"
        assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {USAGE, BAD_CONFIG}
        # By default systemd gives up after five starts within ten seconds.
        assert unit["Unit"]["StartLimitIntervalSec"] == "0"

    def test_it_waits_for_the_calls_in_progress(self, unit: configparser.ConfigParser) -> None:
        assert int(unit["Service"]["TimeoutStopSec"]) > load(None).switch.drain_seconds + 20 + 10

    def test_only_the_folders_of_the_settings_in_the_guide_can_be_written(
        self, unit: configparser.ConfigParser, tmp_path: Path
    ) -> None:
        guide = (ROOT / "docs" / "setup.md").read_text()
        (shown,) = [part.split("```")[0] for part in guide.split("```yaml\n")[1:] if "recordings:" in part]
        (tmp_path / "voicemail.yaml").write_text(shown)
        config = load(tmp_path / "voicemail.yaml")
        service = unit["Service"]
        assert service["ProtectSystem"] == "strict"
        assert f"/var/lib/{service['StateDirectory']}" == str(config.directory)
        assert service["ReadWritePaths"] == str(config.recordings)
        assert unit["Unit"]["RequiresMountsFor"].split() == [str(config.directory), str(config.recordings)]
        assert f" {service['User']}\n" in guide
