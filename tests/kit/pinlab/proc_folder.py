"""Folders of copies of /proc, of machines that were never built: any page, any pageblock."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from attrs import field, frozen

from mm.state.frames import PageFlag

__all__ = ["MACHINES", "Invented", "InventedZone", "blocks", "machine"]

_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
_ANON = PageFlag.LRU.mask | PageFlag.MMAP.mask | PageFlag.ANON.mask | PageFlag.SWAPBACKED.mask
_WATERMARKS = {"min": 64, "low": 80, "high": 96}

Spans = tuple[tuple[int, int], ...]


@frozen
class InventedZone:
    """A zone as zoneinfo has it."""

    name: str
    start: int
    stop: int
    node: int = 0
    is_device: bool = False
    """Spanned, but neither present nor managed."""
    on_lists: tuple[int, ...] = (0,)
    """Pages on each CPU's lists."""


@frozen(kw_only=True)
class Invented:
    """A machine; spans are of pfns."""

    ram: Spans
    zones: tuple[InventedZone, ...]
    free: Spans
    """Apart from each other."""
    anon: Spans = ()
    slab: Spans = ()
    reserved: Spans = ()
    late: Spans = ()
    """Present, but not given to the page allocator."""
    is_late_counted: bool = False
    """Whether meminfo counts it already, as a kernel does that initialises memory when needed."""
    areas: dict[str, tuple[int, int]] = field(factory=dict)
    page_nr_bytes: int = 4096
    pageblock_order: int = 9
    max_order: int = 10
    memory_block_nr_bytes: int = 128 << 20
    release: str = "6.1.21"
    more_iomem: str = ""

    @property
    def nr_frames(self) -> int:
        """Up to the end of RAM."""
        return max(stop for _, stop in self.ram)

    def write(self, directory: Path) -> Path:
        """Write the files; returns the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        flags = self._flags()
        mappings = np.zeros(self.nr_frames, dtype=np.uint64)
        mappings[_mask(self.nr_frames, self.anon)] = 1
        (directory / "kpageflags").write_bytes(flags.tobytes())
        (directory / "kpagecount").write_bytes(mappings.tobytes())
        texts = {
            "iomem": self._iomem(),
            "version": f"Linux version {self.release} (a@b) #1 SMP\n",
            "cmdline": "root=/dev/sda1 secret=swordfish\n",
            "zoneinfo": "".join(self._zoneinfo(zone) for zone in self.zones),
            "buddyinfo": "".join(
                f"Node {zone.node}, zone {zone.name:>8} " + _numbers(self._free_blocks(zone)) + "\n"
                for zone in self.zones
                if not zone.is_device
            ),
            "pagetypeinfo": self._pagetypeinfo(),
            "meminfo": self._meminfo(),
            "block_size_bytes": f"{self.memory_block_nr_bytes:x}\n",
        }
        for name, text in texts.items():
            (directory / name).write_text(text)
        for name, (start, stop) in self.areas.items():
            area = directory / "cma" / name
            area.mkdir(parents=True, exist_ok=True)
            for file, number in (
                ("base_pfn", start),
                ("count", stop - start),
                ("order_per_bit", 0),
            ):
                (area / file).write_text(f"{number}\n")
        return directory

    def _flags(self) -> np.ndarray:
        flags = np.zeros(self.nr_frames, dtype=np.uint64)
        flags[~_mask(self.nr_frames, self.ram)] = PageFlag.NOPAGE.mask
        for spans, bits in (
            (self.free, PageFlag.BUDDY.mask),
            (self.anon, _ANON),
            (self.slab, PageFlag.SLAB.mask),
            (self.reserved, PageFlag.RESERVED.mask),
        ):
            flags[_mask(self.nr_frames, spans)] |= bits
        return flags

    def _iomem(self) -> str:
        size = self.page_nr_bytes
        rows = (
            f"{start * size:08x}-{stop * size - 1:08x} : System RAM\n" for start, stop in self.ram
        )
        return "".join(rows) + self.more_iomem

    def _nr(self, zone: InventedZone, spans: Iterable[tuple[int, int]]) -> int:
        return sum(max(min(stop, zone.stop) - max(start, zone.start), 0) for start, stop in spans)

    def _managed(self, zone: InventedZone) -> int:
        return self._nr(zone, self.ram) - self._nr(zone, (*self.reserved, *self.late))

    def _free_blocks(self, zone: InventedZone) -> list[int]:
        """Largest first from the left, as a buddy allocator has what it merged."""
        counts = [0] * (self.max_order + 1)
        for first, last in sorted(self.free):
            pfn, stop = max(first, zone.start), min(last, zone.stop)
            while pfn < stop:
                order = self.max_order
                while pfn % (1 << order) or pfn + (1 << order) > stop:
                    order -= 1
                counts[order] += 1
                pfn += 1 << order
        return counts

    def _zoneinfo(self, zone: InventedZone) -> str:
        is_device = zone.is_device
        figures = {"boost": 0, **(dict.fromkeys(_WATERMARKS, 0) if is_device else _WATERMARKS)}
        figures |= {
            "spanned": zone.stop - zone.start,
            "present": 0 if is_device else self._nr(zone, self.ram),
            "managed": 0 if is_device else self._managed(zone),
            "cma": self._nr(zone, self.areas.values()),
        }
        lines = [f"Node {zone.node}, zone {zone.name:>8}"]
        lines.append(f"  pages free     {0 if is_device else self._nr(zone, self.free)}")
        lines += [f"        {name:8} {number}" for name, number in figures.items()]
        lines += ["        protection: (0, 0, 0)", "  pagesets"]
        for cpu, count in enumerate(zone.on_lists):
            lines += [f"    cpu: {cpu}", f"              count: {count}"]
            lines += ["              high:  186", "              batch: 31"]
        lines.append(f"  start_pfn:           {zone.start}")
        return "\n".join(lines) + "\n"

    def _pagetypeinfo(self) -> str:
        size = 1 << self.pageblock_order
        text = f"Page block order: {self.pageblock_order}\nPages per block:  {size}\n\n"
        text += "Number of blocks type " + " ".join(f"{name:>12}" for name in _TYPES) + "\n"
        for zone in self.zones:
            counts = [0] * len(_TYPES)
            for start in range(zone.start // size * size, zone.stop, size):
                counts[self._type(start, start + size)] += 1
            text += f"Node {zone.node}, zone {zone.name:>8} " + _numbers(counts) + "\n"
        return text

    def _type(self, start: int, stop: int) -> int:
        if any(first <= start and stop <= last for first, last in self.areas.values()):
            return _TYPES.index("CMA")
        fixed = (*self.slab, *self.reserved)
        return int(not any(first < stop and start < last for first, last in fixed))

    def _meminfo(self) -> str:
        per_page = self.page_nr_bytes >> 10
        nr_late = sum(stop - start for start, stop in self.late) * self.is_late_counted
        figures = {
            "MemTotal": nr_late
            + sum(self._managed(zone) for zone in self.zones if not zone.is_device),
            "MemFree": nr_late + sum(stop - start for start, stop in self.free),
            "AnonPages": sum(stop - start for start, stop in self.anon),
            "Slab": sum(stop - start for start, stop in self.slab),
        }
        lines = (f"{name + ':':15} {number * per_page:8} kB\n" for name, number in figures.items())
        return "".join(lines) + "HugePages_Total:       0\n"


def _mask(nr_frames: int, spans: Iterable[tuple[int, int]]) -> np.ndarray:
    mask = np.zeros(nr_frames, dtype=np.bool_)
    for start, stop in spans:
        mask[start:stop] = True
    return mask


def _numbers(counts: Sequence[int]) -> str:
    return " ".join(f"{count:6d}" for count in counts)


def machine(**changes: object) -> Invented:
    """64 MiB of 4 KiB pages: kernel at the bottom, slab in one pageblock, half of the rest free."""
    block = 512
    figures: dict = {
        "ram": ((0, 32 * block),),
        "zones": (InventedZone("DMA32", 0, 32 * block, on_lists=(3, 4)),),
        "reserved": ((0, block),),
        "slab": ((block, block + 100),),
        "free": ((block + 100, 2 * block), (8 * block, 20 * block), (24 * block, 32 * block)),
        "anon": ((2 * block, 8 * block), (20 * block, 24 * block)),
    }
    return Invented(**(figures | changes))


def blocks(order: int, **changes: object) -> Invented:
    """A kernel's pageblock, one of slab, and others half in use."""
    block = 1 << order
    nr_blocks = 8
    return machine(
        ram=((0, nr_blocks * block),),
        zones=(InventedZone("Normal", 0, nr_blocks * block),),
        reserved=((0, block // 2),),
        slab=((block, block + block // 4),),
        anon=((2 * block, 2 * block + block // 2), (5 * block, 5 * block + block // 2)),
        free=(
            (block // 2, block),
            (block + block // 4, 2 * block),
            (2 * block + block // 2, 5 * block),
            (5 * block + block // 2, nr_blocks * block),
        ),
        pageblock_order=order,
        max_order=max(order, 10),
        memory_block_nr_bytes=max(1 << 27, block << 16),
        **changes,
    )


MACHINES: dict[str, Invented] = {
    "order 8": blocks(8),
    "order 10": blocks(10),
    "16 KiB": blocks(11, page_nr_bytes=16 << 10),
    "64 KiB": blocks(13, page_nr_bytes=64 << 10),
    "HighMem": machine(
        zones=(
            InventedZone("DMA", 0, 4 * 512),
            InventedZone("Normal", 4 * 512, 16 * 512),
            InventedZone("HighMem", 16 * 512, 32 * 512),
        ),
        more_iomem="",
    ),
    "device": machine(
        zones=(
            InventedZone("DMA32", 0, 32 * 512),
            InventedZone("Device", 40 * 512, 48 * 512, is_device=True),
        ),
        more_iomem="05000000-05ffffff : Persistent Memory\n  05000000-05ffffff : namespace0.0\n",
    ),
    "two areas": machine(
        areas={"linux,cma": (8 * 512, 12 * 512), "camera": (12 * 512, 14 * 512)},
    ),
    "boot alias": machine(
        more_iomem="100000000-103ffffff : System RAM (boot alias)\n",
    ),
}
"""By what is particular about each."""
