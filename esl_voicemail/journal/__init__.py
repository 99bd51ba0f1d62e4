"""The journal: one row a call, one a recipient, one an attempt. All SQL of the project lives in this room."""

from esl_voicemail.journal.editor import JournalEditor
from esl_voicemail.journal.journal import Journal
from esl_voicemail.journal.reader import JournalReader

__all__ = ["Journal", "JournalEditor", "JournalReader"]
