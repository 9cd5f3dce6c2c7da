"""What a design can do, as data that the design itself carries.

Nothing is listed twice: tables of designs are made from these, and a test tries on a small
machine what each of them claims.

Kernel counterpart: none; the 2013 thread argued about exactly these columns.
"""

from attrs import frozen

__all__ = ["Capabilities"]


@frozen(kw_only=True)
class Capabilities:
    """One row of the table of designs.

    Attributes:
        moves: whether any frame that page tables do not hold can go elsewhere, and not only
            be given up.
        several_owners: whether a frame with several owners can move.
        second_owner: what becomes of the second owner of a frame, in words.
        gup: whether memory that is pinned for a device can move while it is pinned.
        knows_target: whether the owner is told where its data goes.
        knows_mode: whether the owner is told how long the VM would wait.
        undoes: whether a refusal leaves everybody as before, those asked earlier too.
        lookup: what finding a frame's holders costs.
        pin_nr_bytes: the most that one pin takes beside its page.
        locks: what is locked, and how often.
    """

    moves: bool
    several_owners: bool
    second_owner: str
    gup: bool
    knows_target: bool
    knows_mode: bool
    undoes: bool
    lookup: str
    pin_nr_bytes: int
    locks: str
