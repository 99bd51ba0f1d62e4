"""FreeSWITCH and the service as two users that share the recordings folder as docs/setup.md makes it."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import office as offices
from tests.live import speech
from tests.live import switch as switches
from tests.live.office import RECOVERED_SECONDS, Office
from tests.live.switch import Switch
from tests.support import service as services

# No names of this machine's: numbers do. FreeSWITCH started with -g has its own group and no other.
SWITCH, SWITCH_GROUP = 23001, 23001
SERVICE, SERVICE_GROUP = 23002, 23002


def as_user(user: int, group: int, groups: str, umask: str, program: str) -> str:
    """Return a shell script that becomes a program of a user."""
    become = f"setpriv --reuid {user} --regid {group} {groups} --inh-caps=-all"
    return f'#!/bin/sh\numask {umask}\nexec {become} {shlex.quote(program)} "$@"\n'


def script(path: Path, text: str) -> Path:
    """Write a script that may be run."""
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that users other than this one may enter."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become two other users")
    with tempfile.TemporaryDirectory(prefix="voicemail-") as name:
        place = Path(name)
        place.chmod(0o755)
        script(
            place / "python",
            as_user(SERVICE, SERVICE_GROUP, f"--groups {SWITCH_GROUP}", "0027", sys.executable),
        )
        tried = subprocess.run(
            [place / "python", "-c", "import esl_voicemail"], capture_output=True, check=False
        )
        if tried.returncode:
            pytest.skip("another user may not read this tree: its folders are closed to others")
        yield place


@pytest.fixture
def exchange(place: Path, prefix: Path, service_port: int) -> Iterator[Switch]:
    """The office's switch, as a user of its own with the umask of its packaged unit."""
    program = str(prefix / "bin" / "freeswitch")
    (place / "prefix" / "bin").mkdir(parents=True)
    script(
        place / "prefix" / "bin" / "freeswitch",
        as_user(SWITCH, SWITCH_GROUP, "--clear-groups", "0007", program),
    )
    modules = next(path for path in (prefix / "mod", prefix / "lib/freeswitch/mod") if path.is_dir())
    (place / "prefix" / "mod").symlink_to(modules)
    folder = place / "switch"
    for name in ("", *switches.FOLDERS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chown(folder / name, SWITCH, SWITCH_GROUP)
    with switches.running(place / "prefix", folder, offices.dialplan(service_port)) as switch:
        yield switch


@pytest.fixture
def office(
    place: Path, exchange: Switch, telephones: Switch, service_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """The service as the other user, and the folder between them."""
    folder, recordings = place / "service", place / "recordings"
    folder.mkdir()
    recordings.mkdir()
    os.chown(folder, SERVICE, SERVICE_GROUP)
    os.chown(recordings, SERVICE, SWITCH_GROUP)
    recordings.chmod(0o2770)
    settings = offices.settings(folder, service_port, {"recordings": str(recordings)})
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    office = Office(folder, exchange, telephones, settings, services.start(folder, settings))
    try:
        yield office
    finally:
        office.service.process.kill()
        office.service.process.wait()


def rights(path: Path) -> tuple[int, int, str]:
    """Return whose a file is, and its mode."""
    found = path.stat()
    return found.st_uid, found.st_gid, f"{found.st_mode & 0o7777:o}"


def test_a_message_recorded_by_one_user_is_mailed_by_the_other(office: Office) -> None:
    said = speech.words(3.0, seed=61)
    call = office.call()
    call.recording()
    call.caller.speak(office.sound(said))
    call.caller.hang_up()
    message = office.message()
    (recording,) = office.recordings.glob("*.wav")
    print(f"folder {rights(office.recordings)}, recording {rights(recording)}")
    assert rights(recording)[:2] == (SWITCH, SWITCH_GROUP)
    assert speech.same_wave(said, message.audio) > 0.9


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_a_recording_that_a_killed_switch_left_is_mended_by_the_other_user(office: Office) -> None:
    said = speech.words(20.0, seed=62)
    call = office.call()
    call.recording()
    office.speak(call, said, 3.0)
    office.exchange.kill()
    call.caller.hang_up()
    message = office.message(RECOVERED_SECONDS)
    (recording,) = office.recordings.glob("*.wav")
    print(f"recording {rights(recording)}, {message.seconds:.2f} s mailed")
    assert speech.same_wave(said, message.audio) > 0.9
