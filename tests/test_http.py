"""What the service says over HTTP, to clients that mean well and to those that do not."""

import random
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any

import gevent
import pytest
from gevent.event import Event
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily

from esl_voicemail.config.values import Address
from esl_voicemail.http.exposition import Scrapes, exposition
from esl_voicemail.http.server import REQUEST_SECONDS, HttpServer
from esl_voicemail.log import Log
from esl_voicemail.telemetry import Telemetry
from tests.support.turns import turns

GET = "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

# Requests that are none, each as a client may come up with it.
NO_REQUESTS = {
    "garbage": b"\x00\xff\x16\x03\x01 \r\n\r\n",
    "an empty line": b"\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\n\r\n",
    "a version without a dot": b"GET / HTTP/1\r\n\r\n",
    "a version that is no number": b"GET / HTTP/x.y\r\n\r\n",
    "too few words": b"GET\r\n\r\n",
    "POST without a version": b"POST /\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nnonsense\r\n\r\n",
    "a header without a name": b"GET /healthz HTTP/1.1\r\n: x\r\n\r\n",
    "a header that goes on at once": b"GET /healthz HTTP/1.1\r\n x\r\n\r\n",
    "a length that is no number": b"GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "a length below nothing": b"GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a chunk that is none": b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "too many headers": b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    "a long line": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET /healthz HTTP/1.1\r\na: " + b"x" * 100_000 + b"\r\n\r\n",
    "percent signs": b"%s %d %n\r\n\r\n",
    "bytes that are no text": b"GET /\xff%ff?\xfe HTTP/1.1\r\n\xe9: \xe9\r\n\r\n",
}

# Beginnings of requests that never end; the client goes on with the last byte.
BEGINNINGS = {
    "nothing at all": b"",
    "a request line": b"GET /heal",
    "a header": b"GET /healthz HTTP/1.1\r\nHost: loc",
    "header after header": b"GET /healthz HTTP/1.1\r\nA: b\r\n",
    "a body": b"POST /healthz HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n",
    "a chunk": b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
}

Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as running:

        def started(
            registry: CollectorRegistry | None = None,
            troubles: Callable[[], list[str]] = list,
            request_seconds: float = REQUEST_SECONDS,
        ) -> HttpServer:
            server = HttpServer(
                Address("127.0.0.1", 0), registry or CollectorRegistry(), troubles, request_seconds
            )
            server.start()
            running.callback(server.stop)
            return server

        yield started


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for the sockets of many clients and their server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What goes to the hub's `print_exception`, which the service makes a log line."""
    said: list[BaseException] = []
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda _c, _t, error, _tb: said.append(error))
    return said


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=30)


def ask(server: HttpServer, path: str) -> tuple[int, str]:
    with connect(server) as client:
        client.sendall(GET.format(path).encode())
        head, _, body = read_all(client).decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def read_all(client: socket.socket) -> bytes:
    """Read to the end, however the end comes."""
    said = b""
    with suppress(ConnectionError):
        while block := client.recv(1 << 16):
            said += block
    return said


