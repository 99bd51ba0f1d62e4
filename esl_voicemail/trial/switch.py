"""The stand-in switch: a session that executes and a listener that holds the socket, as in FreeSWITCH.

Owns the order of what happens in a call; `wire` owns the text, `caller` the script and the recorded file.
Time is virtual seconds, waited for as `seconds / pace`. The mode is `async full` with plain events, and
applications run one after the other, as if every message had an event-lock.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import gevent
from gevent import socket

from esl_voicemail.trial import wire
from esl_voicemail.trial.caller import (
    TrialCaller,
)
from esl_voicemail.trial.listener import Listener
from esl_voicemail.trial.session import Session

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What became of a trial call, as the switch saw it.

    `handed_back`: the service let go of a call that was up, so the dialplan goes on with it. `transferred`:
    the extension that the service sent him to. `events_bytes` counts the frames of events only.
    `greeting_played`: he heard it to its end. `error` is one line for a person when it came to nothing.
    """

    call_id: str
    answered: bool
    applications: tuple[tuple[str, str], ...]
    greeting_played: bool
    recording: str | None
    recorded_ms: int
    handed_back: bool
    transferred: str | None
    hangup_cause: str | None
    variables: Mapping[str, str]
    commands: tuple[str, ...]
    events_bytes: int
    error: str | None


def place_call(
    address: tuple[str, int],
    caller: TrialCaller,
    *,
    dialled: str = "48221234567",
    variables: Mapping[str, str] = _NO_VARIABLES,
    pace: float = 1.0,
    connect_timeout_seconds: float = 5.0,
    call_id: str | None = None,
    patience_seconds: float = 5.0,
    limit_seconds: float = 900.0,
) -> TrialOutcome:
    """Place one call and return when the socket is closed; OSError when the service cannot be reached.

    `pace` virtual seconds pass in a real one; math.inf waits for nothing but the service. In real seconds,
    waiting for `connect` and a lingering socket last `patience_seconds` at least, at any pace, and the whole
    call `limit_seconds` at most.
    """
    connection = socket.create_connection(address, timeout=connect_timeout_seconds)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    service = f"{address[0]}:{address[1]}"
    channel = wire.Channel(
        call_id or str(uuid.uuid4()),
        caller,
        dialled=dialled,
        variables=variables,
        service=service,
        began=time.time(),
    )
    listener = Listener(connection, channel, pace, patience_seconds)
    session = Session(channel, caller, listener, pace)
    actors = [gevent.spawn(listener.run), gevent.spawn(session.run)]
    try:
        gevent.joinall(actors, timeout=limit_seconds, raise_error=True)
        late = not all(actor.dead for actor in actors)
    finally:
        gevent.killall(actors)
        listener.close()
    error = f"the call did not end within {limit_seconds:g} s" if late else listener.error or session.error
    return TrialOutcome(
        call_id=channel.call_id,
        answered=channel.answered_us > 0,
        applications=tuple(session.applications),
        greeting_played=session.greeting_played,
        recording=session.recording,
        recorded_ms=session.recorded_ms,
        handed_back=session.handed_back,
        transferred=session.transferred,
        hangup_cause=channel.hangup_cause,
        variables=MappingProxyType(dict(session.given)),
        commands=tuple(listener.commands),
        events_bytes=listener.events_bytes,
        error=error,
    )
