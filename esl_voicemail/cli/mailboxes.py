"""`mailbox add` and `mailbox remove`: a mailbox's own file in the folder of mailboxes."""

import argparse
import os
from typing import Any, get_args

from esl_voicemail import checks
from esl_voicemail.config import Config
from esl_voicemail.config.changes import add_mailbox, remove_mailbox
from esl_voicemail.config.load import find
from esl_voicemail.config.sections import Attachment, GreetingKey, Language, NotifyEmpty, PromiseKey

# In the order of the file that is written: option, what it takes, and its help.
_TEXTS = (
    ("--name", "S", "its name in mails and lists"),
    ("--reply-to", "ADDRESS", "where answers to its mails go"),
    ("--timezone", "ZONE", "such as Europe/Warsaw"),
    ("--region", "PL", "how telephone numbers without a country are read"),
    ("--holidays", "PL", "the country whose public holidays close it; `none` for no country's"),
    ("--templates", "FOLDER", "templates of its own for its mails"),
    ("--operator", "EXTENSION", "whom key 0 reaches: 1000, or '1000 XML default'"),
    ("--transcriber", "NAME", "what writes down what was said; `none` for nothing"),
)
_LISTS = (
    ("--number", "numbers", "N", "dialled numbers that mean this mailbox"),
    ("--closed", "closed", "DAY", "closed days: 2026-12-24, 2026-12-24..2026-12-31, or 12-24 for every year"),
)
_CHOICES = (
    ("--language", Language, "of its greetings and mails"),
    ("--attachment", Attachment, "how the recording is attached"),
    ("--notify-empty", NotifyEmpty, "when the recipients are told of who left nothing"),
)
_SECONDS = (
    ("--max-seconds", int, "the longest message"),
    ("--min-seconds", int, "shorter ones are counted, not mailed"),
    ("--min-speech-seconds", float, "so are those with less speech; 0 mails them all"),
    ("--silence-seconds", int, "so much silence ends a message"),
)
_SWITCHES = (
    ("--promise", "the greeting says when somebody will call back"),
    ("--keep-digits", "digits typed during the recording are kept"),
    ("--review", "the caller may listen to the message and record it again"),
    ("--ask-number", "who withholds the number is asked for one"),
    ("--caller-in-from", "its mails show the caller as their sender, beside our address"),
    ("--thread-callers", "the mails of one caller are one conversation"),
    ("--show-recipients", "its mails show all recipients, so that a reply to all reaches them"),
    ("--important", "its mails are marked as important"),
)
_PAIRS = (
    ("--hours", "hours", "DAYS=TIMES", "business hours: mon-fri=08:00-12:00,13:00-16:00"),
    ("--greeting", "greetings", "REASON=FILE", f"{', '.join(get_args(GreetingKey))}"),
    ("--promise-file", "promises", "DAY=FILE", f"{', '.join(get_args(PromiseKey))}"),
)


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    new = verbs.add_parser("add", parents=[common], help="a new mailbox, in a file of its own")
    new.add_argument("name_of_mailbox", metavar="NAME", help="a-z, 0-9, _ and -")
    new.add_argument(
        "--to",
        dest="recipients",
        metavar="ADDRESS",
        nargs="+",
        action="extend",
        required=True,
        help="who gets its mails",
    )
    for option, metavar, told in _TEXTS:
        new.add_argument(option, metavar=metavar, help=told)
    for option, name, metavar, told in _LISTS:
        new.add_argument(option, dest=name, metavar=metavar, nargs="+", action="extend", help=told)
    for option, kinds, told in _CHOICES:
        new.add_argument(option, choices=get_args(kinds), help=told)
    for option, number, told in _SECONDS:
        new.add_argument(option, metavar="N", type=number, help=told)
    for option, told in _SWITCHES:
        new.add_argument(option, action=argparse.BooleanOptionalAction, help=told)
    for option, name, metavar, told in _PAIRS:
        new.add_argument(
            option, dest=name, metavar=metavar, nargs="+", action="extend", type=_pair, help=told
        )
    new.set_defaults(run=_add)
    old = verbs.add_parser("remove", parents=[common], help="take a mailbox's file away")
    old.add_argument("name_of_mailbox", metavar="NAME")
    old.set_defaults(run=_remove)


def _add(asked: argparse.Namespace) -> int:
    given = vars(asked)
    names = ["name", "numbers", "recipients", "reply_to", "language", "timezone", "region", "hours"]
    names += ["holidays", "closed", "promise", "greetings", "promises", "operator"]
    names += [name for name in given if name not in names]
    about_the_command = {"verb", "mailbox_verb", "name_of_mailbox", "config", "run"}
    settings = {
        name: _joined(given[name]) if name in {"hours", "greetings", "promises"} else given[name]
        for name in names
        if name not in about_the_command and given[name] is not None
    }
    file = add_mailbox(find(asked.config), asked.name_of_mailbox, settings, _problems)
    print(f"{os.path.relpath(file)}: written; a running service takes it within seconds")
    return 0


def _remove(asked: argparse.Namespace) -> int:
    file = remove_mailbox(find(asked.config), asked.name_of_mailbox, _problems)
    print(f"{os.path.relpath(file)}: removed; a running service lets it go within seconds")
    return 0


def _problems(config: Config) -> list[str]:
    return [*checks.problems(config, serving=True), *checks.template_problems(config)]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no =")
    return name, value


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Spans of time for a day that is named twice are both meant."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
