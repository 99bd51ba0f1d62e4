"""A mailbox as the service uses it: its own settings and the inherited ones, resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from esl_voicemail.config.values import MailAddress
from esl_voicemail.hours import Week, is_open
from esl_voicemail.model import TECHNICAL, Caller, CallResult, Reason

# Calls for a mailbox that is not configured come to the one of this name, if there is one.
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One department's mailbox; paths are absolute, times in its own zone."""

    key: str
    name: str
    numbers: tuple[str, ...]
    recipients: tuple[MailAddress, ...]
    reply_to: MailAddress | None
    greetings: Mapping[str, Path]
    thanks: Path
    apology: Path
    week: Week | None
    holidays: str | None
    language: str
    timezone: ZoneInfo
    region: str
    attachment: str
    max_seconds: int
    min_seconds: int
    silence_seconds: int
    notify_empty: str = "never"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Who gets the mails, as bare addresses."""
        return tuple(recipient.address for recipient in self.recipients)

    def told_of_empty(self, result: CallResult, caller: Caller) -> tuple[str, ...]:
        """Return who is mailed of a call that left no audio: all or nobody."""
        known = bool(caller.number) and not caller.withheld
        told = (
            result in TECHNICAL
            or self.notify_empty == "always"
            or (self.notify_empty == "known-callers" and known)
        )
        return self.addresses if told else ()

    def greeting(self, reason: Reason) -> Path:
        """Return the greeting for a reason, or the default one."""
        return self.greetings.get(reason.value, self.greetings["default"])

    def in_language(self, sound: Path, language: str) -> Path:
        """Return a shipped sound as the call's language has it; a sound of the mailbox's own stays."""
        shipped = self.thanks.parent.parent
        return shipped / language / sound.name if sound.parent.parent == shipped else sound

    def reason_by_clock(self, now: datetime) -> Reason:
        """Return `after-hours` outside the business hours, else `direct`."""
        if self.week is None or is_open(self.week, self.holidays, now.astimezone(self.timezone)):
            return Reason.DIRECT
        return Reason.AFTER_HOURS


def mailbox_of(mailboxes: Mapping[str, Mailbox], key: str) -> Mailbox:
    """Return the mailbox of a kept message; where it is no longer configured, one like the default.

    A message outlives its mailbox's place in the configuration, and must still be composed.
    """
    if key in mailboxes:
        return mailboxes[key]
    # As one list, since a reload may change the mapping meanwhile.
    other = mailboxes.get(DEFAULT) or list(mailboxes.values())[0]  # noqa: RUF015
    return replace(other, key=key, name=key, reply_to=None)
