"""`PinRegistry` agrees with a plain list of pins after every step, in very small worlds."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pinpage import SEVERAL_OWNERS_ID, PinOwner, PinpageError, PinRegistry, Topology
from pinpage.testing.model import ModelRegistry

TINY = [0, 1, 2, 511, 512, 513, 1023]  # 7 frames at the borders of two nodes
BLOCKS = [0, 1, 2, 3, 4, 5, 6, 300, 510, 511, 512, 513, 514, 515, 1022, 1023, 1024, 1025, 1535]
PRIVATES = [None, 0, 1, -(1 << 63), (1 << 63) - 1, 1 << 63, "x", ("x", 1), True]
NR_OWNERS = 3


class Named(PinOwner):
    """An owner with a name to tell it by."""

    def __init__(self, name: str) -> None:
        self.name = name


class RegistryAgainstModel(RuleBasedStateMachine):
    """One thread; both forms and every batch size, by small thresholds."""

    pool = TINY
    nr_frames = 1024

    @initialize(
        batch=st.sampled_from([0, 1, 3, 255]),
        forms=st.sampled_from([(1, 1), (1, 3), (2, 3), (16, 64)]),
    )
    def build(self, batch, forms):
        below, above = forms
        self.real = PinRegistry(
            Topology.uniform(nr_frames=self.nr_frames, nr_nodes=2),
            batch_nr_pins=batch,
            sparse_below=below,
            dense_above=above,
        )
        self.model = ModelRegistry(self.nr_frames)
        self.everyone = [Named(f"o{i}") for i in range(NR_OWNERS)]
        for owner in self.everyone[:2]:
            self.real.register(owner)
            self.model.register(owner)

    def both(self, real, model):
        """Run both; they return the same or raise the same kind of error."""
        results = []
        for call in (real, model):
            try:
                results.append(call())
            except PinpageError as error:
                results.append(type(error))
        assert results[0] == results[1]

    def some(self, data, *, max_size=6):
        return data.draw(st.lists(st.sampled_from(self.pool), min_size=1, max_size=max_size))

    @rule(data=st.data(), owner=st.integers(0, 2), private=st.sampled_from(PRIVATES))
    def pin(self, data, owner, private):
        pfn = data.draw(st.sampled_from([*self.pool, self.nr_frames, -1]))
        who = self.everyone[owner]
        self.both(
            lambda: self.real.pin(pfn, who, private),
            lambda: self.model.pin_many([pfn], who, [private]),
        )
        if 0 <= pfn < self.nr_frames:
            assert self.real.is_pinned(pfn) == bool(self.model.pins(pfn))

    @rule(data=st.data())
    def unpin(self, data):
        if self.model.held and data.draw(st.booleans()):
            pin = data.draw(st.sampled_from(self.model.held))
        else:
            who = self.everyone[data.draw(st.integers(0, 2))]
            pfn = data.draw(st.sampled_from(self.pool))
            pin = pfn, who, data.draw(st.sampled_from(PRIVATES))
        self.both(
            lambda: self.real.unpin(*pin), lambda: self.model.unpin_many([pin[0]], pin[1], [pin[2]])
        )

    @rule(data=st.data(), owner=st.integers(0, 2), as_array=st.booleans())
    def pin_many(self, data, owner, as_array):
        pfns = self.some(data)
        kinds = st.integers(0, 2) if as_array else st.sampled_from(PRIVATES)
        privates = data.draw(st.lists(kinds, min_size=len(pfns), max_size=len(pfns)))
        given = np.array(privates, dtype=np.int64) if as_array else privates
        who = self.everyone[owner]
        self.both(
            lambda: self.real.pin_many(np.array(pfns), who, given),
            lambda: self.model.pin_many(pfns, who, privates),
        )

    @rule(data=st.data())
    def unpin_many(self, data):
        if not self.model.held:
            return
        chosen = data.draw(st.lists(st.sampled_from(self.model.held), min_size=1, max_size=6))
        who = chosen[0].owner
        pins = [pin for pin in chosen if pin.owner is who]
        pfns, privates = [pin.pfn for pin in pins], [pin.private for pin in pins]
        self.both(
            lambda: self.real.unpin_many(pfns, who, privates),
            lambda: self.model.unpin_many(pfns, who, privates),
        )

    @rule(data=st.data(), owner=st.integers(0, 2), undo=st.booleans(), each=st.booleans())
    def range_of_pins(self, data, owner, undo, each):
        start = data.draw(st.sampled_from(self.pool))
        stop = min(start + data.draw(st.integers(0, 9)), self.nr_frames)
        private = data.draw(st.sampled_from(PRIVATES))
        given = list(range(start, stop)) if each else private
        privates = given if each else [private] * (stop - start)
        if isinstance(given, tuple):
            given = privates
        who, pfns = self.everyone[owner], range(start, stop)
        if undo:
            self.both(
                lambda: self.real.unpin_range(start, stop, who, given),
                lambda: self.model.unpin_many(pfns, who, privates),
            )
        else:
            self.both(
                lambda: self.real.pin_range(start, stop, who, given),
                lambda: self.model.pin_many(pfns, who, privates),
            )

    @rule(owner=st.integers(0, 2), force=st.booleans())
    def come_and_go(self, owner, force):
        who = self.everyone[owner]
        if who in self.model.owners:
            self.both(
                lambda: self.real.unregister(who, force=force),
                lambda: self.model.unregister(who, force=force),
            )
        else:
            self.real.register(who)
            self.model.register(who)

    @rule(data=st.data())
    def begin_move(self, data):
        pfns = self.some(data, max_size=3)
        assert self.real.marks.begin_move(np.array(pfns)).tolist() == self.model.begin_move(pfns)

    @precondition(lambda self: self.model.moving)
    @rule(data=st.data(), ends=st.booleans())
    def finish_move(self, data, ends):
        moving = sorted(self.model.moving)
        sources = data.draw(st.lists(st.sampled_from(moving), min_size=1, max_size=3, unique=True))
        if ends:
            self.real.marks.end_move(np.array(sources))
            self.model.end_move(sources)
            return
        rest = [pfn for pfn in self.pool if pfn not in sources]
        targets = data.draw(st.permutations(rest))[: len(sources)]
        self.real.marks.rekey_many(
            np.array(sources[: len(targets)]), np.array(targets, dtype=np.int64)
        )
        self.model.rekey_many(sources[: len(targets)], targets)

    @rule()
    def flush(self):
        self.real.flush()
        assert self.real.statistics().nr_pending == 0

    @rule(pfn=st.sampled_from(TINY))
    def look_at_one(self, pfn):
        """Before anything drains the batches."""
        assert self.real.is_pinned(pfn) == bool(self.model.pins(pfn))
        assert self.real.pins(pfn) == self.model.pins(pfn)

    @invariant()
    def counts(self):
        if hasattr(self, "real"):
            self.real.check()
            assert len(self.real) == len(self.model.held)

    @rule(data=st.data())
    def agrees(self, data):
        start = data.draw(st.sampled_from(self.pool))
        stop = data.draw(st.sampled_from([pfn for pfn in self.pool if pfn >= start]))
        pinned = {pin.pfn for pin in self.model.held}
        wanted = [pfn in pinned for pfn in range(start, stop)]
        assert self.real.pinned_mask(start, stop).tolist() == wanted
        wanted = [
            pin for pfn in range(start, stop) if pfn in pinned for pin in self.model.pins(pfn)
        ]
        assert list(self.real.iter_pins(start, stop)) == wanted
        columns = self.real.pin_columns(start, stop)
        assert columns.pfns.tolist() == [pin.pfn for pin in wanted]
        assert list(columns.privates) == [pin.private for pin in wanted]
        assert self.real.next_pinned(start) == min((p for p in pinned if p >= start), default=None)
        self.columns_agree(data.draw(st.permutations(self.pool)))

    def columns_agree(self, pfns):
        column = np.array(pfns)
        of_frame = [self.model.pins(pfn) for pfn in pfns]
        assert self.real.owner_counts(column).tolist() == [len(pins) for pins in of_frame]
        ids, privates = self.real.single_pins(column)
        for owner_id, private, pins in zip(ids.tolist(), list(privates), of_frame, strict=True):
            if len(pins) == 1:
                assert (self.real.owner_by_id(owner_id), private) == (
                    pins[0].owner,
                    pins[0].private,
                )
            else:
                assert owner_id == (SEVERAL_OWNERS_ID if pins else -1)

    def teardown(self):
        if hasattr(self, "real"):
            self.real.flush()
            self.real.check()
            assert (
                list(self.real.iter_pins())
                == [pin for pfn in range(self.nr_frames) for pin in self.model.pins(pfn)]
                or len(self.model.held) == 0
            )


class OverSeveralBlocks(RegistryAgainstModel):
    """Three blocks on two nodes, so that blocks change form under ranges and columns."""

    pool = BLOCKS
    nr_frames = 1536


SETTINGS = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTiny = RegistryAgainstModel.TestCase
TestTiny.settings = SETTINGS
TestBlocks = OverSeveralBlocks.TestCase
TestBlocks.settings = SETTINGS
