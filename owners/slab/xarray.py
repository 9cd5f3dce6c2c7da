"""Nodes of xarrays in a slab cache: objects that can move, for each knows who points to it.

A node holds its parent's address, its own place in the parent, and the addresses of its
children; so every pointer to a node can be found from the node.  That is all that moving
takes, and why nodes of the page cache's trees were the first user of the series.

    struct xarray (not in a slab) --> root node --> node --> values
                                         ^------------ parent

An operation that needs a node whose page is under move gets AGAIN, before it has changed
anything.  The kernel would hold the tree's lock over the move instead.

Kernel counterpart: struct xa_node and lib/xarray.c, v6.1.  64 slots to a node, 576 bytes;
no marks, no multi-index entries, no value directly in the head, and trees do not get lower.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mm.state.errno import Errno
from owners.slab.cache import SlabCache, Slabs
from pinpage.errors import require, within
from pinpage.owner import Mode, Verdict

__all__ = ["XArrays"]

_NODE_NR_BYTES = 576
_SHIFT = 6
_NR_SLOTS = 1 << _SHIFT
_NODE = struct.Struct(f"<BBBxxxxxQ{_NR_SLOTS}QQ")
_COUNT_AT, _PARENT_AT, _SLOTS_AT = 2, 8, 16
_INTERNAL = 2
"""Tag of a slot that holds a node (xa_is_internal); values are odd, and 0 is nothing."""


class _Node(NamedTuple):
    shift: int
    place: int
    """Its slot in the parent."""
    nr_used: int
    """Slots that are not empty."""
    parent: int
    """Address; 0 for a root."""
    slots: tuple[int, ...]
    tree: int

    @classmethod
    def unpack(cls, data: bytes) -> "_Node":
        shift, place, nr_used, parent, *rest = _NODE.unpack(data[: _NODE.size])
        return cls(shift, place, nr_used, parent, tuple(rest[:-1]), rest[-1])

    def pack(self) -> bytes:
        return _NODE.pack(self.shift, self.place, self.nr_used, self.parent, *self.slots, self.tree)


_EMPTY = _Node(0, 0, 0, 0, (0,) * _NR_SLOTS, 0)


class _QuietError(Exception):
    """A node on the way is on a page under move."""


class XArrays:
    """Sparse arrays of non-negative ints, by tree and index, in nodes of one cache.

    Attributes:
        cache: where the nodes are; its pages move, and can be emptied.

    Invariants, run by `check`:
        XA1 each child names its parent, its place there, and its tree.
        XA2 a node's count is the number of its slots in use, and is not 0.
        XA3 every live object of the cache is in a tree, or in reserve.
    """

    def __init__(self, slabs: Slabs, *, name: str = "radix_tree_node", order: int = 0) -> None:
        """No trees; makes a cache of this name, with slabs of 2^order frames."""
        self._memory = slabs.memory
        self._roots: dict[int, int] = {}
        self._reserve: list[int] = []
        self.cache: SlabCache = slabs.create(
            name, _NODE_NR_BYTES, order=order, ctor=_EMPTY.pack, ops=self
        )

    # What users ask for.

    def store(self, tree: int, index: int, value: int) -> Errno:
        """Put a value in (GFP_KERNEL); EAGAIN while a node on the way moves, ENOMEM.

        Nodes are allocated beforehand without the lock, as xas_nomem() does: that may compact.

        Raises:
            PinpageError: the tree, the index or the value is negative, or does not fit 62 bits.
        """
        within(1 << 62, "xarray", tree=tree, index=index, value=value)
        while True:
            with self._memory.lock:
                ready = [node for node in self._reserve if not self._memory.is_quiet(node)]
                try:
                    if len(ready) >= self._nr_missing(tree, index):
                        self._store(tree, index, value << 1 | 1, ready)
                        return Errno.OK
                except _QuietError:
                    return Errno.EAGAIN
            node = self.cache.alloc()
            if node < 0:
                return Errno.ENOMEM
            with self._memory.lock:
                self._reserve.append(node)

    def load(self, tree: int, index: int) -> int:
        """The value there; ENOENT if there is none, EAGAIN while a node on the way moves.

        Args:
            tree: which array.
            index: in the array.
        """
        with self._memory.lock:
            try:
                path = self._path(tree, index)
            except _QuietError:
                return Errno.EAGAIN
            if not path or path[-1][1].shift:
                return Errno.ENOENT
            entry = path[-1][1].slots[index % _NR_SLOTS]
            return entry >> 1 if entry else Errno.ENOENT

    def erase(self, tree: int, index: int) -> Errno:
        """Take a value out, and nodes that are empty then; ENOENT, EAGAIN as `load`.

        Args:
            tree: which array.
            index: in the array.
        """
        with self._memory.lock:
            try:
                path = self._path(tree, index)
            except _QuietError:
                return Errno.EAGAIN
            if not path or path[-1][1].shift or not path[-1][1].slots[index % _NR_SLOTS]:
                return Errno.ENOENT
            for address, node in reversed(path):
                if node.nr_used > 1:
                    self._set_slot(address, index >> node.shift, 0, node.nr_used - 1)
                    return Errno.OK
                self._memory.store(address, _EMPTY.pack())  # as constructed, for the next user
                self.cache.free(address)
            del self._roots[tree]
            return Errno.OK

    def items(self, tree: int) -> Iterator[tuple[int, int]]:
        """(index, value), ascending; not while a page of the tree moves."""
        with self._memory.lock:
            found = list(self._items(self._roots.get(tree, 0), 0))
        return iter(found)

    def drain_reserve(self) -> None:
        """Free the nodes that earlier stores allocated and did not need."""
        with self._memory.lock:
            while self._reserve:
                self.cache.free(self._reserve.pop())

    # The tree; under the lock.

    def _read(self, address: int) -> _Node:
        if self._memory.is_quiet(address):
            raise _QuietError
        return _Node.unpack(self._memory.load(address, _NODE_NR_BYTES))

    def _write(self, address: int, at: int, word: int) -> None:
        self._memory.store(address + at, word.to_bytes(8, "little"))

    def _set_slot(self, address: int, index: int, entry: int, count: int) -> None:
        self._write(address, _SLOTS_AT + 8 * (index % _NR_SLOTS), entry)
        self._memory.store(address + _COUNT_AT, bytes([count]))

    def _path(self, tree: int, index: int) -> list[tuple[int, _Node]]:
        """Nodes from the root towards the index, with what they hold; empty if it is beyond."""
        path: list[tuple[int, _Node]] = []
        address = self._roots.get(tree, 0)
        while address:
            node = self._read(address)
            if not path and index >> node.shift + _SHIFT:
                return []
            path.append((address, node))
            entry = node.slots[(index >> node.shift) % _NR_SLOTS]
            address = entry & ~_INTERNAL if node.shift else 0
        return path

    def _nr_missing(self, tree: int, index: int) -> int:
        """Nodes that storing at `index` has to add."""
        path = self._path(tree, index)
        if path:
            return path[-1][1].shift // _SHIFT
        wanted = _height(index)
        root = self._roots.get(tree, 0)
        if not root:
            return wanted
        grown = wanted - 1 - self._read(root).shift // _SHIFT  # nodes on top of the old root
        return grown + wanted - 1

    def _store(self, tree: int, index: int, entry: int, ready: list[int]) -> None:
        root = self._roots.get(tree, 0)
        if not root:
            root = self._root(tree, _SHIFT * (_height(index) - 1), ready)
        while index >> (shift := self._read(root).shift) + _SHIFT:  # the tree gets higher
            above = self._root(tree, shift + _SHIFT, ready)
            self._set_slot(above, 0, root | _INTERNAL, 1)
            self._write(root, _PARENT_AT, above)
            root = above
        address, node = self._path(tree, index)[-1]
        while node.shift:
            child = self._use(_EMPTY._replace(
                shift=node.shift - _SHIFT, place=(index >> node.shift) % _NR_SLOTS,
                parent=address, tree=tree,
            ), ready)  # fmt: skip
            self._set_slot(address, index >> node.shift, child | _INTERNAL, node.nr_used + 1)
            address, node = child, self._read(child)
        is_new = not node.slots[index % _NR_SLOTS]
        self._set_slot(address, index, entry, node.nr_used + is_new)

    def _root(self, tree: int, shift: int, ready: list[int]) -> int:
        address = self._use(_EMPTY._replace(shift=shift, tree=tree), ready)
        self._roots[tree] = address
        return address

    def _use(self, node: _Node, ready: list[int]) -> int:
        """A node from the reserve; it comes as its constructor left it."""
        address = ready.pop()
        self._reserve.remove(address)
        require(self._read(address) == _EMPTY, "XA a node is not as constructed", address=address)
        self._memory.store(address, node.pack())
        return address

    def _items(self, address: int, base: int) -> Iterator[tuple[int, int]]:
        if not address:
            return
        node = self._read(address)
        for slot, entry in enumerate(node.slots):
            at = base + (slot << node.shift)
            if entry and node.shift:
                yield from self._items(entry & ~_INTERNAL, at)
            elif entry:
                yield at, entry >> 1

    # owners.slab.slabs.ObjectOps

    def isolate(self, objects: Sequence[int], mode: Mode) -> Verdict:
        """Always: no node's address is held across two operations.

        Args:
            objects: addresses of live nodes of one slab.
            mode: how long the mover would wait.
        """
        return Verdict.YES

    def migrate(self, moved: Mapping[int, int]) -> None:
        """For each moved node, the pointers to it, which are in its neighbours: moved or not."""
        self._reserve = [moved.get(address, address) for address in self._reserve]
        reserve = set(self._reserve)
        for new in moved.values():
            if new not in reserve:
                self._repoint(new, moved)

    def _repoint(self, new: int, moved: Mapping[int, int]) -> None:
        node = self._read(new)
        parent = moved.get(node.parent, node.parent)
        if parent:
            self._write(parent, _SLOTS_AT + 8 * node.place, new | _INTERNAL)
        else:
            self._roots[node.tree] = new
        for entry in filter(None, node.slots if node.shift else ()):
            child = moved.get(entry & ~_INTERNAL, entry & ~_INTERNAL)
            self._write(child, _PARENT_AT, new)

    def check(self) -> None:
        """Run XA1..XA3; not while a page of a tree is under move.

        Raises:
            InvariantError: one does not hold.
        """
        with self._memory.lock:
            in_trees = [
                address
                for tree, root in self._roots.items()
                for address in self._check_below(root, _EMPTY._replace(tree=tree))
            ]
            live = sorted(self.cache.objects())
            known = sorted(in_trees + self._reserve)
            require(known == live, "XA3 nodes leaked or are lost", nr=len(live))

    def _check_below(self, address: int, expected: _Node) -> Iterator[int]:
        node = self._read(address)
        named = node[1:4:2] + node[5:] == expected[1:4:2] + expected[5:]
        require(named, "XA1 a node names another parent, place or tree", address=address)
        used = [(slot, entry) for slot, entry in enumerate(node.slots) if entry]
        require(used and node.nr_used == len(used), "XA2 a count is wrong", address=address)
        yield address
        for slot, entry in used if node.shift else []:
            below = _EMPTY._replace(place=slot, parent=address, tree=node.tree)
            yield from self._check_below(entry & ~_INTERNAL, below)


def _height(index: int) -> int:
    """Levels that a tree needs to reach an index."""
    return max(1, -(-index.bit_length() // _SHIFT))
