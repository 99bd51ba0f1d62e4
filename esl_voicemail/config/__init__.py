"""The configuration: frozen sections from YAML; every error says file:line and section.key."""

from esl_voicemail.config.load import Config, load
from esl_voicemail.config.mailbox import Mailbox

__all__ = ["Config", "Mailbox", "load"]
