"""Bugs that the state machines and the thread tests find by themselves, planted once more.

Each of them is also caught by a narrower test, in the catalogue of its owner; here it is
the machine that has to notice.
"""

from attrs import evolve

from tests.mutants.catalog import balloon, odirect, owners, slab, z3fold, zram, zsmalloc
from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

_NOTICED_BY = {
    "balloon-deflates-what-a-mover-has": "tests/property/test_balloon_machine.py",
    "odirect-says-yes-while-it-transfers": "tests/property/test_odirect_machine.py",
    "slab-empty-slab-is-kept": "tests/property/test_slab_machine.py",
    "z3fold-worst-fit": "tests/property/test_z3fold_machine.py",
    "zram-huge-pages-decompressed": "tests/property/test_zram_machine.py",
    "zs-compaction-forgets-the-handle": "tests/property/test_zsmalloc_machine.py",
    "zbud-second-object-takes-no-reference": "tests/races/test_zbud_threads.py",
}

_PLANTED = [
    mutant
    for catalogue in (balloon, odirect, owners, slab, z3fold, zram, zsmalloc)
    for mutant in catalogue.MUTANTS
]

MUTANTS: list[Mutant] = [
    evolve(mutant, name=f"{mutant.name}-by-machine", tests=(_NOTICED_BY[mutant.name],))
    for mutant in _PLANTED
    if mutant.name in _NOTICED_BY
]
MUTANTS.append(
    Mutant(
        name="targets-stay-under-move-after-rekey",
        guards="M7: a target is as free to go as any frame once it is whole",
        file="pinpage/migrate.py",
        old="    batch.unmark(batch.where, batch.target_marked, frames)\n    left",
        new="    left",
        tests=("tests/property/test_balloon_machine.py",),
    )
)
