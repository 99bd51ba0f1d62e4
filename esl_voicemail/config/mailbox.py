"""A mailbox as the service uses it: its own settings and the inherited ones, resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from esl_voicemail.config.values import MailAddress
from esl_voicemail.hours import Week, is_open
from esl_voicemail.model import Reason


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

    def greeting(self, reason: Reason) -> Path:
        """Return the greeting for a reason, or the default one."""
        return self.greetings.get(reason.value, self.greetings["default"])

    def reason_by_clock(self, now: datetime) -> Reason:
        """Return `after-hours` outside the business hours, else `direct`."""
        if self.week is None or is_open(self.week, self.holidays, now.astimezone(self.timezone)):
            return Reason.DIRECT
        return Reason.AFTER_HOURS


def mailbox_of(mailboxes: Mapping[str, Mailbox], key: str) -> Mailbox:
    """Return the mailbox of a kept message; where it is no longer configured, another's settings.

    A message outlives its mailbox's place in the configuration, and must still reach somebody.
    """
    if key in mailboxes:
        return mailboxes[key]
    return replace(next(iter(mailboxes.values())), key=key, name=key, reply_to=None)
