"""struct page through drgn: a program made of memory segments, with types by name."""

import numpy as np
import pytest

from mm.state.frames import PageFlag
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.dump import snapshot_of_pages
from pinpage.errors import PinpageError

BASE = 0xFFFFEA0000000000
NR_FRAMES = 2048
BITS = {"PG_locked": 0, "PG_referenced": 2, "PG_lru": 5, "PG_slab": 9, "PG_reserved": 14,
        "PG_head": 16, "PG_swapbacked": 19}  # fmt: skip
PAGE = np.dtype(
    [("flags", "<u8"), ("lru", "<u8"), ("compound_head", "<u8"), ("mapping", "<u8"),
     ("private", "<u8"), ("_mapcount", "<i4"), ("_refcount", "<i4"), ("pad", "<u8", 2)]
)  # fmt: skip
"""A struct page in an order that no kernel has: only its names say where things lie."""
TYPES = {
    "bits of 6.1": (None, lambda name: np.uint32(0xFFFFFFFF ^ {"buddy": 0x80}[name])),
    "bits of an enum": (
        {"PG_buddy": 0x40000000, "PG_table": 0x10000000},
        lambda name: np.uint32(0xFFFFFFFF ^ {"buddy": 0x40000000, "table": 0x10000000}[name]),
    ),
    "numbers": (
        {"PGTY_buddy": 0xF0, "PGTY_table": 0xF2, "PGTY_slab": 0xF5},
        lambda name: np.uint32({"buddy": 0xF0, "table": 0xF2, "slab": 0xF5}[name] << 24),
    ),
}


def pages():
    rows = np.zeros(NR_FRAMES, dtype=PAGE)
    rows["_mapcount"] = -1
    rows["_refcount"] = 1
    return rows


def program_of(rows, types=None, left_out=()):
    drgn = pytest.importorskip("drgn", reason="the extra `drgn` is not installed")
    flags = drgn.PlatformFlags.IS_64_BIT | drgn.PlatformFlags.IS_LITTLE_ENDIAN
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64, flags))
    data = rows.tobytes()

    def read(_address, count, offset, _physical):
        if any(first <= offset // PAGE.itemsize < last for first, last in left_out):
            raise drgn.FaultError("not in the dump", BASE + offset)
        return data[offset : offset + count]

    program.add_memory_segment(BASE, len(data), read)
    word = program.int_type("unsigned long", 8, False)
    half = program.int_type("int", 4, True)
    counter = program.struct_type("", 4, (drgn.TypeMember(half, "counter", 0),))
    members = []
    for name in ("flags", "mapping", "private", "compound_head", "_mapcount", "_refcount"):
        kind = counter if name.startswith("_") else word
        inner = program.struct_type(None, PAGE.itemsize, (drgn.TypeMember(kind, name, 0),))
        members.append(drgn.TypeMember(inner, None, PAGE.fields[name][1] * 8))
    made = {
        "page": program.struct_type("page", PAGE.itemsize, members),
        "pageflags": enum(drgn, program, "pageflags", BITS),
    }
    if types:
        made["pagetype"] = enum(drgn, program, "pagetype", types)
    program.register_type_finder(
        "made", lambda _program, _kinds, name, _file: made.get(name), enable_index=0
    )
    return program


def enum(drgn, program, name, values):
    word = program.int_type("unsigned int", 4, False)
    return program.enum_type(name, word, [drgn.TypeEnumerator(*pair) for pair in values.items()])


def bit(name):
    return np.uint64(1 << BITS[name])


@pytest.mark.parametrize("form", TYPES)
def test_every_member_is_found_by_its_name_and_every_kind_of_page_is_told(form):
    types, typed = TYPES[form]
    rows = pages()
    rows["flags"][:10] = bit("PG_reserved")
    rows["flags"][10:30] = bit("PG_lru") | bit("PG_swapbacked")
    rows["mapping"][10:30] = 0x1001
    rows["_mapcount"][10:30], rows["_refcount"][10:30] = 2, 5
    rows["_mapcount"][512], rows["private"][512] = typed("buddy").astype(np.int32), 9
    rows["_refcount"][512:1024] = 0
    rows["flags"][1024] = bit("PG_head") | bit("PG_slab")
    rows["compound_head"][1025:1028] = BASE + 1024 * PAGE.itemsize + 1
    found = snapshot_of_pages(program_of(rows, types), [(0, NR_FRAMES, BASE)], (), "6.1")
    assert (found.klass[:10] == FrameClass.RESERVED).all()
    assert (found.klass[10:30] == FrameClass.ANON).all()
    assert (found.mapcount[10:30] == 3).all()
    assert (found.refcount[10:30] == 5).all()
    assert (found.klass[512:1024] == FrameClass.FREE).all()
    assert found.order[512] == 9
    assert (found.refcount[512:1024] == 0).all()
    assert (found.klass[1024:1028] == FrameClass.SLAB).all()
    shape = (found.flags[1024:1029] & PageFlag.COMPOUND_TAIL.mask) != 0
    assert shape.tolist() == [False, True, True, True, False]
    assert found.nr_frames_of(FrameClass.UNKNOWN) == NR_FRAMES - 10 - 20 - 512 - 4
    assert "refcount" not in found.unknown_fields


def test_what_lies_between_ranges_is_a_hole_and_what_the_dump_leaves_out_is_unknown():
    rows = pages()
    rows["flags"][:] = bit("PG_reserved")
    program = program_of(rows, left_out=[(1536, 2048)])
    ranges = [(0, 512, BASE), (1024, 1536, BASE + 1024 * PAGE.itemsize)]
    ranges.append((1536, 2048, BASE + 1536 * PAGE.itemsize))
    found = snapshot_of_pages(program, ranges, (), "6.1")
    assert (found.klass[512:1024] == FrameClass.HOLE).all()
    assert (found.klass[1024:1536] == FrameClass.RESERVED).all()
    assert (found.klass[1536:] == FrameClass.UNKNOWN).all()
    assert (found.refcount[1536:] == -1).all()
    assert found.reading == {"pages_not_in_dump": 512}


def test_a_free_block_of_an_order_that_cannot_be_is_its_first_page():
    rows = pages()
    rows["_mapcount"][5], rows["private"][5] = ~0x80, 60
    rows["_mapcount"][7], rows["private"][7] = ~0x80, 3
    rows["_refcount"][[5, 7]] = 0
    found = snapshot_of_pages(program_of(rows), [(0, NR_FRAMES, BASE)], (), "6.1")
    assert np.flatnonzero(found.klass == FrameClass.FREE).tolist() == [5, 7]


def test_no_page_and_no_types_are_one_line():
    drgn = pytest.importorskip("drgn", reason="the extra `drgn` is not installed")
    with pytest.raises(SnapshotError, match="there is none"):
        snapshot_of_pages(program_of(pages()), [], (), "6.1")
    with pytest.raises(SnapshotError, match="lacks what is read of it"):
        snapshot_of_pages(drgn.Program(), [(0, 1, BASE)], (), "6.1")


def test_a_damaged_dump_or_a_missing_drgn_is_one_line(tmp_path):
    path = tmp_path / "vmcore"
    path.write_bytes(b"\x7fELF\x02\x01" + bytes(10) + b"\x04\x00" + bytes(100))
    with pytest.raises(PinpageError, match=str(path)) as caught:
        open_snapshot(path)
    assert "\n" not in str(caught.value)
