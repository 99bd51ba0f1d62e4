"""Sounds that tests can tell apart and recognise byte for byte."""

import math
import struct
import wave
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path


def tone(seconds: float, hertz: float = 440.0, loud: int = 8000) -> bytes:
    """Return a tone as 8 kHz mono 16-bit samples."""
    count = round(seconds * 8000)
    samples = (round(loud * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(count))
    return struct.pack(f"<{count}h", *samples)


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
