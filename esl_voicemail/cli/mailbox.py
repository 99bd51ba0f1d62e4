"""`mailbox list` and `mailbox show`: the mailboxes as the service takes them."""

import argparse
from typing import Any

from esl_voicemail.config import load
from esl_voicemail.config.load import find
from esl_voicemail.errors import VoicemailError


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    group = verbs.add_parser("mailbox", help="the mailboxes")
    group_verbs = group.add_subparsers(
        dest="mailbox_verb", metavar="VERB", required=True, parser_class=type(group)
    )
    listing = group_verbs.add_parser("list", parents=[common], help="every mailbox, a line each")
    listing.set_defaults(run=_list)
    show = group_verbs.add_parser("show", parents=[common], help="one mailbox's settings in force")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=_show)


def _list(asked: argparse.Namespace) -> int:
    for key, mailbox in load(find(asked.config)).mailboxes.items():
        print(f"{key:16}  {mailbox.name:30}  {', '.join(to.address for to in mailbox.recipients)}")
    return 0


def _show(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    mailbox = config.mailboxes.get(asked.name)
    if mailbox is None:
        raise VoicemailError(f"no mailbox {asked.name!r}; there are {', '.join(config.mailboxes)}")
    settings = {
        "mailbox": asked.name,
        "from": config.at("mailboxes", asked.name).rpartition(": ")[0],
        "name": mailbox.name,
        "numbers": ", ".join(mailbox.numbers),
        "recipients": ", ".join(map(str, mailbox.recipients)),
        "reply_to": mailbox.reply_to or "",
        "language": mailbox.language,
        "timezone": mailbox.timezone.key,
        "region": mailbox.region,
        "attachment": mailbox.attachment,
        "max_seconds": mailbox.max_seconds,
        "min_seconds": mailbox.min_seconds,
        "silence_seconds": mailbox.silence_seconds,
        "notify_empty": mailbox.notify_empty,
        "holidays": mailbox.holidays or "",
        **{f"greeting {reason}": path for reason, path in mailbox.greetings.items()},
    }
    for name, value in settings.items():
        print(f"{name:24}  {value}".rstrip())
    return 0
