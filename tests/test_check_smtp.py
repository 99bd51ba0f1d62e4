"""`check --smtp`: a fault of the server or the set-up is said once, and of a recipient what is its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.service import command
from tests.support.smtp import ScriptedSmtp, scripted_smtp

pytestmark = pytest.mark.usefixtures("default_ports")

Check = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Ask about two recipients; return the exit code and what was printed, without what is no matter here."""

    def asked(**smtp: Any) -> tuple[int, list[str], list[str]]:
        (tmp_path / "password").write_text("wrong\n")
        settings = {
            "mail": {"from": "vm@example.com", "smtp": {"host": "127.0.0.1", "security": "none"} | smtp},
            "mailboxes": {"sales": {"recipients": ["anna@example.com", "jan@example.com"]}},
        }
        (tmp_path / "voicemail.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        done = command("check", "--smtp", folder=tmp_path)
        printed = [line for line in done.stdout.splitlines() if "@" in line]
        return done.returncode, printed, done.stderr.splitlines()

    return asked


LOGIN = {"username": "vm", "password_file": "password"}


def once(found: tuple[int, list[str], list[str]]) -> str:
    """Return the one line that was said, which names no recipient."""
    code, printed, [line] = found
    assert (code, printed) == (69, [])
    assert "anna" not in line
    return line


def test_nobody_listens(check: Check) -> None:
    line = once(check(port=1))
    assert line == (
        "voicemail.yaml:6: mail.smtp.port: 127.0.0.1:1: [Errno 111] Connection refused; "
        "nobody listens there: mend host and port, or start the server"
    )


def test_there_is_no_such_host(check: Check) -> None:
    line = once(check(host="no-such-host.invalid"))
    assert line.startswith("voicemail.yaml:4: mail.smtp.host: no-such-host.invalid:25: [Errno -")
    assert line.endswith("; mend the name, or this machine's DNS")


@pytest.mark.parametrize(
    ("smtp", "setting", "said"),
    [
        ({"security": "starttls"}, "security", "STARTTLS extension not supported by server.; set it to tls"),
        (LOGIN, "username", "the server offers neither AUTH PLAIN nor AUTH LOGIN; leave it out, or"),
        ({"security": "tls"}, "security", "the server speaks another TLS there, or none: set it to starttls"),
    ],
)
def test_the_server_does_not_do_what_is_asked_of_it(
    check: Check, server: ScriptedSmtp, smtp: dict[str, str], setting: str, said: str
) -> None:
    line = once(check(port=server.port, **smtp))
    assert f": mail.smtp.{setting}: 127.0.0.1:{server.port}: " in line
    assert said in line


def test_a_password_that_is_refused_and_a_certificate_that_nobody_knows(check: Check) -> None:
    with scripted_smtp(security="starttls", user="vm", password="right") as server:
        own = {"port": server.port, "security": "starttls"}
        assert once(check(**own, **LOGIN, ca_file=str(server.ca_file))).endswith(
            "; mend it, or the password in password_file"
        )
        assert once(check(**own)).endswith("; name the file of the authority that signed the certificate")
        assert once(check(**own, host="localhost", ca_file=str(server.ca_file))).endswith(
            "; name the server as its certificate does"
        )


@pytest.mark.parametrize(
    ("step", "reply", "said"),
    [
        ("CONNECT", "554 5.7.1 blocked", "why it takes nothing from here"),
        ("CONNECT", "421 4.7.0 busy", "ask again later, or see its log"),
        ("MAIL", "530 5.7.0 log in", "give one, with password_file: the server wants a login"),
        ("MAIL", "550 5.7.1 not your domain", "mend `from`, or ask whoever runs the server"),
    ],
)
def test_the_server_takes_nothing(
    check: Check, server: ScriptedSmtp, step: str, reply: str, said: str
) -> None:
    server.say(step, reply)
    line = once(check(port=server.port))
    assert reply in line
    assert line.endswith(said)


def test_a_recipient_that_is_refused_is_told_by_itself(check: Check, server: ScriptedSmtp) -> None:
    server.say("RCPT", "550 5.1.1 nobody", recipient="jan@example.com")
    assert check(port=server.port) == (
        69,
        ["anna@example.com: accepted: 250 2.1.5 recipient ok", "jan@example.com: bounced: 550 5.1.1 nobody"],
        [
            f"127.0.0.1:{server.port}: 1 of 2 recipients not taken; the first: jan@example.com: 550 5.1.1 "
            "nobody; mend the addresses, or ask whoever runs the server"
        ],
    )
    server.forget()
    server.say("RCPT", "450 4.2.0 greylisted", recipient="jan@example.com")
    assert check(port=server.port)[2][0].endswith("450 4.2.0 greylisted; ask again in some minutes")


def test_all_are_taken(check: Check, server: ScriptedSmtp) -> None:
    code, printed, errors = check(port=server.port)
    assert (code, len(printed), errors) == (0, 2, [])
