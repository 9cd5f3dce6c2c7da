"""Bugs planted in zbud, zswap, the 2013 design and the opaque owners."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

OBJECTS, POOL, LISTS = "owners/pool/objects.py", "owners/zbud/pool.py", "owners/pool/lists.py"
PAGES, OWNER, HANDLES = "owners/zbud/pages.py", "owners/zbud/owner.py", "owners/zbud/handles.py"
POOL_PAGES, POOL_OWNER = "owners/pool/pages.py", "owners/pool/owner.py"
ZSWAP, ENTRIES = "owners/zswap/zswap.py", "owners/zswap/entries.py"
RECLAIM, OPAQUE, HOST = "owners/zbud/reclaim.py", "owners/opaque.py", "mm/paging/swap_core.py"
LAYOUT = "owners/zbud/layout.py"

T = "tests/unit/owners"
ZBUD, LISTS_T, OWNER_T = (
    f"{T}/zbud/test_pool.py",
    f"{T}/pool/test_lists.py",
    f"{T}/zbud/test_owner.py",
)
HANDLES_T, ZSWAP_T = f"{T}/zbud/test_handles.py", f"{T}/zswap/test_zswap.py"
RECLAIM_T, OPAQUE_T = f"{T}/zbud/test_reclaim.py", f"{T}/test_opaque.py"
HOST_T = f"{T}/zswap/test_host.py"
ZBUD_MACHINE = "tests/property/test_zbud_machine.py"
ZSWAP_MACHINE = "tests/property/test_zswap_machine.py"
AGREE = "tests/property/test_unuse_designs_agree.py"

MUTANTS: list[Mutant] = [
    # zbud: layout, lists, references
    planted(
        "zbud-keeps-a-page-that-it-could-not-pin", "Z7", OBJECTS,
        "        finally:  # under a mover of our own, or forced out\n            if verdict",
        "            verdict = Verdict.YES\n        finally:\n            if verdict", ZBUD,
    ),
    planted(
        "zbud-waits-with-the-pool-locked", "R-30", OBJECTS,
        "            verdict = Verdict.YES if registry is None else"
        " registry.pin(pfn, self.owner, private)\n",
        "            with self.lock:\n"
        "                verdict = Verdict.YES if registry is None else"
        " registry.pin(pfn, self.owner, private)\n", ZBUD,
    ),
    planted(
        "zbud-object-of-63-chunks", "T1", LAYOUT,
        "PAGE_SIZE - HEADER_NR_BYTES - CHUNK_NR_BYTES", "PAGE_SIZE - HEADER_NR_BYTES", ZBUD,
    ),
    planted(
        "zbud-last-slot-decoded-as-first", "T1", HANDLES,
        "is_first = not (handle - HEADER_NR_BYTES) % PAGE_SIZE",
        "is_first = (handle - HEADER_NR_BYTES) % PAGE_SIZE < PAGE_SIZE // 2", HANDLES_T,
    ),
    planted(
        "zbud-oldest-page-of-a-list-first", "T2", LISTS,
        "yield from reversed(pages)", "yield from pages", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-worst-fit", "T2", LISTS,
        "for pages in self.unbuddied[chunks:]:", "for pages in self.unbuddied[:chunks - 1:-1]:",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-alloc-leaves-the-lru-alone", "T2", LISTS,
        "        self.lru.move_to_end(page_id)\n", "", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-adoption-in-reverse", "Z3", LISTS,
        "OrderedDict.fromkeys(page_ids.tolist())", "OrderedDict.fromkeys(page_ids.tolist()[::-1])",
        LISTS_T,
    ),
    planted(
        "zbud-second-object-takes-no-reference", "Z2, T3", POOL,
        "            self.source.get_page(self.pages.pfn.item(page_id))\n", "            pass\n",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-emptied-page-stays-on-the-lru", "Z3", POOL,
        "                self.lists.forget(page_id)\n",
        "                self.lists.unfile(page_id)\n",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-freed-slot-filed-wrong", "Z4", POOL,
        "    self.lists.file(page_id, self.pages.nr_free_chunks(page_id))\n            else",
        "    self.lists.file(page_id, 1)\n            else", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-adopts-overlapping-objects", "Z5", POOL,
        "(total >= NCHUNKS).any()", "(total > NCHUNKS).any()", ZBUD,
    ),
    planted(
        "zbud-pages-nr-never-falls", "Z6", POOL_PAGES,
        "        self._free_ids.append(page_id)\n        self.nr_pages -= 1\n",
        "        self._free_ids.append(page_id)\n", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-pin-outlives-its-page", "Z7", POOL,
        "                unpin(self._registry, pfn, self.owner, private)\n",
        "                pass\n", OWNER_T, ZBUD_MACHINE,
    ),
    planted(
        "zbud-typed-page-reaches-the-allocator", "Z2", POOL,
        "            self.source.frames.mapcount[pfn] = MAPCOUNT_NONE\n", "", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-adopted-page-with-one-reference", "Z2", POOL,
        "np.count_nonzero(chunks, axis=1) - 1", "0", ZBUD,
    ),
    planted(
        "zbud-mapped-object-freed", "map", POOL,
        "self._require_unmapped(handle, self.pages.nr_maps.item(page_id, slot))",
        "self._require_unmapped(handle, self.pages.nr_maps.item(page_id, 1 - slot))", ZBUD,
    ),
    # zbud: reclaim and its races
    planted(
        "zbud-reclaim-holds-no-reference", "R-3", POOL,
        "        self.source.get_page(pages.pfn.item(page_id))\n", "", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-page-dies-under-reclaim", "R-3", PAGES,
        "            or self.nr_reclaims.item(page_id)\n", "", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-reclaim-trusts-its-snapshot", "R-4", POOL,
        "pages.generation.item(page_id, slot) == generation", "generation > 0", ZBUD,
    ),
    planted(
        "zbud-generation-never-rises", "R-4", POOL,
        "% _MAX_GENERATION + 1\n", "% _MAX_GENERATION\n", ZBUD,
    ),
    planted(
        "zbud-exclusive-means-nothing", "R-5, R-6", OBJECTS,
        "in_use = self.exclusive and self._pages.nr_reclaims.item(page_id)", "in_use = False", ZBUD,
    ),
    planted(
        "zbud-failure-on-first-does-not-skip-last", "T4", POOL,
        "                self.nr_callback_failures += 1\n                break\n",
        "                self.nr_callback_failures += 1\n", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-empty-lru-is-a-failure", "T3", POOL,
        "return Errno.EAGAIN if self.lists.lru else Errno.OK", "return Errno.EAGAIN", ZBUD,
    ),
    planted(
        "zbud-reclaim-leaves-the-page-at-the-tail", "T4", POOL,
        "        self.lists.touch(page_id)\n        self.source", "        self.source",
        ZBUD, ZBUD_MACHINE,
    ),
    # zbud as an owner: moves
    planted(
        "zbud-isolates-mapped-pages", "Z8", POOL_PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps[page_ids].any(axis=1)",
        "self.nr_reclaims[page_ids] == 0", OWNER_T, ZBUD_MACHINE,
    ),
    planted(
        "zbud-isolates-pages-under-reclaim", "R-5", POOL_PAGES,
        "(self.nr_reclaims[page_ids] == 0) & ~self.nr_maps",
        "~self.nr_maps", OWNER_T,
    ),
    planted(
        "zbud-old-frame-still-leads-to-the-page", "Z1", POOL_PAGES,
        "        self._id_at[self.pfn[page_ids]] = 0\n", "", ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-pin-of-a-dead-page-names-the-next", "R-2", POOL_PAGES,
        "(self.life[page_ids] == privates >> _ID_BITS) & (self.pfn", "(self.pfn", OWNER_T,
    ),
    planted(
        "zbud-reclaims-not-accounted-for", "references", PAGES,
        "        nr_references += self.nr_reclaims[page_ids]\n", "", OWNER_T,
    ),
    planted(
        "zbud-allocates-into-a-page-under-move", "R-6", OBJECTS,
        "        if self._pages.moving.item(page_id) and", "        if page_id < 0 and",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-drops-frozen-references", "deferred drop", POOL,
        "        if self._is_whole(self.pages.pfn.item(page_id)):\n", "        if True:\n",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-target-before-rekey-is-in-place", "deferred drop", OBJECTS,
        "refcount.item(pfn) > 0 and frames.state.item(pfn) == _USED", "refcount.item(pfn) > 0",
        ZBUD, ZBUD_MACHINE,
    ),
    planted(
        "zbud-migrated-page-stays-closed", "contract", POOL_OWNER,
        "            self._pages.repoint(page_ids[current], targets[current])\n"
        "            self._pages.set_moving(page_ids[current], moving=False)\n",
        "            self._pages.repoint(page_ids[current], targets[current])\n",
        OWNER_T, ZBUD_MACHINE,
    ),
    planted(
        "zbud-page-put-back-stays-closed", "R-33", POOL_OWNER,
        '        """The pages take objects, mappings and reclaims again."""\n',
        '        """The pages take objects, mappings and reclaims again."""\n        return\n',
        ZBUD, OWNER_T, ZBUD_MACHINE,
    ),
    planted(
        "zbud-release-always-says-yes", "R-26", OWNER,
        "return Verdict.YES if self._reclaim(int(page_ids[0])) else Verdict.BUSY",
        "return Verdict.YES if [self._reclaim(int(page_ids[0]))] else Verdict.BUSY", OWNER_T,
    ),
    # zswap
    planted(
        "zswap-older-copy-leaks", "E2", ZSWAP,
        "left = self._entries.put(older) if older != NO_ENTRY else 1", "left = 1",
        ZSWAP_T, ZSWAP_MACHINE,
    ),
    planted(
        "zswap-load-takes-no-reference", "R-16, E1", ZSWAP,
        "                self._entries.get(row)\n", "                pass\n", ZSWAP_T,
    ),
    planted(
        "zswap-load-given-up-keeps-the-entry", "R-16", ZSWAP,
        "        finally:  # whatever ends it: a reference that stays keeps the object for ever\n"
        "            self._put_entry(tree, row)\n        return page\n",
        "        except ValueError:\n            raise\n"
        "        self._put_entry(tree, row)\n        return page\n", ZSWAP_T,
    ),
    planted(
        "zswap-store-given-up-keeps-the-object", "E2", ZSWAP,
        "            tree.pool.free(handle)\n            raise\n", "            raise\n", ZSWAP_T,
    ),
    planted(
        "zswap-writeback-given-up-keeps-the-cache-page", "R-16", ZSWAP,
        "            host.drop_cache_page(entry, pfn)\n            self._put_entry(tree, row)\n"
        "            raise\n", "            raise\n", ZSWAP_T,
    ),
    planted(
        "zswap-writeback-drops-another-s-reference", "R-16", ZSWAP,
        "            if tree.rows.get(offset) == row:\n                del tree.rows[offset]\n",
        "            if tree.rows.pop(offset, row) >= 0:\n", ZSWAP_T,
    ),
    planted(
        "zswap-writes-a-slot-that-changed-hands", "R-4", ZSWAP,
        "        if not is_current:", "        if False:", ZSWAP_T,
    ),
    planted(
        "zswap-failed-writeback-leaks-a-reference", "E1", ZSWAP,
        "        if pfn < 0:\n            self._put_entry(tree, row)\n", "        if pfn < 0:\n",
        ZSWAP_T,
    ),
    planted(
        "zswap-counts-cancelled-attempts", "T7", ZSWAP,
        "            return Errno.ECANCELED\n",
        "            self.counters.unused_pages += 1\n            return Errno.ECANCELED\n",
        ZSWAP_T, RECLAIM_T,
    ),
    planted(
        "zswap-counts-successes-only", "T7", ZSWAP,
        "            return host.unuse(entry)\n        finally:\n"
        "            host.put_device(swp_type(entry))\n"
        "            self.counters.unused_pages += 1\n",
        "            error = host.unuse(entry)\n        finally:\n"
        "            host.put_device(swp_type(entry))\n"
        "        self.counters.unused_pages += not error\n        return error\n",
        ZSWAP_T, RECLAIM_T,
    ),
    planted(
        "zswap-header-of-another-type", "E4", ZSWAP,
        "headers = (offsets + swp_entry(swap_type, 0)).astype(np.uint64)\n        write_words",
        "headers = offsets.astype(np.uint64)\n        write_words", ZSWAP_T,
    ),
    planted(
        "zswap-adopts-an-offset-twice", "E3", ENTRIES,
        "if len(new) != len(offsets) or not tree.rows.keys().isdisjoint(new):",
        "if len(new) != len(offsets):", ZSWAP_T,
    ),
    planted(
        "zswap-full-one-page-early", "pool limit", ZSWAP,
        "for pool in self.pools) > self._max_nr_pages",
        "for pool in self.pools) >= self._max_nr_pages",
        ZSWAP_T,
    ),
    planted(
        "zswap-cache-page-of-a-dead-slot", "writeback", HOST,
        "        if error != Errno.OK:\n            self._paging.source.free_page(pfn)\n",
        "        if error != Errno.OK:\n", HOST_T,
    ),
    planted(
        "zswap-waits-for-its-own-move", "R-30", POOL_PAGES,
        "            self.mover[page_ids] = threading.get_ident()\n", "            pass\n",
        f"{ZSWAP_T}::test_a_load_of_a_page_under_our_own_move_is_a_mistake",
    ),
    # the 2013 design
    planted(
        "zbud-reclaim-takes-what-others-isolated", "R-7", RECLAIM,
        "        reasons[frames.isolated[pfns]] = Reason.ALREADY_ISOLATED\n", "",
        RECLAIM_T,
    ),
    planted(
        "zbud-reclaim-does-not-look-again", "R-1", RECLAIM,
        "        reasons[frames.mapcount[pfns] != MAPCOUNT_ZBUD] = Reason.NO_OWNER\n", "",
        RECLAIM_T,
    ),
    planted(
        "zbud-reclaim-keeps-the-isolation-s-reference", "R-33", POOL,
        "freed[index] = self.source.put_page(pfn) or (", "freed[index] = (",
        RECLAIM_T, ZSWAP_MACHINE,
    ),
    planted(
        "registry-unuse-skips-last", "equivalence", POOL,
        "            for slot in (FIRST, LAST)\n            if",
        "            for slot in (FIRST,)\n            if",
        AGREE, ZBUD,
    ),
    # opaque owners
    planted(
        "opaque-moves-undeclared", "coverage", OPAQUE,
        "        verdict = Verdict.YES if self.movable else Verdict.BUSY\n",
        "        verdict = Verdict.YES\n", OPAQUE_T,
    ),
    planted(
        "opaque-forgets-where-it-went", "contract", OPAQUE,
        "        self._pfn[_ids(privates)] = targets\n", "        pass\n", OPAQUE_T,
    ),
    planted(
        "opaque-one-reference-each", "references", OPAQUE,
        "        return self._references[_ids(privates)]\n",
        "        return np.ones(len(pfns), dtype=np.int64)\n", OPAQUE_T,
    ),
]  # fmt: skip
