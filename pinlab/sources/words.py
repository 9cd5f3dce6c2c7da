"""What the names in `Snapshot.unknown_fields` and `guessed_fields` mean, in words.

Owns: the words; a name that is none of these is no name of a field.
Ignores: which source says what.
Cost: a dict.
"""

from collections.abc import Mapping
from typing import Final

from pinlab.sources.blank import NO_FRAMES

__all__ = ["FIELDS", "in_words"]

FIELDS: Final[Mapping[str, str]] = {
    NO_FRAMES: "any single frame",
    "state": "which frames are in use",
    "klass": "whose each frame is",
    "flags": "the flags of frames",
    "order": "where free blocks lie",
    "refcount": "how many references a frame has",
    "mapcount": "how often a frame is mapped",
    "zone": "which zone a frame is of",
    "gfp": "which migratetype an allocation asked for",
    "guessed": "what was worked out",
    "block_migratetype": "the migratetype of each pageblock",
    "block_skip": "the skip hints of compaction",
    "pinned_pfns": "which frames are pinned",
    "zones": "zones and their watermarks",
    "ram": "where there is memory and where there are holes",
    "page_nr_bytes": "how large a page is",
    "nr_pages_per_block": "how large a pageblock is",
    "cma_areas": "where contiguous areas lie",
    "compound": "which frames make up one compound page",
    "reserved": "which frames are reserved",
}
"""Name -> what is not said, or was worked out."""


def in_words(name: str) -> str:
    """What a field is; its name where it is none of ours."""
    return FIELDS.get(name, name)
