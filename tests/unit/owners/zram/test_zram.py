"""A zram device: pages in and out, limits, writeback, statistics, moves under it."""

import io
import random
import tarfile

import numpy as np
import pytest

from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from owners.compress import compressor
from owners.zram.backing import BackingBlocks, BytesBacking, FileBacking
from owners.zram.disk import ZramDisk
from owners.zram.stat import ZramBdStat
from owners.zram.swap import ZramSwap
from owners.zram.table import SlotFlag
from owners.zram.zram import Zram
from owners.zsmalloc.classes import huge_class_nr_bytes
from pinpage.errors import InvariantError, PinpageError
from pinpage.migrate import move_many, move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import small_machine
from tests.kit.owners.pool_world import Spare, noise

PAGE = 4096


def page(number, nr_noise=1500):
    """A page of `nr_noise` bytes that do not compress, and zeros."""
    return noise(number, nr_noise) + bytes(PAGE - nr_noise)


NOISE = [noise(1000 + n, PAGE) for n in range(8)]


class Device:
    """A machine, and a device on it."""

    def __init__(self, nr_blocks=4, nr_pages=64, name="zlib", **kwargs):
        self.machine = small_machine(nr_blocks, arena=True)
        self.registry = self.machine.use_registry()
        self.zram = Zram(self.machine, compressor(name), nr_pages, registry=self.registry, **kwargs)

    def move_all(self):
        """Move every page of the pool, half of them at a time; one `Reason` each."""
        zspages = self.zram.pool.zspages
        reasons = []
        for page_ids in np.array_split(zspages.all_page_ids(), 2):
            targets = Spare(self.machine)
            pfns = zspages.pfns_of(page_ids)
            report = move_many(self.registry, self.machine.mover, pfns, targets, Mode.SYNC)
            reasons += [Reason(int(reason)) for reason in report.reasons]
        return reasons

    def check(self):
        self.zram.check()
        self.machine.check()
        assert len(self.registry) == self.zram.pool.pages_nr


# The block device.


@pytest.mark.parametrize("name", ["zlib", "lz4", "zstd"])
def test_every_kind_of_page_comes_back_under_every_compressor(name):
    device = Device(name=name, nr_blocks=8)
    words = (b"\xab" * PAGE, b"wordword" * 512, bytes(PAGE), b"longerthanone123" * 256)
    pages = [*words, page(1, 10), page(2), page(3, 3000), page(4, 3250), *NOISE[:2]]
    for slot, data in enumerate(pages):
        assert device.zram.write_page(slot, data) is Errno.OK
    device.check()
    assert device.move_all().count(Reason.MOVED) == device.zram.pool.pages_nr > 0
    assert [device.zram.read_page(slot) for slot in range(len(pages))] == pages
    device.check()


def test_what_was_never_written_or_was_discarded_reads_as_zeros():
    device = Device()
    device.zram.write_page(3, page(1))
    device.zram.write_page(4, b"\x01" * PAGE)
    device.zram.discard(2, 3)
    assert [device.zram.read_page(slot) for slot in (0, 3, 4)] == [bytes(PAGE)] * 3
    assert [device.zram.is_stored(slot) for slot in (0, 3, 4, -1, 64)] == [False] * 5
    assert device.zram.io_stat().notify_free == 2
    assert device.zram.pool.pages_nr == 0
    device.check()


def test_a_page_of_one_word_takes_no_memory():
    device = Device()
    device.zram.write_page(0, b"ABCDEFGH" * 512)
    stat = device.zram.mm_stat()
    assert (stat.same_pages, stat.orig_data_size, stat.mem_used_total) == (1, PAGE, 0)
    device.zram.write_page(0, b"ABCDEFGH" * 511 + b"ABCDEFGI")
    stat = device.zram.mm_stat()
    assert (stat.same_pages, stat.orig_data_size, stat.mem_used_total) == (0, PAGE, PAGE)
    device.check()


def test_a_page_that_saves_nothing_is_kept_as_it_is():
    device = Device()
    device.zram.write_page(0, NOISE[0])
    device.zram.write_page(1, NOISE[1])
    assert device.zram.mm_stat().compr_data_size == 2 * PAGE
    assert device.zram.mm_stat().huge_pages == 2
    device.zram.write_page(0, page(1))
    stat = device.zram.mm_stat()
    assert (stat.huge_pages, stat.huge_pages_since) == (1, 2)
    device.check()


