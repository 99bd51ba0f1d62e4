"""`erase`: removes what is kept of one caller and prints a receipt."""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from esl_voicemail.callers import meaning
from esl_voicemail.checks import spool_of
from esl_voicemail.cli.arguments import caller_number
from esl_voicemail.cli.progress import shown
from esl_voicemail.config import Config, load, mailbox_of
from esl_voicemail.config.load import find
from esl_voicemail.erasure import Erased, Receipt, erase
from esl_voicemail.errors import StorageBusyError, VoicemailError
from esl_voicemail.journal import JournalEditor
from esl_voicemail.journal.forgetting import Mail, Remembered
from esl_voicemail.model import DeliveryState


def add(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "erase", parents=[common], help="remove all that is kept of one caller, and print a receipt"
    )
    verb.add_argument(
        "--caller", metavar="NUMBER", type=caller_number, required=True, help="best with its country code"
    )
    verb.add_argument("--json", action="store_true", help="the receipt as one JSON object")
    verb.set_defaults(run=_erase)


def _erase(asked: argparse.Namespace) -> int:
    config = load(find(asked.config))
    with JournalEditor(config.directory, config.recordings) as journal:
        receipt = erase(
            journal, spool_of(config), config.mailboxes, asked.caller, datetime.now(UTC), watched=shown
        )
    if asked.json:
        print(json.dumps(_json(asked.caller, receipt), ensure_ascii=False, indent=2))
    else:
        for line in _lines(config, asked.caller, receipt):
            print(line)
    sys.stdout.flush()
    if receipt.stuck:
        message_id, why = next(iter(receipt.stuck.items()))
        calls = _count(len(receipt.stuck), "call is", "calls are")
        raise VoicemailError(
            f"{calls} not erased, as the audio cannot be removed: message {message_id}: {why}; "
            "mend that and run it again"
        )
    if receipt.still_open:
        calls = _count(len(receipt.still_open), "call has", "calls have")
        raise StorageBusyError(f"{calls} not ended yet; run it again then")
    if receipt.trace:
        raise StorageBusyError(receipt.trace)
    return 0


def _lines(config: Config, number: str, receipt: Receipt) -> list[str]:
    trace = [f"out of reach for now: {receipt.trace}"] if receipt.trace else []
    if not receipt.calls and not receipt.still_open and not receipt.stuck:
        return [f"nothing kept of {number}", *_read_as(config, number), *trace]
    lines = [f"erased what was kept of {number}", *_read_as(config, number)]
    for one in receipt.calls:
        lines.append(f"message {one.call.message_id}  {_when(config, one)}  {one.call.mailbox}")
        lines += [f"  removed       {path}" for path in one.audio]
        lines += [f"  not sent      {_whom(mail)}, was {mail.state}" for mail in _dropped(one)]
        lines += [f"  out of reach  {_whom(mail)}, has it" for mail in _delivered(one)]
        lines += [f"  out of reach  {_whom(mail)}, was being sent just then" for mail in _in_flight(one)]
    lines += [f"left: message {call.message_id}, its call has not ended" for call in receipt.still_open]
    lines += [f"left: message {message_id}: {why}" for message_id, why in receipt.stuck.items()]
    files = sum(len(one.audio) for one in receipt.calls)
    mails = sum(len(_dropped(one)) for one in receipt.calls)
    lines.append(
        f"{_count(len(receipt.calls), 'call', 'calls')}, {_count(files, 'recording', 'recordings')}, "
        f"{_count(mails, 'mail that is', 'mails that are')} not sent any more"
    )
    lines.append("out of reach besides: lines of the log, and copies that others made")
    return lines + trace


def _read_as(config: Config, number: str) -> list[str]:
    """Say how the number was read where mailboxes read it differently."""
    readings = {box.region: meaning(number, box.region) for box in config.mailboxes.values()}
    if len(set(readings.values())) < 2:
        return []
    shown = ", ".join(f"{reading} in {region}" for region, reading in readings.items())
    return [f"read as {shown}; with its country code it is the same everywhere"]


def _dropped(one: Erased) -> list[Mail]:
    """What was dropped before counts: a run that was cut off may have done it."""
    dropped = {DeliveryState.QUEUED, DeliveryState.HELD, DeliveryState.DROPPED}
    return [mail for mail in one.mails if mail.state in dropped]


def _delivered(one: Erased) -> list[Mail]:
    return [mail for mail in one.mails if mail.state is DeliveryState.DELIVERED]


def _in_flight(one: Erased) -> list[Mail]:
    return [mail for mail in one.mails if mail.state is DeliveryState.SENDING]


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _whom(mail: Mail) -> str:
    return f"{mail.recipient} (report)" if mail.is_report else mail.recipient


def _when(config: Config, one: Erased) -> str:
    zone = mailbox_of(config.mailboxes, one.call.mailbox).timezone
    return f"{one.call.arrived_at.astimezone(zone):%Y-%m-%d %H:%M:%S%z}"


def _json(number: str, receipt: Receipt) -> dict[str, Any]:
    return {
        "caller": number,
        "calls": [
            _call(one.call)
            | {
                "audio": [str(path) for path in one.audio],
                "not_sent": [mail.recipient for mail in _dropped(one)],
                "delivered": [mail.recipient for mail in _delivered(one)],
                "being_sent": [mail.recipient for mail in _in_flight(one)],
            }
            for one in receipt.calls
        ],
        "still_open": [_call(call) for call in receipt.still_open],
        "stuck": dict(receipt.stuck),
        "traceless": not receipt.trace,
    }


def _call(call: Remembered) -> dict[str, Any]:
    return {
        "message": call.message_id,
        "arrived_at": call.arrived_at.isoformat(timespec="milliseconds"),
        "mailbox": call.mailbox,
    }
