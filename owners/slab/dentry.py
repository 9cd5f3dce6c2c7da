"""Directory entries in a slab cache: objects that some users hold, and that hold each other.

A dentry holds its parent's address; the hash table and the lists of children, which lie in no
slab, hold addresses of dentries.  Those can be rewritten.  An address that a user got from
`get` cannot, for nobody knows where he keeps it: a dentry with users stays until the last
`put`, and with it its whole slab page.

The objection that ended the series of 2019 was made about dentries: a page mixes file
systems, and one of them may be unmounted between isolate and migrate.  Here its dentries are
then just freed objects, which no longer take part.

Kernel counterpart: struct dentry and fs/dcache.c, v6.1; `get` and `put` are dget and dput.
No lookup without references (RCU walk), no negative dentries, no LRU.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mm.state.errno import Errno
from owners.slab.cache import SlabCache, Slabs
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Verdict

__all__ = ["Dentries"]

_DENTRY_NR_BYTES = 192
_NAME_NR_BYTES = 40
_LOCK_MAGIC = 0xDEAD4EAD
_DENTRY = struct.Struct(f"<IIQQB{_NAME_NR_BYTES}s")
_USERS_AT, _PARENT_AT = 4, 8


class _Dentry(NamedTuple):
    lock: int
    """Set by the constructor, and there from then on, allocated or not."""
    nr_users: int
    parent: int
    """Address; 0 for the root of a file system."""
    sb: int
    name_length: int
    name_field: bytes

    @property
    def name(self) -> str:
        return self.name_field[: self.name_length].decode()


def _constructed() -> bytes:
    return _LOCK_MAGIC.to_bytes(4, "little") + bytes(_DENTRY_NR_BYTES - 4)


class Dentries:
    """Trees of names, one per mounted file system, in objects of one cache.

    Attributes:
        cache: where the dentries are.

    Invariants, run by `check`:
        DE1 a dentry's bytes name the parent, the file system and the name under which it is
            found, and its lock is as constructed.
        DE2 every live object of the cache is found by its name.
    """

    def __init__(self, slabs: Slabs, *, name: str = "dentry") -> None:
        """Nothing mounted; makes a cache of this name.

        Args:
            slabs: where the cache of dentries is made.
            name: of that cache.
        """
        self._memory = slabs.memory
        self._roots: dict[int, int] = {}
        self._children: dict[int, dict[str, int]] = {}  # the table: parent -> name -> dentry
        self._next_sb = 1
        self.cache: SlabCache = slabs.create(name, _DENTRY_NR_BYTES, ctor=_constructed, ops=self)

    def mount(self) -> int:
        """A file system with a root and nothing else; its number, or ENOMEM."""
        address = self.cache.alloc()
        if address < 0:
            return Errno.ENOMEM
        with self._memory.lock:
            sb, self._next_sb = self._next_sb, self._next_sb + 1
            self._fill(address, parent=0, sb=sb, name="/")
            self._roots[sb] = address
            return sb

    def create(self, sb: int, path: str) -> Errno:
        """Add one name below a parent that is there; ENOENT, EEXIST, ENOMEM.

        Args:
            sb: the file system.
            path: from its root.

        Raises:
            PinpageError: an empty name, one of more than 40 bytes, or no such file system.
        """
        self._require_mounted(sb)
        above, _, name = path.rpartition("/")
        if not 1 <= len(name.encode()) <= _NAME_NR_BYTES:
            raise PinpageError(f"dentry: name {name!r}: give 1 to {_NAME_NR_BYTES} bytes")
        address = self.cache.alloc()
        if address < 0:
            return Errno.ENOMEM
        with self._memory.lock:
            parent = self._find(sb, above)
            if not parent or name in self._children[parent]:
                self.cache.free(address)
                return Errno.EEXIST if parent else Errno.ENOENT
            self._fill(address, parent=parent, sb=sb, name=name)
            self._children[parent][name] = address
            return Errno.OK

    def get(self, sb: int, path: str) -> int:
        """The dentry's address, good until `put`; ENOENT, EAGAIN while its page is under move.

        Args:
            sb: the file system.
            path: from its root.

        Raises:
            PinpageError: no such file system.
        """
        self._require_mounted(sb)
        with self._memory.lock:
            address = self._find(sb, path)
            if not address:
                return Errno.ENOENT
            if self._memory.is_quiet(address):
                return Errno.EAGAIN
            self._set_users(address, self._read(address).nr_users + 1)
            return address

    def put(self, address: int) -> None:
        """One user less.

        Raises:
            PinpageError: it is not held.
        """
        with self._memory.lock:
            nr_users = self._read(address).nr_users
            if not nr_users:
                raise PinpageError(f"dentry: put of {address:#x}, which is not held")
            self._set_users(address, nr_users - 1)

    def name_of(self, address: int) -> str:
        """The name of a dentry that the caller holds."""
        with self._memory.lock:
            return self._read(address).name

    def unlink(self, sb: int, path: str) -> Errno:
        """Drop one; EBUSY with users or children, EAGAIN under move, ENOENT.

        Args:
            sb: the file system.
            path: from its root.

        Raises:
            PinpageError: no such file system.
        """
        self._require_mounted(sb)
        with self._memory.lock:
            address = self._find(sb, path)
            if not address or address == self._roots[sb]:
                return Errno.EBUSY if address else Errno.ENOENT
            if self._memory.is_quiet(address):
                return Errno.EAGAIN
            dentry = self._read(address)
            if dentry.nr_users or self._children[address]:
                return Errno.EBUSY
            del self._children[dentry.parent][dentry.name], self._children[address]
            self.cache.free(address)
            return Errno.OK

    def umount(self, sb: int) -> Errno:
        """Drop a file system; EBUSY while a dentry of it is held.  Also under move.

        A page that a mover has is not read: it could be isolated only because none is held
        any dentry on it.

        Raises:
            PinpageError: no such file system.
        """
        self._require_mounted(sb)
        with self._memory.lock:
            addresses = self._below(self._roots[sb])
            resting = [one for one in addresses if not self._memory.is_quiet(one)]
            if any(self._read(address).nr_users for address in resting):
                return Errno.EBUSY
            for address in addresses:
                del self._children[address]
                self.cache.free(address)
            del self._roots[sb]
            return Errno.OK

    def _require_mounted(self, sb: int) -> None:
        if sb not in self._roots:
            raise PinpageError(f"dentry: no file system {sb} is mounted")

    # Under the lock.

    def _read(self, address: int) -> _Dentry:
        return _Dentry(*_DENTRY.unpack(self._memory.load(address, _DENTRY.size)))

    def _set_users(self, address: int, nr_users: int) -> None:
        self._memory.store(address + _USERS_AT, nr_users.to_bytes(4, "little"))

    def _set_parent(self, address: int, parent: int) -> None:
        self._memory.store(address + _PARENT_AT, parent.to_bytes(8, "little"))

    def _fill(self, address: int, *, parent: int, sb: int, name: str) -> None:
        lock = self._read(address).lock
        require(lock == _LOCK_MAGIC, "DE a dentry is not as constructed", address=address)
        raw = name.encode()
        self._memory.store(address, _DENTRY.pack(lock, 0, parent, sb, len(raw), raw))
        self._children[address] = {}

    def _find(self, sb: int, path: str) -> int:
        """By the table alone, which lies in no slab; 0 if there is none."""
        address = self._roots.get(sb, 0)
        for name in filter(None, path.split("/")):
            address = self._children.get(address, {}).get(name, 0)
        return address

    def _below(self, address: int) -> list[int]:
        found = [address]
        for child in found:  # grows while we walk it
            found += self._children[child].values()
        return found

    # owners.slab.slabs.ObjectOps

    def isolate(self, objects: Sequence[int], mode: Mode) -> Verdict:
        """Busy with a user on any of them; Again where one is only being set up.

        Args:
            objects: addresses of live objects of one slab.
            mode: how long the mover would wait.
        """
        if any(address not in self._children for address in objects):
            return Verdict.AGAIN
        held = any(self._read(address).nr_users for address in objects)
        return Verdict.BUSY if held else Verdict.YES

    def migrate(self, moved: Mapping[int, int]) -> None:
        """The table first, then the parent pointers of the children, moved or not."""
        for old, new in moved.items():
            self._children[new] = self._children.pop(old)
        for new in moved.values():
            dentry = self._read(new)
            parent = moved.get(dentry.parent, dentry.parent)
            if parent:
                self._children[parent][dentry.name] = new
            else:
                self._roots[dentry.sb] = new
            for child in self._children[new].values():
                self._set_parent(moved.get(child, child), new)

    def check(self) -> None:
        """Run DE1 and DE2; not while a page of the cache is under move.

        Raises:
            InvariantError: one does not hold.
        """
        with self._memory.lock:
            known = [one for root in self._roots.values() for one in self._below(root)]
            require(
                sorted(known) == sorted(self.cache.objects()) == sorted(self._children),
                "DE2 dentries leaked or are lost",
            )
            for sb, root in self._roots.items():
                self._check_one(root, 0, sb, "/")
                for parent in self._below(root):
                    for name, child in self._children[parent].items():
                        self._check_one(child, parent, sb, name)

    def _check_one(self, address: int, parent: int, sb: int, name: str) -> None:
        dentry = self._read(address)
        says = (dentry.lock, dentry.parent, dentry.sb, dentry.name)
        require(says == (_LOCK_MAGIC, parent, sb, name), "DE1 a dentry says otherwise", says=says)
