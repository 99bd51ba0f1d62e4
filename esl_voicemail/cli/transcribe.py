"""`transcribe`: what is said in a recording, on standard output; made to be a mailbox's transcriber."""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from esl_voicemail.errors import TranscriptError
from esl_voicemail.whisper import transcribe


def add(verbs: Any, _common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser("transcribe", help="write down what is said in a recording, with faster-whisper")
    verb.add_argument(
        "--model", metavar="FOLDER", type=Path, required=True, help="a model for faster-whisper"
    )
    verb.add_argument("--language", metavar="pl", help="what is spoken; guessed without it")
    verb.add_argument("--threads", metavar="N", type=_threads, default=1, help="how many to use (default 1)")
    verb.add_argument("audio", metavar="FILE", help="a recording, or - for standard input")
    verb.set_defaults(run=_transcribe)


def _transcribe(asked: argparse.Namespace) -> int:
    if asked.audio == "-":
        text = transcribe(asked.model, io.BytesIO(sys.stdin.buffer.read()), asked.language, asked.threads)
    elif Path(asked.audio).is_file():
        text = transcribe(asked.model, Path(asked.audio), asked.language, asked.threads)
    else:
        raise TranscriptError(
            f"{asked.audio}: there is no such recording; `esl-voicemail messages audio ID` says where one is"
        )
    print(text)
    return 0


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)