def test_where_incompressible_begins():
    device = Device()
    limit = huge_class_nr_bytes()
    for nr_bytes, huge in ((limit - 1, 0), (limit, 1)):
        device.zram.compressor = type(device.zram.compressor)(
            "fixed", lambda _page, n=nr_bytes: bytes(n), lambda _data: NOISE[0]
        )
        device.zram.write_page(0, NOISE[0])
        assert device.zram.mm_stat().huge_pages == huge
        assert device.zram.read_page(0) == NOISE[0]


@pytest.mark.parametrize("use", ["read_page", "discard", "write_page"])
@pytest.mark.parametrize("slot", [-1, 64])
def test_beyond_the_disk_is_a_mistake(use, slot):
    device = Device()
    with pytest.raises(PinpageError, match="disk of 64"):
        getattr(device.zram, use)(slot, *([bytes(PAGE)] if use == "write_page" else []))
    assert device.zram.io_stat().invalid_io == 1


def test_mistakes_are_named():
    device = Device()
    with pytest.raises(PinpageError, match="a page has 4096"):
        device.zram.write_page(0, b"short")
    with pytest.raises(PinpageError, match="at least one page"):
        Device(nr_pages=0)
    with pytest.raises(PinpageError, match="mem_limit=-1"):
        Device(mem_limit=-1)
    with pytest.raises(PinpageError, match="needs a store"):
        device.zram.writeback("huge")


# Limits.


def test_a_write_beyond_the_limit_fails_and_keeps_what_was_there():
    device = Device(mem_limit=2 * PAGE)
    zram = device.zram
    assert [zram.write_page(slot, NOISE[slot]) for slot in range(3)] == [0, 0, Errno.ENOMEM]
    assert zram.write_page(1, NOISE[5]) == Errno.ENOMEM
    assert [zram.read_page(slot) for slot in range(3)] == [*NOISE[:2], bytes(PAGE)]
    stat = zram.mm_stat()
    assert (stat.mem_limit, stat.mem_used_total, stat.mem_used_max) == (8192, 8192, 3 * PAGE)
    assert zram.io_stat().failed_writes == 2
    assert zram.write_page(1, b"\x05" * PAGE) is Errno.OK, "a word needs no memory"
    zram.mem_limit = 5000
    assert zram.mem_limit == 8192
    assert zram.write_page(2, NOISE[2]) is Errno.OK
    zram.mem_used_max_reset()
    assert zram.mm_stat().mem_used_max == 2 * PAGE
    device.check()


def test_without_memory_a_write_fails_and_keeps_what_was_there():
    device = Device(nr_blocks=1)
    written = 0
    while device.zram.write_page(written, noise(written, PAGE)) is Errno.OK:
        written += 1
    assert written == 8
    assert device.zram.write_page(3, NOISE[0]) == Errno.ENOMEM
    assert device.zram.read_page(3) == noise(3, PAGE)
    device.check()


# Compaction and moves.


def test_compacting_the_pool_is_counted():
    device = Device(nr_pages=256, nr_blocks=16)
    for slot in range(200):
        device.zram.write_page(slot, page(slot, 400))
    for slot in range(200):
        if slot % 5:
            device.zram.discard(slot)
    freed = device.zram.compact()
    assert device.zram.mm_stat().pages_compacted == freed > 0
    assert all(device.zram.read_page(s) == page(s, 400) for s in range(0, 200, 5))
    device.check()


def test_a_page_is_found_again_after_memory_was_compacted():
    device = Device(nr_pages=256, nr_blocks=16)
    for slot in range(100):
        device.zram.write_page(slot, noise(slot, PAGE))
    for slot in range(100):
        if slot % 3:
            device.zram.discard(slot)
    assert device.machine.compact("plan").report.pages_moved > 0
    assert all(device.zram.read_page(s) == noise(s, PAGE) for s in range(0, 100, 3))
    device.check()


# Writeback.


class SpyBacking(BytesBacking):
    """Lets the test act while a block is written or read."""

    def __init__(self, nr_blocks):
        super().__init__(bytearray(nr_blocks * PAGE))
        self.on_write = self.on_read = lambda: None

    def read(self, block):
        data = super().read(block)
        self.on_read()
        return data

    def write(self, block, data):
        self.on_write()
        super().write(block, data)


