"""What is left of a call when the recordings' disk fills or cannot be written any more.

The recordings lie on a small disk of the test's own; where none can be mounted, these tests are skipped.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import speech
from tests.live.office import CUT_OFF, NAME, Office
from tests.support.service import until

SAME = 0.9
NEAR = 0.3
NOT_SAVED = "the telephone switch did not save the recording"
DISK_KB = 3000
FILLER = "filler"
NO_SPACE = "cannot be written: No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "voicemail-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def storage(disk: Path) -> dict[str, Any]:
    """The recordings lie on the small disk, the journal and the mails do not."""
    return {"recordings": str(disk), "min_free_mb": 1}


def fill(folder: Path, but: int) -> None:
    """Leave only some bytes of a disk free."""
    free = shutil.disk_usage(folder).free
    with (folder / FILLER).open("ab") as file:
        file.write(bytes(free - but))


def remount(folder: Path, how: str) -> None:
    """Let a disk be written, or not."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def takes_and_hands_back(office: Office, mend: Callable[[], object], why: str) -> None:
    """The next call is handed back to the dialplan, and the one after the mending is taken."""
    until(lambda: office.service.get("/readyz")[0] == 503, "readiness says so", 20)
    reasons = office.service.get("/readyz")[1].strip()
    refused = office.call()
    assert refused.fallback() == "failed"
    refused.channel.ended()
    line = office.told(refused.channel.uuid)
    print(f"/readyz: {reasons}; the next call: {line['result']}, {line['why']}")
    assert line["result"] == "failed"
    assert why in line["why"]
    assert why in reasons
    mend()
    until(lambda: office.service.get("/readyz")[0] == 200, "it is ready by itself", 20)
    taken = office.call("other")
    taken.recording()
    said = speech.words(2.0, seed=43)
    taken.caller.speak(office.sound(said, "after"))
    taken.caller.hang_up()
    message = next(m for m in office.messages(2) if taken.channel.uuid in m.text)
    assert abs(office.missing(taken.channel.uuid, said, 2.0, message)) < NEAR
    assert speech.same_wave(said, message.audio) > SAME
    assert "Note" not in message.fields


@pytest.mark.timeout(180)
def test_a_disk_that_fills_in_the_middle_of_a_message_leaves_what_fitted_and_the_mail_says_so(
    office: Office, disk: Path
) -> None:
    said = speech.words(15.0, seed=41)
    call = office.call()
    call.recording()
    began = office.speak(call, said, 2.0)
    fill(disk, 2 * 2 * speech.RATE)  # for two seconds more
    call.caller.ended()
    spoken = call.channel.event("RECORD_STOP").at - began
    line = office.told(call.channel.uuid)
    message = office.message()
    missing = office.missing(call.channel.uuid, said, spoken, message)
    heard = [
        event.get("Playback-File-Path").rpartition("/")[2] for event in call.channel.events("PLAYBACK_START")
    ]
    print(f"the caller heard {heard}")
    assert (line["result"], line["ended_by"]) == ("recorded", "cut")
    assert -0.1 < missing < NEAR
    assert speech.same_wave(said, message.audio) > SAME
    assert message.fields["Note"] == CUT_OFF
    takes_and_hands_back(office, (disk / FILLER).unlink, NO_SPACE)


TROUBLES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "full": (lambda disk: fill(disk, 0), lambda disk: (disk / FILLER).unlink(), NO_SPACE),
    "read-only": (lambda disk: remount(disk, "ro"), lambda disk: remount(disk, "rw"), "cannot be written"),
    "shadowed": (
        lambda disk: (disk / "8000").mkdir(),
        lambda disk: (disk / "8000").rename(disk / "elsewhere"),
        "the switch would write there instead",
    ),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_recording_that_cannot_be_written_leaves_a_notice_of_who_called(
    office: Office, disk: Path, trouble: str
) -> None:
    spoil, mend, why = TROUBLES[trouble]
    call = office.call()
    call.playing("greeting.wav")
    spoil(disk)
    call.caller.ended()
    line = office.told(call.channel.uuid)
    notice = office.notice()
    office.no_audio(call.channel.uuid, notice)
    files = [path.name for path in disk.rglob("*.wav")]
    print(f"{line['result']}, {line.get('why')}; {call.channel.ended().get('Hangup-Cause')}; left: {files}")
    assert line["result"] == "record_failed"
    assert notice.fields["No recording"] == NOT_SAVED
    assert (notice.who, notice.fields["Number"]) == (NAME, "601 234 567, +48 601 234 567")
    takes_and_hands_back(office, lambda: mend(disk), why)
