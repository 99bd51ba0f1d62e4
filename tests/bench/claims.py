"""How long the service's queue takes to claim what is due, asked of a storage nobody serves.

A process of its own, as a journal belongs to one at a time. Prints the median in seconds.
"""

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from esl_voicemail.journal import Journal
from esl_voicemail.journal.engine import url_of

CLAIMS = 200
AT_ONCE = 4


def main() -> None:
    """Claim again and again: STORAGE."""
    storage = Path(sys.argv[1])
    journal = Journal(url_of(storage), storage / "recordings")
    seconds = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        claimed = journal.queue.claim(AT_ONCE, datetime.now(UTC), "example.com")
        seconds.append(time.perf_counter() - began)
        assert len(claimed) == AT_ONCE, "the storage holds too few messages that are due"
    journal.close()
    print(json.dumps({"seconds": statistics.median(seconds)}))


if __name__ == "__main__":
    main()
