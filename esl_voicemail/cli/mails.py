"""`messages retry`, `hold`, `release`, `drop` and `audio`: what a person does with one message."""

import argparse
from datetime import UTC, datetime
from typing import Any

from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.errors import VoicemailError
from esl_voicemail.journal import JournalEditor, JournalReader
from esl_voicemail.journal.editor import DROP, HOLD, RELEASE, RETRY, Changed, Verb
from esl_voicemail.journal.reader import Story
from esl_voicemail.model import DeliveryState, VoicemailState

_VERBS: tuple[tuple[Verb, str], ...] = (
    (RETRY, "send again what came to nothing, at once and with all the time it had"),
    (HOLD, "keep from being sent until it is released"),
    (RELEASE, "send what is held"),
    (DROP, "send no more of it; its audio goes after its retention"),
)


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to those of `messages`."""
    for verb, words in _VERBS:
        one = verbs.add_parser(verb.name, parents=[common], help=words)
        one.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
        one.add_argument("--to", metavar="ADDRESS", help="only the mail to this recipient")
        one.set_defaults(run=_change, change=verb)
    audio = verbs.add_parser("audio", parents=[common], help="print where a message's recording is")
    audio.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
    audio.set_defaults(run=_audio)


def _change(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    with JournalEditor(config.directory, config.recordings) as journal:
        mails = journal.change(asked.id, asked.change, datetime.now(UTC), asked.to)
    if mails is None:
        raise _unknown(asked.id)
    if all(mail.after is None for mail in mails):
        raise VoicemailError(f"nothing to {asked.change.name}: {'; '.join(map(_left_alone, mails))}")
    for mail in mails:
        print(_left_alone(mail) if mail.after is None else _changed(mail, mail.after))
    return 0


def _audio(asked: argparse.Namespace) -> int:
    found = story(load(find(asked.config)), asked.id)
    one = found.summary
    if one.forgotten_at or found.audio_removed_at:
        raise VoicemailError(f"message {one.message_id}: its recording was removed, as it was to be")
    if one.state != VoicemailState.KEPT or found.recording is None:
        raise VoicemailError(f"message {one.message_id}: has no recording: {one.result or one.state}")
    if not found.recording.is_file():
        raise VoicemailError(f"message {one.message_id}: its recording {found.recording} is gone")
    print(found.recording)
    return 0


def story(config: Config, name: str) -> Story:
    """Return what the journal knows of a message or a call; VoicemailError when that is nothing."""
    found = JournalReader(config.directory, config.recordings).show(name)
    if found is None:
        raise _unknown(name)
    return found


def _unknown(name: str) -> VoicemailError:
    return VoicemailError(
        f"no message and no call {name!r} in the journal; see `esl-voicemail messages list`"
    )


def _changed(mail: Changed, after: DeliveryState) -> str:
    late = ", unless the server takes it now" if mail.before is DeliveryState.SENDING else ""
    return f"{_whom(mail)}  {mail.before} -> {after}{late}"


def _left_alone(mail: Changed) -> str:
    why = "is being sent now" if mail.before is DeliveryState.SENDING else f"is {mail.before}"
    return f"{_whom(mail)}  left alone: {why}"


def _whom(mail: Changed) -> str:
    return mail.recipient if mail.about is None else f"{mail.recipient} (report of {mail.about})"
