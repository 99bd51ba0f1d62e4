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
_NOT_RAW = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_BREAKING = re.compile(f"[{_NOT_RAW}]")
_BARE = re.compile(rf"[^\s\"=\x00-\x20{_NOT_RAW}]+")


def render(style: str, now: datetime, level: str, event: str, fields: Mapping[str, Value]) -> str:
    """Write an event in a style, `logfmt`, `colours` or `json`, without the line's end.

    Unset fields are left out. `colours` is `logfmt` but for how a terminal shows it.
    """
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    said: dict[str, Value] = {"ts": stamp, "level": level, "event": event}
    said |= {key: value for key, value in fields.items() if value is not None}
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


def _logfmt(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return text if _BARE.fullmatch(text) else _escaped(json.dumps(text, ensure_ascii=False))


def _painted(text: str, shade: str | None) -> str:
    return text if shade is None else f"\x1b[{shade}m{text}\x1b[0m"


def _escaped(text: str) -> str:
    return _BREAKING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
