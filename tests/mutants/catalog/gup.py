"""Bugs planted in get_user_pages, its pinners, and what of the move they brought to light."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

GUP, FLAGS, PINNER = "owners/gup/gup.py", "owners/gup/flags.py", "owners/gup/pin_references.py"
MEMORY, FRAMES, REFS = "mm/paging/memory.py", "mm/state/frames.py", "mm/state/page_ref.py"
REFS_T = "tests/unit/mm/state/test_page_ref.py"
LONGTERM, MOVING = "owners/gup/longterm.py", "pinpage/move/batch.py"

GUP_T, LONG_T = "tests/unit/owners/gup/test_gup.py", "tests/unit/owners/gup/test_longterm.py"
RACE = "tests/races/test_pin_during_move.py"
IO_RACE = "tests/races/test_io_completion_vs_move.py"
FORK = f"{RACE}::test_fork_leaves_a_page_to_the_parent_that_is_being_pinned"
NESTED = "tests/property/test_nested_pins.py::test_every_event_after_every_step"

MUTANTS: list[Mutant] = [
    # get_user_pages against a move
    planted(
        "gup-does-not-look-again", "R-17", GUP,
        "has_moved = space.pte.item(vpn) != pinner.pfn_of(pin_id) + 1", "has_moved = False",
        f"{RACE}::test_a_frame_that_belongs_to_somebody_else_by_now_is_let_go_again",
    ),
    planted(
        "gup-drops-references-before-the-registration", "G3, R-18", GUP,
        """        pinner.unregister(pin_id)
        try:
            yield GupStep.UNREGISTER
        finally:
            self._drop(*pinner.forget(pin_id))
""",
        """        nr_references = pinner.references_of(pin_id)
        self._drop(pinner.pfn_of(pin_id), nr_references)
        yield GupStep.UNREGISTER
        pinner.unregister(pin_id)
        pinner.forget(pin_id)
