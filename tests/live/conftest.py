"""Tests against a real FreeSWITCH, collected only when asked: FREESWITCH=/its/prefix pytest tests/live."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import office as offices
from tests.live import switch as switches
from tests.live.office import Office
from tests.live.switch import Switch
from tests.support import service as services

PREFIX = os.environ.get("FREESWITCH", "")
collect_ignore_glob = [] if PREFIX else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of what takes long."""
    config.addinivalue_line("markers", "slow: takes a minute of real time; leave out with -m 'not slow'")


@pytest.fixture(scope="session")
def service_port() -> int:
    """Where the office's dialplan looks for the service, test after test."""
    return switches.free_port()


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Where FreeSWITCH is installed."""
    return Path(PREFIX)


@pytest.fixture(scope="session")
def telephones(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """The switch that the callers call from."""
    with switches.running(prefix, tmp_path_factory.mktemp("telephones")) as switch:
        yield switch


@pytest.fixture(scope="session")
def exchange(prefix: Path, tmp_path_factory: pytest.TempPathFactory, service_port: int) -> Iterator[Switch]:
    """The office's switch, whose dialplan asks the service."""
    with switches.running(
        prefix, tmp_path_factory.mktemp("exchange"), offices.dialplan(service_port)
    ) as switch:
        yield switch


@pytest.fixture
def storage() -> dict[str, Any]:
    """Where the service keeps its state and its recordings, when not in the test's folder."""
    return {}


@pytest.fixture
def office(
    tmp_path: Path, exchange: Switch, telephones: Switch, service_port: int, storage: dict[str, Any]
) -> Iterator[Office]:
    """Both switches, and a service of the test's own."""
    settings = offices.settings(tmp_path, service_port, storage)
    office = Office(tmp_path, exchange, telephones, settings, services.start(tmp_path, settings))
    try:
        yield office
    finally:
        for switch in (telephones, exchange):
            switch.api("hupall")
        if office.service.process.poll() is None:
            office.service.process.kill()
            office.service.process.wait()


@pytest.fixture
def doomed(office: Office, prefix: Path, tmp_path: Path, service_port: int) -> Iterator[Switch]:
    """A switch of the office's own that a test may end."""
    with switches.running(prefix, tmp_path / "doomed", offices.dialplan(service_port)) as switch:
        office.exchange = switch
        yield switch
