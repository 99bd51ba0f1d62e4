"""Connections to the mail server that wait a moment for the next mail; each is one greenlet's at a time.

Closed with a goodbye when no mail comes, or after so many: a server need not bear with us for ever. Whether
one is still good shows when it is used, and is `transport`'s to judge.
"""

import time
from collections import deque

import gevent

from esl_voicemail.mail.smtp import Client, part

# Servers wait for minutes (RFC 5321 section 4.5.3.2.7), and for seconds when they are busy.
_IDLE_SECONDS = 5.0
_MOST_MAILS = 100
_GOODBYE_SECONDS = 1.0


class Connections:
    """Those to one server that are open and in nobody's use, the one used last at the right."""

    def __init__(self, idle_seconds: float = _IDLE_SECONDS, most_mails: int = _MOST_MAILS) -> None:
        self._idle_seconds = idle_seconds
        self._most_mails = most_mails
        self._idle: deque[Client] = deque()
        self._watch: gevent.Greenlet[[], None] | None = None

    def take(self) -> Client | None:
        """Return the one used last, if there is one whose server keeps quiet."""
        while self._idle:
            server = self._idle.pop()
            if server.quiet() and time.monotonic() - server.idle_since < self._idle_seconds:
                return server
            part(server, _GOODBYE_SECONDS)
        return None

    def keep(self, server: Client) -> None:
        """Take back one whose last mail is settled."""
        server.mails += 1
        if server.mails >= self._most_mails:
            part(server, _GOODBYE_SECONDS)
            return
        server.idle_since = time.monotonic()
        self._idle.append(server)
        if not self._watch:
            self._watch = gevent.spawn(self._close_idle)

    def close(self) -> None:
        """Say goodbye to all, for a second at most."""
        gevent.joinall([gevent.spawn(part, server, _GOODBYE_SECONDS) for server in self._all()])

    def _all(self) -> list[Client]:
        taken = list(self._idle)
        self._idle.clear()
        return taken

    def _close_idle(self) -> None:
        """Close what has waited long enough, until there is none left."""
        while self._idle:
            left = self._idle[0].idle_since + self._idle_seconds - time.monotonic()
            if left > 0:
                gevent.sleep(left)
            else:
                part(self._idle.popleft(), _GOODBYE_SECONDS)
