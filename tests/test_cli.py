"""The command line through real processes: exit codes, one line an error, and never a traceback."""

# ruff: noqa: E501 - in the tables, a case keeps to its line

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

import esl_voicemail
from esl_voicemail import __version__, checks
from esl_voicemail.audio.convert import pcm
from esl_voicemail.cli import run
from esl_voicemail.cli.call import SAMPLE
from esl_voicemail.config import load
from esl_voicemail.config.sections import MailboxSection
from esl_voicemail.errors import ConfigError
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import url_of
from esl_voicemail.model import Call as ArrivedCall
from esl_voicemail.model import Caller, EndedBy, Reason, Recording
from esl_voicemail.trial.caller import Moment, Stage, TrialCaller
from esl_voicemail.trial.likeness import likeness
from esl_voicemail.verdict import Bounced, Deferred, Delivered, Expired, Held, Verdict
from tests.support.service import DEFAULTS, Service, command, running, until
from tests.support.speech import attached, save, tone

OK, FAILED, USAGE, UNAVAILABLE, BUSY, BAD_CONFIG = 0, 1, 64, 69, 75, 78
A_SECOND = tone(1.0)

Done = subprocess.CompletedProcess[str]


def said_in_one_line(done: Done) -> str:
    """What a failed command said on standard error, which must be one line, and nothing said elsewhere."""
    assert done.stderr.endswith("\n")
    (line,) = done.stderr.splitlines()
    return line


@dataclass(frozen=True)
class Told:
    """A running server that has taken two calls, one with a message, one without; and what they left."""

    service: Service
    folder: Path
    call_id: str
    message_id: str
    silent_call_id: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    mailboxes = {
        "default": {"name": "Poczta", "recipients": ["anna@example.com", "Jan Łoś <jan@example.com>"]},
        "sales": {"recipients": ["sales@example.com"], "language": "en", "attachment": "mp3"},
    }
    with running(folder, {"mailboxes": mailboxes, "log": {"mask_numbers": False}}) as service:
        speaker = TrialCaller(name="Łucja „Ż”", speech=A_SECOND * 3)
        heard = service.call(speaker, voicemail_reason="busy")
        until(lambda: service.lines("delivery")[1:], "both mails are delivered and noted")
        silent = service.call(TrialCaller(hang_up=Moment(Stage.GREETING, 0.5)))
        both = until(lambda: [line for line in service.lines("call") if line.get("result")][1:], "two calls")
        assert both
        listed = command("messages", "list", "--json", folder=folder).stdout.splitlines()
        ids = {one["call"]: one["message"] for one in map(json.loads, listed)}
        yield Told(service, folder, heard.call_id, ids[heard.call_id], silent.call_id)
        assert "Traceback" not in service.log


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "esl-voicemail: the following arguments are required: VERB; see esl-voicemail --help"),
            (("dance",), "esl-voicemail: argument VERB: invalid choice: 'dance'"),
            (("serve", "--fast"), "esl-voicemail: unrecognized arguments: --fast; see esl-voicemail --help"),
            (("call",), "esl-voicemail call: the following arguments are required: MAILBOX;"),
            (
                ("messages", "list", "--most", "x"),
                "esl-voicemail messages list: argument --limit/--most: must be a whole number, 1 or more, not 'x';",
            ),
            *(
                (
                    ("messages", "list", "--most", most),
                    f"esl-voicemail messages list: argument --limit/--most: must be a whole number, 1 or more, not '{most}';",
                )
                for most in ("0", "-1", "1.5")
            ),
            *(
                (
                    ("call", "sales", "--hang-up-after", seconds),
                    f"esl-voicemail call: argument --hang-up-after: must be a number of seconds, 0 or more, not '{seconds}';",
                )
                for seconds in ("nan", "inf", "-1", "soon")
            ),
            *(
                (
                    ("call", "sales", "--digits", digits),
                    f"esl-voicemail call: argument --digits: must hold 0-9, * and # only, not '{digits}';",
                )
                for digits in ("12a", "1 2", "١")
            ),
            (("render",), "esl-voicemail render: one of the arguments ID --sample is required;"),
        ],
        ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
    )
    def test_a_wrong_command_line_is_64_and_one_line(
        self, tmp_path: Path, arguments: tuple[str, ...], said: str
    ) -> None:
        done = command(*arguments, folder=tmp_path)

        assert (done.returncode, done.stdout) == (USAGE, "")
        assert said_in_one_line(done).startswith(said)

    def test_help_names_every_verb(self, tmp_path: Path) -> None:
        done = command("--help", folder=tmp_path)

        assert (done.returncode, done.stderr) == (OK, "")
        for verb in ("serve", "check", "call", "messages", "mailbox", "greeting", "render", "erase"):
            assert f"\n    {verb} " in done.stdout

    def test_the_version_is_the_package_s(self, tmp_path: Path) -> None:
        done = command("--version", folder=tmp_path)

        assert (done.returncode, done.stdout, done.stderr) == (OK, f"{__version__}\n", "")


SALES = "mailboxes:\n  sales:\n    recipients: [anna@example.com]\n"
SMTP = "mail:\n  smtp:\n    host: localhost\n    username: vm\n    password_file:"
SOUND = "is no sound the switch can play"


@dataclass(frozen=True)
class Broken:
    """A configuration that cannot be used: what it holds, what else is done, and what is said of it."""

    text: str
    said: str
    also: Callable[[Path], object] = lambda _: None


