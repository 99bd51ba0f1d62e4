"""Speaks a text with a synthesiser that is installed on the machine.

The text goes to the program's standard input, never into a command line.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from esl_voicemail.errors import SpeechError
from esl_voicemail.model import one_line

MOST_LETTERS = 1000
LANGUAGES = {"pl": "Polish", "en": "English"}

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Synthesiser:
    """A program that reads text and writes a sound file; `{voice}` and `{file}` stand in its arguments."""

    program: str
    package: str
    voices: Mapping[str, str]
    arguments: tuple[str, ...]


# The better ones first. Each must take its text from standard input.
SYNTHESISERS = (
    Synthesiser(
        "espeak-ng",
        "espeak-ng",
        MappingProxyType({"pl": "pl", "en": "en-gb"}),
        ("-b", "1", "-s", "150", "-v", "{voice}", "-w", "{file}", "--stdin"),
    ),
)


def speak(text: str, language: str, folder: Path) -> Path:
    """Speak a text into a new sound file in a folder, and return that; SpeechError when it cannot be spoken.

    A line of the text is a sentence to itself.
    """
    said = _cleaned(text)
    able = [one for one in SYNTHESISERS if language in one.voices]
    found = next((one for one in able if shutil.which(one.program)), None)
    if found is None:
        packages = " or ".join(one.package for one in able)
        raise SpeechError(
            f"no program that speaks {LANGUAGES.get(language, language)} is installed; "
            f"install the package {packages}, or record the greeting and import it"
        )
    path = folder / "spoken.wav"
    _run(found, said, found.voices[language], path)
    return path


def _cleaned(text: str) -> str:
    if len(text) > MOST_LETTERS:
        raise SpeechError(f"the text has {len(text)} letters, more than {MOST_LETTERS}: shorten it")
    lines = [line for line in (one_line(line, MOST_LETTERS) for line in text.splitlines()) if line]
    if not any(letter.isalnum() for line in lines for letter in line):
        raise SpeechError("the text holds nothing to speak; give it some words")
    return "\n".join(lines) + "\n"


def _run(one: Synthesiser, text: str, voice: str, path: Path) -> None:
    arguments = [part.format(voice=voice, file=path) for part in one.arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a program of the table, the text is its input
            [one.program, *arguments],
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SpeechError(
            f"{one.program}: has not spoken the text within {_SECONDS:g} s; shorten it"
        ) from error
    except OSError as error:
        raise SpeechError(f"{one.program}: cannot be run: {error.strerror}") from error
    if done.returncode or not path.is_file():
        why = one_line(done.stderr.decode(errors="replace"), 200) or f"it ended with {done.returncode}"
        raise SpeechError(f"{one.program}: cannot speak the text: {why}")
