"""Pins on physical pages: who holds which frame, and how to ask them to let it move.

The public names of the package; each module's docstring says what it owns and what it
costs.  Start with `PinRegistry` and `PinOwner`.

    owner     the contract between the VM and whoever holds pages
    registry  who holds which frame, and nothing else
    migrate   frames whose owners agree are moved: one protocol for one and for hundreds
    errors  units  topology  extras
              what goes wrong, what is counted in, whose node a frame is, what can be installed
    store     what the registry is made of: one shard per node, two forms per pageblock
    move      what a move is made of: batches, undo, callbacks in flight
    testing   for tests of owners, movers and this package: a model, an explorer, the owner kit
    rfc2013  rfc2013_defects
              the patch of 2013 as posted, and what was wrong with it
    rfc2013_systems
              its second posting: an object per subsystem
    __main__  `python -m pinpage` is the command
"""

from pinpage.errors import (
    AlreadyPinnedError,
    ContextError,
    InvariantError,
    NotPinnedError,
    OwnerError,
    PfnError,
    PinpageError,
)
from pinpage.owner import CallbackOwner, Mode, Pin, PinOwner, Reason, Verdict
from pinpage.registry import NO_OWNER_ID, SEVERAL_OWNERS_ID, PinColumns, PinRegistry
from pinpage.store.statistics import Statistics
from pinpage.topology import Topology
from pinpage.units import (
    PAGE_SHIFT,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Mask,
    Pfns,
    Span,
)

__version__ = "0.1.0"

__all__ = [
    "NO_OWNER_ID",
    "PAGEBLOCK_NR_PAGES",
    "PAGEBLOCK_ORDER",
    "PAGE_SHIFT",
    "PAGE_SIZE",
    "SEVERAL_OWNERS_ID",
    "AlreadyPinnedError",
    "CallbackOwner",
    "ContextError",
    "InvariantError",
    "Mask",
    "Mode",
    "NotPinnedError",
    "OwnerError",
    "PfnError",
    "Pfns",
    "Pin",
    "PinColumns",
    "PinOwner",
    "PinRegistry",
    "PinpageError",
    "Reason",
    "Span",
    "Statistics",
    "Topology",
    "Verdict",
]
