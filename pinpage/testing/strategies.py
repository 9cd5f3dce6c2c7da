"""Hypothesis strategies for worlds too small to be comfortable.

Needs the extra `test`; nothing else in the package imports this module.
"""

from typing import Any

from pinpage.extras import missing_extra

try:
    import hypothesis.strategies as st
except ModuleNotFoundError as missing:  # say which extra, not which module
    raise missing_extra("strategies need hypothesis", "test") from missing

__all__ = ["frame_layouts", "refusals"]


def frame_layouts(nr_pages: int, nr_owners: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Who holds each of up to `nr_pages` frames.

    Each frame is a dict: `pinners` (owner numbers, ascending), `is_mapped` (page tables hold
    it too) and `has_stranger` (a reference that nobody accounts for).

    Args:
        nr_pages: frames at most.
        nr_owners: owners at most.
    """
    frame = st.fixed_dictionaries(
        {
            "pinners": st.lists(st.integers(0, nr_owners - 1), max_size=3, unique=True).map(sorted),
            "is_mapped": st.booleans(),
            "has_stranger": st.sampled_from([False, False, True]),
        }
    )
    return st.lists(frame, min_size=1, max_size=nr_pages)


def refusals(nr_pages: int, nr_owners: int) -> st.SearchStrategy[dict[tuple[int, int], str]]:
    """(page, owner number) -> "again" or "busy", for a few of them.

    Args:
        nr_pages, nr_owners: as for `frame_layouts`.
    """
    asked = st.tuples(st.integers(0, nr_pages - 1), st.integers(0, nr_owners - 1))
    return st.dictionaries(asked, st.sampled_from(["again", "busy"]), max_size=4)
