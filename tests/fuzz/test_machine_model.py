"""A whole machine against dicts of bytes: random programs of everybody who wants memory.

Processes that write, fork, swap and exit, files, a movable and a stuck holder of pins, raw
blocks, CMA, huge pages, memory blocks that come and go, power regions, compaction and reclaim,
on machines of odd shapes.  Every byte is where its holder left it; at the end everybody leaves,
and every frame is free again.
"""

import random

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.machine import Machine
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.swapfile import swapoff
from mm.state.contents import ArenaContents
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.nodes import Zone, place_frames, setup_lowmem_reserve, setup_watermarks
from mm.state.pageblock import Pageblocks
from pinpage.errors import PinpageError
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES, Span
from tests.fuzz.budget import rounds

pytestmark = pytest.mark.fuzz

NR_CALLS = 120
"""In one world; then comes the next."""
SIZE = PAGEBLOCK_NR_PAGES
ZERO = bytes(PAGE_SIZE)
STRATEGIES = ("scan", "plan")
HUGE = (Gfp.HIGHUSER_MOVABLE | Gfp.COMP | Gfp.NOWARN) & ~Gfp.KSWAPD_RECLAIM
KINDS = (
    Gfp.KERNEL, Gfp.ATOMIC, HUGE, Gfp.KERNEL | Gfp.RECLAIMABLE, Gfp.HIGHUSER, Gfp.DMA32,
    Gfp.KERNEL | Gfp.NORETRY,
)  # fmt: skip
SINGLE = (Gfp.KERNEL, Gfp.HIGHUSER_MOVABLE, Gfp.ATOMIC, Gfp.NOWAIT)
ODD = (FrameState.RESERVED, FrameState.HOLE, FrameState.UNKNOWN)


class Holder(PinOwner):
    """Pins single frames, each under a number, and knows what is in them."""

    def __init__(self, name, draw, *, moves):
        self.name, self.draw, self.moves = name, draw, moves
        self.at, self.holds, self.next = {}, {}, 0

    @property
    def can_migrate(self):
        return self.moves

    def isolate(self, pin, mode):
        likely = self.draw.random() < 0.9
        return Verdict.YES if likely else self.draw.choice([Verdict.AGAIN, Verdict.BUSY])

    def migrate(self, pin, target):
        self.at[pin.private] = target


