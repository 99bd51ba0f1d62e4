"""Sounds that tests can tell apart and recognise byte for byte."""

import wave
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import numpy as np

# How loud the overtones of two vowels are.
_VOWELS = np.array([(0.88, 0.08, 0.02, 0.01, 0.01), (0.12, 0.1, 0.6, 0.1, 0.08)])
_VOWEL_SECONDS = 0.12


def tone(seconds: float, hertz: float = 440.0, loud: int = 8000) -> bytes:
    """Return a tone that somebody sings, two vowels in turn, as 8 kHz mono 16-bit samples: it is speech."""
    at = np.arange(round(seconds * 8000)) / 8000
    vowel = (at / _VOWEL_SECONDS).astype(int) % 2
    overtones = [n for n in range(1, 6) if n * hertz < 3800]
    sung = sum(_VOWELS[vowel, n - 1] * np.sin(2 * np.pi * n * hertz * at) for n in overtones)
    return np.round(loud * sung).astype("<i2").tobytes()


def beep(seconds: float, hertz: float = 440.0, loud: int = 8000) -> bytes:
    """Return a tone that nobody sings, as 8 kHz mono 16-bit samples."""
    at = np.arange(round(seconds * 8000)) / 8000
    return np.round(loud * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()


def save(path: Path, samples: bytes) -> Path:
    """Write samples as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples)
    return path


def attached(mail: EmailMessage) -> bytes:
    """Return the samples of a mail's one WAV attachment."""
    (part,) = mail.iter_attachments()
    with wave.open(BytesIO(part.get_content())) as file:  # type: ignore[attr-defined]
        return file.readframes(file.getnframes())
