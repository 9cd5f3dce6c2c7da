"""Bugs planted in z3fold; among them those that the kernel's had."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

LAYOUT, LISTS, PAGES = "owners/z3fold/layout.py", "owners/z3fold/lists.py", "owners/z3fold/pages.py"
OBJECTS, POOL, OWNER = "owners/z3fold/objects.py", "owners/z3fold/pool.py", "owners/z3fold/owner.py"
SLOTS = "owners/z3fold/slots.py"
UNIT = "tests/unit/owners/z3fold/test_pool.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name=f"z3fold-{name}", guards=guards, file=file, old=old, new=new, tests=(UNIT,))


MUTANTS: list[Mutant] = [
    # Arithmetic and lists
    _mutant(
        "header-of-one-chunk", "T5", LAYOUT,
        "HEADER_NR_CHUNKS: Final = 2", "HEADER_NR_CHUNKS: Final = 1",
    ),
    _mutant(
        "shares-a-page-without-a-spare-chunk", "headless", LAYOUT,
        "(NCHUNKS - 1) << CHUNK_SHIFT", "NCHUNKS << CHUNK_SHIFT",
    ),
    _mutant(
        "first-object-over-the-middle-one", "T5", LAYOUT,
        "(not middle or wanted <= start_middle - HEADER_NR_CHUNKS)", "True",
    ),
    _mutant(
        "gap-of-a-taken-slot-counts", "T3", LAYOUT,
        "before = 0 if first else start_middle - HEADER_NR_CHUNKS",
        "before = start_middle - HEADER_NR_CHUNKS - first",
    ),
    _mutant(
        "worst-fit", "best fit", LISTS,
        "self.unbuddied[chunks:]:", "self.unbuddied[:chunks - 1:-1]:",
    ),
    _mutant(
        "oldest-page-of-a-list-first", "best fit", LISTS,
        "yield from reversed(pages)", "yield from pages",
    ),
    _mutant(
        "adopted-full-pages-are-listed", "T3", LISTS,
        "np.where(full | self._pages.is_headless(page_ids), 0,", "np.where(full, 1,",
    ),
    # Tidying up
    _mutant(
        "lonely-middle-stays", "T3", LAYOUT,
        "        return FIRST, HEADER_NR_CHUNKS\n", "        return None\n",
    ),
    _mutant(
        "small-gaps-are-closed", "tidying", LAYOUT,
        "_BIG_GAP_NR_CHUNKS: Final = 3", "_BIG_GAP_NR_CHUNKS: Final = 1",
    ),
    _mutant(
        "tidies-without-the-bytes", "bytes", OBJECTS,
        "        contents.write(pfn, data, new_start << CHUNK_SHIFT)\n", "",
    ),
    _mutant(
        "tidied-object-keeps-its-old-slot", "T4", OBJECTS,
        "        self.slots.record(slot, page_id, buddy)\n", "",
    ),
    _mutant(
        "tidies-mapped-pages", "T8", OBJECTS,
        "if not self.pages.is_quiet(_ids(page_id))[0] or not", "if not",
    ),
    _mutant(
        "tidies-pages-under-move", "R-17", OBJECTS,
        "is_quiet(_ids(page_id))[0] or not self._in_place(page_id):", "is_quiet(_ids(page_id))[0]:",
    ),
    _mutant(
        "never-tidies-what-had-to-wait", "tidying", OBJECTS,
        "            self.pages.nr_maps[page_id, buddy] -= 1\n            self._settle()\n",
        "            self.pages.nr_maps[page_id, buddy] -= 1\n",
    ),
    # Handles and references
    _mutant(
        "generation-never-rises", "T4", SLOTS, "% _MAX_GENERATION + 1\n", "% _MAX_GENERATION\n",
    ),
    _mutant(
        "slot-leaks", "T4", OBJECTS,
        "            self.slots.drop(", "            (lambda slot: None)(",
    ),
    _mutant(
        "mapped-object-freed", "map", OBJECTS,
        "            if self.pages.nr_maps.item(page_id, buddy):\n",
        "            if self.pages.nr_maps.item(page_id, (buddy + 1) % 3):\n",
    ),
    _mutant(
        "pin-outlives-its-page", "T7", OBJECTS,
        "            unpin(self._registry, pfn, self.owner, private)\n", "            pass\n",
    ),
    _mutant(
        "emptied-page-is-kept", "T6", OBJECTS,
        "                self._release_if_unused(page_id)\n                return\n",
        "                return\n",
    ),
    # Moves
    _mutant(
        "trylocks-what-its-caller-holds", "R-12, be03074c9af2", OWNER,
        "free = current & ~headless & pages.is_quiet(page_ids)",
        "free = current & (pages.nr_reclaims[page_ids] > 0)",
    ),
    _mutant(
        "headless-pages-move", "headless", OWNER,
        "free = current & ~headless & pages", "free = current & pages",
    ),
    _mutant(
        "headless-pages-say-again", "headless", OWNER,
        "np.where(headless, Verdict.BUSY, Verdict.AGAIN)", "np.full(len(pfns), Verdict.AGAIN)",
    ),
    _mutant(
        "mapped-pages-move", "T8", PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps[page_ids].any(axis=1)",
        "self.nr_reclaims[page_ids] == 0",
    ),
    _mutant(
        "pages-under-reclaim-move", "R-5", PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps", "~self.nr_maps",
    ),
    _mutant(
        "old-frame-still-leads-to-the-page", "T1", PAGES,
        "        self._id_at[self.pfn[page_ids]] = 0\n", "",
    ),
    _mutant(
        "allocates-into-a-page-under-move", "R-6", OBJECTS,
        "        if self.pages.moving.item(page_id) and", "        if page_id < 0 and",
    ),
    _mutant(
        "migrated-page-stays-closed", "contract", OWNER,
        "            self._pages.repoint(page_ids[current], targets[current])\n"
        "            self._pages.moving[page_ids[current]] = False\n",
        "            self._pages.repoint(page_ids[current], targets[current])\n",
    ),
    _mutant(
        "moves-without-coverage", "coverage", OWNER,
        'return self.coverage == "migrate"', "return True",
    ),
    # Reclaim and adoption
    _mutant(
        "evicts-first-before-middle", "order", POOL,
        "_EVICTION_ORDER = (MIDDLE, FIRST, LAST)", "_EVICTION_ORDER = (FIRST, MIDDLE, LAST)",
    ),
    _mutant(
        "goes-on-after-a-failure", "order", POOL,
        "                    break\n", "                    continue\n",
    ),
    _mutant(
        "two-reclaimers-on-one-page", "R-5", OBJECTS,
        "self._in_place(page_id) and not self.pages.nr_reclaims.item(page_id)",
        "self._in_place(page_id)",
    ),
    _mutant(
        "adopts-overlapping-objects", "T5", POOL,
        "(total <= NCHUNKS)) | alone", "(total <= 64)) | alone",
    ),
    _mutant(
        "adopts-its-own-pages-again", "T1", POOL,
        "(frames.refcount[pfns] == 1) & ~self.holds(pfns)", "(frames.refcount[pfns] == 1)",
    ),
]  # fmt: skip
