"""Bugs planted in z3fold; among them those that the kernel's had."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

LAYOUT, POOL, PAGES = "owners/z3fold/layout.py", "owners/z3fold/pool.py", "owners/z3fold/pages.py"
POOL_OBJECTS, POOL_PAGES = "owners/pool/objects.py", "owners/pool/pages.py"
POOL_LISTS, POOL_OWNER = "owners/pool/lists.py", "owners/pool/owner.py"
POOL_HANDLES = "owners/pool/handles.py"
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
        "worst-fit", "best fit", POOL_LISTS,
        "self.unbuddied[chunks:]:", "self.unbuddied[:chunks - 1:-1]:",
    ),
    _mutant(
        "oldest-page-of-a-list-first", "best fit", POOL_LISTS,
        "yield from reversed(pages)", "yield from pages",
    ),
    _mutant(
        "adopted-full-pages-are-listed", "T3", PAGES,
        "np.where(full | self.is_headless(page_ids), 0,", "np.where(full, 1,",
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
        "tidies-without-the-bytes", "bytes", POOL,
        "        contents.write(pfn, data, new_start << CHUNK_SHIFT)\n", "",
    ),
    _mutant(
        "tidied-object-keeps-its-old-slot", "T4", POOL,
        "        self._put_object(page_id, slot, chunks[MIDDLE], new_start, handle_slot)\n",
        "        self._put_object(page_id, slot, chunks[MIDDLE], new_start, handle_slot)\n"
        "        self.handles.record(handle_slot, page_id, MIDDLE)\n",
    ),
    _mutant(
        "tidies-mapped-pages", "T8", POOL,
        "if is_quiet and self._in_place(page_id):", "if self._in_place(page_id):",
    ),
    _mutant(
        "tidies-pages-under-move", "R-17", POOL,
        "if is_quiet and self._in_place(page_id):", "if is_quiet:",
    ),
    _mutant(
        "never-tidies-what-had-to-wait", "tidying", POOL_OBJECTS,
        "            self._pages.nr_maps[page_id, slot] -= 1\n            self._settle()\n",
        "            self._pages.nr_maps[page_id, slot] -= 1\n",
    ),
    # Handles and references
    _mutant(
        "generation-never-rises", "T4", POOL_HANDLES,
        "% _MAX_GENERATION + 1\n", "% _MAX_GENERATION\n",
    ),
    _mutant(
        "slot-leaks", "T4", POOL,
        "            self.handles.drop(", "            (lambda slot: None)(",
    ),
    _mutant(
        "mapped-object-freed", "map", POOL,
        "self._require_unmapped(handle, self.pages.nr_maps.item(page_id, slot))",
        "self._require_unmapped(handle, self.pages.nr_maps.item(page_id, (slot + 1) % 3))",
    ),
    _mutant(
        "pin-outlives-its-page", "T7", POOL,
        "            unpin(self._registry, pfn, self.owner, private)\n", "            pass\n",
    ),
    _mutant(
        "emptied-page-is-kept", "T6", POOL,
        "                self._release_if_unused(page_id)\n                return\n",
        "                return\n",
    ),
    # Moves
    _mutant(
        "trylocks-what-its-caller-holds", "R-12, be03074c9af2", POOL_PAGES,
        "np.where(self.is_quiet(page_ids), Verdict.YES, Verdict.AGAIN)",
        "np.where(self.nr_reclaims[page_ids] > 0, Verdict.YES, Verdict.AGAIN)",
    ),
    _mutant(
        "headless-pages-move", "headless", PAGES,
        "np.where(self.is_headless(page_ids), Verdict.BUSY, verdicts)", "verdicts",
    ),
    _mutant(
        "headless-pages-say-again", "headless", PAGES,
        "np.where(self.is_headless(page_ids), Verdict.BUSY, verdicts)",
        "np.where(self.is_headless(page_ids), Verdict.AGAIN, verdicts)",
    ),
    _mutant(
        "mapped-pages-move", "T8", POOL_PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps[page_ids].any(axis=1)",
        "self.nr_reclaims[page_ids] == 0",
    ),
    _mutant(
        "pages-under-reclaim-move", "R-5", POOL_PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps", "~self.nr_maps",
    ),
    _mutant(
        "old-frame-still-leads-to-the-page", "T1", POOL_PAGES,
        "        self._id_at[self.pfn[page_ids]] = 0\n", "",
    ),
    _mutant(
        "allocates-into-a-page-under-move", "R-6", POOL_OBJECTS,
        "        if self._pages.moving.item(page_id) and", "        if page_id < 0 and",
    ),
    _mutant(
        "migrated-page-stays-closed", "contract", POOL_OWNER,
        "            self._pages.repoint(page_ids[current], targets[current])\n"
        "            self._pages.set_moving(page_ids[current], moving=False)\n",
        "            self._pages.repoint(page_ids[current], targets[current])\n",
    ),
    _mutant(
        "moves-without-coverage", "coverage", POOL_OWNER,
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
        "two-reclaimers-on-one-page", "R-5", POOL_OBJECTS,
        "        self.exclusive = True\n", "        self.exclusive = False\n",
    ),
    _mutant(
        "adopts-overlapping-objects", "T5", POOL,
        "(total <= NCHUNKS)) | alone", "(total <= 64)) | alone",
    ),
    _mutant(
        "adopts-its-own-pages-again", "T1", POOL_OBJECTS,
        "& is_plain & ~self.holds(pfns)", "& is_plain",
    ),
]  # fmt: skip
