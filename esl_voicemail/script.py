"""What one call hears, where it is recorded and what its caller may type: from its mailbox, as a script."""

from collections.abc import Mapping

from esl_voicemail.config import Mailbox
from esl_voicemail.dialogue import Script
from esl_voicemail.model import TAKES_AT_MOST, Call
from esl_voicemail.spool import Spool

# Of a sound that was never measured.
_LONGEST_SECONDS = 300.0


def script_of(
    call: Call, mailbox: Mailbox, message_id: str, spool: Spool, seconds: Mapping[str, float]
) -> Script:
    """Return a call's script; `seconds` tells how long sounds last, by their path."""
    sounds = mailbox.shipped.get(call.language, {})
    greeting = [mailbox.greeting(call.reason, call.arrived_at, call.language)]
    promised = mailbox.promised(call.arrived_at, call.language)
    if promised:
        greeting.append(promised[0])
    review = sounds.get("review") if mailbox.review else None
    connecting = sounds.get("operator") if mailbox.operator else None
    numberless = call.caller.withheld or not call.caller.number
    return Script(
        greeting=tuple(greeting),
        greeting_seconds=sum(seconds.get(str(path), _LONGEST_SECONDS) for path in greeting),
        thanks=mailbox.in_language(mailbox.thanks, call.language),
        apology=mailbox.in_language(mailbox.apology, call.language),
        recordings=tuple(
            spool.place(mailbox.key, message_id, take)
            for take in range(1, (TAKES_AT_MOST if review else 1) + 1)
        ),
        max_seconds=mailbox.max_seconds,
        silence_seconds=mailbox.silence_seconds,
        operator=mailbox.operator or "" if connecting else "",
        connecting=connecting,
        ask_number=sounds.get("leave-number") if mailbox.ask_number and numberless else None,
        review=review,
        keep_digits=mailbox.keep_digits,
        promises=promised is not None,
    )
