"""Bugs planted where callers' numbers come in: taken as they came, by equality, or told late."""

import re

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_GUARDS = "callers' mistakes"
_T = "tests/refusals/test_mm_numbers.py"
_NUMPY = f"{_T}::test_what_numpy_has_for_a_number_does_what_the_number_does"
_NONE = f"{_T}::test_what_is_no_whole_number_is_refused_before_anything_has_changed"
_COLUMN = f"{_T}::test_what_is_no_column_of_integers_is_refused_before_anything_has_changed"

_BUDDY, _PCP = "mm/buddy/buddy.py", "mm/buddy/pcp.py"
_ERRORS, _CLOCK = "pinpage/errors.py", "mm/state/costs.py"
_HUGE, _HOTPLUG = "mm/hugetlb/hugetlb.py", "mm/hotplug/memory_hotplug.py"
_LRU, _RMAP, _REFS = "mm/state/lru.py", "mm/state/rmap.py", "mm/state/page_ref.py"
_AREA, _SWAP = "mm/swap/swap_area.py", "mm/paging/swapfile.py"

_ROOTS = [
    ("bools-are-none", _ERRORS, "    if isinstance(value, bool):\n        return None\n", "",
     f"{_NONE}[alloc-order]"),
    ("floats-are-none", _ERRORS, "        return index(value)  #", "        return int(value)  #",
     f"{_NONE}[alloc-order]"),
    ("choices-are-equal", _ERRORS, "        return plain_int(value) == choice\n",
     "        return value == choice\n", f"{_NONE}[contig-type]"),
    ("choices-come-as-they-are", _ERRORS, "        made.append(found[0])\n",
     "        made.append(value)\n", f"{_T}::test_a_choice_is_the_one_that_was_offered"),
    ("flags-are-equal", _ERRORS, "    return isinstance(value, type(choice)) and value == choice\n",
     "    return value == choice\n", f"{_T}::test_a_choice_is_the_one_that_was_offered"),
    ("span-as-it-came", "pinpage/units.py", "            self._make_plain()\n",
     "            pass\n", f"{_NUMPY}[contig-start]"),
    ("columns-of-any-shape", "mm/buddy/bulk.py", "np.sort(as_pfns(pfns))",
     "np.sort(np.asarray(pfns))", f"{_COLUMN}[pcp-adopt]"),
    ("page-size-as-it-came", "mm/state/frames.py",
     'self.page_nr_bytes = require_page_size(self.page_nr_bytes, "frames")',
     'require_page_size(self.page_nr_bytes, "frames")',
     f"{_T}::test_a_machine_is_built_of_whole_numbers"),
    ("frames-as-they-came", "mm/state/frames.py", "        self.nr_frames = n\n", "",
     f"{_T}::test_the_smallest_frames_columns_are_of_whole_numbers"),
    ("bytes-at-half-an-offset", "mm/paging/memory.py",
     '        (offset,) = whole("write", offset=offset)\n', "",
     f"{_T}::test_bytes_go_where_a_whole_number_says"),
    ("lru-of-any-shape", _LRU,
     "        pfns = as_pfns(pfns)\n        self._require_addable(pfns)\n",
     "        self._require_addable(pfns)\n", f"{_COLUMN}[lru-add]"),
    ("lru-less-by-any-shape", _LRU, "        pfns = as_pfns(pfns)\n        if len(pfns) == 0:\n",
     "        if len(pfns) == 0:\n", f"{_COLUMN}[lru-del]"),
    ("lru-back-of-any-shape", _LRU, "        pfns = as_pfns(pfns)\n        active = self",
     "        active = self", f"{_COLUMN}[lru-putback]"),
    ("mapped-of-any-shape", _RMAP, "        vpns, pfns = as_pfns(vpns), as_pfns(pfns)\n", "",
     f"{_COLUMN}[map-pfns]"),
    ("dropped-of-any-shape", "mm/paging/memory.py", "        vpns = as_pfns(vpns)\n", "",
     f"{_COLUMN}[dontneed]"),
]  # fmt: skip

