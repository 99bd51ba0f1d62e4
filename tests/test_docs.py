"""What the documentation shows is true: its settings load, its commands parse, its links lead somewhere."""

import configparser
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from esl_voicemail import checks
from esl_voicemail.cli import parser
from esl_voicemail.config import load
from esl_voicemail.mail.facts import kind_of
from esl_voicemail.mail.message import Attachment
from esl_voicemail.samples import every_sort
from esl_voicemail.trial.caller import TrialCaller
from tests.support import dialplans
from tests.support.mails import composed
from tests.support.service import Service, command, running
from tests.support.speech import tone

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "greetings" / "README.md"]
DIALPLANS = sorted((ROOT / "dialplans").glob("*.xml"))
# What is shown on these is tried.
GUIDES = (
    "README.md",
    *(
        f"docs/{page}.md"
        for page in (
            "setup",
            "mailboxes",
            "greetings",
            "mail",
            "operations",
            "templates",
            "transcripts",
            "alerts",
            "probe",
        )
    ),
)
SHOWN = "\n".join((ROOT / page).read_text() for page in GUIDES)

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    esl-voicemail (.+?)(?: +# .*)?$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)\)")
needs_sqlite = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 on this machine")
BARE = "mailboxes: {default: {recipients: [a@example.com]}}\n"


def blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind."""
    return [body for _, language, body in BLOCK.findall(SHOWN) if language == kind]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_setting_shown_loads(tmp_path: Path, block: str) -> None:
    settings = yaml.safe_load(block)
    for folder in re.findall(r"templates: \./(\w+)", block):
        (tmp_path / folder).mkdir()
    path = tmp_path / "voicemail.yaml"
    path.write_text(block if "mailboxes" in settings else block + BARE)
    assert load(path).mailboxes


def commands() -> list[str]:
    """Return the command lines shown, each optional part and alternative both ways."""
    shown = []
    for line in COMMAND.findall(SHOWN):
        for one in re.sub(r" \| ", " list\nmailbox ", line).split("\n"):
            shown += [re.sub(r" \[[^]]*\]", "", one), one.replace("[", "").replace("]", "")]
    return sorted(set(shown))


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_is_one(line: str) -> None:
    words = shlex.split(re.sub(r" < ?\S+$", "", line))
    if words[:2] == ["mailbox", "list"]:
        words = words[:2]
    assert parser().parse_args(words).run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_architecture_names_each_module_once() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"(?m)^      (\w+(?:\.py|/)) ", page)
    assert len(named) > 20
    assert sorted(named) == sorted(set(named))


def test_the_example_configuration_has_nothing_to_complain_about(tmp_path: Path) -> None:
    path = tmp_path / "voicemail.yaml"
    path.write_text((ROOT / "voicemail.yaml").read_text())
    assert checks.problems(load(path)) == []


def test_what_is_shown_of_a_mailbox_is_what_the_command_says() -> None:
    page = (ROOT / "docs" / "mailboxes.md").read_text()
    shown = re.findall(
        r"^    ((?:mailbox|from) {10,}.*|.* (?:voicemail\.yaml:\d+|built in))$", page, re.MULTILINE
    )
    said = command("mailbox", "show", "sales", folder=ROOT).stdout.splitlines()
    assert len(shown) > 6
    # The columns are as wide as the paths of the machine make them.
    assert {" ".join(line.split()) for line in shown} <= {" ".join(line.split()) for line in said}


def test_what_is_commented_out_in_the_example_works_too(tmp_path: Path) -> None:
    """Each line that begins with a commented key, taken in, still loads; the Maildir makes way for SMTP."""
    text = (ROOT / "voicemail.yaml").read_text()
    text = re.sub(r"^( *)# (?=[a-z_]+: [{./\"])", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^ *maildir: .*\n", "", text, flags=re.MULTILINE)
    for folder in ("mailboxes", "templates"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "voicemail.yaml"
    path.write_text(text)
    config = load(path)
    assert config.mail.smtp is not None
    assert config.mail.operator is not None
    assert config.recordings == Path("/var/spool/voicemail")
    assert "after-hours" in config.mailboxes["service"].greetings
    assert config.mailboxes["service"].transcriber is not None


@pytest.mark.parametrize("block", blocks("sh"))
def test_every_line_for_a_shell_is_one(block: str) -> None:
    tried = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True, check=False)
    assert (tried.returncode, tried.stderr) == (0, "")


def test_the_set_up_guide_makes_the_folders_that_its_settings_name(tmp_path: Path) -> None:
    shown = next(block for block in blocks("yaml") if "recordings:" in block)
    (tmp_path / "voicemail.yaml").write_text(shown)
    config = load(tmp_path / "voicemail.yaml")
    guide = (ROOT / "docs" / "setup.md").read_text()
    made = [line for line in guide.splitlines() if line.startswith("install -d ")]
    unit = (ROOT / "docs" / "esl-voicemail.service").read_text()
    place = Path(re.findall(r"--config (\S+)", unit)[0]).parent
    folders = [str(place / one.relative_to(tmp_path)) for one in (config.mailboxes_dir, config.greetings)]
    assert made == [
        f"install -d -o voicemail -g freeswitch -m 2770 {config.recordings}",
        f"install -d -o voicemail -g voicemail -m 755 {place} {' '.join(folders)}",
    ]
    assert f"--home-dir {config.directory} voicemail" in SHOWN
    assert f"runuser -u freeswitch -g freeswitch -- touch {config.recordings}/x" in SHOWN


def test_the_image_is_made_of_what_is_there_and_its_process_is_not_root() -> None:
    text = (ROOT / "docs" / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"(?m)^COPY (?!--)(.+) \S+$", text) for name in line.split()}
    assert sorted(name for name in copied if not (ROOT / name).exists()) == []
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    shipped = re.split(r",\s*", settings["options.data_files"]["share/esl-voicemail"])
    assert {name.split("/")[0] for name in shipped} <= copied
    assert re.findall(r"(?m)^USER (.+)$", text) == ["voicemail"]
    entry, verb = (json.loads(re.findall(rf"(?m)^{word} (.+)$", text)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["esl-voicemail"]
    assert parser().parse_args(verb).run
    asked = json.loads(re.findall(r"(?m)^HEALTHCHECK .* CMD (.+)$", text)[0])
    assert asked[:1] == entry
    assert parser().parse_args(asked[1:]).run


@needs_sqlite
class TestBackup:
    """The script that is shown, with folders of the test's own and as the user who runs it."""

    @staticmethod
    def back_up(folder: Path) -> tuple[int, str, str]:
        [script] = [block for block in blocks("sh") if "VACUUM INTO" in block]
        backup = folder / "backup"
        backup.mkdir(exist_ok=True)
        for shown, here in (
            ("runuser -u voicemail -- ", ""),
            ("install -d -o voicemail -g voicemail -m 700", "install -d -m 700"),
            ("/var/lib/esl-voicemail", f"{folder}/var"),
            ("/var/spool/voicemail", f"{folder}/var/recordings"),
            ("/var/backups/esl-voicemail", str(backup)),
            ("etc/esl-voicemail", f"{folder}/voicemail.yaml".removeprefix("/")),
        ):
            assert shown in script
            script = script.replace(shown, here)
        done = subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_of_a_running_service_holds_its_calls_and_their_audio(
        self, service: Service, tmp_path: Path
    ) -> None:
        ended = service.call(TrialCaller(speech=tone(2.0)))
        service.mails()

        code, printed, errors = self.back_up(tmp_path)

        assert (code, errors) == (0, "")
        assert re.fullmatch(r"1 calls, the newest of [0-9-]+ [0-9:]+\nok\n", printed)
        with closing(sqlite3.connect(tmp_path / "backup" / "journal.sqlite")) as journal:
            assert ended.call_id in "\n".join(journal.iterdump())
        with tarfile.open(tmp_path / "backup" / "files.tar") as files:
            names = {Path(name).name for name in files.getnames()}
        assert {"voicemail.yaml", "recordings.id", Path(ended.recording).name} <= names
        assert not {"journal.sqlite", "journal.sqlite-wal", "lock", "serve.json"} & names

    def test_again_and_of_a_service_that_is_stopped_too(self, service: Service, tmp_path: Path) -> None:
        service.call(TrialCaller(speech=tone(2.0)))
        service.mails()
        assert self.back_up(tmp_path)[0] == 0
        assert service.stop() == 0

        code, printed, errors = self.back_up(tmp_path)

        assert (code, printed[:8], errors) == (0, "1 calls,", "")

    @pytest.mark.parametrize("journal", [None, b""], ids=["no journal", "an empty file"])
    def test_of_no_journal_fails_makes_none_and_leaves_the_copy_before(
        self, tmp_path: Path, journal: bytes | None
    ) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "backup").mkdir()
        (tmp_path / "backup" / "journal.sqlite").write_text("yesterday's")
        if journal is not None:
            (tmp_path / "var" / "journal.sqlite").write_bytes(journal)

        code, printed, errors = self.back_up(tmp_path)

        assert (code != 0, printed) == (True, "")
        assert "unable to open database" in errors or "no such table: voicemails" in errors
        assert (tmp_path / "var" / "journal.sqlite").exists() == (journal is not None)
        assert (tmp_path / "backup" / "journal.sqlite").read_text() == "yesterday's"


