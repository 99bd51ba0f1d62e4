"""One event as one line, in logfmt or JSON; no value can break it. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

Value = str | int | float | bool | None

# JSON lets these stand raw in a string; a terminal or a line reader takes some for the end of the line.
_NOT_RAW = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_BREAKING = re.compile(f"[{_NOT_RAW}]")
_BARE = re.compile(rf"[^\s\"=\x00-\x20{_NOT_RAW}]+")


def render(style: str, now: datetime, level: str, event: str, fields: Mapping[str, Value]) -> str:
    """Write an event in a style, `logfmt` or `json`, without the line's end; unset fields are left out."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    said: dict[str, Value] = {"ts": stamp, "level": level, "event": event}
    said |= {key: value for key, value in fields.items() if value is not None}
    if style == "json":
        return _escaped(json.dumps(said, ensure_ascii=False))
    return " ".join(f"{key}={_logfmt(value)}" for key, value in said.items())


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


def _escaped(text: str) -> str:
    return _BREAKING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
