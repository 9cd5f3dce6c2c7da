"""Names whose dentries move unless somebody holds one."""

import pytest

from mm.state.errno import Errno
from owners.slab.cache import Slabs
from owners.slab.dentry import Dentries
from owners.slab.xarray import XArrays
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason, Verdict
from tests.kit.owners.driver_world import DriverWorld

PATHS = [f"/d{n}" for n in range(5)] + [f"/d{n}/f{m}" for n in range(5) for m in range(8)]


class Files(DriverWorld):
    def __init__(self, nr_pages=64):
        super().__init__(nr_pages)
        self.slabs = Slabs(self.machine, registry=self.registry)
        self.dentries = Dentries(self.slabs)
        self.sb = self.dentries.mount()

    def populate(self, sb=None):
        for path in PATHS:
            assert self.dentries.create(sb or self.sb, path) == Errno.OK

    def read_all(self, sb=None):
        for path in PATHS:
            held = self.dentries.get(sb or self.sb, path)
            assert self.dentries.name_of(held) == path.rpartition("/")[2]
            self.dentries.put(held)

    def check_all(self):
        self.slabs.check()
        self.dentries.check()
        self.check()


@pytest.fixture
def files():
    return Files()


def test_names_are_found_and_dropped(files):
    files.populate()
    files.read_all()
    d = files.dentries
    assert d.get(files.sb, "/d1/nothing") == Errno.ENOENT
    assert d.create(files.sb, "/d1/f1") == Errno.EEXIST
    assert d.create(files.sb, "/nowhere/f1") == Errno.ENOENT
    assert d.unlink(files.sb, "/d1") == Errno.EBUSY
    assert d.unlink(files.sb, "/") == Errno.EBUSY
    assert d.unlink(files.sb, "/d9") == Errno.ENOENT
    assert d.unlink(files.sb, "/d1/f1") == Errno.OK
    assert d.get(files.sb, "/d1/f1") == Errno.ENOENT
    files.check_all()
    assert d.umount(files.sb) == Errno.OK
    assert files.nr_free == 64


def test_users_count(files):
    d = files.dentries
    files.populate()
    one, two = d.get(files.sb, "/d1"), d.get(files.sb, "d1")
    assert one == two
    assert d.umount(files.sb) == Errno.EBUSY
    d.put(one)
    assert d.unlink(files.sb, "/d1/f2") == Errno.OK
    d.put(two)
    with pytest.raises(PinpageError, match="is not held"):
        d.put(two)
    for name in ("", "x" * 41):
        with pytest.raises(PinpageError, match="40 bytes"):
            d.create(files.sb, "/" + name)
    files.check_all()


def test_parents_and_children_move_together_and_alone(files):
    files.populate()
    pages = files.pinned()
    assert len(pages) == 3
    assert files.move(*pages) == [Reason.MOVED] * 3
    files.check_all()
    for page in files.pinned():
        assert files.move(page) == [Reason.MOVED]
        files.check_all()
    files.read_all()


def test_a_child_that_lies_before_its_parent_moves_with_it(files):
    d = files.dentries
    for path in ("/a", "/b"):
        d.create(files.sb, path)
    d.unlink(files.sb, "/a")
    d.create(files.sb, "/b/c")
    assert d._find(files.sb, "/b/c") < d._find(files.sb, "/b")
    assert files.move(*files.pinned()) == [Reason.MOVED]
    files.check_all()


def test_a_held_dentry_holds_its_page_and_no_other(files):
    files.populate()
    held = files.dentries.get(files.sb, "/d0")
    assert files.move(*files.pinned()) == [Reason.OWNER_BUSY, Reason.MOVED, Reason.MOVED]
    assert files.dentries.name_of(held) == "d0"
    assert files.release(files.pinned()[0]) == [Reason.OWNER_BUSY]
    files.dentries.put(held)
    assert files.move(files.pinned()[0]) == [Reason.MOVED]
    files.check_all()


def test_nobody_gets_a_dentry_under_move(files):
    files.populate()
    pin = files.registry.pins(files.pinned()[0])[0]
    assert files.dentries.cache.isolate(pin, Mode.SYNC) is Verdict.YES
    assert files.dentries.get(files.sb, "/d0") == Errno.EAGAIN
    assert files.dentries.unlink(files.sb, "/d0/f0") == Errno.EAGAIN
    assert files.dentries.create(files.sb, "/d0/new") == Errno.OK
    files.dentries.cache.putback(pin)
    files.check_all()


def test_unmounting_under_the_mover_is_a_success_for_it(files):
    """The objection of 2019, with two file systems in the same pages."""
    other = files.dentries.mount()
    files.populate()
    files.populate(other)
    mover = files.steps(*files.pinned())
    while next(mover).name != "COPY":
        pass
    assert files.dentries.umount(files.sb) == Errno.OK
    for _ in mover:
        pass
    assert set(files.reasons["mover"]) <= {Reason.MOVED, Reason.FREED}
    assert Reason.FREED in files.reasons["mover"]
    files.read_all(other)
    files.check_all()
    assert files.dentries.umount(other) == Errno.OK
    assert files.nr_free == 64


def test_a_sparse_page_is_emptied_into_the_others(files):
    files.populate()
    for path in PATHS[::-1]:
        if not path.endswith(("f0", "f1", *"01234")) or path.endswith(("f2", "f3", "f4")):
            assert files.dentries.unlink(files.sb, path) == Errno.OK
    assert files.dentries.cache.nr_slabs == 2
    assert files.dentries.cache.shrink() == 1
    assert files.dentries.get(files.sb, "/d4/f1") > 0
    files.check_all()


def test_a_dentry_that_is_being_set_up_keeps_its_page(files):
    address = files.dentries.cache.alloc()
    assert files.move(*files.pinned()) == [Reason.OWNER_AGAIN]
    files.dentries.cache.free(address)
    assert files.move(*files.pinned()) == [Reason.MOVED]
    files.check_all()


def test_two_caches_move_in_one_batch(files):
    files.populate()
    xa = XArrays(files.slabs)
    for index in range(0, 64 * 20, 64):
        xa.store(1, index, index)
    assert set(files.move(*files.pinned())) == {Reason.MOVED}
    files.read_all()
    assert list(xa.items(1)) == [(index, index) for index in range(0, 64 * 20, 64)]
    xa.check()
    files.check_all()


def test_mounting_without_memory(files):
    files.populate()
    while files.dentries.mount() != Errno.ENOMEM:
        pass
    assert files.dentries.create(files.sb, "/x") == Errno.ENOMEM
    files.check_all()


def test_invariants_notice_what_is_wrong(files):
    files.populate()
    address = files.dentries._find(files.sb, "/d3/f3")
    memory = files.slabs.memory
    for at in (0, 8, 16, 25):
        old = memory.load(address + at, 1)
        memory.store(address + at, bytes([old[0] ^ 1]))
        with pytest.raises(InvariantError, match="DE1"):
            files.dentries.check()
        memory.store(address + at, old)
    lost = files.dentries.cache.alloc()
    with pytest.raises(InvariantError, match="DE2"):
        files.dentries.check()
    files.dentries.cache.free(lost)
    files.dentries.check()
