"""`greeting import`, `say`, `list` and `check` through real processes: what they print, write and refuse."""

import os
import re
import shutil
from pathlib import Path

import pytest

from esl_voicemail.promise import KINDS as KINDS_OF_PROMISES
from tests.support.service import command
from tests.support.sounds import KINDS, encode, heard, joined, note, silence
from tests.support.speech import save, tone

OK, FAILED, USAGE, BAD_CONFIG = 0, 1, 64, 78

CONFIG = """\
mailboxes:
  sales:
    recipients: [anna@example.com]
    greetings: {busy: sales.wav}
  default:
    language: en
    recipients: [jan@example.com]
"""
TELEPHONE = KINDS["AAC of a telephone"]
ESPEAK = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, and beside it a recording of somebody's telephone."""
    (tmp_path / "voicemail.yaml").write_text(CONFIG)
    encode(tmp_path / "Dział sprzedaży.m4a", joined(silence(0.8), note(2), silence(1.2)), TELEPHONE)
    return tmp_path


def unnoted(text: str) -> list[str]:
    """The lines of an output without the note that a temporary folder is closed to other users."""
    return [line for line in text.splitlines() if " is closed to users outside its group" not in line]


class TestImport:
    def test_it_says_what_was_done_and_what_is_left_to_do(self, folder: Path) -> None:
        done = command("greeting", "import", "Dział sprzedaży.m4a", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        path = folder / "greetings" / "dzial-sprzedazy.wav"
        lines = unnoted(done.stdout)
        assert re.fullmatch(
            r"Dział sprzedaży\.m4a: aac, 44100 Hz mono, 4\.0 s, -2[34]\.\d LUFS\n"
            r"cut 0\.8 s of silence at the beginning and 1\.0 s of silence at the end\n"
            r"raised by [23]\.\d dB to -21\.0 LUFS, peak -1[78]\.\d dBFS\n"
            r"aac, 44100 Hz mono -> 16-bit PCM, 8000 Hz mono, 2\.[23] s",
            "\n".join(lines[:4]),
        )
        assert lines[4:] == [str(path), "for a mailbox:  greetings: {default: dzial-sprzedazy.wav}"]
        assert (heard(path).rate, path.stat().st_mode & 0o777) == (8000, 0o644)

    def test_the_line_it_gives_is_what_a_mailbox_needs(self, folder: Path) -> None:
        done = command("greeting", "import", "Dział sprzedaży.m4a", "--name", "closed", folder=folder)
        given = done.stdout.partition("for a mailbox:  ")[2]
        (folder / "voicemail.yaml").write_text(
            f"mailboxes:\n  help:\n    recipients: [a@example.com]\n    {given}"
        )

        checked = command("check", folder=folder)
        shown = command("mailbox", "show", "help", folder=folder)

        assert (checked.returncode, checked.stderr) == (OK, "")
        [line] = [line for line in shown.stdout.splitlines() if line.startswith("greeting default ")]
        assert f" {folder}/greetings/closed.wav " in line

    def test_a_greeting_that_a_mailbox_names_already_is_used_from_now_on(self, folder: Path) -> None:
        done = command("greeting", "import", "Dział sprzedaży.m4a", "--name", "sales", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout.splitlines()[-1].startswith("used by sales: busy: send the service SIGHUP")

    def test_a_name_that_is_taken_is_kept_without_force(self, folder: Path) -> None:
        (folder / "greetings").mkdir()
        path = save(folder / "greetings" / "sales.wav", tone(1.0))
        before = path.read_bytes()

        refused = command("greeting", "import", "Dział sprzedaży.m4a", "--name", "sales.wav", folder=folder)
        assert (refused.returncode, refused.stdout) == (FAILED, "")
        assert refused.stderr == (
            f"{path}: is there already; give another --name, or --force to replace it\n"
        )
        assert path.read_bytes() == before

        forced = command(
            "greeting", "import", "Dział sprzedaży.m4a", "--name", "sales", "--force", folder=folder
        )
        assert (forced.returncode, forced.stderr) == (OK, "")
        assert path.read_bytes() != before
        assert forced.stdout.splitlines()[-1] == (
            "used by sales: busy: send the service SIGHUP, as it knows how long its greetings are"
        )

    def test_the_original_is_never_written_over(self, folder: Path) -> None:
        (folder / "greetings").mkdir()
        path = encode(folder / "greetings" / "sales.wav", note(2))
        before = path.read_bytes()

        done = command("greeting", "import", "greetings/sales.wav", "--force", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == f"{path}: is the original, which stays as it is; give another --name\n"
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("file", "said"),
        [
            ("gone.mp3", "gone.mp3: cannot be read: No such file or directory"),
            (
                "voicemail.yaml",
                "voicemail.yaml: is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
            ),
            (
                "http://127.0.0.1:1/a.mp3",
                "http:/127.0.0.1:1/a.mp3: cannot be read: No such file or directory",
            ),
        ],
    )
    def test_what_is_no_sound_is_1_and_one_line_and_leaves_nothing(
        self, folder: Path, file: str, said: str
    ) -> None:
        done = command("greeting", "import", file, folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert re.sub(r"read \(.+\)", "read (WHY)", done.stderr) == f"{said}\n"
        assert not (folder / "greetings").exists()

    @pytest.mark.parametrize("name", ["a b", "Sales", "../a", "a!b", "", "-a", "ż"])
    def test_a_name_that_the_switch_could_misread_is_64(self, folder: Path, name: str) -> None:
        done = command("greeting", "import", "Dział sprzedaży.m4a", f"--name={name}", folder=folder)

        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr.startswith("esl-voicemail greeting import: argument --name: must hold a-z, 0-9,")

    def test_a_file_whose_name_leaves_nothing_needs_one(self, folder: Path) -> None:
        save(folder / "привет.wav", tone(1.0))

        done = command("greeting", "import", "привет.wav", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == "привет.wav: no letter of its name can be kept; give --name\n"

    def test_many_are_made_at_once_and_each_that_is_refused_says_why(self, folder: Path) -> None:
        encode(folder / "sales.wav", note(2))
        (folder / "elsewhere").mkdir()
        encode(folder / "elsewhere" / "Sales.wav", note(1))
        (folder / "greetings").mkdir()
        taken = save(folder / "greetings" / "closed.wav", tone(1.0))
        encode(folder / "closed.wav", note(2))
        before = taken.read_bytes()
        files = ("Dział sprzedaży.m4a", "sales.wav", "voicemail.yaml", "elsewhere/Sales.wav", "closed.wav")

        done = command("greeting", "import", *files, folder=folder)

        here = folder / "greetings"
        assert done.returncode == FAILED
        assert re.fullmatch(
            rf"Dział sprzedaży\.m4a -> {here}/dzial-sprzedazy\.wav: 2\.[23] s\n"
            rf"sales\.wav -> {here}/sales\.wav: 2\.\d s, used by sales: busy\n"
            r"send the service SIGHUP, as it knows how long its greetings are",
            "\n".join(unnoted(done.stdout)),
        )
        assert re.sub(r"read \(.+\)", "read (WHY)", done.stderr).splitlines() == [
            "voicemail.yaml: is no sound file that can be read (WHY); save it anew as WAV, MP3 or M4A",
            f"elsewhere/Sales.wav: {here}/sales.wav was made of sales.wav just now; "
            "import it by itself with another --name",
            f"{taken}: is there already; give another --name, or --force to replace it",
        ]
        assert sorted(path.name for path in here.iterdir()) == [
            "closed.wav",
            "dzial-sprzedazy.wav",
            "sales.wav",
        ]
        assert taken.read_bytes() == before

        files = ("closed.wav", "sales.wav")
        forced = command("greeting", "import", "--force", *files, folder=folder)

        assert (forced.returncode, forced.stderr) == (OK, "")
        assert taken.read_bytes() != before

    def test_what_is_wrong_with_one_of_many_is_noted_with_it(self, folder: Path) -> None:
        for name in ("one", "two"):
            encode(folder / f"{name}.wav", note(2))
        (folder / "greetings" / "16000").mkdir(parents=True)
        save(folder / "greetings" / "16000" / "two.wav", tone(1.0))

        done = command("greeting", "import", "one.wav", "two.wav", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        [_, two, note_of_two] = unnoted(done.stdout)
        assert two.startswith("two.wav -> ")
        assert note_of_two.startswith("note: ")
        assert "16000" in note_of_two

    def test_one_name_for_many_is_64_and_makes_none(self, folder: Path) -> None:
        encode(folder / "sales.wav", note(2))
        files = ("Dział sprzedaży.m4a", "sales.wav")

        done = command("greeting", "import", *files, "--name", "closed", folder=folder)

        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr == (
            "esl-voicemail greeting import: --name is for one FILE; import this one by itself; "
            "see esl-voicemail greeting import --help\n"
        )
        assert not (folder / "greetings").exists()

    def test_it_goes_where_the_configuration_says(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text(f"greetings_dir: ./a/b\n{CONFIG}")

        done = command("greeting", "import", "Dział sprzedaży.m4a", "--name", "x", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert (folder / "a" / "b" / "x.wav").is_file()

    def test_a_folder_that_the_switch_would_misread_is_1(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text(f"greetings_dir: './my sounds'\n{CONFIG}")

        done = command("greeting", "import", "Dział sprzedaży.m4a", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert "the switch would misread a space" in done.stderr

    def test_a_bad_configuration_is_78(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text("lisen: x\n")

        for verb in (("import", "x"), ("say", "x", "--name", "x"), ("list",), ("check", "x")):
            done = command("greeting", *verb, folder=folder)
            assert (done.returncode, done.stdout) == (BAD_CONFIG, "")
            assert done.stderr == "voicemail.yaml:1: lisen: unknown key; did you mean 'listen'?\n"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_may_not_be_written_is_1_and_one_line(self, folder: Path) -> None:
        (folder / "greetings").mkdir(mode=0o555)

        done = command("greeting", "import", "Dział sprzedaży.m4a", "--name", "x", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == f"{folder}/greetings/x.wav: cannot be written: Permission denied\n"


class TestSay:
    @ESPEAK
    @pytest.mark.parametrize(
        ("language", "spoken"), [((), "English"), (("--language", "pl"), "Polish")], ids=["default", "pl"]
    )
    def test_a_text_becomes_a_greeting(self, folder: Path, language: tuple[str, ...], spoken: str) -> None:
        done = command("greeting", "say", "Good morning. Hello.", *language, "--name", "hello", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout.startswith(f"spoken in {spoken}, ")
        assert done.stdout.splitlines()[-1] == "for a mailbox:  greetings: {default: hello.wav}"
        out = heard(folder / "greetings" / "hello.wav")
        assert (out.rate, out.channels) == (8000, 1)
        assert 0.8 < out.seconds < 4
        assert command("greeting", "check", "hello", folder=folder).returncode == OK

    @ESPEAK
    def test_a_text_of_nothing_is_1_and_one_line(self, folder: Path) -> None:
        done = command("greeting", "say", " ... ", "--name", "hello", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == "the text holds nothing to speak; give it some words\n"
        assert not (folder / "greetings").exists()

    def test_without_a_synthesiser_it_names_the_package(self, folder: Path) -> None:
        done = command("greeting", "say", "Hello", "--name", "hello", folder=folder, PATH=str(folder))

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == (
            "no program that speaks English is installed; install the package espeak-ng, "
            "or record the greeting and import it\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("Hello",), "esl-voicemail greeting say: the following arguments are required: --name;"),
            (
                ("Hello", "--name", "x", "--language", "de"),
                "esl-voicemail greeting say: argument --language:",
            ),
        ],
    )
    def test_a_wrong_command_line_is_64(self, folder: Path, arguments: tuple[str, ...], said: str) -> None:
        done = command("greeting", "say", *arguments, folder=folder)

        assert (done.returncode, done.stdout) == (USAGE, "")
        assert done.stderr.startswith(said)


class TestList:
    def test_every_greeting_has_a_line_and_what_is_wrong_with_it_another(self, folder: Path) -> None:
        command("greeting", "import", "Dział sprzedaży.m4a", "--name", "good", folder=folder)
        (folder / "greetings" / "song.mp3").write_bytes(b"ID3")

        done = command("greeting", "list", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        head, *lines = done.stdout.splitlines()
        assert head.split() == ["GREETING", "SECONDS", "LUFS", "USED", "BY"]
        assert re.fullmatch(r"good\.wav +2\.[23] +-21\.0  nobody", lines[0])
        assert re.fullmatch(r"song\.mp3 +nobody", lines[1])
        assert lines[2].startswith("    is no sound file that can be read")
        assert re.fullmatch(r"sales\.wav +sales: busy", lines[3])
        assert lines[4] == "    cannot be read: No such file or directory"
        shipped = [line for line in lines if line.startswith("shipped ")]
        assert any(re.fullmatch(r"shipped pl/default\.wav .* sales: default", line) for line in shipped)
        assert any(re.fullmatch(r"shipped en/thanks\.wav .* default: thanks", line) for line in shipped)

    def test_a_shipped_sound_is_named_with_what_brings_it_into_a_call(self, folder: Path) -> None:
        (folder / "voicemail.yaml").write_text(
            "mailboxes:\n"
            "  keys: {recipients: [a@b.pl], review: true, ask_number: true, operator: '1000'}\n"
            "  soon: {recipients: [a@b.pl], hours: {mon: '08:00-16:00'}, promise: true}\n"
            "  own:\n    recipients: [a@b.pl]\n    hours: {mon: '08:00-16:00'}\n    promise: true\n"
            "    language: en\n    promises: {next-working-day: soon.wav, fri: fri.wav}\n"
            "  plain: {recipients: [a@b.pl], language: en}\n"
        )

        lines = command("greeting", "list", folder=folder).stdout.splitlines()

        column = lines[0].index("USED BY")
        told = {line[:column].split()[1]: line[column:] for line in lines if line.startswith("shipped ")}
        assert all(line[column - 2 : column] == "  " for line in lines if line.startswith("shipped "))
        assert told["pl/review.wav"] == "keys: review"
        assert told["pl/operator.wav"] == "keys: operator"
        assert told["pl/leave-number.wav"] == "keys: leave-number"
        assert {told[f"en/{name}.wav"] for name in ("review", "operator", "leave-number")} == {"nobody"}
        for kind in KINDS_OF_PROMISES:
            assert told[f"pl/promise-{kind}.wav"] == f"soon: promise {kind}"
            said = "own: promise today" if kind == "today" else "nobody"
            assert told[f"en/promise-{kind}.wav"] == said


class TestCheck:
    def test_a_good_one_is_0(self, folder: Path) -> None:
        command("greeting", "import", "Dział sprzedaży.m4a", "--name", "good", folder=folder)

        for name in ("good", "good.wav", "greetings/good.wav"):
            done = command("greeting", "check", name, folder=folder)
            assert (done.returncode, done.stderr) == (OK, "")
            lines = unnoted(done.stdout)
            assert lines[0].endswith("greetings/good.wav")
            assert re.fullmatch(r"16-bit PCM, 8000 Hz mono, 2\.[23] s", lines[1])
            assert re.fullmatch(r"silent for 0\.0\d s before and 0\.[12]\d s after", lines[2])
            assert re.fullmatch(r"loudness -21\.0 LUFS, peak -1\d\.\d dBFS", lines[3])
            assert lines[4:] == ["not clipped", "good: the switch plays it as it is"]

    def test_a_bad_one_is_1_with_every_reason(self, folder: Path) -> None:
        loud = joined(silence(1), note(2, loud=0.9))
        path = encode(folder / "bad.wav", loud)

        done = command("greeting", "check", "bad.wav", folder=folder)

        assert done.returncode == FAILED
        assert done.stdout.startswith("bad.wav\n16-bit PCM, 48000 Hz stereo, 3.0 s\n")
        assert re.sub(r"-\d\.\d LUFS", "LOUD", done.stderr).splitlines() == [
            "bad.wav: has 2 channels, which the switch adds up, too loud",
            "bad.wav: is too loud: LOUD, and -21 is right",
            "bad.wav: begins with 1.0 s of silence: a caller thinks that nobody is there",
            "put right by: esl-voicemail greeting import bad.wav --name NAME",
        ]
        assert path.is_file()

    def test_another_rate_is_played_but_said(self, folder: Path) -> None:
        encode(folder / "a.wav", note(2), KINDS["8-bit WAV"])

        done = command("greeting", "check", "a.wav", folder=folder)

        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout.endswith("good: the switch plays it converted to 8000 Hz in each call\n")

    def test_one_that_is_gone_is_1_and_one_line(self, folder: Path) -> None:
        done = command("greeting", "check", "gone.wav", folder=folder)

        assert (done.returncode, done.stdout) == (FAILED, "")
        assert done.stderr == "gone.wav: cannot be read: No such file or directory\n"
