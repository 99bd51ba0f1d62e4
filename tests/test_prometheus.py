"""A real Prometheus scrapes the service while it takes calls and its mail server goes away and comes back."""

import json
import math
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest

from esl_voicemail.trial.caller import TrialCaller
from tests.support.service import Service, running, until
from tests.support.smtp import scripted_smtp
from tests.support.speech import tone

METRICS = Path(__file__).parent.parent / "metrics"
CALLS = 200
WAITING = {"VoicemailNothingDelivered", "VoicemailQueueOld"}

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: the package prometheus)"
)


@dataclass
class Prometheus:
    """A running Prometheus, asked through its own API."""

    url: str

    def ask(self, path: str, **arguments: str) -> Any:
        """Return the data of an answer, or None while there is none."""
        try:
            asked = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, query: str) -> float | None:
        """Return the value of the only series that a query finds, or None without any."""
        found = self.ask("query", query=query)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, service: Service) -> Iterator[Prometheus]:
    """Run one with the shipped configuration and rules, its minutes made seconds and its wait short."""
    folder.mkdir()
    config = (METRICS / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9184", service.http).replace(
        "scrape_interval: 15s", "scrape_interval: 1s"
    )
    (folder / "prometheus.yml").write_text(f"global: {{evaluation_interval: 1s}}\n{config}")
    rules = re.sub(r"(_age_seconds|\[10m\]\)) > \d+", r"\1 > 5", (METRICS / "alerts.yml").read_text())
    assert rules.count(" > 5\n") == len(WAITING)
    (folder / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules))
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *arguments], cwd=folder, stdout=log, stderr=log)
    try:
        started = Prometheus(f"http://{address}")
        until(
            lambda: started.value("up") == 1,
            f"{(folder / 'log').read_text()}\nPrometheus scrapes the service",
        )
        yield started
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def place_calls(service: Service, count: int) -> None:
    callers = [TrialCaller(speech=tone(1.5, 300 + n)) for n in range(count)]
    calls = [gevent.spawn(service.call, caller, pace=math.inf) for caller in callers]
    gevent.joinall(calls, timeout=120, raise_error=True)
    assert all(call.ready() for call in calls)


@pytest.mark.timeout(300)
def test_alerts_fire_while_the_mail_server_is_away_and_end_when_all_mails_are_out(tmp_path: Path) -> None:
    port = free_port()
    (folder := tmp_path / "service").mkdir()
    out = {"smtp": {"host": "127.0.0.1", "port": port, "security": "none"}}
    with (
        running(folder, {"mail": out}) as service,
        prometheus(tmp_path / "prometheus", service) as watching,
    ):
        with scripted_smtp(port=port) as server:
            place_calls(service, CALLS // 2)
            until(lambda: len(server.accepted) == CALLS // 2, "the first mails are out", 60)
            assert not WAITING & watching.firing()
        place_calls(service, CALLS - CALLS // 2)
        until(lambda: watching.firing() >= WAITING, "both alerts fire", 60)
        assert watching.value("voicemail_queue_oldest_age_seconds > 5")
        assert watching.value("voicemail_delivery_stalled_seconds > 5")
        with scripted_smtp(port=port) as server:
            until(lambda: len(server.accepted) == CALLS - CALLS // 2, "the other mails are out", 120)
            until(lambda: not WAITING & watching.firing(), "both alerts end", 30)
        delivered = 'voicemail_delivery_attempts_total{result="delivered", smtp_class="2xx"}'
        assert watching.value(delivered) == CALLS
        assert watching.value("min_over_time(up[5m])") == 1
        slowest = watching.value("max_over_time(scrape_duration_seconds[5m])")
        assert slowest is not None
        print(f"the slowest scrape took {slowest:.3f} s")
        assert slowest < 5
