"""A transcriber: a program of the machine that writes down what was said, as a mailbox names it.

Says what its command may hold, and fills that in; `transcription` runs it. Nothing a caller chose is in it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from esl_voicemail.config.values import text_of
from esl_voicemail.model import MAILBOX_NAME

NO_TRANSCRIBER = "none"
AUDIO = "{audio}"

# Other braces are the program's own.
_PLACEHOLDER = re.compile(r"\{\w+\}")
_PLACEHOLDERS = (AUDIO, "{language}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Transcriber:
    """A program and its arguments, run in `folder`; a mail waits `seconds` for it, from the message's end.

    `at_once` is how many of it run side by side.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    seconds: int
    at_once: int

    @property
    def reads_input(self) -> bool:
        """Whether the recording comes on standard input, as no argument names its file."""
        return not any(AUDIO in argument for argument in self.command)

    def filled(self, audio: Path, language: str) -> list[str]:
        """Return the command line for one recording."""
        values = {AUDIO: str(audio), "{language}": language}
        return [_PLACEHOLDER.sub(lambda found: values[found[0]], argument) for argument in self.command]


def located(command: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Return a command whose program, where it is named by a path, is named from the root."""
    program, *arguments = command
    return str(folder / program) if "/" in program else program, *arguments


def unknown(
    at: Callable[..., str],
    known: Mapping[str, Transcriber],
    default: str,
    chosen: Mapping[str, str | None],
) -> list[str]:
    """Return a line for each place, be it the defaults, that names a transcriber which is not there."""
    named: list[tuple[tuple[str, ...], str | None]] = [(("defaults",), default)]
    named += [(("mailboxes", key), name) for key, name in chosen.items()]
    there = ", ".join(known) or "none; describe it under transcribers"
    return [
        f"{at(*place, 'transcriber')}: there is no transcriber {name!r}; there are {there}"
        for place, name in named
        if name is not None and name not in (*known, NO_TRANSCRIBER)
    ]


def _argument(value: Any) -> str:
    argument = text_of(value)
    if _UNSAFE.search(argument):
        raise ValueError("must be one line, without control characters")
    for name in _PLACEHOLDER.findall(argument):
        if name not in _PLACEHOLDERS:
            raise ValueError(f"{name} stands for nothing: there are {' and '.join(_PLACEHOLDERS)}")
    return argument


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0].strip():
        raise ValueError('names no program: write it as in [whisper-cli, --file, "{audio}"]')
    if _PLACEHOLDER.search(command[0]):
        raise ValueError(f"{command[0]}: no program is named so; only its arguments change")
    return command


def _name(name: str) -> str:
    if not MAILBOX_NAME.fullmatch(name) or name == NO_TRANSCRIBER:
        raise ValueError(
            "a transcriber's name holds a-z, 0-9, _ and - only, at most 32, starts with a letter or digit, "
            f"and is not {NO_TRANSCRIBER}"
        )
    return name


Command = Annotated[tuple[Annotated[str, BeforeValidator(_argument)], ...], AfterValidator(_command)]
TranscriberKey = Annotated[str, AfterValidator(_name)]
Chosen = Annotated[str, BeforeValidator(text_of)]
