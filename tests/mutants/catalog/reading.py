"""Bugs planted in what only reads: each changes something for those who come later."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_GUARDS, _TEST = "reading changes nothing", "tests/reading"

MUTANTS: list[Mutant] = [
    planted(
        "reading-skips-stale-places", _GUARDS, "mm/paging/vmscan.py",
        "        pfns = lru.members(active=active)\n",
        "        pfns = lru.oldest(lru.nr_pages(active=active), active=active)\n", _TEST,
    ),
    planted(
        "reading-counts-as-a-lock-taken", _GUARDS, "owners/pool/objects.py",
        "        page_id, _ = self._decode(handle)\n        is_ours =",
        "        with self.lock:\n            page_id, _ = self._decode(handle)\n"
        "        is_ours =", _TEST,
    ),
    planted(
        "reading-counts-an-attempt", _GUARDS, "mm/compaction/suitable.py",
        "        longest = self.shift == MAX_DEFER_SHIFT",
        "        self.considered += 1\n        longest = self.shift == MAX_DEFER_SHIFT", _TEST,
    ),
    planted(
        "reading-sorts-the-huge-pages", _GUARDS, "mm/hugetlb/hugetlb.py",
        "        return len(self.heads)\n",
        "        self.heads.sort(reverse=True)\n        return len(self.heads)\n", _TEST,
    ),
]  # fmt: skip
