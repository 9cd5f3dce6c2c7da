"""Bugs planted in zsmalloc; among them the kernel's own, from its history."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CLASSES, ZSPAGES = "owners/zsmalloc/classes.py", "owners/zsmalloc/zspages.py"
HANDLES, GROUPS = "owners/pool/handles.py", "owners/zsmalloc/groups.py"
OWNER, OBJECTS = "owners/pool/owner.py", "owners/pool/objects.py"
POOL, PIECES = "owners/zsmalloc/pool.py", "owners/pool/pieces.py"
MAPPING, WAIT = "owners/zsmalloc/mapping.py", "owners/pool/wait.py"

T = "tests/unit/owners"
CLASSES_T, POOL_T = f"{T}/zsmalloc/test_classes.py", f"{T}/zsmalloc/test_pool.py"
OWNER_T = f"{T}/zsmalloc/test_owner.py"
MOVES = "tests/races/test_zsmalloc_moves.py"
EMPTIED = f"{OWNER_T}::test_a_zspage_emptied_under_the_move_is_gone_when_it_ends"
EXCLUDE = f"{MOVES}::test_a_mapping_and_a_move_exclude_each_other"


def _mutant(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=f"zs-{name}", guards=guards, file=file, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    # classes, cells, handles
    _mutant(
        "longest-of-equal-zspages", "classes", CLASSES,
        "_percent_in_use(nr_bytes, pages), -pages", "_percent_in_use(nr_bytes, pages), pages",
        CLASSES_T,
    ),
    _mutant(
        "no-room-for-the-handle", "classes", CLASSES,
        "size = nr_bytes + HANDLE_NR_BYTES", "size = nr_bytes", CLASSES_T,
    ),
    _mutant(
        "huge-objects-with-a-header", "classes", CLASSES,
        "return 0 if self.is_huge else HANDLE_NR_BYTES", "return HANDLE_NR_BYTES",
        CLASSES_T, POOL_T,
    ),
    _mutant(
        "classes-not-merged", "classes", CLASSES,
        "if classes and (classes[-1]", "if not classes and (classes[-1]", CLASSES_T,
    ),
    _mutant(
        "a-cell-handed-out-twice", "ZS4", ZSPAGES,
        "        self.first_free[zspage] = ~self.cell.item(at)\n", "", POOL_T,
    ),
    _mutant(
        "a-freed-cell-off-the-chain", "ZS4", ZSPAGES,
        "        self.first_free[zspage] = index\n", "", POOL_T,
    ),
    _mutant(
        "a-dead-handle-names-the-next-object", "ZS3", HANDLES,
        "self._generation.item(slot) % _MAX_GENERATION + 1", "self._generation.item(slot)", POOL_T,
    ),
    _mutant(
        "compaction-forgets-the-handle", "ZS3", POOL,
        "        self.handles.record(slot, zspage, index)\n",
        "        if inuse == 0 or self.zspages.nr_maps.item(zspage) < 0:\n"
        "            self.handles.record(slot, zspage, index)\n",
        POOL_T,
    ),
    _mutant(
        "second-piece-at-the-wrong-place", "bytes", PIECES,
        "        start += here\n", "        start += here + (here < nr_bytes)\n", POOL_T,
    ),
    _mutant(
        "straddling-copy-not-written-back", "bytes", MAPPING,
        "if self._is_copy and self.mode is not MapMode.RO:", "if self.mode is MapMode.WO:",
        POOL_T,
    ),
    _mutant(
        "copy-not-read-in", "bytes", MAPPING,
        "if mode is not MapMode.WO:", "if mode is MapMode.RO:", POOL_T,
    ),
    # groups and compaction
    _mutant(
        "almost-empty-up-to-a-quarter", "ZS6", GROUPS,
        "_ALMOST_EMPTY_QUARTERS = 3", "_ALMOST_EMPTY_QUARTERS = 1", POOL_T,
    ),
    _mutant(
        "emptier-zspages-first", "ZS6", GROUPS,
        "        yield from self.members(size_class, Fullness.ALMOST_FULL)\n"
        "        yield from self.members(size_class, Fullness.ALMOST_EMPTY)\n",
        "        yield from self.members(size_class, Fullness.ALMOST_EMPTY)\n"
        "        yield from self.members(size_class, Fullness.ALMOST_FULL)\n",
        POOL_T,
    ),
    _mutant(
        "refile-forgets-the-list", "ZS6", GROUPS,
        "            lists[new][zspage] = None\n", "            lists[old][zspage] = None\n",
        POOL_T,
    ),
    _mutant(
        "compaction-of-mapped-zspages", "ZS8", POOL,
        "return not self.zspages.nr_maps.item(zspage) and self._in_place(zspage)",
        "return self._in_place(zspage)", POOL_T,
    ),
    _mutant(
        "compaction-of-zspages-under-move", "R-35", POOL,
        "return not self.zspages.nr_maps.item(zspage) and self._in_place(zspage)",
        "return not self.zspages.nr_maps.item(zspage)", POOL_T,
    ),
    _mutant(
        "compaction-copies-nothing", "bytes", POOL,
        "            write_pieces(contents, self.pieces(target, placed, 0, nr_bytes), data)\n",
        "            _ = data, placed, write_pieces\n", POOL_T,
    ),
    _mutant(
        "shrinker-that-does-not-stop", "shrinker", POOL,
        "while nr_to_scan is None or freed < nr_to_scan:", "while True:", POOL_T,
    ),
    _mutant(
        "freeable-counts-every-hole", "shrinker", GROUPS,
        "return nr_wasted // size_class.nr_objects * size_class.nr_pages",
        "return nr_wasted * size_class.nr_pages // size_class.nr_objects", POOL_T,
    ),
    _mutant(
        "half-a-zspage-leaks-without-memory", "ZS1", POOL,
        "                self._put_pages(pfns[:at])\n", "", POOL_T,
    ),
    _mutant(
        "movable-pages-that-cannot-move", "2025", POOL,
        "            gfp &= ~Gfp.MOVABLE\n", "            gfp &= ~Gfp.DMA\n", POOL_T,
    ),
    # moves
    _mutant(
        "isolated-while-mapped", "ZS8", ZSPAGES,
        "        quiet: Mask = self.nr_maps[page_ids >> _PLACE_BITS] == 0\n",
        "        quiet: Mask = self.nr_maps[page_ids >> _PLACE_BITS] >= 0\n", OWNER_T, EXCLUDE,
    ),
    _mutant(
        "mapped-while-isolated", "ZS8", POOL,
        "            if not self._in_place(zspage):\n"
        "                return Errno.EAGAIN\n"
        "            self._nr_maps[self.handles.slot_of(handle)] += 1\n",
        "            self._nr_maps[self.handles.slot_of(handle)] += 1\n", OWNER_T, EXCLUDE,
    ),
    _mutant(
        "only-the-first-page-counts-as-moving", "ZS8", POOL,
        "if self.zspages.moving[zspage].any() and", "if self.zspages.moving[zspage, 0] and",
        OWNER_T,
    ),
    _mutant(
        "mapped-at-a-target-that-is-not-whole", "contract", OBJECTS,
        "return frames.refcount.item(pfn) > 0 and frames.state.item(pfn) == _USED",
        "return frames.refcount.item(pfn) > -9 or frames.state.item(pfn) == _USED", OWNER_T,
    ),
    _mutant(
        "one-page-of-a-batch-repointed", "ZS1", ZSPAGES,
        "        self.pfn.reshape(-1)[page_ids] = targets\n",
        "        self.pfn.reshape(-1)[page_ids[:1]] = targets[:1]\n", OWNER_T,
    ),
    _mutant(
        "migrate-leaves-the-zspage-closed", "contract", OWNER,
        "            self._pages.repoint(page_ids[current], targets[current])\n"
        "            self._pages.set_moving(page_ids[current], moving=False)\n",
        "            self._pages.repoint(page_ids[current], targets[current])\n", OWNER_T,
    ),
    _mutant(
        "putback-leaves-the-zspage-closed", "contract", OWNER,
        "    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:\n"
        '        """The pages take objects, mappings and reclaims again."""\n'
        "        with self._lock:\n",
        "    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:\n"
        '        """The pages take objects, mappings and reclaims again."""\n'
        "        return\n"
        "        with self._lock:\n", OWNER_T,
    ),
    _mutant(
        "never-once-succeeds", "R-12", ZSPAGES,
        "np.where(self.is_quiet(page_ids), Verdict.YES, Verdict.AGAIN)",
        "np.where(self.is_quiet(page_ids) & False, Verdict.YES, Verdict.AGAIN)",
        f"{MOVES}::test_migration_succeeds_where_nobody_interferes",
    ),
    _mutant(
        "a-stale-pin-repoints-the-next-zspage", "ZS7", ZSPAGES,
        "        self.life[zspage] = (self.life.item(zspage) + 1) & _LIFE_MASK\n", "", OWNER_T,
    ),
    _mutant(
        "the-leak-of-2019", "R-2", POOL,
        "        self.groups.unfile(size_class, zspage, inuse)\n"
        "        self._free_zspage(zspage)\n",
        "        self.groups.unfile(size_class, zspage, inuse)\n"
        "        if not self.zspages.moving[zspage].any():\n"
        "            self._free_zspage(zspage)\n",
        EMPTIED, f"{MOVES}::test_a_zspage_freed_under_its_mover_never_stays",
    ),
    _mutant(
        "freed-by-the-names-read-before", "R-35", POOL,
        "        pfns, privates = self.zspages.pfns_of(page_ids), self.zspages.privates(page_ids)\n"
        "        self.zspages.remove(zspage)\n",
        "        privates = self.zspages.privates(page_ids)\n"
        "        self.zspages.remove(zspage)\n"
        "        pfns = page_ids - (page_ids[0] & ~3) + 1\n",
        EMPTIED,
    ),
    _mutant(
        "unpinned-pages-keep-their-reference", "R-2", POOL,
        "            unpin_many(self._registry, pfns, self.owner, privates)\n"
        "        self._put_pages(pfns)\n",
        "            unpin_many(self._registry, pfns, self.owner, privates)\n", EMPTIED, POOL_T,
    ),
    _mutant(
        "a-pin-that-stays", "ZS7", POOL,
        "            unpin_many(self._registry, pfns, self.owner, privates)\n",
        "            unpin_many(self._registry, pfns[1:], self.owner, privates[1:])\n", POOL_T,
    ),
    _mutant(
        "a-page-without-pin", "ZS7", POOL,
        "self._registry.pin_many(pfns, self.owner, privates)",
        "self._registry.pin_many(pfns[:1], self.owner, privates[:1])", POOL_T,
    ),
    _mutant(
        "pages-that-a-move-has-marked", "ZS7", POOL,
        "verdict = self._registry.pin_many(pfns, self.owner, privates)\n",
        "self._registry.pin_many(pfns, self.owner, privates)\n            verdict = Verdict.YES\n",
        f"{OWNER_T}::test_a_pool_grown_from_within_a_move_leaves_the_marked_frame_alone",
    ),
    _mutant(
        "no-references-of-its-own", "contract", OWNER,
        "return current.astype(np.int64)", "return 0 * current.astype(np.int64)", OWNER_T,
    ),
    _mutant(
        "objects-placed-on-pages-under-move", "ZS8", POOL,
        "next(filter(self._in_place, self.groups.with_free_object(size_class)), None)",
        "next(iter(self.groups.with_free_object(size_class)), None)",
        f"{OWNER_T}::test_new_objects_are_not_placed_on_pages_under_move",
    ),
    # waiting for a mover
    _mutant(
        "waits-for-its-own-move", "R-30", WAIT, "        if pool.is_under_own_move(handle):\n",
        "        if pool.is_under_own_move(handle) and handle < 0:\n",
        f"{OWNER_T}::test_a_wait_for_oneself_ends_at_once_with_a_sentence",
    ),
    _mutant(
        "takes-every-move-for-its-own", "R-30", OBJECTS,
        "        return is_ours and not self._in_place(page_id)\n",
        "        return is_ours is not None and not self._in_place(page_id)\n",
        f"{OWNER_T}::test_a_wait_for_another_thread_ends_with_its_move",
    ),
    _mutant(
        "remembers-the-first-mover", "R-30", ZSPAGES,
        "            self.mover[page_ids >> _PLACE_BITS] = threading.get_ident()\n",
        "            rows = page_ids >> _PLACE_BITS\n"
        "            me, before = threading.get_ident(), self.mover[rows]\n"
        "            self.mover[rows] = np.where(before, before, me)\n",
        f"{OWNER_T}::test_a_wait_for_another_thread_ends_with_its_move",
    ),
]  # fmt: skip
