"""A mailbox as the service uses it: its own settings and the inherited ones, resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from esl_voicemail.config.templates import Template
from esl_voicemail.config.transcriber import Transcriber
from esl_voicemail.config.values import MailAddress
from esl_voicemail.hours import ClosedDays, Week, is_closed, is_open
from esl_voicemail.model import (
    PROBE,
    TECHNICAL,
    Caller,
    CallResult,
    EndedBy,
    Hearing,
    Promise,
    Reason,
    Recording,
)
from esl_voicemail.promise import promise, sentences

# Calls for a mailbox that is not configured come to the one of this name, if there is one.
DEFAULT = "default"

HOLIDAY = "holiday"
_NONE: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One department's mailbox; paths are absolute, times in its own zone.

    `greetings` and `promises` are its own, `templates` its own and the installation's; `shipped` holds the
    sounds that travel with the project, by language and name.
    """

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
    min_speech_seconds: float = 0.1
    notify_empty: str = "never"
    closed: tuple[ClosedDays, ...] = ()
    promise: bool = False
    promises: Mapping[str, Path] = field(default_factory=lambda: _NONE)
    keep_digits: bool = True
    review: bool = False
    ask_number: bool = False
    operator: str | None = None
    caller_in_from: bool = False
    thread_callers: bool = False
    show_recipients: bool = False
    important: bool = False
    templates: tuple[Template, ...] = ()
    transcriber: Transcriber | None = None
    shipped: Mapping[str, Mapping[str, Path]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Who gets the mails, as bare addresses."""
        return tuple(recipient.address for recipient in self.recipients)

    def finds_empty(
        self, recording: Recording, ended_by: EndedBy, hearing: Hearing | None, *, typed: bool
    ) -> CallResult | None:
        """Return why a recording is no message, or None when it is one.

        What nobody could listen to is one; so it is when its caller `typed` a number.
        """
        cut = ended_by is EndedBy.CUT
        if recording.duration_ms == 0:
            # Cut off before a first word was on disk, it is no empty message.
            return CallResult.RECORD_FAILED if cut else CallResult.NO_AUDIO
        if cut:
            return None
        if recording.duration_ms < self.min_seconds * 1000:
            return CallResult.TOO_SHORT
        silent = hearing is not None and hearing.speech_ms < self.min_speech_seconds * 1000
        return CallResult.NO_SPEECH if silent and not typed else None

    def told_of_empty(self, result: CallResult, caller: Caller) -> tuple[str, ...]:
        """Return who is mailed of a call that left no audio: all or nobody."""
        known = bool(caller.number) and not caller.withheld
        if result is CallResult.OPERATOR:
            return ()  # somebody spoke to him, or the dialplan has seen to it
        told = (
            result in TECHNICAL
            or self.notify_empty == "always"
            or (self.notify_empty == "known-callers" and known)
        )
        return self.addresses if told else ()

    def greeting(self, reason: Reason, at: datetime | None = None, language: str = "") -> Path:
        """Return what a call hears: the mailbox's own for its reason or for any, else a shipped greeting.

        `at` is when the call arrived: after hours on a holiday or closed day, the holiday's greeting goes
        first. `language` is the call's, where it is not the mailbox's.
        """
        holiday = reason is Reason.AFTER_HOURS and at is not None and self.is_closed(at)
        names = (*((HOLIDAY,) if holiday else ()), reason.value, DEFAULT)
        shipped = self.shipped.get(language or self.language, _NONE)
        for sounds in (self.greetings, shipped):
            for name in names:
                if name in sounds:
                    return sounds[name]
        return self.in_language(self.thanks.with_name("default.wav"), language or self.language)

    def promised(self, at: datetime, language: str = "") -> tuple[Path, Promise] | None:
        """Return the sentence that says when somebody will call back, and what it says; or None.

        None where the mailbox promises nothing, no day is in sight, or no sentence says it.
        """
        if not self.promise or self.week is None:
            return None
        made = promise(self.week, self.holidays, at.astimezone(self.timezone), self.closed)
        if made is None:
            return None
        said = self.sentence(made.kind, language)
        return said and (said[0], Promise(said[1], made.day))

    def sentence(self, kind: str, language: str = "") -> tuple[Path, str] | None:
        """Return the sentence for a kind of promise, and which kind it says: its own, else a shipped one."""
        shipped = self.shipped.get(language or self.language, _NONE)
        said = [(self.promises, one, one) for one in sentences(kind)]
        said += [(shipped, f"promise-{one}", one) for one in sentences(kind)]
        return next(((sounds[name], one) for sounds, name, one in said if name in sounds), None)

    @property
    def prompts(self) -> dict[str, Path]:
        """The shipped sounds of a call beside greetings and promises, by name: the keys', thanks, apology."""
        shipped = self.shipped.get(self.language, _NONE)
        wanted = {"review": self.review, "operator": self.operator, "leave-number": self.ask_number}
        found = {name: shipped[name] for name, is_on in wanted.items() if is_on and name in shipped}
        return found | {"thanks": self.thanks, "apology": self.apology}

    def in_language(self, sound: Path, language: str) -> Path:
        """Return a shipped sound as the call's language has it; a sound of the mailbox's own stays."""
        return _in_language(self.thanks, sound, language)

    def is_closed(self, at: datetime) -> bool:
        """Tell whether a moment lies on a public holiday or one of the closed days."""
        return is_closed(self.holidays, self.closed, at.astimezone(self.timezone).date())

    def reason_by_clock(self, now: datetime) -> Reason:
        """Return `after-hours` outside the business hours (without any: on a closed day), else `direct`."""
        if self.week is None:
            return Reason.AFTER_HOURS if self.is_closed(now) else Reason.DIRECT
        is_it = is_open(self.week, self.holidays, now.astimezone(self.timezone), self.closed)
        return Reason.DIRECT if is_it else Reason.AFTER_HOURS


@lru_cache(maxsize=1024)
def _in_language(thanks: Path, sound: Path, language: str) -> Path:
    """Every call asks, always for the same few sounds, and to put a path together takes its time."""
    shipped = thanks.parent.parent
    return shipped / language / sound.name if sound.parent.parent == shipped else sound


def fallback(mailboxes: Mapping[str, Mailbox], named: str) -> Mailbox | None:
    """Return the mailbox for calls to one that is not configured; for the probe's there is none."""
    return None if named == PROBE else mailboxes.get(DEFAULT)


def mailbox_of(mailboxes: Mapping[str, Mailbox], key: str) -> Mailbox:
    """Return the mailbox of a kept message; where it is no longer configured, one like the default.

    A message outlives its mailbox's place in the configuration, and must still be composed.
    """
    if key in mailboxes:
        return mailboxes[key]
    # As one list, since a reload may change the mapping meanwhile.
    other = mailboxes.get(DEFAULT) or list(mailboxes.values())[0]  # noqa: RUF015
    return replace(
        other,
        key=key,
        name=key,
        reply_to=None,
        templates=(),
        caller_in_from=False,
        thread_callers=False,
        show_recipients=False,
        important=False,
    )
