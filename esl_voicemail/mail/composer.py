"""The mail of an attempt: its mailbox's settings, its audio, if there is any, in the wanted format.

Meant for a worker thread, as it reads a disk and may run a codec; the mail's shape is `message`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from hashlib import sha256

from gevent.monkey import get_original

from esl_voicemail.audio.convert import FORMATS, attachment
from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.config.values import MailAddress
from esl_voicemail.errors import RecordingError, TemplateError
from esl_voicemail.mail.message import Attachment, compose
from esl_voicemail.model import Attempt, Recording

# Jinja, Babel and phonenumbers hold locks, which gevent's patch made greenlets' locks: native threads that
# meet at one may wait for ever. A real lock around all of it lets one thread in at a time.
_COMPOSING = get_original("_thread", "allocate_lock")()


def _nobody_listens(_why: str, _mailbox: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Composer:
    """Builds the mail of an attempt; blocks on disk and codec.

    `template_failed` hears, on a worker's thread, why an operator's template failed and for which mailbox.
    """

    mailboxes: Mapping[str, Mailbox]
    sender: MailAddress
    template_failed: Callable[[str, str], None] = _nobody_listens

    def compose(self, attempt: Attempt) -> EmailMessage:
        """Return the mail; ComposeError or RecordingError when a person has to look."""
        voicemail, recipient = attempt.voicemail, attempt.recipient
        mailbox = mailbox_of(self.mailboxes, voicemail.call.mailbox)
        to = next((one for one in mailbox.recipients if one.address == recipient), MailAddress("", recipient))
        audio = None
        if voicemail.recording and not attempt.undelivered:
            audio = self._audio(voicemail.recording, mailbox.attachment)
        with _COMPOSING:
            try:
                return compose(attempt, mailbox, self.sender, to, audio)
            except TemplateError as error:
                if not mailbox.templates:
                    raise
                self.template_failed(str(error), mailbox.key)
                # What an operator wrote must not keep his callers' words from his people.
                return compose(attempt, replace(mailbox, templates=()), self.sender, to, audio)

    def _audio(self, recording: Recording, name: str) -> Attachment:
        path = recording.path
        as_kept = attachment(path, "wav")
        if recording.sha256 and sha256(as_kept).hexdigest() != recording.sha256:
            raise RecordingError(f"{path.name}: has changed since it was kept, {len(as_kept)} bytes now")
        try:
            content = as_kept if name == "wav" else attachment(path, name)
        except RecordingError:
            content = b""
        if not content:
            # What a codec refuses, a mail can still carry as it was recorded.
            name, content = "wav", as_kept
        return Attachment(content, FORMATS[name].suffix, FORMATS[name].subtype)
