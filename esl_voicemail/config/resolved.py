"""A configuration as it is used: its sections, absolute paths, mailboxes; and where each setting stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from esl_voicemail.config.mailbox import Mailbox
from esl_voicemail.config.sections import (
    HttpSection,
    LogSection,
    MailSection,
    ProbeSection,
    StorageSection,
    SwitchSection,
)
from esl_voicemail.config.source import EMBEDDED_NAME, Source, Trail, show
from esl_voicemail.config.transcriber import Transcriber
from esl_voicemail.config.values import Address

BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything configured; paths are absolute. `at` says where a setting stands."""

    source: Source
    listen: Address
    switch: SwitchSection
    storage: StorageSection
    directory: Path
    recordings: Path
    recordings_named: bool
    mail: MailSection
    maildir: Path | None
    password_file: Path | None
    ca_file: Path | None
    http: HttpSection
    log: LogSection
    greetings: Path
    transcribers: Mapping[str, Transcriber]
    mailboxes: Mapping[str, Mailbox]
    mailboxes_dir: Path
    mailbox_sources: Mapping[str, tuple[Source, Trail]] = field(default_factory=dict)
    probe: ProbeSection | None = None
    console_password_file: Path | None = None
    template_folders: tuple[Path, ...] = ()
    template_problems: tuple[str, ...] = ()

    def at(self, *trail: str | int) -> str:
        """Return `file:line: section.key` of a setting, as an error message begins."""
        if len(trail) > 1 and trail[0] == "mailboxes" and trail[1] in self.mailbox_sources:
            source, prefix = self.mailbox_sources[str(trail[1])]
            return f"{source.at((*prefix, *trail[2:]))}: {show(trail)}"
        return f"{self.source.at(trail)}: {show(trail)}"

    def origin(self, mailbox: str, *setting: str | int) -> str:
        """Return `file:line` of a mailbox or its setting, its own or the defaults', or `built in`."""
        source, prefix = self.mailbox_sources[mailbox]
        places = [(source, (*prefix, *setting)), (self.source, ("defaults", *setting))]
        for place, trail in places if setting else places[:1]:
            if place.name != EMBEDDED_NAME and place.holds(trail):
                return place.at(trail)
        return BUILT_IN
