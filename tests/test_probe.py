"""Proof of life: a trial call becomes a mail, and where it does not, the probe says at which stage."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
import yaml

from esl_voicemail.config import load
from esl_voicemail.errors import ConfigError
from esl_voicemail.log import Log
from esl_voicemail.mail.maildir import Maildir
from esl_voicemail.probing import Probing
from esl_voicemail.telemetry import Telemetry
from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, command, running, settled, until
from tests.support.smtp import ScriptedSmtp
from tests.support.speech import tone
from tests.support.terminal import on_terminal

BOXES = {"default": {"recipients": ["anna@example.com"]}}
RARELY = {"every_minutes": 1440}
LABELS = 'mailbox="voicemail-probe",reason="direct",result="recorded"'


def by_smtp(server: ScriptedSmtp, **probe: Any) -> dict[str, Any]:
    """Return settings by which mails go to a server."""
    return {
        "mail": {
            "from": "voicemail@example.com",
            "smtp": {"host": "127.0.0.1", "port": server.port, "security": "none"},
            "operator": "operator@example.com",
        },
        "probe": {"to": "probe@example.com", **RARELY, **probe},
        "mailboxes": BOXES,
    }


def written(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write settings that nobody serves with."""
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump(settled(settings)))
    return path


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a probe and the embedded Maildir."""
    folder = tmp_path_factory.mktemp("probed")
    with running(folder, {"probe": RARELY, "mailboxes": BOXES, "defaults": {"attachment": "mp3"}}) as started:
        yield started


def test_a_probe_proves_that_a_call_becomes_a_mail_and_leaves_none(probed: Service) -> None:
    before = probed.metric(f"voicemail_calls_total{{{LABELS}}}")
    found = command("probe", folder=probed.folder)
    assert (found.returncode, found.stderr) == (0, "")
    assert "accepted: 250 stored as" in found.stdout
    assert probed.metric(f"voicemail_calls_total{{{LABELS}}}") == before + 1
    assert not [name for name, value in probed.metrics().items() if 'mailbox="default"' in name and value]
    assert list((probed.folder / "var" / "mail" / "new").iterdir()) == []


# What goes on in the process and its disks, whoever called.
OF_THE_PROCESS = (
    "voicemail_journal_",
    "voicemail_event_loop_",
    "voicemail_recordings_free",
    "voicemail_worker",
)


def test_a_probe_moves_nothing_that_tells_of_customers(probed: Service) -> None:
    until(lambda: probed.lines("probe"), "the service's own probe ends")
    before = probed.metrics()
    assert command("probe", folder=probed.folder).returncode == 0
    moved = {name for name, value in probed.metrics().items() if value != before[name]}
    told = {name for name in moved if not name.startswith(("process_", *OF_THE_PROCESS))}
    assert told == {
        f"voicemail_calls_total{{{LABELS}}}",
        'voicemail_messages_total{mailbox="voicemail-probe",state="kept"}',
    }


def test_a_set_up_that_spoils_the_probe_s_mail_is_counted_whoever_calls(
    tmp_path: Path, smtp: ScriptedSmtp
) -> None:
    smtp.say("MAIL", "530 5.7.0 log in first")
    with running(tmp_path, by_smtp(smtp, limit_seconds=10)) as service:
        assert command("probe", folder=service.folder).returncode == 1
        assert service.metric('voicemail_delivery_setup_faults_total{kind="authentication"}') > 0
        attempts = [name for name in service.metrics() if name.startswith("voicemail_delivery_attempts")]
        assert {service.metric(name) for name in attempts} == {0}


def test_what_a_probe_tells_a_program_leads_to_its_message(probed: Service) -> None:
    said = json.loads(command("probe", "--json", folder=probed.folder).stdout)
    assert said["failed_at"] is None
    assert 0 < said["duration_ms"] < 60_000
    shown = json.loads(command("messages", "show", said["message_id"], "--json", folder=probed.folder).stdout)
    assert shown["call"] == said["call_id"]


def test_the_probe_s_calls_are_listed_only_when_asked_for(probed: Service) -> None:
    assert command("probe", folder=probed.folder).returncode == 0
    listed = command("messages", "list", "--json", folder=probed.folder).stdout
    assert "voicemail-probe" not in listed
    listed = command("messages", "list", "--json", "--probes", folder=probed.folder).stdout
    assert {json.loads(line)["mailbox"] for line in listed.splitlines()} == {"voicemail-probe"}


def test_a_mail_that_is_not_where_it_should_be_fails_the_probe(probed: Service) -> None:
    settings = {"probe": {}, "mailboxes": BOXES, "mail": {"maildir": "./elsewhere"}}
    config = written(probed.folder, settings)
    found = command("probe", "--config", str(config), folder=probed.folder)
    assert found.returncode == 1
    assert "failed at mail" in found.stderr
    assert "elsewhere: holds no mail" in found.stderr
    assert found.stderr.count("\n") == 1


def test_without_a_service_a_probe_says_that_nobody_answers(tmp_path: Path) -> None:
    config = written(tmp_path, {"listen": "127.0.0.1:1", "probe": {}})
    found = command("probe", "--config", str(config), folder=tmp_path)
    assert found.returncode == 69
    assert "failed at reach" in found.stderr
    assert "no service answers at 127.0.0.1:1" in found.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            None,
            "embedded defaults: probe: is not configured; add the line `probe: {}` to ./voicemail.yaml and",
        ),
        ({}, "voicemail.yaml:1: probe: is not configured; add the line `probe: {}` there and"),
        (
            {"mail": {"from": "vm@example.com", "smtp": {"host": "localhost"}}},
            "voicemail.yaml:1: probe: is not configured; add the line `probe: {to: ADDRESS}`, an address "
            "that nobody reads, there and",
        ),
    ],
)
def test_where_none_is_configured_a_probe_says_what_to_add(
    tmp_path: Path, settings: dict[str, object] | None, said: str
) -> None:
    if settings is not None:
        (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump({"mailboxes": BOXES, **settings}))
    found = command("probe", folder=tmp_path)
    assert (found.returncode, found.stderr) == (78, f"{said} restart the service\n")


def test_what_a_probe_says_to_add_makes_one(tmp_path: Path) -> None:
    with running(tmp_path, {"probe": {}, "mailboxes": BOXES}) as service:
        found = command("probe", folder=service.folder)
    assert (found.returncode, found.stderr) == (0, "")


def test_a_terminal_sees_which_stage_a_probe_is_at(probed: Service) -> None:
    said = on_terminal(probed.folder, 80, "probe", "--config", str(probed.config))
    assert re.search(r"\rcall ….*\rrecording ….*\rdelivery ….*\r *\rprobe: well after", said)


def test_a_probe_of_a_service_that_has_none_reaches_nobody_s_mailbox(service: Service) -> None:
    config = written(service.folder, {"probe": {}, "mailboxes": BOXES})
    found = command("probe", "--config", str(config), folder=service.folder)
    assert found.returncode == 1
    assert "failed at call" in found.stderr
    assert "voicemail_result=refused" in found.stderr
    assert service.queued() == 0
    assert service.mails(0) == []


def test_a_server_that_accepts_the_mail_proves_it(tmp_path: Path, smtp: ScriptedSmtp) -> None:
    with running(tmp_path, by_smtp(smtp)) as service:
        found = command("probe", folder=service.folder)
        assert (found.returncode, found.stderr) == (0, "")
    assert [mail.recipient for mail in smtp.accepted] == ["probe@example.com"]


def test_a_mail_that_is_refused_fails_the_probe_and_annoys_nobody(tmp_path: Path, smtp: ScriptedSmtp) -> None:
    smtp.say("RCPT", "550 5.1.1 no such user")
    with running(tmp_path, by_smtp(smtp)) as service:
        found = command("probe", folder=service.folder)
        assert found.returncode == 1
        assert "failed at delivery" in found.stderr
        assert "550 5.1.1 no such user" in found.stderr
        assert service.queued() == 0
    assert smtp.accepted == []


def test_a_mail_that_is_not_taken_in_time_fails_the_probe_and_is_sent_no_more(
    tmp_path: Path, smtp: ScriptedSmtp
) -> None:
    smtp.say("RCPT", "451 4.3.2 come back later")
    with running(tmp_path, by_smtp(smtp, limit_seconds=10)) as service:
        found = command("probe", folder=service.folder)
        assert found.returncode == 1
        assert "failed at delivery" in found.stderr
        assert "451 4.3.2 come back later" in found.stderr
        until(lambda: service.queued() == 0, "nothing waits")


def test_a_service_probes_itself_and_its_metrics_say_what_came_of_it(tmp_path: Path) -> None:
    with running(tmp_path, {"probe": RARELY, "mailboxes": BOXES}) as service:
        [line] = until(lambda: service.lines("probe"), "a probe ends")
        assert (line["level"], line["result"]) == ("info", "success")
        assert line["message"] == service.line_of(line["call"])["message"]
        assert service.metric('voicemail_probes_total{result="success"}') == 1
        spent = service.metric("voicemail_probe_duration_seconds")
        assert spent == int(line["duration_ms"]) / 1000 > 0
        ended = service.metric("voicemail_probe_last_timestamp_seconds")
        assert time.time() - ended < 60
        assert service.metric("voicemail_probe_last_success_timestamp_seconds") == ended
        assert service.metric("voicemail_probe_interval_seconds") == 24 * 60 * 60
        assert service.metric("voicemail_recording_duration_seconds_count") == 0


def test_a_probe_that_fails_is_said_with_its_stage_and_takes_no_call_along(
    tmp_path: Path, smtp: ScriptedSmtp
) -> None:
    smtp.say("RCPT", "550 5.1.1 no such user", recipient="probe@example.com")
    with running(tmp_path, by_smtp(smtp)) as service:
        until(lambda: service.lines("probe"), "a probe ends")
        [line] = service.lines("probe")
        assert (line["level"], line["result"]) == ("error", "delivery")
        assert "550 5.1.1 no such user" in line["why"]
        assert service.metric('voicemail_probes_total{result="delivery"}') == 1
        assert service.metric("voicemail_probe_success") == 0
        assert service.metric("voicemail_probe_last_success_timestamp_seconds") == 0
        assert time.time() - service.metric("voicemail_probe_last_timestamp_seconds") < 60
        service.call(TrialCaller(number="+48601000001", speech=tone(2.0)))
        until(lambda: smtp.accepted, "the caller's mail is accepted")
    assert [mail.recipient for mail in smtp.accepted] == ["anna@example.com"]


def test_a_probe_that_may_take_longer_than_its_interval_is_not_missed_before_its_end(tmp_path: Path) -> None:
    probe = {"every_minutes": 1, "limit_seconds": 600}
    with running(tmp_path, {"probe": probe, "mailboxes": BOXES}) as service:
        assert service.metric("voicemail_probe_interval_seconds") > 600


@contextmanager
def probing_itself(config: Path, telemetry: Telemetry) -> Iterator[None]:
    """Probe, as a service does, where none answers."""
    loaded = load(config)
    probing = Probing(loaded, config, loaded.mailboxes, telemetry)
    going_on = gevent.spawn(probing.run)
    try:
        yield
    finally:
        probing.stop()
        going_on.get(timeout=20)


def test_a_probe_that_failed_is_repeated_soon_and_its_failures_in_a_row_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esl_voicemail.probing._FIRST_SECONDS", 0.0)
    monkeypatch.setattr("esl_voicemail.probing._AGAIN_SECONDS", 0.5)
    config = written(tmp_path, {"listen": "127.0.0.1:1", "probe": RARELY, "mailboxes": BOXES})
    telemetry, said = silent()
    with probing_itself(config, telemetry):
        until(lambda: len(said) == 1 or gevent.sleep(0.05), "the first fails")
        assert value(telemetry, "probe_failures") == 1
        until(lambda: len(said) == 2 or gevent.sleep(0.05), "the next fails")
        assert value(telemetry, "probe_failures") == 2
        assert value(telemetry, "probes_total", result="reach") == 2
    telemetry.probed(None, 900, "accepted")
    assert value(telemetry, "probe_failures") == 0


def test_a_probe_that_cannot_start_proves_nothing_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esl_voicemail.probing._FIRST_SECONDS", 0.5)
    config = written(tmp_path, {"probe": RARELY, "mailboxes": BOXES})
    telemetry, said = silent()
    with probing_itself(config, telemetry):
        config.write_text("mailboxes: {")
        until(lambda: said or gevent.sleep(0.05), "it cannot start")
    assert "result=start" in said[0]
    assert value(telemetry, "probes_total", result="start") == 1
    assert value(telemetry, "probe_failures") == 0
    assert value(telemetry, "probe_last_timestamp_seconds") == 0


def silent() -> tuple[Telemetry, list[str]]:
    """Return what counts probes, and the lines that it says."""
    said: list[str] = []
    now = partial(datetime.now, UTC)
    return Telemetry([], now, log=Log(said.append, now)), said


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"voicemail_{name}", labels)


def test_without_a_probe_no_metric_says_that_it_failed(service: Service) -> None:
    assert not [name for name in service.metrics() if "probe" in name]


def test_a_service_stops_in_the_middle_of_its_probe(tmp_path: Path, smtp: ScriptedSmtp) -> None:
    smtp.say("RCPT", "451 4.3.2 come back later")
    with running(tmp_path, by_smtp(smtp)) as service:
        until(lambda: service.lines("delivery"), "the probe's mail is deferred")
        assert service.stop() == 0
        assert service.lines("probe") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"probe": {}, "mail": {"smtp": {"host": "localhost"}}}, "probe: mails go by SMTP"),
        ({"probe": {"to": "Anna@example.com"}, "mailboxes": BOXES}, "gets the messages of default"),
        ({"mailboxes": {"voicemail-probe": BOXES["default"]}}, "voicemail-probe is the probe's own name"),
        ({"probe": {}, "mailboxes": {}}, "there is no mailbox"),
        ({"probe": {"every_minutes": 0}}, "probe.every_minutes"),
        ({"probe": {"switch": {"port": 8021}}}, "probe.switch.password_file"),
        ({"probe": {"switch": {"password_file": "x", "dial": "1 &system(x)"}}}, "probe.switch.dial"),
    ],
)
def test_a_probe_that_cannot_work_or_would_annoy_is_refused(
    tmp_path: Path, settings: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, settings))


def test_a_mail_is_found_by_its_name_wherever_a_mail_program_has_put_it(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path / "mail")
    maildir.create()
    (maildir.folder / "new" / "1.a.host").touch()
    (maildir.folder / "cur" / "2.a.host:2,S").touch()
    assert maildir.find("1.a.host") == maildir.folder / "new" / "1.a.host"
    assert maildir.find("2.a.host") == maildir.folder / "cur" / "2.a.host:2,S"
    assert maildir.find("3.a.host") is None


def test_a_reload_that_takes_the_probe_away_leaves_no_call_to_anybody(tmp_path: Path) -> None:
    with running(tmp_path, {"probe": RARELY, "mailboxes": BOXES}) as service:
        until(lambda: service.lines("probe"), "the first probe ends")
        service.config.write_text(yaml.safe_dump(settled({"mailboxes": BOXES})))
        until(lambda: service.lines("reload"), "the configuration is read again")
        [reload] = service.lines("reload")
        assert (reload["gone"], reload["needs_restart"]) == ("voicemail-probe", "probe")
        # No alert is to miss, or to go on about, what is made no more.
        assert not [name for name in service.metrics() if name.startswith("voicemail_probe")]
        config = written(tmp_path, {"probe": {}, "mailboxes": BOXES})
        assert "refused" in command("probe", "--config", str(config), folder=tmp_path).stderr
        assert service.mails(0) == []
