"""Alerts and dashboard ask for what the service really says, and each alert has its page of what to do.

`promtool`, of Debian's package prometheus, reads the rules and queries as Prometheus does; where it is
missing, the rest is tried all the same.
"""

import json
import math
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, running, until
from tests.support.speech import tone

ROOT = Path(__file__).parent.parent
METRICS = ROOT / "metrics"
RULES = [
    rule
    for group in yaml.safe_load((METRICS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
CASES = yaml.safe_load((METRICS / "alerts_test.yml").read_text())["tests"]
BOARD = json.loads((METRICS / "dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [*(rule["expr"] for rule in RULES), *(target["expr"] for _, target in QUERIES)]

PROBED = {
    "probe": {"every_minutes": 1440},
    "mailboxes": {"default": {"recipients": ["anna@example.com"]}},
}

# What Prometheus adds to every sample.
ADDED = {"job", "instance"}


SELECTOR = re.compile(r"\b((?:voicemail|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: the package prometheus)"
)

# Every sample of a moment: its name and labels, and its value.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def said_of(service: Service, mailbox: str) -> list[dict[str, str]]:
    return [line for line in service.lines("delivery") if line["mailbox"] == mailbox]


def samples(service: Service) -> Samples:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(service.get("/metrics")[1])
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Samples, Samples]]:
    """What a real service says before its first call, and once that call's mail is delivered.

    It has a probe, which has ended then too.
    """
    with running(tmp_path_factory.mktemp("watched"), PROBED) as service:
        before = samples(service)
        ended = service.call(TrialCaller(speech=tone(3.0)), pace=math.inf)
        service.line_of(ended.call_id)
        until(lambda: said_of(service, "default"), "the mail is delivered")
        until(lambda: service.lines("probe"), "the probe ends")
        yield before, samples(service)


@pytest.fixture(scope="module")
def labels(moments: tuple[Samples, Samples]) -> dict[str, dict[str, set[str]]]:
    """The labels of each metric, and their values."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, pairs in moments[0]:
        found[name].update({label: found[name][label] | {text} for label, text in pairs})
    return found


def plain(expression: str) -> str:
    """Return a dashboard's query with its variables filled in, as Grafana does."""
    for variable, text in (("$__rate_interval", "2m"), ("$instance", ".*"), ("$mailbox", ".*")):
        expression = expression.replace(variable, text)
    assert "$" not in expression
    return expression


def unknown(expression: str, labels: dict[str, dict[str, set[str]]]) -> list[str]:
    """Return which metrics, labels and values an expression names that no service has."""
    found, seen = [], set(ADDED)
    for name, matchers in SELECTOR.findall(expression):
        if name not in labels:
            found.append(name)
            continue
        seen |= labels[name].keys()
        for label, sort, text in MATCHER.findall(matchers):
            if label in ADDED:
                continue
            values = labels[name].get(label, set())
            parts = text.split("|") if sort.endswith("~") else [text]
            for part in parts:
                if not any(re.fullmatch(part, value) for value in values):
                    found.append(f"{name}: {label}={part}")
    grouped = {label.strip() for listed in GROUPING.findall(expression) for label in listed.split(",")}
    return [*found, *sorted(grouped - seen)]


# --- what is asked for is there ----------------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_an_alert_or_a_panel_asks_for_is_served_before_the_first_call(labels, expression: str) -> None:
    assert unknown(plain(expression), labels) == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_call_of_the_probe_s_counts_among_callers(labels, expression: str) -> None:
    by_mailbox = [matchers for name, matchers in SELECTOR.findall(expression) if "mailbox" in labels[name]]
    assert all('mailbox!="voicemail-probe"' in matchers for matchers in by_mailbox)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("voicemail_rady == 0", ["voicemail_rady"]),
        ('sum(voicemail_queue_messages{state="hold"})', ["voicemail_queue_messages: state=hold"]),
        ('voicemail_queue_messages{status="held"}', ["voicemail_queue_messages: status=held"]),
        ('voicemail_messages_total{state=~"kept|lots"}', ["voicemail_messages_total: state=lots"]),
        ("sum by (stat) (voicemail_queue_messages)", ["stat"]),
        ('sum by (state) (voicemail_queue_messages{state="held"})', []),
    ],
)
def test_what_is_not_there_would_be_found(labels, expression: str, found: list[str]) -> None:
    assert unknown(expression, labels) == found


def test_what_the_tests_of_the_alerts_suppose_is_what_the_service_says(labels) -> None:
    for case in CASES:
        for series in case["input_series"]:
            if not series["series"].startswith("up"):
                assert unknown(series["series"].replace('mailbox="sales"', 'mailbox="default"'), labels) == []


def test_the_table_of_what_is_measured_has_each_metric_with_its_labels(labels) -> None:
    page = (ROOT / "docs" / "alerts.md").read_text().partition("## What is measured")[2]
    cells = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    told = {
        name: set(filter(None, listed.split(",")))
        for name, listed in re.findall(r"`(\w+)(?:\{(.*?)\})?`", cells)
    }
    served: dict[str, set[str]] = {}
    for name, of_it in labels.items():
        if name.startswith("voicemail_"):
            family = re.sub(r"(?<=seconds)_(?:bucket|sum|count)$", "", name.removeprefix("voicemail_"))
            served[family] = of_it.keys() - {"le", "version"}
    assert told == served


# --- alerts ------------------------------------------------------------------------------------------


def test_each_alert_has_its_section_of_what_to_do_and_says_where() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    named = [rule["alert"] for rule in RULES]
    assert re.findall(r"^## (Voicemail\w+)$", page, re.MULTILINE) == named
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_each_alert_is_tested_to_fire_and_all_to_be_silent() -> None:
    fired = {
        name
        for case in CASES
        for test in case["promql_expr_test"]
        for sample in test["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {rule["alert"] for rule in RULES}
    # What all is well with names each metric that an alert looks at.
    well = {name for series in CASES[0]["input_series"] for name in re.findall(r"^\w+", series["series"])}
    asked = {name for rule in RULES for name, _ in SELECTOR.findall(rule["expr"])} | {"up"}
    assert asked == well


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_agrees(arguments: tuple[str, ...]) -> None:
    promtool(*arguments, folder=METRICS)


@needs_promtool
def test_prometheus_finds_nothing_to_complain_about_in_what_the_service_says(service: Service) -> None:
    promtool("check", "metrics", folder=METRICS, said=service.get("/metrics")[1])


# --- the dashboard -----------------------------------------------------------------------------------


@needs_promtool
def test_each_query_of_the_dashboard_finds_something_after_one_call(moments, tmp_path: Path) -> None:
    before, after = moments
    series = []
    for (name, pairs), now in after.items():
        listed = {**dict(pairs), "job": "esl_voicemail", "instance": "here"}
        written = ", ".join(f"{label}={json.dumps(text)}" for label, text in listed.items())
        first = before.get((name, pairs), 0.0)
        series.append({"series": f"{name}{{{written}}}", "values": f"{first!r} {now!r} {now!r}"})
    asked = [
        {
            "expr": f"count({plain(target['expr'])})>bool 0",
            "eval_time": "2m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, target in QUERIES
    ]
    case = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    (tmp_path / "queries.yml").write_text(json.dumps({"evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", "queries.yml", folder=tmp_path)


def test_each_panel_says_what_it_shows_and_lies_on_no_other() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in combinations(BOARD["panels"], 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in BOARD["panels"])


def test_a_legend_names_labels_that_its_query_leaves() -> None:
    for title, target in QUERIES:
        left = {label.strip() for listed in GROUPING.findall(target["expr"]) for label in listed.split(",")}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, title


def test_the_rows_are_what_an_operator_looks_for() -> None:
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Now", "Calls", "Recording", "Delivery", "Queue", "Health", "Probe"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def promtool(*arguments: str, folder: Path, said: str | None = None) -> None:
    """Run it; what it complains about is the failure's message."""
    ran: Any = subprocess.run(
        ["promtool", *arguments],
        cwd=folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
