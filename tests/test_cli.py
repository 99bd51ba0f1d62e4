"""The command line through real processes: exit codes, one line an error, and never a traceback."""

# ruff: noqa: E501 - in the tables, a case keeps to its line

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from esl_voicemail import __version__, checks
from esl_voicemail.cli.call import SAMPLE
from esl_voicemail.config import load
from esl_voicemail.errors import ConfigError
from esl_voicemail.trial.caller import Moment, Stage, TrialCaller
from tests.support.service import Service, command, running, until
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
        service.mails(2)
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
                "esl-voicemail messages list: argument --most: invalid int",
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
        for verb in ("serve", "check", "call", "messages", "mailbox", "render"):
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
        "voicemail.yaml:5: storage.recordings: FOLDER/spool: cannot be written: Not a directory",
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
    "a password that is missing": Broken(
        f"{SALES}{SMTP} ./gone\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/gone: cannot be read: No such file or directory",
    ),
    "a password that is a folder": Broken(
        f"{SALES}{SMTP} ./secrets\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/secrets: cannot be read: Is a directory",
        lambda folder: (folder / "secrets").mkdir(),
    ),
    "a password that cannot be reached": Broken(
        f"{SALES}{SMTP} ./loop/password\n",
        "voicemail.yaml:8: mail.smtp.password_file: FOLDER/loop/password: cannot be read: Too many levels of symbolic links",
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
        asked = [(verb, name) for verb in ("check", "serve") for name in TRIED]
        folders = {key: break_it(tmp_path_factory.mktemp(key[0]), key[1]) for key in asked}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ended = pool.map(lambda key: command(key[0], folder=folders[key]), asked)
            return {
                key: Done(str(folders[key]), one.returncode, one.stdout, one.stderr)
                for key, one in zip(asked, ended, strict=True)
            }

    @pytest.mark.parametrize("name", TRIED)
    @pytest.mark.parametrize("verb", ["check", "serve"])
    def test_one_is_78_and_one_line_that_says_where_and_what(
        self, ended: dict[tuple[str, str], Done], verb: str, name: str
    ) -> None:
        done = ended[verb, name]

        assert said_in_one_line(done) == BROKEN[name].said.replace("FOLDER", done.args)
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
            assert said_in_one_line(done) == "gone.yaml: cannot be read: No such file or directory"


class TestCheck:
    def test_embedded_defaults_are_ok_and_leave_nothing_behind(self, tmp_path: Path) -> None:
        done = command("check", folder=tmp_path)

        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout == "embedded defaults: ok, 1 mailboxes, 1 recipients\n"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_is_ok_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "voicemail.yaml").write_text(SALES)
        (tmp_path / "other.yaml").write_text(f"{SALES}  help: {{recipients: [a@b.c, d@e.f]}}\n")

        here = command("check", folder=tmp_path)
        named = command("check", "--config", "other.yaml", folder=tmp_path)

        assert here.stdout == "voicemail.yaml: ok, 1 mailboxes, 1 recipients\n"
        assert named.stdout == "other.yaml: ok, 2 mailboxes, 3 recipients\n"

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

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_with_0(self, tmp_path: Path, number: int) -> None:
        with running(tmp_path) as service:
            assert service.stop(number) == OK

            assert [
                line["event"]
                for line in (service.lines("serving"), service.lines("stopped"))
                for line in line
            ]
            assert "Traceback" not in service.log
            assert not (tmp_path / "var" / "serve.json").exists()


