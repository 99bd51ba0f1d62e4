"""Patches the standard library first, as the service does, and lends the tests real parts to stand on."""

from gevent import monkey

monkey.patch_all()

from collections.abc import Iterator
from pathlib import Path

import pytest

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
