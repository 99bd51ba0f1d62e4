"""/metrics, /healthz and /readyz over HTTP; loopback by default. Knows nothing of calls."""

from collections.abc import Callable, Iterable
from typing import Any

from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import make_wsgi_app

from esl_voicemail.binding import bind, bound
from esl_voicemail.config.values import Address

# Scrapers and probes are few; a client that reads slowly holds one of these and nothing else.
_CLIENTS_AT_MOST = 32
_SILENCE_SECONDS = 10

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class _Server(WSGIServer):
    """gevent's server, with a limit on how long a client may keep silent."""

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection."""
        sock.settimeout(_SILENCE_SECONDS)
        super().handle(sock, address)


class HttpServer:
    """Serves what others ask about the service."""

    def __init__(
        self, address: Address, registry: CollectorRegistry, troubles: Callable[[], list[str]]
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._troubles = troubles
        self._server = _Server(
            bind(address), self._answer, log=None, error_log=None, spawn=Pool(_CLIENTS_AT_MOST)
        )

    @property
    def address(self) -> Address:
        """The address that is really listened on."""
        return bound(self._server.socket)

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop at once; nobody waits for an answer from a service that ends."""
        self._server.stop(timeout=0.5)

    def _answer(self, request: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = request.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(request, start)
            return answer
        if path == "/healthz":
            return _say(start, "200 OK", "ok")
        if path == "/readyz":
            troubles = self._troubles()
            status = "503 Service Unavailable" if troubles else "200 OK"
            return _say(start, status, "\n".join(troubles) or "ready")
        return _say(start, "404 Not Found", "there are /metrics, /healthz and /readyz")


def _say(start: StartResponse, status: str, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
