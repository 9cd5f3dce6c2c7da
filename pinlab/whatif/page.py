"""A what-if as one page of HTML that needs nothing else: the map, the tables, and the switches.

The map has a cell per block of order 9; a click shows its frames one by one.  Each owner that
Linux does not move has a switch; blocks per order are counted again in the page whenever one
is turned.  Everything is in the file: no network, no library.

Owns: what goes into the page, and the page's own counting, the same as `pinlab.whatif.game`'s.
Ignores: shares and sets of owners; `pinlab.whatif.show` prints those.
Cost: bytes in proportion to the runs of like frames, up to a bound; beyond it the frames of a
block stand owner by owner, not in their order, and the page says so.
"""

import base64
import html
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinlab.files.output import written
from pinlab.report.charts import COLOURS
from pinlab.report.sizes import block_name
from pinlab.snapshot.holdings import LINUX_MOVES, MOST_ORDER, UNIT_ORDER, codes_of, holdings_of
from pinlab.snapshot.image import Snapshot
from pinlab.whatif.page_script import COUNTING, DRAWING, STYLE
from pinpage.errors import PinpageError

__all__ = ["facts_of", "write_page"]

_MOST_OWNERS: Final = 30
"""Bits that the page's own arithmetic has."""
_MOST_RUNS_NR_BYTES: Final = 6 << 20
"""Of runs of frames; a machine whose owners alternate frame by frame has more."""
_BLOCK: Final = 1 << UNIT_ORDER
_QUIET: Final = {"free": "#f3efe4", "pcp": "#f3efe4", "hole": "#ffffff", "unknown": "#8a8f98"}
_FOR_GOOD: Final = "#3d4250"
_MOVES: Final = "#b9cfe4"


def facts_of(snapshot: Snapshot) -> dict[str, Any]:
    """What the page knows, as plain values.

    Raises:
        PinpageError: more owners than the page can count with.
    """
    codes, names = codes_of(snapshot)
    units = holdings_of(snapshot)
    if len(units.owner_names) > _MOST_OWNERS:
        raise PinpageError(
            f"page: {len(units.owner_names)} owners; a page has switches for {_MOST_OWNERS} at most"
        )
    mask = np.zeros(units.nr_blocks, dtype=np.int64)
    for column in range(len(units.owner_names)):
        mask |= (units.nr_frames[:, column] > 0).astype(np.int64) << column
    orders = [
        order for order in range(UNIT_ORDER, MOST_ORDER + 1)
        if order == UNIT_ORDER or 1 << order <= snapshot.nr_frames
    ]  # fmt: skip
    runs = _runs(codes)
    in_order = len(runs) <= _MOST_RUNS_NR_BYTES
    return {
        "name": snapshot.name,
        "owners": list(units.owner_names),
        "pageblock_order": units.pageblock_order,
        "orders": [
            {
                "order": order,
                "size": block_name(snapshot, order),
                "moved": list(units.at(order).moved_by_linux()),
            }
            for order in orders
        ],
        "mask": mask.tolist(),
        "says_free": snapshot.says_free,
        "free": units.nr_free.tolist(),
        "never": units.nr_never.tolist(),
        "unknown": units.nr_unknown.tolist(),
        "low": units.lowest_zone.tolist(),
        "high": units.highest_zone.tolist(),
        "cma": units.in_cma.astype(int).tolist(),
        "names": list(names),
        "colours": _colours(names, units.in_the_way()),
        "in_order": in_order,
        "runs": base64.b64encode(runs if in_order else _runs(_by_owner(codes))).decode("ascii"),
    }


def _colours(names: tuple[str, ...], stuck: tuple[str, ...]) -> list[str]:
    palette = dict(zip(stuck, COLOURS * 8, strict=False))
    return [
        palette.get(name, _QUIET.get(name, _MOVES if name in LINUX_MOVES else _FOR_GOOD))
        for name in names
    ]


def _by_owner(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The codes of each block in ascending order: as many of each as there were."""
    nr_whole = len(codes) // _BLOCK * _BLOCK
    whole = np.sort(codes[:nr_whole].reshape(-1, _BLOCK), axis=1).ravel()
    return np.concatenate([whole, np.sort(codes[nr_whole:])])


def _runs(codes: NDArray[np.uint8]) -> bytes:
    """Runs of like codes: the code, then how many in groups of seven bits, lowest first."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
    found = bytearray()
    for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        found.append(int(codes[first]))
        left = stop - first
        while left >= 0x80:
            found.append(left & 0x7F | 0x80)
            left >>= 7
        found.append(left)
    return bytes(found)


def write_page(snapshot: Snapshot, path: Path | str) -> None:
    """Write the page; the same recording gives the same bytes.

    Args:
        snapshot: the recording.
        path: the file to write.

    Raises:
        PinpageError: see `facts_of`.
        SnapshotError: the place cannot be written.
    """
    facts = json.dumps(facts_of(snapshot), separators=(",", ":")).replace("<", "\\u003c")
    title = html.escape(snapshot.name)
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
        '<p id="switches"></p><table id="orders"></table><p id="legend"></p><p id="rest"></p>'
        '<canvas id="map"></canvas><h2 id="where">Click a block to see its frames.</h2>'
        '<canvas id="frames"></canvas><p id="frame"></p>'
        f"<script>const facts = {facts};\n{COUNTING}\n{DRAWING}</script></body></html>\n"
    )
    with written(path) as file:
        file.write(text.encode())
