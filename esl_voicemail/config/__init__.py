"""The configuration: frozen sections from YAML; every error says file:line and section.key."""

from esl_voicemail.config.load import load
from esl_voicemail.config.mailbox import Mailbox, mailbox_of
from esl_voicemail.config.resolved import Config

__all__ = ["Config", "Mailbox", "load", "mailbox_of"]
