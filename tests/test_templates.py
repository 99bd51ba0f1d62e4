"""An operator's templates of the mails: over the shipped ones, looked at first, and never in the way."""

# ruff: noqa: E501 - in the table of mistakes, a case keeps to its line

import os
import re
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import gevent
import pytest
import yaml

from esl_voicemail import checks
from esl_voicemail.config import Config, load
from esl_voicemail.config.templates import Template
from esl_voicemail.errors import TemplateError
from esl_voicemail.mail import rendering
from esl_voicemail.mail.composer import Composer
from esl_voicemail.mail.facts import facts_of
from esl_voicemail.mail.rendering import VARIABLES, Page
from esl_voicemail.model import DeliveryState, Undelivered
from esl_voicemail.samples import KINDS, every_sort, sample
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.workers import Workers
from tests.support.service import Service, command, running, until
from tests.support.speech import tone

ROOT = Path(__file__).parent.parent
DOCUMENTED = (ROOT / "docs" / "templates.md").read_text()
WHEN = datetime(2026, 11, 23, 10, 42, tzinfo=UTC)
BOXES = {
    "sales": {"recipients": ["s@example.com"], "language": "en"},
    "help": {"recipients": ["h@example.com"], "templates": "help"},
}


def lay(folder: Path, **templates: str) -> Path:
    """Write templates into a folder; `__` stands for the dot."""
    folder.mkdir(exist_ok=True)
    for name, text in templates.items():
        (folder / f"{name.replace('__', '.')}.j2").write_text(text)
    return folder


def configured(folder: Path, **defaults: object) -> Config:
    path = folder / "voicemail.yaml"
    (folder / "help").mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"defaults": defaults, "mailboxes": BOXES}))
    return load(path)


def rendered(config: Config, mailbox: str, kind: str = "voicemail") -> Page:
    box = config.mailboxes[mailbox]
    return rendering.render(facts_of(sample(config, mailbox, WHEN, kind), box, None), box.templates)


# --- which template counts ---------------------------------------------------------------------------


def test_one_s_own_goes_over_the_installation_s_and_that_over_the_shipped(tmp_path: Path) -> None:
    lay(tmp_path / "all", subject="all: {{ duration }}", mail__txt="all of {{ mailbox_key }}")
    lay(tmp_path / "help", subject="help: {{ reason_key }}")
    config = configured(tmp_path, templates="all")

    assert [rendered(config, box).subject for box in BOXES] == ["all: 10 s", "help: queue-timeout"]
    assert [rendered(config, box).text for box in BOXES] == ["all of sales", "all of help"]
    assert "Jan Kowalski" in rendered(config, "help").html


def test_a_language_s_words_of_one_kind_may_be_replaced_alone(tmp_path: Path) -> None:
    words = (ROOT / "esl_voicemail/mail/templates/en.empty.j2").read_text()
    lay(tmp_path / "all", en__empty=words.replace("Missed call:", "Call back:"))
    config = configured(tmp_path, templates="all")

    assert rendered(config, "sales", "empty").subject == "Call back: Jan Kowalski (sales)"
    assert rendered(config, "sales", "failed").subject == "Message not recorded: Jan Kowalski (sales)"
    assert rendered(config, "help", "empty").subject == "Nieodebrane połączenie: Jan Kowalski (help)"


def test_the_shipped_one_may_be_included_and_a_part_of_one_s_own_too(tmp_path: Path) -> None:
    lay(
        tmp_path / "all",
        subject='{% if kind == "empty" %}!{% else %}{% include "shipped/subject.j2" %}{% endif %}',
        mail__html='{% include "shipped/mail.html.j2" %}{% set who = "<b>" %}{% include "foot.html.j2" %}',
        foot__html="<p>{{ who }} & {{ mailbox }}</p>",
    )
    config = configured(tmp_path, templates="all")

    assert checks.problems(config) == []
    assert rendered(config, "sales", "empty").subject == "!"
    assert rendered(config, "sales").subject == "Voicemail: Jan Kowalski, 10 s (sales)"
    assert rendered(config, "sales").html.endswith("<p>&lt;b&gt; & sales</p>")


