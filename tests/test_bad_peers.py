"""Peers on the event socket that are no FreeSWITCH, or one gone mad: bounded cost, other calls unharmed."""

import json
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import gevent
import pytest
from gevent import socket
from gevent.pool import Pool

from esl_voicemail.binding import bind, bound, listen
from esl_voicemail.config.values import Address
from esl_voicemail.trial.caller import TrialCaller
from tests.support.peer import OK, TAKE_OVER, Peer, cut_line, event, head
from tests.support.replay import Replay
from tests.support.service import Service, running, until
from tests.support.speech import save, tone

SPEECH = tone(2.0)
FRAMES_REFUSED = "voicemail_esl_frames_refused_total"
TAKE_OVER_AND_EXIT = TAKE_OVER + b"exit\n\n"
CAPTURES = Path(__file__).parent / "captures"

# What a peer may say instead of a connect reply; it is heard out for five seconds.
NO_REPLY = {
    "silence": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "binary": b"\x00\xff\xfe" * 1000,
    "blank lines": b"\n" * 5000,
    "bad length": b"Content-Type: command/reply\nContent-Length: -1\n\n",
    "huge length": b"Content-Type: text/event-plain\nContent-Length: 999999999\n\n",
    "gone already": b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\n\n",
    "refusal": b"Content-Type: command/reply\nReply-Text: -ERR\n\n",
    "half a reply": head(Unique__ID="half-1")[:-1],
    "a body that never comes": b"Content-Type: text/event-plain\nContent-Length: 4000000\n\n" + b"x" * 65536,
}
NOT_TO_BE_SERVED = {
    "not async": head(Socket__Mode="static"),
    "not full": head(Control="single-channel"),
    "no id": head(Unique__ID=""),
    "id with a space": head(Unique__ID="a b"),
    "id with a line break": head(Unique__ID="x%0A%0Aexit"),
}


@dataclass
class Ended:
    """What a peer heard, and for how long it was listened to."""

    heard: bytes
    seconds: float


@dataclass
class Siege:
    """A server that all the slow ones held at once, and the calls that were made meanwhile."""

    service: Service
    ended: dict[str, Ended]
    good_calls: list[int]


def crawl_into_connect(peer: Peer) -> None:
    peer.drip(head(Unique__ID="crawler-1") * 100, 0.05)


def crawl_in_mid_call(peer: Peer) -> None:
    """Answer properly until the service waits for `answer` to be done, then a byte now and then."""
    peer.take()
    peer.say(head(Unique__ID="crawler-2"))
    peer.take_until("answer")
    peer.drip(event("DTMF", "crawler-2", DTMF__Digit="1") * 100, 0.05)


SLOW = {"crawls into connect": crawl_into_connect, "crawls in mid-call": crawl_in_mid_call}


def takes_a_call(service: Service) -> bool:
    """Whether a call made now is recorded whole."""
    return service.call(TrialCaller(speech=SPEECH)).recorded_ms == 2000


def calls(service: Service) -> float:
    """How many calls it counted."""
    return sum(n for series, n in service.metrics().items() if series.startswith("voicemail_calls_total{"))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="module")
def siege(serving: Service) -> Siege:
    """Let all of them come at once, and call until the last has gone."""

    def besiege(act: Callable[[Peer], None]) -> Ended:
        began = time.monotonic()
        with Peer(serving.address) as peer:
            act(peer)
            return Ended(peer.hear(), time.monotonic() - began)

    def saying(said: bytes) -> Callable[[Peer], None]:
        return lambda peer: peer.say(said)

    def read_nothing(peer: Peer) -> None:
        peer.say(head(Unique__ID="deaf-1"))
        serving.line_of("deaf-1")

    acts = {name: saying(said) for name, said in (NO_REPLY | NOT_TO_BE_SERVED).items()}
    acts |= {**SLOW, "reads nothing": read_nothing}
    peers = {name: gevent.spawn(besiege, act) for name, act in acts.items()}
    good_calls = []
    while not all(peer.ready() for peer in peers.values()):
        good_calls.append(serving.call(TrialCaller(speech=SPEECH)).recorded_ms)
    return Siege(serving, {name: peer.get() for name, peer in peers.items()}, good_calls)


