"""The exceptions that cross rooms; a failure that stays inside a room has no place here."""


class VoicemailError(Exception):
    """Anything this project raises on purpose; its text is one line for a person."""


class ConfigError(VoicemailError):
    """The configuration cannot be used: one line a problem, each with file:line and section.key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageBusyError(VoicemailError):
    """Another server holds the same storage directory."""


class CannotBindError(VoicemailError):
    """A listening address is taken or not ours."""


class CannotReachError(VoicemailError):
    """A service that should answer does not."""


class FrameError(VoicemailError):
    """Bytes from the switch are no frame of the event socket."""


class ControlLostError(VoicemailError):
    """The event socket of a call ended, broke or fell silent."""


class CallerGoneError(ControlLostError):
    """The caller hung up before the service had the call."""


class RecordingError(VoicemailError):
    """A recording is missing or unreadable."""


class GreetingError(VoicemailError):
    """A sound is no greeting; its line says what is wrong with it and what to do."""


class SpeechError(VoicemailError):
    """A text cannot be spoken on this machine."""


class TranscriptError(VoicemailError):
    """A recording cannot be written down on this machine."""


class ProgramError(VoicemailError):
    """A program of the machine cannot be run, failed, or printed what is of no use; `output` is what."""

    def __init__(self, words: str, output: bytes = b"") -> None:
        super().__init__(words)
        self.output = output


class ProgramTimeoutError(ProgramError):
    """A program was not done when its time was over."""


class JournalError(VoicemailError):
    """The journal did not take or give what it was asked to."""


class DiskError(JournalError):
    """The journal's disk is full, read-only or broken: nothing is wrong with what is on it."""


class ComposeError(VoicemailError):
    """A mail cannot be built from what is kept: a person has to look."""


class TemplateError(ComposeError):
    """A template of the mails fails; its line names the file and line."""
