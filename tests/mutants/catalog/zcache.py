"""Bugs planted in zcache: stale pages, pages that are not let go, objects freed twice."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

ZCACHE = "owners/zcache.py"
UNIT, MACHINE = "tests/unit/owners/test_zcache.py", "tests/property/test_zcache_machine.py"


def _mutant(name: str, guards: str, old: str, new: str) -> Mutant:
    return Mutant(
        name=f"zcache-{name}", guards=guards, file=ZCACHE, old=old, new=new, tests=(UNIT, MACHINE)
    )


MUTANTS: list[Mutant] = [
    _mutant(
        "older-copy-survives-a-failed-put", "stale",
        "        older = self._pop(key)\n", "        older = None\n",
    ),
    _mutant(
        "older-copy-leaks", "ZC3", "            self.zbud.free(older)\n", "            pass\n",
    ),
    _mutant(
        "get-from-a-private-pool-stays", "exclusive",
        "        if not self._shared[key.pool]:\n", "        if False:\n",
    ),
    _mutant(
        "get-from-a-shared-pool-forgets", "shared",
        "        if not self._shared[key.pool]:\n", "        if True:\n",
    ),
    _mutant(
        "eviction-frees-what-another-took-out", "rule M, R-16",
        "            if inode.get(key.index) != handle:  # the caller that took it out frees it\n"
        "                return Errno.EBUSY\n",
        "            if inode.get(key.index) != handle:\n"
        "                pool.free(handle)\n"
        "                return Errno.OK\n",
    ),
    _mutant(
        "dropped-object-is-not-freed", "ZC3",
        "        pool.free(handle)\n        return Errno.OK\n",
        "        return Errno.OK\n",
    ),
    _mutant(
        "drops-count-as-nothing", "statistics", "            self.counters.dropped += 1\n", "",
    ),
    _mutant(
        "limit-is-ignored", "ZC4", "            self.shrink(1)  #", "            self.shrink(0)  #",
    ),
    _mutant(
        "header-names-another-page", "ZC2",
        "_HEADER.pack(key.inode, key.index, key.pool,",
        "_HEADER.pack(key.index, key.inode, key.pool,",
    ),
    _mutant(
        "room-is-taken-for-length", "bytes",
        "blob[_HEADER.size : _HEADER.size + length]", "blob[_HEADER.size :]",
    ),
    _mutant(
        "frame-under-move-is-dropped", "R-17",
        "        if isinstance(header, Errno):\n            return header\n",
        "        if isinstance(header, Errno):\n            return Errno.OK\n",
    ),
    _mutant(
        "pool-ids-are-used-again", "stale",
        "            pool = self._nr_pools_ever\n", "            pool = len(self._shared)\n",
    ),
    _mutant(
        "inode-keeps-its-first-page", "stale",
        "        for index in indexes:\n            self.invalidate_page",
        "        for index in indexes[1:]:\n            self.invalidate_page",
    ),
    _mutant(
        "release-says-no", "ephemeral", "ops=ZbudOps(evict=self._drop, unuse=self._drop)",
        "ops=ZbudOps(evict=self._drop)",
    ),
]  # fmt: skip
