"""Owners that were forced out of the registry while they hold pages.

`PinRegistry.unregister(owner, force=True)` drops an owner's pins without a callback; its
references stay, and are its own to give back.  Until then no page of such an owner is moved or
used again: a reference that no pin accounts for stops every move.  So the owner goes on
with what it has, takes nothing new, and gives it back when it would have done so anyway.
Here is how it unpins without having to know; and what it must not wait for any more: a
move that had asked it to hold still comes to nothing, and no callback says so.

Kernel counterpart: a module that is unloaded while pages of it are in use; there it is not.
"""

from typing import Any

from numpy.typing import ArrayLike

from pinpage.errors import NotPinnedError, OwnerError
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry

__all__ = ["is_registered", "require_registered", "unpin", "unpin_many", "unpin_range"]


def is_registered(registry: PinRegistry, owner: PinOwner) -> bool:
    """Whether an owner may pin, and is asked.

    Args:
        registry: where it may be known.
        owner: the one in question.
    """
    return any(known is owner for known in registry.owners)


def require_registered(registry: PinRegistry | None, owner: PinOwner) -> None:
    """Refuse what needs pins, before anything has been done about it.

    Args:
        registry: where the owner pins; None if it does not.
        owner: the one that is about to.

    Raises:
        OwnerError: the owner was forced out.
    """
    if registry is not None and not is_registered(registry, owner):
        raise OwnerError(f"owner {owner.name!r} is not registered (any more): it can pin nothing")


def unpin(registry: PinRegistry, pfn: int, owner: PinOwner, private: Any = None) -> None:
    """`PinRegistry.unpin`; of an owner that was forced out there is no pin left.

    Args:
        registry: where the frame was pinned.
        pfn, owner, private: of the pin.

    Raises:
        NotPinnedError: the owner is registered, and has no such pin.
    """
    try:
        registry.unpin(pfn, owner, private)
    except (NotPinnedError, OwnerError):  # the first, if it happens at this very moment
        if is_registered(registry, owner):
            raise


def unpin_many(
    registry: PinRegistry, pfns: ArrayLike, owner: PinOwner, privates: Any = None
) -> None:
    """`unpin` of a column; arguments as for `PinRegistry.unpin_many`.

    Args:
        registry: where the frames were pinned.
        pfns, owner, privates: of the pins, shape (n,).

    Raises:
        NotPinnedError: the owner is registered, and has not all of these pins.
    """
    try:
        registry.unpin_many(pfns, owner, privates)
    except (NotPinnedError, OwnerError):
        if is_registered(registry, owner):
            raise


def unpin_range(
    registry: PinRegistry, start: int, stop: int, owner: PinOwner, privates: Any = None
) -> None:
    """`unpin` of a range; arguments as for `PinRegistry.unpin_range`.

    Args:
        registry: where the frames were pinned.
        start, stop: the frames, the last one not included.
        owner, privates: of the pins.

    Raises:
        NotPinnedError: the owner is registered, and has not all of these pins.
    """
    try:
        registry.unpin_range(start, stop, owner, privates)
    except (NotPinnedError, OwnerError):
        if is_registered(registry, owner):
            raise
