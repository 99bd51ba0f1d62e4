"""`mailbox list` and `mailbox show`: the mailboxes as the service takes them; `mailboxes` changes them."""

import argparse
import json
from collections.abc import Iterator
from typing import Any, get_args

from esl_voicemail.cli import mailboxes
from esl_voicemail.config import Config, Mailbox, load
from esl_voicemail.config.load import find
from esl_voicemail.config.resolved import BUILT_IN
from esl_voicemail.config.sections import GreetingKey, PromiseKey
from esl_voicemail.config.transcriber import NO_TRANSCRIBER
from esl_voicemail.config.values import NO_HOLIDAYS
from esl_voicemail.errors import VoicemailError
from esl_voicemail.hours import write_week

_WIDEST = 56

# What a program reads, what a person reads, and where it comes from.
Setting = tuple[Any, str, str]


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    group = verbs.add_parser("mailbox", help="the mailboxes")
    group_verbs = group.add_subparsers(
        dest="mailbox_verb", metavar="VERB", required=True, parser_class=type(group)
    )
    listing = group_verbs.add_parser("list", parents=[common], help="every mailbox, a line each")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(run=_list)
    show = group_verbs.add_parser(
        "show", parents=[common], help="one mailbox's settings in force, and where each comes from"
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    show.set_defaults(run=_show)
    mailboxes.add(group_verbs, common)


def _list(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    for key, mailbox in config.mailboxes.items():
        recipients = [to.address for to in mailbox.recipients]
        if asked.json:
            one = {
                "mailbox": key,
                "from": config.origin(key),
                "name": mailbox.name,
                "numbers": list(mailbox.numbers),
                "recipients": recipients,
            }
            print(json.dumps(one, ensure_ascii=False))
        else:
            print(f"{key:16}  {mailbox.name:30}  {', '.join(recipients)}")
    return 0


def _show(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    mailbox = config.mailboxes.get(asked.name)
    if mailbox is None:
        raise VoicemailError(f"no mailbox {asked.name!r}; there are {', '.join(config.mailboxes)}")
    settings = dict(_settings(config, mailbox))
    if asked.json:
        told = {name: {"value": value, "from": origin} for name, (value, _, origin) in settings.items()}
        whole = {"mailbox": asked.name, "from": config.origin(asked.name), "settings": told}
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return 0
    width = min(_WIDEST, max(len(text) for _, text, _ in settings.values()))
    print(f"{'mailbox':26}  {asked.name}\n{'from':26}  {config.origin(asked.name)}")
    for name, (_, text, origin) in settings.items():
        print(f"{name:26}  {text:{width}}  {origin}")
    return 0


def _settings(config: Config, mailbox: Mailbox) -> Iterator[tuple[str, Setting]]:
    week = None if mailbox.week is None else write_week(mailbox.week)
    values = {
        "name": mailbox.name,
        "numbers": list(mailbox.numbers),
        "recipients": [str(to) for to in mailbox.recipients],
        "reply_to": str(mailbox.reply_to) if mailbox.reply_to else None,
        "language": mailbox.language,
        "timezone": mailbox.timezone.key,
        "region": mailbox.region,
        "attachment": mailbox.attachment,
        "max_seconds": mailbox.max_seconds,
        "min_seconds": mailbox.min_seconds,
        "min_speech_seconds": mailbox.min_speech_seconds,
        "silence_seconds": mailbox.silence_seconds,
        "notify_empty": mailbox.notify_empty,
        "hours": week,
        "holidays": NO_HOLIDAYS if mailbox.holidays == "" else mailbox.holidays,
        "closed": [str(days) for days in mailbox.closed],
        "promise": mailbox.promise,
        "keep_digits": mailbox.keep_digits,
        "review": mailbox.review,
        "ask_number": mailbox.ask_number,
        "operator": mailbox.operator,
        "caller_in_from": mailbox.caller_in_from,
        "thread_callers": mailbox.thread_callers,
        "show_recipients": mailbox.show_recipients,
        "important": mailbox.important,
        "transcriber": mailbox.transcriber.name if mailbox.transcriber else NO_TRANSCRIBER,
    }
    for name, value in values.items():
        yield name, (value, _text(value), config.origin(mailbox.key, name))
    shipped = mailbox.shipped.get(mailbox.language, {})
    # What a call hears where its own reason has nothing is the default's.
    for kind in get_args(GreetingKey):
        own = mailbox.greetings.get(kind)
        path = own or (None if "default" in mailbox.greetings else shipped.get(kind))
        if path:
            yield f"greeting {kind}", (str(path), str(path), config.origin(mailbox.key, "greetings", kind))
    for kind in get_args(PromiseKey) if mailbox.promise else ():
        said = mailbox.sentence(kind)
        if said:
            sound = str(said[0])
            yield f"promise {kind}", (sound, sound, config.origin(mailbox.key, "promises", said[1]))
    for template in mailbox.templates:
        at = config.origin(mailbox.key, "templates")
        yield f"template {template.name}", (template.file, template.file, at)
    for name, prompt in mailbox.prompts.items():
        yield f"sound {name}", (str(prompt), str(prompt), BUILT_IN)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return "; ".join(f"{days} {spans}" for days, spans in value.items()) or "never"
    return "" if value is None else str(value)
