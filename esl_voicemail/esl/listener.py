"""Where FreeSWITCH's `socket` application connects: who may, how many at once, and the orderly end.

A connection is a call once it has answered `connect`; until then it takes no call's place, and one that
never does is counted among the peers: anybody may look at the port. Refusing costs the caller nothing as long
as the dialplan has a next action: a call over the limit is taken just long enough to be handed back, and
beyond that the connection is closed, which with `socket_resume` set has the same effect.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer
from greenlet import greenlet

from esl_voicemail.binding import bind, bound, listen
from esl_voicemail.config.values import Address, Network
from esl_voicemail.esl.channel import Channel
from esl_voicemail.esl.frames import Room
from esl_voicemail.esl.sockets import prepare
from esl_voicemail.session import Desk, Session
from esl_voicemail.telemetry import Telemetry

# Connections that have not answered `connect` yet. A switch does so at once; who says nothing is closed for
# the next one to come.
SILENT_AT_MOST = 1000
# Calls that may be on their way back to the dialplan at once; more are simply closed.
REFUSALS_AT_MOST = 200
# Of frames that are not whole yet, on all connections together; a call's own wait for no more than a moment.
_WAITING_BYTES = 128 * 1024 * 1024
# How long calls that outlive the drain have to say their line.
_LAST_WORDS_SECONDS = 5.0


class Listener:
    """Accepts connections, and counts the calls among them."""

    def __init__(
        self,
        address: Address,
        allowed: Sequence[Network],
        max_calls: int,
        desk: Desk,
        telemetry: Telemetry,
    ) -> None:
        self._allowed = allowed
        self._max_calls = max_calls
        self._desk = desk
        self._telemetry = telemetry
        self._sessions: set[greenlet] = set()
        self._silent: dict[Channel, None] = {}  # in the order they came
        self._calls: set[Channel] = set()
        self._refused: set[Channel] = set()
        self._room = Room(_WAITING_BYTES)
        self._idle = Event()
        self._idle.set()
        self._server = StreamServer(bind(address), self._accepted)
        prepare(self._server.socket)

    @property
    def address(self) -> Address:
        """The address that is really listened on."""
        return bound(self._server.socket)

    @property
    def calls(self) -> int:
        """How many calls are in progress."""
        return len(self._calls)

    def listen(self) -> None:
        """Let switches connect; CannotBindError when another server took the address meanwhile."""
        listen(self._server.socket)

    def serve(self) -> None:
        """Accept until `stop`; returning any earlier means that the socket is gone."""
        self._server.serve_forever()

    def stop(self, seconds: float) -> int:
        """Refuse new connections, let current calls finish within a limit; return how many did not."""
        self._server.close()
        self._idle.wait(seconds)
        left = len(self._calls)
        gevent.killall(list(self._sessions), timeout=_LAST_WORDS_SECONDS)
        return left

    def _accepted(self, sock: socket.socket, peer: Any) -> None:
        session = gevent.getcurrent()
        self._sessions.add(session)
        self._idle.clear()
        try:
            if self._may(peer[0]):
                self._serve(Channel(peer, sock, self._room))
            else:
                self._telemetry.peer_refused("not_allowed", str(peer[0]))
        except OSError:
            # The peer was gone before its socket could be set up.
            self._telemetry.peer_refused("silent", str(peer[0]))
        finally:
            sock.close()
            self._sessions.discard(session)
            if not self._sessions:
                self._idle.set()

    def _serve(self, channel: Channel) -> None:
        if len(self._silent) >= SILENT_AT_MOST:
            longest = next(iter(self._silent))
            del self._silent[longest]
            longest.dismiss("it said nothing, and others came")
        self._silent[channel] = None
        try:
            Session(self._desk, channel, lambda: self._admit(channel)).run()
        finally:
            self._silent.pop(channel, None)
            self._calls.discard(channel)
            self._refused.discard(channel)

    def _admit(self, channel: Channel) -> str | None:
        """Count a connection as a call from now on, or return why it cannot be one."""
        self._silent.pop(channel, None)
        if len(self._calls) < self._max_calls:
            self._calls.add(channel)
            return None
        self._telemetry.peer_refused("at_capacity", channel.peer)
        if len(self._refused) < REFUSALS_AT_MOST:
            self._refused.add(channel)
        else:
            channel.dismiss("there are too many calls to hand each of them back")
        return f"{len(self._calls)} calls are in progress, as many as switch.max_calls allows"

    def _may(self, host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._allowed)
