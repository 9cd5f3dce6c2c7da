"""What the registry counted, as one value.

Owns:    the names and the meaning of the counters.
Ignores: where they are kept; the registry adds up its nodes.
Cost:    a frozen record; taking one reads counters and takes no lock.
Kernel counterpart: /proc/vmstat.
"""

from attrs import field, frozen

__all__ = ["Statistics"]


@frozen(kw_only=True)
class Statistics:
    """Counters since the registry was made, and gauges of this moment.

    Attributes:
        nr_pins: pins now, those in batches included.
        nr_pending: pins now in batches.
        nr_sparse, nr_dense, nr_runs: pins now by form: in the table of scattered pins, in
            leaves of several owners, in leaves of one owner.
        nr_extra: pins now beyond the first of their frame, counted in no form.
        nr_leaves: pageblocks with a leaf of their own.
        nr_moving: frames under move now.
        nr_local, nr_remote: node-lock acquisitions by threads that run on the node, by others.
        nr_drains: batches emptied; nr_drained: pins that came out of them.
        nr_annihilated: pins undone while still in their batch: no lock, no leaf.
        nr_direct: pins stored without a batch (ranges, columns, frames watched).
        nr_refused: pins that a drain handed back to their thread (they lost a race).
        nr_waits: times that a pin waited for a frame under move.
        nr_died: pins dropped while their frame was under move.
        nr_probes: slots passed over in the table of scattered pins because another frame's
            record sat there; lookups without the lock may lose a count.
        nr_rebuilds: times that a table of scattered pins was copied into a larger or smaller one.
        nr_conversions: leaves made or given back.
        nr_privates: objects in the side table of privates.
    """

    nr_pins: int = field()
    nr_pending: int = field()
    nr_sparse: int = field()
    nr_dense: int = field()
    nr_runs: int = field()
    nr_extra: int = field()
    nr_leaves: int = field()
    nr_moving: int = field()
    nr_local: int = field()
    nr_remote: int = field()
    nr_drains: int = field()
    nr_drained: int = field()
    nr_annihilated: int = field()
    nr_direct: int = field()
    nr_refused: int = field()
    nr_waits: int = field()
    nr_died: int = field()
    nr_probes: int = field()
    nr_rebuilds: int = field()
    nr_conversions: int = field()
    nr_privates: int = field()

    @property
    def lock_acquisitions(self) -> int:
        """Node-lock acquisitions, local and remote."""
        return self.nr_local + self.nr_remote
