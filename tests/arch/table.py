"""The architecture as data.  Every rule reads this table; nothing else repeats it.

A new module of mm or pinlab needs a line here: choosing its layer is a decision.
"""

__all__ = [
    "CLI_ONLY",
    "CORE",
    "EXTRAS",
    "FORBIDDEN_REACH",
    "LAZY_OWN_IMPORTS",
    "MAY_COUNT",
    "MAY_IMPORT",
    "MM_LAYERS",
    "MOST_CODE_LINES_PER_FILE",
    "MOST_LINES_PER_FUNCTION",
    "OWNERS_SEE_OF_MM",
    "TEST_KIT",
    "TEST_TOOLS",
]

MAY_IMPORT = {
    "pinpage": {"pinpage"},
    "mm": {"mm", "pinpage"},
    "owners": {"owners", "mm", "pinpage"},
    "pinlab": {"pinlab", "owners", "mm", "pinpage"},
}
"""Arrows between the packages: down only."""

MM_LAYERS: dict[str, tuple[str, ...]] = {
    "state": (
        "address_space",
        "api",
        "buddy",
        "buddy_bulk",
        "buddy_check",
        "contents",
        "costs",
        "decompose",
        "energy",
        "errno",
        "fallback",
        "fragindex",
        "frames",
        "free_area",
        "gfp",
        "lru",
        "memory_block",
        "memory_notify",
        "merge",
        "mmlist",
        "nodes",
        "pageblock",
        "pcp",
        "reasons",
        "power_map",
        "rmap",
        "refs",
        "rmqueue",
        "strategy",
        "swap",
        "swap_area",
        "swap_cache",
        "swapops",
        "zone_resize",
    ),
    "move": ("design", "home_move", "move"),
    "policy": (
        "alloc_retry",
        "block_plan",
        "census",
        "clean_cache",
        "clean_pages",
        "cma",
        "cma_area",
        "compact_control",
        "compaction",
        "contig",
        "defer",
        "evacuate",
        "free_search",
        "freescan",
        "frontier",
        "gigantic",
        "hotplug_host",
        "hugetlb",
        "hugetlb_move",
        "hugetlb_sizes",
        "hugetlb_source",
        "hugetlb_state",
        "kcompactd",
        "kswapd",
        "listed_heads",
        "memory",
        "memory_forget",
        "memory_hotplug",
        "memory_verdict",
        "meter",
        "migrate_scan",
        "mmap",
        "offline_loop",
        "order_scan",
        "page_alloc",
        "page_isolation",
        "paging",
        "patience",
        "plan",
        "plan_fill",
        "plan_range",
        "plan_run",
        "planned",
        "power",
        "power_report",
        "range_plan",
        "range_walk",
        "scan_hints",
        "shmem",
        "suitable",
        "swap_host",
        "swap_state",
        "swapfile",
        "targets",
        "vmscan",
    ),
    "machine": ("machine",),
}
"""Inside mm, lowest first: a module imports from its own layer and those before it."""

OWNERS_SEE_OF_MM = {f"mm.{name}" for name in MM_LAYERS["state"]} | {"mm.design", "mm.swapfile"}
"""What an owner may know of mm: state, how it is asked, and the swap it backs."""

FORBIDDEN_REACH = (
    ("mm.compaction", "mm.page_alloc", "the allocator calls compaction, never the other way"),
    ("mm.vmscan", "mm.page_alloc", "the allocator calls reclaim, never the other way"),
    ("pinlab.snapshot", "mm.machine", "a recording is columns; replay makes the machine"),
    ("pinlab.tables", "mm.machine", "a table is made of results"),
    ("pinlab.heatmap", "mm.machine", "a picture is made of columns"),
    ("pinlab.figures", "mm.machine", "a figure is made of results"),
    ("pinlab.report", "mm.machine", "a report is made of results"),
)
"""(a module or a package, what no chain of imports from it may lead to, why)."""

CORE = {"attrs", "numpy", "sortedcontainers"}
"""Third-party packages that any shipped module may import."""
CLI_ONLY = {"rich", "typer"}
"""Third-party packages that only pinlab may import."""
EXTRAS = {"lz4", "zstandard", "matplotlib"}
"""Optional packages: imported inside the one function that needs them."""
TEST_TOOLS = {"hypothesis", "pytest", "frontrun", "scipy"}
"""Only the test kit and the tests import these."""
TEST_KIT = "pinpage.testing"
"""The public test kit; shipped code never imports it."""
MAY_USE_THE_KIT = ("pinlab.check",)
"""Except for the module behind `pinpage check` (ADR 0005)."""
LAZY_OWN_IMPORTS = ("pinlab.cli",)
"""Modules (by prefix) that may import our own code inside a function: the command answers
--help before it loads numpy."""

MAY_COUNT = {"mm.refs", "mm.frames"}
"""Who changes counts of references: the one place, and the column it rests on."""

MOST_CODE_LINES_PER_FILE = 400
MOST_LINES_PER_FUNCTION = 60
"""Without the docstring."""
