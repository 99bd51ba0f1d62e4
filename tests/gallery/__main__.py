"""`python -m tests.gallery FOLDER [RECORDING.wav...]`: writes the mails, NAME.eml, and NAME.json beside each.

The JSON says what a parser is to find in the mail. Without recordings the shipped caller speaks.
"""

import json
import sys
import wave
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from esl_voicemail.audio.hearing import listen
from esl_voicemail.config import Config, load
from esl_voicemail.config.values import MailAddress
from esl_voicemail.mail.composer import Composer
from esl_voicemail.model import (
    Attempt,
    Call,
    Caller,
    CallResult,
    DeliveryState,
    EarlierCall,
    EndedBy,
    Promise,
    Reason,
    Undelivered,
    Voicemail,
)
from esl_voicemail.samples import SAMPLE
from esl_voicemail.spool import Spool
from tests.support.mails import as_it_stands

WHEN = datetime(2026, 11, 23, 16, 42, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")
JAN = Caller("+48601234567", "Jan Kowalski", withheld=False)
CONFIG = """\
mail: {from: "Poczta głosowa <voicemail@example.com>", operator: admin@example.com}
mailboxes:
  sprzedaz:
    name: Sprzedaż
    recipients: ["Anna Nowak <anna@example.com>"]
    reply_to: sprzedaz@example.com
  service:
    name: Service
    language: en
    recipients: [service@example.com]
    attachment: opus
  urgent:
    name: Pilne
    recipients: ["Łoś, Jan <jan@example.com>", anna@example.com]
    caller_in_from: true
    thread_callers: true
    show_recipients: true
    important: true
"""


@dataclass
class Mail:
    """One mail of the gallery: the call, what became of it, and what its reader is to find."""

    mailbox: str = "sprzedaz"
    caller: Caller = JAN
    reason: Reason = Reason.NO_ANSWER
    seconds: float = 0.0
    ended_by: EndedBy = EndedBy.HANG_UP
    result: CallResult = CallResult.RECORDED
    call: dict[str, Any] = field(default_factory=dict)
    voicemail: dict[str, Any] = field(default_factory=dict)
    undelivered: Undelivered | None = None
    most_bytes: int | None = None
    says: tuple[str, ...] = ()


HOUR = timedelta(hours=1)
EARLIER = (EarlierCall(WHEN - 8 * HOUR, message=False), EarlierCall(WHEN - 3 * HOUR, message=True))
MAILS = {
    "01-pl-no-answer": Mail(says=("nikt nie odebrał", "poniedziałek")),
    "02-en-no-answer": Mail("service", says=("nobody answered", "Monday, 23 November 2026, 17:42 (+01:00)")),
    "03-pl-busy": Mail(reason=Reason.BUSY, says=("linia była zajęta",)),
    "04-en-busy": Mail("service", reason=Reason.BUSY, says=("the line was busy",)),
    "05-pl-unavailable": Mail(reason=Reason.UNAVAILABLE, says=("telefon był nieosiągalny",)),
    "06-en-unavailable": Mail("service", reason=Reason.UNAVAILABLE, says=("could not be reached",)),
    "07-pl-queue": Mail(
        reason=Reason.QUEUE_TIMEOUT,
        call={"queue": "Sprzedaż", "queue_wait_seconds": 63, "reference": "FV/2026/117"},
        says=("czekanie w kolejce Sprzedaż: 1 min 3 s", "FV/2026/117"),
    ),
    "08-en-queue": Mail(
        "service",
        reason=Reason.QUEUE_TIMEOUT,
        call={"queue": "Sales", "queue_wait_seconds": 63, "typed": "1742"},
        says=("waited 1 min 3 s in the queue Sales", "1742"),
    ),
    "09-pl-after-hours": Mail(
        reason=Reason.AFTER_HOURS,
        call={"promise": Promise("tue", (WHEN + 24 * HOUR).date())},
        says=("poza godzinami pracy", "Zapowiedziano", "wtorek, 24 listopada"),
    ),
    "10-en-after-hours": Mail("service", reason=Reason.AFTER_HOURS, says=("outside business hours",)),
    "11-pl-direct": Mail(reason=Reason.DIRECT, ended_by=EndedBy.KEY, says=("bezpośrednio", "klawiszem")),
    "12-en-foreign": Mail(
        "service",
        caller=Caller("+442079460958", "Søren O'Brien-Ångström", withheld=False),
        reason=Reason.DIRECT,
        says=("Søren O'Brien-Ångström", "+44 20 7946 0958"),
    ),
    "13-pl-withheld": Mail(
        caller=Caller("", "", withheld=True),
        call={"callback": "601987654"},
        says=("zastrzeżony", "+48 601 987 654"),
    ),
    "14-en-emoji": Mail("service", caller=replace(JAN, name="👩‍👩‍👧‍👦 Ania 🎉🇵🇱"), says=("Ania 🎉🇵🇱",)),
    "15-pl-rtl": Mail(caller=replace(JAN, name="עברית مرحبا (2)"), says=("עברית مرحبا (2)",)),
    "16-pl-five-minutes": Mail(seconds=300, ended_by=EndedBy.LIMIT, says=("5 min 0 s", "limitu czasu")),
    "17-pl-empty": Mail(result=CallResult.HANGUP_IN_GREETING, says=("bez wiadomości", "podczas powitania")),
    "18-en-cut": Mail("service", seconds=4, ended_by=EndedBy.CUT, says=("cut off by a fault",)),
    "19-pl-first-of-two": Mail("urgent", says=("Pilne",)),
    "20-pl-second-of-two": Mail(
        "urgent", voicemail={"earlier": EARLIER}, says=("3. połączenie dzisiaj, ostatnia wiadomość 14:42",)
    ),
    "21-en-failed": Mail("service", result=CallResult.RECORD_FAILED, says=("could not be recorded",)),
    "22-pl-undelivered": Mail(
        undelivered=Undelivered("gone@example.com", DeliveryState.BOUNCED, 550, "5.1.1 no such user"),
        says=("gone@example.com", "550 5.1.1 no such user", "esl-voicemail messages retry"),
    ),
    "23-pl-too-large": Mail(seconds=300, most_bytes=20_000, says=("za duże dla serwera poczty", ".wav")),
    "24-pl-transcript": Mail(
        voicemail={"transcript": "Dzień dobry, dzwonię w sprawie <faktury>.\nProszę o telefon."},
        says=("dzwonię w sprawie <faktury>.", "Proszę o telefon."),
    ),
}  # fmt: skip


def build(folder: Path, recordings: list[Path]) -> None:
    """Write all mails into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "voicemail.yaml").write_text(CONFIG)
    config = load(folder / "voicemail.yaml")
    spool = folder / "recordings"
    spool.mkdir(exist_ok=True)
    for (name, mail), source in zip(MAILS.items(), cycle(recordings), strict=False):
        attempt = _attempt(config, name, mail, source, spool)
        composer = Composer(config.mailboxes, config.mail.sender)
        made = bytes(composer.compose_within(attempt, most=mail.most_bytes).mail)
        (folder / f"{name}.eml").write_bytes(made)
        expected = _expected(config, mail, attempt, as_it_stands(made))
        (folder / f"{name}.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1))


def _attempt(config: Config, name: str, mail: Mail, source: Path, spool: Path) -> Attempt:
    number = name[:2]
    call = Call(
        f"632a12f3-e1e0-465c-93f6-e410df5bf5{number}",
        mail.mailbox,
        mail.reason,
        mail.caller,
        "48221234567",
        WHEN,
        config.mailboxes[mail.mailbox].language,
        **mail.call,
    )
    message_id = f"01KC3MZ00000000000000000{number}"
    recording = None
    if mail.result is CallResult.RECORDED:
        path = spool / f"{mail.mailbox}.{message_id}.wav"
        _record(source, path, mail.seconds)
        recording = Spool(spool, spool / "corrupt", 0, spool / "id").admit(path)
    voicemail = Voicemail(
        message_id,
        call,
        recording,
        mail.ended_by if recording else None,
        WHEN + timedelta(seconds=50),
        mail.result,
        listen(recording.path) if recording else None,
        **mail.voicemail,
    )
    to = config.mail.operator if mail.undelivered else config.mailboxes[mail.mailbox].recipients[0]
    assert to is not None
    return Attempt(1, voicemail, to.address, 1, WHEN, config.mail.sender.domain, mail.undelivered)


def _record(source: Path, path: Path, seconds: float) -> None:
    """Write a recording of a length from another, repeated or cut off; of its own length for 0."""
    with wave.open(str(source)) as file:
        form, samples = file.getparams(), file.readframes(file.getnframes())
    size = round(seconds * form.framerate) * form.sampwidth * form.nchannels or len(samples)
    with wave.open(str(path), "wb") as file:
        file.setparams(form)
        file.writeframes((samples * (size // len(samples) + 1))[:size])


def _expected(config: Config, mail: Mail, attempt: Attempt, made: EmailMessage) -> dict[str, Any]:
    voicemail, box = attempt.voicemail, config.mailboxes[mail.mailbox]
    to = next(
        (one for one in box.recipients if one.address == attempt.recipient),
        MailAddress("", attempt.recipient),
    )
    local = WHEN.astimezone(WARSAW)
    called = mail.caller.number.lstrip("+") or "zastrzezony"
    attached = next(iter(made.iter_attachments()), None)
    kind = next(value for key, value in made.items() if key == "X-Voicemail-Kind")
    headers = {
        "X-Auto-Response-Suppress": "All",
        "X-Voicemail-Kind": kind,
        "X-Voicemail-Mailbox": mail.mailbox,
    }
    if mail.undelivered is None:
        headers["X-Voicemail-Reason"] = mail.reason.value
        headers["X-Voicemail-Caller"] = mail.caller.number or "withheld"
        for name, key in (("Reference", "reference"), ("Digits", "typed")):
            headers |= {f"X-Voicemail-{name}": mail.call[key]} if key in mail.call else {}
        if voicemail.recording:
            headers["X-Voicemail-Duration"] = str(round(voicemail.recording.duration_ms / 1000))
    headers |= {"X-Voicemail-Message": voicemail.message_id, "X-Voicemail-Call": voicemail.call.call_id}
    sender = config.mail.sender.name
    if box.caller_in_from:
        sender = f"{mail.caller.name}, +48 601 234 567 ({sender})"
    found = {
        "from_name": sender,
        "from_address": config.mail.sender.address,
        "to_name": to.name,
        "to_address": to.address,
        "to_all": [[one.name, one.address] for one in box.recipients] if box.show_recipients else None,
        "reply_to": box.reply_to.address if box.reply_to and not mail.undelivered else None,
        "subject": _decoded(made["Subject"]),
        "message_id": made["Message-ID"],
        "date": voicemail.closed_at.astimezone(WARSAW).isoformat(),
        "headers": headers,
        "text_contains": [mail.caller.name, box.name, *mail.says],
        "html_contains": [box.name],
        "attachment": None,
    }
    if attached is not None:
        suffix = {"mp3": "mp3", "opus": "opus"}[box.attachment]
        where = {"sprzedaz": "sprzedaz", "service": "service", "urgent": "pilne"}[mail.mailbox]
        content = attached.get_payload(decode=True)
        assert isinstance(content, bytes)
        found["attachment"] = {
            "filename": f"{local:%Y-%m-%d_%H%M}_{called}_{where}.{suffix}",
            "mime": {"mp3": "audio/mpeg", "opus": "audio/ogg"}[box.attachment],
            "sha256": sha256(content).hexdigest(),
        }
    return found


def _decoded(header: str) -> str:
    return str(make_header(decode_header(header)))


if __name__ == "__main__":
    build(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]] or [SAMPLE])
