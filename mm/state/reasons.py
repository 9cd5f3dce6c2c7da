"""Why frames did not move, counted by reason and by holder.

One taxonomy (`pinpage.owner.Reason`) for every consumer.  `Refusals` counts what it is given;
who fills it gives each frame once, at the end, under the reason of its last try.  So the
counts of one compaction, or of one range that is emptied, sum up to the frames that were
asked to go and are still there.  Whoever sums several counts a frame once for each: a request
(`pinlab.requests.report`) does so over its attempts.

Kernel counterpart: none.  Linux counts pgmigrate_fail, and logs one page per range.
"""

from collections import Counter
from typing import TypeAlias

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from pinpage.errors import PinpageError
from pinpage.owner import Reason
from pinpage.units import Mask, Pfns

__all__ = ["HOME", "Holders", "Refusals", "Refused", "most_first"]

HOME = "home"
"""Held by page tables or the swap cache alone, as far as anybody knows."""

Holders: TypeAlias = tuple[NDArray[np.uint8], tuple[str, ...]]
"""As `mm.move.design.Design.holders` gives them: a code per frame, and the codes' names; 0 is
nobody."""


@frozen
class Refused:
    """Frames in a row that stayed, with one holder and for one reason.

    Attributes:
        pfn: the first of them.
        nr_pages: how many.
        owner: the holder's name, as in `Refusals`.
        reason: why.
    """

    pfn: int
    nr_pages: int
    owner: str
    reason: Reason


@define
class Refusals:
    """Frames that stayed.

    Attributes:
        counts: (reason, holder's name) -> frames.  A holder is an owner's name, "home" for
            page tables, or what the design calls a holder that it does not know ("unknown").
    """

    counts: Counter[tuple[Reason, str]] = field(factory=Counter)
    _frames: list[tuple[Pfns, NDArray[np.int64]]] = field(factory=list, repr=False, eq=False)
    _codes: dict[tuple[Reason, str], int] = field(factory=dict, repr=False, eq=False)

    def add(
        self,
        pfns: Pfns,
        reasons: NDArray[np.uint8],
        holders: Holders,
        *,
        at_home: Mask | None = None,
    ) -> None:
        """Count frames, each once in a call.

        Args:
            pfns: int64[n].
            reasons: uint8[n], one `Reason` each, none of them a success.
            holders: who holds each frame of the machine.
            at_home: bool[n], which of them page tables or the swap cache know: where no owner
                is known either, they count as held by "home".

        Raises:
            PinpageError: a success is no refusal; nothing was counted.
        """
        codes, names = holders
        if len(reasons) and int(reasons.min()) <= Reason.RELEASED:
            raise PinpageError(f"refusals: {Reason(int(reasons.min())).name} is no refusal")
        owner = codes[pfns].astype(np.int64)
        if at_home is not None:
            owner[(owner == 0) & at_home] = len(names)
        pairs, rows, nr_frames = np.unique(
            reasons * np.int64(256) + owner, return_inverse=True, return_counts=True
        )
        codes_of = np.empty(len(pairs), dtype=np.int64)
        for row, (pair, count) in enumerate(zip(pairs.tolist(), nr_frames.tolist(), strict=True)):
            code = pair % 256
            name = HOME if code == len(names) else names[code]
            self.counts[Reason(pair // 256), name] += count
            codes_of[row] = self._codes.setdefault((Reason(pair // 256), name), len(self._codes))
        self._frames.append((np.asarray(pfns, dtype=np.int64), codes_of[rows]))

    def update(self, other: "Refusals") -> None:
        """Add what another request was refused."""
        self.counts.update(other.counts)
        ours = [self._codes.setdefault(key, len(self._codes)) for key in other._codes]
        for pfns, codes in other._frames:
            self._frames.append((pfns, np.array(ours, dtype=np.int64)[codes]))

    def forget_counts(self) -> None:
        """Count anew; which frames they were stays known, each under the last it said."""
        self.counts.clear()
        self._frames = [self._last_said()] if self._frames else []

    def _last_said(self) -> tuple[Pfns, NDArray[np.int64]]:
        """Every frame once, ascending, and the last that was said of it."""
        pfns = np.concatenate([pfns for pfns, _ in self._frames])[::-1]
        codes = np.concatenate([codes for _, codes in self._frames])[::-1]
        pfns, rows = np.unique(pfns, return_index=True)
        return pfns, codes[rows]

    def frames(self) -> tuple[Refused, ...]:
        """Which frames they were, ascending, those in a row that are alike together."""
        if not self._frames:
            return ()
        pfns, codes = self._last_said()
        starts = np.flatnonzero(
            (np.diff(pfns, prepend=-2) != 1) | (np.diff(codes, prepend=-1) != 0)
        )
        sizes = np.diff(starts, append=len(pfns))
        keys = list(self._codes)
        columns = (pfns[starts].tolist(), sizes.tolist(), codes[starts].tolist())
        return tuple(
            Refused(pfn, nr_pages, keys[code][1], keys[code][0])
            for pfn, nr_pages, code in zip(*columns, strict=True)
        )

    @property
    def total(self) -> int:
        """All frames."""
        return sum(self.counts.values())

    def by_reason(self) -> dict[Reason, int]:
        """Frames per reason, in the order of `Reason`, without zeros."""
        found: dict[Reason, int] = {}
        for (reason, _), count in sorted(self.counts.items()):
            found[reason] = found.get(reason, 0) + count
        return found

    def by_owner(self) -> dict[str, dict[Reason, int]]:
        """Holder -> reason -> frames, by name and then in the order of `Reason`."""
        found: dict[str, dict[Reason, int]] = {}
        for (reason, name), count in sorted(self.counts.items(), key=lambda item: item[0][::-1]):
            found.setdefault(name, {})[reason] = count
        return found


def most_first(names: tuple[str, ...], counts: NDArray[np.int64]) -> dict[str, int]:
    """Holder -> frames, most first; those without any are left out.

    Args:
        names: of the holders.
        counts: int64 (len(names),), frames of each.
    """
    order = np.argsort(-counts, kind="stable")
    return {names[row]: int(counts[row]) for row in order if counts[row]}
