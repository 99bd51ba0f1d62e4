"""The account of a soak: what callers said, held against what the journal and every recipient have of it."""

import wave
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from io import BytesIO

from logfmtkv import LogfmtError

from tests.support.service import parse_logfmt

# Shorter than this is no message by configuration, and a frame either way must not decide.
LEAST_MS = 1100


@dataclass(frozen=True)
class Spoken:
    """What the switch has recorded of a caller: the first of his speech, and the silence after it."""

    speech: memoryview
    recorded_ms: int

    def is_heard_in(self, samples: bytes) -> bool:
        """Whether a recording is this one: as long, and the same byte for byte."""
        said = bytes(self.speech).ljust(len(samples), b"\0")[: len(samples)]
        return len(samples) // 16 == self.recorded_ms and samples == said


@dataclass(frozen=True)
class Mail:
    """A mail that the server took for a recipient; `samples` is None where it brought no audio."""

    recipient: str
    name: str
    samples: bytes | None

    @property
    def message_id(self) -> str:
        """The message it brings."""
        return self.name.strip("<>").partition(".")[0].upper()


def read_mail(recipient: str, content: bytes) -> Mail:
    """Read what the server took."""
    mail = message_from_bytes(content, policy=policy.default)
    samples = None
    for part in mail.iter_attachments():  # type: ignore[attr-defined]
        with wave.open(BytesIO(part.get_content())) as file:
            samples = file.readframes(file.getnframes())
    return Mail(recipient, mail["Message-ID"], samples)


def unreadable(log: str, starts_refused: int) -> Iterator[str]:
    """Say which lines of a log are none; only a start that is refused says why in plain words."""
    plain = []
    for line in log.removesuffix("\n").split("\n"):
        try:
            parse_logfmt(line)
        except (LogfmtError, AssertionError):
            plain.append(line)
    broken = [line for line in plain if line.startswith("ts=") or not line.strip()]
    if len(plain) - len(broken) > starts_refused:
        broken = plain
    yield from (f"unreadable: a line of the log is {line[:200]!r}" for line in broken)


@dataclass
class Ledger:
    """Takes in mail after mail, and says at the end what is missing, wrong or too much.

    `spoken` are the calls that left something in a file, `unwritten` those the disk refused even that.
    """

    recipients: Collection[str]
    spoken: Mapping[str, Spoken]
    unwritten: Collection[str]
    names: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    voicemails: Counter[tuple[str, str]] = field(default_factory=Counter)
    notices: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def enter(self, mail: Mail) -> None:
        """Take a mail into account."""
        key = (mail.message_id, mail.recipient)
        self.names.setdefault(key, set()).add(mail.name)
        if mail.samples is None:
            self.notices[key] += 1
            return
        self.voicemails[key] += 1
        spoken = self.spoken.get(mail.message_id)
        if spoken is None:
            self.wrong.append(f"a mail to {mail.recipient} of a message that nobody left: {mail.name}")
        elif not spoken.is_heard_in(mail.samples):
            said = f"{len(mail.samples) // 16} ms of {spoken.recorded_ms} ms"
            self.wrong.append(f"a mail to {mail.recipient} with another audio, {said}: {mail.name}")

    @property
    def past_the_beep(self) -> set[str]:
        """The messages of those who spoke long enough to have left one."""
        return {message for message, one in self.spoken.items() if one.recorded_ms >= LEAST_MS}

    def repeated(self) -> int:
        """How many mails brought what their recipient had already."""
        return sum((self.voicemails + self.notices).values()) - len(self.names)

    def faults(self, kept: Collection[str], unsettled: Mapping[tuple[str, str], str]) -> Iterator[str]:
        """Say what is not as promised.

        `kept` are the journal's messages, `unsettled` the states of its mails that are not delivered.
        """
        past = self.past_the_beep
        for message in sorted(past - set(kept)):
            yield f"lost: the journal keeps no message {message}"
        for recipient in self.recipients:
            for message in sorted(past):
                if not self.voicemails[message, recipient] and (message, recipient) not in unsettled:
                    yield f"lost: no mail of message {message} to {recipient}"
            for message in sorted(self.unwritten):
                if not self.notices[message, recipient] and (message, recipient) not in unsettled:
                    yield f"untold: no mail of the call without audio {message} to {recipient}"
        yield from self.wrong
        for (message, recipient), names in sorted(self.names.items()):
            if len(names) > 1:
                yield f"renamed: message {message} to {recipient} under {', '.join(sorted(names))}"
        for (message, recipient), state in unsettled.items():
            yield f"stuck: the mail of message {message} to {recipient} is {state}"
        if not past:
            yield "nobody got past the beep: this proves nothing"

    def balance(self, kept: Collection[str], faults: Collection[str]) -> Iterator[str]:
        """Say how it stands, in lines for a person."""
        past, every = self.past_the_beep, set(kept)
        mails = " ".join(
            f"= mails to {to} {sum(bool(self.voicemails[one, to]) for one in past)}" for to in self.recipients
        )
        lost, stuck = (sum(fault.startswith(word) for fault in faults) for word in ("lost", "stuck"))
        yield (
            f"calls past the beep {len(past)} = voicemails {len(past & every)} {mails}, "
            f"{lost} lost, {stuck} stuck"
        )
        told = len({message for message, _ in self.notices})
        yield (
            f"besides, {len(every - past)} kept of callers cut off in their first second, "
            f"{len(self.unwritten)} callers whose recording found no room, {told} calls told of without audio"
        )
        renamed = sum(len(names) - 1 for names in self.names.values())
        total = sum((self.voicemails + self.notices).values())
        yield f"mails {total}, {self.repeated()} of them repeated, {renamed} under another Message-ID"
