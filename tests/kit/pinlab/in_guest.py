"""A hand-made recording of the form that is taken inside a guest."""

import json

import numpy as np

__all__ = ["FREE", "NR_FRAMES", "PAGETYPEINFO", "ZONEINFO", "arrays_and_meta", "recorded"]

NR_FRAMES = 512 + 100


FREE, ANON, FILE, ZBUD, PCP = 1, 3, 4, 5, 16


ZONEINFO = """Node 0, zone    DMA32
  pages free     512
        boost    12
        min      20
        low      30
        high     40
        spanned  612
        present  612
        managed  600
        cma      0
        protection: (0, 0, 0)
  pagesets
    cpu: 0
              count: 0
              high:  99
              batch: 7
  start_pfn:           0
"""


PAGETYPEINFO = """Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic
Node 0, zone    DMA32            1            1            0            0

Number of mixed blocks    Unmovable      Movable
"""


def arrays_and_meta():
    """A pageblock wholly free in one block of order 9, then zbud, anonymous and page cache."""
    code = np.full(NR_FRAMES, FREE, dtype=np.uint8)
    code[512:] = [ZBUD] * 50 + [ANON] * 40 + [FILE] * 8 + [PCP] * 2
    order = np.full(NR_FRAMES, -1, dtype=np.int8)
    order[0] = 9
    mov = np.select([code == ZBUD, code == ANON, code == FILE], [3, 1, 1], 0).astype(np.uint8)
    columns = {
        "flags": np.zeros(NR_FRAMES, dtype=np.uint64),
        "mapcount": np.zeros(NR_FRAMES, dtype=np.uint32),
        "refcount": np.where((code == FREE) | (code == PCP), 0, 1).astype(np.uint16),
        "class": code,
        "mov": mov,
        "order": order,
        "bits": np.ones(NR_FRAMES, dtype=np.uint8),
        "gfpmt": np.where(code == ZBUD, 0, 1).astype(np.uint8),
        "block_mt": np.array([1], dtype=np.uint8),
    }
    arrays = {f"S0_{name}": column for name, column in columns.items()}
    arrays["S1_class"] = code.copy()
    arrays["S1_block_mt"] = np.array([1], dtype=np.uint8)
    arrays["pinned_pfns"] = np.array([600, 598, 600], dtype=np.uint32)
    meta = {
        "scenario": "zbud",
        "variant": "plain",
        "op": "cmphuge",
        "seed": 9,
        "params": {"fillpct": 85},
        "cmdline": "quiet",
        "kernel": "Linux version 6.1.192 (a@b) #1",
        "results": {"compact": {"rc": 0}, "huge": {"requested": 5, "obtained": 1}},
        "text": {
            "S0/zoneinfo": ZONEINFO,
            "S0/buddyinfo": "Node 0, zone    DMA32 0 0 0 0 0 0 0 0 0 1 0 \n",
            "S0/pagetypeinfo": PAGETYPEINFO,
            "S0/zswap_stored_pages": "90\n",
            "S0/swaps": "Filename Type Size Used Priority\n/dev/vda partition 1000 40 -2\n",
        },
        "vmstat": {"S0": {"nr_mlock": 3}},
        "vmstat_delta": {"B0->S1": {"pgmigrate_success": 4}, "B0->S2": {"pgmigrate_success": 6}},
    }
    return arrays, meta


def recorded(path, arrays, meta):
    np.savez_compressed(path, meta_json=np.array(json.dumps(meta)), **arrays)
    return path