@pytest.mark.parametrize("name", [*NO_REPLY, "crawls into connect"])
def test_a_peer_that_does_not_answer_connect_is_dropped_within_seconds(siege: Siege, name: str) -> None:
    assert siege.ended[name].heard.startswith(TAKE_OVER)
    assert b"sendmsg" not in siege.ended[name].heard
    # It says five seconds; left alone, the slowest would go on for minutes.
    assert siege.ended[name].seconds < 25


@pytest.mark.parametrize("name", NOT_TO_BE_SERVED)
def test_a_call_that_cannot_be_served_goes_back_to_the_dialplan(siege: Siege, name: str) -> None:
    heard = siege.ended[name].heard
    assert b"voicemail_result=failed" in heard
    assert heard.endswith(b"exit\n\n")
    assert b"execute-app-name: answer" not in heard


@pytest.mark.parametrize("call_id", ["crawler-2", "deaf-1"])
def test_a_peer_that_does_not_go_on_in_mid_call_is_let_go(siege: Siege, call_id: str) -> None:
    """However it keeps the line busy, the deadline of what the call waits for stands."""
    line = siege.service.line_of(call_id)
    assert line["result"] == "switch_stalled"
    assert int(line["duration_ms"]) < 30_000


def test_every_call_made_meanwhile_was_recorded_whole(siege: Siege) -> None:
    assert len(siege.good_calls) > 3
    assert set(siege.good_calls) == {2000}


def test_an_endless_header_costs_bounded_memory(serving: Service) -> None:
    def say_them() -> None:
        refused = serving.metric(FRAMES_REFUSED)
        for said in (b"x" * 65536, b"Name: value\n" * 5000):
            with Peer(serving.address) as peer:
                peer.say(*[said] * 400)
                peer.hear()
        until(lambda: serving.metric(FRAMES_REFUSED) == refused + 2, "both are refused")

    # What one header needs is taken from the system once, and kept.
    say_them()
    before = serving.resident_kb
    say_them()
    assert serving.resident_kb - before < 20_000
    assert takes_a_call(serving)


def test_a_million_headers_are_refused(serving: Service) -> None:
    before = serving.metric(FRAMES_REFUSED)
    with Peer(serving.address) as peer:
        peer.say(b"".join(b"H%d: v\n" % n for n in range(1_000_000)))
        assert peer.hear() == TAKE_OVER
    until(lambda: serving.metric(FRAMES_REFUSED) == before + 1, "they are refused")
    assert takes_a_call(serving)


def test_a_crowd_of_peers_that_send_much_and_end_nothing_costs_bounded_memory(serving: Service) -> None:
    before = serving.resident_kb

    def crowd() -> None:
        with Peer(serving.address) as peer:
            peer.say(*[b"x" * 65536] * 30)
            peer.hear()

    peers = [gevent.spawn(crowd) for _ in range(150)]
    largest = before
    while not all(peer.ready() for peer in peers):
        assert takes_a_call(serving)
        largest = max(largest, serving.resident_kb)
    gevent.joinall(peers, raise_error=True)
    assert largest - before < 200_000


def leave_a_message(service: Service, call_id: str, around: Callable[[bytes], list[bytes]]) -> dict[str, str]:
    """Be a switch that takes a message; `around` returns what it says at the end of an application."""
    with Peer(service.address) as peer:
        assert peer.take() == "connect"
        peer.say(head(Unique__ID=call_id))
        for application in ("multiset", "answer", "sleep", "playback", "playback", "record", "playback"):
            command, uuid = peer.take_until(application)
            if application == "record":
                save(Path(re.search(r"'([^']+)'", command)[1]), SPEECH)  # type: ignore[index]
            done = {"Application": application, "Application-UUID": uuid, "variable_record_ms": "2000"}
            peer.say(*around(event("CHANNEL_EXECUTE_COMPLETE", call_id, **done)))
        assert peer.take() == f"api uuid_kill {call_id} NORMAL_CLEARING"
        peer.say(event("CHANNEL_HANGUP", call_id))
        peer.hear()
    return service.line_of(call_id)