@pytest.mark.parametrize("block", blocks("xml"))
def test_every_dialplan_shown_is_one(block: str) -> None:
    whole = block if "<include>" in block else f"<condition>{block}<action application='answer'/>"
    if whole is not block:
        whole += "<action application='playback'/></condition>"
    root = dialplans.parse(whole)
    if dialplans.hand_overs(root):
        assert dialplans.problems(root) == []
    else:
        assert list(root.iter("condition"))


@pytest.mark.parametrize("path", DIALPLANS, ids=lambda path: path.name)
def test_a_dialplan_hands_over_safely_and_has_a_fallback(path: Path) -> None:
    root = dialplans.parse(path.read_text())
    assert dialplans.hand_overs(root)
    assert dialplans.problems(root) == []


@pytest.mark.parametrize("path", DIALPLANS, ids=lambda path: path.name)
def test_a_dialplan_names_mailboxes_and_addresses_that_the_examples_have(path: Path) -> None:
    root = dialplans.parse(path.read_text())
    known = {*load(ROOT / "voicemail.yaml").mailboxes, *re.findall(r"(?m)^      (\w+):$", path.read_text())}
    for condition in root.iter("condition"):
        executed = dialplans.actions(condition)
        assert dialplans.variables(executed).get("voicemail_mailbox", "default") in known
        for application, data in executed:
            assert application != "socket" or data == "127.0.0.1:8084 async full"


