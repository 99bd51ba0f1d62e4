"""Values that several verbs take on the command line."""

import argparse

from esl_voicemail.esl.arrival import WITHHELD


def caller_number(text: str) -> str:
    """Read a caller's number; what is none, or stands for a withheld one, is refused."""
    number = text.strip()
    if number.lower() in WITHHELD or not any(c.isalnum() for c in number):
        raise argparse.ArgumentTypeError(f"must be a number that called, not {text!r}")
    return number