def test_the_subject_stays_one_line_whatever_a_template_makes(tmp_path: Path) -> None:
    lay(tmp_path / "all", subject="\n a\r\nBcc: x@example.com\n\n" + "long " * 100)
    config = configured(tmp_path, templates="all")

    subject = rendered(config, "sales").subject
    assert subject.startswith("a Bcc: x@example.com long")
    assert len(subject) == 200


def test_what_a_caller_chose_is_escaped_in_a_page_of_one_s_own(tmp_path: Path) -> None:
    lay(tmp_path / "all", mail__html="<p>{{ caller_name }}{{ queue }}</p>", mail__txt="{{ caller_name }}")
    config = configured(tmp_path, templates="all")
    box, told = config.mailboxes["sales"], sample(config, "sales", WHEN)
    facts = replace(facts_of(told, box, None), caller_name="<b>{{ 7*7 }}", queue='"&')

    page = rendering.render(facts, box.templates)
    assert page.html == "<p>&lt;b&gt;{{ 7*7 }}&#34;&amp;</p>"
    assert page.text == "<b>{{ 7*7 }}"


# --- what is wrong is found before it counts ---------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Call\n{{ caller_nmae }}", ":2: 'caller_nmae' is no variable of a mail; did you mean caller_name?"),
        ("{% if clipped and cut_short and heard == 1 %}{{ xyzzy }}{% endif %}x", ":1: 'xyzzy' is no variable of a mail; docs/templates.md lists what there is"),
        ("a\n{% if kind %}", ":2: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'."),
        ("{{ kind|shout }}", ":1: No filter named 'shout'."),
        ("x{{ kind.no }}", ":1: 'str object' has no attribute 'no'"),
        ("x{{ kind.__class__.__mro__ }}", ":1: access to attribute '__class__' of 'str' object is unsafe."),
        ("x{{ 1 // (call_of_day - call_of_day) }}", ":1: integer division or modulo by zero"),
        ('{% include "gone.j2" %}', ":1: there is no template gone.j2"),
        ('{% include "../voicemail.yaml" %}', ":1: there is no template ../voicemail.yaml"),
        ("  \n", "the templates make no subject: let subject.j2 say something"),
        ("x{{ 9**(9**9) }}", ":1: ** makes something too large for a mail"),
        ("{{ 'x' * 10000000 }}", ":1: * makes something too large for a mail"),
        ("x{% for n in range(99999) %}{% endfor %}", ":1: a range of more than 1000 is too long for a mail"),
        ('{% extends "shipped/subject.j2" %}{% block foot %}{% endblock %}', ":1: subject.j2 has no block 'foot'; there are none"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    file = lay(tmp_path / "help", subject=text) / "subject.j2"
    config = configured(tmp_path)

    problems = checks.problems(config)
    where = config.at("mailboxes", "help")
    assert problems == [f"{where}: {file if said.startswith(':') else ''}{said}"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mail__txt", '{{ "\\ud83d\\ude4f" }}', ": 'utf-8' codec can't encode characters"),
        ("subject", "{{ kind" + ".a" * 5000 + " }}", ": maximum recursion depth exceeded"),
        (
            "pl__voicemail",
            "{{ 1 }}",
            ": sets no call_back, foot, heading, notes, preheader, rows, steps, subject",
        ),
    ],
)
def test_a_mistake_in_another_template_is_told_by_its_file(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    folder = lay(tmp_path / "help", **{name: text})
    (problem, *_) = checks.problems(configured(tmp_path))
    assert f"{folder}/{name.replace('__', '.')}.j2{said}" in problem


@pytest.mark.parametrize("name", ["Subject.j2", "de.voicemail.j2", "pl.voicemail.html.j2"])
def test_a_template_that_makes_no_mail_is_told(tmp_path: Path, name: str) -> None:
    folder = lay(tmp_path / "help", subject='{% include "part.j2" %}', part="x")
    (folder / name).write_text("x")
    (problem,) = checks.problems(configured(tmp_path))
    assert problem == (
        f"{folder}/{name}: no mail is made by it: rename it as a shipped one, or include it in one"
    )


def test_a_pipe_by_the_name_of_a_template_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(lay(tmp_path / "help") / "subject.j2")
    (problem,) = checks.problems(configured(tmp_path))
    assert problem.endswith("/help/subject.j2: is no file")


def test_a_mistake_that_many_mailboxes_share_is_told_once(tmp_path: Path) -> None:
    lay(tmp_path / "all", subject="{{ nobody }}")
    assert len(checks.problems(configured(tmp_path, templates="all"))) == 1


@pytest.mark.parametrize("wrong", ["missing", "a file", "not text", "too large"])
def test_a_folder_or_file_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "all"
    if wrong == "a file":
        folder.touch()
    elif wrong != "missing":
        content = b"\xff\xfe" if wrong == "not text" else b"x" * (1 << 19)
        (lay(folder) / "subject.j2").write_bytes(content)

    config = configured(tmp_path, templates="all")

    (problem,) = checks.problems(config)
    assert problem.startswith(f"{tmp_path}/voicemail.yaml:2: defaults.templates: {folder}")
    # No other command, and no call, is to fail for it.
    assert checks.problems(config, serving=True) == []
    assert rendered(config, "sales").subject == "Voicemail: Jan Kowalski, 10 s (sales)"


def test_what_an_editor_leaves_in_the_folder_is_no_template(tmp_path: Path) -> None:
    folder = lay(tmp_path / "help")
    (folder / ".#subject.j2").symlink_to("me@host.1")
    (folder / "subject.j2~").write_text("{{ nobody }}")
    (folder / "README").write_text("{{ nobody }}")

    assert checks.problems(configured(tmp_path)) == []


def test_every_sort_of_mail_has_every_variable(tmp_path: Path) -> None:
    config = configured(tmp_path)
    everything = "".join(f"{{{{ {name} }}}}" for name in VARIABLES)
    own = (Template("subject.j2", everything, "x"),)
    kinds = set()
    for attempt in every_sort(config, "sales"):
        facts = facts_of(attempt, config.mailboxes["sales"], None)
        kinds.add(facts.kind)
        assert rendering.render(facts, own).subject
    assert kinds == set(KINDS)


def test_all_that_comes_into_html_is_escaped_wherever_it_stands(tmp_path: Path) -> None:
    shipped = (ROOT / "esl_voicemail/mail/templates/en.call.j2").read_text()
    lay(
        tmp_path / "all",
        en__call=shipped
        + "{% macro line() %}{{ caller_name }}{% endmacro %}{% set block %}{{ queue }}{% endset %}",
        foot="{{ caller_name }}",
        mail__html='{% import "en.call.j2" as call with context %}{{ call.line() }}|{{ call.block }}|{% include "foot.j2" %}',
    )
    config = configured(tmp_path, templates="all")
    box, attempt = config.mailboxes["sales"], sample(config, "sales", WHEN)
    facts = replace(facts_of(attempt, box, None), caller_name="<script>", queue="<b>")

    assert checks.problems(config) == []
    page = rendering.render(facts, box.templates)
    assert page.html == "&lt;script&gt;|&lt;b&gt;|&lt;script&gt;"
    assert "<script>" in page.text


@pytest.mark.parametrize("mailbox", BOXES)
def test_a_folder_with_nothing_for_a_mail_leaves_each_as_it_is_shipped(tmp_path: Path, mailbox: str) -> None:
    config = configured(tmp_path)
    box, nothing = config.mailboxes[mailbox], (Template("footer.j2", "ACME", "footer.j2"),)
    for attempt in every_sort(config, mailbox):
        facts = facts_of(attempt, box, "<sales>&.wav")
        hostile = {
            name: f"<b>{value}</b> &\"'"
            for name in VARIABLES
            if isinstance(value := getattr(facts, name), str) and name not in ("language", "kind")
        }
        for said in (facts, replace(facts, **hostile), replace(facts, threaded=True)):
            assert rendering.render(said, nothing) == rendering.render(said)


def test_what_is_set_before_a_shipped_template_is_said_by_it(tmp_path: Path) -> None:
    lay(
        tmp_path / "all",
        mail__html='{% set mailbox = "A & B" %}{% extends "shipped/mail.html.j2" %}',
        subject='{% set duration = "a while" %}{% include "shipped/subject.j2" %}',
    )
    page = rendered(configured(tmp_path, templates="all"), "sales")
    assert "<bdi>A &amp; B</bdi>" in page.html
    assert page.subject == "Voicemail: Jan Kowalski, a while (sales)"


def test_a_shipped_template_may_be_extended(tmp_path: Path) -> None:
    lay(
        tmp_path / "all",
        mail__html='{% extends "shipped/mail.html.j2" %}{% block foot %}ACME, {{ super() }}{% endblock %}',
        mail__txt='{% extends "shipped/mail.txt.j2" %}{% block extra %}\n\nACME\n{% endblock %}',
    )
    config = configured(tmp_path, templates="all")

    assert checks.problems(config) == []
    page = rendered(config, "sales")
    assert "ACME, Message 0000" in page.html
    assert "The recording is attached.\n\nACME\n\n--\nMessage" in page.text


def test_a_mailbox_may_do_without_the_installation_s(tmp_path: Path) -> None:
    lay(tmp_path / "all", subject="all")
    path = tmp_path / "voicemail.yaml"
    boxes = {
        "sales": {"recipients": ["s@example.com"], "templates": "none"},
        "help": {"recipients": ["h@b.pl"]},
    }
    path.write_text(yaml.safe_dump({"defaults": {"templates": "all"}, "mailboxes": boxes}))
    config = load(path)

    assert [rendered(config, box).subject for box in boxes] == [
        "Wiadomość głosowa: Jan Kowalski, 10 s (sales)",
        "all",
    ]


def test_checking_templates_and_composing_mails_at_once_hang_neither(tmp_path: Path) -> None:
    """Jinja's locks are greenlets' under gevent's patch: native threads that meet at one may wait for ever."""
    lay(tmp_path / "all", subject="{{ duration }}")
    config = configured(tmp_path, templates="all")
    composer = Composer(config.mailboxes, config.mail.sender)
    attempt = replace(
        sample(config, "sales", WHEN), undelivered=Undelivered("a@b.pl", DeliveryState.HELD, None, "")
    )
    workers, before = Workers(4), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads meet
    try:
        checking = [gevent.spawn(workers.run, checks.template_problems, config) for _ in range(4)]
        composing = [gevent.spawn(workers.run, composer.compose, attempt) for _ in range(200)]
        assert len(gevent.joinall([*checking, *composing], timeout=60, raise_error=True)) == 204
    finally:
        sys.setswitchinterval(before)
        workers.close()


# --- in a service that runs --------------------------------------------------------------------------


SPEECH = tone(2.0)


def told(service: Service, seen: int) -> EmailMessage:
    service.call(TrialCaller(name="Jan", speech=SPEECH))
    return service.mails(seen + 1)[seen]


def reloaded(service: Service) -> dict[str, str]:
    before = len(service.lines("reload"))
    service.process.send_signal(signal.SIGHUP)
    return until(lambda: service.lines("reload")[before:], "the reload")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay(tmp_path / "templates", subject="First: {{ caller_name }}")


def test_a_reload_takes_what_is_right_and_refuses_what_is_not(tmp_path: Path, folder: Path) -> None:
    settings = {"defaults": {"templates": "templates", "language": "en"}}
    with running(tmp_path, settings) as service:
        assert told(service, 0)["Subject"] == "First: Jan"

        (folder / "subject.j2").write_text("Broken: {{ nobody }}")
        assert reloaded(service)["result"] == "refused"
        assert "'nobody' is no variable of a mail" in service.lines("reload_refused")[-1]["why"]
        assert told(service, 1)["Subject"] == "First: Jan"

        (folder / "subject.j2").write_text("Second: {{ caller_name }}")
        # By itself too: the files are watched. Whichever comes first takes it.
        until(lambda: service.lines("reload")[-1]["result"] == "taken", "the reload")
        assert told(service, 2)["Subject"] == "Second: Jan"


def test_a_mail_that_one_s_own_template_cannot_make_goes_out_by_the_shipped_one(
    tmp_path: Path, folder: Path
) -> None:
    (folder / "subject.j2").write_text("Call {{ 1 // (caller_name|length - 3) }}")
    settings = {"defaults": {"templates": "templates", "language": "en"}}
    with running(tmp_path, settings) as service:
        mail = told(service, 0)

        assert mail["Subject"].startswith("Voicemail: Jan, 2 s")
        (line,) = service.lines("template_failed")
        assert line["level"] == "error"
        assert line["why"] == f"{folder}/subject.j2:1: integer division or modulo by zero"
        assert line["mailbox"] == "default"


def test_a_service_starts_with_templates_that_are_wrong_says_so_and_mails_by_the_shipped_ones(
    tmp_path: Path, folder: Path
) -> None:
    (folder / "subject.j2").write_text("{{ nobody }}")
    settings = {
        "defaults": {"templates": "templates", "language": "en"},
        "mailboxes": {"default": {"recipients": ["a@example.com"], "templates": "gone"}},
    }
    with running(tmp_path, settings) as service:
        until(lambda: len(service.lines("template_failed")) == 2, "both are told")
        said = [line["why"] for line in service.lines("template_failed")]
        assert "gone: cannot be read" in said[0]
        assert "'nobody' is no variable of a mail" in said[1]
        assert told(service, 0)["Subject"].startswith("Voicemail: Jan, 2 s")
        assert command("messages", "list", folder=tmp_path).returncode == 0
        assert command("check", folder=tmp_path).returncode == 78


def test_what_render_shows_of_a_template_that_fails_is_told_to_be_the_shipped_one_s(
    tmp_path: Path, folder: Path
) -> None:
    (folder / "subject.j2").write_text("{{ nobody }}")
    (tmp_path / "voicemail.yaml").write_text("defaults: {templates: templates}\n")
    done = command("render", "--sample", "default", folder=tmp_path)
    assert done.returncode == 1
    assert "X-Voicemail-Kind: voicemail\n" in done.stdout
    (said,) = done.stderr.splitlines()
    assert said == (
        f"{folder}/subject.j2:1: 'nobody' is undefined; so the mail is made by the shipped templates"
    )


# --- what the documentation says ---------------------------------------------------------------------


def shown() -> dict[str, str]:
    rows = re.findall(r"^\| `(\w+)` \| (?:.*) \| `(.*)` \|$", DOCUMENTED, re.MULTILINE)
    return dict(rows)


def test_every_variable_is_documented_with_what_it_holds() -> None:
    config = load(ROOT / "voicemail.yaml")
    facts = facts_of(sample(config, "sales", WHEN), config.mailboxes["sales"], None)
    assert shown() == {name: str(getattr(facts, name)) for name in VARIABLES}


@pytest.mark.parametrize("block", re.findall(r"```jinja\n(.*?)```", DOCUMENTED, re.DOTALL))
def test_every_template_shown_makes_a_subject_of_every_mail(tmp_path: Path, block: str) -> None:
    config = configured(tmp_path)
    own = (Template("subject.j2", block, "shown"),)
    assert list(rendering.problems(own)) == []
    for attempt in every_sort(config, "sales"):
        assert rendering.render(facts_of(attempt, config.mailboxes["sales"], None), own).subject


def test_every_template_there_is_is_named(tmp_path: Path) -> None:
    there = {path.name for path in (ROOT / "esl_voicemail/mail/templates").iterdir()}
    named = set(re.findall(r"`([\w.]+\.j2)`", DOCUMENTED))
    assert there == {name for name in named if name in there} | {
        name.replace("pl.", "en.", 1) for name in named if name.startswith("pl.")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_each_kind_is_printed(tmp_path: Path, kind: str) -> None:
    done = command("render", "--sample", "default", "--kind", kind, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"X-Voicemail-Kind: {kind}\n" in done.stdout


def test_a_template_that_fails_on_a_page_names_its_own_line_not_the_shipped_one(tmp_path: Path) -> None:
    own = (
        Template(
            "pl.call.j2", "{% set heading = 'x' %}\n{% set who = caller_name.gone.far %}", "mine/pl.call.j2"
        ),
    )
    config = configured(tmp_path)
    facts = facts_of(sample(config, "help", WHEN), config.mailboxes["help"], None)
    with pytest.raises(TemplateError, match=r"^mine/pl\.call\.j2:2: 'str object' has no attribute 'gone'$"):
        rendering.render(facts, own)
