"""One event as one line, in logfmt, in colours for a terminal, or JSON; no value can break it. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

Value = str | int | float | bool | None

# From the most that can be said to the least.
LEVELS = ("debug", "info", "warning", "error")

# Select Graphic Rendition (ECMA-48, 8.3.117): a level is told by its colour, an event by its weight.
_SHADES = {"debug": "2", "info": "32", "warning": "33", "error": "1;31"}
_FAINT, _BOLD = "2", "1"

# JSON lets these stand raw in a string; a terminal or a line reader takes some for the end of the line.
_NOT_RAW = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_BREAKING = re.compile(f"[{_NOT_RAW}]")
# Go's logfmt takes a bare backslash for itself, others for an escape; in quotes all agree.
_BARE = re.compile(rf"[^\s\"'=\\\x00-\x20{_NOT_RAW}]+")
# Half a character, as of a file's name that is no UTF-8: JSON's readers may refuse it (RFC 8259, 8.2).
_HALF = re.compile(r"[\ud800-\udfff]")

# journald cuts a line at 48 KiB (LineMax), Go's readers give up at 64; escaped, a character takes six.
_CHARACTERS_AT_MOST = 1000
# A shorter number may be any number, and up to five digits are an extension.
_DIGITS_AT_LEAST, _DIGITS_AT_MOST = 6, 9
_NO_DIGITS = re.compile(r"[^0-9]+")
# However people put it: a plus, and between the digits a blank, a dash or a bracket.
_A_NUMBER = re.compile(r"(?<!\w)\+?\(?[0-9](?:[ ./()-]{0,2}[0-9]){5,}(?!\w)")


def render(style: str, now: datetime, level: str, event: str, fields: Mapping[str, Value]) -> str:
    """Write an event in a style, `logfmt`, `colours` or `json`, without the line's end.

    Unset fields are left out, and of a text no more than a thousand characters are said. `colours` is
    `logfmt` but for how a terminal shows it.
    """
    # What comes after the milliseconds is the zone: +00:00.
    stamp = now.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    said: dict[str, Value] = {"ts": stamp, "level": level, "event": event}
    said |= {key: _bounded(value) for key, value in fields.items() if value is not None}
    if style == "json":
        return _escaped(json.dumps(said, ensure_ascii=False))
    written = {key: _logfmt(value) for key, value in said.items()}
    if style == "colours":
        shades = {"ts": _FAINT, "level": _SHADES[level], "event": _BOLD}
        return " ".join(
            f"{_painted(f'{key}=', _FAINT)}{_painted(text, shades.get(key))}" for key, text in written.items()
        )
    return " ".join(f"{key}={text}" for key, text in written.items())


def style_on(form: str, *, terminal: bool, environment: Mapping[str, str]) -> str:
    """Return the style for a format where lines go: in colours on a terminal whose owner wants them.

    Who wants none says so by NO_COLOR (no-color.org), and a terminal that has none by TERM=dumb.
    """
    wanted = terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return "colours" if form == "logfmt" and wanted else form


def masked(number: str) -> str:
    """Hide the middle of a telephone number: enough to recognise, not enough to call.

    An internal extension, of up to five digits, is shown as it is.
    """
    if len(number) <= 5 and (not number or (number.isascii() and number.isdecimal())):
        return number
    return f"{number[: min(6, len(number) - 6)]}****{number[-2:]}" if len(number) > 6 else "****"


def without(text: str, number: str) -> str:
    """Mask a telephone number in what others say, however they group its digits, with its country or not."""
    if len(number) > 5:
        text = text.replace(number, masked(number))
    digits = _NO_DIGITS.sub("", number)[-_DIGITS_AT_MOST:]
    # A pattern for each caller's number takes longer to compile than all else of a line: nearly always the
    # digits alone tell that it is not there.
    if len(digits) < _DIGITS_AT_LEAST or digits not in _NO_DIGITS.sub("", text):
        return text
    return re.sub(r"\W{0,2}".join(digits), masked(digits), text)


def without_any(text: str) -> str:
    """Mask whatever looks like a telephone number in what others say."""
    return _A_NUMBER.sub(lambda found: masked(found[0]), text)


def _bounded(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    whole = value if value.isascii() else _HALF.sub("\ufffd", value)
    return whole if len(whole) <= _CHARACTERS_AT_MOST else f"{whole[: _CHARACTERS_AT_MOST - 1]}…"


def _logfmt(value: Value) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return text if _BARE.fullmatch(text) else _escaped(json.dumps(text, ensure_ascii=False))


def _painted(text: str, shade: str | None) -> str:
    return text if shade is None else f"\x1b[{shade}m{text}\x1b[0m"


def _escaped(text: str) -> str:
    return _BREAKING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
