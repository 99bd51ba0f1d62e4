"""What connections of a switch have from the socket that listened for them."""

import pytest
from gevent import socket

from esl_voicemail.binding import bind, listen
from esl_voicemail.config.values import Address
from esl_voicemail.esl.sockets import prepare


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_connection_notices_within_a_minute_that_a_machine_is_gone(host: str) -> None:
    """The kernel asks for us; its own habit would be to begin after two hours."""
    with bind(Address(host, 0)) as listening:
        prepare(listening)
        listen(listening)
        with socket.create_connection(listening.getsockname()[:2]):
            listening.setblocking(True)
            accepted, _ = listening.accept()
    with accepted:

        def option(name: int) -> int:
            return accepted.getsockopt(socket.IPPROTO_TCP, name)

        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert option(socket.TCP_KEEPIDLE) + option(socket.TCP_KEEPCNT) * option(socket.TCP_KEEPINTVL) == 60
        assert option(socket.TCP_USER_TIMEOUT) == 60_000
        assert option(socket.TCP_NODELAY)