BROKEN = {
    "no YAML": Broken(f"{SALES}mail: {{\n", "voicemail.yaml:5: is not YAML: expected the node content, but found '<stream end>'"),
    "an unknown key": Broken(f"{SALES}lisen: x\n", "voicemail.yaml:4: lisen: unknown key; did you mean 'listen'?"),
    "no mailbox": Broken("mailboxes: {}\n", "voicemail.yaml:1: mailboxes: there is no mailbox; add one with its recipients"),
    "no recipients": Broken("mailboxes:\n  sales:\n    recipients: []\n", "voicemail.yaml:3: mailboxes.sales.recipients: names nobody: give at least one mail address"),
    "a bad address": Broken(f"{SALES}listen: localhost\n", "voicemail.yaml:4: listen: 'localhost' is no address: write host:port, as in 127.0.0.1:8084"),
    "a greeting that is missing": Broken(
        f"{SALES}    greetings:\n      busy: gone.wav\n",
        f"voicemail.yaml:5: mailboxes.sales.greetings.busy: FOLDER/greetings/gone.wav: {SOUND}: gone.wav: No such file or directory",
    ),
    "a greeting that is a folder": Broken(
        f"{SALES}    greetings: {{busy: folder.wav}}\n",
        f"voicemail.yaml:4: mailboxes.sales.greetings.busy: FOLDER/folder.wav: {SOUND}: folder.wav: Is a directory",
        lambda folder: (folder / "folder.wav").mkdir(),
    ),
    "a greeting that is no WAV": Broken(
        f"{SALES}    greetings: {{busy: song.wav}}\n",
        f"voicemail.yaml:4: mailboxes.sales.greetings.busy: FOLDER/song.wav: {SOUND}: song.wav: no WAV file (203 bytes)",
        lambda folder: (folder / "song.wav").write_bytes(b"ID3" + bytes(200)),
    ),
    "a greeting that cannot be reached": Broken(
        f"{SALES}    greetings: {{busy: loop/hello.wav}}\n",
        "voicemail.yaml:4: mailboxes.sales.greetings.busy: FOLDER/loop/hello.wav: cannot be read: Too many levels of symbolic links; name another",
        lambda folder: (folder / "loop").symlink_to("loop"),
    ),
    "a greeting without a sound": Broken(
        f"{SALES}    greetings: {{busy: hush.wav}}\n",
        "voicemail.yaml:4: mailboxes.sales.greetings.busy: FOLDER/hush.wav: is empty",
        lambda folder: save(folder / "hush.wav", b""),
    ),
    "no recordings folder": Broken(
        f"{SALES}storage:\n  recordings: ./spool\n",
        "voicemail.yaml:5: storage.recordings: FOLDER/spool: no such folder; create it, writable for the switch and for this service",
    ),
    "a file for recordings": Broken(
        f"{SALES}storage:\n  recordings: ./spool\n",
        "voicemail.yaml:5: storage.recordings: FOLDER/spool: cannot be read: Not a directory",
        lambda folder: (folder / "spool").touch(),
    ),
    "a folder named 8000 in recordings": Broken(
        f"{SALES}storage:\n  recordings: ./spool\n",
        "voicemail.yaml:5: storage.recordings: FOLDER/spool/8000: the switch would write there instead; remove or rename it",
        lambda folder: (folder / "spool" / "8000").mkdir(parents=True),
    ),
    "a file for the storage": Broken(
        f"{SALES}storage: {{directory: ./disk}}\n",
        "voicemail.yaml:4: storage.directory: FOLDER/disk: is no folder this user can write",
        lambda folder: (folder / "disk").touch(),
    ),
    "storage in a folder that is missing": Broken(
        f"{SALES}storage: {{directory: ./a/b}}\n",
        "voicemail.yaml:4: storage.directory: FOLDER/a: cannot be written; create FOLDER/a/b",
    ),
    "a Maildir below a file": Broken(
        f"{SALES}mail: {{maildir: ./file/mail}}\n",
        "voicemail.yaml:4: mail.maildir: FOLDER/file: is no folder this user can write",
        lambda folder: (folder / "file").touch(),
    ),
    "recordings where the storage is": Broken(
        f"{SALES}storage: {{recordings: ./var}}\nmail: {{maildir: ./mail}}\n",
        "voicemail.yaml:4: storage.recordings: FOLDER/var: holds storage.directory too; recordings need their own folder",
    ),
    "a disk that is too small": Broken(
        f"{SALES}storage:\n  min_free_mb: 1000000000000\n",
        "voicemail.yaml:5: storage.min_free_mb: FOLDER: MANY MiB free, less than 1000000000000",
    ),
    "a journal that is no database": Broken(
        f"{SALES}storage:\n  directory: ./disk\n",
        "voicemail.yaml:5: storage.directory: FOLDER/disk/journal.sqlite: the journal cannot be read: file is not a database; put it back from a backup",
        lambda folder: ((folder / "disk").mkdir(), (folder / "disk" / "journal.sqlite").write_text("no" * 999)),
    ),
    "a password that is missing": Broken(
        f"{SALES}{SMTP} ./gone\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/gone: cannot be read: No such file or directory; put it there, or name another",
    ),
    "a password that is a folder": Broken(
        f"{SALES}{SMTP} ./secrets\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/secrets: cannot be read: Is a directory; name another",
        lambda folder: (folder / "secrets").mkdir(),
    ),
    "a password that cannot be reached": Broken(
        f"{SALES}{SMTP} ./loop/password\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/loop/password: cannot be read: Too many levels of symbolic links; name another",
        lambda folder: (folder / "loop").symlink_to("loop"),
    ),
}  # fmt: skip