class Failing:
    """A collector whose database is gone."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        raise self.error


# --- answers -----------------------------------------------------------------------------------------


def test_each_question_has_its_answer(serve):
    registry = CollectorRegistry()
    Gauge("apples", "In the basket.", registry=registry).set(3)
    server = serve(registry)
    assert ask(server, "/healthz") == (200, "ok\n")
    assert ask(server, "/readyz") == (200, "ready\n")
    assert ask(server, "/metrics")[0] == 200
    assert "apples 3.0" in ask(server, "/metrics")[1]
    assert ask(server, "/else")[0] == 404


def test_readiness_names_each_trouble(serve):
    server = serve(troubles=lambda: ["no disk", "no mail"])
    assert ask(server, "/readyz") == (503, "no disk\nno mail\n")


# --- metrics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("series", [1, 249, 250, 251, 1000])
def test_metrics_written_in_pieces_are_what_the_library_writes_in_one(series):
    registry = CollectorRegistry()
    fruit = Counter("fruit", "Picked:\n\\ all of it.", ["sort", "tree"], registry=registry)
    for n in range(series):
        fruit.labels('"' if n % 2 else "ł\n", str(n)).inc(n / 3)
    Histogram("weight", "Of each.", registry=registry).observe(3)
    Counter("never", "No labels were ever named.", ["label"], registry=registry)
    Gauge("depth", "Of the basket.", registry=registry).set(float("-inf"))
    Info("basket", "Its make.", registry=registry).info({"colour": "red"})
    assert exposition(registry) == generate_latest(registry)


def test_a_scrape_of_hundreds_of_mailboxes_lets_others_have_their_turn(serve):
    """They would wait for all of it together: for most of a second, at 500 mailboxes."""
    log = Log(lambda _: None, lambda: datetime.now(UTC))
    telemetry = Telemetry(map("box{}".format, range(300)), lambda: datetime.now(UTC), log=log)
    with turns() as others:
        body = exposition(telemetry.registry).decode()
    lines = body.splitlines()
    series = [line for line in lines if not line.startswith("#")]
    assert len(series) > 25_000
    assert others.taken >= len(series) / 250
    heads = [line for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    status, answer = ask(serve(telemetry.registry), "/metrics")
    assert (status, len(answer.splitlines())) == (200, len(lines))


def test_a_scrape_of_hundreds_of_mailboxes_lets_clocks_and_sockets_have_their_turn():
    """Who only lets other greenlets run keeps gevent from both for fifty pieces on end."""
    log = Log(lambda _: None, lambda: datetime.now(UTC))
    telemetry = Telemetry(map("box{}".format, range(300)), lambda: datetime.now(UTC), log=log)
    ticks, stop = 0, Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.001):
            ticks += 1

    ticking = gevent.spawn(tick)
    exposition(telemetry.registry)
    stop.set()
    ticking.join(10)
    assert ticks >= 300 / 20


def test_who_asks_while_an_answer_is_written_shares_the_next_with_the_others():
    begun, go_on, asked = 0, Event(), Event()

    class Slow:
        def collect(self) -> Iterator[Any]:
            nonlocal begun
            begun += 1
            asked.set()
            assert go_on.wait(10)
            family = GaugeMetricFamily("begun", "Scrapes begun.")
            family.add_metric([], begun)
            yield family

    registry = CollectorRegistry()
    registry.register(Slow())
    scrapes = Scrapes(registry)
    first = gevent.spawn(scrapes.text)
    assert asked.wait(10)
    others = [gevent.spawn(scrapes.text) for _ in range(20)]
    gevent.idle()
    go_on.set()
    gevent.joinall([first, *others], timeout=10, raise_error=True)
    assert b"begun 1.0" in first.value
    assert {one.value for one in others} == {first.value.replace(b"begun 1.0", b"begun 2.0")}


def test_who_shares_an_answer_that_fails_hears_of_it_and_the_next_is_written():
    failing = Failing(ValueError("no database"))
    registry = CollectorRegistry()
    registry.register(failing)
    scrapes = Scrapes(registry)

    def asks() -> str:
        try:
            return scrapes.text().decode()
        except ValueError as error:
            return str(error)

    asked = [gevent.spawn(asks) for _ in range(5)]
    gevent.joinall(asked, timeout=10, raise_error=True)
    assert [one.value for one in asked] == ["no database"] * 5
    registry.unregister(failing)
    assert asks() == ""


def test_however_many_ask_one_answer_is_written_at_a_time(serve):
    now, most = 0, 0

    class Slow:
        def collect(self) -> Iterator[Any]:
            nonlocal now, most
            now += 1
            most = max(most, now)
            gevent.sleep(0.01)  # how slow it is
            now -= 1
            return iter(())

    registry = CollectorRegistry()
    registry.register(Slow())  # type: ignore[arg-type]
    server = serve(registry)
    asked = [gevent.spawn(ask, server, "/metrics") for _ in range(10)]
    gevent.joinall(asked, timeout=30, raise_error=True)
    assert [one.value[0] for one in asked] == [200] * 10
    assert most == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/else"])
def test_a_question_by_head_has_the_head_of_the_answer_and_nothing_behind_it(serve, path):
    """A probe that keeps its connection would take a body for the next answer's beginning."""
    registry = CollectorRegistry()
    Gauge("apples", "In the basket.", registry=registry).set(3)
    server = serve(registry, troubles=lambda: ["no disk"])
    with closing(HTTPConnection(server.address.host, server.address.port, timeout=10)) as client:
        heads = []
        for method in ("HEAD", "GET", "HEAD", "GET"):
            client.request(method, path)
            answer = client.getresponse()
            body = answer.read()
            heads.append((answer.status, answer.headers["Content-Type"], answer.headers["Content-Length"]))
            assert len(body) == (int(answer.headers["Content-Length"]) if method == "GET" else 0)
    assert heads == [heads[0]] * 4


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_done_here_but_to_ask(serve, method):
    server = serve()
    with closing(HTTPConnection(server.address.host, server.address.port, timeout=10)) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            client.request(method, path, body=b"x")
            answer = client.getresponse()
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
            assert answer.read() == b"ask by GET or HEAD\n"


