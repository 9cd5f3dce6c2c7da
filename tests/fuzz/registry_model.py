"""What the registry has to answer, in the most obvious way: a dict of lists."""

from collections import Counter

import numpy as np

__all__ = ["Model", "key_of"]

_TWO_63 = 1 << 63


def key_of(private):
    """Equal for privates that the registry takes for the same one: ints of any type by value."""
    if isinstance(private, int | np.integer) and -_TWO_63 <= int(private) < _TWO_63:
        return "int", int(private)
    # As a plain int: compared with a tuple, one of numpy's gives an array.
    return "object", int(private) if isinstance(private, np.integer) else private


class Model:
    """Pins as (owner number, key) by frame, in the order in which they were made."""

    def __init__(self):
        self.at = {}

    def __len__(self):
        return sum(map(len, self.at.values()))

    def has(self, pfn, record):
        return record in self.at.get(pfn, ())

    def add(self, pfn, record):
        self.at.setdefault(pfn, []).append(record)

    def remove(self, pfn, record):
        self.at[pfn].remove(record)
        if not self.at[pfn]:
            del self.at[pfn]

    def drop_owner(self, number):
        for pfn, record in self.of_owner(number):
            self.remove(pfn, record)

    def of_owner(self, number):
        """(pfn, record) of each of its pins."""
        return [(pfn, r) for pfn, records in self.at.items() for r in records if r[0] == number]

    def on(self, pfn):
        """Records of a frame as they are listed: by owner, then as they were made."""
        return sorted(self.at.get(pfn, ()), key=lambda record: record[0])

    def everything(self, start, stop):
        """(pfn, record) of each pin in [start, stop), in the order of a scan."""
        return [(pfn, r) for pfn in sorted(self.at) if start <= pfn < stop for r in self.on(pfn)]

    def objects(self):
        """Different privates that are no ints."""
        keys = {key for records in self.at.values() for _, key in records}
        return {key for key in keys if key[0] == "object" and key[1] is not None}

    def fits(self, pins, *, pinned):
        """Whether all of these may be pinned (or, if they are `pinned`, unpinned) at once."""
        twice = any(count > 1 for count in Counter(pins).values())
        return not twice and all(self.has(*pin) == pinned for pin in pins)
