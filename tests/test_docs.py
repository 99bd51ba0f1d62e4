"""What the documentation shows is true: its settings load, its commands parse, its links lead somewhere."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from esl_voicemail import checks
from esl_voicemail.cli import parser
from esl_voicemail.config import load
from tests.support.service import Service, command

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "greetings" / "README.md"]
DIALPLANS = sorted((ROOT / "dialplans").glob("*.xml"))
# What is shown on these is tried.
GUIDES = ("README.md", "docs/mailboxes.md", "docs/greetings.md")
SHOWN = "\n".join((ROOT / page).read_text() for page in GUIDES)

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^    esl-voicemail (.+?)(?: +# .*)?$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)\)")
BARE = "mailboxes: {default: {recipients: [a@example.com]}}\n"


def blocks(kind: str) -> list[str]:
    """Return the code blocks of a kind."""
    return [body for _, language, body in BLOCK.findall(SHOWN) if language == kind]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_setting_shown_loads(tmp_path: Path, block: str) -> None:
    settings = yaml.safe_load(block)
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
    assert set(shown) <= set(said)


def test_what_is_commented_out_in_the_example_works_too(tmp_path: Path) -> None:
    """Each line that begins with a commented key, taken in, still loads; the Maildir makes way for SMTP."""
    text = (ROOT / "voicemail.yaml").read_text()
    text = re.sub(r"^( *)# (?=[a-z_]+: [{./\"])", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^ *maildir: .*\n", "", text, flags=re.MULTILINE)
    (tmp_path / "mailboxes").mkdir()
    path = tmp_path / "voicemail.yaml"
    path.write_text(text)
    config = load(path)
    assert config.mail.smtp is not None
    assert config.mail.operator is not None
    assert config.recordings == Path("/var/spool/voicemail")
    assert "after-hours" in config.mailboxes["service"].greetings


@pytest.mark.parametrize("path", DIALPLANS, ids=lambda path: path.name)
def test_a_dialplan_hands_over_safely_and_has_a_fallback(path: Path) -> None:
    tree = ElementTree.parse(path)
    for condition in tree.iter("condition"):
        actions = [
            (action.get("application"), action.get("data") or "") for action in condition.iter("action")
        ]
        at = next(n for n, (application, _) in enumerate(actions) if application == "socket")
        assert actions[at][1].endswith(" async full")
        before = {data.partition("=")[0] for application, data in actions[:at] if application == "set"}
        assert {"voicemail_mailbox", "voicemail_reason", "socket_resume"} <= before
        assert actions[at + 1 :], (
            "nothing follows `socket`: a caller would be cut off when the service is down"
        )


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


def test_the_metrics_named_in_the_readme_and_the_alert_files_exist(service: Service) -> None:
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