_AT_THE_DOOR = [
    ("alloc-order", "mm/buddy/bulk.py",
     "if not is_known or type(order) is not int or type(zone) is not int:"),
    ("free-order", _BUDDY, "if type(pfn) is not int or type(order) is not int:"),
    ("nr-free", _BUDDY, "            if type(zone) is not int:"),
    ("nr-free-of-zone", _BUDDY,
     "if type(zone) is not int or type(migratetype) not in MIGRATETYPE_FORMS:"),
    ("has-free-block", _BUDDY,
     "if not is_known or type(zone) is not int or type(order) is not int:"),
    ("pcp-alloc-type", _PCP,
     "if type(zone) is not int or type(migratetype) not in MIGRATETYPE_FORMS:"),
    ("pcp-free-pfn", _PCP, "if type(pfn) is not int:"),
    ("pcp-free-cpu", _PCP, "if type(cpu) is not int:"),
    ("watermark", "mm/state/nodes.py", "if type(order) is not int:"),
    ("pageblock", "mm/state/pageblock.py", "if type(block) is not int:"),
    ("alloc-pages-order", "mm/allocator/page_alloc.py", "if type(order) is not int:"),
    ("block-span", "mm/hotplug/memory_block.py", "if type(block) is not int:"),
    ("use", _HUGE,
     'if type(head) is not int:\n            (head,) = whole("hugetlb", head=head)\n        if'),
    ("on-put", _HUGE, "if type(pfn) is not int:"),
    ("touch", "mm/paging/memory.py", "if type(vpn) is not int:"),
    ("map-pfn", _RMAP, "if type(vpn) is not int or type(pfn) is not int:"),
    ("unmap", _RMAP, "        if type(vpn) is not int:"),
    ("plan-at", _CLOCK, "if type(time_ns) is not int or type(rank) is not int:"),
    ("run-until", _CLOCK, "        if type(time_ns) is not int:"),
]  # fmt: skip
"""Rows, and what decides that their number is looked at."""

_TAKEN_OUT = [
    ("take-free-in-limit", _BUDDY, '(limit,) = whole("take_free_in", limit=limit)'),
    ("set-migratetype", _BUDDY,
     '(migratetype,) = whole("set_migratetype", migratetype=migratetype)'),
    ("suitable", "mm/compaction/suitable.py",
     '(order,) = whole("compaction", order=order)\n    if order'),
    ("gap", "mm/compaction/suitable.py",
     '(order,) = whole("compaction", order=order)\n    return'),
    ("fragmentation", "mm/buddy/fragindex.py", '(order,) = whole("free blocks", order=order)'),
    ("control", "mm/compaction/compact_control.py",
     'object.__setattr__(self, "order", order)'),
    ("due-look", "mm/compaction/kcompactd.py",
     '(now_ns,) = at_least(0, "kcompactd", now_ns=now_ns)'),
    ("folio", "mm/state/folios.py", '(head,) = whole("folios", head=head)'),
    ("folio-split", "mm/state/folios.py", '(head,) = whole("folios: split", head=head)'),
    ("give-up", "mm/paging/vmscan.py", '(count,) = whole("give_up", count=count)'),
    ("cma-align", "mm/contig/cma.py",
     'count, align_order = whole("cma", count=count, align_order=align_order)'),
    ("cma-release-pfn", "mm/contig/cma.py", '(pfn,) = whole("cma: release", pfn=pfn)'),
    ("cma-bit", "mm/contig/cma_area.py",
     '(self.order_per_bit,) = whole("cma", order_per_bit=self.order_per_bit)'),
    ("free-contig-pfn", "mm/contig/contig.py", '(pfn,) = whole("free_contig_range", pfn=pfn)'),
    ("set-max", _HUGE, '(count,) = whole("nr_hugepages", count=count)'),
    ("set-max-node", _HUGE, '(node,) = whole("hugetlb", node=node)'),
    ("pool-of", "mm/hugetlb/sizes.py", '(nr_pages,) = whole("hugepagesz", nr_pages=nr_pages)'),
    ("add-to-node", _HOTPLUG, '(node,) = whole("memory block", node=node)'),
    ("power-span", "mm/power/regions.py", '(group,) = whole("power map", group=group)'),
    ("compact-node", "mm/machine.py", '(node,) = whole("compact", node=node)'),
    ("swapon", _AREA, '(nr_slots,) = whole("swap area", nr_slots=nr_slots)'),
    ("slots", _AREA, '(count,) = at_least(0, "swap area", count=count)'),
]  # fmt: skip

