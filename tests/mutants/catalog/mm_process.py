"""Bugs planted in faults, reclaim and the accounting of references."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MACHINE = ("tests/property/test_swap_machine.py",)
MEMORY = ("tests/unit/mm/test_memory.py",)
SWAP = ("tests/unit/mm/test_swap.py",)
VMSCAN = ("tests/unit/mm/test_vmscan.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        name="paging-check-misses-w4",
        guards="W4",
        file="mm/paging.py",
        old="homed & (frames.refcount != expected)",
        new="homed & (frames.refcount < expected)",
        tests=SWAP,
    ),
    Mutant(
        name="fault-trusts-the-pte",
        guards="R-13",
        file="mm/memory.py",
        old="        if not ours or space.pte.item(vpn) != swap_pte(entry):\n",
        new="        if False:\n",
        tests=MEMORY,
    ),
    Mutant(
        name="fault-keeps-its-reference",
        guards="W4",
        file="mm/memory.py",
        old=("        if not is_first:\n            paging.put_page(pfn)\n"),
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="store-shares-the-page",
        guards="contents",
        file="mm/memory.py",
        old="        if nr_users == 1:\n",
        new="        if nr_users >= 1:\n",
        tests=MEMORY,
    ),
    Mutant(
        name="store-ignores-users-of-the-slot",
        guards="contents",
        file="mm/memory.py",
        old="        nr_users += paging.page_swapcount(pfn) if is_cached else 0\n",
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="store-leaves-the-stale-slot",
        guards="contents",
        file="mm/memory.py",
        old="            paging.try_to_free_swap(pfn)  # the copy",
        new="            # the copy",
        tests=MEMORY,
    ),
    Mutant(
        name="fresh-page-not-cleared",
        guards="contents",
        file="mm/memory.py",
        old="        self.paging.clear_page(pfn)\n",
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="store-leaves-the-page-clean",
        guards="R-14",
        file="mm/memory.py",
        old="(_DIRTY if write else 0)",
        new="0",
        tests=MEMORY,
    ),
    Mutant(
        name="drop-keeps-the-cached-page",
        guards="W4",
        file="mm/paging.py",
        old="        if pfn >= 0 and self.frames",
        new="        if pfn < -1 and self.frames",
        tests=MEMORY,
    ),
    Mutant(
        name="swap-freed-while-named",
        guards="contents",
        file="mm/paging.py",
        old=" or self.page_swapcount(pfn):\n",
        new=":\n",
        tests=MACHINE,
    ),
    Mutant(
        name="free-swap-leaves-the-page-clean",
        guards="R-14",
        file="mm/paging.py",
        old=("        self.swap.cache_delete(pfn)\n        self.set_bits(pfn, _DIRTY)\n"),
        new="        self.swap.cache_delete(pfn)\n",
        tests=MEMORY,
    ),
    Mutant(
        name="freed-page-stays-on-the-lru",
        guards="L2",
        file="mm/paging.py",
        old=(
            "        if self.frames.flags.item(pfn) & _LRU:\n            self.lru.del_page(pfn)\n"
        ),
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="exit-leaves-the-ring",
        guards="N1",
        file="mm/mmap.py",
        old="    paging.swap.mmlist.remove(space)\n",
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="reclaim-recurses",
        guards="reclaim depth 1",
        file="mm/vmscan.py",
        old=("    if paging.in_reclaim:\n        return done\n"),
        new="",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-takes-pinned-pages",
        guards="R-17",
        file="mm/vmscan.py",
        old="(frames.refcount[pfns] == home + 1) & ",
        new="(frames.refcount[pfns] > home) & ",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-takes-isolated-pages",
        guards="R-7",
        file="mm/vmscan.py",
        old=" & ~frames.isolated[pfns]\n",
        new="\n",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-drops-dirty-pages",
        guards="R-14",
        file="mm/vmscan.py",
        old=(
            "    if not paging.has(pfn, _DIRTY):\n        paging.unlock_page(pfn)\n        return\n"
        ),
        new=("    if True:\n        paging.unlock_page(pfn)\n        return\n"),
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-frees-what-is-held",
        guards="W4",
        file="mm/vmscan.py",
        old=("    if paging.frames.refcount.item(pfn) != 1 + is_cached:\n        return False\n"),
        new="",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-unmaps-one-of-many",
        guards="A1",
        file="mm/vmscan.py",
        old="    for space, vpn in mappings:\n",
        new="    for space, vpn in mappings[:1]:\n",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-forgets-second-chance",
        guards="LRU",
        file="mm/vmscan.py",
        old="used = may_go & ((frames.flags[pfns] & _REFERENCED) != 0)",
        new="used = may_go & (frames.flags[pfns] == 0)",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-trusts-its-first-look",
        guards="R-17",
        file="mm/vmscan.py",
        old="if not at or len(_keep_some(paging, going[at : at + 1], done)):",
        new="if pfn >= 0:",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-takes-locked-pages",
        guards="page lock",
        file="mm/vmscan.py",
        old="bit(PageFlag.LOCKED, PageFlag.UNEVICTABLE,",
        new="bit(PageFlag.UNEVICTABLE,",
        tests=VMSCAN,
    ),
    Mutant(
        name="reclaim-keeps-its-references",
        guards="W4",
        file="mm/vmscan.py",
        old="    paging.frames.refcount[pfns[held]] -= 1\n",
        new="",
        tests=VMSCAN,
    ),
]