def test_incompressible_pages_go_to_a_real_file_and_come_back(tmp_path):
    path = tmp_path / "backing"
    path.write_bytes(bytes(10 * PAGE))
    with FileBacking(path) as backing:
        device = Device(backing=backing)
        for slot in range(4):
            device.zram.write_page(slot, NOISE[slot])
            device.zram.write_page(slot + 10, page(slot))
        before = device.zram.pool.pages_nr
        assert device.zram.writeback("huge") == 4
        assert device.zram.pool.pages_nr == before - 4
        assert device.zram.bd_stat() == ZramBdStat(bd_count=4, bd_reads=0, bd_writes=4)
        assert path.read_bytes()[PAGE : 2 * PAGE] == NOISE[0]
        assert [device.zram.read_page(slot) for slot in range(4)] == NOISE[:4]
        assert [device.zram.read_page(slot + 10) for slot in range(4)] == [*map(page, range(4))]
        stat = device.zram.mm_stat()
        assert (stat.huge_pages, stat.huge_pages_since, stat.orig_data_size) == (0, 4, 8 * PAGE)
        device.check()
        device.zram.write_page(0, page(9))
        device.zram.discard(1)
        assert device.zram.bd_stat() == ZramBdStat(bd_count=2, bd_reads=4, bd_writes=4)
        device.check()


def test_idle_pages_are_those_that_nobody_used():
    device = Device(backing=BytesBacking(bytearray(20 * PAGE)))
    zram = device.zram
    for slot in range(6):
        zram.write_page(slot, page(slot) if slot % 2 else NOISE[slot])
    zram.write_page(6, b"\x01" * PAGE)
    assert zram.mark_idle() == 7
    zram.read_page(0)
    zram.write_page(1, page(11))
    assert zram.writeback("huge_idle") == 2
    assert zram.writeback("idle", limit=1) == 1
    assert zram.writeback("idle") == 1
    assert zram.writeback("idle") == 0
    assert zram.bd_stat().bd_count == 4
    assert zram.read_page(1) == page(11)
    assert zram.read_page(3) == page(3)
    assert zram.read_page(6) == b"\x01" * PAGE
    device.check()


def test_a_full_store_is_said():
    device = Device(backing=BytesBacking(bytearray(3 * PAGE)))
    for slot in range(4):
        device.zram.write_page(slot, NOISE[slot])
    assert device.zram.writeback("huge") == Errno.ENOSPC
    assert device.zram.bd_stat().bd_count == 2
    assert [device.zram.read_page(slot) for slot in range(4)] == NOISE[:4]
    device.check()
    with pytest.raises(PinpageError, match="huge_idle"):
        device.zram.writeback("cold")


@pytest.mark.parametrize("change", ["write", "discard", "same", "use", "writeback"])
def test_a_page_that_changes_while_it_is_written_back_stays(change):
    backing = SpyBacking(8)
    device = Device(backing=backing)
    zram = device.zram
    zram.write_page(0, NOISE[0])
    zram.mark_idle()

    def meddle():
        backing.on_write = lambda: None
        match change:
            case "write":
                zram.write_page(0, NOISE[1])
                zram.mark_idle()
            case "discard":
                zram.discard(0)
            case "same":
                zram.write_page(0, b"\x02" * PAGE)
            case "use":
                zram.read_page(0)
            case "writeback":
                assert zram.writeback("idle") == 1

    backing.on_write = meddle
    assert zram.writeback("idle") == 0
    expected = {"write": NOISE[1], "discard": bytes(PAGE), "same": b"\x02" * PAGE}
    assert zram.read_page(0) == expected.get(change, NOISE[0])
    assert zram.bd_stat().bd_count == (change == "writeback")
    device.check()


def test_a_block_that_changes_hands_while_it_is_read_is_read_again():
    backing = SpyBacking(8)
    device = Device(backing=backing)
    zram = device.zram
    zram.write_page(0, NOISE[0])
    zram.writeback("huge")

    def meddle():
        backing.on_read = lambda: None
        zram.write_page(0, NOISE[1])
        zram.write_page(1, NOISE[2])
        zram.writeback("huge", limit=1)

    backing.on_read = meddle
    assert zram.read_page(0) == NOISE[1]
    device.check()


def test_an_object_that_goes_while_it_is_read_is_read_again():
    device = Device()
    zram = device.zram
    zram.write_page(0, NOISE[0])
    read = zram.pool.read

    def slow(handle, nr_bytes, offset=0):
        zram.pool.read = read
        zram.write_page(0, NOISE[1])
        return read(handle, nr_bytes, offset)

    zram.pool.read = slow
    assert zram.read_page(0) == NOISE[1]
    assert zram.io_stat().failed_reads == 0


