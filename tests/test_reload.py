"""SIGHUP: the new configuration's mailboxes are taken whole, or the old ones stay."""

import os
import re
import signal
from pathlib import Path

import gevent
import yaml

from esl_voicemail.trial.caller import Stage, TrialCaller
from tests.support.held import held
from tests.support.service import Service, running, settled, until
from tests.support.speech import tone

SPEECH = tone(2.0)


def reload(service: Service, settings: dict[str, object] | str | bytes | None = None) -> dict[str, str]:
    """Write a configuration, if given; send SIGHUP, and return what the server said of it."""
    if isinstance(settings, dict):
        settings = str(yaml.safe_dump(settled(settings)))
    if settings is not None:
        service.config.write_bytes(settings.encode() if isinstance(settings, str) else settings)
    before = len(service.lines("reload"))
    service.process.send_signal(signal.SIGHUP)
    return until(lambda: service.lines("reload")[before:], "the reload")[0]


def test_a_new_mailbox_takes_calls_after_the_signal(service: Service) -> None:
    mailboxes = {"default": {"recipients": ["a@example.com"]}, "night": {"recipients": ["n@example.com"]}}
    assert reload(service, {"mailboxes": mailboxes})["result"] == "taken"
    ended = service.call(TrialCaller(speech=SPEECH), "night")
    assert ended.recorded_ms == 2000
    (mail,) = service.mails()
    assert mail["To"] == "n@example.com"
    assert service.line_of(ended.call_id)["mailbox"] == "night"
    series = 'voicemail_calls_total{mailbox="night",reason="direct",result="recorded"}'
    assert service.metric(series) == 1


def test_a_bad_configuration_changes_nothing_and_says_why(service: Service) -> None:
    assert reload(service, "mailboxes: {default: {recipients: [nobody]}}")["result"] == "refused"
    assert "is no mail address" in service.lines("reload_refused")[0]["why"]
    assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000
    assert service.metric('voicemail_config_reloads_total{result="refused"}') == 1


def test_what_needs_a_restart_is_said(service: Service, tmp_path: Path) -> None:
    said = reload(service, {"log": {"format": "json"}, "mailboxes": {"default": {"recipients": ["a@b.pl"]}}})
    assert (said["result"], said["needs_restart"]) == ("taken", "log")


GOOD = {"mailboxes": {"default": {"recipients": ["a@example.com"], "silence_seconds": 2}}}
ONE = "mailboxes: {default: {recipients: [a@b.pl], "
BAD: dict[str, str | bytes] = {
    "nothing": "",
    "no YAML": "mailboxes: {",
    "no sections": "- a\n- b\n",
    "an unknown key": "mailbox: {}",
    "no recipients": "mailboxes: {default: {recipients: []}}",
    "two with one number": f"{ONE}numbers: ['1']}}, sales: {{recipients: [a@b.pl], numbers: ['1']}}}}",
    "a greeting that is missing": f"{ONE}greetings: {{default: no.wav}}}}}}",
    "a greeting that is no sound": f"{ONE}greetings: {{default: voicemail.yaml}}}}}}",
    "a folder that is missing": "mailboxes_dir: nowhere",
    "a bomb": "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]),
    "no UTF-8": b"mailboxes: {default: {recipients: [\xff]}}",
    "too large": b"#" * (2 << 20),
}


def test_bad_configurations_of_every_kind_change_nothing_for_the_calls_in_progress(tmp_path: Path) -> None:
    with running(tmp_path, GOOD) as service, held(Stage.RECORDING) as released:
        call = gevent.spawn(service.call, TrialCaller(speech=tone(4.0)))
        until(lambda: service.stages() == {"recording": 1}, "the recording")
        before = service.config.read_bytes()
        for kind, text in BAD.items():
            said = reload(service, text)
            assert said["result"] == "refused", kind
        for spoil in (service.config.unlink, service.config.mkdir):
            spoil()
            assert reload(service)["result"] == "refused"
        service.config.rmdir()
        service.config.write_bytes(before)
        assert service.metric('voicemail_config_reloads_total{result="refused"}') == len(BAD) + 2
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000
        released.set()
        assert call.get(timeout=30).recorded_ms == 4000
        assert [mail["To"] for mail in service.mails(2)] == ["a@example.com"] * 2
        assert reload(service)["result"] == "taken"


def reader_of(pipe: Path) -> int | None:
    """Return a way to write to whoever reads a named pipe, None while nobody does."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def heeded(service: Service) -> bool:
    """Whether no signal waits to be seen by the process."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return not any(int(mask, 16) for mask in re.findall(r"(?m)^(?:Sig|Shd)Pnd:\t(\w+)$", status))


def test_a_mailbox_that_is_gone_leaves_no_series_and_one_that_comes_back_begins_at_0(
    service: Service,
) -> None:
    both = {"default": {"recipients": ["a@example.com"]}, "sales": {"recipients": ["s@example.com"]}}
    assert reload(service, {"mailboxes": both})["came"] == "sales"
    service.call(TrialCaller(speech=tone(2.0)), "sales")
    kept = 'voicemail_messages_total{mailbox="sales",state="kept"}'
    until(lambda: service.metric(kept) == 1, "the message is counted")

    assert reload(service, {"mailboxes": {"default": both["default"]}})["gone"] == "sales"
    left = service.metrics()
    assert not [series for series in left if 'mailbox="sales"' in series]
    assert 'voicemail_messages_total{mailbox="default",state="kept"}' in left

    assert reload(service, {"mailboxes": both})["came"] == "sales"
    assert service.metric(kept) == 0


def test_many_signals_during_a_reload_are_all_heeded_by_one_more(service: Service) -> None:
    text = service.config.read_bytes()
    service.config.unlink()
    os.mkfifo(service.config)
    service.process.send_signal(signal.SIGHUP)
    for count in (1, 2):
        reader = until(lambda: reader_of(service.config), "the configuration is read")
        if count == 1:
            for _ in range(50):
                service.process.send_signal(signal.SIGHUP)
            until(lambda: heeded(service), "it has the signals")
            assert service.get("/healthz")[0] == 200
        os.write(reader, text)
        os.close(reader)
        until(lambda count=count: len(service.lines("reload")) == count, "the reload")
    assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000
    assert reader_of(service.config) is None
    assert service.stop() == 0
    assert [line["result"] for line in service.lines("reload")] == ["taken", "taken"]


def test_a_file_cut_off_before_its_mailboxes_changes_nothing(service: Service) -> None:
    assert reload(service, {"mailboxes": {"sales": {"recipients": ["s@example.com"]}}})["came"] == "sales"
    assert reload(service, {"defaults": {"language": "en"}})["result"] == "taken"


def test_a_reload_that_waits_for_a_dead_disk_keeps_no_signal_waiting(tmp_path: Path) -> None:
    settings = {**GOOD, "mailboxes_dir": str(tmp_path / "more")}
    (tmp_path / "more").mkdir()
    with running(tmp_path, settings) as service:
        os.mkfifo(tmp_path / "more" / "night.yaml")  # whoever opens it waits, as for a disk that is gone
        service.process.send_signal(signal.SIGHUP)
        service.process.send_signal(signal.SIGHUP)
        assert service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000
        assert service.stop(seconds=20) == 0
