"""Bugs planted in unuse and swapoff: each branch, each race."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

RACES = ("tests/unit/mm/paging/test_unuse_races.py",)
RACES_AND_SWAPFILE = (
    "tests/unit/mm/paging/test_unuse_races.py",
    "tests/unit/mm/paging/test_swapfile.py",
)
SWAPFILE = ("tests/unit/mm/paging/test_swapfile.py",)
SWAPOFF = ("tests/unit/mm/paging/test_swapoff.py",)

MUTANTS: list[Mutant] = [
    Mutant(
        name="unuse-ignores-signals",
        guards="T5a",
        file="mm/paging/swapfile.py",
        old=("    if pending():\n        return Errno.EINTR, start_mm, _End.UNUSED\n"),
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-freed-slot-is-an-error",
        guards="T5b",
        file="mm/paging/swapfile.py",
        old=(
            "        if not area.map_byte(offset):\n"
            "            return Errno.OK, start_mm, _End.FREED\n"
        ),
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-no-memory-is-success",
        guards="T5c",
        file="mm/paging/swapfile.py",
        old="        return Errno.ENOMEM, start_mm, _End.UNUSED\n",
        new="        return Errno.OK, start_mm, _End.UNUSED\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-treats-shmem-as-anonymous",
        guards="T5d",
        file="mm/paging/swapfile.py",
        old=(
            "        if swap_count(area.map_byte(offset)) == SWAP_MAP_SHMEM:\n"
            "            return shmem_unuse(paging, area, entry, pfn), start_mm, _End.SHMEM\n"
        ),
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="shmem-unuse-keeps-the-lock",
        guards="T5d",
        file="mm/paging/shmem.py",
        old=("    paging.unlock_page(pfn)\n    paging.put_page(pfn)\n    return error\n"),
        new=("    paging.put_page(pfn)\n    return error\n"),
        tests=SWAPFILE,
    ),
    Mutant(
        name="shmem-unuse-keeps-the-reference",
        guards="T5d",
        file="mm/paging/shmem.py",
        old=("    paging.unlock_page(pfn)\n    paging.put_page(pfn)\n    return error\n"),
        new=("    paging.unlock_page(pfn)\n    return error\n"),
        tests=SWAPFILE,
    ),
    Mutant(
        name="shmem-page-comes-back-clean",
        guards="R-14",
        file="mm/paging/shmem.py",
        old=("    paging.clear_bits(pfn, _ANON)\n    paging.set_bits(pfn, _DIRTY)\n"),
        new="    paging.clear_bits(pfn, _ANON)\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-keeps-exiting-spaces-alive",
        guards="T5 step 3",
        file="mm/paging/swapfile.py",
        old=("    if start_mm.mm_users != 1:\n        return start_mm\n"),
        new="    return start_mm\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-does-not-yield-to-the-fault",
        guards="R-13",
        file="mm/paging/swapfile.py",
        old="    if paging.has(pfn, _LOCKED | _WRITEBACK):\n",
        new="    if False:\n",
        tests=RACES,
    ),
    Mutant(
        name="unuse-does-not-wait-for-writeback-under-the-lock",
        guards="R-13",
        file="mm/paging/swapfile.py",
        old=("    paging.lock_page(pfn)\n    paging.wait_on_page(pfn, PageFlag.WRITEBACK)\n\n"),
        new=("    paging.lock_page(pfn)\n\n"),
        tests=RACES,
    ),
    Mutant(
        name="unuse-trusts-the-pte",
        guards="R-13",
        file="mm/paging/swapfile.py",
        old=(
            "    if mm.pte.item(vpn) != swap_pte(entry):\n"
            "        return Errno.OK  # a fault was quicker\n"
        ),
        new="",
        tests=RACES,
    ),
    Mutant(
        name="unuse-gives-a-foreign-page",
        guards="R-4",
        file="mm/paging/swapfile.py",
        old=("    if paging.swap.cache.entry_of.item(pfn) == entry:\n        if swap_count"),
        new=("    if pfn >= 0:\n        if swap_count"),
        tests=RACES,
    ),
    Mutant(
        name="unuse-keeps-the-old-start-mm",
        guards="T5e",
        file="mm/paging/swapfile.py",
        old="            new_start_mm, rearmed = mm, False\n",
        new=(
            "            mm.mm_users -= 1\n"
            "            new_start_mm.mm_users += 1\n"
            "            rearmed = False\n"
        ),
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-last-helper-becomes-start-mm",
        guards="T5e",
        file="mm/paging/swapfile.py",
        old="            new_start_mm, rearmed = mm, False\n",
        new="            new_start_mm = mm\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-rearms-though-start-mm-helped",
        guards="T5e",
        file="mm/paging/swapfile.py",
        old="    rearmed = area.map_byte(offset) >= before\n",
        new="    rearmed = True\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-init-mm-does-not-rearm",
        guards="T5e",
        file="mm/paging/swapfile.py",
        old="            rearmed = rearmed or swap_count(before) != 0\n",
        new="            pass\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-revives-dying-spaces",
        guards="T5 step 6",
        file="mm/paging/swapfile.py",
        old=("        if mm.mm_users == 0:\n            continue  # being torn down\n"),
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-leaks-a-user-count",
        guards="T5 step 6",
        file="mm/paging/swapfile.py",
        old=("        mmput(paging, prev_mm)\n        prev_mm = mm\n"),
        new="        prev_mm = mm\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-error-keeps-walking",
        guards="T5 step 7",
        file="mm/paging/swapfile.py",
        old="    while swap_count(area.map_byte(offset)) and not error:\n",
        new="    while swap_count(area.map_byte(offset)):\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-forgets-its-error",
        guards="T5 step 7",
        file="mm/paging/swapfile.py",
        old=(
            "    mmput(paging, prev_mm)\n"
            "    mmput(paging, start_mm)\n"
            "    return error, new_start_mm\n"
        ),
        new=(
            "    mmput(paging, prev_mm)\n"
            "    mmput(paging, start_mm)\n"
            "    return Errno.OK, new_start_mm\n"
        ),
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-drops-unsaved-data",
        guards="R-14",
        file="mm/paging/swapfile.py",
        old=("    _save_leftover(paging, area, swp_offset(entry), pfn)\n    if"),
        new="    if",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-writes-clean-leftovers",
        guards="T5f",
        file="mm/paging/swapfile.py",
        old="    if left and paging.has(pfn, _DIRTY) and",
        new="    if left and",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unuse-drops-another-slots-page",
        guards="T5g",
        file="mm/paging/swapfile.py",
        old=("    if paging.swap.cache.entry_of.item(pfn) == entry:\n        # Only"),
        new=("    if paging.has(pfn, _SWAPCACHE):\n        # Only"),
        tests=RACES_AND_SWAPFILE,
    ),
    Mutant(
        name="unuse-leaves-the-page-clean",
        guards="R-14",
        file="mm/paging/swapfile.py",
        old="    paging.set_bits(pfn, _DIRTY)\n",
        new="",
        tests=SWAPFILE,
    ),
    Mutant(
        name="budget-patched-skips-shmem",
        guards="T6",
        file="mm/paging/swapfile.py",
        old="        counted = accounting is Accounting.PATCHED or end is _End.UNUSED\n",
        new="        counted = end is _End.UNUSED\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="budget-old-counts-all",
        guards="T6",
        file="mm/paging/swapfile.py",
        old="        counted = accounting is Accounting.PATCHED or end is _End.UNUSED\n",
        new="        counted = True\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="budget-counted-without-frontswap",
        guards="T6",
        file="mm/paging/swapfile.py",
        old="        if frontswap and counted and pages_to_unuse > 0:\n",
        new="        if counted and pages_to_unuse > 0:\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="search-ends-at-the-end",
        guards="SA3",
        file="mm/paging/swapfile.py",
        old="    for start, stop in ((prev + 1, area.nr_slots), (1, prev + 1)):\n",
        new="    for start, stop in ((prev + 1, area.nr_slots),):\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="swapoff-keeps-handing-out-slots",
        guards="R-15",
        file="mm/paging/swapfile.py",
        old=("    area.writeok = False\n    error"),
        new="    error",
        tests=SWAPOFF,
    ),
    Mutant(
        name="swapoff-gives-up-for-good",
        guards="R-15",
        file="mm/paging/swapfile.py",
        old=("        area.writeok = True\n        return error\n"),
        new="        return error\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="swapoff-ignores-holders",
        guards="R-15",
        file="mm/paging/swapfile.py",
        old="        error = Errno.EBUSY\n",
        new="        error = Errno.OK\n",
        tests=SWAPOFF,
    ),
    Mutant(
        name="swapoff-does-not-tell-frontswap",
        guards="R-15",
        file="mm/paging/swapfile.py",
        old="        area.frontswap.invalidate_area(area.type)\n",
        new="",
        tests=SWAPOFF,
    ),
    Mutant(
        name="lookup-takes-no-reference",
        guards="SP4",
        file="mm/paging/swap_state.py",
        old=("            paging.get_page(pfn)\n            break\n"),
        new="            break\n",
        tests=SWAPFILE,
    ),
    Mutant(
        name="unused-new-page-leaks",
        guards="SP4",
        file="mm/paging/swap_state.py",
        old="        paging.source.free_page(new_pfn)\n",
        new="        pass\n",
        tests=SWAPFILE,
    ),
]
