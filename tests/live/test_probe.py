"""The probe and `check --switch` against a real switch: by its event socket, in real time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import switch as switches
from tests.live.console import PASSWORD
from tests.live.switch import More, Switch, extension
from tests.support.service import command, running, until

LOOPBACK = More(modules='<load module="mod_loopback"/>')
BOXES = {"default": {"recipients": ["anna@example.com"]}}


@pytest.fixture(scope="module")
def port() -> int:
    return switches.free_port()


@pytest.fixture(scope="module")
def switch(prefix: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Switch]:
    """A switch whose extension `probe` asks the service."""
    dialplan = extension("^probe$", ("socket", f"127.0.0.1:{port} async full"), ("hangup", "NORMAL_CLEARING"))
    with switches.running(prefix, tmp_path_factory.mktemp("switch"), dialplan, LOOPBACK) as started:
        yield started


def settings(folder: Path, switch: Switch, port: int, **of_switch: Any) -> dict[str, Any]:
    """Return settings of a service that probes through a switch."""
    (folder / "password").write_text(f"{of_switch.pop('password', PASSWORD)}\n")
    by = {"port": switch.console_port, "password_file": "./password", **of_switch}
    return {
        "listen": f"127.0.0.1:{port}",
        "probe": {"every_minutes": 1440, "switch": by},
        "mailboxes": BOXES,
    }


@pytest.mark.slow
@pytest.mark.parametrize("dial", [None, "probe XML public"])
def test_a_probe_through_the_switch_proves_that_a_call_becomes_a_mail(
    tmp_path: Path, switch: Switch, port: int, dial: str | None
) -> None:
    dialled = {} if dial is None else {"dial": dial}
    with running(tmp_path, settings(tmp_path, switch, port, **dialled)) as service:
        found = command("probe", "--json", folder=service.folder)
        said = json.loads(found.stdout)
        assert (found.returncode, said["failed_at"]) == (0, None)
        assert said["duration_ms"] > 15_000
        line = service.line_of(said["call_id"])
        assert (line["mailbox"], line["result"]) == ("voicemail-probe", "recorded")
        # Its own probe went on beside this one.
        until(lambda: service.lines("probe"), "the service's own probe ends", 60)
        assert [line["result"] for line in service.lines("probe")] == ["success"]
        until(lambda: switch.channels() == 0, "nothing is left on the switch")


def test_a_switch_that_knows_no_such_extension_fails_the_probe(
    tmp_path: Path, switch: Switch, port: int
) -> None:
    with running(tmp_path, settings(tmp_path, switch, port, dial="nobody XML public")) as service:
        found = command("probe", folder=service.folder)
        assert found.returncode == 1
        assert "failed at call" in found.stderr
        assert "cannot place a call" in found.stderr


def test_a_switch_that_cannot_reach_the_service_fails_the_probe(
    tmp_path: Path, switch: Switch, port: int
) -> None:
    with running(tmp_path, settings(tmp_path, switch, port)) as service:
        assert service.stop() == 0
        found = command("probe", folder=service.folder)
        assert found.returncode == 1
        assert "can it reach the service" in found.stderr


def test_a_switch_that_refuses_the_password_fails_the_probe(
    tmp_path: Path, switch: Switch, port: int
) -> None:
    with running(tmp_path, settings(tmp_path, switch, port, password="wrong")) as service:
        found = command("probe", folder=service.folder)
        assert found.returncode == 69
        assert "refuses the password" in found.stderr
