"""Bugs of machines whose pages, pageblocks and largest free blocks are not the usual ones."""

from tests.mutants.mutant import Mutant, planted

_GUARDS = "geometry"
_SHAPES = ("tests/property/test_geometry.py",)
_BUDDY = ("tests/property/test_buddy_machine.py",)
_ASKED = "tests/unit/pinlab/requests/test_geometry.py"
_SIZES = "tests/unit/mm/test_page_sizes.py"

MUTANTS: list[Mutant] = [
    planted(
        "sizes-a-free-block-covers-two-pageblocks-at-most", _GUARDS, "mm/buddy/free_area.py",
        "        for order in range(shift + 1, self.max_order + 1):\n",
        "        for order in range(shift + 1, min(shift + 1, self.max_order) + 1):\n",
        *_BUDDY,
    ),
    planted(
        "sizes-pairs-of-large-blocks-judged-by-their-neighbours", _GUARDS, "mm/buddy/free_area.py",
        "        step = 1 << order - self._shift\n", "        step = 1\n", *_BUDDY,
    ),
    planted(
        "sizes-the-largest-block-is-the-usual-one", _GUARDS, "mm/state/pageblock.py",
        "        self.max_order = max_order\n",
        "        self.max_order = min(max_order, self.order + 1)\n", *_SHAPES,
    ),
    planted(
        "sizes-watermarks-of-4-kib", _GUARDS, "mm/state/nodes.py",
        "    page_kb = page_nr_bytes >> 10\n", "    page_kb = 4\n",
        f"{_SIZES}::test_watermarks_go_by_the_byte",
    ),
    planted(
        "sizes-batches-of-4-kib", _GUARDS, "mm/buddy/pcp.py",
        "_MAX_BATCH_NR_BYTES[version] // page_nr_bytes", "_MAX_BATCH_NR_BYTES[version] // 4096",
        f"{_SIZES}::test_batches_of_the_per_cpu_lists_go_by_the_byte",
    ),
    planted(
        "sizes-two-sizes-in-one-machine", _GUARDS, "mm/machine.py",
        "        if frames.page_nr_bytes != contents.page_nr_bytes:\n", "        if False:\n",
        f"{_SIZES}::test_frames_and_contents_are_of_one_size",
    ),
    planted(
        "sizes-a-node-s-border-inside-a-leaf", _GUARDS, "mm/machine.py",
        "first // leaf * leaf for first", "first for first",
        f"{_SIZES}::test_nodes_may_meet_inside_a_leaf_of_the_registry",
    ),
    planted(
        "sizes-any-page-fits-a-layout", _GUARDS, "owners/arguments.py",
        "    if frames.page_nr_bytes != PAGE_SIZE:\n", "    if False:\n",
        f"{_SIZES}::test_a_layout_for_4_kib_pages_refuses_others",
    ),
    planted(
        "sizes-1-gib-in-pages-of-4-kib", _GUARDS, "pinlab/requests/huge1g.py",
        "_PAGE_NR_BYTES // page_nr_bytes", "_PAGE_NR_BYTES // 4096",
        f"{_ASKED}::test_pages_of_1_gib_are_as_many_frames_as_that_takes",
    ),
    planted(
        "sizes-energy-by-the-page", _GUARDS, "pinlab/requests/power.py",
        "power.nr_pages_off * page_nr_bytes", "power.nr_pages_off * 4096",
        f"{_ASKED}::test_energy_goes_by_the_byte",
    ),
    planted(
        "sizes-a-replay-s-pageblocks-are-usual", _GUARDS, "pinlab/replay/frames.py",
        "Pageblocks(nr_frames, snapshot.nr_pages_per_block, largest_order(snapshot))",
        "Pageblocks(nr_frames)",
        f"{_ASKED}::test_memory_blocks_of_a_pageblock_each",
    ),
    planted(
        "sizes-part-of-a-page-read-back", _GUARDS, "pinlab/replay/read_back.py",
        "        size = contents.page_nr_bytes\n", "        size = 4096\n",
        f"{_ASKED}::test_every_byte_of_a_large_page_is_there_afterwards",
    ),
]  # fmt: skip
