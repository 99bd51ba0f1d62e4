"""Long work tells a terminal how far it has come, and nobody else."""

import re
from pathlib import Path

from esl_voicemail.verdict import Bounced
from tests.support.archive import Archive
from tests.support.service import command
from tests.support.sounds import encode, note
from tests.support.terminal import on_terminal


def test_a_terminal_sees_how_many_mails_are_done(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for _ in range(3):
        archive.keep()
    archive.settle(Bounced(550, "nobody"))
    said = on_terminal(tmp_path, 80, "messages", "retry", "--all", "bounced")
    archive.close()

    # Nothing of it stays.
    assert re.match(r"\r0 mails \[[^\r]*\r(?:[^\r]*\r)* +\r[0-9A-Z]{26}  ", said)
    assert said.count("bounced -> queued") == 6


def test_a_terminal_sees_how_many_greetings_are_made(tmp_path: Path) -> None:
    for name in ("one", "two"):
        encode(tmp_path / f"{name}.wav", note(1))

    said = on_terminal(tmp_path, 80, "greeting", "import", "one.wav", "two.wav")

    assert re.match(r"\r  0%\|[^\r]*\| 0/2 \[[^\r]*\r(?:[^\r\n]*\r)* +\rone\.wav -> ", said)
    assert "two.wav -> " in said


def test_who_is_no_terminal_sees_none_of_it(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.keep()
    archive.settle(Bounced(550, "nobody"))
    archive.close()

    done = command("messages", "retry", "--all", "bounced", folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