def test_replies_out_of_order_cost_no_message(serving: Service) -> None:
    no_channel = b"-ERR No such channel!\n"
    killed = b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(no_channel), no_channel)
    line = leave_a_message(serving, "disorder-1", lambda done: [killed, done, OK, OK])
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")


def test_no_reply_at_all_costs_no_message(serving: Service) -> None:
    line = leave_a_message(serving, "terse-1", lambda done: [done])
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")


def test_events_of_other_calls_end_nothing_in_this_one(serving: Service) -> None:
    def among_others(done: bytes) -> list[bytes]:
        stranger = done.replace(b"Unique-ID: crowded-1", b"Unique-ID: another-1")
        return [OK, *[stranger, event("CHANNEL_HANGUP", "another-1")] * 300, done]

    line = leave_a_message(serving, "crowded-1", among_others)
    assert (line["result"], line["recording_ms"]) == ("recorded", "2000")


FATES = [
    {"control_lost", "hangup_before_answer"},
    {"salvaged"},
    {"recorded"},
]


def test_a_recorded_call_cut_off_at_any_byte_meets_the_fate_of_its_moment(serving: Service) -> None:
    """Later cuts never have the worse end: nothing, then what recovery finds, then the message."""
    capture = CAPTURES / "left_with_key_nixed.jsonl"
    rows = [json.loads(line) for line in capture.read_text(encoding="utf-8").splitlines()]
    sizes = [len(row["text"].encode()) for row in rows if row["from"] == "switch" and "text" in row]
    edges = {sum(sizes[:n]) + off for n in range(len(sizes)) for off in (-1, 0, 1)}
    places = sorted(place for place in edges | set(range(0, sum(sizes), 1999)) if place >= 0)
    before = serving.descriptors

    def play(place: int) -> dict[str, str] | None:
        call_id = f"cut-{place}"
        with cut_line(serving.address, place) as address:
            Replay(capture, address, call_id, tone(9.0)).play()
        # Of a reply that is not whole the service does not know which call it was.
        return serving.line_of(call_id) if place >= sizes[0] else None

    lines = [line for line in Pool(40).map(play, places) if line]
    ranks = [next(n for n, fates in enumerate(FATES) if line["result"] in fates) for line in lines]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}
    until(lambda: serving.in_progress() == 0, "no call in progress")
    until(lambda: serving.descriptors <= before + 2, "their descriptors are given back")
    assert takes_a_call(serving)


@pytest.mark.parametrize(
    ("said", "frames"), [(NO_REPLY["http"], 0), (NO_REPLY["half a reply"], 0), (NO_REPLY["bad length"], 1)]
)
def test_who_says_what_no_switch_says_is_no_call(serving: Service, said: bytes, frames: int) -> None:
    no_call = 'voicemail_peers_refused_total{why="no_call"}'
    until(lambda: serving.in_progress() == 0, "no call is in progress")
    before, counted, lines = serving.metric(no_call), calls(serving), len(serving.lines("frames_refused"))
    with Peer(serving.address, source="127.0.0.3") as peer:
        peer.say(said)
        peer.hear()
    until(lambda: serving.metric(no_call) == before + 1, "it is counted")
    assert calls(serving) == counted
    told = serving.lines("frames_refused")[lines:]
    assert [(one["peer"], one["count"]) for one in told] == [("127.0.0.3", "1")] * frames


def test_frames_that_are_none_are_told_with_their_call(serving: Service) -> None:
    line = leave_a_message(serving, "babble-1", lambda done: [b"nonsense\n\n", OK, done])
    assert line["result"] == "recorded"

    def told() -> list[dict[str, str]]:
        return [one for one in serving.lines("frames_refused") if one.get("call") == "babble-1"]

    until(lambda: bool(told()), "it is told")
    assert [(one["peer"], one["count"]) for one in told()] == [("127.0.0.1", "7")]


