"""Calls, messages and mails for the tests of the journal."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from esl_voicemail.journal import Journal
from esl_voicemail.model import Attempt, Call, Caller, EndedBy, Reason, Recording

NOW = datetime(2026, 7, 15, 10, 30, 0, 123_000, UTC)
DOMAIN = "example.com"
MINUTE = timedelta(minutes=1)
_numbers = itertools.count()


def new_id() -> str:
    return f"01TEST{next(_numbers):020d}"


def new_call(arrived_at: datetime = NOW, **changes: Any) -> Call:
    call = Call(
        call_id="632a12f3-e1e0-465c-93f6-e410df5bf5f5",
        mailbox="sales",
        reason=Reason.NO_ANSWER,
        caller=Caller("48601234567", "Jan", withheld=False),
        dialled="48221234567",
        arrived_at=arrived_at,
        language="pl",
    )
    return replace(call, **changes)


def recording(folder: Path, message_id: str) -> Recording:
    return Recording(folder / f"sales.{message_id}.wav", 21_300, 340_844, "ab" * 32, repaired=True)


def begun(journal: Journal, at: datetime = NOW) -> str:
    message_id = new_id()
    journal.begin(message_id, new_call(at), f"sales.{message_id}.wav", 10)
    return message_id


def kept(journal: Journal, *recipients: str, at: datetime = NOW) -> str:
    message_id = begun(journal, at)
    audio = recording(Path("/recordings"), message_id)
    assert journal.keep(message_id, audio, EndedBy.KEY, recipients or ("anna@example.com",), now=at)
    return message_id


def claimed(journal: Journal, now: datetime = NOW) -> Attempt:
    [attempt] = journal.queue.claim(10, now, DOMAIN)
    return attempt
