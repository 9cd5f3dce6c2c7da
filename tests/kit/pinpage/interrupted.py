"""One run of the lab of moves, interrupted at given points."""

import contextlib

from tests.kit.pinpage.interrupts import Interrupts
from tests.kit.pinpage.move_lab import MOVE_FILES, MoveLab

__all__ = ["interrupted"]


def interrupted(seed, *due):
    """How many points were passed and how many interrupts struck; everything is checked."""
    lab = MoveLab(seed)
    with Interrupts(*due, files=MOVE_FILES) as points, contextlib.suppress(KeyboardInterrupt):
        lab.run()
    try:
        lab.check()
    except AssertionError as error:
        raise AssertionError(f"MoveLab({seed!r}), interrupted at points {due}: {error}") from error
    return points
