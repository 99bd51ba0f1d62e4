"""Values that several verbs take on the command line."""

import argparse

from esl_voicemail.esl.arrival import WITHHELD

WITHHELD_CALLER = "withheld"


def caller_number(text: str) -> str:
    """Read a caller's number; what is none, or stands for a withheld one, is refused."""
    number = text.strip()
    if number.lower() in WITHHELD or not any(c.isalnum() for c in number):
        raise argparse.ArgumentTypeError(f"must be a number that called, not {text!r}")
    return number


def caller(text: str) -> str:
    """Read whose calls are asked for: a number, or `withheld`, in any of the words that stand for it."""
    return WITHHELD_CALLER if text.strip().lower() in WITHHELD - {""} else caller_number(text)