def test_a_store_that_fails_loses_nothing():
    backing = SpyBacking(8)
    device = Device(backing=backing)
    zram = device.zram
    zram.write_page(0, NOISE[0])

    def fail():
        raise OSError("gone")

    backing.on_write = fail
    with pytest.raises(OSError, match="gone"):
        zram.writeback("huge")
    assert zram.read_page(0) == NOISE[0]
    assert zram.bd_stat().bd_count == 0
    backing.on_write = lambda: None
    zram.writeback("huge")
    backing.on_read = fail
    with pytest.raises(OSError, match="gone"):
        zram.read_page(0)
    assert zram.io_stat().failed_reads == 1
    device.check()


def test_a_backing_store_needs_room(tmp_path):
    with pytest.raises(PinpageError, match="two pages"):
        BytesBacking(bytearray(PAGE))
    path = tmp_path / "small"
    path.write_bytes(bytes(100))
    with pytest.raises(PinpageError, match="two pages"):
        FileBacking(path)


def test_a_file_that_shrinks_is_noticed(tmp_path):
    path = tmp_path / "backing"
    path.write_bytes(bytes(4 * PAGE))
    with FileBacking(path) as backing:
        path.write_bytes(bytes(PAGE + 7))
        with pytest.raises(OSError, match="7 bytes left"):
            backing.read(1)
    backing.close()


def test_block_zero_is_never_given_out():
    blocks = BackingBlocks(3)
    assert [blocks.alloc() for _ in range(3)] == [1, 2, -1]
    blocks.free(1)
    assert (blocks.in_use(), blocks.nr_used, blocks.alloc()) == ([2], 1, 1)
    with pytest.raises(InvariantError, match="ZR4"):
        blocks.free(0)


# Users: a disk, and swap.


