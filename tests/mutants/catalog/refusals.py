"""Bugs planted in refusals: a caller's mistake is taken, or told when something has changed."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_GUARDS = "callers' mistakes"
_PINLAB = "tests/refusals/test_pinlab_refuses.py"
_MM, _OWNERS = "tests/refusals/test_mm_refuses.py", "tests/refusals/test_owners_refuse.py"

MUTANTS: list[Mutant] = [
    planted(
        "refusals-a-name-is-its-letters", _GUARDS, "pinpage/errors.py",
        "if isinstance(value, str) or not isinstance(value, Iterable):",
        "if not isinstance(value, Iterable):", _PINLAB,
    ),
    planted(
        "refusals-what-if-takes-letters", _GUARDS, "pinlab/snapshot/holdings.py",
        '    several("owners", **{argument: named})\n', "", _PINLAB,
    ),
    planted(
        "refusals-description-takes-any-seed", _GUARDS, "pinlab/described/synthetic.py",
        '    at_least(0, "scenario", seed=seed)\n', "", _PINLAB,
    ),
    planted(
        "refusals-load-without-an-end", _GUARDS, "pinlab/load/mixed.py",
        "if not -math.inf < seconds < math.inf:", "if seconds == math.inf:", _PINLAB,
    ),
    planted(
        "refusals-gone-process-is-written-to", _GUARDS, "mm/paging/memory.py",
        "        if not self.paging.rmap.knows(space):\n", "        if False:\n", _MM,
    ),
    planted(
        "refusals-vpn-named-twice", _GUARDS, "mm/paging/memory.py",
        "        if vpn in seen:\n", "        if False:\n", _MM,
    ),
    planted(
        "refusals-tags-are-told-late", _GUARDS, "mm/paging/memory.py",
        "        if isinstance(self.paging.contents, TagContents):\n", "        if False:\n", _MM,
    ),
    planted(
        "refusals-shrink-by-a-negative-count", _GUARDS, "mm/hugetlb/hugetlb.py",
        '(count,) = at_least(0, "hugetlb: shrink", count=count)', "pass", _MM,
    ),
    planted(
        "refusals-free-is-told-when-the-state-has-changed", _GUARDS, "mm/buddy/pcp.py",
        "        cpu = self._as_cpu(cpu)\n        frames = self.buddy.frames\n",
        "        frames = self.buddy.frames\n", _MM,
    ),
    planted(
        "refusals-lru-takes-a-page-twice", _GUARDS, "mm/state/lru.py",
        "        if twice.any():\n", "        if False:\n", _MM,
    ),
    planted(
        "refusals-lru-check-leaves-its-marks", _GUARDS, "mm/state/lru.py",
        "        self._stamp[pfns] = kept\n", "", _MM,
    ),
    planted(
        "refusals-contig-frees-what-is-free", _GUARDS, "mm/contig/contig.py",
        "        self._require_used(Span(pfn, pfn + nr_pages))\n", "", _MM,
    ),
    planted(
        "refusals-memory-that-is-offline-is-wanted", _GUARDS, "mm/contig/contig.py",
        "        if zones == {-1}:\n", "        if False:\n", _MM,
    ),
    planted(
        "refusals-plan-of-fewer-than-none-is-told-late", _GUARDS, "mm/hotplug/verdict.py",
        "    if want is not None:\n", "    if False:\n", _MM,
    ),
    planted(
        "refusals-last-zone-for-a-negative-one", _GUARDS, "mm/buddy/bulk.py",
        "    if not 0 <= zone < len(area.zones):\n", "    if zone >= len(area.zones):\n", _MM,
    ),
    planted(
        "refusals-pins-are-forgotten-with-their-registry", _GUARDS, "mm/machine.py",
        "        if self.registry is not None and len(self.registry):\n",
        "        if False:\n", _MM,
    ),
    planted(
        "refusals-areas-adopted-by-half", _GUARDS, "mm/contig/cma.py",
        "            self._refuse_unfit(CmaArea(span, order_per_bit), already)\n",
        "            pass\n", _MM,
    ),
    planted(
        "refusals-balloon-deflates-by-a-negative-count", _GUARDS, "owners/balloon.py",
        '        at_least(0, "balloon: deflate", nr_pages=nr_pages)\n', "", _OWNERS,
    ),
    planted(
        "refusals-older-page-dropped-for-a-key-that-cannot-be", _GUARDS, "owners/zcache.py",
        '        within(1 << 64, "zcache: put", inode=key.inode, index=key.index)\n', "", _OWNERS,
    ),
    planted(
        "refusals-tree-that-no-node-can-name", _GUARDS, "owners/slab/xarray.py",
        "tree=tree, index=index, value=value)", "index=index, value=value)", _OWNERS,
    ),
    planted(
        "refusals-last-page-for-a-negative-one", _GUARDS, "owners/mlock.py",
        '        within(space.nr_vpns, f"mlock: {space.name!r}", vpn=vpn)\n', "        pass\n",
        _OWNERS,
    ),
]  # fmt: skip
