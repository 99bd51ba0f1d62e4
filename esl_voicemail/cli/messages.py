"""`messages show`: one call's story, for people and for programs; `listing` lists, `mails` changes."""

import argparse
import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from esl_voicemail.cli import listing, mails
from esl_voicemail.cli.listing import caller_of, of_summary, stamp, zone_of
from esl_voicemail.config import load
from esl_voicemail.config.load import find
from esl_voicemail.journal.reader import Story, ToRecipient
from esl_voicemail.model import Call, DeliveryState, Hearing, VoicemailState


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    group = verbs.add_parser("messages", help="what the journal knows of calls and deliveries")
    group_verbs = group.add_subparsers(
        dest="messages_verb", metavar="VERB", required=True, parser_class=type(group)
    )
    listing.add(group_verbs, common)
    show = group_verbs.add_parser(
        "show", parents=[common], help="one call's story, each attempt with the server's words"
    )
    show.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    show.set_defaults(run=_show)
    mails.add(group_verbs, common)


def _show(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    story = mails.story(config, asked.id)
    if asked.json:
        print(json.dumps(_of_story(story), ensure_ascii=False, indent=2))
        return 0
    for line in _lines(story, zone_of(config, story.summary.call.mailbox)):
        print(line)
    return 0


def _lines(story: Story, zone: ZoneInfo) -> list[str]:
    one, call = story.summary, story.summary.call
    lines = [
        f"message    {one.message_id}",
        f"call       {call.call_id}",
        f"caller     {caller_of(one)}",
        f"dialled    {call.dialled}",
        f"arrived    {_when(call.arrived_at, zone)}",
        f"mailbox    {call.mailbox}",
        f"reason     {call.reason.value}" + _queue(call),
        f"language   {call.language}",
    ]
    said = (
        ("reference", call.reference),
        ("typed", call.typed),
        ("left", call.callback and f"the number {call.callback}"),
        ("told", call.promise and f"called back {call.promise.kind}, {call.promise.day}"),
    )
    lines += [f"{name:10} {words}" for name, words in said if words]
    lines.append(f"state      {one.state}" + (f" ({one.result})" if one.result else ""))
    if story.closed_at:
        lines.append(f"closed     {_when(story.closed_at, zone)}")
    if one.duration_ms is not None:
        gone = f", audio removed {_when(story.audio_removed_at, zone)}" if story.audio_removed_at else ""
        lines.append(
            f"recording  {one.duration_ms / 1000:.1f} s, {story.size} bytes, ended by {story.ended_by}"
            + (", header repaired" if story.repaired else "")
            + gone
        )
        lines.append(f"           {story.recording}")
        if one.hearing:
            lines.append(f"heard      {_heard(one.hearing)}")
        if one.state == VoicemailState.DISCARDED and not gone:
            lines.append(f"           is no message; `esl-voicemail messages keep {one.message_id}` mails it")
    elif story.deliveries:
        lines.append("recording  none; the mails are notices of the call")
    said_in_it = enumerate(story.transcript.splitlines())
    lines += [f"{'' if n else 'transcript':10} {line}" for n, line in said_in_it]
    if one.forgotten_at:
        lines.append(f"forgotten  {_when(one.forgotten_at, zone)}")
    for to in story.deliveries:
        due = f", next try {_when(to.due_at, zone)}" if to.state == "queued" else ""
        lines.append(f"to         {_whom(to)}: {to.state}{due}")
        if to.state != DeliveryState.DELIVERED and (to.code or to.reply):
            lines.append(" " * 11 + f"{to.code or ''} {to.reply or ''}".strip())
        lines.extend(
            f"  {tried.number:>3}. {_when(tried.ended_at, zone)} {tried.result} "
            f"{tried.code or '-'} {tried.reply} ({tried.duration_ms} ms)"
            for tried in to.attempts
        )
    return lines


def _queue(call: Call) -> str:
    if not call.queue:
        return ""
    waited = "" if call.queue_wait_seconds is None else f" after {call.queue_wait_seconds} s"
    return f", queue {call.queue}{waited}"


def _heard(hearing: Hearing) -> str:
    level = "" if hearing.level_db is None else f", {hearing.level_db:.1f} dB"
    clipped = ", too loud for the line" if hearing.clipped else ""
    return f"{hearing.content}, {hearing.speech_ms / 1000:.1f} s of speech{level}{clipped}"


def _whom(to: ToRecipient) -> str:
    return to.recipient if to.about is None else f"{to.recipient}, report of {to.about}"


def _when(moment: datetime | None, zone: ZoneInfo) -> str:
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S%z}"


def _of_story(story: Story) -> dict[str, Any]:
    return of_summary(story.summary) | {
        "recording": None if story.summary.duration_ms is None else str(story.recording),
        "size": story.size,
        "sha256": story.sha256,
        "ended_by": story.ended_by,
        "level_db": story.summary.hearing.level_db if story.summary.hearing else None,
        "clipped": story.summary.hearing.clipped if story.summary.hearing else None,
        "repaired": story.repaired,
        "transcript": story.transcript,
        "closed_at": stamp(story.closed_at),
        "audio_removed_at": stamp(story.audio_removed_at),
        "deliveries": [
            {
                "recipient": to.recipient,
                "about": to.about,
                "state": to.state,
                "queued_at": stamp(to.queued_at),
                "due_at": stamp(to.due_at) if to.state == "queued" else None,
                "finished_at": stamp(to.finished_at),
                "code": to.code,
                "reply": to.reply,
                "attempts": [
                    {
                        "number": tried.number,
                        "ended_at": stamp(tried.ended_at),
                        "duration_ms": tried.duration_ms,
                        "result": tried.result,
                        "code": tried.code,
                        "reply": tried.reply,
                    }
                    for tried in to.attempts
                ],
            }
            for to in story.deliveries
        ],
    }
