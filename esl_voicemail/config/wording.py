"""What is said of a value that the schema refuses, for the person who wrote it."""

import difflib
from typing import Any

from pydantic_core import ErrorDetails

from esl_voicemail.config.sections import (
    ConfigSection,
    LogSection,
    MailboxSection,
    MailSection,
    SmtpSection,
    StorageSection,
    SwitchSection,
    TranscriberSection,
)
from esl_voicemail.config.source import Source, Trail, show
from esl_voicemail.config.values import NotAddressError, NotTextError
from esl_voicemail.model import one_line


def word(problem: ErrorDetails, source: Source, prefix: Trail) -> str:
    """Return a problem as one line: file:line, section.key, and what to write instead."""
    trail = tuple(step for step in problem["loc"] if step != "[key]")
    shown = show((*prefix, *trail))
    sentence = one_line(_sentence(problem, source.written.get(trail)), 400)
    return f"{source.at(trail)}: {shown + ': ' if shown else ''}{sentence}"


def _sentence(problem: ErrorDetails, written: str | None) -> str:
    fault, limits = problem["type"], problem.get("ctx", {})
    given = _given(problem["input"], written)
    match fault:
        case "extra_forbidden":
            key = str(problem["loc"][-1])
            if problem["loc"][0] == "defaults" and key in MailboxSection.model_fields:
                return "is no default: each mailbox has its own"
            return "unknown key" + _hint(key)
        case "missing":
            return "is missing" + (
                "; give at least one mail address" if problem["loc"][-1] == "recipients" else ""
            )
        case "string_type":
            return _not_text(given, written)
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number, not {given}"
        case "float_type" | "finite_number":
            return f"must be a number, such as 0.5, not {given}"
        case "bool_type":
            return f"must be true or false, not {given}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}, not {given}"
        case "less_than_equal":
            return f"must be at most {limits['le']}, not {given}"
        case "literal_error":
            return f"must be one of {limits['expected']}, not {given}"
        case "tuple_type" | "list_type":
            return f"must be a list, as in [one, two], not {given}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a section (key: value), not {given}"
        case "value_error" if isinstance(limits.get("error"), NotAddressError) and _is_port(written):
            return f"{given} is no address: write host:port, as in 127.0.0.1:8084"
        case "value_error" if isinstance(limits.get("error"), NotTextError):
            return _not_text(given, written)
        case "value_error":
            return str(limits.get("error", problem["msg"]))
        case _:
            return problem["msg"]


def _hint(key: str) -> str:
    sections = (
        ConfigSection,
        SwitchSection,
        StorageSection,
        SmtpSection,
        MailSection,
        MailboxSection,
        LogSection,
        TranscriberSection,
    )
    known = {info.alias or name for section in sections for name, info in section.model_fields.items()}
    close = difflib.get_close_matches(key[:60], known, n=1, cutoff=0.7)
    return (
        f"; did you mean {close[0]!r}?" if close else "; see voicemail.yaml in the documentation for the keys"
    )


def _not_text(given: str, written: str | None) -> str:
    if not written or given == "nothing":
        return f"must be text, not {given}"
    return f'must be text; write it in quotes, as in "{written}"'


def _is_port(written: str | None) -> bool:
    """Whether a number, date or yes stands there: with a colon it is an address that lacks its quotes."""
    return bool(written) and ":" not in str(written)


def _given(value: Any, written: str | None) -> str:
    """Name what stands there: text in quotes, anything else as the file has it (`yes`, 010, 1:20)."""
    return written if written and not isinstance(value, str | None) else kind(value)


def kind(value: Any) -> str:
    """Name what stands where something else should."""
    return {dict: "a section", list: "a list", type(None): "nothing"}.get(type(value), repr(value)[:60])