# --- our own faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no database"),
        BrokenPipeError(32, "to the database"),
        TimeoutError("timed out"),
        ValueError("%s"),
    ],
    ids=repr,
)
def test_metrics_that_fail_are_a_500_and_one_crash_and_print_nothing(serve, crashes, capfd, error):
    registry = CollectorRegistry()
    registry.register(Failing(error))
    server = serve(registry)
    status, body = ask(server, "/metrics")
    assert status == 500
    assert "Traceback" not in body
    assert str(error) not in body
    assert crashes == [error]
    assert capfd.readouterr().err == ""
    assert ask(server, "/healthz")[0] == 200


def test_readiness_that_fails_is_a_500_and_one_crash_and_prints_nothing(serve, crashes, capfd):
    error = LookupError("none")

    def troubles() -> list[str]:
        raise error

    assert ask(serve(troubles=troubles), "/readyz")[0] == 500
    assert crashes == [error]
    assert capfd.readouterr().err == ""


# --- clients that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize("request_", NO_REQUESTS.values(), ids=NO_REQUESTS)
@pytest.mark.parametrize("ending", ["waits", "hangs up", "resets"])
def test_a_request_that_is_none_prints_nothing_and_is_no_crash(serve, crashes, capfd, request_, ending):
    server = serve(request_seconds=0.3)
    with connect(server) as client:
        client.sendall(request_)
        if ending == "hangs up":
            client.shutdown(socket.SHUT_WR)
        if ending == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            read_all(client)
    assert ask(server, "/healthz") == (200, "ok\n")
    assert crashes == []
    assert capfd.readouterr().err == ""


