"""Which telephone numbers the log shows, of callers and in what others say of their calls. Pure."""

from dataclasses import dataclass

from esl_voicemail.logline import masked, without, without_any
from esl_voicemail.model import Call


@dataclass(frozen=True, slots=True)
class Masking:
    """Hides the middle of numbers, unless they are wanted whole."""

    wanted: bool = True

    def caller(self, call: Call | None) -> str | None:
        """Return who called, as a line says it."""
        if call is None:
            return None
        if call.caller.withheld:
            return "withheld"
        return masked(call.caller.number) if self.wanted else call.caller.number

    def said(self, text: str, call: Call | None) -> str:
        """Return what somebody says of a call: mail servers quote mails, which tell who called.

        Of a call that was not read yet any number may be its caller's.
        """
        if not self.wanted:
            return text
        if call is None:
            return without_any(text)
        return without(without(text, call.caller.number), call.callback)
