"""What a server says is read as smtplib's own client reads it, in whatever pieces it comes."""

import io
import smtplib
import socket

import gevent
from hypothesis import given
from hypothesis import strategies as st

from esl_voicemail.mail.smtp import Client

# Lines of replies, and what is none; a line of more than 8,192 bytes is cut by both.
LINES = st.sampled_from(
    [
        b"250 2.1.0 Ok\r\n",
        b"250-first\r\n",
        b"354 go on\n",
        b"\r\n",
        b"2\r\n",
        b"no reply\r\n",
        b"250 " + b"x" * 8186 + b"\r\n",
        b"250 " + b"x" * 8192 + b"\r\n",
        b"250 without an end",
    ]
)


def heard(client: smtplib.SMTP) -> list[tuple[int, bytes] | str]:
    """Return all replies until the line is dead, and why it is."""
    replies: list[tuple[int, bytes] | str] = []
    while True:
        try:
            replies.append(client.getreply())
        except smtplib.SMTPException as error:
            return [*replies, str(error)]


def by_smtplib(said: bytes) -> list[tuple[int, bytes] | str]:
    client = smtplib.SMTP()
    client.file = io.BytesIO(said)
    return heard(client)


def by_us(said: bytes, cuts: list[int]) -> list[tuple[int, bytes] | str]:
    ours, theirs = socket.socketpair()
    client = Client()
    client.sock = ours

    def say() -> None:
        with theirs:
            for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
                theirs.sendall(said[begin:end])
                gevent.sleep(0)

    with ours, gevent.Timeout(20):
        saying = gevent.spawn(say)
        replies = heard(client)
        saying.kill()
    return replies


@given(st.lists(LINES, max_size=8).map(b"".join), st.data())
def test_replies_in_any_pieces_are_those_smtplib_would_read(said: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=6)))
    assert by_us(said, cuts) == by_smtplib(said)
