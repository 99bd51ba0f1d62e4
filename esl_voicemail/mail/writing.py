"""A mail as bytes, in pieces: headers, and each part's text whole, as an attachment may be megabytes.

The library's generator parses headers again to see what there is to write, and takes a text apart line by
line, while no other thread gets a turn.
"""

import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import EmailPolicy

from esl_voicemail.mail.parts import new_boundary

_BOUNDARY = re.compile(r'boundary="([^"]+)"')


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
    content = part.get_payload()
    if isinstance(content, str):
        # The library's own encoders and ours end lines so.
        yield content.replace("\n", policy.linesep).encode("ascii", "surrogateescape")
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
