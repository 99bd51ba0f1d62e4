"""A mail as bytes, for a file or for SMTP: headers, and each part's text whole, as it may be megabytes.

The library's generator parses headers again to see what there is to write, and takes a text apart line by
line, while no other thread gets a turn.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import EmailPolicy

from esl_voicemail.errors import ComposeError
from esl_voicemail.mail.parts import new_boundary

_BOUNDARY = re.compile(r'boundary="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Encoded:
    """A mail as DATA wants it, and its size without that (RFC 1870 section 3)."""

    size: int
    stuffed: bytes = field(repr=False)


def encoded(message: EmailMessage, policy: "EmailPolicy[EmailMessage]") -> Encoded:
    """Write a mail, dots at line starts doubled, and the closing dot (RFC 5321 section 4.5.2).

    ComposeError when it cannot be: no server is to blame, and no other mail may wait for it.
    """
    try:
        plain = [piece for piece in pieces(message, policy) if piece]
    except Exception as error:
        raise ComposeError(f"the mail cannot be written out: {type(error).__name__}: {error}") from error
    end = b".\r\n" if plain[-1].endswith(b"\r\n") else b"\r\n.\r\n"
    # An attachment has no dots: to look for one is less work than to look for two letters in a row.
    stuffed = (_stuffed(piece) if b"." in piece else piece for piece in plain)
    return Encoded(sum(map(len, plain)), b"".join([*stuffed, end]))


def _stuffed(piece: bytes) -> bytes:
    # No regular expression: it would keep all other threads waiting for as long as it takes.
    return (b"\n" + piece).replace(b"\n.", b"\n..")[1:]


def written(message: EmailMessage, policy: "EmailPolicy[EmailMessage]") -> bytes:
    """Return a mail as `as_bytes` does; whatever that raises."""
    return b"".join(pieces(message, policy))


def pieces(part: EmailMessage, policy: "EmailPolicy[EmailMessage]") -> Iterator[bytes]:
    """Yield what `written` joins; each piece but a line end begins a line."""
    end = policy.linesep.encode()
    boundary = f"--{_boundary(part)}".encode() if part.is_multipart() else b""
    for name, value in part.raw_items():
        yield policy.fold_binary(name, value)
    yield end
    # `get_payload` would parse a header, and look at each letter of an attachment.
    content = part._payload  # type: ignore[attr-defined]
    if isinstance(content, str):
        # The library's own encoders and ours end lines so.
        yield content.encode("ascii", "surrogateescape").replace(b"\n", end)
        return
    for inner in content or ():
        assert isinstance(inner, EmailMessage)
        yield boundary + end
        yield from pieces(inner, policy)
        yield end
    yield boundary + b"--" + end


def _boundary(part: EmailMessage) -> str:
    """Return a part's boundary as it stands in its header, a new one where there is none yet."""
    kind = next((str(value) for name, value in part.raw_items() if name == "Content-Type"), "")
    found = _BOUNDARY.search(kind)
    if found:
        return found[1]
    boundary = new_boundary()
    part.set_boundary(boundary)
    return boundary
