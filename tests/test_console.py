"""The switch's own event socket: what it answers, and what becomes of one that is away, silent or odd."""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent import socket
from hypothesis import example, given
from hypothesis import strategies as st

from esl_voicemail.config.values import Address
from esl_voicemail.errors import CannotReachError
from esl_voicemail.esl.console import Console
from esl_voicemail.model import one_line

ASKS = b"Content-Type: auth/request\n\n"
TAKES = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
REFUSES = b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n"
RUDE = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
LEAVES = b"Content-Type: text/disconnect-notice\nContent-Length: 5\n\nbye.\n"
EVENT = b"Content-Type: text/event-plain\nContent-Length: 4\n\na: b"


def answer(text: bytes) -> bytes:
    """Return the frame that answers an `api`."""
    return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(text), text)


@contextmanager
def switch(*says: bytes, then: Callable[[socket.socket], object] = socket.socket.close) -> Iterator[Address]:
    """Serve one connection: the first frame at once, each next one after a command."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(says[0])
            for one in says[1:]:
                if not connection.recv(4096):
                    return
                connection.sendall(one)
            then(connection)

    serving = gevent.spawn(serve)
    try:
        yield Address(*listener.getsockname())
    finally:
        serving.kill()
        listener.close()


def test_a_command_is_answered_whatever_comes_in_between() -> None:
    with (
        switch(ASKS, TAKES, EVENT + answer(b"true\n")) as address,
        Console(address, "secret") as console,
    ):
        assert console.api("module_exists mod_sndfile") == "true"


@given(st.binary(min_size=1, max_size=5000))
@example(b"\x1b]0;owned\x07\x1b[2J+0200\nlevel=error")
@example("+02\u202e00\u200b".encode())
def test_any_answer_is_one_line_that_a_terminal_may_see(text: bytes) -> None:
    with switch(ASKS, TAKES, answer(text)) as address, Console(address, "secret") as console:
        said = console.api("strftime %z")
    assert said == one_line(text.decode("utf-8", "replace"), 500)
    assert not any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in said)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ((RUDE,), "takes no commands from this machine"),
        ((ASKS, REFUSES), "refuses the password"),
        ((ASKS, LEAVES), "closed the connection; is that the port of its event_socket.conf.xml"),
        ((ASKS,), "closed the connection; is that the port of its event_socket.conf.xml"),
        (
            (b"220 mail.example.com ESMTP\r\n",),
            "closed the connection; is that the port of its event_socket.conf.xml",
        ),
        ((b"Content-Type: x\nContent-Length: -5\n\n",), "is no event socket"),
    ],
)
def test_a_switch_that_takes_no_commands_is_told_of_in_one_line(says: tuple[bytes, ...], why: str) -> None:
    with switch(*says) as address, pytest.raises(CannotReachError, match=why) as told:
        Console(address, "secret")
    assert str(address) in str(told.value)
    assert "secret" not in str(told.value)


def test_a_silent_one_is_waited_for_no_longer_than_said() -> None:
    with (
        switch(b"\n", then=lambda connection: connection.recv(1)) as address,
        pytest.raises(CannotReachError, match="is silent for 0 s; is that the port"),
    ):
        Console(address, "secret", seconds=0.2)


def test_one_that_is_away_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = Address(*free.getsockname())
    with pytest.raises(
        CannotReachError, match="Connection refused; is mod_event_socket loaded, and does it listen there"
    ):
        Console(address, "secret")


@pytest.mark.parametrize("command", ["status\n\nexit", "status\rx"])
def test_a_command_is_one_line(command: str) -> None:
    with (
        switch(ASKS, TAKES, then=lambda connection: connection.recv(1)) as address,
        Console(address, "secret") as console,
        pytest.raises(ValueError, match="one line"),
    ):
        console.api(command)
