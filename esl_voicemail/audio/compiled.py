"""`_measured.c`, where it was built: `measured` is None where there was no C compiler.

Whoever asks can do the same with numpy, only slower: docs/speech.md says how much.
"""

from types import ModuleType

measured: ModuleType | None
try:
    from esl_voicemail.audio import _measured as measured
except ImportError:
    measured = None
