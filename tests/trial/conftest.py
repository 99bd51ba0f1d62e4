"""What the tests of the stand-in switch share: patched modules, sounds, and a scripted service."""

from gevent import monkey

if not monkey.is_module_patched("socket"):
    monkey.patch_all()

import math
import resource
import struct
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import StreamServer

from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.switch import TrialOutcome, place_call
from tests.trial.line import Line

Place = Callable[..., TrialOutcome]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with the two sounds of the recorded calls, as long as those were."""
    for name, samples in (("sales.wav", 35518), ("thanks.wav", 19020)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 8000, samples, "NONE", ""))
            file.writeframes(bytes(2 * samples))
    return tmp_path


@pytest.fixture
def speech() -> Callable[[float], bytes]:
    """So many seconds of something loud."""
    return lambda seconds: struct.pack("<h", 3000) * round(8000 * seconds)


@pytest.fixture
def files_up_to() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file grow beyond so many bytes, for a block: the system refuses what comes after."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def place() -> Iterator[Place]:
    """Place a call, with no waiting, against a function that gets the service's end of the line."""
    servers: list[StreamServer] = []

    def call(
        service: Callable[[Line], object], caller: TrialCaller | None = None, **options: object
    ) -> TrialOutcome:
        lines: list[Line] = []

        def serve(connection: object, _address: object) -> None:
            line = Line(connection)
            lines.append(line)
            try:
                service(line)
            except (Exception, gevent.Timeout) as error:  # noqa: BLE001 - raised in the test below
                line.error = error
            finally:
                line.close()

        pool = Pool()
        server = StreamServer(("127.0.0.1", 0), serve, spawn=pool)
        server.start()
        servers.append(server)
        asked = {"pace": math.inf, "patience_seconds": 0.5, "limit_seconds": 20.0} | options
        outcome = place_call(("127.0.0.1", server.server_port), caller or TrialCaller(), **asked)
        pool.join(timeout=20)
        server.stop()
        for line in lines:
            if line.error:
                raise line.error
        return outcome

    yield call
    for server in servers:
        server.stop()
