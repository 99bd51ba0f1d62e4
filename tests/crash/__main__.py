"""`python -m tests.crash`: kills the service at every point in every scenario, and prints what came of it.

Arguments narrow the cases to those whose words they are among: a scenario, a point, `before` or `after`.
"""

import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from gevent import monkey

monkey.patch_all()

from tests.crash.matrix import Matrix, Result, lanes
from tests.crash.points import points


def main(words: Sequence[str]) -> int:
    """Run all; return 1 when anything breaks the promise."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, lanes() as started:
        matrix = Matrix(Path(folder), started)
        matrix.survey()
        unpassed = matrix.unpassed()
        cases = [case for case in matrix.every() if all(word in str(case) for word in words)]
        print(f"{len(points())} points, {len(cases)} kills", flush=True)
        results = matrix.run(cases)
    table(results)
    for result in results:
        for fault in result.faults:
            print(f"{result.case}: {fault}")
    for point in unpassed:
        print(f"no scenario passes {point.name} (line {point.line})")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if unpassed or any(result.faults for result in results) else 0


def table(results: Sequence[Result]) -> None:
    """Print a line for each kind of point."""
    found = points()
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, places in Counter(point.kind for point in found.values()).items():
        rows[kind]["points"] = places
    for result in results:
        for row in (rows[found[result.case.point].kind], rows["all"]):
            row["kills"] += result.reached
            row["repeated"] += result.repeated
            row["lost"] += any("lost" in fault for fault in result.faults)
            row["stuck"] += any("stuck" in fault for fault in result.faults)
            row["broken"] += bool(result.faults)
    rows["all"]["points"] = len(found)
    columns = ("points", "kills", "lost", "repeated", "stuck", "broken")
    print(f"{'':12}" + "".join(f"{name:>10}" for name in columns))
    for kind, row in rows.items():
        print(f"{kind:12}" + "".join(f"{row[name]:10}" for name in columns))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
