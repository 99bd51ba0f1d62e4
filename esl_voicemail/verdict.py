"""What became of one try to hand a mail over, and between whom; no behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Envelope:
    """SMTP sender and recipient, as bare ASCII addresses (RFC 5321)."""

    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server took responsibility (RFC 5321 section 4.2.5).

    `smaller` says what was sent, and why, where the server would not take the whole mail.
    """

    code: int
    reply: str
    smaller: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: try again later. `ours` means our set-up is at fault, not the message.

    `unreachable`: the server would take no mail at all now, whatever the message. `ended_here`: the try was
    cut short by us, and the server did not have its say.
    """

    code: int | None
    reply: str
    ours: bool = False
    unreachable: bool = False
    ended_here: bool = False


@dataclass(frozen=True, slots=True)
class Bounced:
    """The server refused this recipient or message for good."""

    code: int
    reply: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Tried for as long as configured; the last refusal stands in `reply`."""

    code: int | None
    reply: str


@dataclass(frozen=True, slots=True)
class Held:
    """Cannot be composed or keeps crashing: waits for a person."""

    reply: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The server takes no mail of this size, but maybe a smaller one; `limit` in bytes, None if unknown."""

    code: int
    reply: str
    limit: int | None


Verdict = Delivered | Deferred | Bounced | Expired | Held
