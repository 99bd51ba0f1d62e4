"""Two mail servers whose replies a test scripts, plain and guarded; no connection outlives its test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.smtp import ScriptedSmtp, scripted_smtp
from tests.transport.ways import PASSWORD, USED, USER


@pytest.fixture(scope="module")
def plain_server() -> Iterator[ScriptedSmtp]:
    with scripted_smtp() as server:
        yield server


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[ScriptedSmtp]:
    with scripted_smtp(security="starttls", user=USER, password=PASSWORD) as server:
        yield server


@pytest.fixture
def plain(plain_server: ScriptedSmtp) -> ScriptedSmtp:
    """Plain text, no password, commands taken in one piece."""
    plain_server.forget()
    plain_server.change(size=None, pipelining=True)
    return plain_server


@pytest.fixture
def step_by_step(plain: ScriptedSmtp) -> ScriptedSmtp:
    """One that takes a command at a time."""
    plain.change(pipelining=False)
    return plain


@pytest.fixture(params=["plain", "step_by_step"])
def either(request: pytest.FixtureRequest) -> ScriptedSmtp:
    return request.getfixturevalue(request.param)


@pytest.fixture
def guarded(guarded_server: ScriptedSmtp) -> ScriptedSmtp:
    """STARTTLS and a password."""
    guarded_server.forget()
    guarded_server.change(starttls_offered=True, mechanisms=["PLAIN", "LOGIN"])
    return guarded_server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


@pytest.fixture(autouse=True)
def parted() -> Iterator[None]:
    """Leave the servers after each test."""
    yield
    while USED:
        USED.pop().close()
