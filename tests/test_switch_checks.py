"""What a switch is asked about the set-up, and what is made of its answers; `tests/live` asks a real one."""

import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
import yaml
from gevent.server import StreamServer

from esl_voicemail.config import load
from esl_voicemail.config.values import Address
from esl_voicemail.esl.console import Console
from esl_voicemail.switch_checks import Findings, ask, shut_for
from tests.support.speech import save, tone
from tests.test_console import ASKS, TAKES, answer

MINE = os.getgid()
OTHER, OTHERS = 54321, 54322


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may enter, as they may not those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="voicemail-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "user", "groups", "may"),
    [
        (0o2770, OTHER, [MINE], True),
        (0o2770, OTHER, [OTHERS], False),
        (0o2750, OTHER, [MINE], False),
        (0o2760, OTHER, [MINE], False),
        (0o777, OTHER, [OTHERS], True),
        (0o775, OTHER, [OTHERS], False),
        (0o707, OTHER, [MINE], False),
        (0o000, 0, [0], True),
    ],
)
def test_who_may_write_into_the_folder(
    place: Path, mode: int, user: int, groups: list[int], may: bool
) -> None:
    folder = place / "recordings"
    folder.mkdir()
    folder.chmod(mode)
    assert shut_for(folder, user, groups) == (None if may else folder)


def test_a_folder_above_that_lets_nobody_through_is_named(place: Path) -> None:
    above = place / "var"
    folder = above / "recordings"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    above.chmod(0o700)
    assert shut_for(folder, OTHER, [OTHERS]) == above


def test_a_file_that_a_user_may_not_read_is_named(place: Path) -> None:
    sound = save(place / "greeting.wav", tone(0.2))
    sound.chmod(0o640)
    assert shut_for(sound, OTHER, [OTHERS], needed=0o4) == sound
    assert shut_for(sound, OTHER, [MINE], needed=0o4) is None


# --- a switch that answers ---------------------------------------------------------------------------

Answers = Callable[[str], str]
BOXES = {"default": {"recipients": ["anna@example.com"]}}


@contextmanager
def switch(answers: Answers) -> Iterator[Address]:
    """Take commands at an event socket, and answer each."""

    def serve(connection: Any, _address: object) -> None:
        connection.sendall(ASKS)
        said = b""
        while received := connection.recv(4096):
            said += received
            while b"\n\n" in said:
                command, _, said = said.partition(b"\n\n")
                verb, _, words = command.decode().partition(" ")
                connection.sendall(TAKES if verb == "auth" else answer(answers(words).encode()))

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        yield Address("127.0.0.1", server.server_port)
    finally:
        server.stop()


def asked(folder: Path, answers: dict[str, str | Answers], **settings: Any) -> Findings:
    """Ask a switch about a configuration; it has all and sees all but where told to answer otherwise."""
    folder.chmod(0o755)
    (folder / "voicemail.yaml").write_text(
        yaml.safe_dump({"listen": "127.0.0.1:0", "mailboxes": BOXES, **settings})
    )
    recordings = folder / "var" / "recordings"
    recordings.mkdir(parents=True)
    recordings.chmod(0o777)

    def said(command: str) -> str:
        verb, _, words = command.partition(" ")
        found = answers.get(command, answers.get(verb, "true"))
        return found if isinstance(found, str) else found(words)

    with switch(said) as address, Console(address, "secret") as console:
        # It is this very process, so whoever runs the tests is its user.
        return ask(load(folder / "voicemail.yaml"), console)


NO_LOOPBACK = {"module_exists mod_loopback": "false", "strftime": "+0000"}


@pytest.fixture
def greetings(place: Path) -> dict[str, Any]:
    """Settings of a mailbox with three greetings of its own, in a folder of their own."""
    (place / "greetings").mkdir()
    names = ("default", "busy", "after-hours")
    for name in names:
        save(place / "greetings" / f"{name}.wav", tone(0.2))
    return {"default": {**BOXES["default"], "greetings": {name: f"{name}.wav" for name in names}}}


