"""`mailbox add` and `remove`, whole or not at all; and a service that takes what changed by itself."""

# ruff: noqa: E501 - in the table of refusals, a case keeps to its line

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.config import load
from esl_voicemail.config.changes import add_mailbox
from esl_voicemail.config.source import parse, write
from esl_voicemail.errors import ConfigError
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.watching import Watch
from tests.support.service import Service, command, running, until
from tests.support.speech import tone

ROOT = Path(__file__).parent.parent
OK, FAILED, USAGE, BAD_CONFIG = 0, 1, 64, 78
SALES = "mailboxes:  # by hand\n  sales:\n    recipients: [s@example.com]\n    numbers: ['11']\n"
SPEECH = tone(2.0)


# As one who owns nothing or, where that is not ours to do, as ourselves.
_AS_NOBODY = """
import os
from pathlib import Path
from esl_voicemail.config import changes, load
from esl_voicemail.errors import VoicemailError
path, none = Path('{path}'), lambda _: []
load(path)  # imports what it needs while it may
try:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
except PermissionError:
    pass
try:
    {change}
except VoicemailError as error:
    print(error)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration of one mailbox."""
    (tmp_path / "voicemail.yaml").write_text(SALES)
    return tmp_path


def run(line: str, folder: Path, code: int = OK) -> str:
    """Run `mailbox …` and return what it said: its output when it is to succeed, else the one error."""
    done = command("mailbox", *shlex.split(line), folder=folder)
    assert done.returncode == code, done
    if code == OK:
        assert done.stderr == ""
        return done.stdout
    assert done.stdout == ""
    (said,) = done.stderr.splitlines()
    return said


def files(folder: Path) -> dict[str, str]:
    """Return what lies in the folder of mailboxes."""
    place = folder / "mailboxes"
    return {path.name: path.read_text() for path in place.iterdir()} if place.exists() else {}


