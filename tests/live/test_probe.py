"""The probe and `check --switch` against a real switch: by its event socket, in real time."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live import switch as switches
from tests.live.console import PASSWORD
from tests.live.switch import More, Switch, extension
from tests.live.test_two_users import as_user, script
from tests.support.service import command, running, until
from tests.support.speech import save, tone

LOOPBACK = More(modules='<load module="mod_loopback"/>')
NOBODY = 65534
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


def asked(folder: Path, switch: Switch, changed: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Ask a switch what `check` asks of one."""
    (folder / "password").write_text(PASSWORD)
    settings = {"listen": "127.0.0.1:0", "mailboxes": BOXES, **changed}
    (folder / "voicemail.yaml").write_text(yaml.safe_dump(settings))
    where = f"127.0.0.1:{switch.console_port}"
    return command("check", "--switch", where, "--password-file", "password", folder=folder)


def test_a_switch_that_sees_the_folder_and_reaches_us_has_nothing_to_complain_about(
    tmp_path: Path, switch: Switch, port: int
) -> None:
    (tmp_path / "var" / "recordings").mkdir(parents=True)
    found = asked(tmp_path, switch, {"listen": f"127.0.0.1:{port}"})
    assert (found.returncode, found.stderr) == (0, "")
    assert "FreeSWITCH Version" in found.stdout


def test_beside_a_running_service_the_switch_is_asked_too(tmp_path: Path, switch: Switch, port: int) -> None:
    with running(tmp_path, {"listen": f"127.0.0.1:{port}"}) as service:
        found = asked(tmp_path, switch, {"listen": f"127.0.0.1:{port}"})
        assert (found.returncode, found.stderr) == (0, "")
        assert service.in_progress() == 0
        assert service.lines("call") == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"switch": {"allowed": ["10.0.0.0/8"]}}, "switch.allowed: the switch comes from 127.0.0.1; add it"),
        ({"storage": {"directory": "./none"}}, "is not there yet"),
    ],
)
def test_what_keeps_the_switch_s_calls_out_is_told(
    tmp_path: Path, switch: Switch, changed: dict[str, Any], said: str
) -> None:
    (tmp_path / "var" / "recordings").mkdir(parents=True)
    found = asked(tmp_path, switch, changed)
    assert found.returncode == 78
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_the_time_of_the_switch_s_zone_is_a_note(tmp_path: Path, switch: Switch) -> None:
    (tmp_path / "var" / "recordings").mkdir(parents=True)
    zones = {
        name: {"recipients": ["a@example.com"], "timezone": zone}
        for name, zone in (("here", "UTC"), ("there", "Asia/Kathmandu"))
    }
    found = asked(tmp_path, switch, {"mailboxes": zones})
    assert found.returncode == 0
    assert "Asia/Kathmandu is +0545" in found.stdout


def test_a_folder_that_the_switch_s_user_may_not_write_is_told_with_what_to_do(prefix: Path) -> None:
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    with tempfile.TemporaryDirectory(prefix="voicemail-") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "bin").mkdir()
        program = str(prefix / "bin" / "freeswitch")
        script(place / "bin" / "freeswitch", as_user(NOBODY, NOBODY, "--clear-groups", "0007", program))
        modules = next(path for path in (prefix / "mod", prefix / "lib/freeswitch/mod") if path.is_dir())
        (place / "mod").symlink_to(modules)
        for folder in ("", *switches.FOLDERS):
            (place / "switch" / folder).mkdir(parents=True, exist_ok=True)
            os.chown(place / "switch" / folder, NOBODY, NOBODY)
        recordings = place / "recordings"
        recordings.mkdir(0o755)
        with switches.running(place, place / "switch", more=LOOPBACK) as switch:
            shut = asked(place, switch, {"storage": {"recordings": str(recordings)}})
            assert shut.returncode == 78
            assert f"{recordings}: the switch runs as nobody, who may not write there" in shut.stderr
            os.chown(recordings, 0, NOBODY)
            recordings.chmod(0o2770)
            assert asked(place, switch, {"storage": {"recordings": str(recordings)}}).returncode == 0
            (place / "greetings").mkdir(0o700)
            greeting = save(place / "greetings" / "own.wav", tone(1.0))
            box = {"default": {**BOXES["default"], "greetings": {"default": greeting.name}}}
            unread = asked(place, switch, {"storage": {"recordings": str(recordings)}, "mailboxes": box})
            assert unread.returncode == 78
            assert f"{greeting.parent}: the switch runs as nobody, who may not enter it" in unread.stderr
