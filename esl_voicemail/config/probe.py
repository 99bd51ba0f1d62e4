"""The probe's own mailbox: what its calls need to be like any other's, and to be nobody's."""

from esl_voicemail.config.sections import MailboxSection, ProbeSection
from esl_voicemail.config.transcriber import NO_TRANSCRIBER

# All mails lie in the embedded Maildir, whatever they are addressed to.
_NOBODY = "probe@localhost"


def probe_mailbox(probe: ProbeSection) -> MailboxSection:
    """Return the mailbox of the probe's calls; only how it sounds and what is attached is as for others."""
    return MailboxSection.model_validate(
        {
            "name": "Probe",
            "recipients": [probe.to.address if probe.to else _NOBODY],
            # What is said takes seconds, with pauses: no default of the others is to cut it off.
            "max_seconds": 60,
            "min_seconds": 1,
            "min_speech_seconds": 0.1,
            "silence_seconds": 7,
            "notify_empty": "never",
            "promise": False,
            "review": False,
            "ask_number": False,
            "caller_in_from": False,
            "thread_callers": False,
            "show_recipients": False,
            "important": False,
            "transcriber": NO_TRANSCRIBER,
        }
    )
