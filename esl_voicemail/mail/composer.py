"""The mail of an attempt: its mailbox's settings, its audio, if there is any, in a format the server takes.

Meant for a worker thread, as it reads a disk and may run a codec; the mail's shape is `message`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gevent.monkey import get_original

from esl_voicemail.audio.convert import Tags
from esl_voicemail.config import Mailbox, mailbox_of
from esl_voicemail.config.values import MailAddress
from esl_voicemail.errors import TemplateError
from esl_voicemail.mail.enclosing import Encloser
from esl_voicemail.mail.message import Attachment, compose
from esl_voicemail.mail.parts import LINE, OCTETS, Entity
from esl_voicemail.mail.tags import tags_of
from esl_voicemail.model import Attempt, Voicemail

# Jinja, Babel and phonenumbers hold locks, which gevent's patch made greenlets' locks: native threads that
# meet at one may wait for ever. A real lock around all of it lets one thread in at a time.
COMPOSING = get_original("_thread", "allocate_lock")()
# Room for the headers of the audio's part and of its parent.
_PART_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Composed:
    """A mail: what its audio is, how many steps down from the wanted format, and whether it has none.

    `trouble` is why the codec refused the recording, empty if it did not.
    """

    mail: Entity
    audio: str
    step: int
    last: bool
    trouble: str = ""


def _tags(voicemail: Voicemail, mailbox: Mailbox) -> Tags:
    with COMPOSING:
        return tags_of(voicemail, mailbox)


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
    encloser: Encloser = field(default_factory=Encloser)

    def compose(self, attempt: Attempt) -> Entity:
        """Return the mail; ComposeError or RecordingError when a person has to look."""
        return self.compose_within(attempt).mail

    def compose_within(self, attempt: Attempt, step: int = 0, most: int | None = None) -> Composed:
        """Return the mail with the most of its audio, from a step down on, that goes into so many bytes.

        ComposeError or RecordingError when a person has to look.
        """
        voicemail, recording = attempt.voicemail, attempt.voicemail.recording
        mailbox = mailbox_of(self.mailboxes, voicemail.call.mailbox)
        if recording is None or attempt.undelivered:
            return Composed(self._mail(attempt, mailbox), "", step, last=True)
        kept = str(recording.path)
        room = None
        if most is not None:
            bare = self._mail(attempt, mailbox, left_out=kept)
            room = (most - len(bare) - _PART_BYTES) // (LINE + len("\r\n")) * OCTETS
        enclosed = self.encloser.enclose(
            recording, mailbox.attachment, lambda: _tags(voicemail, mailbox), step, room
        )
        mail = self._mail(attempt, mailbox, enclosed.audio, None if enclosed.audio else kept)
        return Composed(mail, enclosed.words, enclosed.step, enclosed.audio is None, enclosed.trouble)

    def _mail(
        self,
        attempt: Attempt,
        mailbox: Mailbox,
        audio: Attachment | None = None,
        left_out: str | None = None,
    ) -> Entity:
        recipient = attempt.recipient
        to = next((one for one in mailbox.recipients if one.address == recipient), MailAddress("", recipient))
        with COMPOSING:
            try:
                return compose(attempt, mailbox, self.sender, to, audio, left_out=left_out)
            except TemplateError as error:
                if not mailbox.templates:
                    raise
                self.template_failed(str(error), mailbox.key)
                # What an operator wrote must not keep his callers' words from his people.
                shipped = replace(mailbox, templates=())
                return compose(attempt, shipped, self.sender, to, audio, left_out=left_out)
