"""Writes a recording down with a Whisper model that lies on this machine; the only room of faster-whisper.

Runs in a process of its own. Nothing is downloaded: what the model lacks is said instead.
"""

import os
from pathlib import Path
from typing import IO

from esl_voicemail.errors import TranscriptError
from esl_voicemail.model import one_line

# Without its tokenizer, faster-whisper would look for one on the network.
_NEEDED = (("model.bin",), ("config.json",), ("tokenizer.json",), ("vocabulary.json", "vocabulary.txt"))


def transcribe(model: Path, audio: Path | IO[bytes], language: str | None, threads: int) -> str:
    """Return what is said in a recording, as one line; without a language the model guesses it.

    TranscriptError when faster-whisper is not installed, the folder holds no model, or either refuses.
    """
    _expect_model(model)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from faster_whisper import WhisperModel  # noqa: PLC0415 - of an extra, and of no use to the service
    except ImportError as error:
        raise TranscriptError(
            f"faster-whisper cannot be used ({error}): pip install 'esl_voicemail[transcripts]'"
        ) from error
    try:
        whisper = WhisperModel(
            str(model), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )
        # Of silence, and of its own last words, Whisper makes sentences that nobody said.
        segments, _ = whisper.transcribe(
            audio if not isinstance(audio, Path) else str(audio),
            language=language,
            vad_filter=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)
    except Exception as error:  # three libraries' own, and the tokenizer's is a bare one
        raise TranscriptError(one_line(f"{model}: {error}", 300)) from error


def _expect_model(model: Path) -> None:
    missing = [names[0] for names in _NEEDED if not any((model / name).is_file() for name in names)]
    if missing:
        raise TranscriptError(
            f"{model}: has no {', '.join(missing)}: give the whole folder of a model for faster-whisper"
        )