def test_a_switch_that_sees_every_sound_has_nothing_to_complain_about(
    place: Path, greetings: dict[str, Any]
) -> None:
    seen: list[str] = []

    def sees(path: str) -> str:
        seen.append(path)
        return "true"

    found = asked(place, {**NO_LOOPBACK, "file_exists": sees}, mailboxes=greetings)
    assert found.problems == []
    # Own ones and shipped ones, thanks and apology too, each once; and the recordings folder.
    assert len(seen) == len(set(seen)) > 20
    assert {Path(path).name for path in seen} >= {"busy.wav", "default.wav", "thanks.wav", "apology.wav"}


def test_a_greeting_that_the_switch_does_not_see_is_told_with_where_it_is_asked_for(
    place: Path, greetings: dict[str, Any]
) -> None:
    missing = place / "greetings" / "busy.wav"
    found = asked(place, {**NO_LOOPBACK, f"file_exists {missing}": "false"}, mailboxes=greetings)
    (said,) = found.problems
    assert re.search(r"voicemail.yaml:\d+: mailboxes.default.greetings.busy: ", said)
    assert f"{missing}: the switch does not see it" in said
    assert f"share {missing.parent} with it, under the same path" in said


def test_a_switch_of_another_machine_is_told_of_folder_by_folder(
    place: Path, greetings: dict[str, Any]
) -> None:
    """A line for each of a hundred sounds would hide the others."""
    found = asked(place, {**NO_LOOPBACK, "file_exists": "false"}, mailboxes=greetings)
    own = [
        line for line in found.problems if f"{place / 'greetings'}: the switch sees none of 3 sounds" in line
    ]
    shipped = [line for line in found.problems if "/greetings/pl: the switch sees none of" in line]
    assert (len(own), len(shipped)) == (1, 1)
    assert len(found.problems) < 6


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_greeting_that_the_switchs_user_may_not_read_is_told(
    place: Path, greetings: dict[str, Any]
) -> None:
    (place / "greetings" / "busy.wav").chmod(0o000)
    (said,) = asked(place, NO_LOOPBACK, mailboxes=greetings).problems
    assert "busy.wav: the switch runs as " in said
    assert "who may not read it; chmod o+r" in said


def test_an_address_that_the_switch_does_not_reach_is_a_problem(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = asked(
        place, {"originate": "-ERR NORMAL_CLEARING", "strftime": "+0000"}, listen=f"127.0.0.1:{port}"
    )
    assert [
        line for line in found.problems if f"the switch does not reach 127.0.0.1:{port}; listen on" in line
    ]


def test_an_address_beside_the_running_service_that_it_does_not_reach_is_a_note(place: Path) -> None:
    """A firewall may let the service's own port through, and that alone."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        answers = {"originate": "-ERR NORMAL_CLEARING", "strftime": "+0000"}
        found = asked(place, answers, listen=f"127.0.0.1:{port}")
    assert found.problems == []
    told = next(line for line in found.notes if "does not reach" in line)
    beside = re.search(r"does not reach 127\.0\.0\.1:(\d+)", told)
    assert beside
    assert int(beside[1]) != port
    assert f"as the service holds 127.0.0.1:{port}" in told


def test_a_switch_that_knocks_from_elsewhere_than_it_may_is_told(place: Path) -> None:
    def knock(words: str) -> str:
        host, port = re.findall(r"app=socket:([\d.]+):(\d+)", words)[0]
        gevent.spawn(lambda: gevent.socket.create_connection((host, int(port))).close()).join()
        return "-ERR NORMAL_CLEARING"

    answers: dict[str, str | Answers] = {"originate": knock, "strftime": "+0000"}
    found = asked(place, answers, switch={"allowed": ["10.0.0.0/8"]})
    (said,) = found.problems
    assert "switch.allowed: the switch comes from 127.0.0.1; add it" in said


def test_what_a_switch_says_of_its_zone_cannot_write_to_a_terminal(place: Path) -> None:
    found = asked(place, {**NO_LOOPBACK, "strftime": "+02\x1b]0;owned\x07\n00"})
    (note,) = [one for one in found.notes if "clock shows" in one]
    assert "\x1b" not in note
    assert "\n" not in note