def test_the_settings_in_the_dialplans_comments_are_settings(tmp_path: Path) -> None:
    """The company's mailboxes, and what queues need in other files of FreeSWITCH."""
    company = (ROOT / "dialplans" / "company.xml").read_text()
    shown = re.search(r"(?m)^    mailboxes:\n(?:      .*\n)+", company)
    assert shown
    (tmp_path / "voicemail.yaml").write_text(re.sub("(?m)^    ", "", shown[0]))
    assert set(load(tmp_path / "voicemail.yaml").mailboxes) == {"sales", "service", "urgent"}
    for name, elements in {
        "queue-callcenter.xml": ("queue", "agent", "tier"),
        "queue-fifo.xml": ("fifo",),
    }.items():
        text = (ROOT / "dialplans" / name).read_text()
        for element in elements:
            assert ElementTree.fromstring(dialplans.shown(text, element)[0]).tag == element


def test_the_readme_lists_every_dialplan_with_what_to_dial() -> None:
    rows = re.findall(r"(?m)^\| \[([\w-]+\.xml)\]\(dialplans/\1\) \| ([\d, -]+) \|", SHOWN)
    assert [name for name, _ in rows] != []
    assert {name for name, _ in rows} == {path.name for path in DIALPLANS}
    for name, listed in rows:
        places = [
            condition.get("expression", "")
            for condition in dialplans.parse((ROOT / "dialplans" / name).read_text()).iter("condition")
            if condition.get("field") == "destination_number"
        ]
        for number in re.findall(r"\d+", listed):
            assert any(re.search(place, number) for place in places), (name, number)


@pytest.mark.parametrize("path", DIALPLANS, ids=lambda path: path.name)
def test_the_preprocessors_tags_stand_alone_on_their_lines(path: Path) -> None:
    """FreeSWITCH drops whatever shares a line with them."""
    for line in path.read_text().splitlines():
        if re.search(r"</?include>|X-PRE-PROCESS", line):
            assert re.fullmatch(r"\s*(</?include>|<X-PRE-PROCESS [^>]*/>)\s*", line), line


def test_the_scrape_example_names_the_default_address() -> None:
    example = yaml.safe_load((ROOT / "metrics" / "prometheus.yml").read_text())
    (target,) = example["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == str(load(None).http.listen)


def test_the_metrics_named_in_the_readme_and_the_alert_files_exist(tmp_path: Path) -> None:
    with running(tmp_path, {"probe": {}}) as service:
        served = set(re.findall(r"^# TYPE (voicemail_\w+)", service.get("/metrics")[1], re.MULTILINE))
    text = "".join(page.read_text() for page in [*PAGES, *(ROOT / "metrics").iterdir()])
    named = set(re.findall(r"\bvoicemail_[a-z_]+_(?:total|seconds|bytes)\b", text))
    assert named <= served


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    for path in [*PAGES, *DIALPLANS, ROOT / "Makefile", ROOT / "setup.cfg", ROOT / "voicemail.yaml"]:
        assert not re.search(r"/(?:root|home|tmp|Users)/", path.read_text()), path


NAMED_TESTS = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text())


def test_every_fault_of_the_table_names_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if line[:2] == "| "]
    faults = [line for line in rows if not line.endswith("| Test |")]
    assert len(NAMED_TESTS) == len(faults) > 60
    missing = [
        f"{file}::{name}"
        for file, name in NAMED_TESTS
        if f"def {name}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []


def test_every_header_that_a_mail_may_have_is_told(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mail.md").read_text()
    told = {
        name
        for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
        for name in re.findall("`([^`]+)`", row)
    }
    config = load(ROOT / "voicemail.yaml")
    everything = {"thread_callers": True, "important": True, "show_recipients": True, "caller_in_from": True}
    box = replace(config.mailboxes["sales"], **everything)
    plain = {"Subject", "From", "To", "Reply-To", "Date", "MIME-Version", "Content-Type"}
    found = set()
    for attempt in every_sort(config, "sales"):
        audio = Attachment(b"", "mp3", "mpeg", 1000) if kind_of(attempt) == "voicemail" else None
        found |= set(composed(attempt, box, config.mail.sender, box.recipients[0], audio).keys()) - plain
    assert found == told
