"""`esl-voicemail transcribe`: what it needs it says; with faster-whisper installed, a real model is run.

WHISPER_MODEL names the folder of a model that knows English; otherwise one is made that knows nothing.
"""

import math
import os
import subprocess
import sys
import wave
from importlib.util import find_spec
from pathlib import Path

import pytest

from esl_voicemail.samples import SAMPLE
from esl_voicemail.trial.caller import TrialCaller
from tests.support import whisper_model
from tests.support.service import command, running
from tests.support.speech import tone
from tests.test_transcripts import delivered

NAMED = os.environ.get("WHISPER_MODEL", "")
FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
HUMMING = TrialCaller(speech=tone(2.0))
installed = pytest.mark.skipif(find_spec("faster_whisper") is None, reason="needs the extra `transcripts`")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(NAMED) if NAMED else whisper_model.make(tmp_path_factory.mktemp("model"))


def transcriber(model: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "esl_voicemail", "transcribe", "--model", str(model), *more]


class TestWhatIsMissing:
    @pytest.mark.parametrize("missing", FILES)
    def test_a_file_that_the_model_lacks_is_named(self, tmp_path: Path, missing: str) -> None:
        for name in FILES:
            (tmp_path / name).touch()
        (tmp_path / missing).unlink()
        said = command("transcribe", "--model", str(tmp_path), str(SAMPLE), folder=tmp_path)
        needed = missing.replace(".txt", ".json")
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr == (
            f"{tmp_path}: has no {needed}: give the whole folder of a model for faster-whisper\n"
        )

    def test_without_the_package_it_says_what_to_install(self, tmp_path: Path) -> None:
        for name in FILES:
            (tmp_path / name).touch()
        (tmp_path / "faster_whisper.py").write_text("raise ImportError('no such thing')\n")
        said = command(
            "transcribe", "--model", str(tmp_path), str(SAMPLE), folder=tmp_path, PYTHONPATH=str(tmp_path)
        )
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr == (
            "faster-whisper cannot be used (no such thing): pip install 'esl_voicemail[transcripts]'\n"
        )

    def test_a_recording_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        said = command("transcribe", "--model", str(tmp_path), "no.wav", folder=tmp_path)
        assert (said.returncode, said.stderr) == (
            1,
            "no.wav: there is no such recording; `esl-voicemail messages audio ID` says where one is\n",
        )

    @pytest.mark.parametrize("threads", ["0", "-1", "two"])
    def test_a_number_of_threads_that_is_none_is_64(self, tmp_path: Path, threads: str) -> None:
        said = command("transcribe", "--model", ".", f"--threads={threads}", "x.wav", folder=tmp_path)
        assert said.returncode == 64
        assert "must be a whole number, 1 or more" in said.stderr


@installed
class TestWithAModel:
    @pytest.mark.parametrize("by_name", [True, False])
    def test_what_is_said_is_printed_as_one_line(self, model: Path, by_name: bool) -> None:
        with SAMPLE.open("rb") as audio:
            done = subprocess.run(
                transcriber(model, "--language", "en", str(SAMPLE) if by_name else "-"),
                stdin=audio,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == 1
        assert ("what your country can do for you" if NAMED else "w") in done.stdout

    def test_what_is_no_recording_is_one_line(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "x.wav").write_bytes(b"no audio at all")
        done = subprocess.run(
            transcriber(model, str(tmp_path / "x.wav")),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"{model}: ")
        assert done.stderr.count("\n") == 1

    def test_a_message_is_mailed_with_what_was_said_in_it(self, model: Path, tmp_path: Path) -> None:
        program = transcriber(model, "--language", "{language}", "{audio}")
        settings = {
            "transcribers": {"whisper": {"command": program}},
            "mailboxes": {"default": {"recipients": ["a@example.com"], "transcriber": "whisper"}},
        }
        with running(tmp_path, settings) as service:
            with wave.open(str(SAMPLE)) as file:
                speaking = TrialCaller(speech=file.readframes(file.getnframes()))
            said = delivered(service, service.call(speaking, pace=math.inf).call_id)
            hummed = delivered(service, service.call(HUMMING, pace=math.inf).call_id)
        assert ("what your country can do for you" if NAMED else "w") in said.transcript
        # A tone is no speech, and of that nothing is made up.
        assert hummed.transcript == ""
