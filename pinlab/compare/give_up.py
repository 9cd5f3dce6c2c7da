"""Compacting where some owners can only give their pages up: what that can come to, and by plan.

A scan asks them as it passes.  A plan promises what it moves, so what is to be given up goes
first: what stands in pageblocks that can be emptied then, and the rest only where that was not
enough, for frames that are given up anywhere are places to move to.

Owns: which frames are given up before a plan is made.
Ignores: who can give up what (the design).
Kernel counterpart: the 2013 patches reclaim a list of zbud pages before anything is migrated.
Cost: one census and one batched look-up beside those of the plan.
"""

import numpy as np

from mm.compaction.compact_control import CompactReport
from mm.machine import Compacted, Machine
from mm.move.design import Answer, Strategy
from mm.state.frames import FrameState
from pinpage.owner import Mode
from pinpage.units import Mask

__all__ = ["compact_giving_up"]


def compact_giving_up(machine: Machine, strategy: Strategy) -> Compacted:
    """`machine.compact`, and a bound that counts what owners give up as free.

    Args:
        machine: under a design that asks owners.
        strategy: "scan" or "plan".
    """
    machine.pcp.drain_all()
    given_up = _given_up(machine)
    could, _ = machine.planned.census(machine.design, with_released=True, given_up=given_up)
    bound = could.bound()
    if strategy == "scan":
        compacted = machine.compact("scan", with_bound=False)
        compacted.bound = bound
        return compacted
    before = machine.counted()
    report = CompactReport()
    in_emptied = np.repeat(could.clearable, could.nr_pages_per_block)[: len(given_up)]
    for nth, chosen in enumerate((given_up & in_emptied, given_up & ~in_emptied)):
        if nth and int(machine.buddy.wholly_free().sum()) >= bound:
            break
        pfns = np.flatnonzero(chosen)
        report.absorb(pfns, machine.design.release(pfns, Mode.SYNC))
        machine.pcp.drain_all()
        compacted = machine.compact("plan")
        report.add(compacted.report)
    compacted.report, compacted.bound = report, bound
    compacted.elapsed_ns = machine.costs.cost_of(machine.counted().since(before))
    return compacted


def _given_up(machine: Machine) -> Mask:
    """Frames that their owners would give up, bool (nr_frames,)."""
    used = np.flatnonzero(machine.frames.state == FrameState.USED)
    found = np.zeros(machine.frames.nr_frames, dtype=np.bool_)
    if len(used):
        answers = machine.mover.classify(used, machine.design, Mode.SYNC).answers
        found[used[answers == Answer.RELEASE]] = True
    return found