def test_a_disk_holds_real_files_while_memory_is_compacted():
    device = Device(nr_pages=256, nr_blocks=32)
    rng = random.Random(3)
    files = {f"file{n}": rng.randbytes(9000) + b"text " * 3000 for n in range(8)}
    disk = io.BufferedRandom(ZramDisk(device.zram))
    with disk, tarfile.open(fileobj=disk, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    assert device.move_all().count(Reason.MOVED) > 20
    device.zram.compact()
    device.machine.compact("plan")
    with tarfile.open(fileobj=ZramDisk(device.zram)) as archive:
        assert {m.name: archive.extractfile(m).read() for m in archive} == files
    device.check()


def test_bytes_of_a_disk_are_those_of_a_file():
    device = Device(nr_pages=4)
    disk, model = ZramDisk(device.zram), bytearray(4 * PAGE)
    rng = random.Random(5)
    for _ in range(60):
        at, nr_bytes = rng.randrange(4 * PAGE), rng.randrange(6000)
        data = rng.randbytes(nr_bytes)
        room = min(nr_bytes, len(model) - at)
        disk.seek(at)
        assert disk.write(data) == room
        model[at : at + room] = data[:room]
        assert disk.tell() == at + room
        start = rng.randrange(4 * PAGE)
        assert disk.pread(start, 5000) == bytes(model[start : start + 5000])
    disk.seek(-10, io.SEEK_END)
    assert disk.read() == bytes(model[-10:])
    assert disk.read() == b""
    disk.seek(0)
    assert disk.seek(7, io.SEEK_CUR) == 7
    with pytest.raises(OSError, match="no space"):
        disk.pwrite(4 * PAGE, b"x")
    for use in (lambda: disk.seek(-1), lambda: disk.pread(-1, 1), lambda: disk.pwrite(-1, b"")):
        with pytest.raises(PinpageError, match="0 or more"):
            use()
    device.check()


def test_a_disk_that_runs_out_of_memory_says_how_much_it_wrote():
    device = Device(mem_limit=PAGE)
    disk = ZramDisk(device.zram)
    assert disk.pwrite(0, NOISE[0] + NOISE[1]) == PAGE
    with pytest.raises(OSError, match="no space"):
        disk.pwrite(PAGE, NOISE[1])
    assert disk.pread(0, 2 * PAGE) == NOISE[0] + bytes(PAGE)


def swapping(nr_pages=64, **kwargs):
    """A machine that swaps to zram, and a process of eight pages; machine, device, space."""
    device = Device(nr_blocks=8, nr_pages=nr_pages, **kwargs)
    area = device.machine.swap.swapon(64, ZramSwap(device.zram, 0))
    space = device.machine.memory.mmap("a", 8)
    for vpn in range(8):
        device.machine.memory.write(space, vpn, swapped(vpn))
    return device, area, space


def swapped(vpn):
    return NOISE[vpn] if vpn % 4 == 3 else page(vpn)


def swap_out(machine):
    """Push out whatever can go."""
    machine.frames.clear_flag(np.arange(machine.frames.nr_frames), PageFlag.REFERENCED)
    for _ in range(4):
        shrink_active(machine.paging, 16)
        shrink_inactive(machine.paging, 16)


def test_what_a_process_swapped_out_comes_back_from_zram_wherever_it_went():
    device, area, space = swapping()
    for _ in range(3):
        swap_out(device.machine)
        assert area.frontswap_map.sum() == 8
        assert device.zram.mm_stat().orig_data_size == 8 * PAGE
        device.machine.compact("plan")
        device.move_all()
        assert [device.machine.memory.read(space, vpn) for vpn in range(8)] == [
            swapped(vpn) for vpn in range(8)
        ]
    device.machine.memory.exit(space)
    assert device.zram.pool.pages_nr == 0
    device.check()


def test_what_zram_has_no_room_for_goes_to_the_next_device():
    device, area, space = swapping(mem_limit=2 * PAGE)
    swap_out(device.machine)
    assert len(area.disk) > 0
    assert area.frontswap_map.sum() + len(area.disk) == 8
    assert [device.machine.memory.read(space, vpn) for vpn in range(8)] == [
        swapped(vpn) for vpn in range(8)
    ]
    device.check()


def test_a_slot_beyond_the_device_is_refused_and_another_area_is_a_mistake():
    device = Device(nr_pages=4)
    swap = ZramSwap(device.zram, 1)
    assert not swap.store(1, 4, page(1))
    assert swap.store(1, 3, page(1))
    assert swap.load(1, 3) == page(1)
    assert swap.load(1, 2) is None
    swap.invalidate_page(1, 99)
    with pytest.raises(PinpageError, match="serves area 1, not 0"):
        swap.load(0, 3)
    swap.invalidate_area(1)
    assert swap.load(1, 3) is None
    device.check()


def test_a_swap_store_never_reclaims():
    asked = []
    device = Device()
    device.zram.pool.alloc = lambda nr_bytes, gfp: asked.append(gfp) or Errno.ENOMEM
    assert not ZramSwap(device.zram, 0).store(0, 1, page(1))
    assert device.zram.write_page(1, page(1)) == Errno.ENOMEM
    assert [bool(gfp & Gfp.DIRECT_RECLAIM) for gfp in asked] == [False, False, True]


# A page under move.


@pytest.mark.parametrize("step", [Step.ISOLATE, Step.COPY, Step.MIGRATE])
def test_pages_can_be_discarded_while_they_move(step):
    device = Device()
    for slot in range(4):
        device.zram.write_page(slot, NOISE[slot])
    zspages, machine = device.zram.pool.zspages, device.machine

    steps = move_steps(
        device.registry,
        machine.mover,
        zspages.pfns_of(zspages.all_page_ids()),
        Spare(machine),
        Mode.SYNC,
    )
    for reached in steps:
        if reached is step:
            device.zram.discard(0, 2)
    assert device.zram.pool.pages_nr == 2
    assert [device.zram.read_page(slot) for slot in (2, 3)] == NOISE[2:4]
    device.check()


# Invariants: each is seen to fail.


def corrupt_zr1(zram):
    zram._table.flags[0] |= SlotFlag.SAME


def corrupt_zr1_length(zram):
    zram._table.nr_bytes[0] = 0


def corrupt_zr1_flags(zram):
    zram._table.flags[9] = SlotFlag.IDLE


def corrupt_zr1_huge(zram):
    zram._table.flags[2] |= SlotFlag.HUGE


def corrupt_zr2(zram):
    zram._table.handle[0] = zram._table.handle[1]


def corrupt_zr2_lost(zram):
    zram.pool.alloc(10)


def corrupt_zr2_gone(zram):
    zram.pool.free(int(zram._table.handle[0]))
    zram.pool.alloc(1500)


def corrupt_zr3(zram):
    zram.counters.compr_data_size += 1


def corrupt_zr4(zram):
    zram._blocks.alloc()


@pytest.mark.parametrize(
    "corrupt",
    [value for name, value in sorted(globals().items()) if name.startswith("corrupt_")],
    ids=lambda corrupt: corrupt.__name__,
)
def test_check_names_what_is_broken(corrupt):
    device = Device(backing=BytesBacking(bytearray(8 * PAGE)))
    for slot in range(2):
        device.zram.write_page(slot, page(slot))
    device.zram.write_page(2, NOISE[2])
    device.zram.writeback("huge")
    device.zram.check()
    corrupt(device.zram)
    with pytest.raises(InvariantError, match=corrupt.__name__.split("_")[1].upper()):
        device.zram.check()
