"""Bugs planted in swap areas, the swap cache and the mmlist."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

AREA = ("tests/unit/mm/test_swap_area.py",)
MEMORY = ("tests/unit/mm/test_memory.py",)
SWAP = ("tests/unit/mm/test_swap.py",)
SWAPFILE = ("tests/unit/mm/test_swapfile.py",)
SWAPOFF = ("tests/unit/mm/test_swapoff.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        name="swap-hands-out-the-header",
        guards="S3",
        file="mm/swap_area.py",
        old="        self._bytes[0] = SWAP_MAP_BAD\n",
        new="",
        tests=AREA,
    ),
    Mutant(
        name="swap-search-does-not-go-round",
        guards="S3",
        file="mm/swap_area.py",
        old="            offset = self._bytes.find(0, 1, self._next)\n",
        new="            offset = -1\n",
        tests=AREA,
    ),
    Mutant(
        name="swap-count-not-continued",
        guards="S4",
        file="mm/swap_area.py",
        old=(
            "            self._continued[offset] = self._continued.get(offset, 0) + 1\n"
            "            return Errno.OK\n"
        ),
        new="            return Errno.OK\n",
        tests=AREA,
    ),
    Mutant(
        name="swap-continuation-ends-early",
        guards="S4",
        file="mm/swap_area.py",
        old=(
            "        if excess:\n"
            "            self._continued[offset] = excess\n"
            "            return byte\n"
            "        del"
        ),
        new="        del",
        tests=AREA,
    ),
    Mutant(
        name="swap-second-cache-page",
        guards="R-13",
        file="mm/swap_area.py",
        old=("            if byte & SWAP_HAS_CACHE:\n                return Errno.EEXIST\n"),
        new="",
        tests=AREA,
    ),
    Mutant(
        name="swap-freed-slot-revived",
        guards="R-13",
        file="mm/swap_area.py",
        old=(
            "            if not byte:\n                return Errno.ENOENT\n            self._bytes"
        ),
        new="            self._bytes",
        tests=AREA,
    ),
    Mutant(
        name="swap-shmem-slot-shared",
        guards="S1",
        file="mm/swap_area.py",
        old=("        if count == SWAP_MAP_SHMEM:\n            return Errno.EINVAL\n"),
        new="",
        tests=AREA,
    ),
    Mutant(
        name="swap-last-reference-not-invalidated",
        guards="S2",
        file="mm/swap_area.py",
        old=("                self.frontswap.invalidate_page(self.type, offset)\n\n    # Users"),
        new=("                pass\n\n    # Users"),
        tests=AREA,
    ),
    Mutant(
        name="swap-stale-frontswap-copy-kept",
        guards="S2",
        file="mm/swap_area.py",
        old="            if self.frontswap_map.item(offset):  # an older",
        new="            if False:  # an older",
        tests=AREA,
    ),
    Mutant(
        name="swap-stale-disk-copy-kept",
        guards="S2",
        file="mm/swap_area.py",
        old="                self.disk.pop(offset, None)  # an older copy must never be read\n",
        new="",
        tests=AREA,
    ),
    Mutant(
        name="swap-disk-not-forgotten",
        guards="S2",
        file="mm/swap_area.py",
        old=("        self.inuse_pages -= 1\n        self.disk.pop(offset, None)\n"),
        new="        self.inuse_pages -= 1\n",
        tests=AREA,
    ),
    Mutant(
        name="swap-drop-user-loses-the-others",
        guards="S1",
        file="mm/swap_area.py",
        old="further.pop(0) if further else (-1, -1)",
        new="(-1, -1)",
        tests=AREA,
    ),
    Mutant(
        name="swap-late-holder-admitted",
        guards="R-15",
        file="mm/swap_area.py",
        old=("        if not self.writeok:\n            return False\n"),
        new="",
        tests=SWAPOFF,
    ),
    Mutant(
        name="swap-check-misses-s1",
        guards="S1",
        file="mm/swap_area.py",
        old="nr_users != expected",
        new="nr_users > expected",
        tests=AREA,
    ),
    Mutant(
        name="swap-check-misses-s2-front",
        guards="S2",
        file="mm/swap_area.py",
        old="free & self.frontswap_map",
        new="free & ~free",
        tests=AREA,
    ),
    Mutant(
        name="swap-check-misses-s2-disk",
        guards="S2",
        file="mm/swap_area.py",
        old='            require(not free[offset], "S2',
        new='            require(True, "S2',
        tests=AREA,
    ),
    Mutant(
        name="swap-check-misses-s3",
        guards="S3",
        file="mm/swap_area.py",
        old="        require(inuse == self.inuse_pages, ",
        new="        require(True, ",
        tests=AREA,
    ),
    Mutant(
        name="swap-check-misses-s4",
        guards="S4",
        file="mm/swap_area.py",
        old="        require(int(flagged.sum()) == len(self._continued), ",
        new="        require(True, ",
        tests=AREA,
    ),
    Mutant(
        name="swap-check-misses-s5",
        guards="S5",
        file="mm/swap_area.py",
        old="            require(nr_users[offset] and further, ",
        new="            require(True, ",
        tests=AREA,
    ),
    Mutant(
        name="swap-cache-holds-no-reference",
        guards="W4",
        file="mm/swap_cache.py",
        old="        frames.add_reference(pfn, 1)\n",
        new="",
        tests=SWAP,
    ),
    Mutant(
        name="swap-cache-move-forgets-the-entry",
        guards="C1",
        file="mm/swap_cache.py",
        old="        self._pfn_of.update(zip(entries[cached]",
        new="        dict(zip(entries[cached]",
        tests=SWAP,
    ),
    Mutant(
        name="swap-cache-keeps-its-flag",
        guards="C2",
        file="mm/swap_cache.py",
        old="        frames.flags[pfn] = frames.flags.item(pfn) & ~_SWAPCACHE_BIT\n",
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="swap-cache-two-pages-one-slot",
        guards="C1",
        file="mm/swap_cache.py",
        old="        alone = entry not in self._pfn_of and self.entry_of.item(pfn) < 0\n",
        new="        alone = True\n",
        tests=SWAP,
    ),
    Mutant(
        name="mmlist-removal-breaks-the-ring",
        guards="N1",
        file="mm/mmlist.py",
        old="        self._prev[behind.mm_id] = before\n",
        new="",
        tests=SWAP,
    ),
    Mutant(
        name="mmlist-child-anywhere",
        guards="N1",
        file="mm/mmlist.py",
        old="        before = self.init_mm if after is None or after not in self else after\n",
        new="        before = self.init_mm\n",
        tests=SWAP,
    ),
    Mutant(
        name="swapped-space-not-listed",
        guards="W3",
        file="mm/swap.py",
        old=('            if space.kind == "process":\n                self.mmlist.add(space)\n'),
        new="",
        tests=MEMORY,
    ),
    Mutant(
        name="cache-delete-keeps-has-cache",
        guards="W1",
        file="mm/swap.py",
        old=("        area.free_one(offset, SWAP_HAS_CACHE)\n        return entry\n"),
        new="        return entry\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="clear-pte-keeps-the-user",
        guards="W2",
        file="mm/swap.py",
        old="        area.drop_user(offset, space.mm_id, vpn)\n",
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="adopt-forgets-frontswap",
        guards="W2",
        file="mm/swap.py",
        old="        area.frontswap_map[offsets] = in_frontswap\n",
        new="",
        tests=SWAP,
    ),
    Mutant(
        name="adopt-starts-before-it-knows-it-fits",
        guards="caller's mistake",
        file="mm/swap.py",
        old="        if nr_free < len(vpns):",
        new="        if nr_free < 0:",
        tests=SWAP,
    ),
    Mutant(
        name="swap-check-misses-w1",
        guards="W1",
        file="mm/swap.py",
        old='                require(cached, "W1',
        new='                require(True, "W1',
        tests=SWAP,
    ),
    Mutant(
        name="swap-check-misses-w2",
        guards="W2",
        file="mm/swap.py",
        old='                require(named, "W2',
        new='                require(True, "W2',
        tests=SWAP,
    ),
    Mutant(
        name="swap-check-misses-w3",
        guards="W3",
        file="mm/swap.py",
        old='        require(listed or not nr_swapped, "W3',
        new='        require(True, "W3',
        tests=SWAP,
    ),
]
