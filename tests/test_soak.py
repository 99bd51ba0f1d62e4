"""The soak's ledger: it adds up when all is well, and not when anything is missing or wrong."""

import struct
from collections.abc import Callable

import pytest

from tests.soak.ledger import Ledger, Mail, Spoken, unreadable

ANNA, JAN = "anna@example.com", "jan@example.com"
LEFT, SHORT, UNWRITTEN = (
    "01JD0000000000000000000000",
    "01JD0000000000000000000001",
    "01JD0000000000000000000002",
)
SPEECH = struct.pack("<24000h", *range(-12000, 12000))
Mails = list[Mail]


def mail(message_id: str, recipient: str, samples: bytes | None) -> Mail:
    return Mail(recipient, f"<{message_id.lower()}.{recipient.partition('@')[0]}@example.com>", samples)


def all_is_well() -> Mails:
    return [
        *[mail(LEFT, to, SPEECH + bytes(8000)) for to in (ANNA, JAN)],
        *[mail(SHORT, to, SPEECH[:8000]) for to in (ANNA, JAN)],
        *[mail(UNWRITTEN, to, None) for to in (ANNA, JAN)],
    ]


def ledger_of(mails: Mails) -> Ledger:
    spoken = {LEFT: Spoken(memoryview(SPEECH), 3500), SHORT: Spoken(memoryview(SPEECH), 500)}
    ledger = Ledger([ANNA, JAN], spoken, {UNWRITTEN})
    for one in mails:
        ledger.enter(one)
    return ledger


def test_it_adds_up_when_all_is_well() -> None:
    ledger = ledger_of(all_is_well())
    assert list(ledger.faults([LEFT, SHORT], {})) == []
    assert next(ledger.balance([LEFT, SHORT], [])) == (
        f"calls past the beep 1 = voicemails 1 = mails to {ANNA} 1 = mails to {JAN} 1, 0 lost, 0 stuck"
    )


def test_a_repeated_mail_is_counted_and_no_fault() -> None:
    ledger = ledger_of([*all_is_well(), all_is_well()[0], all_is_well()[4]])
    assert list(ledger.faults([LEFT, SHORT], {})) == []
    assert ledger.repeated() == 2


CHANGED: dict[str, tuple[Callable[[Mails], object], str]] = {
    "a mail is missing": (lambda mails: mails.pop(1), f"lost: no mail of message {LEFT} to {JAN}"),
    "a mail has no audio": (
        lambda mails: mails.__setitem__(0, mail(LEFT, ANNA, None)),
        f"lost: no mail of message {LEFT} to {ANNA}",
    ),
    "a notice is missing": (
        lambda mails: mails.pop(4),
        f"untold: no mail of the call without audio {UNWRITTEN}",
    ),
    "a byte is another": (
        lambda mails: mails.append(mail(LEFT, ANNA, b"x" + SPEECH[1:] + bytes(8000))),
        f"a mail to {ANNA} with another audio, 3500 ms of 3500 ms",
    ),
    "a mail is cut short": (
        lambda mails: mails.append(mail(LEFT, ANNA, SPEECH)),
        f"a mail to {ANNA} with another audio, 3000 ms of 3500 ms",
    ),
    "a short one is another's": (
        lambda mails: mails.append(mail(SHORT, ANNA, SPEECH[8000:16000])),
        f"a mail to {ANNA} with another audio",
    ),
    "nobody left it": (
        lambda mails: mails.append(mail("01JD0000000000000000000009", ANNA, SPEECH)),
        f"a mail to {ANNA} of a message that nobody left",
    ),
    "it is repeated under another name": (
        lambda mails: mails.append(Mail(ANNA, f"<{LEFT.lower()}.2@example.com>", SPEECH + bytes(8000))),
        f"renamed: message {LEFT} to {ANNA} under",
    ),
}


@pytest.mark.parametrize("how", CHANGED)
def test_it_does_not_add_up_when(how: str) -> None:
    change, said = CHANGED[how]
    mails = all_is_well()
    change(mails)
    [fault] = ledger_of(mails).faults([LEFT, SHORT], {})
    assert fault.startswith(said)


def test_a_message_that_the_journal_does_not_keep_is_lost() -> None:
    ledger = ledger_of(all_is_well())
    faults = list(ledger.faults([SHORT], {}))
    assert faults == [f"lost: the journal keeps no message {LEFT}"]
    assert next(ledger.balance([SHORT], faults)).endswith(", 1 lost, 0 stuck")


def test_a_mail_that_is_stuck_is_a_fault() -> None:
    mails = all_is_well()
    del mails[1]
    ledger = ledger_of(mails)
    faults = list(ledger.faults([LEFT, SHORT], {(LEFT, JAN): "held"}))
    assert faults == [f"stuck: the mail of message {LEFT} to {JAN} is held"]
    assert next(ledger.balance([LEFT, SHORT], faults)).endswith(f"{JAN} 0, 0 lost, 1 stuck")


def test_a_soak_in_which_nobody_spoke_proves_nothing() -> None:
    assert "proves nothing" in next(Ledger([ANNA], {}, ()).faults([], {}))


GOOD = "ts=2026-11-26T03:00:00.000Z level=info event=ready"
REFUSED = "voicemail.yaml:1: storage.recordings: no room"


@pytest.mark.parametrize(
    ("lines", "refused", "faults"),
    [
        ([GOOD, GOOD], 0, 0),
        ([GOOD, REFUSED, GOOD], 1, 0),
        ([GOOD, REFUSED, GOOD], 0, 1),
        ([GOOD, f'{GOOD} why="cut{GOOD}'], 1, 1),
        ([GOOD, "", GOOD], 1, 1),
        ([GOOD, "Traceback (most recent call last):", "  File"], 0, 2),
    ],
)
def test_a_line_of_the_log_that_nobody_can_read_is_a_fault(
    lines: list[str], refused: int, faults: int
) -> None:
    log = "".join(f"{line}\n" for line in lines)
    assert len(list(unreadable(log, refused))) == faults
