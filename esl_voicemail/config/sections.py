"""The schema of `voicemail.yaml`: what each key may hold, and its default."""

from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, model_validator

from esl_voicemail.config.transcriber import NO_TRANSCRIBER, Chosen, Command, TranscriberKey
from esl_voicemail.config.values import (
    Address,
    AddressText,
    Closed,
    Country,
    Host,
    Hours,
    Line,
    MailAddress,
    MailAddressText,
    MailboxKey,
    NetworkText,
    Number,
    Operator,
    PathText,
    Region,
    Timezone,
)
from esl_voicemail.model import Reason
from esl_voicemail.promise import KINDS

Language = Literal["pl", "en"]
Attachment = Literal["wav", "mp3", "opus"]
NotifyEmpty = Literal["never", "always", "known-callers"]
GreetingKey = Literal[
    "default", "no-answer", "busy", "unavailable", "queue-timeout", "after-hours", "holiday", "direct"
]
PromiseKey = Literal["today", "next-working-day", "mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]
SpeechSeconds = Annotated[float, Field(strict=True, ge=0, le=60, allow_inf_nan=False)]

if {reason.value for reason in Reason} | {"default", "holiday"} != set(get_args(GreetingKey)):
    raise AssertionError("a greeting may be given for every reason, and for no others")
if set(KINDS) != set(get_args(PromiseKey)):
    raise AssertionError("a sentence may be given for every promise, and for no others")


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused, nothing can be changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class SwitchSection(Section):
    """Who may connect to the event socket, and how much at once."""

    allowed: tuple[NetworkText, ...] = Field(("127.0.0.0/8", "::1/128"), validate_default=True)
    max_calls: Annotated[StrictInt, Field(ge=1, le=100_000)] = 2000
    drain_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = 60


class StorageSection(Section):
    """Where everything that must survive lives."""

    directory: PathText = "./var"
    recordings: PathText | None = None
    retention_days: Annotated[StrictInt, Field(ge=1, le=36500)] = 30
    min_free_mb: Annotated[StrictInt, Field(ge=0)] = 100


class SmtpSection(Section):
    """The mail server that takes our mails."""

    host: Host
    port: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: Line | None = None
    password_file: PathText | None = None
    ca_file: PathText | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> "SmtpSection":
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: give both or neither")
        return self


class MailSection(Section):
    """How mails leave: by SMTP, or into a Maildir where no server is named."""

    sender: MailAddressText = Field(MailAddress("Voicemail", "voicemail@localhost"), alias="from")
    smtp: SmtpSection | None = None
    maildir: PathText | None = None
    max_connections: Annotated[StrictInt, Field(ge=1, le=100)] = 4
    retry_days: Annotated[StrictInt, Field(ge=1, le=30)] = 5
    operator: MailAddressText | None = None

    @model_validator(mode="after")
    def _one_way_out(self) -> "MailSection":
        if self.smtp and self.maildir:
            raise ValueError("smtp and maildir exclude each other: keep one")
        return self


class HttpSection(Section):
    """Where /metrics, /healthz and /readyz are served."""

    listen: AddressText = Address("127.0.0.1", 9184)


class LogSection(Section):
    """How log lines look, and from which level on there are any."""

    format: Literal["logfmt", "json"] = "logfmt"
    level: Literal["debug", "info", "warning", "error"] = "info"
    mask_numbers: StrictBool = True


class ConsoleSection(Section):
    """The event socket on which a switch takes commands, and what a call dials there.

    Without `dial` the call goes straight to our `listen`; with it, through the dialplan.
    """

    host: Host = "127.0.0.1"
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 8021
    password_file: PathText
    dial: Operator | None = None


class ProbeSection(Section):
    """A trial call at an interval, by the stand-in switch or a real one; whose its mail is; its limit."""

    every_minutes: Annotated[StrictInt, Field(ge=1, le=1440)] = 15
    limit_seconds: Annotated[StrictInt, Field(ge=10, le=3600)] = 120
    to: MailAddressText | None = None
    switch: ConsoleSection | None = None


class TranscriberSection(Section):
    """A program that writes down what was said: how it is run, and how long a mail waits for it."""

    command: Command
    seconds: Seconds = 60
    at_once: Annotated[StrictInt, Field(ge=1, le=64)] = 1


class Inherited(Section):
    """What a mailbox may set for itself and `defaults` sets for all."""

    language: Language | None = None
    timezone: Timezone | None = None
    region: Region | None = None
    attachment: Attachment | None = None
    max_seconds: Seconds | None = None
    min_seconds: Annotated[StrictInt, Field(ge=0, le=60)] | None = None
    min_speech_seconds: SpeechSeconds | None = None
    silence_seconds: Annotated[StrictInt, Field(ge=2, le=600)] | None = None
    notify_empty: NotifyEmpty | None = None
    hours: Hours | None = None
    holidays: Country | None = None
    closed: tuple[Closed, ...] | None = None
    promise: StrictBool | None = None
    keep_digits: StrictBool | None = None
    review: StrictBool | None = None
    ask_number: StrictBool | None = None
    caller_in_from: StrictBool | None = None
    thread_callers: StrictBool | None = None
    show_recipients: StrictBool | None = None
    important: StrictBool | None = None
    transcriber: Chosen | None = None


class DefaultsSection(Inherited):
    """The values that a mailbox does not set itself."""

    language: Language = "pl"
    timezone: Timezone = ZoneInfo("Europe/Warsaw")
    region: Region = "PL"
    attachment: Attachment = "mp3"
    max_seconds: Seconds = 300
    min_seconds: Annotated[StrictInt, Field(ge=0, le=60)] = 1
    min_speech_seconds: SpeechSeconds = 0.1
    silence_seconds: Annotated[StrictInt, Field(ge=2, le=600)] = 7
    notify_empty: NotifyEmpty = "never"
    closed: tuple[Closed, ...] = ()
    promise: StrictBool = False
    keep_digits: StrictBool = True
    review: StrictBool = False
    ask_number: StrictBool = False
    caller_in_from: StrictBool = False
    thread_callers: StrictBool = False
    show_recipients: StrictBool = False
    important: StrictBool = False
    templates: PathText | None = None
    transcriber: Chosen = NO_TRANSCRIBER


def _some(value: Any) -> Any:
    if isinstance(value, list) and not value:
        raise ValueError("names nobody: give at least one mail address")
    return value


class MailboxSection(Inherited):
    """One department: its people, its greetings, its hours."""

    name: Line | None = None
    numbers: tuple[Number, ...] = ()
    recipients: Annotated[tuple[MailAddressText, ...], BeforeValidator(_some)]
    reply_to: MailAddressText | None = None
    greetings: dict[GreetingKey, PathText] = Field(default_factory=dict)
    promises: dict[PromiseKey, PathText] = Field(default_factory=dict)
    operator: Operator | None = None
    templates: PathText | None = None


class ConfigSection(Section):
    """The whole file."""

    listen: AddressText = Address("127.0.0.1", 8084)
    switch: SwitchSection = SwitchSection()
    storage: StorageSection = StorageSection()
    mail: MailSection = MailSection()
    http: HttpSection = HttpSection()
    log: LogSection = LogSection()
    transcribers: dict[TranscriberKey, TranscriberSection] = Field(default_factory=dict)
    probe: ProbeSection | None = None
    defaults: DefaultsSection = DefaultsSection()
    mailboxes: dict[MailboxKey, MailboxSection] | None = None
    mailboxes_dir: PathText | None = None
    greetings_dir: PathText | None = None
