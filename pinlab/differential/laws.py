"""What two designs on the same memory must have in common, numbered.

DL5 is a theorem for the strategy `plan`, for requests of one size, and where the wider design
moves whatever the narrower one moves: what is planned is a maximum over what may move, and more
may move (docs/explanation/planner.md).  A narrower design that gives up zbud pages instead is no
exception: what comes back takes as many frames as were given up, or more.

It is none under `scan`: with one callback more the scanner may spend its targets on a pageblock
that stays in use whatever happens.  Nor is it for a wider design whose owners can only release,
or say yes and then no, or for requests of several sizes.

Kernel counterpart: none.
"""

import enum

__all__ = ["Law"]


class Law(enum.Enum):
    """One law.

    Attributes:
        title: the law.
        meaning: what a broken one means to whoever compares the two.
    """

    DL1 = ("before it acts, a design has changed nothing", "the two do not start from one memory")
    DL2 = ("everybody reads what he wrote, under both", "somebody's bytes depend on the design")
    DL3 = ("no frame is lost", "memory that nobody holds is in use, and stays so until reboot")
    DL4 = ("accounts are exact", "a report counts what did not happen, or hides what did")
    DL5 = (
        "by plan, the wider obtains no less than the narrower",
        "knowing more was no use, or harm",
    )
    DL6 = ("the same seed gives the same machine", "no difference between the two can be trusted")
    DL7 = ("one contains the other, frame by frame", "it is another design, not a wider one")

    def __init__(self, title: str, meaning: str) -> None:
        self.title = title
        self.meaning = meaning
