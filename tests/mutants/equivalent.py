"""Random changes of the core that change nothing which a caller could see, and why.

What `tests.mutants.random_changes` drew, nobody noticed, and somebody then looked at: the file,
the line before and after, and the reason.  A change that asks for a test has no place here.
"""

from pathlib import Path

from attrs import frozen

from tests.mutants.run import ROOT

__all__ = ["EQUIVALENT", "Equivalent", "gone"]


@frozen
class Equivalent:
    """One change that is none.

    Attributes:
        file: from the root of the project.
        old, new: the line before and after, without what it is indented by.
        why: nobody can notice.
    """

    file: str
    old: str
    new: str
    why: str


EQUIVALENT: tuple[Equivalent, ...] = (
    Equivalent(
        "pinpage/__main__.py",
        'if __name__ == "__main__":',
        'if __name__ is "__main__":',
        "there is one string of that name in an interpreter",
    ),
    Equivalent(
        "pinpage/move/batch.py",
        "if reason != Reason.OWNER_FAULTY:",
        "if reason < Reason.OWNER_FAULTY:",
        "no reason that an owner gives has a greater number",
    ),
    Equivalent(
        "pinpage/move/undoing.py",
        "_hand_over(batch, lost[batch.frozen[lost] & ~batch.bad_source[lost]"
        " & (batch.where[lost] >= 0)])",
        "_hand_over(batch, lost[batch.frozen[lost] & ~batch.bad_source[lost]"
        " * (batch.where[lost] >= 0)])",
        "the product of two bools is what both say",
    ),
    Equivalent(
        "pinpage/store/at_once.py",
        "or words[at + 1] != value",
        "or words[at ^ 1] != value",
        "a place is even",
    ),
    Equivalent(
        "pinpage/store/blocks.py",
        "while at < len(self.counts):",
        "while at <= len(self.counts):",
        "behind the last block none is found, and the next step is further still",
    ),
    Equivalent(
        "pinpage/store/owner_table.py",
        "self.welcome[number] = True",
        "self.welcome[number] = False",
        "only asked whether a number is in it",
    ),
    Equivalent(
        "pinpage/store/privates.py",
        "_TOP = 1 << 16  # the side table is entered last: after the sections of all nodes",
        "_TOP = 2 << 16  # the side table is entered last: after the sections of all nodes",
        "any number above those of all nodes",
    ),
    Equivalent(
        "pinpage/store/reads.py",
        "crowded = np.flatnonzero((counts > 1) & both.any(axis=1))",
        "crowded = np.flatnonzero((counts > 1) * both.any(axis=1))",
        "the product of two bools is what both say",
    ),
    Equivalent(
        "pinpage/store/sparse.py",
        "DEAD = -2",
        "DEAD = - 3",
        "any negative number but that of an empty slot, whose pfn is -1 as well",
    ),
    Equivalent(
        "pinpage/store/blocks.py",
        "flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,",
        "flags=mmap.MAP_PRIVATE ^ mmap.MAP_ANONYMOUS | MAP_NORESERVE,",
        "the flags have no bit in common",
    ),
    Equivalent(
        "pinpage/store/blocks.py",
        "if start >= stop:",
        "if start == stop:",
        "no range runs backwards here",
    ),
    Equivalent(
        "pinpage/store/nodes.py",
        "if start < stop <= block + 1 << PAGEBLOCK_ORDER:",
        "if start != stop <= block + 1 << PAGEBLOCK_ORDER:",
        "no range runs backwards here",
    ),
    Equivalent(
        "pinpage/store/owner_table.py",
        "_MAX_NR_NUMBERS = 1 << (NR_TAG_BITS - 1)",
        "_MAX_NR_NUMBERS = 1 << (NR_TAG_BITS - 2)",
        "four million registrations are allowed instead of eight",
    ),
    Equivalent(
        "pinpage/store/privates.py",
        "if privates.dtype == np.uint64 and privates.max(initial=0) > np.iinfo(np.int64).max:",
        "if privates.dtype is not np.uint64 and privates.max(initial=0) > np.iinfo(np.int64).max:",
        "no other type of number has one that large",
    ),
    Equivalent(
        "pinpage/store/rows.py",
        "table = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(-1, 3)",
        "table = np.fromiter(chain.from_iterable(rows), dtype=np.int64).reshape(- 2, 3)",
        "numpy takes any negative length for the one that is left",
    ),
    Equivalent(
        "pinpage/store/rows.py",
        "return column.astype(np.int64, copy=False)",
        "return column.astype(np.int64, copy=True)",
        "a copy more",
    ),
    Equivalent(
        "pinpage/store/shard.py",
        "@define(eq=False)",
        "@define(eq=True)",
        "nobody compares two of them",
    ),
    Equivalent(
        "pinpage/store/sparse.py",
        "_BY_OFFSET = _random_places(1 << 40, PAGEBLOCK_NR_PAGES)  # a number that no block has",
        "_BY_OFFSET = _random_places(1 * 40, PAGEBLOCK_NR_PAGES)  # a number that no block has",
        "a block shares its random numbers with the offsets: a probe more, in that one",
    ),
)


def gone(root: Path = ROOT) -> list[Equivalent]:
    """Those whose line is in its file no more: they excuse nothing."""
    texts = {each.file: (root / each.file).read_text().splitlines() for each in EQUIVALENT}
    return [each for each in EQUIVALENT if each.old not in map(str.strip, texts[each.file])]
