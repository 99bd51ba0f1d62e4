"""`make bench`: what calls and mails cost the service and others, and whether the targets are met.

One JSON line a case, then a line a target. BENCH_CASES names the cases to run, separated by commas; a target
whose cases did not all run is not judged.
"""

import json
import os
import sys
import tempfile
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

from esl_voicemail.cli.progress import shown
from tests.bench import crowds, dialogues, disks, mailing, targets
from tests.bench.processes import ROOT

_SPEECH = ROOT / "esl_voicemail" / "trial" / "caller.wav"
_MESSAGE_SECONDS = 8.6
_PRIORITY = -10

CASES = {**dialogues.CASES, **mailing.CASES, **crowds.CASES, **disks.CASES}


def chosen(names: str) -> list[str]:
    """Return the cases to run; ValueError for one that there is not."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(CASES)
    unknown = set(wanted) - CASES.keys()
    if unknown:
        raise ValueError(f"no case {sorted(unknown)}; there are {', '.join(CASES)}")
    return wanted


def message(folder: Path) -> Path:
    """Write the message that every caller leaves: real speech of the recorded call's length."""
    path = folder / "message.wav"
    with wave.open(str(_SPEECH)) as speech, wave.open(str(path), "wb") as file:
        file.setparams(speech.getparams())
        file.writeframes(speech.readframes(round(_MESSAGE_SECONDS * speech.getframerate())))
    return path


def main() -> int:
    """Run the cases, say each as it ends, and judge them."""
    # Where it may, the run goes before other work on this machine, whose turns would be in the figures.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        audio = message(Path(folder))
        for name in shown(chosen(os.environ.get("BENCH_CASES", "")), "cases"):
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            found[name] = CASES[name](place, audio)
            print(json.dumps({"case": name, **found[name]}), flush=True)
    verdicts = targets.judged(found)
    for line in targets.table(verdicts):
        print(line)
    return 0 if all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
