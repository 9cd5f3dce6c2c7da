"""What was wrong with the pin-page patch of August 2013, one by one.

Each can be present or mended in `pinpage.rfc2013.Rfc2013`, whatever the others are.

Kernel counterpart: none; this is what review found, or could have.
"""

import enum
from typing import Final

__all__ = ["AS_POSTED", "NOTHING_WRONG", "WITH_A_FLAG", "Defect"]


class Defect(enum.Enum):
    """One defect: its number, and what happens.

    Attributes:
        number: of the list in docs/explanation/designs.md.
        title: what happens, in one line.
    """

    SIZEOF_POINTER = (1, "a record of 40 bytes is written into an allocation of 8")
    UNCHECKED_ALLOCATION = (2, "no memory for a record: NULL is written through")
    USE_AFTER_UNLOCK = (3, "a record is used after the lock is dropped and its owner freed it")
    SAME_RECORD_AGAIN = (4, "an owner that says yes is asked again, without end")
    NO_UNREGISTER = (5, "there is no way to take a registration back")
    FAILURE_IS_ZERO = (6, "a refusal is reported as 0, like a success")
    FLAG_IS_A_STUB = (7, "the page's flag is never set: no owner is ever asked")
    NO_PAGE_REFERENCE = (8, "a page is freed and used again, and the old owner is called for it")
    NO_ISOLATION = (9, "two migrators are inside an owner at once, for one page")
    DUPLICATES = (10, "one registration, made twice, calls its owner twice")
    NO_ROLLBACK = (11, "two owners: one has moved, the other refuses, and nothing is undone")
    SLEEPS_IN_ATOMIC = (12, "registering from atomic context sleeps")
    ONE_LOCK_ONE_TABLE = (13, "1024 buckets behind one lock: chains grow with the pins")
    NO_DESTINATION = (14, "the owner is not told where to, nor how long it may take")
    NO_OWNER_LIFETIME = (15, "an owner is gone while registered, and is called")
    WRONG_ARGUMENTS = (16, "the letter's example calls with one argument, the patch with two")
    HOME_IS_FORGOTTEN = (17, "page tables hold the page as well, and nobody repoints them")
    FLAG_AFTER_RECORD = (18, "registered and not flagged yet: a migrator passes by in between")

    def __init__(self, number: int, title: str) -> None:
        self.number = number
        self.title = title


AS_POSTED: Final = frozenset(Defect)
"""The patch."""
WITH_A_FLAG: Final = AS_POSTED - {Defect.FLAG_IS_A_STUB}
"""The patch with the page flag that its to-do asks for; without it nothing else shows."""
NOTHING_WRONG: Final[frozenset[Defect]] = frozenset()
"""What it could have become with the same interface and one callback."""
