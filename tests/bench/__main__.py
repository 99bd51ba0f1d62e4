"""`make bench`: what calls and mails cost the service and others, and whether the targets are met.

One JSON line a case, then its figures and the targets as tables. BENCH_CASES names the cases to run, parted
by commas; a target whose cases did not all run is not judged.
"""

import json
import os
import shutil
import sys
import tempfile
import traceback
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

from esl_voicemail.cli.progress import shown
from tests.bench import crowds, dialogues, disks, mailing, tables, targets
from tests.bench.processes import ROOT, Moment
from tests.bench.targets import CPU, OTHERS

_SPEECH = ROOT / "esl_voicemail" / "trial" / "caller.wav"
_MESSAGE_SECONDS = 8.6
_PRIORITY = -10

# Whose processor time is compared: by turns, and of each the least counts, as other work only adds to it.
COMPARED = ("dialogue only", "greenswitch", "whole path WAV")
_ROUNDS = 3

CASES = {**dialogues.CASES, **mailing.CASES, **crowds.CASES, **disks.CASES}


def chosen(names: str) -> list[str]:
    """Return the cases to run; ValueError for one that there is not."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(CASES)
    unknown = set(wanted) - CASES.keys()
    if unknown:
        raise ValueError(f"no case {sorted(unknown)}; there are {', '.join(CASES)}")
    return wanted


def in_turns(wanted: list[str]) -> list[str]:
    """Return the cases as they are run: those that are compared more than once, one after the other."""
    compared = [name for name in COMPARED if name in wanted]
    return compared * _ROUNDS + [name for name in wanted if name not in compared]


def better(figures: dict[str, Any], others: dict[str, Any] | None) -> dict[str, Any]:
    """Return the figures of the run that took less; a call that failed in either has failed."""
    if others is None:
        return figures
    least = min(figures, others, key=lambda one: float(one[CPU]))
    return {**least, "calls_failed": figures["calls_failed"] + others["calls_failed"]}


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
    broken = False
    wanted = chosen(os.environ.get("BENCH_CASES", ""))
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        audio = message(Path(folder))
        for name in shown(in_turns(wanted), "cases"):
            place = Path(folder) / "case"
            place.mkdir()
            before = Moment.now()
            try:
                figures = CASES[name](place, audio)
                figures[OTHERS] = round(Moment.now().others_since(before), 3)
                print(json.dumps({"case": name, **figures}), flush=True)
                found[name] = better(figures, found.get(name))
            except Exception:  # noqa: BLE001 - the other cases still have something to say
                broken = True
                print(json.dumps({"case": name, "broken": traceback.format_exc()}), flush=True)
            shutil.rmtree(place)
    verdicts = targets.judged(found)
    for line in ("", *tables.of_cases(found), "", *tables.of_verdicts(verdicts)):
        print(line)
    return 0 if not broken and all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
