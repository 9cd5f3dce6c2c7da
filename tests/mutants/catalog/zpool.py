"""Bugs planted in the protocol of pools, in what straddles, and in what zswap makes of it."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

EXTENTS, ZPOOL, ZS = "owners/pool/extents.py", "owners/zpool.py", "owners/zsmalloc/pool.py"
ZSWAP, POOLS, REPLAY = "owners/zswap/zswap.py", "pinlab/replay/pools.py", "pinlab/replay/replay.py"
UNIT, POOLS_T = "tests/unit/owners/test_zpool.py", "tests/unit/pinlab/replay/test_pools.py"
EITHER = "tests/property/test_zswap_on_either_pool.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=f"zpool-{name}", guards=guards, file=file, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    _mutant(
        "tail-is-not-read", "bytes", EXTENTS,
        "yield head + next(tails) if is_split else head", "yield head", UNIT,
    ),
    _mutant(
        "tail-starts-at-the-wrong-byte", "bytes", EXTENTS,
        "np.where(over, self.tail - left,", "np.where(over, self.tail,", UNIT,
    ),
    _mutant(
        "head-that-is-used-up-stays", "bytes", EXTENTS,
        "over = (left <= 0) &", "over = (left < 0) &", UNIT,
    ),
    _mutant(
        "writes-beyond-an-object", "length", EXTENTS,
        "    if (nr_bytes > extents.nr_bytes).any():\n", "    if False:\n", UNIT,
    ),
    _mutant(
        "zsmalloc-object-without-tail", "bytes", ZS,
        "np.where(straddles, tail, -1)", "np.full_like(tail, -1)", UNIT,
    ),
    _mutant(
        "zsmalloc-header-is-the-user-s", "bytes", ZS,
        "indexes * size + header", "indexes * size", UNIT,
    ),
    _mutant(
        "zsmalloc-adopts-without-pins", "ZS7", ZS,
        "            self._registry.pin_many(homes, self.owner, self.zspages.privates(mine))\n",
        "            pass\n", POOLS_T,
    ),
    _mutant(
        "zsmalloc-adopts-half-a-zspage", "ZS1", ZS,
        "for size_class in classes) != len(pfns):", "for size_class in classes) > len(pfns):", UNIT,
    ),
    _mutant(
        "z3fold-asks-for-movable-memory", "gfp", ZPOOL,
        '_MOVABLE = {"zsmalloc": Gfp', '_MOVABLE = {"z3fold": Gfp', UNIT,
    ),
    _mutant(
        "z3fold-never-evicts", "shrink", ZPOOL,
        "coverage=covered, evict=evict)", "coverage=covered)", UNIT,
    ),
    _mutant(
        "zswap-reads-the-header-as-data", "contents", ZSWAP,
        "length, BLOB_HEADER_NR_BYTES)", "length, 0)", EITHER,
    ),
    _mutant(
        "buddy-pools-ignore-the-offset", "bytes", "owners/pool/objects.py",
        "self._pages.offset(page_id, slot) + offset", "self._pages.offset(page_id, slot)", UNIT,
    ),
    _mutant(
        "recorded-z3fold-is-opaque", "replay", "pinlab/replay/owners.py",
        '    FrameClass.ZBUD: "zbud",\n    FrameClass.Z3FOLD: "z3fold",\n',
        '    FrameClass.ZBUD: "zbud",\n', POOLS_T,
    ),
    _mutant(
        "third-object-does-not-leave-room", "stock", POOLS,
        "        left[rows] -= chunks[chosen]\n", "", POOLS_T,
    ),
    _mutant(
        "recorded-pool-moves-undeclared", "coverage", REPLAY,
        'covered: Coverage = "unuse" if unused else "none"',
        'covered: Coverage = "migrate"', POOLS_T,
    ),
]  # fmt: skip
