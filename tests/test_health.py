"""`health`: what a container's check asks the running service."""

import http.server
import socket
import threading
from pathlib import Path

from tests.support.service import Service, command, running, until


def said(service: Service, *options: str) -> tuple[int, str, str]:
    done = command("health", *options, folder=service.folder)
    return done.returncode, done.stdout, done.stderr


def test_a_service_that_takes_calls_is_healthy_wherever_it_listens(tmp_path: Path) -> None:
    with running(tmp_path) as service:  # on port 0: only itself knows on which
        for options in ((), ("--ready",)):
            assert said(service, *options) == (0, f"{service.http}: lives, and takes calls\n", "")


def test_one_that_takes_no_calls_lives_and_is_not_ready(tmp_path: Path) -> None:
    """Another start mends no full disk; whoever wants to know asks for it."""
    with running(tmp_path) as service:
        service.recordings.rename(tmp_path / "elsewhere")
        until(lambda: service.get("/readyz")[0] == 503, "it is not ready")
        code, out, err = said(service)
        assert (code, err) == (0, "")
        assert out.startswith(f"{service.http}: lives, and takes no calls: {service.recordings}: ")
        code, out, err = said(service, "--ready")
        assert (code, out) == (1, "")
        assert err.startswith(f"{service.http}: takes no calls: {service.recordings}: ")


def test_where_nobody_answers_is_said_with_what_to_ask(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "voicemail.yaml").write_text(f'http: {{listen: "{address}"}}\n')
    done = command("health", folder=tmp_path)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"{address}: the service does not answer: ")
    assert done.stderr.endswith("; does it run, with this configuration?\n")


def test_who_else_answers_there_does_not_pass_for_the_service(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as stranger:
        address = f"127.0.0.1:{stranger.server_address[1]}"
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        (tmp_path / "voicemail.yaml").write_text(f'http: {{listen: "{address}"}}\n')
        done = command("health", folder=tmp_path)
        stranger.shutdown()
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"{address}: another program answers there; ")
