"""Mails stored in a folder of this machine, whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.transport import MaildirTransport
from esl_voicemail.verdict import Deferred, Delivered
from tests.support.service import running
from tests.transport.ways import ENVELOPE, mail


@pytest.fixture
def maildir(tmp_path: Path) -> Maildir:
    made = Maildir(tmp_path / "mail")
    made.create()
    return made


def test_a_maildir_holds_the_mail_in_new_and_nothing_in_tmp(maildir):
    message = mail("Grüße.\n".encode("ascii", "replace").decode())
    verdict = MaildirTransport(maildir).send(ENVELOPE, message)
    [path] = (maildir.folder / "new").iterdir()
    assert verdict == Delivered(250, f"stored as {path.name}")
    assert list((maildir.folder / "tmp").iterdir()) == []
    head = f"Return-Path: <{ENVELOPE.sender}>\nDelivered-To: {ENVELOPE.recipient}\n".encode()
    assert path.read_bytes() == head + bytes(message).replace(b"\r\n", b"\n")


def test_a_hundred_mails_stored_at_once_get_a_hundred_names(maildir):
    transport = MaildirTransport(maildir)
    greenlets = [
        gevent.get_hub().threadpool.spawn(transport.send, ENVELOPE, mail(f"{n}\n")) for n in range(100)
    ]
    verdicts = [greenlet.get(timeout=30) for greenlet in greenlets]
    assert all(isinstance(verdict, Delivered) for verdict in verdicts)
    stored = list((maildir.folder / "new").iterdir())
    assert len(stored) == len({verdict.reply for verdict in verdicts}) == 100
    bodies = {path.read_text().rpartition("\n\n")[2] for path in stored}
    assert bodies == {f"{n}\n" for n in range(100)}
    assert list((maildir.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("part", ["tmp", "new"])
def test_a_maildir_that_cannot_be_written_defers_is_ours_and_leaves_nothing_behind(maildir, part):
    (maildir.folder / part).rmdir()
    (maildir.folder / part).write_text("a file where a folder is expected")
    verdict = MaildirTransport(maildir).send(ENVELOPE, mail())
    assert isinstance(verdict, Deferred)
    assert (verdict.code, verdict.ours) == (None, True)
    assert verdict.reply.startswith("Maildir: ")
    assert [path.name for path in maildir.folder.rglob("*") if path.is_file()] == [part]


@pytest.mark.parametrize("gone", ["tmp", "new", "cur", "."])
def test_folders_that_disappeared_are_made_again(maildir, gone):
    shutil.rmtree(maildir.folder / gone)
    assert isinstance(MaildirTransport(maildir).send(ENVELOPE, mail()), Delivered)
    assert len(list((maildir.folder / "new").iterdir())) == 1
    assert list((maildir.folder / "tmp").iterdir()) == []


def test_making_a_maildir_twice_harms_nothing(maildir):
    MaildirTransport(maildir).send(ENVELOPE, mail())
    maildir.create()
    assert sorted(path.name for path in maildir.folder.iterdir()) == ["cur", "new", "tmp"]
    assert len(list((maildir.folder / "new").iterdir())) == 1


# Killed when the mail is written and not moved yet.
_DIES_STORING = """
import os, signal, sys
from pathlib import Path
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.mail.parts import text
from esl_voicemail.verdict import Envelope
message = text("plain", "what a caller said")
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
Maildir(Path(sys.argv[1])).store(Envelope("vm@example.com", "anna@example.com"), message)
"""


def killed_while_storing(folder: Path) -> Path:
    """Return the half-written mail that a process left which was killed."""
    died = subprocess.run([sys.executable, "-c", _DIES_STORING, str(folder)], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    [left] = (folder / "tmp").iterdir()
    return left


def test_a_mail_that_a_killed_process_left_half_written_is_swept_away_and_no_other(maildir):
    left = killed_while_storing(maildir.folder)
    tmp = maildir.folder / "tmp"
    seconds, middle, _ = left.name.split(".", 2)
    (tmp / f"{seconds}.{middle}.an-earlier-container").touch()
    others = [
        "1767225600.M042137P4711.mail",
        "1767225600.M042137P4711Q5.mail",
        "1767225600.V801I2M42137.mail",
        "1767225600.M042137P4711R0123456789ABCDEF.mail",
        f".{left.name}",
        f"x{left.name}",
        f"{seconds}.{middle}",
        f"{seconds}.M9{middle[1:]}.mail",
        "notes",
    ]
    for name in others:
        (tmp / name).touch()
    for folder in ("new", "cur"):
        (maildir.folder / folder / left.name).touch()

    maildir.sweep()
    maildir.sweep()

    assert {path.name for path in tmp.iterdir()} == set(others)
    assert all((maildir.folder / folder / left.name).exists() for folder in ("new", "cur"))


@pytest.mark.parametrize("fault", ["gone", "a file", "a folder by that name"])
def test_what_cannot_be_swept_keeps_nobody_from_starting(maildir, fault):
    tmp = maildir.folder / "tmp"
    if fault == "a folder by that name":
        left = killed_while_storing(maildir.folder)
        (tmp / f"0{left.name}").mkdir()
        maildir.sweep()
        assert not left.exists()
        return
    tmp.rmdir()
    if fault == "a file":
        tmp.touch()
    maildir.sweep()


def test_a_mail_that_is_swept_away_while_it_is_written_is_written_again(maildir, monkeypatch):
    synced = os.fsync
    swept = []

    def sweep_once(descriptor: int) -> None:
        synced(descriptor)
        if not swept:
            swept.extend((maildir.folder / "tmp").iterdir())
            maildir.sweep()

    monkeypatch.setattr("esl_voicemail.mail.maildir.os.fsync", sweep_once)
    assert isinstance(MaildirTransport(maildir).send(ENVELOPE, mail()), Delivered)
    [stored] = (maildir.folder / "new").iterdir()
    assert stored.name != swept[0].name


def test_a_service_sweeps_at_its_start(tmp_path):
    Maildir(tmp_path / "var" / "mail").create()
    left = killed_while_storing(tmp_path / "var" / "mail")
    with running(tmp_path) as service:
        assert not left.exists()
        assert service.stop() == 0
