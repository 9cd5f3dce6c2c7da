"""Texts of page_owner and page-types about invented machines, and what mutilates them."""

import functools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from attrs import frozen

from tests.kit.pinlab.mutations import change_bytes, change_text
from tests.kit.pinlab.proc_folder import machine

__all__ = ["Asked", "folder", "mutilate", "owner_text", "types_text"]

_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")
_LETTERS = "LERUDlASWIBMasbHTGuXnxtozig"
_TOLD = ("who.txt", "types.txt", "page_owner")
"""Texts of many lines, which are mutilated twice as often."""
_HACKERS = {32: "r", 33: "m", 34: "d", 35: "P", 36: "p", 37: "O", 38: "h", 39: "c", 40: "f"}


@frozen(kw_only=True)
class Asked:
    """An allocation, as page_owner prints it."""

    pfn: int
    stack: Sequence[str] = ("__alloc_pages",)
    order: int = 0
    flags: str = ""
    asked: str = "Unmovable"
    block_type: str = "Unmovable"
    block_order: int = 9
    command: str = "bash"
    pid: int = 77

    def text(self, form: str = "6.1") -> str:
        """As kernels of a time print it."""
        head = f"Page allocated via order {self.order}, mask 0x140cca(GFP_KERNEL|__GFP_COMP)"
        if form != "4.9":
            head += f", pid {self.pid}"
        if form in {"6.1", "6.12"}:
            head += f", tgid {self.pid} ({self.command})"
        if form != "4.9":
            head += f", ts {self.pfn + 1000} ns"
        if form in {"5.15", "6.1"}:
            head += ", free_ts 0 ns"
        pfn = f"0x{self.pfn:x}" if form == "6.12" else str(self.pfn)
        flags = "0x0" if form == "4.9" and not self.flags else f"0x1({self.flags}|zone=0)"
        block = f"Block {self.pfn >> self.block_order} type {self.block_type}"
        lines = [
            head,
            f"PFN {pfn} type {self.asked} {block} Flags {flags}",
            *(f" {function}+0x1/0x20" for function in self.stack),
        ]
        return "\n".join(lines) + "\n\n"


def owner_text(records: Iterable[Asked], form: str = "6.1") -> str:
    """A whole text."""
    return "".join(record.text(form) for record in records)


@functools.cache
def _row(flags: int, *, raw: bool) -> str:
    bits = [*range(27), *_HACKERS]
    letters = _LETTERS + "".join(_HACKERS.values())
    if not raw:
        flags &= (1 << 32) - 1
        if not flags >> 17 & 1:  # (no page of the pool of huge pages)
            flags &= ~(3 << 15)
    return "".join(c if flags >> b & 1 else "_" for b, c in zip(bits, letters, strict=True))


def types_text(
    flags: np.ndarray, mappings: np.ndarray | None = None, *, raw: bool = True, ranges: bool = True
) -> str:
    """What page-types prints of these flags, summary included."""
    rows = [_row(int(word), raw=raw) for word in flags]
    counts = (
        ["" if mappings is None else f"{count}\t" for count in mappings]
        if (mappings is not None)
        else [""] * len(rows)
    )
    title = "" if mappings is None else "map-cnt\t"
    lines = [title + ("offset\tlen\tflags" if ranges else "offset\tflags")]
    start = 0
    for pfn in range(1, len(rows) + 1):
        if ranges and pfn < len(rows) and (rows[pfn], counts[pfn]) == (rows[start], counts[start]):
            continue
        if ranges:
            lines.append(f"{counts[start]}{start:x}\t{pfn - start:x}\t{rows[start]}")
        else:
            lines.append(f"{counts[start]}{start:x}\t{rows[start]}")
        start = pfn
    lines.append(
        "\n\n             flags\tpage-count       MB  symbolic-flags\t\t\tlong-symbolic-flags"
    )
    words, totals = np.unique(flags, return_counts=True)
    for word, total in zip(words.tolist(), totals.tolist(), strict=True):
        shown = _row(word, raw=raw)
        lines.append(f"0x{word:016x}\t{total:10d} {total >> 8:8d}  {shown}\twhatever")
    lines.append(f"             total\t{len(flags):10d} {len(flags) >> 8:8d}")
    return "\n".join(lines) + "\n"


def folder(path: Path) -> Path:
    """A machine's folder with everything in it: /proc, page_owner and page-types."""
    made = machine()
    made.write(path)
    records = [Asked(pfn=512 + i, stack=("allocate_slab",), flags="slab") for i in range(100)]
    records += [
        Asked(
            pfn=2 * 512 + i, asked="Movable", flags="lru|swapbacked", stack=("do_anonymous_page",)
        )
        for i in range(60)
    ]
    (path / "who.txt").write_text(owner_text(records))
    flags = np.frombuffer((path / "kpageflags").read_bytes(), dtype=np.uint64)
    (path / "types.txt").write_text(types_text(flags))
    return path


def mutilate(rng: random.Random, path: Path) -> str:
    """Do one thing to one file of a folder; says what."""
    files = sorted(file for file in path.iterdir() if file.is_file())
    victim = rng.choice([*files, *(file for file in files if file.name in _TOLD)])
    what = rng.choice(["cut", "shuffle", "bytes", "huge", "gone", "text", "empty", "swap"])
    content = victim.read_bytes()
    if what == "cut":
        victim.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif what == "shuffle":
        lines = content.split(b"\n")
        rng.shuffle(lines)
        victim.write_bytes(b"\n".join(lines))
    elif what == "bytes":
        victim.write_bytes(change_bytes(rng, content[:4096]) + b"\xff\xfe\x80" + content[4096:])
    elif what == "huge":
        at = [i for i, c in enumerate(content[:20_000]) if chr(c).isdigit()]
        spot = rng.choice(at) if at else 0
        victim.write_bytes(content[:spot] + b"9" * rng.choice([3, 12, 30]) + content[spot:])
    elif what == "gone":
        victim.unlink()
    elif what == "text":
        victim.write_text(change_text(rng, content.decode("latin-1")), encoding="utf-8")
    elif what == "empty":
        victim.write_bytes(b"")
    else:
        other = rng.choice(files)
        victim.write_bytes(other.read_bytes())
    return f"{what} {victim.name}"
