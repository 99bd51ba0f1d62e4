"""SIGHUP: the new configuration's mailboxes are taken whole, or the old ones stay."""

import signal
from pathlib import Path

import yaml

from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import DEFAULTS, Service, until
from tests.support.speech import tone

SPEECH = tone(2.0)


def reload(service: Service, settings: dict[str, object] | str) -> dict[str, str]:
    """Write a configuration, send SIGHUP, and return what the server said of it."""
    text = settings if isinstance(settings, str) else yaml.safe_dump({**DEFAULTS, **settings})
    service.config.write_text(text)
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
