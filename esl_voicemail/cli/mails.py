"""`messages retry`, `hold`, `release`, `drop`, `keep` and `audio`: what a person does with messages."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from esl_voicemail.checks import spool_of
from esl_voicemail.cli.progress import shown
from esl_voicemail.config import Config, load
from esl_voicemail.config.load import find
from esl_voicemail.errors import VoicemailError
from esl_voicemail.journal import JournalEditor, JournalReader
from esl_voicemail.journal.editor import DROP, HOLD, RELEASE, RETRY, Changed, Verb
from esl_voicemail.journal.reader import Story
from esl_voicemail.model import EMPTY, DeliveryState, VoicemailState

_QUEUED, _BOUNCED = DeliveryState.QUEUED, DeliveryState.BOUNCED
_EXPIRED, _HELD = DeliveryState.EXPIRED, DeliveryState.HELD

# Each verb, what it does, and for which states it may be asked of all mails at once.
_VERBS: tuple[tuple[Verb, str, tuple[DeliveryState, ...]], ...] = (
    (
        RETRY,
        "send again what came to nothing, at once and with all the time it had",
        (_BOUNCED, _EXPIRED, _HELD, _QUEUED),
    ),
    (HOLD, "keep from being sent until it is released", ()),
    (RELEASE, "send what is held", (_HELD,)),
    (DROP, "send no more of it; its audio goes after its retention", ()),
)


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to those of `messages`."""
    for verb, words, states in _VERBS:
        one = verbs.add_parser(verb.name, parents=[common], help=words)
        which = one.add_mutually_exclusive_group(required=True) if states else one
        which.add_argument(
            "id", metavar="ID", nargs="?" if states else None, help="a message's id or a call's UUID"
        )
        if states:
            which.add_argument(
                "--all",
                metavar="STATE",
                choices=[state.value for state in states],
                help=f"all mails of all messages that are {' or '.join(states)}",
            )
        one.add_argument("--to", metavar="ADDRESS", help="only the mail to this recipient")
        one.set_defaults(run=_change, change=verb, all=None)
    keep = verbs.add_parser(
        "keep", parents=[common], help="make a message of a recording that was found empty, and mail it"
    )
    keep.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
    keep.set_defaults(run=_keep)
    audio = verbs.add_parser("audio", parents=[common], help="print where a message's recording is")
    audio.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
    audio.set_defaults(run=_audio)


def _change(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    if asked.all is not None:
        return _change_all(config, DeliveryState(asked.all), asked.change, asked.to)
    with JournalEditor(config.directory, config.recordings) as journal:
        mails = journal.change(asked.id, asked.change, datetime.now(UTC), asked.to)
    if mails is None:
        raise _unknown(asked.id)
    if all(mail.after is None for mail in mails):
        raise VoicemailError(f"nothing to {asked.change.name}: {'; '.join(map(_left_alone, mails))}")
    for mail in mails:
        print(_line(mail))
    return 0


def _change_all(config: Config, state: DeliveryState, verb: Verb, to: str | None) -> int:
    found: list[Changed] = []
    try:
        with JournalEditor(config.directory, config.recordings) as journal:
            count, changing = journal.change_all(state, verb, datetime.now(UTC), to)
            found.extend(shown(changing, "mails", count))
    finally:
        # Afterwards, so that a reader who goes away stops nothing; and whatever happened, what was done.
        for mail in found:
            print(f"{mail.message_id}  {_line(mail)}")
    if not found:
        whose = "" if to is None else f" to {to}"
        raise VoicemailError(f"nothing to {verb.name}: no mail{whose} is {state}")
    if all(mail.after is None for mail in found):
        raise VoicemailError(
            f"nothing to {verb.name}: of {len(found)} mails that are {state} none can be sent"
        )
    return 0


def _keep(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    found = story(config, asked.id)
    one = found.summary
    if one.state != VoicemailState.DISCARDED:
        raise VoicemailError(f"message {one.message_id}: is {one.state} and stays so")
    recording = spool_of(config).admit(_recording(found))
    with JournalEditor(config.directory, config.recordings) as journal:
        recipients = journal.keep(one.message_id, recording, datetime.now(UTC))
    for recipient in recipients:
        print(f"{recipient}  -> {_QUEUED}")
    return 0


def _audio(asked: argparse.Namespace) -> int:
    print(_recording(story(load(find(asked.config)), asked.id)))
    return 0


def _recording(found: Story) -> Path:
    """Return where the recording of a message is, or of a call that was found empty."""
    one = found.summary
    if one.forgotten_at or found.audio_removed_at:
        raise VoicemailError(f"message {one.message_id}: its recording was removed, as it was to be")
    if (one.state != VoicemailState.KEPT and one.result not in EMPTY) or found.recording is None:
        raise VoicemailError(f"message {one.message_id}: has no recording: {one.result or one.state}")
    if not found.recording.is_file():
        raise VoicemailError(
            f"message {one.message_id}: its recording {found.recording} is gone; "
            f"put it back from a backup, or give it up with `esl-voicemail messages drop {one.message_id}`"
        )
    return found.recording


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


def _line(mail: Changed) -> str:
    return _left_alone(mail) if mail.after is None else _changed(mail, mail.after)


def _changed(mail: Changed, after: DeliveryState) -> str:
    late = ", unless the server takes it now" if mail.before is DeliveryState.SENDING else ""
    return f"{_whom(mail)}  {mail.before} -> {after}{late}"


def _left_alone(mail: Changed) -> str:
    stands = "is being sent now" if mail.before is DeliveryState.SENDING else f"is {mail.before}"
    return f"{_whom(mail)}  left alone: {mail.left or stands}"


def _whom(mail: Changed) -> str:
    return mail.recipient if mail.about is None else f"{mail.recipient} (report of {mail.about})"
