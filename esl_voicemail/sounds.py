"""The sound files that calls may hear, of all mailboxes: which there are, and whose; no more of them."""

from collections.abc import Iterator
from pathlib import Path

from esl_voicemail.config import Config


def own_sounds(config: Config) -> Iterator[tuple[str, Path]]:
    """Return the mailboxes' own greetings and promises, each with its file:line and section.key."""
    for key, mailbox in config.mailboxes.items():
        for section, sounds in (("greetings", mailbox.greetings), ("promises", mailbox.promises)):
            for name, path in sounds.items():
                yield config.at("mailboxes", key, section, name), path


def shipped_sounds(config: Config) -> list[Path]:
    """Return the shipped ones, in any language: all calls share them, so each stands here once."""
    found: set[Path] = set()
    for mailbox in config.mailboxes.values():
        found.update(mailbox.thanks.with_name(f"{name}.wav") for name in ("default", "thanks", "apology"))
        found.update(path for sounds in mailbox.shipped.values() for path in sounds.values())
    return sorted(found)
