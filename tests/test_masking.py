"""Which telephone numbers the log of a real service shows, and that the journal keeps what was said."""

import json
import re
from pathlib import Path

import pytest

from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import command, running, until
from tests.support.smtp import ScriptedSmtp
from tests.support.speech import tone

NUMBER = "+48601234567"
WORDS = "5.1.1 no such +48 601-234-567 user; 00 48 601 234 567 and (601) 234.567 neither"


@pytest.mark.parametrize("masking", [True, False])
def test_a_mail_server_that_quotes_the_caller_is_masked_in_the_log_and_not_in_the_journal(
    tmp_path: Path, smtp: ScriptedSmtp, masking: bool
) -> None:
    smtp.say("RCPT", f"550 {WORDS}")
    server = {"host": "127.0.0.1", "port": smtp.port, "security": "none"}
    settings = {
        "mail": {"from": "vm@example.com", "smtp": server},
        "log": {"mask_numbers": masking},
        "mailboxes": {"default": {"recipients": ["anna@example.com"]}},
    }
    with running(tmp_path, settings) as service:
        ended = service.call(TrialCaller(number=NUMBER, speech=tone(2.0)))
        [line] = until(lambda: service.lines("delivery"), "the attempt's line")
        log = service.log
    assert line["result"] == "bounced"
    assert (line["reply"] == WORDS) == (not masking)
    assert bool(re.search(r"601\W?234\W?567", log)) == (not masking)

    said = json.loads(command("messages", "show", ended.call_id, "--json", folder=tmp_path).stdout)
    assert said["deliveries"][0]["reply"] == WORDS


@pytest.mark.parametrize("mailboxes", ["default", "sales"])
def test_a_number_that_is_no_mailbox_is_masked(tmp_path: Path, mailboxes: str) -> None:
    """Whoever wrote the dialplan took the caller's number for the dialled one."""
    with running(tmp_path, {"mailboxes": {mailboxes: {"recipients": ["anna@example.com"]}}}) as service:
        ended = service.call(TrialCaller(number=NUMBER, speech=tone(2.0)), NUMBER)
        line = service.line_of(ended.call_id)
        log = service.log
    assert "601234567" not in log
    if mailboxes == "sales":
        assert (line["result"], line["mailbox"]) == ("unknown_mailbox", "+48601****67")
        assert line["why"] == "no mailbox '+48601****67' and none named 'default'"
    else:
        assert "no mailbox '+48601****67'; using 'default'" in log
