"""Bugs planted where references are counted while a page is under move."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

REFS, FRAMES, HOME = "mm/state/page_ref.py", "mm/state/frames.py", "mm/move/home_move.py"
RMAP, CACHE, GUP, MEMORY = (
    "mm/state/rmap.py",
    "mm/swap/swap_cache.py",
    "owners/gup/gup.py",
    "mm/paging/memory.py",
)
T_RMAP = "tests/unit/mm/state/test_rmap.py"
MOVE, THREE = "mm/move/move.py", "tests/races/test_three_movers.py"
DROPS = "tests/races/test_drops_during_move.py"
T_REFS, T_MOVE = "tests/unit/mm/state/test_page_ref.py", "tests/unit/mm/move/test_move.py"

MUTANTS: list[Mutant] = [
    # at every callback
    planted(
        "refs-frozen-count-frees", "still held, still whole", REFS,
        "        left = abs(count) - nr_references\n", "        left = count - nr_references\n",
        DROPS,
    ),
    planted(
        "refs-frozen-count-thaws", "frozen until the mover says so", REFS,
        "frames.refcount[pfn] = left if count > 0 else -left", "frames.refcount[pfn] = left",
        DROPS, T_MOVE,
    ),
    planted(
        "refs-home-drops-the-wrong-way", "homes come and go while frozen", FRAMES,
        "self.refcount[pfn] = count - change if count < 0 else count + change",
        "self.refcount[pfn] = count + change", DROPS, T_REFS,
    ),
    planted(
        "refs-fork-counts-the-wrong-way", "homes come and go while frozen", FRAMES,
        "np.where(counts < 0, counts - change, counts + change)", "counts + change",
        DROPS, T_REFS,
    ),
    planted(
        "refs-unmapped-by-hand", "homes come and go while frozen", RMAP,
        "        self.frames.add_reference(pfn, -1)\n", "        self.frames.refcount[pfn] -= 1\n",
        DROPS,
    ),
    planted(
        "refs-uncached-by-hand", "homes come and go while frozen", CACHE,
        "        frames.add_reference(pfn, -1)\n", "        frames.refcount[pfn] -= 1\n", DROPS,
    ),
    planted(
        "refs-dirty-on-the-target", "dirty by either name", GUP,
        "self.host.refs.set_flag(pfn, PageFlag.DIRTY)",
        "self.host.frames.flags[pfn] |= PageFlag.DIRTY.mask", DROPS,
    ),
    planted(
        "refs-store-to-the-source-only", "a store is not lost", MEMORY,
        "in self.paging.refs.copies_of(pfn):", "in (pfn,):", DROPS,
    ),
    # one by one and by the column
    planted(
        "refs-many-give-what-is-frozen", "get unless zero", REFS,
        "given: Mask = (counts > 0) & (", "given: Mask = (counts != 0) & (", T_REFS,
    ),
    planted(
        "refs-many-give-targets", "M7", REFS,
        "            given &= ~np.isin(pfns, list(self._source_of))\n", "            pass\n",
        T_REFS,
    ),
    planted(
        "refs-target-is-referenced", "M7", REFS,
        " or pfn in self._source_of:", ":", T_REFS,
    ),
    planted(
        "refs-many-know-one-name", "dropping by either name", REFS,
        "        pfns = self._renamed(pfns)\n", "", T_REFS,
    ),
    planted(
        "refs-many-drop-too-many", "V2", REFS,
        "_require_none(pfns, left < 0, ", "_require_none(pfns, left < -9, ", T_REFS,
    ),
    planted(
        "refs-many-drop-the-movers", "V3", REFS,
        "        taken = last & (frames.isolated[pfns] | (counts < 0))\n",
        "        taken = last & False\n", T_REFS, T_MOVE,
    ),
    planted(
        "refs-movers-own-dropped-while-frozen", "V3", REFS,
        "        held = count < 0 or frames.isolated.item(pfn)\n", "        held = False\n", T_MOVE,
    ),
    planted(
        "refs-set-aside-frame-is-freed", "quarantine", REFS,
        "        if frames.state.item(pfn) == _QUARANTINED:", "        if pfn < 0:", T_REFS,
    ),
    planted(
        "refs-set-aside-frames-are-counted", "quarantine", REFS,
        "live = frames.state[pfns] != FrameState.QUARANTINED", "live = counts >= counts", T_REFS,
    ),
    planted(
        "refs-nobodys-page-moves", "V5", REFS,
        "_require_none(sources, left < 1, ", "_require_none(sources, left < 0, ", T_MOVE,
    ),
    # flags that contradict the list
    planted(
        "a6-pages-without-data-pass", "A6", RMAP,
        "        odd = (flags & PageFlag.UPTODATE.mask) == 0\n", "        odd = mapped & False\n",
        T_RMAP,
    ),
    planted(
        "a6-mapped-pages-of-no-kind-pass", "A6", RMAP,
        "        odd |= mapped & ((flags & PageFlag.ANON.mask) == 0)\n", "", T_RMAP,
    ),
    planted(
        "a6-cached-pages-of-files-pass", "A6", RMAP,
        "require(not found, \"A6", "require(True, \"A6", T_RMAP,
    ),
    planted(
        "a6-shared-memory-fails", "A6", RMAP,
        "require(by_file, \"A6", "require(False, \"A6", T_RMAP,
    ),
    # mm's part in the order of a move
    planted(
        "movers-keep-their-marks", "R-7", MOVE,
        "        frames.isolated[sources] = False\n", "", THREE,
    ),
    # mm's own move
    planted(
        "home-move-does-not-look-again", "a source whose holders left", HOME,
        "        self._look_again()\n", "", T_MOVE,
    ),
    planted(
        "home-move-keeps-the-spare-target", "nothing is left in a mover's hands", HOME,
        "        self._targets.give_back(spare)\n", "", T_MOVE,
    ),
    planted(
        "home-move-undo-stops-at-the-targets", "every taken frame is put back", HOME,
        "        finally:\n            self._memory.unfreeze(",
        "        except ZeroDivisionError:\n            pass\n        if True:\n"
        "            self._memory.unfreeze(", T_MOVE,
    ),
]  # fmt: skip
