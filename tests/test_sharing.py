"""What can be seen of rights without asking the switch, on folders and files of this machine."""

import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from esl_voicemail import sharing
from esl_voicemail.config import load
from tests.support.speech import save, tone

ME = pwd.getpwuid(os.geteuid()).pw_name
# A group that others are in as well, as a folder shared with a switch has.
SHARED = next(
    (
        group.gr_gid
        for group in grp.getgrall()
        if {user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid} - {ME, "root"}
    ),
    None,
)
as_root = pytest.mark.skipif(os.geteuid() != 0 or SHARED is None, reason="only root may give files away")


@pytest.fixture
def place() -> Iterator[Path]:
    """A storage that all may enter, with a greeting that all may read."""
    folder = Path(tempfile.mkdtemp(prefix="esl-voicemail-"))
    (folder / "voicemail.yaml").write_text(
        "storage: {directory: ./var, recordings: ./recordings}\n"
        "mailboxes:\n  sales:\n    recipients: [anna@example.com]\n    greetings: {default: sales.wav}\n"
    )
    for path in (folder, folder / "var", folder / "recordings", folder / "greetings"):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    (folder / "recordings").chmod(0o2777)
    save(folder / "greetings" / "sales.wav", tone(1.0)).chmod(0o644)
    yield folder
    shutil.rmtree(folder)


def notes(place: Path) -> list[str]:
    """Return what is said of the storage; where the program itself lies is another matter."""
    said = sharing.notes(load(place / "voicemail.yaml"))
    return [one.replace(str(place), "HERE") for one in said if str(place) in one.partition(": note: ")[2]]


def test_nothing_is_said_where_all_may(place: Path) -> None:
    assert notes(place) == []


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o2750, 0o700, 0o2710])
def test_a_recordings_folder_of_ours_alone_is_told_with_what_to_do(place: Path, mode: int) -> None:
    (place / "recordings").chmod(mode)

    assert notes(place) == [
        f"HERE/voicemail.yaml:1: storage.recordings: note: HERE/recordings: only {ME} may write there; "
        f"unless the switch runs as {' or '.join(sorted({ME, 'root'}))}, chgrp GROUP HERE/recordings && "
        "chmod 2770 HERE/recordings, by a group that both are in"
    ]


@as_root
def test_a_group_that_nobody_else_is_in_is_no_sharing_and_another_is(place: Path) -> None:
    (place / "recordings").chmod(0o2770)
    [own] = notes(place)
    assert f"only {ME} may write there" in own
    assert SHARED is not None
    os.chown(place / "recordings", -1, SHARED)
    (place / "recordings").chmod(0o2770)
    assert notes(place) == []


@as_root
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_shared_folder_without_setgid_is_told(place: Path, mode: int) -> None:
    assert SHARED is not None
    os.chown(place / "recordings", -1, SHARED)
    (place / "recordings").chmod(mode)

    assert notes(place) == [
        "HERE/voicemail.yaml:1: storage.recordings: note: HERE/recordings: what the switch records there is "
        "of the switch's own group, not the folder's: chmod g+s HERE/recordings"
    ]


@pytest.mark.parametrize(
    ("path", "mode", "said"),
    [
        ("greetings/sales.wav", 0o600, "read it"),
        ("greetings/sales.wav", 0o000, "read it"),
        ("greetings", 0o700, "enter it"),
        (".", 0o700, "enter it"),
    ],
)
def test_a_greeting_that_only_we_may_reach_is_told_once(place: Path, path: str, mode: int, said: str) -> None:
    (place / path).chmod(mode)

    [note] = notes(place)

    where = "1: storage.recordings" if path == "." else "5: mailboxes.sales.greetings.default"
    assert note.startswith(
        f"HERE/voicemail.yaml:{where}: note: {Path('HERE') / path}: only {ME} may {said}; "
    )
    assert note.endswith(f", chmod o+{said[0].replace('e', 'x')} {Path('HERE') / path}")


def test_root_is_told_that_it_is_root_and_nobody_else_is(place: Path) -> None:
    said = sharing.note_to_root(load(place / "voicemail.yaml"))

    if os.geteuid() == 0:
        assert said is not None
        assert said.endswith("as the user of the service: runuser -u voicemail -- esl-voicemail check")
        os.chown(place / "var", 65534, -1)
        other = sharing.note_to_root(load(place / "voicemail.yaml"))
        assert other is not None
        assert other.endswith(f"runuser -u {pwd.getpwuid(65534).pw_name} -- esl-voicemail check")
    else:
        assert said is None
