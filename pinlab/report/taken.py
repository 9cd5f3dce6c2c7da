"""When frames were taken, and through which function: what page_owner kept of their allocations.

Owns: which allocations a range of frames has, and which function of a stack asked for the pages:
the first that is none of the page allocator's own.
Ignores: whose class a stack makes a frame (`pinlab.sources.stacks`).
Cost: two searches, and one look at each allocation of the range.
"""

import re
from collections import Counter
from typing import Final

import numpy as np
from attrs import frozen

from pinlab.snapshot.allocations import NO_TEXT, Allocations
from pinpage.units import Span

__all__ = ["Taken", "asker_of", "seconds", "taken_in"]

_OF_ALLOCATOR: Final = re.compile(
    r"_*(?:get_page_from_freelist|prep_new_page|post_alloc_hook|set_page_owner|register_\w*_stack|"
    r"save_stack|(?:alloc_pages?|folio_alloc|vma_alloc_folio|alloc_frozen_pages|get_free_pages?|alloc_page|"
    r"get_zeroed_page)(?:_[a-z_]*)?)(?:\..*)?"
)
"""Functions that every allocation goes through."""


@frozen
class Taken:
    """The allocations of some frames.

    Attributes:
        nr_allocations: that are recorded, and have a frame there.
        first_ns, last_ns: the earliest and the latest, since boot; None where no time is said.
        function: that asked for most of them; None where no stack is kept.
    """

    nr_allocations: int
    first_ns: int | None
    last_ns: int | None
    function: str | None


def asker_of(stack: tuple[str, ...]) -> str | None:
    """The function that wanted the pages; None of a stack that has none.

    Args:
        stack: functions, the allocating one first.

    >>> asker_of(("get_page_from_freelist", "__alloc_pages", "zbud_zpool_malloc", "zswap_store"))
    'zbud_zpool_malloc'
    """
    for function in stack:
        if not _OF_ALLOCATOR.fullmatch(function):
            return function.partition(".")[0] or function
    return stack[-1] if stack else None


def taken_in(allocations: Allocations | None, span: Span) -> Taken | None:
    """What is recorded of the frames of a range; None where no allocation has one of them.

    Args:
        allocations: of the recording, if it has any.
        span: the frames.
    """
    if allocations is None or not len(allocations):
        return None
    first = max(int(np.searchsorted(allocations.pfn, span.start, side="right")) - 1, 0)
    stop = int(np.searchsorted(allocations.pfn, span.stop, side="left"))
    ends = int(allocations.pfn[first]) + (1 << int(allocations.order[first]))
    first += ends <= span.start
    if first >= stop:
        return None
    at_ns = allocations.at_ns[first:stop]
    said = at_ns[at_ns != NO_TEXT]
    stacks = Counter(allocations.stack[first:stop].tolist())
    functions: Counter[str] = Counter()
    for number, count in stacks.items():
        if (function := asker_of(allocations.stack_of(number))) is not None:
            functions[function] += count
    return Taken(
        nr_allocations=stop - first,
        first_ns=int(said.min()) if len(said) else None,
        last_ns=int(said.max()) if len(said) else None,
        function=min(functions, key=lambda name: (-functions[name], name)) if functions else None,
    )


def seconds(taken: Taken | None) -> str:
    """When, in seconds after boot: one time, or the earliest and the latest; empty if not said.

    >>> seconds(Taken(2, 1_500_000_000, 12_000_000_000, None))
    '1.500..12.000'
    """
    if taken is None or taken.first_ns is None or taken.last_ns is None:
        return ""
    first, last = (f"{ns / 1e9:,.3f}" for ns in (taken.first_ns, taken.last_ns))
    return first if first == last else f"{first}..{last}"
