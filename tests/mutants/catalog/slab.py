"""Bugs planted in slab caches and in the objects that live in them."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

SLAB, OBJECTS = "owners/slab/cache.py", "owners/slab/slabs.py"
XARRAY, DENTRY = "owners/slab/xarray.py", "owners/slab/dentry.py"
T = "tests/unit/owners"
UNIT, XA, DE = f"{T}/slab/test_cache.py", f"{T}/slab/test_xarray.py", f"{T}/slab/test_dentry.py"
RACES = "tests/races/test_slab.py"


def _mutant(name: str, guards: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=f"slab-{name}", guards=guards, file=file, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    # Caches.
    _mutant(
        "empty-slab-is-kept", "SL1, R-2", SLAB,
        "            if not slab.nr_live:\n                self._give_back(slab)\n", "",
        UNIT, RACES,
    ),
    _mutant(
        "allocates-on-an-isolated-page", "R-2", SLAB,
        "for slab in self._partial.values() if not slab.is_isolated)",
        "for slab in self._partial.values())", UNIT, RACES,
    ),
    _mutant(
        "objects-not-asked-about-a-move", "isolate", SLAB,
        "verdict = self.ops.isolate(slab.objects(), mode)\n            slab",
        "verdict = Verdict.YES\n            slab", UNIT, DE,
    ),
    _mutant(
        "objects-not-asked-about-a-release", "release", SLAB,
        "verdict = self.ops.isolate(objects, mode)", "verdict = Verdict.YES", UNIT, DE,
    ),
    _mutant(
        "slab-of-two-frames-moves", "order", SLAB,
        "return self.ops is not None and self.order == 0", "return self.ops is not None", UNIT,
    ),
    _mutant(
        "slab-of-two-frames-says-yes", "order", SLAB,
        "if self.ops is None or self.order:", "if self.ops is None:", UNIT,
    ),
    _mutant(
        "pointers-not-rewritten", "migrate", SLAB,
        "            if self.ops is not None:\n                self.ops.migrate(moved)\n", "",
        UNIT, XA,
    ),
    _mutant(
        "one-slab-after-the-other", "migrate of a batch", SLAB,
        "                    slabs.append(slab)\n",
        "                    slabs.append(slab)\n                    self._memory.place(slab)\n"
        "                    self._memory.end_isolation(slab)\n"
        "                    self.ops.migrate(dict(zip(olds, slab.objects())))\n", XA, DE,
    ),
    _mutant(
        "stays-isolated-after-a-move", "migrate", SLAB,
        "            for slab in slabs:\n                self._memory.end_isolation(slab)\n", "",
        UNIT, XA,
    ),
    _mutant(
        "putback-forgets", "SL3", SLAB,
        "            if slab is not None:\n                self._memory.end_isolation(slab)\n", "",
        UNIT, XA,
    ),
    _mutant(
        "moves-what-fits", "release is all or none", SLAB,
        "        if sum(other.nr_free for other in others) < len(objects):\n"
        "            return Verdict.BUSY\n", "", UNIT,
    ),
    _mutant(
        "evacuates-without-the-bytes", "release", SLAB,
        "                self._memory.store(moved[old], self._memory.load(old, self.stride))\n", "",
        UNIT, XA,
    ),
    _mutant(
        "evacuates-an-isolated-page", "release", SLAB,
        "        if slab.is_isolated:\n            return Verdict.AGAIN\n", "", UNIT, RACES,
    ),
    _mutant(
        "fills-the-emptiest-first", "shrink", SLAB,
        "key=lambda other: other.nr_free)", "key=lambda other: -other.nr_free)", UNIT,
    ),
    _mutant(
        "larger-slab-keeps-its-tails", "SL2", SLAB,
        "self._put_frames(slab, nr_pinned=len(slab.pfns))",
        "self._put_frames(slab, nr_pinned=1)", UNIT,
    ),
    _mutant(
        "keeps-a-frame-that-it-could-not-pin", "R-29", SLAB,
        "slab.private(frame)) is Verdict.YES", "slab.private(frame)) is not None", RACES,
    ),
    _mutant(
        "cache-stays-registered", "R-10", SLAB,
        "            self._registry.unregister(cache)\n", "            pass\n", UNIT, RACES,
    ),
    _mutant(
        "constructor-runs-on-one-object", "constructor", OBJECTS,
        "for index in range(len(slab.live)):", "for index in range(1):", UNIT,
    ),
    _mutant(
        "full-slab-stays-partial", "SL4", SLAB,
        "        if slab.live.all():\n            del self._partial[slab.slab_id]\n", "", UNIT,
    ),
    _mutant(
        "frees-what-is-no-object", "free", OBJECTS,
        "if inside or not 0 <= index", "if not 0 <= index", UNIT,
    ),
    # Memory.
    _mutant(
        "pointer-written-into-a-page-under-move", "R-18", OBJECTS,
        "        if slab.is_isolated:\n"
        "            slab.waiting.append((address - address_of(slab.pfn), data))\n"
        "            return\n", "", UNIT, XA,
    ),
    _mutant(
        "waiting-pointers-are-lost", "SL3", OBJECTS,
        "            self.store(address_of(slab.pfn, offset), data)\n", "            pass\n",
        UNIT, XA,
    ),
    _mutant(
        "reads-a-page-under-move", "SL5", OBJECTS,
        "require(not slab.is_isolated,", "require(True,", UNIT,
    ),
    _mutant(
        "flag-always-set", "PG_slab", SLAB, "if self._memory.is_flagged:", "if True:", UNIT,
    ),
    # Trees.
    _mutant(
        "xarray-parent-keeps-the-old-address", "XA1", XARRAY,
        "self._write(parent, _SLOTS_AT + 8 * node.place, new | _INTERNAL)", "pass", XA,
    ),
    _mutant(
        "xarray-children-keep-the-old-parent", "XA1", XARRAY,
        "self._write(child, _PARENT_AT, new)", "pass", XA,
    ),
    _mutant(
        "xarray-partner-in-the-batch-forgotten", "XA1", XARRAY,
        "child = moved.get(entry & ~_INTERNAL, entry & ~_INTERNAL)", "child = entry & ~_INTERNAL",
        XA,
    ),
    _mutant(
        "xarray-root-keeps-the-old-address", "XA1", XARRAY,
        "            self._roots[node.tree] = new\n", "            pass\n", XA,
    ),
    _mutant(
        "xarray-reserve-keeps-the-old-address", "XA3", XARRAY,
        "self._reserve = [moved.get(address, address) for address in self._reserve]", "pass", XA,
    ),
    _mutant(
        "xarray-node-freed-as-it-was", "constructor", XARRAY,
        "                self._memory.store(address, _EMPTY.pack())"
        "  # as constructed, for the next user\n", "", XA,
    ),
    _mutant(
        "xarray-uses-a-reserved-node-under-move", "R-2", XARRAY,
        "if not self._memory.is_quiet(node)]", "]", XA,
    ),
    # Names.
    _mutant(
        "dentry-held-does-not-count", "users", DENTRY,
        "held = any(self._read(address).nr_users for address in objects)", "held = False", DE,
    ),
    _mutant(
        "dentry-being-set-up-moves", "isolate", DENTRY,
        "        if any(address not in self._children for address in objects):\n"
        "            return Verdict.AGAIN\n", "", DE,
    ),
    _mutant(
        "dentry-got-under-move", "users", DENTRY,
        "            if self._memory.is_quiet(address):\n                return Errno.EAGAIN\n"
        "            self._set_users", "            self._set_users", DE,
    ),
    _mutant(
        "dentry-children-keep-the-old-parent", "DE1", DENTRY,
        "self._set_parent(moved.get(child, child), new)", "pass", DE,
    ),
    _mutant(
        "dentry-table-keeps-the-old-address", "DE1", DENTRY,
        "                self._children[parent][dentry.name] = new\n", "                pass\n", DE,
    ),
    _mutant(
        "dentry-partner-in-the-batch-forgotten", "DE1", DENTRY,
        "self._set_parent(moved.get(child, child), new)", "self._set_parent(child, new)", DE,
    ),
    _mutant(
        "dentry-parent-in-the-batch-forgotten", "DE1", DENTRY,
        "parent = moved.get(dentry.parent, dentry.parent)", "parent = dentry.parent", DE,
    ),
    _mutant(
        "dentry-umount-reads-a-page-under-move", "SL5", DENTRY,
        "resting = [one for one in addresses if not self._memory.is_quiet(one)]",
        "resting = addresses", DE, RACES,
    ),
    _mutant(
        "dentry-umount-ignores-users", "users", DENTRY,
        "                return Errno.EBUSY\n            for address in addresses:",
        "                pass\n            for address in addresses:", DE,
    ),
]  # fmt: skip
