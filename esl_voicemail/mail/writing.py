"""A mail as bytes, written so that no other thread waits for a whole attachment: it may be megabytes."""

import secrets
from email.generator import BytesGenerator
from email.message import EmailMessage
from email.policy import EmailPolicy
from io import BytesIO

_PIECE = 1 << 16


def written(message: EmailMessage, policy: "EmailPolicy[EmailMessage]") -> bytes:
    """Return a mail as `as_bytes` does; whatever that raises."""
    out = BytesIO()
    _Generator(out, mangle_from_=False, policy=policy).flatten(message)
    return out.getvalue()


class _Generator(BytesGenerator):
    """The standard library's, which takes a part's text at once to split it and to look for a boundary in it.

    Where these methods should have other names one day, that is what is done again.
    """

    def _write_lines(self, lines: str) -> None:
        at = 0
        while at < len(lines):
            # Behind a line feed is always the end of a line, whatever stood before it.
            end = lines.find("\n", at + _PIECE) + 1 or len(lines)
            super()._write_lines(lines[at:end])  # type: ignore[misc]
            at = end

    @classmethod
    def _make_boundary(cls, text: str | None = None) -> str:
        # Neither quoted-printable nor base64 has these two in a row (RFC 2045 section 6.7).
        return f"=_{secrets.token_hex(16)}"
