"""What a configuration promises, held against this machine: its journal, its disk, its mails, its sounds."""

import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import esl_voicemail
from esl_voicemail import checks
from esl_voicemail.config import Config, load
from esl_voicemail.errors import ConfigError
from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import FILE, url_of
from esl_voicemail.running import locked
from esl_voicemail.spool import MARK
from tests.support.speech import save, tone

SALES = "mailboxes:\n  sales:\n    recipients: [anna@example.com]\n"
BOTH = f"{SALES}  help:\n    recipients: [help@example.com]\n    language: en\n"
NOBODY = 65534
PACKAGE = Path(esl_voicemail.__file__).parent


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Nothing is wrong with it."""
    path = tmp_path / "voicemail.yaml"
    path.write_text(SALES)
    return load(path)


class TestJournal:
    @pytest.fixture
    def journal(self, config: Config) -> Path:
        config.directory.mkdir()
        Journal(url_of(config.directory), config.recordings).close()
        return config.directory / FILE

    def said(self, config: Config) -> str:
        (problem,) = checks.problems(config)
        place = f"{config.source.name}:1: storage.directory: {config.directory / FILE}: "
        assert problem.startswith(place)
        assert len(problem.splitlines()) == 1
        return problem.removeprefix(place)

    def test_one_of_this_version_is_well_and_stays_as_it_is(self, config: Config, journal: Path) -> None:
        before = journal.read_bytes()

        assert checks.problems(config) == []

        assert list(config.directory.iterdir()) == [journal]
        assert journal.read_bytes() == before

    def test_one_that_a_server_writes_is_well(self, config: Config, journal: Path) -> None:
        writing = Journal(url_of(config.directory), config.recordings)

        assert checks.problems(config) == []

        writing.close()

    def test_an_empty_one_is_well(self, config: Config) -> None:
        config.directory.mkdir()
        (config.directory / FILE).touch()

        assert checks.problems(config) == []

    def test_one_of_a_newer_version_is_told(self, config: Config, journal: Path) -> None:
        with closing(sqlite3.connect(journal)) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
            database.commit()

        assert self.said(config).startswith("the journal was written by a newer version: ")

    def test_one_that_is_cut_short_is_told(self, config: Config, journal: Path) -> None:
        journal.write_bytes(journal.read_bytes()[:3000])

        assert self.said(config) == (
            "the journal cannot be read: database disk image is malformed; put it back from a backup"
        )

    def test_a_file_that_is_none_is_told(self, config: Config) -> None:
        config.directory.mkdir()
        (config.directory / FILE).write_text("These are not the rows you are looking for. " * 100)

        assert (
            self.said(config)
            == "the journal cannot be read: file is not a database; put it back from a backup"
        )

    def test_a_folder_in_its_place_is_told(self, config: Config) -> None:
        (config.directory / FILE).mkdir(parents=True)

        assert self.said(config) == (
            "the journal cannot be read: unable to open database file; is its disk full or read-only?"
        )


class TestDisk:
    @pytest.mark.parametrize(("made", "nearest"), [("", "."), ("var", "var")])
    def test_too_little_room_is_told_before_there_are_recordings(
        self, tmp_path: Path, made: str, nearest: str
    ) -> None:
        path = tmp_path / "voicemail.yaml"
        path.write_text(f"{SALES}storage:\n  min_free_mb: 1000000000000\n")
        (tmp_path / made).mkdir(exist_ok=True)

        (problem,) = checks.problems(load(path))

        assert problem.startswith(f"{path}:5: storage.min_free_mb: {tmp_path / nearest}: ")
        assert problem.endswith(" MiB free, less than 1000000000000")

    def test_room_enough_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "voicemail.yaml"
        path.write_text(f"{SALES}storage: {{min_free_mb: 0}}\n")

        assert checks.problems(load(path)) == []


class TestFolderOfMailboxes:
    def test_a_file_that_is_not_read_is_told(self, config: Config, tmp_path: Path) -> None:
        folder = tmp_path / "mailboxes"
        folder.mkdir()
        for name in ("help.yaml~", ".#other.yml", ".help.yaml.swp", ".DS_Store"):
            (folder / name).touch()
        (folder / "old").mkdir()
        assert checks.problems(config) == []
        for name in ("other.yml", "notes.txt"):
            (folder / name).touch()

        said = "is not read, as its name does not end in .yaml: rename it, or put it elsewhere"
        assert checks.problems(config) == [f"{folder}/{name}: {said}" for name in ("notes.txt", "other.yml")]
        # Nothing to keep a service from its calls for, nor another mailbox from being added.
        assert checks.problems(config, serving=True) == []


class TestTranscribers:
    def test_a_program_that_is_missing_is_told_and_keeps_no_service_from_its_calls(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "voicemail.yaml"
        path.write_text(
            "mailboxes: {sales: {recipients: [anna@example.com]}}\ntranscribers:\n"
            "  there: {command: [sh]}\n  here: {command: [./here.sh]}\n"
            "  nowhere: {command: [no-such-program]}\n  gone: {command: [bin/gone]}\n"
            "  folder: {command: [./]}\n  text: {command: [./voicemail.yaml]}\n"
        )
        (tmp_path / "here.sh").touch(mode=0o755)

        config = load(path)

        missing = "is not there; install it, or name it with its folder"
        assert checks.problems(config) == [
            f"{path}:5: transcribers.nowhere.command[0]: no-such-program: {missing}",
            f"{path}:6: transcribers.gone.command[0]: {tmp_path}/bin/gone: {missing}",
            f"{path}:7: transcribers.folder.command[0]: {tmp_path}: is no program this user can run",
            f"{path}:8: transcribers.text.command[0]: {path}: is no program this user can run",
        ]
        assert checks.problems(config, serving=True) == []


class TestRecordings:
    """Of a storage that has served: its folder bears a mark."""

    @pytest.fixture
    def served(self, config: Config) -> Config:
        config.directory.mkdir()
        config.recordings.mkdir()
        checks.spool_of(config).take()
        assert checks.problems(config) == []
        return config

    @staticmethod
    def said(config: Config) -> str:
        (problem,) = checks.problems(config)
        assert problem.startswith(f"{config.source.name}:1: storage.recordings: {config.recordings}: ")
        return problem

    def test_an_empty_mount_point_is_told(self, served: Config) -> None:
        served.recordings.rename(served.directory / "unmounted")
        served.recordings.mkdir()

        assert "is not the folder used before, as its mark .esl-voicemail is missing" in self.said(served)

    def test_another_storage_s_is_told(self, served: Config) -> None:
        (served.recordings / MARK).write_text("another\n")

        assert "its mark .esl-voicemail is another storage directory's" in self.said(served)

    def test_one_that_is_gone_is_told(self, served: Config) -> None:
        shutil.rmtree(served.recordings)

        assert "no such folder" in self.said(served)

    def test_a_service_starts_all_the_same_and_hands_calls_back(self, served: Config) -> None:
        shutil.rmtree(served.recordings)

        assert checks.problems(served, serving=True) == []
        checks.prepare(served)


class TestRights:
    """As a user who may not what he must."""

    @pytest.fixture
    def storage(self) -> Iterator[Path]:
        """A storage that has served, in a folder that every user can enter."""
        folder = Path(tempfile.mkdtemp(prefix="esl-voicemail-"))
        folder.chmod(0o777)
        (folder / "voicemail.yaml").write_text(f"{SALES}storage: {{directory: ./var}}\n")
        config = load(folder / "voicemail.yaml")
        config.directory.mkdir()
        config.recordings.mkdir()
        checks.spool_of(config).take()
        Journal(url_of(config.directory), config.recordings).close()
        with locked(config.directory):
            pass
        for path in (config.directory, config.recordings, *config.directory.iterdir()):
            path.chmod(0o777)
        yield config.directory
        config.directory.chmod(0o777)
        shutil.rmtree(folder)

    @staticmethod
    def said(storage: Path, verb: str) -> tuple[int, list[str]]:
        """Run a command as one who owns nothing or, where that is not ours to do, as ourselves."""
        become = (
            "import contextlib, io, os, sys\n"
            "from esl_voicemail.__main__ import run\n"
            "import esl_voicemail.app\n"
            # Imports what it needs while it may.
            "with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):\n"
            "    run(['check', *sys.argv[2:]])\n"
            f"try: os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "except PermissionError: pass\n"
            "sys.exit(run(sys.argv[1:]))"
        )
        config = str(storage.parent / "voicemail.yaml")
        done = subprocess.run(
            [sys.executable, "-c", become, verb, "--config", config],
            cwd=storage.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Where the program lies may be out of that user's reach too.
        return done.returncode, [line for line in done.stderr.splitlines() if ": storage." in line]

    @pytest.mark.parametrize("verb", ["check", "serve"])
    @pytest.mark.parametrize(
        ("path", "mode"),
        [
            (".", 0),
            (".", 0o555),
            ("lock", 0o444),
            ("recordings.id", 0),
            (FILE, 0),
            (FILE, 0o444),
        ],
    )
    def test_it_is_78_and_a_line_that_says_what_to_do(
        self, storage: Path, path: str, mode: int, verb: str
    ) -> None:
        (storage / path).chmod(mode)
        owner, me = pwd.getpwuid(os.getuid()).pw_name, pwd.getpwuid(NOBODY).pw_name
        todo = (
            f"run as {owner}, or chown -R {me} {storage}" if os.getuid() == 0 else f"chmod -R u+rwX {storage}"
        )

        code, lines = self.said(storage, verb)

        assert (code, lines) == (
            78,
            [
                f"{storage.parent}/voicemail.yaml:4: storage.directory: {storage / path}: "
                f"this user may not read and write it: {todo}"
            ],
        )


Check = Callable[[Path], list[str]]


@pytest.mark.usefixtures("default_ports")
class TestInstallation:
    """The checks of a whole installation of its own, which may lie and be broken as it likes."""

    @pytest.fixture
    def check(self, tmp_path: Path) -> Check:
        (tmp_path / "voicemail.yaml").write_text(BOTH)

        def check(place: Path) -> list[str]:
            done = subprocess.run(
                [sys.executable, "-m", "esl_voicemail", "check", "--config", tmp_path / "voicemail.yaml"],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stdout) == (78, "") if done.stderr else (0, done.stdout)
            return [line.removeprefix(f"{tmp_path}/") for line in done.stderr.splitlines()]

        return check

    @staticmethod
    def installed(place: Path) -> Path:
        """Install the program into a folder and return that of its package."""
        package = place / "esl_voicemail"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PACKAGE.parent / "greetings", package / "greetings", dirs_exist_ok=True)
        return package

    def test_one_as_it_is_shipped_is_well(self, tmp_path: Path, check: Check) -> None:
        self.installed(tmp_path / "program")

        assert check(tmp_path / "program") == []

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{{ nobody_says_this }}", "'nobody_says_this' is undefined"),
            ("{% if %}", "Expected an expression, got 'end of statement block'"),
        ],
    )
    @pytest.mark.parametrize("name", ["call", "voicemail", "empty", "failed", "undelivered"])
    def test_a_template_that_fails_is_told_for_the_mailbox_that_needs_it(
        self, tmp_path: Path, check: Check, name: str, text: str, said: str
    ) -> None:
        template = self.installed(tmp_path / "program") / "mail" / "templates" / f"en.{name}.j2"
        template.write_text(f"{{# a comment #}}\n{text}")

        assert check(tmp_path / "program") == [f"voicemail.yaml:4: mailboxes.help: {template}:2: {said}"]

    @pytest.mark.parametrize(
        ("name", "branch"),
        [
            ("voicemail", "{% if left_out %}{{ nobody_says_this }}{% endif %}"),
            ("voicemail", "{% if transcript and clipped %}{{ nobody_says_this }}{% endif %}"),
            ("voicemail", "{% if withheld %}{{ nobody_says_this }}{% endif %}"),
            ("empty", "{% if threaded %}{{ nobody_says_this }}{% endif %}"),
            ("failed", "{% if not threaded %}{{ nobody_says_this }}{% endif %}"),
            ("undelivered", "{% if not given_up %}{{ nobody_says_this }}{% endif %}"),
        ],
    )
    def test_every_sort_of_mail_is_tried(self, tmp_path: Path, check: Check, name: str, branch: str) -> None:
        template = self.installed(tmp_path / "program") / "mail" / "templates" / f"en.{name}.j2"
        template.write_text(template.read_text() + branch)

        (said,) = check(tmp_path / "program")
        assert said.startswith(f"voicemail.yaml:4: mailboxes.help: {template}:")
        assert said.endswith(": 'nobody_says_this' is undefined")

    @pytest.mark.parametrize("kind", ["voicemail", "empty", "failed", "undelivered"])
    def test_a_template_that_is_missing_is_told(self, tmp_path: Path, check: Check, kind: str) -> None:
        package = self.installed(tmp_path / "program")
        (package / "mail" / "templates" / f"pl.{kind}.j2").unlink()

        (said,) = check(tmp_path / "program")
        assert said.startswith("voicemail.yaml:2: mailboxes.sales: ")
        assert said.endswith(f": there is no template pl.{kind}.j2")

    def test_shipped_sounds_that_the_switch_would_misread_belong_elsewhere(
        self, tmp_path: Path, check: Check
    ) -> None:
        package = self.installed(tmp_path / "o'clock")

        assert check(tmp_path / "o'clock") == [
            f"voicemail.yaml:1: mailboxes: {package}/greetings/{language}: the switch would misread one of "
            "'\"\\${}! in the shipped greetings' path; install the program elsewhere"
            for language in ("pl", "en")
        ]

    def test_a_greeting_of_one_s_own_is_to_be_moved(self, tmp_path: Path) -> None:
        folder = tmp_path / "o'clock"
        folder.mkdir()
        path = folder / "voicemail.yaml"
        path.write_text(
            f"storage: {{directory: {tmp_path}/var}}\n{SALES}    greetings: {{busy: hello.wav}}\n"
        )

        assert checks.problems(load(path)) == [
            f"{path}:5: mailboxes.sales.greetings.busy: {folder}/greetings/hello.wav: "
            "the switch would misread one of '\"\\${}!; move it"
        ]


def test_a_greeting_that_goes_while_it_is_looked_at_is_said_with_its_place(tmp_path: Path) -> None:
    greeting = save(tmp_path / "sales.wav", tone(1.0))
    path = tmp_path / "voicemail.yaml"
    path.write_text(f"{SALES}    greetings: {{default: sales.wav}}\n")
    config = load(path)
    assert checks.greeting_seconds(config)[str(greeting)] == 1.0
    greeting.unlink()
    with pytest.raises(ConfigError) as told:
        checks.greeting_seconds(config)
    [problem] = told.value.problems
    assert problem.startswith(f"{config.source.name}:4: mailboxes.sales.greetings.default: {greeting}: ")


def test_a_clock_that_is_behind_the_journal_is_told_of(config: Config) -> None:
    config.directory.mkdir()
    Journal(url_of(config.directory), config.recordings).close()
    assert checks.problems(config) == []
    ahead = time.time() + 3600
    os.utime(config.directory / FILE, (ahead, ahead))
    [problem] = checks.problems(config)
    assert "set the clock" in problem
    assert checks.problems(config, serving=True) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (None, "probe.switch.password_file: .*/password: cannot be read"),
        ("", "must hold one line"),
        ("one\ntwo", "must hold one line"),
    ],
)
def test_a_switch_s_password_that_is_none_is_told_of(tmp_path: Path, words: str | None, said: str) -> None:
    path = tmp_path / "voicemail.yaml"
    path.write_text(f"probe: {{switch: {{password_file: password}}}}\n{SALES}")
    if words is not None:
        (tmp_path / "password").write_text(words)
    [problem] = checks.problems(load(path))
    assert re.search(said, problem)
    assert checks.problems(load(path), serving=True) == []


def test_a_switch_without_a_password_is_not_asked(config: Config) -> None:
    with pytest.raises(ConfigError, match="--password-file: is not given"):
        checks.console_password(config)
