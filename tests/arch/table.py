"""The architecture as data.  Every rule reads this table; nothing else repeats it.

A new folder of mm needs a line here: choosing its layer is a decision.
"""

__all__ = [
    "BESIDE_THE_DOOR",
    "CLI_ONLY",
    "CORE",
    "EXTRAS",
    "FACADE",
    "FORBIDDEN_REACH",
    "INSIDE_LOOKS",
    "KNOWS_OPTIONS",
    "LAZY_OWN_IMPORTS",
    "LEAST_SHARE_EXPLAINED",
    "MANY_PARAMETERS",
    "MAY_COUNT",
    "MAY_IMPORT",
    "MM_LAYERS",
    "MOST_CODE_LINES_PER_FILE",
    "MOST_FILES_PER_FOLDER",
    "MOST_INSIDE_LOOKS",
    "MOST_LINES_PER_FUNCTION",
    "OWNERS_BUILD_ON",
    "OWNERS_SEE_OF_MM",
    "OWNERS_SHARE",
    "PRIVATE_WORDS",
    "SHARED_CLASS_NAMES",
    "SHARED_INSIDES",
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

MM_LAYERS: dict[str, set[str]] = {
    "state": set(),
    "buddy": {"state"},
    "swap": {"state"},
    "move": {"state", "buddy", "swap"},
    "paging": {"state", "buddy", "swap", "move"},
    "compaction": {"state", "buddy", "move"},
    "planning": {"state", "buddy", "move", "compaction"},
    "allocator": {"state", "buddy", "move", "compaction"},
    "contig": {"state", "buddy", "move", "paging", "planning"},
    "hugetlb": {"state", "buddy", "move", "allocator", "contig", "planning"},
    "hotplug": {"state", "buddy", "swap", "move", "allocator", "compaction", "contig", "planning"},
    "power": {"state", "buddy", "move", "contig", "planning"},
    "designs": {"state", "buddy", "move", "contig"},
    "machine": {
        "state", "buddy", "swap", "move", "paging", "compaction", "planning", "allocator",
        "contig", "hugetlb", "hotplug", "power",
    },
}  # fmt: skip
"""Inside mm, lowest first: a folder, and those before it in this table that it may import."""

OWNERS_SEE_OF_MM = (
    "mm.state", "mm.buddy", "mm.swap", "mm.move.design", "mm.move.capabilities",
    "mm.designs.narrow", "mm.paging.swapfile",
)  # fmt: skip
"""What an owner may know of mm: state, how it is asked, and the swap it backs."""

BESIDE_THE_DOOR = {
    "pinpage.move": {"mm.designs", "mm.move", "pinlab.defects", "pinlab.races", "pinpage.testing"},
    "pinpage.store": {"pinlab.races"},
}
"""Folder -> who imports more of it than it says: races plant bugs inside, and whoever asks owners
to give frames up (`pinpage.move.release`) does so past the move."""

OWNERS_SHARE = {"arguments", "batch_owner", "compress", "forced_out", "pool"}
"""What every owner may import of its own package: helpers, and what the pools share."""
OWNERS_BUILD_ON = {
    "odirect": {"gup"},
    "zcache": {"zbud"},
    "zpool": {"z3fold", "zbud", "zsmalloc"},
    "zram": {"zsmalloc"},
    "zswap": {"zpool"},
}
"""An owner -> those that it is built on, as its kernel counterpart is on theirs."""

FORBIDDEN_REACH = (
    (
        "mm.compaction.compaction",
        "mm.allocator.page_alloc",
        "the allocator calls compaction, never the other way",
    ),
    (
        "mm.paging.vmscan",
        "mm.allocator.page_alloc",
        "the allocator calls reclaim, never the other way",
    ),
    ("pinlab.snapshot", "mm.machine", "a recording is columns; replay makes the machine"),
    ("pinlab.report.tables", "mm.machine", "a table is made of results"),
    ("pinlab.report.heatmap", "mm.machine", "a picture is made of columns"),
    ("pinlab.figures", "mm.machine", "a figure is made of results"),
    ("pinlab.report", "mm.machine", "a report is made of results"),
)
"""(a module or a package, what no chain of imports from it may lead to, why)."""

CORE = {"attrs", "numpy", "sortedcontainers"}
"""Third-party packages that any shipped module may import."""
CLI_ONLY = {"rich", "typer"}
"""Third-party packages that only pinlab may import."""
EXTRAS = {"lz4", "zstandard", "matplotlib", "drgn", "pyarrow", "distributed"}
"""Optional packages: imported inside the one function that needs them."""
TEST_TOOLS = {"hypothesis", "pytest", "frontrun", "scipy"}
"""Only the test kit and the tests import these."""
TEST_KIT = "pinpage.testing"
"""The public test kit; shipped code never imports it."""
MAY_USE_THE_KIT = (
    "pinlab.cli.check", "pinlab.cli.check_design", "pinlab.design_kit.check",
    "pinlab.lab.find", "pinlab.lab.machine", "pinlab.lab.own", "pinlab.load.own", "pinlab.races",
)  # fmt: skip
"""Except for those behind `pinpage check`, an owner or a design of one's own (ADR 0005), and races,
which are explored."""
LAZY_OWN_IMPORTS = ("pinlab.cli",)
"""Modules (by prefix) that may import our own code inside a function: the command answers
--help before it loads numpy."""

KNOWS_OPTIONS = "pinlab.cli"
"""The package whose texts may name options of the command line."""

SHARED_CLASS_NAMES = {"Blocks", "Move"}
"""Public classes that may share a name, each pair for a reason of its own: `Blocks` of a radix
tree and of a zram disk, `Move` of a batch and of a random plan."""
FACADE = "pinpage"
"""The one module that shows names which others define."""

MANY_PARAMETERS = 2
LEAST_SHARE_EXPLAINED = 0.8
"""Of a package's public functions with so many parameters, this share explains them."""

MAY_COUNT = {"mm.state.page_ref", "mm.state.frames"}
"""Who changes counts of references: the one place, and the column it rests on."""

MOST_CODE_LINES_PER_FILE = 400
MOST_FILES_PER_FOLDER = 15
MOST_LINES_PER_FUNCTION = 60
"""Without the docstring."""

INSIDE_LOOKS: dict[tuple[str, str], tuple[int, str]] = {
    ("tests/kit/conformance/subjects.py", "_give_back"): (
        1,
        "a balloon gives up the page that its host chooses; the kit chooses itself",
    ),
    ("tests/kit/inside.py", "_alloc_pages"): (
        2,
        "faults are injected where destinations come from",
    ),
    ("tests/kit/inside.py", "_buffers"): (
        1,
        "the pins behind a page of a registered buffer",
    ),
    ("tests/kit/inside.py", "_in_flight"): (
        1,
        "no lock of a callback is held after an interrupt",
    ),
    ("tests/kit/inside.py", "_io"): (
        1,
        "a page held for a request that is never sent",
    ),
    ("tests/kit/inside.py", "_isolated"): (
        1,
        "a subject must not write to a page that a mover has",
    ),
    ("tests/kit/inside.py", "_nodes"): (
        1,
        "the batch that this thread stands in",
    ),
    ("tests/kit/inside.py", "_owners"): (
        1,
        "an owner that is half gone",
    ),
    ("tests/kit/inside.py", "_privates"): (
        1,
        "nothing of a private is left; the order of its lock",
    ),
    ("tests/kit/inside.py", "_quiet"): (
        1,
        "a pin that is held still for a move",
    ),
    ("tests/kit/inside.py", "_shards"): (
        1,
        "a writer stopped between two lines; each lock is free again",
    ),
    ("tests/kit/inside.py", "_writes"): (
        1,
        "which ranges go in one step; a write for an owner that left before it",
    ),
    ("tests/property/test_zram_machine.py", "_read"): (
        1,
        "reading publicly makes a page not idle, and the model counts idle pages",
    ),
    ("tests/races/test_slab.py", "_memory"): (
        1,
        "the source of one cache is exchanged to move it from inside of `store`",
    ),
    ("tests/unit/mm/compaction/test_listed_heads.py", "_NR_KEPT_CHANGES"): (
        1,
        "a record of changes too short to reach back",
    ),
    ("tests/unit/mm/paging/test_unuse_races.py", "_next"): (
        1,
        "the next free slot is the one that was just freed",
    ),
    ("tests/unit/mm/swap/test_swap.py", "_stamp"): (
        1,
        "a move by hand, of the swap cache alone",
    ),
    ("tests/unit/pinpage/test_shapes.py", "_allocate"): (
        1,
        "counts the words that a table touches",
    ),
}
"""(test file, private name of another place) -> (how often, why there is no public way)."""
MOST_INSIDE_LOOKS = 20
SHARED_INSIDES = {f"owners.{pool}": "owners.pool" for pool in ("zbud", "z3fold", "zsmalloc")}
"""Folder -> the one that holds what it shares with others of its kind: inside of both."""

PRIVATE_WORDS = (
    "room", "notes", "tally", "stock", "ledger", "ballot", "standing", "taking", "asking", "lied",
    "liars", "ousted", "nobody_minds", "deserted", "homeless", "kin", "lingering", "hopeless",
    "foregone",
)  # fmt: skip
"""What these words meant only their writers knew; say it in the kernel's words or in plain ones."""
