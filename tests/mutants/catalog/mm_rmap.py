"""Bugs planted in the reverse map and the LRU."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

LRU = ("tests/unit/mm/state/test_lru.py",)
RMAP = ("tests/unit/mm/state/test_rmap.py",)
RMAP_MACHINE = ("tests/property/test_rmap_machine.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        name="rmap-first-map-takes-a-reference",
        guards="A4",
        file="mm/state/rmap.py",
        old="            self.frames.mapcount[pfn] = 0\n            self.frames.note_page(pfn)\n",
        new=(
            "            self.frames.mapcount[pfn] = 0\n"
            "            self.frames.refcount[pfn] += 1\n"
            "            self.frames.note_page(pfn)\n"
        ),
        tests=RMAP,
    ),
    Mutant(
        name="rmap-further-map-takes-none",
        guards="A4",
        file="mm/state/rmap.py",
        old="            self.frames.add_references(pfns[mapped], 1)\n",
        new="",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-further-mappings-stay-behind",
        guards="A1",
        file="mm/state/rmap.py",
        old=("        if self._further:\n            self._move_further(sources, targets)\n"),
        new="",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-move-knows-one-space",
        guards="A1",
        file="mm/state/rmap.py",
        old="        if first_mm >= 0 and (mm_ids == first_mm).all():",
        new="        if first_mm >= 0:",
        tests=RMAP_MACHINE,
    ),
    Mutant(
        name="rmap-move-keeps-the-source",
        guards="A2",
        file="mm/state/rmap.py",
        old=("        self.first_mm[sources] = -1\n        self.first_mm[targets] = mm_ids\n"),
        new="        self.first_mm[targets] = mm_ids\n",
        tests=RMAP_MACHINE,
    ),
    Mutant(
        name="rmap-unmap-drops-the-wrong-mapping",
        guards="A1",
        file="mm/state/rmap.py",
        old=("        if here in further:\n            further.remove(here)\n"),
        new=("        if here in further:\n            further.pop()\n"),
        tests=RMAP,
    ),
    Mutant(
        name="rmap-unmap-many-forgets-the-sharers",
        guards="A1",
        file="mm/state/rmap.py",
        old="            nr_mappings[index] += self._unmap",
        new="            _ = self._unmap",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-mapcount-not-lowered",
        guards="A3",
        file="mm/state/rmap.py",
        old="        self.frames.mapcount[pfn] -= 1\n",
        new="",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a1-back-reference",
        guards="A1",
        file="mm/state/rmap.py",
        old='            require(named, "A1 a frame does not name back',
        new='            require(True, "A1 a frame does not name back',
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a1-unused",
        guards="A1",
        file="mm/state/rmap.py",
        old='        require(used.all(), "A1',
        new='        require(True, "A1',
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a2",
        guards="A2",
        file="mm/state/rmap.py",
        old="nr_mappings != nr_named",
        new="nr_mappings < nr_named",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a3",
        guards="A3",
        file="mm/state/rmap.py",
        old="nr_mappings != expected",
        new="nr_mappings > expected",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a4",
        guards="A4",
        file="mm/state/rmap.py",
        old="self.frames.refcount < nr_mappings,",
        new="self.frames.refcount < 0,",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-check-misses-a5",
        guards="A5",
        file="mm/state/rmap.py",
        old="            known = mapped[pfn] and further and self._shared[pfn]\n",
        new="            known = True\n",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-vpn-twice-accepted",
        guards="caller's mistake",
        file="mm/state/rmap.py",
        old='        _check_distinct("vpn", vpns, space.nr_vpns)\n',
        new="",
        tests=RMAP,
    ),
    Mutant(
        name="rmap-marked-page-mapped",
        guards="caller's mistake",
        file="mm/state/rmap.py",
        old="        unused |= self.frames.mapcount[pfns] < MAPCOUNT_NONE\n",
        new="",
        tests=RMAP,
    ),
    Mutant(
        name="lru-stale-places-count",
        guards="L1",
        file="mm/state/lru.py",
        old="pfns[self._stamp[pfns] == np.arange(start, stop) * 2 + active]",
        new="pfns[self._stamp[pfns] % 2 == active]",
        tests=LRU,
    ),
    Mutant(
        name="lru-oldest-trims-live-places",
        guards="L1",
        file="mm/state/lru.py",
        old="                places.start = self._stamp.item(live.item(0)) >> 1\n",
        new="                places.start = self._stamp.item(live.item(-1)) >> 1\n",
        tests=LRU,
    ),
    Mutant(
        name="lru-never-compacts",
        guards="L3",
        file="mm/state/lru.py",
        old=(
            "        live = self._live(places, places.start, places.stop, active)\n"
            "        places.pfns = np.empty"
        ),
        new=(
            "        live = places.places(places.start, places.stop).copy()\n"
            "        places.pfns = np.empty"
        ),
        tests=LRU,
    ),
    Mutant(
        name="lru-isolated-keeps-flag",
        guards="L1",
        file="mm/state/lru.py",
        old="        self.frames.flags[pfns] &= ~_LRU\n",
        new="",
        tests=LRU,
    ),
    Mutant(
        name="lru-putback-forgets-active",
        guards="L2",
        file="mm/state/lru.py",
        old="                self.add_many(chosen, which)\n",
        new="                self.add_many(chosen)\n",
        tests=LRU,
    ),
    Mutant(
        name="lru-putback-page-forgets-active",
        guards="L2",
        file="mm/state/lru.py",
        old="self.add_page(pfn, active=bool(self.frames.flags.item(pfn) & _ACTIVE_BIT))",
        new="self.add_page(pfn)",
        tests=LRU,
    ),
    Mutant(
        name="lru-check-misses-l1",
        guards="L1",
        file="mm/state/lru.py",
        old='        require(not len(marked), "L1',
        new='        require(True, "L1',
        tests=LRU,
    ),
    Mutant(
        name="lru-check-misses-l2-used",
        guards="L2",
        file="mm/state/lru.py",
        old='        require(used.all(), "L2',
        new='        require(True, "L2',
        tests=LRU,
    ),
    Mutant(
        name="lru-check-misses-l2-list",
        guards="L2",
        file="mm/state/lru.py",
        old='            require((flagged == bool(active)).all(), "L2',
        new='            require(True, "L2',
        tests=LRU,
    ),
    Mutant(
        name="lru-check-misses-l3",
        guards="L3",
        file="mm/state/lru.py",
        old="            require(len(live) == places.nr_pages, ",
        new="            require(True, ",
        tests=LRU,
    ),
    Mutant(
        name="lru-double-add-accepted",
        guards="caller's mistake",
        file="mm/state/lru.py",
        old="        if listed.any():",
        new="        if False:",
        tests=LRU,
    ),
]
