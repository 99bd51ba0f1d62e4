"""`messages list` and `messages show`: the journal, for people and for programs; `mails` changes it."""

import argparse
import json
import sys
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from esl_voicemail.cli import mails
from esl_voicemail.config import Config, load, mailbox_of
from esl_voicemail.config.load import find
from esl_voicemail.journal import JournalReader
from esl_voicemail.journal.reader import Story, Summary, ToRecipient
from esl_voicemail.model import DeliveryState, Hearing, VoicemailState

# More than any journal holds, and no more than SQLite can count.
_ALL = 1 << 31


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs."""
    group = verbs.add_parser("messages", help="what the journal knows of calls and deliveries")
    group_verbs = group.add_subparsers(
        dest="messages_verb", metavar="VERB", required=True, parser_class=type(group)
    )
    listing = group_verbs.add_parser("list", parents=[common], help="the newest calls, newest first")
    listing.add_argument("--most", metavar="N", type=_most, default=50, help="how many (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.add_argument("--probes", action="store_true", help="the probe's calls too")
    listing.set_defaults(run=_list)
    show = group_verbs.add_parser(
        "show", parents=[common], help="one call's story, each attempt with the server's words"
    )
    show.add_argument("id", metavar="ID", help="a message's id or a call's UUID")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    show.set_defaults(run=_show)
    mails.add(group_verbs, common)


def _list(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    found, unreadable = JournalReader(config.directory, config.recordings).list(
        asked.most, probes=asked.probes
    )
    for why in unreadable:
        print(why, file=sys.stderr)
    if asked.json:
        for summary in found:
            print(json.dumps(_of_summary(summary), ensure_ascii=False))
        return int(bool(unreadable))
    print(f"{'MESSAGE':26}  {'WHEN':16}  {'MAILBOX':12}  {'CALLER':24}  {'STATE':9}  {'SECONDS':>7}  MAIL")
    for one in found:
        seconds = "" if one.duration_ms is None else f"{one.duration_ms / 1000:.1f}"
        when = one.call.arrived_at.astimezone(_zone(config, one.call.mailbox))
        print(
            f"{one.message_id:26}  {when:%Y-%m-%d %H:%M}  {one.call.mailbox:12}  {_caller(one):24.24}  "
            f"{one.state:9}  {seconds:>7}  {_mail(one)}".rstrip()
        )
    return int(bool(unreadable))


def _show(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    story = mails.story(config, asked.id)
    if asked.json:
        print(json.dumps(_of_story(story), ensure_ascii=False, indent=2))
        return 0
    for line in _lines(story, _zone(config, story.summary.call.mailbox)):
        print(line)
    return 0


def _most(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return min(int(text), _ALL)


def _mail(one: Summary) -> str:
    """Say where the mails of a message stand, or why there is no message."""
    if not one.recipients:
        return one.result or ""
    # Mails of a call that left no message are notices of it.
    notice = "" if one.state == VoicemailState.KEPT else f"{one.result}, notice "
    others = (f", {n} {state}" for state, n in one.deliveries.items() if state != DeliveryState.DELIVERED)
    return f"{notice}{one.delivered}/{one.recipients} delivered" + "".join(others)


def _lines(story: Story, zone: ZoneInfo) -> list[str]:
    one, call = story.summary, story.summary.call
    lines = [
        f"message    {one.message_id}",
        f"call       {call.call_id}",
        f"caller     {_caller(one)}",
        f"dialled    {call.dialled}",
        f"arrived    {_when(call.arrived_at, zone)}",
        f"mailbox    {call.mailbox}",
        f"reason     {call.reason.value}" + (f", queue {call.queue}" if call.queue else ""),
    ]
    said = (
        ("reference", call.reference),
        ("typed", call.typed),
        ("left", call.callback and f"the number {call.callback}"),
        ("told", call.promise and f"called back {call.promise.kind}, {call.promise.day}"),
    )
    lines += [f"{name:10} {words}" for name, words in said if words]
    lines.append(f"state      {one.state}" + (f" ({one.result})" if one.result else ""))
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


def _heard(hearing: Hearing) -> str:
    level = "" if hearing.level_db is None else f", {hearing.level_db:.1f} dB"
    clipped = ", too loud for the line" if hearing.clipped else ""
    return f"{hearing.content}, {hearing.speech_ms / 1000:.1f} s of speech{level}{clipped}"


def _whom(to: ToRecipient) -> str:
    return to.recipient if to.about is None else f"{to.recipient}, report of {to.about}"


def _caller(one: Summary) -> str:
    caller = one.call.caller
    if one.forgotten_at:
        return "forgotten"
    number = "withheld" if caller.withheld else caller.number or "unknown"
    return f"{number} {caller.name}".strip()


def _zone(config: Config, mailbox: str) -> ZoneInfo:
    return mailbox_of(config.mailboxes, mailbox).timezone


def _when(moment: datetime | None, zone: ZoneInfo) -> str:
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S%z}"


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _of_summary(one: Summary) -> dict[str, Any]:
    call = one.call
    return {
        "message": one.message_id,
        "call": call.call_id,
        "arrived_at": _stamp(call.arrived_at),
        "mailbox": call.mailbox,
        "reason": call.reason.value,
        "caller": {"number": call.caller.number, "name": call.caller.name, "withheld": call.caller.withheld},
        "dialled": call.dialled,
        "queue": call.queue,
        "queue_wait_seconds": call.queue_wait_seconds,
        "reference": call.reference,
        "typed": call.typed,
        "callback": call.callback,
        "promise": call.promise and {"kind": call.promise.kind, "day": call.promise.day.isoformat()},
        "state": one.state,
        "result": one.result,
        "duration_ms": one.duration_ms,
        "heard": one.hearing.content if one.hearing else None,
        "speech_ms": one.hearing.speech_ms if one.hearing else None,
        "forgotten_at": _stamp(one.forgotten_at),
        "recipients": one.recipients,
        "delivered": one.delivered,
        "deliveries": dict(one.deliveries),
    }


def _of_story(story: Story) -> dict[str, Any]:
    return _of_summary(story.summary) | {
        "recording": None if story.summary.duration_ms is None else str(story.recording),
        "size": story.size,
        "sha256": story.sha256,
        "ended_by": story.ended_by,
        "level_db": story.summary.hearing.level_db if story.summary.hearing else None,
        "clipped": story.summary.hearing.clipped if story.summary.hearing else None,
        "repaired": story.repaired,
        "transcript": story.transcript,
        "closed_at": _stamp(story.closed_at),
        "audio_removed_at": _stamp(story.audio_removed_at),
        "deliveries": [
            {
                "recipient": to.recipient,
                "about": to.about,
                "state": to.state,
                "queued_at": _stamp(to.queued_at),
                "due_at": _stamp(to.due_at) if to.state == "queued" else None,
                "finished_at": _stamp(to.finished_at),
                "code": to.code,
                "reply": to.reply,
                "attempts": [
                    {
                        "number": tried.number,
                        "ended_at": _stamp(tried.ended_at),
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
