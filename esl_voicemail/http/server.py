"""/metrics, /healthz and /readyz over HTTP; loopback by default. Knows nothing of calls.

What a client does wrong is answered, if at all, and said nowhere. An answer that fails in here is 500, and
the error goes where those of greenlets go: to the hub's `print_exception`, which in the service is the log.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from prometheus_client import CollectorRegistry

from esl_voicemail.binding import bind, bound, listen
from esl_voicemail.config.values import Address
from esl_voicemail.http.exposition import CONTENT_TYPE, Scrapes

# Scrapers and probes are few; a client that dawdles holds one of these and nothing else.
CLIENTS_AT_MOST = 512
# For a request and the silence before it, and again for its answer, however lively the client is meanwhile.
REQUEST_SECONDS = 10.0
# With more clients than these, for a request: who means to ask does so at once, and others wait.
_FEW_CLIENTS, _HURRIED_SECONDS = 128, 1.0
_METHODS = ("GET", "HEAD")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class _Exchange(WSGIHandler):
    """gevent's side of a connection, with an end to every request and nothing printed."""

    server: "_Server"

    def handle_one_request(self) -> Any:
        """Take a request and answer it; the connection is hung up when either takes too long."""
        self._within(self.server.patience)
        try:
            return super().handle_one_request()
        finally:
            self._deadline.kill(block=False)

    def handle_one_response(self) -> None:
        """Answer a request whose head is there."""
        self._deadline.kill(block=False)
        self._within(self.server.request_seconds)
        super().handle_one_response()

    def _within(self, seconds: float) -> None:
        # Not by an exception: gevent takes every one for the application's, and would then go on reading.
        self._deadline = gevent.spawn_later(seconds, _hang_up, self.socket)

    def read_request(self, raw_requestline: str) -> Any:
        """Read the headers; gevent prints what it did not foresee there, were it only a lost connection."""
        try:
            return super().read_request(raw_requestline)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(str(error)) from error

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """Say nothing of a client that does not take its answer; what fails in here, `_answer` catches."""
        if isinstance(v, OSError):
            self.close_connection = True
        else:
            super().handle_error(t, v, tb)


class _Server(WSGIServer):
    """gevent's server, with a limit on how long a client may take."""

    handler_class = _Exchange
    request_seconds = REQUEST_SECONDS
    _clients = 0

    @property
    def patience(self) -> float:
        """How long a client may take over a request, in seconds."""
        hurried = self._clients > _FEW_CLIENTS
        return min(self.request_seconds, _HURRIED_SECONDS) if hurried else self.request_seconds

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection."""
        sock.settimeout(self.request_seconds)
        self._clients += 1
        try:
            with suppress(OSError):
                super().handle(sock, address)
        finally:
            self._clients -= 1


def _hang_up(sock: Any) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class HttpServer:
    """Serves what others ask about the service."""

    def __init__(
        self,
        address: Address,
        registry: CollectorRegistry,
        troubles: Callable[[], list[str]],
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._scrapes = Scrapes(registry)
        self._troubles = troubles
        self._server = _Server(
            bind(address), self._answer, log=None, error_log=None, spawn=Pool(CLIENTS_AT_MOST)
        )
        self._server.request_seconds = request_seconds

    @property
    def address(self) -> Address:
        """The address that is really listened on."""
        return bound(self._server.socket)

    def start(self) -> None:
        """Begin to serve; CannotBindError when another server took the address meanwhile."""
        listen(self._server.socket)
        self._server.start()

    def stop(self) -> None:
        """Stop at once; nobody waits for an answer from a service that ends."""
        self._server.stop(timeout=0.5)

    def _answer(self, request: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        try:
            return self._find(request, start)
        except Exception:  # noqa: BLE001 - whoever asks is told, and so is the log
            gevent.get_hub().handle_error(request.get("PATH_INFO", ""), *sys.exc_info())
            return _say(start, "500 Internal Server Error", "this failed; see the log")

    def _find(self, request: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        method = request.get("REQUEST_METHOD", "")
        if method not in _METHODS:
            return _say(start, "405 Method Not Allowed", "ask by GET or HEAD", ("Allow", ", ".join(_METHODS)))
        body = self._look_up(request.get("PATH_INFO", ""), start)
        # What followed the head would be taken for the beginning of the next answer (RFC 9110, 9.3.2).
        return [] if method == "HEAD" else body

    def _look_up(self, path: str, start: StartResponse) -> Iterable[bytes]:
        if path == "/metrics":
            return _answer(start, "200 OK", CONTENT_TYPE, self._scrapes.text())
        if path == "/healthz":
            return _say(start, "200 OK", "ok")
        if path == "/readyz":
            troubles = self._troubles()
            status = "503 Service Unavailable" if troubles else "200 OK"
            return _say(start, status, "\n".join(troubles) or "ready")
        return _say(start, "404 Not Found", "there are /metrics, /healthz and /readyz")


def _say(start: StartResponse, status: str, text: str, *more: tuple[str, str]) -> list[bytes]:
    return _answer(start, status, "text/plain; charset=utf-8", f"{text}\n".encode(), *more)


def _answer(
    start: StartResponse, status: str, content_type: str, body: bytes, *more: tuple[str, str]
) -> list[bytes]:
    start(status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *more])
    return [body]
