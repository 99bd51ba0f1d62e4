"""`make demo`: the whole job once, on this machine alone: a call comes in, a mail comes out.

Starts the service on embedded defaults and free ports, places one trial call with a recorded human voice,
waits for the mail and checks that it holds what the caller said.
"""

import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar

from esl_voicemail.audio.convert import pcm
from esl_voicemail.errors import RecordingError
from esl_voicemail.trial.caller import TrialCaller
from esl_voicemail.trial.likeness import likeness
from esl_voicemail.trial.switch import place_call

SAMPLE = Path(__file__).with_name("caller.wav")
_FOLDER = Path("var") / "demo"
_CONFIG = "listen: 127.0.0.1:0\nhttp: {listen: 127.0.0.1:0}\n"
_WAIT_SECONDS = 60.0
_PACE = 10.0
# A codec of this bit rate leaves more; another voice, or a mail with half of it, less.
_ALIKE = 0.85

T = TypeVar("T")


class DemoError(Exception):
    """The demonstration did not get what it waited for."""


def main() -> int:
    """Run the demonstration; return 0 only if the mail came and holds the caller's audio."""
    folder = (Path.cwd() / _FOLDER / time.strftime("%Y%m%d-%H%M%S")).absolute()
    folder.mkdir(parents=True)
    (folder / "voicemail.yaml").write_text(_CONFIG)
    log = folder / "service.log"
    with log.open("wb") as said:
        service = subprocess.Popen(
            [sys.executable, "-m", "esl_voicemail", "serve"],
            cwd=folder,
            env={**os.environ, "ESL_VOICEMAIL_CONFIG": "voicemail.yaml"},
            stdout=said,
            stderr=said,
        )
    try:
        _demonstrate(folder, service)
    except (DemoError, OSError) as error:
        print(f"demo: {error}\n--- {log}\n{log.read_text()}", file=sys.stderr)
        return 1
    finally:
        service.terminate()
        service.wait(_WAIT_SECONDS)
    return 0


def _demonstrate(folder: Path, service: "subprocess.Popen[bytes]") -> None:
    host, _, port = _await(lambda: _listening(folder, service), "the service serves").rpartition(":")
    with wave.open(str(SAMPLE)) as sample:
        speech = sample.readframes(sample.getnframes())
    print(f"The service listens on {host}:{port}. A caller speaks for {len(speech) / 16000:.1f} s.\n")
    ended = place_call(
        (host, int(port)),
        TrialCaller(number="+48601234567", name="Jan Kowalski", speech=speech),
        variables={"voicemail_mailbox": "default", "voicemail_reason": "no-answer", "socket_resume": "true"},
        pace=_PACE,
    )
    if ended.error or not ended.recording:
        raise DemoError(ended.error or "the call was not recorded")
    new = folder / "var" / "mail" / "new"
    stored = _await(lambda: next(iter(new.iterdir()), None), "the mail arrives")
    eml = folder / "voicemail.eml"
    eml.write_bytes(stored.read_bytes())
    mail = message_from_bytes(eml.read_bytes(), policy=policy.default)
    audio, heard = _audio(mail, folder)
    for name, value in mail.items():
        print(f"{name}: {value}")
    text = mail.get_body(("plain",))
    print(f"\n{text.get_content() if text else ''}")
    print(f"mail   {eml}\naudio  {audio}")
    alike = likeness(speech, heard)
    if alike < _ALIKE:
        raise DemoError(f"the mail's audio is not what the caller said: likeness {alike:.2f}")
    print(f"The attached audio is what the caller said: likeness {alike:.2f}, {len(heard) / 16000:.1f} s.")


def _listening(folder: Path, service: "subprocess.Popen[bytes]") -> str | None:
    if service.poll() is not None:
        raise DemoError(f"the service ended with code {service.returncode}")
    state = folder / "var" / "serve.json"
    return str(json.loads(state.read_text())["listen"]) if state.exists() else None


def _audio(mail: EmailMessage, folder: Path) -> tuple[Path, bytes]:
    attachment = next(mail.iter_attachments(), None)
    if attachment is None:
        raise DemoError("the mail has no attachment")
    content = attachment.get_payload(decode=True)
    if not isinstance(content, bytes):
        raise DemoError("the attachment is no audio")
    path = folder / (attachment.get_filename() or "audio")
    path.write_bytes(content)
    try:
        return path, pcm(path)
    except RecordingError as error:
        raise DemoError(str(error)) from error


def _await(look: Callable[[], T | None], what: str) -> T:
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.05)
    raise DemoError(f"not within {_WAIT_SECONDS:g} s: {what}")


if __name__ == "__main__":
    sys.exit(main())
