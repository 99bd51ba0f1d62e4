"""What a player shows of a message's audio: values in, tags out. Pure."""

from babel.dates import format_datetime

from esl_voicemail.audio.convert import Tags
from esl_voicemail.config import Mailbox
from esl_voicemail.mail.forms import telephone
from esl_voicemail.model import Voicemail, one_line

_TIMES = {"pl": "dd.MM.yyyy HH:mm", "en": "d MMM yyyy HH:mm"}
_MOST_CHARACTERS = 200


def tags_of(voicemail: Voicemail, mailbox: Mailbox) -> Tags:
    """Return a message's tags in the mailbox's language and zone; a withheld number is in none.

    Callers' words as `one_line` leaves them: NFC, no line ends, no control or direction marks.
    """
    call = voicemail.call
    arrived = call.arrived_at.astimezone(mailbox.timezone)
    number = "" if call.caller.withheld else telephone(call.caller.number, mailbox.region).shown
    who = " ".join(filter(None, (call.caller.name, number)))
    when = format_datetime(arrived, _TIMES[mailbox.language], locale=mailbox.language)
    return Tags(
        title=_line(", ".join(filter(None, (who, when)))),
        artist=_line(who),
        album=_line(mailbox.name),
        date=f"{arrived:%Y-%m-%d}",
    )


def _line(text: str) -> str:
    return one_line(text, _MOST_CHARACTERS)