_AS_IT_CAME = [
    ("take-free-in", _BUDDY, '(block,) = within(self.pageblocks.nr_blocks, "take_free_in"',
     '_ = within(self.pageblocks.nr_blocks, "take_free_in"'),
    ("claim-block", _BUDDY, '(block,) = within(self.pageblocks.nr_blocks, "claim_block"',
     '_ = within(self.pageblocks.nr_blocks, "claim_block"'),
    ("set-migratetype-block", _BUDDY,
     '(block,) = within(self.pageblocks.nr_blocks, "set_migratetype"',
     '_ = within(self.pageblocks.nr_blocks, "set_migratetype"'),
    ("adopt", _HUGE, "        head = self._require_adoptable(head)\n",
     "        self._require_adoptable(head)\n"),
    ("give-back", _HUGE, "        head = self.require_free(head)\n",
     "        self.require_free(head)\n"),
    ("hand-over-to", _HUGE, "        target = self.require_free(target)\n",
     "        self.require_free(target)\n"),
    ("offline", _HOTPLUG, "        block = self.blocks.row_of(block)\n        span, started_ns",
     "        span, started_ns"),
    ("free-contig-count", "mm/contig/contig.py",
     '(nr_pages,) = at_least(1, "free_contig_range"', '_ = at_least(1, "free_contig_range"'),
    ("cma-release-count", "mm/contig/cma.py", '(count,) = at_least(1, "cma: release"',
     '_ = at_least(1, "cma: release"'),
    ("sleep", "mm/machine.py", '(ns,) = at_least(0, "sleep"', '_ = at_least(0, "sleep"'),
    ("advance", _CLOCK, "self.now_ns += passed", "self.now_ns += ns"),
    ("lru-oldest", _LRU, '(count,) = at_least(0, "lru: oldest"', '_ = at_least(0, "lru: oldest"'),
    ("next-to-unuse", _SWAP, '(prev,) = within(', "_ = within("),
    ("references", _REFS, 'pfn, nr_references = whole("get_page"', '_ = whole("get_page"'),
    ("references-dropped", _REFS, 'pfn, nr_references = whole("put_page"', '_ = whole("put_page"'),
    ("references-of-many", _REFS,
     'return whole("references", nr_references=nr_references)[0]', "return nr_references"),
    ("power-map", "mm/power/regions.py",
     "            object.__setattr__(self, name, number)", "            (self, name, number)"),
    ("kswapd", "mm/allocator/kswapd.py", "(order,) = within(", "_ = within("),
]  # fmt: skip


def _never(condition: str) -> str:
    return re.sub(r"if (type|not).*:", "if False:", condition)


def _passed_over(lines: str) -> str:
    return "pass" + lines[len(lines.partition("\n")[0]) :]


MUTANTS: list[Mutant] = [
    *(planted(f"numbers-{name}", _GUARDS, file, old, new, test)
      for name, file, old, new, test in _ROOTS),
    *(planted(f"numbers-at-the-door-{row}", _GUARDS, file, old, _never(old),
              f"{_NUMPY}[{row}]", f"{_NONE}[{row}]")
      for row, file, old in _AT_THE_DOOR),
    *(planted(f"numbers-taken-out-{row}", _GUARDS, file, old, _passed_over(old),
              f"{_NUMPY}[{row}]", f"{_NONE}[{row}]")
      for row, file, old in _TAKEN_OUT),
    *(planted(f"numbers-as-it-came-{row}", _GUARDS, file, old, new,
              f"{_NUMPY}[{row}]", f"{_NONE}[{row}]")
      for row, file, old, new in _AS_IT_CAME),
]  # fmt: skip