def test_any_bytes_at_all_print_nothing_and_are_no_crash(serve, crashes, capfd):
    server = serve(request_seconds=0.3)
    dice = random.Random(20)
    for _ in range(100):
        pieces = [
            b"GET ",
            b"/healthz",
            b" HTTP/1.1",
            b"\r\n",
            b":",
            b" ",
            b"%",
            b"\x00",
            b"Content-Length",
            b"9",
        ]
        with connect(server) as client:
            client.sendall(b"".join(dice.choices(pieces, k=dice.randint(1, 30))) + b"\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            read_all(client)
    assert ask(server, "/healthz") == (200, "ok\n")
    assert crashes == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("lively", [False, True], ids=["silent", "dripping"])
def test_a_request_that_never_ends_is_hung_up_on(serve, crashes, capfd, beginning, lively):
    server = serve(request_seconds=0.3)
    with connect(server) as client, gevent.Timeout(20):
        client.sendall(beginning)
        stop = Event()
        dripping = gevent.spawn(drip, client, stop) if lively else None
        read_all(client)
        stop.set()
        if dripping:
            dripping.join()
    assert ask(server, "/healthz") == (200, "ok\n")
    assert crashes == []
    assert capfd.readouterr().err == ""


def test_a_client_that_reads_its_answer_slowly_does_not_get_all_of_it(serve, crashes, capfd):
    registry = CollectorRegistry()
    Gauge("large", "x" * 20_000_000, registry=registry)
    server = serve(registry, request_seconds=2)
    got = 0
    with connect(server) as client, suppress(ConnectionError), gevent.Timeout(60):
        client.sendall(GET.format("/metrics").encode())
        while block := client.recv(1 << 16):
            got += len(block)
            gevent.sleep(0.02)  # how slow it is
    assert 0 < got < 20_000_000
    assert ask(server, "/healthz") == (200, "ok\n")
    assert crashes == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("clients", "request_seconds"), [(40, REQUEST_SECONDS), (200, 0.3)])
def test_clients_that_drip_keep_no_other_from_its_answer(serve, clients, request_seconds):
    server = serve(request_seconds=request_seconds)
    stop = Event()
    with ExitStack() as held, gevent.Timeout(60):
        drips = []
        for _ in range(clients):
            client = held.enter_context(closing(connect(server)))
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
            drips.append(gevent.spawn(drip, client, stop))
        assert ask(server, "/healthz") == (200, "ok\n")
        stop.set()
        gevent.joinall(drips)


@pytest.mark.parametrize("beginning", [b"", b"GET /metrics HTTP/1.1\r\nHost: loc"], ids=["silent", "half"])
def test_a_scrape_gets_in_while_a_thousand_clients_that_ask_nothing_come_again_and_again(
    serve, descriptors, beginning
):
    registry = CollectorRegistry()
    Gauge("apples", "In the basket.", registry=registry).set(3)
    server = serve(registry)
    stop, came = Event(), 0

    def idle() -> None:
        nonlocal came
        while not stop.is_set():
            with suppress(OSError), connect(server) as client:
                came += 1
                client.sendall(beginning)
                read_all(client)

    clients = [gevent.spawn(idle) for _ in range(1000)]
    with gevent.Timeout(60):
        while came < 1000:
            gevent.sleep(0.01)
        # Prometheus waits for ten seconds.
        for _ in range(3):
            with gevent.Timeout(8):
                status, body = ask(server, "/metrics")
            assert (status, "apples 3.0" in body) == (200, True)
        stop.set()
        gevent.killall(clients)


def test_an_answer_that_takes_long_is_not_cut_off_because_others_ask_nothing(serve, descriptors):
    class Slow:
        def collect(self) -> Iterator[Any]:
            gevent.sleep(2.0)  # how slow it is
            return iter(())

    registry = CollectorRegistry()
    registry.register(Slow())  # type: ignore[arg-type]
    server = serve(registry)
    with ExitStack() as held, gevent.Timeout(30):
        for _ in range(300):
            held.enter_context(closing(connect(server)))
        assert ask(server, "/metrics")[0] == 200


def test_a_client_that_asks_again_and_again_is_served_beyond_one_requests_time(serve):
    server = serve(request_seconds=0.5)
    with connect(server) as client, gevent.Timeout(20):
        stop = gevent.spawn_later(1.5, lambda: None)
        while not stop.ready():
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = b""
            while not said.endswith(b"ok\n"):
                block = client.recv(1 << 16)
                assert block
                said += block


def drip(client: socket.socket, stop: Event) -> None:
    """Send a byte now and then, until told to stop or hung up on."""
    with suppress(OSError):
        while not stop.wait(0.02):
            client.sendall(b"a")