def test_after_all_of_them_nothing_crashed(serving: Service) -> None:
    assert not [line for line in serving.log.splitlines() if "crashed" in line]
    assert serving.stop() == 0


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process open as many sockets as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_five_thousand_silent_connections_keep_no_call_waiting(tmp_path: Path) -> None:
    with running(tmp_path, {"switch": {"max_calls": 3}}) as service:
        assert takes_a_call(service)
        until(lambda: service.in_progress() == 0, "the first call is over")
        descriptors, memory = service.descriptors, service.resident_kb
        with ExitStack() as all_:
            peers = [
                all_.enter_context(socket.create_connection(service.address, timeout=20)) for _ in range(5000)
            ]
            assert takes_a_call(service)
            assert service.resident_kb - memory < 5000 * 40
            for peer in peers:
                # Some have to make room, the others are given up.
                assert b"".join(iter(lambda peer=peer: peer.recv(100), b"")) in {
                    TAKE_OVER,
                    TAKE_OVER_AND_EXIT,
                }
        until(lambda: service.descriptors <= descriptors, "their descriptors are given back", 20)
        assert takes_a_call(service)
        assert service.stop() == 0


def test_peers_from_outside_the_allowed_networks_are_not_spoken_to(tmp_path: Path) -> None:
    with running(tmp_path, {"switch": {"allowed": ["127.0.0.1/32"], "max_calls": 10}}) as service:
        for _ in range(100):
            with Peer(service.address, source="127.0.0.2") as peer:
                peer.say(head(Unique__ID="outsider-1"))
                assert peer.hear() == b""
        assert service.metric('voicemail_peers_refused_total{why="not_allowed"}') == 100
        assert takes_a_call(service)
        assert service.stop() == 0
        said = service.lines("peer_refused")
        assert {line["peer"] for line in said} == {"127.0.0.2"}
        assert sum(int(line.get("times", "1")) for line in said) == 100 > 3 * len(said)
        assert len(service.lines("call")) == 1


def test_who_only_looks_at_the_port_is_no_call_and_is_found_by_its_address(tmp_path: Path) -> None:
    """As a load balancer does, again and again, for as long as the service lives."""
    silent = 'voicemail_peers_refused_total{why="silent"}'
    with running(tmp_path) as service:
        for n in range(200):
            with socket.create_connection(service.address, source_address=("127.0.0.2", 0)) as looks:
                if n % 2:  # closed without a farewell
                    looks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with Peer(service.address) as peer:
            assert peer.hear() == TAKE_OVER_AND_EXIT
        until(lambda: service.metric(silent) == 201, "all are counted")
        assert calls(service) == 0
        assert takes_a_call(service)
        until(lambda: calls(service) == 1, "a call is counted")
        assert service.stop() == 0
        assert len(service.lines("call")) == 1
        said = service.lines("peer_refused")
        assert {(line["peer"], line["why"]) for line in said} == {
            ("127.0.0.2", "silent"),
            ("127.0.0.1", "silent"),
        }
        assert sum(int(line.get("times", "1")) for line in said) == 201 > 5 * len(said)
        assert not [line for line in service.log.splitlines() if "level=error" in line]


@pytest.mark.parametrize(
    ("said", "results"),
    [
        # Lost in the moment the call is taken, a switch counts as a caller who left.
        (head(Unique__ID="lost-1"), {"control_lost", "hangup_before_answer"}),
        (
            b"Content-Type: text/disconnect-notice\nControlled-Session-UUID: lost-2\n"
            b"Content-Disposition: disconnect\n\n",
            {"hangup_before_answer"},
        ),
    ],
)
def test_whom_a_switch_spoke_of_is_a_call_however_soon_it_is_lost(
    tmp_path: Path, said: bytes, results: set[str]
) -> None:
    with running(tmp_path) as service:
        with Peer(service.address) as peer:
            assert peer.take() == "connect"
            peer.say(said)
        line = until(lambda: service.lines("call"), "its line")[0]
        assert line["call"] in said.decode()
        assert line["result"] in results
        assert calls(service) == 1
        assert service.lines("peer_refused") == []


def test_a_port_refuses_until_the_service_is_ready_to_take_calls() -> None:
    """A dialplan takes a refusal better than a connection that nobody speaks on."""
    sock = bind(Address("127.0.0.1", 0))
    with sock:
        address = (bound(sock).host, bound(sock).port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        listen(sock)
        socket.create_connection(address).close()
