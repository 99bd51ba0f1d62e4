"""Peers on the event socket that are no FreeSWITCH, or one gone mad: bounded cost, other calls unharmed."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent import socket

from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, running, until
from tests.support.speech import tone

SPEECH = tone(2.0)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


def resident_kb(service: Service) -> int:
    """Return the server's resident memory."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def descriptors(service: Service) -> int:
    """Return how many files and sockets the server holds open."""
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def takes_a_call(service: Service) -> bool:
    """Whether a call made now is recorded whole."""
    return service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000


def talk(service: Service, *said: bytes) -> bytes:
    """Send bytes as a peer would, and return all that comes back until the end."""
    heard = b""
    with socket.create_connection(service.address, timeout=20) as peer:
        try:
            for part in said:
                peer.sendall(part)
            while received := peer.recv(65536):
                heard += received
        except ConnectionError:
            pass
    return heard


def head(**headers: str) -> bytes:
    """Return a connect reply with these headers."""
    known = {
        "Event-Name": "CHANNEL_DATA",
        "Unique-ID": "peer-1",
        "Content-Type": "command/reply",
        "Socket-Mode": "async",
        "Control": "full",
        **{name.replace("__", "-"): value for name, value in headers.items()},
    }
    return "".join(f"{name}: {value}\n" for name, value in known.items()).encode() + b"\n"


@pytest.mark.parametrize(
    "said",
    [
        (),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",),
        (b"\x00\xff\xfe" * 1000,),
        (b"\n" * 5000,),
        (b"Content-Type: command/reply\nContent-Length: -1\n\n",),
        (b"Content-Type: text/event-plain\nContent-Length: 999999999\n\n",),
        (b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\n\n",),
        (b"Content-Type: command/reply\nReply-Text: -ERR\n\n",),
    ],
    ids=["silence", "http", "binary", "blank lines", "bad length", "huge length", "gone already", "refusal"],
)
def test_a_peer_that_does_not_answer_connect_is_dropped_within_seconds(
    serving: Service, said: tuple[bytes, ...]
) -> None:
    with gevent.Timeout(15):
        assert talk(serving, *said).startswith(b"connect\n\n")
    assert takes_a_call(serving)


def test_an_endless_header_costs_bounded_memory(serving: Service) -> None:
    before = resident_kb(serving)
    talk(serving, *[b"x" * 65536] * 400)
    talk(serving, *[b"Name: value\n" * 5000] * 400)
    assert resident_kb(serving) - before < 20_000
    assert serving.metric("voicemail_esl_frames_refused_total") >= 2
    assert takes_a_call(serving)


def test_a_million_headers_are_refused(serving: Service) -> None:
    talk(serving, b"".join(b"H%d: v\n" % n for n in range(1_000_000)))
    assert takes_a_call(serving)


@pytest.mark.parametrize(
    "reply",
    [
        head(Socket__Mode="static"),
        head(Control="single-channel"),
        head(Unique__ID=""),
        head(Unique__ID="a b"),
        head(Unique__ID="x%0A%0Aexit"),
    ],
    ids=["not async", "not full", "no id", "id with a space", "id with a line break"],
)
def test_a_call_that_cannot_be_served_goes_back_to_the_dialplan(serving: Service, reply: bytes) -> None:
    heard = talk(serving, reply)
    assert b"voicemail_result=failed" in heard
    assert heard.endswith(b"exit\n\n")
    assert b"execute-app-name: answer" not in heard


def test_a_peer_that_does_not_read_is_let_go(serving: Service) -> None:
    """What the service writes to one call is little; a peer that reads nothing still meets the deadlines."""
    with socket.create_connection(serving.address, timeout=30) as peer:
        peer.sendall(head(Unique__ID="deaf-1"))
        until(
            lambda: [line for line in serving.lines("call") if line.get("call") == "deaf-1"],
            "it is let go",
            40,
        )
    assert takes_a_call(serving)


def test_hundreds_of_silent_connections_do_not_keep_a_call_waiting(serving: Service) -> None:
    before = descriptors(serving)
    peers = [socket.create_connection(serving.address, timeout=10) for _ in range(500)]
    assert takes_a_call(serving)
    until(lambda: serving.in_progress() == 0, "the silent ones are dropped", 20)
    for peer in peers:
        peer.close()
    until(lambda: descriptors(serving) <= before + 2, "their descriptors are given back", 20)


def test_after_all_of_them_nothing_crashed(serving: Service) -> None:
    assert not [line for line in serving.log.splitlines() if "crashed" in line]
    assert serving.stop() == 0