class TestMailbox:
    def test_list_has_a_line_for_each(self, told: Told) -> None:
        done = command("mailbox", "list", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert [line.split() for line in done.stdout.splitlines()] == [
            ["default", "Poczta", "anna@example.com,", "jan@example.com"],
            ["sales", "sales", "sales@example.com"],
        ]

    def test_show_tells_settings_and_where_they_stand(self, told: Told) -> None:
        done = command("mailbox", "show", "default", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        shown = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
        shown = {name: value.strip() for name, value in shown.items()}
        lines = (told.folder / "voicemail.yaml").read_text().splitlines()
        assert shown["mailbox"] == "default"
        assert shown["from"] == f"voicemail.yaml:{lines.index('  default:') + 1}"
        assert shown["recipients"] == "anna@example.com, Jan Łoś <jan@example.com>"
        assert (shown["language"], shown["timezone"], shown["max_seconds"]) == ("pl", "Europe/Warsaw", "300")
        assert shown["greeting default"].endswith("/pl/default.wav")

    def test_an_unknown_one_is_1_and_one_line(self, told: Told) -> None:
        done = command("mailbox", "show", "nobody", folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == "no mailbox 'nobody'; there are default, sales"


class TestMessages:
    def test_list_has_a_line_for_each_call_the_newest_first(self, told: Told) -> None:
        done = command("messages", "list", folder=told.folder)

        assert (done.returncode, done.stderr) == (OK, "")
        head, silent, spoken = done.stdout.splitlines()
        assert head.split() == ["MESSAGE", "WHEN", "MAILBOX", "CALLER", "STATE", "SECONDS", "DELIVERED"]
        assert spoken.startswith(f"{told.message_id}  ")
        assert [*spoken.split()[3:5], *spoken.split()[-3:]] == [
            "default",
            "+48601234567",
            "kept",
            "3.0",
            "2/2",
        ]
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
        assert said_in_one_line(done) == "the journal cannot be read: file is not a database"


class TestRender:
    def test_a_sample_is_a_mail_with_its_audio(self, tmp_path: Path) -> None:
        done = command("render", "--sample", "default", folder=tmp_path)

        assert (done.returncode, done.stderr) == (OK, "")
        mail = message_from_string(done.stdout, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert not mail.defects
        assert mail["To"] == "voicemail@localhost"
        assert mail.get_body(("plain",)) is not None
        with wave.open(str(SAMPLE)) as sample:
            assert attached(mail) == sample.readframes(sample.getnframes())
        assert list(tmp_path.iterdir()) == []

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
            (("nothing",), "no kept message 'nothing'; see `esl-voicemail messages list`"),
        ],
    )
    def test_an_unknown_one_is_1_and_one_line(
        self, told: Told, arguments: tuple[str, ...], said: str
    ) -> None:
        done = command("render", *arguments, folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done) == said

    def test_a_call_that_left_nothing_is_1_and_one_line(self, told: Told) -> None:
        done = command("render", told.silent_call_id, folder=told.folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done).startswith("no kept message ")

    def test_a_message_whose_audio_is_gone_is_1_and_one_line(self, told: Told, tmp_path: Path) -> None:
        shutil.copytree(told.folder / "var", tmp_path / "var")
        for sound in (tmp_path / "var" / "recordings").iterdir():
            sound.unlink()

        done = command("render", told.message_id, folder=tmp_path)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert said_in_one_line(done).startswith(f"default.{told.message_id}.wav: cannot be read as wav: ")


class TestCall:
    def test_without_a_service_it_is_69(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        (tmp_path / "voicemail.yaml").write_text(f"listen: 127.0.0.1:{port}\n")

        done = command("call", "default", folder=tmp_path)

        assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
        assert said_in_one_line(done) == (
            f"no service answers at 127.0.0.1:{port}: Connection refused; run `esl-voicemail serve`"
        )

    @pytest.mark.parametrize("left", ["", "[]", '{"listen": 5}'])
    def test_what_a_server_that_crashed_left_is_passed_over(self, tmp_path: Path, left: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        (tmp_path / "voicemail.yaml").write_text(f"listen: 127.0.0.1:{port}\n")
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
        assert done.stdout.splitlines()[-1].startswith(f"call {listed['call']}: recorded 2.0 s, ended by ")
        assert attached(mail) == A_SECOND * 2
        assert listed["caller"] == {"number": "+48221112233", "name": "Zoë", "withheld": False}
        assert listed["reason"] == "queue-timeout"


READERS = ["--help", "mailbox list", "messages list", "messages show MESSAGE", "render MESSAGE", "check"]


class TestOutput:
    """What becomes of output that nobody can take."""

    @staticmethod
    def into(told: Told, arguments: str, output: Any) -> Done:
        words = arguments.replace("MESSAGE", told.message_id).split()
        return subprocess.run(
            [sys.executable, "-m", "esl_voicemail", *words],
            cwd=told.folder,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    @pytest.mark.parametrize("arguments", READERS)
    def test_a_reader_that_went_away_is_no_error(self, told: Told, arguments: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = self.into(told, arguments, writing)
        finally:
            os.close(writing)

        assert (done.returncode, done.stderr) == (OK, "")

    @pytest.mark.parametrize("arguments", ["mailbox list", "render MESSAGE"])
    def test_a_full_disk_is_1_and_one_line(self, told: Told, arguments: str) -> None:
        with Path("/dev/full").open("wb") as full:
            done = self.into(told, arguments, full)

        assert done.returncode == FAILED
        assert said_in_one_line(done) == "esl-voicemail: [Errno 28] No space left on device"

    @pytest.mark.parametrize("arguments", ["mailbox list", "render MESSAGE"])
    def test_a_closed_output_is_no_error(self, told: Told, arguments: str) -> None:
        words = arguments.replace("MESSAGE", told.message_id)

        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" -m esl_voicemail {words} >&-', sys.executable],
            cwd=told.folder,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

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
