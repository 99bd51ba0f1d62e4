"""`make fuzz`, or `python -m tests.fuzz [SECONDS] [SEED]`: spoils input until the time is over.

A finding prints the seed and case that repeat it and the file that holds the input; the run goes on, and
ends with 1.
"""

import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import settings, stream

FINDINGS = Path("var") / "fuzz"
_KINDS = ("stream", "settings")
# Input of a few MB must not cost gigabytes.
_MEMORY_BYTES = 2 << 30
_MOST_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that did what none may."""

    kind: str
    seed: int
    case: int
    content: bytes
    error: BaseException

    def __str__(self) -> str:
        where = traceback.extract_tb(self.error.__traceback__)[-1]
        said = f"{type(self.error).__name__}: {str(self.error)[:300]}"
        return f"{self.kind}, seed {self.seed}, case {self.case}: {said} ({where.name}, line {where.lineno})"


def attempt(kind: str, seed: int, number: int, folder: Path) -> Finding | None:
    """Try one case; the same seed and number make the same one."""
    chance = random.Random(f"{kind} {seed} {number}")
    content = b""
    try:
        if kind == "stream":
            content = stream.case(chance)
            stream.check(content, chance)
        else:
            content = settings.case(chance)
            settings.check(content, chance, folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, that is what is looked for
        return Finding(kind, seed, number, content, error)
    return None


def attempts(seed: int, folder: Path) -> Iterator[Finding | None]:
    """Try one case after the other, for ever."""
    number = 0
    while True:
        for kind in _KINDS:
            yield attempt(kind, seed, number, folder)
        number += 1


def main(arguments: list[str]) -> int:
    """Fuzz for the seconds asked for; return 1 when anything was found."""
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(1 << 32)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    print(f"{seconds:g} seconds, seed {seed}", flush=True)
    over, tried, found = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for finding in attempts(seed, Path(folder)):
            tried += 1
            if finding:
                found += 1
                FINDINGS.mkdir(parents=True, exist_ok=True)
                path = FINDINGS / f"{finding.kind}-{finding.seed}-{finding.case}"
                path.write_bytes(finding.content)
                print(f"{finding}\n  input: {path}", flush=True)
            if time.monotonic() > over or found >= _MOST_FINDINGS:
                break
    print(f"{tried} cases, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