class TestAdd:
    def test_a_mailbox_has_a_file_that_a_person_can_read(self, folder: Path) -> None:
        said = run(
            "add help --name 'Pomoc – dział' --to anna@example.com 'Jan Łoś <jan@example.com>' --number 22 +4833 "
            "--reply-to help@example.com --language en --hours mon-fri=08:00-12:00,13:00-16:00 "
            "sat=09:00-13:00 --holidays pl --closed 12-24 2026-12-27..2026-12-31 --promise --no-keep-digits "
            "--operator '1000 XML default' --max-seconds 60",
            folder,
        )

        assert said == "mailboxes/help.yaml: written; a running service takes it within seconds\n"
        assert files(folder) == {
            "help.yaml": """\
# Made by `esl-voicemail mailbox add help`; edit it as you like. voicemail.yaml explains the keys.
name: Pomoc – dział
numbers:
- '22'
- '+4833'
recipients:
- anna@example.com
- Jan Łoś <jan@example.com>
reply_to: help@example.com
language: en
hours:
  mon-fri: 08:00-12:00,13:00-16:00
  sat: 09:00-13:00
holidays: pl
closed:
- 12-24
- 2026-12-27..2026-12-31
promise: true
operator: 1000 XML default
max_seconds: 60
keep_digits: false
"""
        }
        assert (folder / "voicemail.yaml").read_text() == SALES
        one = load(folder / "voicemail.yaml").mailboxes["help"]
        assert one.addresses == ("anna@example.com", "jan@example.com")
        assert (one.numbers, one.language, one.holidays) == (("22", "+4833"), "en", "PL")
        assert (one.promise, one.keep_digits, one.operator) == (True, False, "1000 XML default")

    def test_every_setting_of_a_mailbox_has_an_option(self, folder: Path) -> None:
        (folder / "hello.wav").write_bytes((ROOT / "greetings/pl/default.wav").read_bytes())
        run(
            "add help --to a@example.com --timezone Europe/London --region GB --attachment mp3 --min-seconds 2 "
            "--min-speech-seconds 0.5 --silence-seconds 5 --notify-empty always --review --ask-number --no-promise "
            "--greeting busy=hello.wav holiday=hello.wav --promise-file today=hello.wav --transcriber none",
            folder,
        )

        settings = yaml.safe_load(files(folder)["help.yaml"])
        assert settings == {
            "recipients": ["a@example.com"],
            "timezone": "Europe/London",
            "region": "GB",
            "attachment": "mp3",
            "min_seconds": 2,
            "min_speech_seconds": 0.5,
            "silence_seconds": 5,
            "notify_empty": "always",
            "review": True,
            "ask_number": True,
            "promise": False,
            "greetings": {"busy": "hello.wav", "holiday": "hello.wav"},
            "promises": {"today": "hello.wav"},
            "transcriber": "none",
        }

    def test_a_day_named_twice_is_open_at_both_times(self, folder: Path) -> None:
        run("add help --to a@b.pl --hours mon=08:00-12:00 --hours mon=13:00-16:00", folder)

        assert yaml.safe_load(files(folder)["help.yaml"])["hours"] == {"mon": "08:00-12:00, 13:00-16:00"}

    def test_without_a_configuration_the_folder_is_made_where_one_works(self, tmp_path: Path) -> None:
        run("add help --to h@example.com", tmp_path)
        run("add default --to d@example.com", tmp_path)

        assert [line.split() for line in run("list", tmp_path).splitlines()] == [
            ["default", "default", "d@example.com"],
            ["help", "help", "h@example.com"],
        ]

    def test_a_folder_of_another_name_is_used(self, folder: Path) -> None:
        (folder / "more").mkdir()
        (folder / "voicemail.yaml").write_text(f"{SALES}mailboxes_dir: more\n")

        assert run("add help --to h@example.com", folder).startswith("more/help.yaml: written")
        assert files(folder) == {}

    @pytest.mark.parametrize(
        ("line", "code", "said"),
        [
            ("add sales --to a@b.pl", FAILED, "voicemail.yaml:2: there is a mailbox sales already"),
            ("add desk --to a@b.pl", FAILED, "FOLDER/mailboxes/desk.yaml:2: there is a mailbox desk already"),
            ("add Sales --to a@b.pl", FAILED, "'Sales': a mailbox's key holds a-z, 0-9, _ and - only, at most 32, and starts with a letter or digit"),
            ("add ../x --to a@b.pl", FAILED, "'../x': a mailbox's key holds a-z, 0-9, _ and - only, at most 32, and starts with a letter or digit"),
            ("add help --to a@b.pl --number 11", BAD_CONFIG, "mailboxes.help.numbers[0]: 11 already means the mailbox sales; keep one"),
            ("add help --to a@b.pl --number 44 +33", BAD_CONFIG, "mailboxes.help.numbers[1]: +33 already means the mailbox desk as 33; keep one"),
            ("add help --to a@b.pl anna", BAD_CONFIG, "mailboxes.help.recipients[1]: 'anna' is no mail address: An email address must have an @-sign."),
            ("add help --to a@b.pl A@b.pl", BAD_CONFIG, "mailboxes.help.recipients[1]: a@b.pl stands twice; keep one"),
            ("add help --to a@b.pl --hours monday=8:00-9:00", BAD_CONFIG, "mailboxes.help.hours.monday: 'monday' is no day or span of days: write mon, or mon-fri"),
            ("add help --to a@b.pl --closed 24.12", BAD_CONFIG, "mailboxes.help.closed[0]: '24.12' is no day: write 2026-12-24, 2026-12-24..2026-12-31, or 12-24 for every year"),
            ("add help --to a@b.pl --holidays Polska", BAD_CONFIG, "mailboxes.help.holidays: 'POLSKA': no public holidays are known for it; write a country such as PL"),
            ("add help --to a@b.pl --promise", BAD_CONFIG, "mailboxes.help.promise: is counted from hours, and there are none; give hours too"),
            ("add help --to a@b.pl --operator -both", USAGE, "esl-voicemail mailbox add: argument --operator: expected one argument; see esl-voicemail mailbox add --help"),
            ("add help --to a@b.pl --operator=-both", BAD_CONFIG, "mailboxes.help.operator: '-both' is no extension: write one as in \"1000\", or \"1000 XML default\""),
            ("add help --to a@b.pl --greeting busy=gone.wav", BAD_CONFIG, "mailboxes.help.greetings.busy: FOLDER/greetings/gone.wav: is no sound the switch can play: gone.wav: No such file or directory"),
            ("add help --to a@b.pl --max-seconds 1", BAD_CONFIG, "mailboxes.help.max_seconds: min_seconds 1 is not below max_seconds 1: no message would be long enough"),
            ("add help --to a@b.pl --hours mon", USAGE, "esl-voicemail mailbox add: argument --hours: 'mon' has no =; see esl-voicemail mailbox add --help"),
            ("add help --name Help", USAGE, "esl-voicemail mailbox add: the following arguments are required: --to; see esl-voicemail mailbox add --help"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(
        self, folder: Path, line: str, code: int, said: str
    ) -> None:
        run("add desk --to d@example.com --number 33", folder)
        before = files(folder)

        assert run(line, folder, code) == said.replace("FOLDER", str(folder))
        assert files(folder) == before

    def test_a_folder_is_not_made_for_what_is_refused(self, folder: Path) -> None:
        run("add help --to anna", folder, BAD_CONFIG)

        assert not (folder / "mailboxes").exists()

    def test_a_configuration_that_is_broken_already_is_told_by_its_own_line(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text("lisen: x\n")

        assert run("add help --to a@b.pl", folder, BAD_CONFIG).startswith("voicemail.yaml:1: lisen:")

    def test_trouble_that_was_there_before_is_no_reason_to_refuse(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text(f"{SALES}    greetings: {{busy: gone.wav}}\n")

        run("add help --to a@b.pl", folder)

    def test_a_folder_that_cannot_be_made_is_one_line(self, folder: Path) -> None:
        (folder / "mailboxes").touch()

        assert run("add help --to a@b.pl", folder, FAILED) == (
            f"{folder}/mailboxes: cannot be made: File exists"
        )

    def test_the_service_s_user_may_read_it_whatever_the_umask(self, folder: Path) -> None:
        mask = os.umask(0o077)
        try:
            add_mailbox(folder / "voicemail.yaml", "help", {"recipients": ["a@b.pl"]}, lambda _: [])
        finally:
            os.umask(mask)

        modes = [(folder / name).stat().st_mode & 0o777 for name in ("mailboxes", "mailboxes/help.yaml")]
        assert modes == [0o755, 0o644]

    @pytest.mark.parametrize("verb", ["make", "add", "remove"])
    def test_who_may_not_write_is_told_the_folder_and_who_may(self, verb: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "voicemail.yaml").write_text(SALES)
            place = folder
            if verb != "make":
                place = folder / "mailboxes"
                run("add help --to h@example.com", folder)
            place.chmod(0o555)
            folder.chmod(0o555)
            change = (
                'changes.remove_mailbox(path, "help", none)'
                if verb == "remove"
                else 'changes.add_mailbox(path, "desk", {"recipients": ["a@b.pl"]}, none)'
            )
            done = subprocess.run(
                [sys.executable, "-c", _AS_NOBODY.format(path=folder / "voicemail.yaml", change=change)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            folder.chmod(0o755)
            place.chmod(0o755)
        owner = pwd.getpwuid(os.getuid()).pw_name
        what = f"{folder}/mailboxes: cannot be made" if verb == "make" else f"{place}: cannot be written"
        assert (done.stderr, done.stdout) == (
            "",
            f"{what}: Permission denied; run this as {owner}, who owns {place}\n",
        )

    @pytest.mark.parametrize("name", [".#help.yaml", "._help.yaml", ".yaml"])
    def test_what_an_editor_leaves_beside_a_file_is_no_mailbox(self, folder: Path, name: str) -> None:
        run("add help --to h@example.com", folder)
        (folder / "mailboxes" / name).symlink_to("me@host.1")

        assert [line.split()[0] for line in run("list", folder).splitlines()] == ["sales", "help"]
        run("add desk --to d@example.com", folder)
        assert command("check", folder=folder).returncode == OK

    def test_of_many_at_once_with_one_number_one_is_there(self, folder: Path) -> None:
        many = [
            subprocess.Popen(
                [sys.executable, "-m", "esl_voicemail", "mailbox", "add", f"m{n}", "--to", "a@b.pl", "--number", "9"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for n in range(4)
        ]  # fmt: skip

        assert sorted(one.wait(60) for one in many) == [OK, BAD_CONFIG, BAD_CONFIG, BAD_CONFIG]
        assert len(files(folder)) == 1


class TestShow:
    @staticmethod
    def sounds(folder: Path, name: str) -> dict[str, tuple[str, str]]:
        settings = json.loads(run(f"show {name} --json", folder))["settings"]
        kinds = ("greeting ", "promise ", "sound ")
        return {
            key: (Path(one["value"]).name, one["from"])
            for key, one in settings.items()
            if key.startswith(kinds)
        }

    def test_the_sounds_are_those_that_a_call_hears(self, folder: Path) -> None:
        for name in ("soon.wav", "night.wav"):
            (folder / name).write_bytes((ROOT / "greetings/pl/default.wav").read_bytes())
        run("add keys --to a@b.pl --review --ask-number --operator 1000", folder)
        run(
            "add own --to a@b.pl --hours mon=08:00-16:00 --promise --promise-file next-working-day=soon.wav "
            "--greeting default=night.wav",
            folder,
        )

        shown = self.sounds(folder, "keys")
        for name in ("review", "operator", "leave-number", "thanks", "apology"):
            assert shown[f"sound {name}"] == (f"{name}.wav", "built in")
        assert not [key for key in shown if key.startswith("promise ")]
        shown, file = self.sounds(folder, "own"), f"{folder}/mailboxes/own.yaml"
        assert {key for key in shown if key.startswith("sound ")} == {"sound thanks", "sound apology"}
        assert shown["promise today"] == ("promise-today.wav", "built in")
        assert shown["promise fri"] == shown["promise next-working-day"]
        assert shown["promise fri"][0] == "soon.wav"
        assert shown["promise fri"][1].startswith(f"{file}:")


class TestRemove:
    def test_a_file_of_the_folder_goes(self, folder: Path) -> None:
        run("add help --to h@example.com", folder)

        said = run("remove help", folder)

        assert said == "mailboxes/help.yaml: removed; a running service lets it go within seconds\n"
        assert files(folder) == {}
        assert (folder / "voicemail.yaml").read_text() == SALES

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("remove sales", "voicemail.yaml:2: sales stands there, not in a file of its own; edit it"),
            ("remove nobody", "no mailbox 'nobody'; there are sales, help"),
        ],
    )
    def test_what_has_no_file_stays(self, folder: Path, line: str, said: str) -> None:
        run("add help --to h@example.com", folder)

        assert run(line, folder, FAILED) == said
        assert list(files(folder)) == ["help.yaml"]

    def test_the_only_one_stays(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text("log: {format: json}\n")
        run("add help --to h@example.com", folder)

        assert run("remove help", folder, FAILED) == (
            f"{folder}/mailboxes/help.yaml: help is the only mailbox; add another one first"
        )

    def test_the_one_that_nobody_wrote_has_no_file(self, tmp_path: Path) -> None:
        assert run("remove default", tmp_path, FAILED) == "default is built in: there is no file of it"


class TestKilled:
    """SIGKILL before each line of the change, in a real process: the old state or the new one."""

    @pytest.fixture(params=["add", "remove"])
    def deaths(self, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, list[dict[str, object]]]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.killed_changes", request.param],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        return request.param, [json.loads(line) for line in done.stdout.splitlines()]

    def test_a_change_that_is_cut_off_anywhere_is_whole_or_none(
        self, deaths: tuple[str, list[dict[str, object]]]
    ) -> None:
        verb, ends = deaths
        *killed, last = ends
        old, new = (["sales"], ["help", "sales"]) if verb == "add" else (["help", "sales"], ["sales"])
        assert len(killed) > 10
        assert {end["code"] for end in killed} == {-signal.SIGKILL}
        assert (last["code"], last["mailboxes"]) == (0, new)
        # First the old state, then the new one, and never back.
        states = [end["mailboxes"] for end in ends]
        turn = states.index(new)
        assert states == [old] * turn + [new] * (len(states) - turn)
        assert 0 < turn < len(states) - 1
        # A draft may be left, which is no mailbox, and the next change takes it over.
        drafts = [name for end in ends for name in end["left"] if name != "help.yaml"]
        assert set(drafts) == ({".help.yaml.new"} if verb == "add" else set())
        assert all(end["after"] == (["help.yaml"] if verb == "add" else []) for end in ends)


@given(
    st.recursive(
        st.one_of(st.text(), st.booleans(), st.integers(-(1 << 60), 1 << 60)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text().filter(lambda key: key != "<<"), inner, max_size=4)
        ),
        max_leaves=10,
    ).map(lambda value: {"value": value})
)  # fmt: skip
def test_what_is_written_reads_back(values: dict[str, object]) -> None:
    assert parse(write(values), "written", Path("/")).values == values


# --- the service takes what changed by itself --------------------------------------------------------


def reloads(service: Service) -> list[str]:
    return [line["result"] for line in service.lines("reload")]


def test_a_running_service_takes_a_mailbox_and_lets_it_go_by_itself(tmp_path: Path) -> None:
    mailboxes = {"default": {"recipients": ["d@example.com"]}}
    with running(tmp_path, {"mailboxes": mailboxes}) as service:
        run("add night --to n@example.com", tmp_path)
        until(lambda: reloads(service) == ["taken"], "the reload")
        service.call(TrialCaller(speech=SPEECH), "night")
        assert [mail["To"] for mail in service.mails(1)] == ["n@example.com"]

        run("remove night", tmp_path)
        until(lambda: reloads(service) == ["taken"] * 2, "the reload")
        service.call(TrialCaller(speech=SPEECH), "night")
        assert sorted(mail["To"] for mail in service.mails(2)) == ["d@example.com", "n@example.com"]

        # A bad file is told once and changes nothing; once it is good, it is taken.
        bad = tmp_path / "mailboxes" / "bad.yaml"
        bad.write_text("recipients: [nobody]\n")
        until(lambda: reloads(service)[2:] == ["refused"], "the refusal")
        (told,) = service.lines("reload_refused")
        assert told["why"].startswith(f"{bad}:1: mailboxes.bad.recipients[0]: 'nobody' is no mail address")
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000
        bad.write_text("recipients: [somebody@example.com]\n")
        until(lambda: reloads(service)[3:] == ["taken"], "the reload, and no other refusal before it")

        # The configuration itself, too; what the signal has read already is not read again.
        service.config.write_text(service.config.read_text().replace("d@example.com", "e@example.com"))
        service.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(service)[4:] == ["taken"], "the reload")
        service.config.write_text(service.config.read_text().replace("e@example.com", "f@example.com"))
        until(lambda: reloads(service)[5:] == ["taken"], "the reload")
        service.call(TrialCaller(speech=SPEECH))
        assert service.mails(4)[-1]["To"] == "f@example.com"
        run("add day --to day@example.com", tmp_path)
        until(lambda: reloads(service)[6:] == ["taken"], "one reload for each change, and no more")
        assert service.stop() == 0


class TestWatch:
    """Look by look, so that what comes between two is certain."""

    @pytest.fixture
    def watch(self, folder: Path) -> Watch:
        watch = Watch(folder / "voicemail.yaml")
        watch.read()
        return watch

    def said(self, watch: Watch, looks: int = 5) -> int:
        """How often it says in so many looks that files have changed."""
        return sum(watch.noticed() for _ in range(looks))

    def test_nothing_is_said_while_nothing_changes(self, watch: Watch) -> None:
        assert self.said(watch) == 0

    @pytest.mark.parametrize(
        "kind", ["new", "changed", "same size", "renamed", "gone", "mode", "no folder", "config"]
    )
    def test_every_change_is_said_once(self, folder: Path, watch: Watch, kind: str) -> None:
        place = folder / "mailboxes"
        place.mkdir()
        file = place / "help.yaml"
        file.write_text("recipients: [a@b.pl]\n")
        watch.read()
        assert self.said(watch) == 0
        match kind:
            case "new":
                (place / "desk.yaml").write_text("recipients: [a@b.pl]\n")
            case "changed":
                file.write_text("recipients: [abc@b.pl]\n")
            case "same size":
                file.write_text("recipients: [b@b.pl]\n")
            case "renamed":
                file.rename(place / "desk.yaml")
            case "gone":
                file.unlink()
            case "mode":
                file.chmod(0o640)
            case "no folder":
                file.unlink()
                place.rmdir()
            case "config":
                (folder / "voicemail.yaml").unlink()

        assert self.said(watch) == 1

    def test_what_is_no_mailbox_is_no_change(self, folder: Path, watch: Watch) -> None:
        (folder / "mailboxes").mkdir()
        assert self.said(watch) == 1
        for name in (".help.yaml.new", "._help.yaml", "help.yaml~"):
            (folder / "mailboxes" / name).write_text("half")
        (folder / "mailboxes" / ".#help.yaml").symlink_to("me@host.1")
        (folder / "notes.txt").write_text("x")

        assert self.said(watch) == 0

    def test_what_was_read_meanwhile_is_no_change(self, folder: Path, watch: Watch) -> None:
        for n in range(10):
            (folder / "voicemail.yaml").write_text(f"{SALES}# {n}\n")
            watch.read()

            assert self.said(watch) == 0

    def test_what_is_refused_is_read_once(self, folder: Path, watch: Watch) -> None:
        (folder / "voicemail.yaml").write_text("lisen: x\n")
        assert self.said(watch) == 1
        with pytest.raises(ConfigError):
            watch.read()

        assert self.said(watch) == 0

    def test_nothing_is_said_before_files_stand_still(self, folder: Path, watch: Watch) -> None:
        for n in range(40):
            (folder / "voicemail.yaml").write_text(f"{SALES}# {'x' * n}\n")
            assert not watch.noticed()

        assert watch.noticed()

    def test_a_state_that_comes_back_is_a_change_again(self, folder: Path, watch: Watch) -> None:
        file = folder / "mailboxes" / "help.yaml"
        file.parent.mkdir()
        assert self.said(watch) == 1
        watch.read()
        for _ in range(4):
            if file.exists():
                file.unlink()
            else:
                file.write_text("recipients: [a@b.pl]\n")
            assert self.said(watch) == 1
            watch.read()

    def test_another_folder_is_followed_once_it_is_named(self, folder: Path, watch: Watch) -> None:
        (folder / "more").mkdir()
        (folder / "voicemail.yaml").write_text(f"{SALES}mailboxes_dir: more\n")
        watch.read()
        assert self.said(watch) == 0
        (folder / "more" / "help.yaml").write_text("recipients: [a@b.pl]\n")
        assert self.said(watch) == 1
