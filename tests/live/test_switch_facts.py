"""What the service takes for granted of the switch, asked by a bare service of the test's own."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.live import speech
from tests.live.console import HOST
from tests.live.office import Conversation
from tests.live.switch import Switch
from tests.support.service import until

Frame = tuple[dict[str, str], dict[str, str]]


@dataclass
class Probe:
    """The service's end of one call's event socket, without a service."""

    sock: socket.socket
    frames: list[tuple[float, Frame]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._file = self.sock.makefile("rb")
        self.say("connect")
        self.call_id = self.next()[0]["Unique-ID"]

    def say(self, *lines: str) -> None:
        """Send one command."""
        self.sock.sendall(("\n".join(lines) + "\n\n").encode())

    def execute(self, application: str, argument: str, application_id: str) -> None:
        """Execute an application under a lock."""
        self.say(
            "sendmsg",
            "call-command: execute",
            f"execute-app-name: {application}",
            f"execute-app-arg: {argument}",
            f"Event-UUID: {application_id}",
            "event-lock: true",
        )

    def next(self) -> Frame:
        """Return the next frame: its headers, and those of the event in it."""
        head = self._block()
        body = self._file.read(int(head.get("Content-Length", 0))).decode()
        if head.get("Content-Type") == "api/response":
            return head, {"body": body}
        pairs = (line.partition(": ") for line in body.partition("\n\n")[0].split("\n") if line)
        frame = head, {name: unquote(value) for name, _, value in pairs}
        self.frames.append((time.monotonic(), frame))
        return frame

    def api(self, command: str) -> str:
        """Run a command of the console; events that come before its answer are kept."""
        self.say(f"api {command}")
        while (frame := self.next())[0].get("Content-Type") != "api/response":
            pass
        return frame[1]["body"]

    def event(self, name: str, application_id: str = "") -> dict[str, str]:
        """Return an event that came or comes."""
        seen = 0
        while True:
            for _, (_, event) in self.frames[seen:]:
                ours = not application_id or event.get("Application-UUID") == application_id
                if event.get("Event-Name") == name and ours:
                    return event
            seen = len(self.frames)
            self.next()

    def _block(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while line := self._file.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            found[name] = unquote(value)
        if not found:
            raise EOFError("the switch closed the event socket")
        return found

    def close(self) -> None:
        """Leave, as a process that dies does."""
        self._file.close()
        self.sock.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Where the probe waits for the switch."""
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(20)
        yield listening


@contextmanager
def probed(
    server: socket.socket, telephones: Switch, exchange: Switch
) -> Iterator[tuple[Probe, Conversation]]:
    """Place a call whose service is the probe."""
    caller = telephones.originate(exchange, f"probe_{server.getsockname()[1]}")
    sock, _ = server.accept()
    sock.settimeout(20)
    probe = Probe(sock)
    try:
        for command in ("linger 10", "myevents"):
            probe.say(command)
        probe.execute("answer", "", "answer")
        probe.event("CHANNEL_EXECUTE_COMPLETE", "answer")
        yield probe, Conversation(caller, exchange.channel_of(caller.uuid))
    finally:
        probe.close()
        exchange.api("hupall")
        telephones.api("hupall")


def test_multiset_with_an_empty_value_unsets_socket_resume(
    server: socket.socket, telephones: Switch, exchange: Switch, tmp_path: Path
) -> None:
    with probed(server, telephones, exchange) as (probe, call):
        assert probe.api(f"uuid_getvar {probe.call_id} socket_resume").strip() == "true"
        probe.execute("multiset", "^^;socket_resume=;playback_terminators=#;record_sample_rate=8000", "vars")
        done = probe.event("CHANNEL_EXECUTE_COMPLETE", "vars")
        assert "variable_socket_resume" not in done
        assert done["variable_playback_terminators"] == "#"
        assert probe.api(f"uuid_getvar {probe.call_id} socket_resume").strip() == "_undef_"
        probe.execute("record", f"{tmp_path}/kept.wav 3 200 60", "record")
        started = call.channel.event("RECORD_START")
        probe.close()
        stopped = call.channel.event("RECORD_STOP")
        print(f"record ran {stopped.at - started.at:.3f} s, of 3, past the end of its socket")
        assert stopped.at - started.at > 2.9
        said = call.channel.event("CHANNEL_EXECUTE", lambda event: event.get("Application") == "log")
        assert said.get("Application-Data").startswith("NOTICE fallback")


def test_with_socket_resume_left_set_the_end_of_the_socket_cuts_a_recording_off(
    server: socket.socket, telephones: Switch, exchange: Switch, tmp_path: Path
) -> None:
    with probed(server, telephones, exchange) as (probe, call):
        probe.execute("record", f"{tmp_path}/cut.wav 20 200 60", "record")
        started = call.channel.event("RECORD_START")
        probe.close()
        stopped = call.channel.event("RECORD_STOP")
        cause = call.channel.event("CHANNEL_HANGUP").get("Hangup-Cause")
        print(f"record ran {stopped.at - started.at:.3f} s; {cause}")
        assert stopped.at - started.at < 2
        assert cause == "DESTINATION_OUT_OF_ORDER"


def test_uuid_kill_ends_a_locked_recording_at_once_and_its_completion_still_comes(
    server: socket.socket, telephones: Switch, exchange: Switch, tmp_path: Path
) -> None:
    with probed(server, telephones, exchange) as (probe, _):
        file = tmp_path / "killed.wav"
        probe.execute("set", "enable_file_write_buffering=false", "set")
        probe.execute("record", f"{file} 60 200 60", "record")
        probe.execute("playback", "tone_stream://%(500,0,1000)", "behind the lock")
        until(lambda: file.exists() and file.stat().st_size > 16_000, "a second is recorded")
        began = time.monotonic()
        assert probe.api(f"uuid_kill {probe.call_id} NORMAL_CLEARING").startswith("+OK")
        answered = time.monotonic() - began
        done = probe.event("CHANNEL_EXECUTE_COMPLETE", "record")
        took = time.monotonic() - began
        recorded_ms = int(done["variable_record_ms"])
        print(f"+OK after {answered:.3f} s, completion after {took:.3f} s: {recorded_ms} ms")
        assert took < 0.5
        assert done["Application"] == "record"
        assert done["Answer-State"] == "hangup"
        assert len(speech.read(file.read_bytes())) == recorded_ms * speech.RATE // 1000
        hangup = probe.event("CHANNEL_HANGUP")
        assert hangup["Hangup-Cause"] == "NORMAL_CLEARING"
        probe.event("CHANNEL_HANGUP_COMPLETE")
        print([event.get("Event-Name") or head["Content-Type"] for _, (head, event) in probe.frames][-12:])
        assert not [e for _, (_, e) in probe.frames if e.get("Application-UUID") == "behind the lock"]