""", f"{RACE}::test_no_pin_outlives_the_references_that_it_stands_for",
    ),
    planted(
        "gup-keeps-the-references-of-a-pin-that-was-refused", "G3", GUP,
        "                self._drop(*pinner.forget(pin_id))\n        if",
        "                pinner.forget(pin_id)\n        if", GUP_T,
    ),
    # references
    planted(
        "gup-pin-is-one-reference", "gup: bias", FLAGS,
        "GUP_PIN_COUNTING_BIAS if is_pin else 1", "1", GUP_T,
    ),
    planted(
        "gup-frozen-page-is-not-pinned", "gup: no false negatives", FRAMES,
        "np.abs(self.refcount[pfns])", "self.refcount[pfns]", GUP_T,
    ),
    planted(
        "gup-pinner-accounts-for-one-reference-each", "G3", PINNER,
        "(known.get(i, 0) for i in ids)", "(min(known.get(i, 0), 1) for i in ids)", GUP_T,
    ),
    planted(
        "gup-forgets-that-a-device-wrote", "gup: dirty", GUP,
        "            if dirty:\n", "            if dirty and pin_id < 0:\n", GUP_T,
    ),
    planted(
        "holders-of-a-frame-unpinned-meanwhile", "R-20", "mm/move/design.py",
        "for pin in self._registry.pins(pfn)[:1]:", "for pin in [self._registry.pins(pfn)[0]]:",
        "tests/unit/mm/move/test_design.py",
    ),
    # shared pages, fork
    planted(
        "gup-write-pin-of-a-shared-page", "gup: unshare", GUP,
        'return space.kind == "process" and bool(', 'return space.kind == "none" and bool(', GUP_T,
    ),
    planted(
        "gup-fork-shares-pinned-pages", "gup: early copy", MEMORY,
        "if not space.has_pinned:", "if space.mm_id >= 0:", GUP_T,
    ),
    planted(
        "gup-fork-heeds-false-positives-of-all", "gup: early copy", MEMORY,
        "if not space.has_pinned:", "if space.mm_id < 0:", GUP_T,
    ),
    planted(
        "gup-pin-does-not-see-a-fork", "gup: fork's sequence count", GUP,
        "(how.is_pin and seq != space.write_protect_seq)", "seq < 0", FORK,
    ),
    planted(
        "gup-looks-for-a-fork-too-late", "gup: fork's sequence count", GUP,
        "pte - 1, pinner, how, seq)", "pte - 1, pinner, how, space.write_protect_seq)",
        FORK,
    ),
    planted(
        "gup-fork-out-of-memory-leaves-the-child", "gup: fork", MEMORY,
        "                    self.exit(child)\n", "", GUP_T,
    ),
    # long-term pins
    planted(
        "gup-long-pin-in-cma", "R-24", LONGTERM,
        "(MigrateType.CMA, MigrateType.ISOLATE)", "(MigrateType.ISOLATE,)", LONG_T,
    ),
    planted(
        "gup-long-pin-in-an-isolated-block", "R-24", LONGTERM,
        "(MigrateType.CMA, MigrateType.ISOLATE)", "(MigrateType.CMA,)", LONG_T,
    ),
    planted(
        "gup-long-pin-in-the-movable-zone", "R-24", LONGTERM,
        "& ~is_movable_zone[host.frames.zone[pfns]]", "", LONG_T,
    ),
    planted(
        "gup-keeps-its-pins-while-it-migrates", "R-24", GUP,
        "            self.put_user_pages(pinner, got.pins)\n"
        "            error, in_the_way = migrate_away",
        "            error, in_the_way = migrate_away", LONG_T,
    ),
    planted(
        "gup-page-of-another-mover-is-no-memory", "R-24", LONGTERM,
        "        return Errno.EAGAIN, _named(host, ascending[taken], busy)\n",
        "        return Errno.ENOMEM, _named(host, ascending[taken], busy)\n", LONG_T,
    ),
    # pinners
    planted(
        "gup-pinner-is-not-repointed", "G1", PINNER,
        "            self._pfn[pin.private] = target\n", "", GUP_T,
    ),
    planted(
        "gup-pinner-stays-quiet-after-putback", "G2", PINNER,
        """        if pin.private in self._pfn:
            self._resume(pin.private)

    def _resume""",
        """
    def _resume""", GUP_T,
    ),
    planted(
        "gup-pinner-without-handler-can-migrate", "NO_CALLBACK", PINNER,
        "return self._handler is not None", "return self.registry is not None", GUP_T,
    ),
    # what nested pins brought to light in the move
    planted(
        "move-names-swapped-when-bytes-come-back", "V2", REFS,
        "            if source not in self._source_of:\n", "            if source >= 0:\n",
        f"{NESTED}[1-Policy.CANCEL]", f"{NESTED}[4-Policy.CANCEL]",
    ),
    planted(
        "move-rekey-forgets-the-names-of-frames-that-failed", "V2", REFS,
        "        if self._target_of:  # (those",
        "        self._source_of.clear()\n        if self._target_of:  # (those",
        f"{REFS_T}::test_those_of_a_batch_that_do_not_move_keep_their_targets_names",
    ),
    planted(
        "move-empty-source-can-be-referenced", "R-17", REFS,
        "frames.refcount[sources] = 0  #", "frames.refcount[sources] = 1  #",
        f"{REFS_T}::test_what_has_moved_gives_no_reference_at_its_old_place",
    ),
    planted(
        "move-target-can-be-referenced", "R-17, M7", REFS,
        "if count <= 0 or self._frames.state.item(pfn) != _USED or pfn in self._source_of:",
        "if count <= 0:",
        f"{RACE}::test_a_frame_that_was_freed_and_is_a_target_now_takes_no_reference",
    ),
    planted(
        "move-forgets-what-was-written-by-one-who-left", "R-18, R-28", "pinpage/move/undoing.py",
        "PinState.ISOLATED_AGAIN, PinState.UNPINNED_AT_TARGET)", "PinState.ISOLATED_AGAIN)",
        f"{IO_RACE}::test_also_when_a_partner_fails_half_way",
    ),
]  # fmt: skip