# Those that `check` and `serve` are run with, in processes of their own.
TRIED = [
    "no YAML",
    "an unknown key",
    "no mailbox",
    "no recipients",
    "a bad address",
    "a greeting that is a folder",
    "a greeting that is no WAV",
    "no recordings folder",
    "a file for recordings",
    "a folder named 8000 in recordings",
    "recordings where the storage is",
    "a disk that is too small",
    "a journal that is no database",
    "a password that is a folder",
]


def break_it(folder: Path, name: str) -> Path:
    """Write a broken configuration and what belongs to it."""
    (folder / "voicemail.yaml").write_text(BROKEN[name].text)
    BROKEN[name].also(folder)
    return folder


class TestBrokenConfigurations:
    @pytest.fixture(scope="class")
    @classmethod
    def ended(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Done]:
        """How `check` and `serve` ended for every broken configuration, each in a folder of its own."""
        ended = {}
        for verb in ("check", "serve"):
            for name in TRIED:
                folder = break_it(tmp_path_factory.mktemp(verb), name)
                done = command(verb, folder=folder)
                ended[verb, name] = Done(str(folder), done.returncode, done.stdout, done.stderr)
        return ended

    @pytest.mark.parametrize("name", TRIED)
    @pytest.mark.parametrize("verb", ["check", "serve"])
    def test_one_is_78_and_one_line_that_says_where_and_what(
        self, ended: dict[tuple[str, str], Done], verb: str, name: str
    ) -> None:
        done = ended[verb, name]

        said = re.sub(r"\d+ MiB", "MANY MiB", said_in_one_line(done))
        assert said == BROKEN[name].said.replace("FOLDER", done.args)
        assert (done.returncode, done.stdout) == (BAD_CONFIG, "")

    @pytest.mark.parametrize("name", TRIED)
    def test_nothing_was_started_by_one(self, ended: dict[tuple[str, str], Done], name: str) -> None:
        assert not (Path(ended["serve", name].args) / "var").exists()

    @pytest.mark.parametrize("name", BROKEN)
    def test_its_check_finds_that_problem_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.chdir(break_it(tmp_path, name))

        try:
            found = checks.problems(load(Path("voicemail.yaml")))
        except ConfigError as error:
            found = error.problems

        found = [re.sub(r"\d+ MiB", "MANY MiB", problem) for problem in found]
        assert found == [BROKEN[name].said.replace("FOLDER", str(tmp_path))]

    def test_every_problem_has_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(
            f"{SALES}    greetings: {{busy: a.wav, direct: b.wav}}\nstorage: {{recordings: ./spool}}\n"
        )

        done = command("check", folder=tmp_path)

        assert done.returncode == BAD_CONFIG
        assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
            "storage.recordings",
            "mailboxes.sales.greetings.busy",
            "mailboxes.sales.greetings.direct",
        ]

    @pytest.mark.parametrize(
        "verb", [("mailbox", "list"), ("messages", "list"), ("render", "--sample", "sales")]
    )
    def test_every_verb_refuses_a_broken_file(self, tmp_path: Path, verb: tuple[str, ...]) -> None:
        (tmp_path / "voicemail.yaml").write_text("lisen: x\n")

        done = command(*verb, folder=tmp_path)

        assert done.returncode == BAD_CONFIG
        assert said_in_one_line(done) == "voicemail.yaml:1: lisen: unknown key; did you mean 'listen'?"

    def test_a_named_file_that_is_missing_is_78(self, tmp_path: Path) -> None:
        named = command("check", "--config", "gone.yaml", folder=tmp_path)
        variable = command("check", folder=tmp_path, ESL_VOICEMAIL_CONFIG="gone.yaml")

        for done in (named, variable):
            assert done.returncode == BAD_CONFIG
            assert said_in_one_line(done) == (
                "gone.yaml: cannot be read: No such file or directory; put it there, or name another"
            )


