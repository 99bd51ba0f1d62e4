"""A mail as SMTP's DATA wants it. Pure."""

from dataclasses import dataclass, field

from esl_voicemail.mail.parts import Base64, Entity


@dataclass(frozen=True, slots=True)
class Encoded:
    """A mail as DATA wants it, and its size without that (RFC 1870 section 3)."""

    size: int
    stuffed: bytes = field(repr=False)


def encoded(mail: Entity) -> Encoded:
    """Double the dots at line starts, and add the closing one (RFC 5321 section 4.5.2)."""
    stuffed = [piece if isinstance(piece, Base64) else _stuffed(piece) for piece in mail.pieces]
    return Encoded(len(mail), b"".join([*stuffed, b".\r\n"]))


def _stuffed(piece: bytes) -> bytes:
    # No regular expression: it would keep all other threads waiting for as long as it takes.
    return (b"\n" + piece).replace(b"\n.", b"\n..")[1:]
