"""The parts of a mail, encoded and joined: texts, audio, and what holds them. Pure.

Each header is written as it goes out. The library would parse its own again at every look, which takes
longer than all else of a mail; and it encodes audio line by line.
"""

import secrets
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.quoprimime import body_encode

from pybase64 import encodebytes

# Base64 of 57 bytes is a line of 76 (RFC 2045 section 6.8); so many at a time hold no other thread up.
_LINE, _PIECE = 76, 57 * 4096


def text(policy: "EmailPolicy[EmailMessage]", subtype: str, said: str) -> EmailMessage:
    """Return a part of text, quoted-printable."""
    part = EmailMessage(policy=policy)
    part.set_raw("Content-Type", f'text/{subtype}; charset="utf-8"')
    part.set_raw("Content-Transfer-Encoding", "quoted-printable")
    lines = b"\n".join(said.encode().splitlines()) + b"\n"
    part.set_payload(body_encode(lines.decode("latin-1"), _LINE))
    return part


def audio(
    policy: "EmailPolicy[EmailMessage]", kind: str, file_name: str, content: bytes, seconds: int
) -> EmailMessage:
    """Return a part of audio to be saved under a name, which is in plain letters; `kind` is its MIME type."""
    part = EmailMessage(policy=policy)
    part.set_raw("Content-Type", kind)
    part.set_raw("Content-Duration", str(seconds))  # RFC 3803
    part.set_raw("Content-Transfer-Encoding", "base64")
    _set(part, "Content-Disposition", "attachment", f'filename="{file_name}"')
    part.set_payload(base64_lines(content))
    return part


def join(subtype: str, into: EmailMessage, *parts: EmailMessage) -> EmailMessage:
    """Put parts behind one another into one that has no content yet, and return that."""
    _set(into, "Content-Type", f"multipart/{subtype}", f'boundary="{new_boundary()}"')
    for part in parts:
        into.attach(part)
    return into


def new_boundary() -> str:
    """Return one that no part has in it."""
    # Neither quoted-printable nor base64 has these two in a row (RFC 2045 section 6.7).
    return f"=_{secrets.token_hex(16)}"


def base64_lines(content: bytes) -> str:
    """Encode in lines of 76, as a mail has them."""
    starts = range(0, len(content), _PIECE)
    return b"".join(encodebytes(content[at : at + _PIECE]) for at in starts).decode("ascii")


def _set(part: EmailMessage, name: str, value: str, parameter: str) -> None:
    """Set a header and its parameter, on a line of its own where they are too long for one."""
    fits = len(f"{name}: {value}; {parameter}") <= _LINE
    part.set_raw(name, f"{value};{'' if fits else part.policy.linesep} {parameter}")