def odd_machine(draw):
    """A machine with a tail, a hole, odd frames, several nodes or several kinds of zone."""
    shape, nr_blocks = draw.randrange(8), draw.choice([1, 2, 3, 4, 6, 8])
    nr_frames = SIZE * (1 if shape == 0 else nr_blocks) + (draw.randrange(1, SIZE) * (shape == 1))
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.FREE
    if shape == 2 and nr_blocks > 2:
        start = SIZE + draw.randrange(200)
        frames.state[start : start + draw.randrange(1, SIZE)] = FrameState.HOLE
    for _ in range(10 if shape == 3 else 0):
        frames.state[draw.randrange(nr_frames)] = draw.choice(ODD)
    zones = _zones(shape, nr_blocks, nr_frames)
    for zone in zones:
        rows = frames.state[zone.span.start : zone.span.stop]
        zone.managed_nr_pages = int(np.count_nonzero(rows == FrameState.FREE))
    marks = draw.choice([0, 1, 8, None, nr_frames // 2]) if draw.random() < 0.6 else None
    setup_watermarks(zones, min_nr_pages=marks)
    setup_lowmem_reserve(zones)
    place_frames(frames, zones)
    pageblocks = Pageblocks(nr_frames)
    if draw.random() < 0.4:
        for block in range(pageblocks.nr_blocks):
            pageblocks.migratetype[block] = draw.choice([0, 1, 1, 2])
    contents = ArenaContents(nr_frames)
    return Machine(frames, pageblocks, zones, contents, nr_cpus=draw.choice([1, 2, 4]))


def _zones(shape, nr_blocks, nr_frames):
    if shape == 4 and nr_blocks >= 4:
        borders = [0, SIZE, SIZE * (nr_blocks - 1), nr_frames]
        return [Zone(n, "Normal", n, Span(borders[n], borders[n + 1])) for n in range(3)]
    if shape == 5 and nr_blocks >= 3:
        borders, names = [0, SIZE, 2 * SIZE, nr_frames], ("DMA32", "Normal", "Movable")
        return [Zone(n, names[n], 0, Span(borders[n], borders[n + 1])) for n in range(3)]
    return [Zone(0, "Normal", 0, Span(0, nr_frames))]


class World:
    """A machine, everybody on it, and what each of them has written."""

    def __init__(self, draw):
        self.draw, self.machine = draw, odd_machine(draw)
        machine, self.nr_made = self.machine, 0
        if draw.random() < 0.3:
            machine.start_daemons()
        self.registry = None
        if draw.random() < 0.8:
            self.registry = machine.use_registry(batch_nr_pins=draw.choice([0, 7, 1023]))
        self.holders = [Holder("moves", draw, moves=True), Holder("stuck", draw, moves=False)]
        for holder in self.holders if self.registry is not None else ():
            self.registry.register(holder)
        machine.hotplug.blocks.nr_pages = SIZE
        self.nr_blocks = machine.pageblocks.nr_blocks
        self.processes, self.files = {}, {}  # name -> (space, {vpn: bytes})
        self.raw, self.device, self.huge = {}, {}, {}  # pfn -> (frames, bytes)
        machine.hugetlb.on_moved = self._huge_moved

    def _huge_moved(self, head, target):
        if head in self.huge:
            self.huge[target] = self.huge.pop(head)

    def name(self):
        self.nr_made += 1
        return f"n{self.nr_made}"

    def page(self):
        return self.draw.randbytes(8) * (PAGE_SIZE // 8)

    def fill(self, pfn, nr_pages):
        """Different from all others, the same in every frame of it."""
        data = self.page()
        for frame in range(pfn, pfn + nr_pages):
            self.machine.contents.write(frame, data)
        return nr_pages, data

    def some_process(self):
        return self.processes[self.draw.choice(list(self.processes))] if self.processes else None

    # Processes and files.

    def mmap(self):
        if len(self.processes) < 8:
            nr_pages, name = self.draw.choice([1, 64, 300, 900]), self.name()
            self.processes[name] = (self.machine.memory.mmap(name, nr_pages), {})

    def write(self):
        if (found := self.some_process()) is None:
            return
        space, holds = found
        for _ in range(self.draw.choice([1, 20, 120])):
            vpn, offset = self.draw.randrange(space.nr_vpns), self.draw.choice([0, 0, 0, 8, 4088])
            data = self.page()[: self.draw.choice([PAGE_SIZE - offset, 8])]
            if self.machine.memory.write(space, vpn, data, offset) is Errno.ENOMEM:
                return
            old = holds.get(vpn, ZERO)
            holds[vpn] = old[:offset] + data + old[offset + len(data) :]

    def read(self):
        if (found := self.some_process()) is not None:
            space, holds = found
            vpn = self.draw.randrange(space.nr_vpns)
            got = self.machine.memory.read(space, vpn)
            assert got in (None, holds.get(vpn, ZERO)), f"{space.name} reads strange bytes"

    def fork(self):
        if (found := self.some_process()) is not None and len(self.processes) < 8:
            space, holds = found
            name = self.name()
            child = self.machine.memory.fork(space, name)
            if child is not None:
                self.processes[name] = (child, dict(holds))

    def leave(self):
        if self.processes:
            space, _ = self.processes.pop(self.draw.choice(list(self.processes)))
            self.machine.memory.exit(space)

    def dontneed(self):
        if (found := self.some_process()) is not None:
            space, holds = found
            nr_pages = self.draw.randrange(1, min(40, space.nr_vpns) + 1)
            vpns = self.draw.sample(range(space.nr_vpns), nr_pages)
            self.machine.memory.dontneed(space, np.array(vpns))
            for vpn in vpns:
                holds.pop(vpn, None)

    def file(self):
        paging = self.machine.paging
        if len(self.files) < 3:
            name = self.name()
            self.files[name] = (shmem_create(paging, name, 100), {})
        space, holds = self.files[self.draw.choice(list(self.files))]
        for _ in range(10):
            vpn = self.draw.randrange(100)
            pfn = shmem_getpage(paging, space, vpn)
            if pfn >= 0:
                assert self.machine.contents.read(pfn) == holds.get(vpn, ZERO)
                holds[vpn] = self.fill(pfn, 1)[1]
                paging.set_bits(pfn, int(PageFlag.DIRTY.mask))

    # Those who have frames.

    def hold(self):
        if self.registry is None:
            return
        holder = self.draw.choice(self.holders)
        for _ in range(self.draw.choice([1, 10, 60])):
            if self.draw.random() < 0.6:
                pfn = self.machine.alloc_page(self.draw.choice(SINGLE))
                if pfn >= 0:
                    holder.next += 1
                    self.registry.pin(pfn, holder, holder.next)
                    holder.at[holder.next] = pfn
                    holder.holds[holder.next] = self.fill(pfn, 1)[1]
            elif holder.at:
                self._let_go(holder, self.draw.choice(list(holder.at)))

    def _let_go(self, holder, number):
        pfn = holder.at.pop(number)
        self.registry.unpin(pfn, holder, number)
        self.machine.put_page(pfn)

    def alloc(self):
        order = self.draw.choice([0, 1, 2, 3, 5, 9, 10])
        pfn = self.machine.alloc_pages(order, self.draw.choice(KINDS))
        if pfn >= 0:
            assert pfn % (1 << order) == 0
            self.raw[pfn] = self.fill(pfn, 1 << order)

    def free(self):
        if self.raw:
            pfn = self.draw.choice(list(self.raw))
            for frame in range(pfn, pfn + self.raw.pop(pfn)[0]):
                self.machine.free_page(frame)

    def cma(self):
        cma, draw = self.machine.cma, self.draw
        if not cma.areas:
            first = draw.randrange(2) * SIZE
            self.tried(lambda: cma.create(Span(first, first + SIZE * draw.choice([1, 2]))))
        if cma.areas:
            count, order = draw.choice([1, 7, 64, 512]), draw.choice([0, 0, 3, 9])
            got = cma.request(count, order, strategy=draw.choice(STRATEGIES))
            if got.pfn >= 0:
                self.device[got.pfn] = self.fill(got.pfn, count)

    def cma_release(self):
        if self.device:
            pfn = self.draw.choice(list(self.device))
            nr_pages, _ = self.device.pop(pfn)
            assert self.machine.cma.release(pfn, nr_pages)
            with pytest.raises(PinpageError):
                self.machine.cma.release(pfn, nr_pages)

    def huge_pool(self):
        pool = self.machine.hugetlb
        pool.nr_overcommit = self.draw.randrange(3)
        pool.set_max(self.draw.randrange(5), hard=self.draw.random() < 0.7)

    def huge_alloc(self):
        head = self.machine.hugetlb.alloc_huge_page()
        if head >= 0:
            self.huge[head] = self.fill(head, SIZE)

    def huge_free(self):
        """Sometimes somebody holds a frame of it a little longer."""
        if self.huge:
            machine, head = self.machine, self.draw.choice(list(self.huge))
            del self.huge[head]
            pfn, lingers = head + self.draw.randrange(SIZE), self.draw.random() < 0.5
            if lingers:
                machine.get_page(pfn)
            machine.hugetlb.free_huge_page(head)
            if lingers:
                assert head in machine.hugetlb.heads
                machine.put_page(pfn)

    # What happens to all of them.

    def tried(self, call):
        """Refusals are answers; anything else is not."""
        try:
            return call()
        except PinpageError:
            return None

    def compact(self):
        self.machine.compact(self.draw.choice(STRATEGIES), self.draw.choice(list(Mode)))

    def shrink(self):
        self.machine.reclaimer.shrink(self.draw.choice([1, 32, 200, 2000]))

    def swapon(self):
        if len(self.machine.swap.areas) < 3:
            self.machine.swap.swapon(self.draw.choice([2, 10, 200, 2000]))

    def swapoff(self):
        if self.machine.swap.areas:
            swapoff(self.machine.paging, self.draw.choice(list(self.machine.swap.areas)))

    def offline(self):
        machine = self.machine
        machine.hotplug.offline(
            self.draw.randrange(self.nr_blocks), machine.design,
            strategy=self.draw.choice(STRATEGIES), retry=RetryPolicy(nr_tries=3),
        )  # fmt: skip

    def online(self):
        block, kind = self.draw.randrange(self.nr_blocks), self.draw.choice(["kernel", "movable"])
        self.machine.hotplug.online(block, kind=kind)

    def unplug_and_plug(self):
        block = self.draw.randrange(self.nr_blocks)
        self.machine.hotplug.remove(block)
        self.tried(lambda: self.machine.hotplug.add(block))

    def power(self):
        power = self.machine.power
        if self.draw.random() < 0.3:
            self.tried(lambda: power.configure(SIZE))
        else:
            power.consolidate(self.machine.design, strategy=self.draw.choice(STRATEGIES))

    def kcompactd(self):
        for kcompactd in self.machine.kcompactd.values():
            kcompactd.run(self.draw.choice([0, 3, 9]))

    def drain(self):
        self.machine.pcp.drain_all()

    CALLS = (
        (mmap, 5), (write, 25), (read, 6), (fork, 4), (leave, 4), (dontneed, 4), (compact, 5),
        (shrink, 4), (swapon, 2), (swapoff, 1), (hold, 7), (alloc, 4), (free, 4), (cma, 3),
        (cma_release, 2), (huge_pool, 3), (huge_alloc, 3), (huge_free, 3), (offline, 3),
        (online, 3), (unplug_and_plug, 1), (file, 3), (power, 2), (kcompactd, 1), (drain, 1),
    )  # fmt: skip

    # What must hold.

    def verify(self):
        machine = self.machine
        for space, holds in self.processes.values():
            for vpn, data in holds.items():
                if (got := machine.memory.read(space, vpn)) is None:
                    break  # memory is full, and so will it be for the others
                assert got == data, f"bytes of {space.name}"
        for space, holds in self.files.values():
            for vpn, data in holds.items():
                pfn = shmem_getpage(machine.paging, space, vpn)
                assert pfn < 0 or machine.contents.read(pfn) == data, f"bytes of {space.name}"
        for holder in self.holders:
            for number, pfn in holder.at.items():
                assert machine.frames.state[pfn] == FrameState.USED
                assert machine.contents.read(pfn) == holder.holds[number], "bytes of a holder"
        for owned in (self.raw, self.device, self.huge):
            for pfn, (nr_pages, data) in owned.items():
                for frame in range(pfn, pfn + nr_pages):
                    assert machine.contents.read(frame) == data, f"bytes at {frame:#x}"

    def everybody_leaves(self):
        """All but files, whose pages stay."""
        machine = self.machine
        for space, _ in self.processes.values():
            machine.memory.exit(space)
        for holder in self.holders:
            for number in list(holder.at):
                self._let_go(holder, number)
        for pfn, (nr_pages, _) in self.raw.items():
            for frame in range(pfn, pfn + nr_pages):
                machine.free_page(frame)
        for pfn, (nr_pages, _) in self.device.items():
            assert machine.cma.release(pfn, nr_pages)
        for head in self.huge:
            machine.hugetlb.free_huge_page(head)
        machine.hugetlb.set_max(0)
        machine.pcp.drain_all()
        machine.check()
        used = np.flatnonzero(machine.frames.state == FrameState.USED)
        nr_in_files = sum(len(space.present()) for space, _ in self.files.values())
        assert len(used) == nr_in_files, f"frames leaked, the first at {used[0]:#x}"


def run(seed):
    """One world, call after call."""
    draw = random.Random(seed)
    calls, weights = zip(*World.CALLS, strict=True)
    world, made = World(draw), []
    try:
        for count in range(NR_CALLS):
            call = draw.choices(calls, weights)[0]
            made.append(call.__name__)
            call(world)
            if count % 5 == 0:
                world.machine.check()
            if count % 12 == 0:
                world.verify()
        world.verify()
        world.everybody_leaves()
    except BaseException:
        print(f"PINPAGE_FUZZ_SEED={seed.partition(':')[0]} round {seed}: {made[-6:]}")
        raise


def test_every_byte_is_where_its_holder_left_it():
    for seed in rounds():
        run(seed)
