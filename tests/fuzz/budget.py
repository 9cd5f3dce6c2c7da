"""How long a fuzzer goes on, and from which seed.

    PINPAGE_FUZZ_SEED      int, 0 unless given: the same seed, the same events
    PINPAGE_FUZZ_SECONDS   float, 10 unless given: of each fuzzer

What is drawn depends on the seed alone, never on the time: a longer run begins like a shorter
one.  A fuzzer of threads or signals does not repeat itself to the letter.
"""

import os
import time
from collections.abc import Iterator

__all__ = ["SECONDS", "SEED", "rounds"]

SEED = int(os.environ.get("PINPAGE_FUZZ_SEED", "0"))
SECONDS = float(os.environ.get("PINPAGE_FUZZ_SECONDS", "10"))


def rounds(at_least: int = 1) -> Iterator[str]:
    """A name for each round until the time is over; seeds `random.Random`, and is to be shown.

    Args:
        at_least: rounds in any case, so that no time is too short to check something.
    """
    ends, count = time.monotonic() + SECONDS, 0
    while count < at_least or time.monotonic() < ends:
        yield f"{SEED}:{count}"
        count += 1
