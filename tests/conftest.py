"""Patches the standard library first, as the service does, and lends the tests real parts to stand on."""

from gevent import monkey

monkey.patch_all()

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from esl_voicemail.binding import bind
from esl_voicemail.config import load
from esl_voicemail.errors import CannotBindError
from esl_voicemail.mail.transport import Transport
from tests.support.post import Post
from tests.support.service import Service, running
from tests.support.smtp import ScriptedSmtp, scripted_smtp

CAPTURES = Path(__file__).parent / "captures"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A real server process on embedded defaults and free ports, its Maildir below `tmp_path`."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtp]:
    """A real SMTP server process whose replies a test scripts."""
    with scripted_smtp() as server:
        yield server


@pytest.fixture(scope="module")
def server_process() -> Iterator[ScriptedSmtp]:
    """A scripted SMTP server for all tests of a module."""
    with scripted_smtp() as server:
        yield server


@pytest.fixture
def server(server_process: ScriptedSmtp) -> ScriptedSmtp:
    """The module's SMTP server, friendly again."""
    server_process.forget()
    return server_process


@pytest.fixture
def posts(tmp_path: Path) -> Iterator[Callable[..., Post]]:
    """Make delivery runners with all they stand on, and close them at the end."""
    made: list[Post] = []

    def make(transport: Transport, **options: Any) -> Post:
        made.append(Post(tmp_path, transport, **options))
        return made[-1]

    yield make
    for post in made:
        post.close()


@pytest.fixture
def default_ports() -> None:
    """The ports of a configuration that names none; where a service has them, the test is skipped."""
    config = load(None)
    try:
        for address in (config.listen, config.http.listen):
            bind(address).close()
    except CannotBindError as error:
        pytest.skip(str(error))
