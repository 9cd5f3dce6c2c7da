"""What would a callback for zbud buy on a recorded machine, and one for slab besides?

Shows:  the bundled recording as columns; a census; plans under three coverages.
Expect: knowing who holds what is worth 44 huge pages with no callback at all.  zbud's
        callback adds next to nothing alone; with slab's it is all that free memory can make.
"""

import numpy as np

from mm.planning.blocks import plan
from mm.planning.census import Census
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import MOVABLE_CLASSES, FrameClass

recording = bundled()
print(recording.name, "- Linux gave", recording.measured.huge_pages if recording.measured else "?")
free = recording.klass == FrameClass.FREE

for extra in ([], [FrameClass.ZBUD], [FrameClass.ZBUD, FrameClass.SLAB]):
    movable = np.isin(recording.klass, [*MOVABLE_CLASSES, *extra])
    best = plan(Census(free=free, movable=movable, zone=recording.zone[::512].astype(np.int64)))
    names = "+".join(klass.name.lower() for klass in extra) or "no callback"
    print(f"{names:12} {best.nr_wholly_free:4} huge pages for {best.nr_moves:6} moves")
