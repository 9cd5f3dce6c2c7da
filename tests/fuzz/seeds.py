"""Seeds for a while, and what to paste when one of them finds something."""

import os
import time

__all__ = ["for_a_while"]

_FIRST = int(os.environ.get("PINPAGE_FUZZ_SEED", "0"))
_SECONDS = float(os.environ.get("PINPAGE_FUZZ_SECONDS", "10"))


def for_a_while(attack):
    """Call `attack` with one seed after the other; the first that fails is named.

    Raises:
        AssertionError: with the environment in which the very same comes first.
    """
    end, seed = time.monotonic() + _SECONDS, _FIRST
    while seed == _FIRST or time.monotonic() < end:
        try:
            attack(seed)
        except Exception as error:
            raise AssertionError(f"PINPAGE_FUZZ_SEED={seed}: {error!r}") from error
        seed += 1
