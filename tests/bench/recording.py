"""A recorded call as the switch's side of it, ready to be said again: its events as templates.

Owns what was captured, cut by the application each part belongs to. Who is sent what is
`subscription`'s, what is said when is `switch`'s.
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote_to_bytes

_LINE = re.compile(rb"^([^:\n]+): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Event:
    """One event; what changes from call to call stands between its pieces."""

    name: str
    application: str
    headers: Mapping[bytes, bytes]
    pieces: tuple[tuple[bytes, ...], ...]

    def frame(self, call_id: bytes, application_id: bytes) -> bytes:
        """Return it as it goes over the wire."""
        body = application_id.join([call_id.join(part) for part in self.pieces])
        return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body)


@dataclass(frozen=True, slots=True)
class Step:
    """An application at work: the events of it, the last one its completion."""

    application: str
    events: tuple[Event, ...]

    @property
    def hangs_up(self) -> bool:
        """Whether the call ended in it."""
        return any(event.name == "CHANNEL_HANGUP" for event in self.events)


@dataclass(frozen=True)
class Recording:
    """A whole call: what it was when it came, its applications in turn, and what follows its hang-up."""

    call_id: bytes
    arrival: tuple[bytes, ...]
    steps: tuple[Step, ...]
    farewell: tuple[Event, ...]
    channel: bytes = field(default=b"")
    caller: bytes = field(default=b"")

    @cached_property
    def by_name(self) -> dict[str, tuple[Step, ...]]:
        """The steps of each application."""
        names = {step.application for step in self.steps}
        return {name: tuple(step for step in self.steps if step.application == name) for name in names}

    @cached_property
    def hang_up(self) -> tuple[Event, ...]:
        """What a hang-up brings that no application asked for."""
        events = (event for step in self.steps for event in step.events)
        return tuple(event for event in events if event.name == "CHANNEL_HANGUP")

    def connected(self, call_id: bytes) -> bytes:
        """Return the answer to `connect`, of a caller of its own: who calls again and again is looked up."""
        caller = b"%b%09d" % (self.caller[:-9], zlib.crc32(call_id) % 10**9)
        return call_id.join(self.arrival).replace(self.caller, caller)


def read(capture: Path) -> Recording:
    """Read a capture; ValueError when it does not begin with the answer to `connect`."""
    rows = (json.loads(line) for line in capture.read_text(encoding="utf-8").splitlines())
    texts = [row["text"].encode() for row in rows if row["from"] == "switch" and "text" in row]
    arrival = texts[0]
    if not arrival.startswith(b"Event-Name: CHANNEL_DATA\n"):
        raise ValueError(f"{capture}: does not begin with the answer to `connect`")
    headers = dict(_LINE.findall(arrival))
    call_id = headers[b"Unique-ID"]
    steps: list[Step] = []
    events: list[Event] = []
    for text in texts[1:]:
        body = text.partition(b"\n\n")[2]
        if not body.startswith(b"Event-Name: "):
            continue
        event = _event(body, call_id)
        events.append(event)
        if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.application != "socket":
            steps.append(Step(event.application, tuple(events)))
            events = []
    channel = unquote_to_bytes(headers[b"Channel-Name"])
    caller = unquote_to_bytes(headers[b"Caller-Caller-ID-Number"]).lstrip(b"+")
    return Recording(call_id, tuple(arrival.split(call_id)), tuple(steps), tuple(events), channel, caller)


def _event(body: bytes, call_id: bytes) -> Event:
    headers = {name: unquote_to_bytes(value) for name, value in reversed(_LINE.findall(body))}
    application_id = headers.get(b"Application-UUID")
    parts = body.split(application_id) if application_id else [body]
    return Event(
        headers[b"Event-Name"].decode(),
        headers.get(b"Application", b"").decode(),
        headers,
        tuple(tuple(part.split(call_id)) for part in parts),
    )