@pytest.mark.usefixtures("default_ports")
class TestCheck:
    def test_embedded_defaults_are_ok_and_leave_nothing_behind(self, tmp_path: Path) -> None:
        done = command("check", folder=tmp_path)

        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout.splitlines()[-1] == "embedded defaults: ok, 1 mailbox, 1 recipient"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_is_ok_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(SALES)
        (tmp_path / "other.yaml").write_text(f"{SALES}  help: {{recipients: [a@b.c, d@e.f]}}\n")

        here = command("check", folder=tmp_path)
        named = command("check", "--config", "other.yaml", folder=tmp_path)

        assert here.stdout.splitlines()[-1] == "voicemail.yaml: ok, 1 mailbox, 1 recipient"
        assert named.stdout.splitlines()[-1] == "other.yaml: ok, 2 mailboxes, 3 recipients"

    def test_the_probe_s_mailbox_is_nobody_s(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(f"probe: {{}}\n{SALES}")

        done = command("check", folder=tmp_path)

        assert done.stdout.splitlines()[-1] == "voicemail.yaml: ok, 1 mailbox, 1 recipient"

    def test_what_nobody_asked_the_switch_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(SALES)

        done = command("check", folder=tmp_path)

        assert (
            "voicemail.yaml:1: storage.recordings: note: the switch was not asked whether it can write there, "
            "read the greetings and reach 127.0.0.1:8084; ask it by --switch HOST:PORT\n"
        ) in done.stdout

    @pytest.mark.parametrize("setting", ["listen", "http"])
    def test_a_port_that_another_program_has_is_69(self, tmp_path: Path, setting: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            settings: dict[str, Any] = {"listen": "127.0.0.1:0", "http": {"listen": "127.0.0.1:0"}}
            settings[setting] = address if setting == "listen" else {"listen": address}
            (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(settings))

            done = command("check", folder=tmp_path)

        trail, line = ("listen", 3) if setting == "listen" else ("http.listen", 2)
        assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
        assert said_in_one_line(done) == (
            f"voicemail.yaml:{line}: {trail}: cannot listen on {address}: Address already in use; "
            "is another server running?"
        )

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    def test_an_address_of_another_machine_is_69(self, tmp_path: Path, host: str) -> None:
        (tmp_path / "voicemail.yaml").write_text(f"listen: {host}:8084\n")

        done = command("check", folder=tmp_path)

        assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
        said = said_in_one_line(done)
        assert said.startswith(f"voicemail.yaml:1: listen: cannot listen on {host}:8084: ")
        assert said.endswith("; name an address of this machine")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_where_our_own_service_runs_it_may(self, tmp_path: Path, host: str) -> None:
        with running(tmp_path) as service:
            for name, port in (("own", service.address[1]), ("http", service.http.rpartition(":")[2])):
                settings = (
                    {"listen": f"{host}:{port}"} if name == "own" else {"http": {"listen": f"{host}:{port}"}}
                )
                (tmp_path / "same.yaml").write_text(
                    yaml.safe_dump(settings | {"storage": {"directory": "var"}})
                )
                done = command("check", "--config", "same.yaml", folder=tmp_path)
                assert (done.returncode, done.stderr) == (OK, "")
            # Another service's own port is no port of this one, whatever an earlier server has left.
            state = (tmp_path / "var" / "serve.json").read_text()
            (tmp_path / "other" / "var").mkdir(parents=True)
            (tmp_path / "other" / "var" / "serve.json").write_text(state)
            (tmp_path / "other" / "voicemail.yaml").write_text(f"listen: 127.0.0.1:{service.address[1]}\n")
            assert command("check", folder=tmp_path / "other").returncode == UNAVAILABLE

    def test_asking_a_mail_server_needs_one(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(SALES)

        done = command("check", "--smtp", folder=tmp_path)

        assert done.returncode == BAD_CONFIG
        assert said_in_one_line(done) == (
            f"voicemail.yaml:1: mail: --smtp needs mail.smtp; mails go into {tmp_path}/var/mail"
        )


class TestServe:
    @pytest.mark.parametrize("setting", ["listen", "http"])
    def test_a_port_that_is_taken_is_69(self, tmp_path: Path, setting: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            settings: dict[str, Any] = {"listen": "127.0.0.1:0", "http": {"listen": "127.0.0.1:0"}}
            settings[setting] = address if setting == "listen" else {"listen": address}
            (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(settings))

            done = command("serve", folder=tmp_path)

        assert done.returncode == UNAVAILABLE
        assert said_in_one_line(done) == (
            f"cannot listen on {address}: Address already in use; is another server running?"
        )
        assert not (tmp_path / "var" / "serve.json").exists()

    def test_a_second_server_on_the_same_storage_is_75(self, told: Told) -> None:
        done = command("serve", folder=told.folder)

        assert done.returncode == BUSY
        assert said_in_one_line(done) == (
            f"{told.folder}/var: another server (process {told.service.process.pid}) works here; stop it, "
            "or name another storage.directory"
        )
        assert told.service.get("/healthz")[0] == 200

    def test_a_journal_that_another_program_holds_is_75(self, tmp_path: Path) -> None:
        with running(tmp_path) as service:
            assert service.stop() == OK
        with closing(sqlite3.connect(tmp_path / "var" / "journal.sqlite", isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")

            done = command("serve", folder=tmp_path)

        assert done.returncode == BUSY
        assert said_in_one_line(done) == f"{tmp_path}/var/journal.sqlite: the journal is busy; try again"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_with_0(self, tmp_path: Path, number: int) -> None:
        with running(tmp_path) as service:
            assert service.stop(number) == OK

            assert (len(service.lines("serving")), len(service.lines("stopped"))) == (1, 1)
            assert "Traceback" not in service.log
            assert not (tmp_path / "var" / "serve.json").exists()

    @pytest.mark.parametrize(
        ("closed", "streams"), [("2>&-", [2]), ("<&-", [0]), ("<&- >&- 2>&-", [0, 1, 2])]
    )
    def test_without_its_standard_streams_it_serves_all_the_same(
        self, tmp_path: Path, closed: str, streams: list[int]
    ) -> None:
        (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(DEFAULTS))
        state = tmp_path / "var" / "serve.json"
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$0" -m esl_voicemail serve {closed}', sys.executable], cwd=tmp_path
        )
        try:
            until(lambda: state.exists() or process.poll() is not None, "it serves or ended")
            assert process.poll() is None
            for stream in streams:
                assert Path(f"/proc/{process.pid}/fd/{stream}").readlink() == Path("/dev/null")
            called = command("call", "default", folder=tmp_path)
            process.send_signal(signal.SIGTERM)
            ended = process.wait(30)
        finally:
            process.kill()
            process.wait()

        assert (called.returncode, called.stderr) == (OK, "")
        assert ended == OK


class TestMailbox:
    def test_list_has_a_line_for_each(self, told: Told) -> None:
        done = command("mailbox", "list", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert [line.split() for line in done.stdout.splitlines()] == [
            ["default", "Poczta", "anna@example.com,", "jan@example.com"],
            ["sales", "sales", "sales@example.com"],
        ]

    def test_list_has_an_object_for_each_for_programs(self, told: Told) -> None:
        done = command("mailbox", "list", "--json", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        default, sales = map(json.loads, done.stdout.splitlines())
        assert default["mailbox"] == "default"
        assert default["recipients"] == ["anna@example.com", "jan@example.com"]
        assert sales["from"] == f"voicemail.yaml:{self.line(told, '  sales:')}"

    def test_show_tells_settings_and_where_each_comes_from(self, told: Told) -> None:
        done = command("mailbox", "show", "default", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
        assert all(len(row) in {2, 3} for row in rows)
        shown = {row[0]: row[1:] for row in rows}
        recipients = f"voicemail.yaml:{self.line(told, '    recipients:')}"
        assert shown["mailbox"] == ["default"]
        assert shown["from"] == [f"voicemail.yaml:{self.line(told, '  default:')}"]
        assert shown["recipients"] == ["anna@example.com, Jan Łoś <jan@example.com>", recipients]
        assert shown["language"] == ["pl", "built in"]
        assert shown["max_seconds"] == ["300", "built in"]
        assert shown["reply_to"] == ["built in"]
        assert shown["greeting default"][0].endswith("/pl/default.wav")

    def test_show_tells_the_same_to_programs(self, told: Told) -> None:
        done = command("mailbox", "show", "default", "--json", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        shown = json.loads(done.stdout)
        assert (shown["mailbox"], shown["from"]) == (
            "default",
            f"voicemail.yaml:{self.line(told, '  default:')}",
        )
        settings = shown["settings"]
        assert settings["timezone"] == {"value": "Europe/Warsaw", "from": "built in"}
        assert settings["recipients"]["value"] == ["anna@example.com", "Jan Łoś <jan@example.com>"]
        assert settings["keep_digits"] == {"value": True, "from": "built in"}
        assert settings["operator"]["value"] is None
        # Every setting there is has its place.
        assert settings.keys() >= MailboxSection.model_fields.keys() - {"greetings", "promises", "templates"}

    def line(self, told: Told, begins: str) -> int:
        lines = (told.folder / "voicemail.yaml").read_text().splitlines()
        return next(n for n, line in enumerate(lines, 1) if line.startswith(begins))

    def test_an_unknown_one_is_1_and_one_line(self, told: Told) -> None:
        done = command("mailbox", "show", "nobody", folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == "no mailbox 'nobody'; there are default, sales"


class TestMessages:
    def test_list_has_a_line_for_each_call_the_newest_first(self, told: Told) -> None:
        done = command("messages", "list", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        head, silent, spoken = done.stdout.splitlines()
        assert head.split() == ["MESSAGE", "WHEN", "MAILBOX", "CALLER", "STATE", "SECONDS", "MAIL"]
        assert spoken.startswith(f"{told.message_id}  ")
        assert spoken.split()[3:5] == ["default", "+48601234567"]
        assert spoken.split()[-4:] == ["kept", "3.0", "2/2", "delivered"]
        assert "Łucja „Ż”" in spoken
        assert silent.split()[-2:] == ["discarded", "hangup_in_greeting"]

    def test_list_in_json_is_an_object_a_line(self, told: Told) -> None:
        done = command("messages", "list", "--json", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        silent, spoken = map(json.loads, done.stdout.splitlines())
        assert silent["call"] == told.silent_call_id
        assert (silent["state"], silent["duration_ms"], silent["recipients"]) == ("discarded", None, 0)
        assert (spoken["message"], spoken["call"]) == (told.message_id, told.call_id)
        assert spoken["caller"] == {"number": "+48601234567", "name": "Łucja „Ż”", "withheld": False}
        assert (spoken["mailbox"], spoken["reason"], spoken["state"]) == ("default", "busy", "kept")
        assert (spoken["recipients"], spoken["delivered"], spoken["duration_ms"]) == (2, 2, 3000)
        assert (spoken["deliveries"], silent["deliveries"]) == ({"delivered": 2}, {})

    def test_list_gives_as_many_as_asked(self, told: Told) -> None:
        done = command("messages", "list", "--most", "1", "--json", folder=told.folder)

        assert [json.loads(line)["call"] for line in done.stdout.splitlines()] == [told.silent_call_id]

    @pytest.mark.parametrize("by", ["message", "lower-case message", "call"])
    def test_show_tells_the_story_by_message_or_call(self, told: Told, by: str) -> None:
        names = {
            "message": told.message_id,
            "lower-case message": told.message_id.lower(),
            "call": told.call_id,
        }

        done = command("messages", "show", names[by], folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["message", told.message_id]
        assert lines[1].split() == ["call", told.call_id]
        assert "reason     busy" in lines
        assert "state      kept (recorded)" in lines
        assert "to         anna@example.com: delivered" in lines
        assert "to         jan@example.com: delivered" in lines
        assert len([line for line in lines if line.startswith("    1. ") and " delivered 250 " in line]) == 2

    def test_show_in_json_is_one_object(self, told: Told) -> None:
        done = command("messages", "show", told.call_id, "--json", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        story = json.loads(done.stdout)
        assert (story["message"], story["call"]) == (told.message_id, told.call_id)
        assert Path(story["recording"]).stat().st_size == story["size"]
        assert {to["recipient"]: to["state"] for to in story["deliveries"]} == {
            "anna@example.com": "delivered",
            "jan@example.com": "delivered",
        }
        for to in story["deliveries"]:
            (tried,) = to["attempts"]
            assert (tried["number"], tried["result"], tried["code"]) == (1, "delivered", 250)
            assert to["due_at"] is None

    def test_show_tells_of_a_call_that_left_nothing(self, told: Told) -> None:
        done = command("messages", "show", told.silent_call_id, folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert "state      discarded (hangup_in_greeting)" in done.stdout.splitlines()

    @pytest.mark.parametrize("name", ["nothing", "", "'; drop table voicemails; --"])
    def test_an_unknown_id_is_1_and_one_line(self, told: Told, name: str) -> None:
        done = command("messages", "show", name, folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == (
            f"no message and no call {name!r} in the journal; see `esl-voicemail messages list`"
        )

    @pytest.mark.parametrize("arguments", [("messages", "list"), ("render", "x")])
    def test_without_a_journal_it_is_1_and_one_line(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        done = command(*arguments, folder=tmp_path)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == (
            f"{tmp_path}/var/journal.sqlite: there is no journal yet; start `esl-voicemail serve` once"
        )

    def test_a_journal_that_is_none_is_1_and_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "journal.sqlite").write_bytes(b"This is no database.\n" * 100)

        done = command("messages", "list", folder=tmp_path)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == (
            f"{tmp_path}/var/journal.sqlite: the journal cannot be read: file is not a database; put it back from a backup"
        )

    def test_more_calls_than_there_can_be_are_all(self, told: Told) -> None:
        done = command("messages", "list", "--most", "9" * 30, "--json", folder=told.folder)

        assert (done.returncode, len(done.stdout.splitlines())) == (OK, 2)


class TestMails:
    """Where the mails of messages stand, in a journal that was written without a server."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A journal of two messages: one delivered and held, one queued, sending, bounced and expired."""
        folder = tmp_path_factory.mktemp("mails")
        recordings = folder / "var" / "recordings"
        recordings.mkdir(parents=True)
        journal = Journal(url_of(folder / "var"), recordings)
        now = datetime(2026, 7, 15, 10, 30, tzinfo=UTC)
        fates: list[dict[str, Verdict | None]] = [
            {"a@example.com": Delivered(250, "taken"), "b@example.com": Held("the audio is gone")},
            {
                "c@example.com": Deferred(451, "not now"),
                "d@example.com": None,
                "e@example.com": Bounced(550, "no such user"),
                "f@example.com": Expired(None, "no answer"),
            },
        ]
        for n, fate in enumerate(fates):
            message_id = f"01MAILS{n:019d}"
            at = now + timedelta(minutes=n)
            caller = Caller("+48601234567", "Jan", withheld=False)
            call = ArrivedCall(f"call-{n}", "default", Reason.BUSY, caller, "1", at, "pl")
            journal.begin(message_id, call, f"default.{message_id}.wav", 10)
            audio = Recording(recordings / f"default.{message_id}.wav", 3000, 48044, "")
            journal.keep(message_id, audio, EndedBy.KEY, list(fate), now=at, timeout_seconds=10)
            for attempt in journal.queue.claim(len(fate), at, "example.com"):
                verdict = fate[attempt.recipient]
                if verdict is not None:
                    journal.queue.mark(attempt, verdict, at, 5, at + timedelta(days=1))
        journal.close()
        with closing(sqlite3.connect(folder / "var" / "journal.sqlite")) as database:
            # A server that crashed while sending leaves no trace of its attempt.
            database.execute("DELETE FROM attempts WHERE result = 'held'")
            database.commit()
        return folder

    def test_list_tells_every_state_of_a_mail(self, folder: Path) -> None:
        done = command("messages", "list", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert [line.split("3.0  ")[1] for line in done.stdout.splitlines()[1:]] == [
            "0/4 delivered, 1 queued, 1 sending, 1 bounced, 1 expired",
            "1/2 delivered, 1 held",
        ]

    def test_list_in_json_counts_them(self, folder: Path) -> None:
        done = command("messages", "list", "--json", folder=folder)

        second, first = map(json.loads, done.stdout.splitlines())
        assert first["deliveries"] == {"delivered": 1, "held": 1}
        assert second["deliveries"] == {"queued": 1, "sending": 1, "bounced": 1, "expired": 1}
        assert (first["recipients"], first["delivered"]) == (2, 1)

    def test_show_tells_why_a_mail_was_not_delivered(self, folder: Path) -> None:
        first = command("messages", "show", "call-0", folder=folder).stdout.splitlines()
        second = command("messages", "show", "call-1", folder=folder).stdout.splitlines()

        assert first[first.index("to         b@example.com: held") + 1 :] == ["           the audio is gone"]
        assert first[first.index("to         a@example.com: delivered") + 1].startswith("    1. ")
        queued = next(n for n, line in enumerate(second) if "c@example.com: queued, next try " in line)
        assert second[queued + 1] == "           451 not now"
        assert second[second.index("to         e@example.com: bounced") + 1] == "           550 no such user"
        assert second[second.index("to         f@example.com: expired") + 1] == "           no answer"

    def test_show_in_json_says_it_too(self, folder: Path) -> None:
        story = json.loads(command("messages", "show", "call-0", "--json", folder=folder).stdout)

        delivered, held = story["deliveries"]
        assert (delivered["code"], delivered["reply"]) == (250, "taken")
        assert (held["state"], held["code"], held["reply"]) == ("held", None, "the audio is gone")
        assert held["attempts"] == []

    def test_reading_changes_nothing(self, folder: Path) -> None:
        var = folder / "var"
        before = {path.name: path.read_bytes() for path in var.iterdir() if path.is_file()}

        for arguments in (("messages", "list"), ("messages", "show", "call-0"), ("check",)):
            assert command(*arguments, folder=folder).returncode == OK

        assert {path.name: path.read_bytes() for path in var.iterdir() if path.is_file()} == before

    def test_reading_leaves_the_journal_s_mode_alone(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder / "var", tmp_path / "var")
        with closing(sqlite3.connect(tmp_path / "var" / "journal.sqlite")) as database:
            assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)

        assert command("messages", "list", folder=tmp_path).returncode == OK

        with closing(sqlite3.connect(tmp_path / "var" / "journal.sqlite")) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    @pytest.mark.parametrize("name", ["what?", "a#b", "50%20off", "a b", "a&mode=memory", "ź"])
    def test_a_folder_may_have_any_name(self, folder: Path, tmp_path: Path, name: str) -> None:
        shutil.copytree(folder, tmp_path / name)

        listed = command("messages", "list", "--json", folder=tmp_path / name)
        checked = command("check", folder=tmp_path / name)

        assert (listed.returncode, len(listed.stdout.splitlines())) == (OK, 2)
        assert (checked.returncode, checked.stderr) == (OK, "")
        Journal(url_of(tmp_path / name / "var"), tmp_path).close()
        assert [path.name for path in tmp_path.iterdir()] == [name]


class TestRender:
    def test_a_sample_is_a_mail_with_its_audio(self, tmp_path: Path) -> None:
        done = command("render", "--sample", "default", folder=tmp_path)

        assert (done.returncode, done.stderr) == (OK, "")
        mail = message_from_string(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert not mail.defects
        assert mail["To"] == "voicemail@localhost"
        assert mail.get_body(("plain",)) is not None
        (audio,) = mail.iter_attachments()
        assert audio.get_content_type() == "audio/mpeg"
        (heard := tmp_path / "heard").write_bytes(audio.get_content())
        with wave.open(str(SAMPLE)) as sample:
            assert likeness(sample.readframes(sample.getnframes()), pcm(heard)) > 0.9
        assert list(tmp_path.iterdir()) == [heard]

    def test_a_sample_is_what_the_mailbox_would_get(self, told: Told) -> None:
        done = command("render", "--sample", "sales", folder=told.folder)

        mail = message_from_string(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        (audio,) = mail.iter_attachments()
        assert mail["To"] == "sales@example.com"
        assert audio.get_content_type() == "audio/mpeg"

    @pytest.mark.parametrize("by", ["message", "call"])
    def test_a_kept_message_is_the_mail_that_was_sent(self, told: Told, by: str) -> None:
        name = told.message_id if by == "message" else told.call_id

        done = command("render", name, folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        mail = message_from_string(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        sent = next(one for one in told.service.mails(2) if one["To"] == "anna@example.com")
        for header in ("Subject", "From", "To", "Date", "Message-ID"):
            assert mail[header] == sent[header]
        assert attached(mail) == attached(sent) == A_SECOND * 3

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--sample", "nobody"), "no mailbox 'nobody'; there are default, sales"),
            (("nothing",), "no message and no closed call 'nothing'; see `esl-voicemail messages list`"),
        ],
    )
    def test_an_unknown_one_is_1_and_one_line(
        self, told: Told, arguments: tuple[str, ...], said: str
    ) -> None:
        done = command("render", *arguments, folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == said

    def test_a_call_that_left_nothing_is_the_notice_of_it(self, told: Told) -> None:
        done = command("render", told.silent_call_id, folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        mail = message_from_string(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert mail["Subject"].startswith("Nieodebrane połączenie: ")
        assert list(mail.iter_attachments()) == []

    def test_a_message_whose_audio_is_gone_is_1_and_one_line(self, told: Told, tmp_path: Path) -> None:
        shutil.copytree(told.folder / "var", tmp_path / "var")
        for sound in (tmp_path / "var" / "recordings").iterdir():
            sound.unlink()

        done = command("render", told.message_id, folder=tmp_path)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done).startswith(f"default.{told.message_id}.wav: cannot be read as wav: ")


class TestCall:
    @pytest.fixture
    def port(self, tmp_path: Path) -> Iterator[int]:
        """A port that is ours and that nobody listens on, and a configuration that names it."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port: int = held.getsockname()[1]
            (tmp_path / "voicemail.yaml").write_text(f"listen: 127.0.0.1:{port}\n")
            yield port

    def test_without_a_service_it_is_69(self, tmp_path: Path, port: int) -> None:
        done = command("call", "default", folder=tmp_path)

        assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
        assert said_in_one_line(done) == (
            f"no service answers at 127.0.0.1:{port}: Connection refused; run `esl-voicemail serve`"
        )

    @pytest.mark.parametrize("left", ["", "[]", '{"listen": 5}'])
    def test_what_a_server_that_crashed_left_is_passed_over(
        self, tmp_path: Path, port: int, left: str
    ) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "serve.json").write_text(left)

        done = command("call", "default", folder=tmp_path)

        assert done.returncode == UNAVAILABLE
        assert said_in_one_line(done).startswith(f"no service answers at 127.0.0.1:{port}: ")

    @pytest.mark.parametrize(
        ("content", "said"),
        [(None, "cannot be read: No such file or directory"), (b"hush", "is no sound that can be read: ")],
        ids=["missing", "no sound"],
    )
    def test_a_caller_with_nothing_to_say_is_1_and_one_line(
        self, tmp_path: Path, content: bytes | None, said: str
    ) -> None:
        if content is not None:
            (tmp_path / "sound").write_bytes(content)

        done = command("call", "default", "--audio", "sound", folder=tmp_path)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done).startswith(f"sound: {said}")

    def test_a_call_leaves_a_mail_with_what_was_said(self, tmp_path: Path) -> None:
        save(tmp_path / "hello.wav", A_SECOND * 2)
        with running(tmp_path) as service:
            done = command(
                "call", "default", "--caller", "+48221112233", "--name", "Zoë", "--reason", "queue-timeout",
                "--audio", "hello.wav", "--hang-up-after", "2", folder=tmp_path,
            )  # fmt: skip
            (mail,) = service.mails(1)
            listed = json.loads(command("messages", "list", "--json", folder=tmp_path).stdout)

        assert (done.returncode, done.stderr) == (OK, "")
        call, message = done.stdout.splitlines()[-2:]
        assert call.startswith(f"call {listed['call']}: recorded 2.0 s, ended by ")
        assert message == f"message {listed['message']} kept for 1 recipient"
        assert attached(mail) == A_SECOND * 2
        assert listed["caller"] == {"number": "+48221112233", "name": "Zoë", "withheld": False}
        assert listed["reason"] == "queue-timeout"

    def test_a_call_tells_what_became_of_it(self, tmp_path: Path) -> None:
        recipients = {"recipients": ["anna@example.com", "jan@example.com"]}
        with running(tmp_path, {"mailboxes": {"default": recipients}}) as service:
            kept = command("call", "default", "--digits", "1#", folder=tmp_path)
            short = command("call", "default", "--hang-up-after", "0.1", folder=tmp_path)
            (service.recordings / "8000").mkdir()
            refused = command("call", "default", folder=tmp_path)

        assert (kept.returncode, kept.stderr) == (OK, "")
        assert re.fullmatch("message [0-9A-Z]{26} kept for 2 recipients", kept.stdout.splitlines()[-1])
        (call_id,) = re.findall("^call ([^:]+): recorded ", short.stdout, re.MULTILINE)
        assert short.returncode == FAILED
        assert said_in_one_line(short) == (
            f"call {call_id}: no message kept: too_short; `esl-voicemail messages show {call_id}` tells more"
        )
        assert refused.returncode == FAILED
        assert said_in_one_line(refused).startswith("the service handed the call back to the dialplan: ")


class TestFault:
    """What becomes of an error that nobody foresaw."""

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (ValueError("what is\nthis?\n"), "ValueError: what is this?"),
            (KeyError("x"), "KeyError: 'x'"),
            (RuntimeError(), "RuntimeError"),
        ],
    )
    def test_it_is_1_and_one_line_that_says_where(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        words: str,
    ) -> None:
        def fails(_path: Path | None) -> None:
            raise error

        monkeypatch.setattr("esl_voicemail.cli.mailbox.load", fails)

        code = run(["mailbox", "list"])

        source = (Path(esl_voicemail.__file__).parent / "cli" / "mailbox.py").read_text().splitlines()
        (line,) = capsys.readouterr().err.splitlines()
        said = re.fullmatch(
            r"esl-voicemail: (.*) \(at esl_voicemail/cli/mailbox\.py:(\d+)\); this is a fault of the program: report it, with this line",
            line,
        )
        assert said
        assert (code, said[1]) == (FAILED, words)
        assert "load(" in source[int(said[2]) - 1]


READERS = ["--help", "mailbox list", "messages list", "messages show MESSAGE", "render MESSAGE", "check"]


class TestOutput:
    """What becomes of output that nobody can take."""

    @staticmethod
    def into(told: Told, arguments: str, output: str) -> Done:
        """Run a command line in a shell, its output as the shell is told; the shell prints its exit code."""
        line = f'"$0" -m esl_voicemail {arguments.replace("MESSAGE", told.message_id)}'
        done = subprocess.run(
            ["/bin/sh", "-c", f'{{ {{ {line}; echo "$?" >&3; }} {output}; }} 3>&1', sys.executable],
            cwd=told.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(line, int(done.stdout), "", done.stderr)

    @pytest.mark.parametrize("arguments", READERS)
    def test_a_reader_that_went_away_is_no_error(self, told: Told, arguments: str) -> None:
        done = self.into(told, arguments, "| head -c 0")

        assert (done.returncode, done.stderr) == (OK, "")

    @pytest.mark.parametrize("arguments", ["mailbox list", "render MESSAGE"])
    def test_a_full_disk_is_1_and_one_line(self, told: Told, arguments: str) -> None:
        done = self.into(told, arguments, ">/dev/full")

        assert done.returncode == FAILED
        assert said_in_one_line(done) == (
            "esl-voicemail: [Errno 28] No space left on device; make room on its disk, and ask again"
        )

    @pytest.mark.parametrize("arguments", ["mailbox list", "render MESSAGE"])
    def test_a_closed_output_is_no_error(self, told: Told, arguments: str) -> None:
        done = self.into(told, arguments, ">&-")

        assert (done.returncode, done.stderr) == (OK, "")

    def test_text_is_utf_8_in_any_locale_that_can_hold_it(self, told: Told) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "esl_voicemail", "messages", "list"],
            cwd=told.folder,
            env={**os.environ, "LC_ALL": "C", "LANG": "C"},
            capture_output=True,
            timeout=60,
            check=False,
        )

        assert (done.returncode, done.stderr) == (OK, b"")
        assert "Łucja „Ż”".encode() in done.stdout

    def test_a_terminal_of_ascii_alone_is_no_traceback(self, told: Told) -> None:
        done = command("messages", "list", folder=told.folder, PYTHONIOENCODING="ascii")

        assert done.returncode == OK
        assert done.stderr == ""

    def test_a_mail_comes_out_byte_for_byte_in_any_locale(self, told: Told) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "esl_voicemail", "render", told.message_id],
            cwd=told.folder,
            env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=60,
            check=False,
        )

        mail = message_from_bytes(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        (audio,) = mail.iter_attachments()
        with wave.open(BytesIO(audio.get_content())) as sound:
            assert sound.readframes(sound.getnframes()) == A_SECOND * 3
