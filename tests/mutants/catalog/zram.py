"""Bugs planted in zram, its backing store, its disk and its swap."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

ZRAM, TABLE = "owners/zram/zram.py", "owners/zram/table.py"
BACKING, DISK, SWAP = "owners/zram/backing.py", "owners/zram/disk.py", "owners/zram/swap.py"
WAIT = "owners/pool/wait.py"
ZRAM_T = "tests/unit/owners/zram/test_zram.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str, test: str = "") -> Mutant:
    where = f"{ZRAM_T}::{test}" if test else ZRAM_T
    return Mutant(name=f"zram-{name}", guards=guards, file=file, old=old, new=new, tests=(where,))


MUTANTS: list[Mutant] = [
    _mutant(
        "same-filled-by-its-first-words", "ZR1", ZRAM,
        "if page == word * (PAGE_SIZE // _WORD.size):", "if page[:64] == word * 8:",
    ),
    _mutant(
        "huge-one-byte-late", "statistics", ZRAM,
        "if len(data) >= huge_class_nr_bytes():", "if len(data) > huge_class_nr_bytes():",
        "test_where_incompressible_begins",
    ),
    _mutant(
        "huge-pages-decompressed", "bytes", ZRAM,
        "return data if flags & SlotFlag.HUGE else self.compressor.decompress(data)",
        "return self.compressor.decompress(data)",
    ),
    _mutant(
        "old-object-leaks", "ZR2", ZRAM,
        "            self.pool.free(handle)\n            counters.compr_data_size -=",
        "            counters.compr_data_size -=",
    ),
    _mutant(
        "old-block-leaks", "ZR4", ZRAM,
        "            self._blocks.free(table.element.item(slot))\n", "            pass\n",
    ),
    _mutant(
        "huge-pages-only-grow", "ZR3", ZRAM,
        "        counters.huge_pages -= bool(flags & SlotFlag.HUGE)\n", "",
    ),
    _mutant(
        "same-pages-only-grow", "ZR3", ZRAM,
        "        counters.same_pages -= bool(flags & SlotFlag.SAME)\n", "",
    ),
    _mutant(
        "limit-ignored", "mem_limit", ZRAM,
        "nr_pages > self._mem_limit_nr_pages:", "nr_pages > 1 << 40:",
    ),
    _mutant(
        "object-over-the-limit-leaks", "ZR2", ZRAM,
        "            self.pool.free(handle)\n            return Errno.ENOMEM\n",
        "            return Errno.ENOMEM\n",
    ),
    _mutant(
        "failed-write-forgets-the-old-page", "bytes", ZRAM,
        "                self.counters.failed_writes += 1\n",
        "                self.counters.failed_writes += 1\n                self._forget(slot)\n",
    ),
    _mutant(
        "used-max-of-what-was-granted", "statistics", ZRAM,
        "self.counters.used_max_nr_pages = max(self.counters.used_max_nr_pages, nr_pages)",
        "self.counters.used_max_nr_pages = nr_pages - 1",
    ),
    _mutant(
        "reclaim-from-reclaim", "swap", ZRAM,
        "if handle == Errno.ENOMEM and may_reclaim:", "if handle == Errno.ENOMEM:",
        "test_a_swap_store_never_reclaims",
    ),
    _mutant(
        "reading-leaves-a-page-idle", "writeback", ZRAM,
        "                if uses:\n", "                if not uses:\n",
        "test_idle_pages_are_those_that_nobody_used",
    ),
    _mutant(
        "written-back-though-changed", "ZR1", ZRAM,
        "            self._table.version.item(slot) == version\n            and ",
        "            ", "test_a_page_that_changes_while_it_is_written_back_stays",
    ),
    _mutant(
        "written-back-though-used", "writeback", ZRAM,
        "self._table.has(slot, wanted | SlotFlag.STORED)", "self._table.has(slot, SlotFlag.STORED)",
        "test_a_page_that_changes_while_it_is_written_back_stays",
    ),
    _mutant(
        "block-of-a-page-that-stayed-leaks", "ZR4", ZRAM,
        "            if not done:\n", "            if done is None:\n",
    ),
    _mutant(
        "another-page-read-from-its-block", "bytes", ZRAM,
        "                if table.version.item(slot) == version:\n                    return page",
        "                if version >= 0:\n                    return page",
        "test_a_block_that_changes_hands_while_it_is_read_is_read_again",
    ),
    _mutant(
        "an-object-gone-is-an-error", "bytes", ZRAM,
        "                    if table.version.item(slot) == version:\n"
        "                        self.counters",
        "                    if version >= 0:\n                        self.counters",
        "test_an_object_that_goes_while_it_is_read_is_read_again",
    ),
    _mutant(
        "version-stands-still", "ZR1", TABLE,
        "(self.version.item(slot) + 1) & 0x7FFFFFFF", "self.version.item(slot)",
    ),
    _mutant(
        "block-zero-given-out", "ZR4", BACKING,
        '        self._used[:1] = b"\\x01"\n', "", "test_block_zero_is_never_given_out",
    ),
    _mutant(
        "short-read-of-the-file", "bytes", BACKING,
        "if len(page) != PAGE_SIZE:", "if not page:", "test_a_file_that_shrinks_is_noticed",
    ),
    _mutant(
        "discards-not-counted", "statistics", ZRAM,
        "self.counters.notify_free += self._forget(each)", "self._forget(each)",
    ),
    _mutant(
        "part-of-a-page-erases-the-rest", "bytes", DISK,
        "page = whole[:start] + part + whole[start + len(part) :]",
        "page = whole[:start] + part + bytes(PAGE_SIZE - start - len(part))",
        "test_bytes_of_a_disk_are_those_of_a_file",
    ),
    _mutant(
        "written-bytes-that-were-not", "bytes", DISK,
        "                break\n            done += len(part)",
        "                pass\n            done += len(part)",
        "test_a_disk_that_runs_out_of_memory_says_how_much_it_wrote",
    ),
    _mutant(
        "swap-slot-stays", "swap", SWAP,
        "            self.zram.discard(offset)\n", "            pass\n",
        "test_what_a_process_swapped_out_comes_back_from_zram_wherever_it_went",
    ),
    _mutant(
        "swap-takes-what-it-cannot-hold", "swap", SWAP,
        "return self.zram.write_page(offset, page, may_reclaim=False) is Errno.OK",
        "self.zram.write_page(offset, page, may_reclaim=False)\n        return True",
        "test_what_zram_has_no_room_for_goes_to_the_next_device",
    ),
    _mutant(
        "zeros-from-an-empty-swap-slot", "swap", SWAP,
        "return self.zram.read_page(offset) if self.zram.is_stored(offset) else None",
        "return self.zram.read_page(offset)",
        "test_a_slot_beyond_the_device_is_refused_and_another_area_is_a_mistake",
    ),
]  # fmt: skip
