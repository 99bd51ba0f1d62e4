"""Whose a written number is: numbers are compared by what they mean, not by how they are written. Pure."""

import unicodedata
from collections.abc import Iterable
from functools import cache

import phonenumbers

from esl_voicemail.model import CALLER_NUMBER_CHARACTERS, one_line

# What people put between the digits of a number: spaces, dashes, brackets, marks that show nothing.
_BETWEEN = {"Zs", "Pd", "Ps", "Pe", "Cf", "Cc"}
# However a number is written, with a trunk's prefix or without, it ends in these; its country's code, which
# may be missing, has three digits at most (ITU-T E.164, 6.2.1).
_LAST_DIGITS = 6
_PLUS_AND_COUNTRY = 4


def is_of(number: str, known: Iterable[str], region: str) -> bool:
    """Tell whether one of the numbers known of a call, read by a region's habits, is the one asked for."""
    written = [one for one in known if one]
    asked = one_line(number, CALLER_NUMBER_CHARACTERS).casefold()
    if asked in {one.casefold() for one in written}:
        return True  # cut when it was written, it may mean nothing any more
    return meaning(number, region) in {meaning(one, region) for one in written}


def ending(number: str, region: str) -> str:
    """Return the digits that every way to write a number holds in this order; empty where none are sure."""
    found = meaning(number, region)
    digits = found[_PLUS_AND_COUNTRY:] if found.startswith("+") else found
    return digits[-_LAST_DIGITS:] if digits.isdecimal() else ""


@cache
def meaning(number: str, region: str) -> str:
    """Return what a number stands for, read by a region's habits: E.164 where it can be, else itself.

    Empty for what is no number at all.
    """
    bare = "".join(
        c
        for c in unicodedata.normalize("NFKC", number)
        if unicodedata.category(c) not in _BETWEEN | {"Po"} or c in "*#@:;"
    )
    digits = bare.removeprefix("+")
    if not digits.isdecimal():
        return number.strip().casefold() if any(c.isalnum() for c in bare) else ""
    # A trunk may leave out the plus of an international number.
    for fits in (phonenumbers.is_valid_number, phonenumbers.is_possible_number):
        for written in (bare, f"+{digits}"):
            try:
                parsed = phonenumbers.parse(written, region)
            except phonenumbers.NumberParseException:
                continue
            if fits(parsed):
                return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return phonenumbers.normalize_digits_only(digits)
