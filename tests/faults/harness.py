"""One fault at the n-th point of a request, and the question whether all is as it should be.

A `Fault` counts the events of its kind; the n-th one goes wrong.  With n = 0 nothing does, and
the count says how many points there are, so that each of them can be tried.

kind                     an event is                           what goes wrong there
----                     -----------                           ---------------------
no target                a frame asked of a target source      it and those after it are not there
no huge page             a huge page asked of its source       there is none
again, busy              a pin or a page that is asked         that is its answer
raise                    a callback                            an exception, nothing was done
lie                      a callback that can lie               see `world.Keeper`
interrupt a callback     a callback                            KeyboardInterrupt
interrupt an allocation  a page asked of the page allocator    KeyboardInterrupt
kill between steps       a named step of a move or release     KeyboardInterrupt before it
kill in mm               a call of the memory side of a move   KeyboardInterrupt before it
interrupt a question     a look at who pins what, a notifier   KeyboardInterrupt
veto                     a notifier that is asked              it says no
signal                   a look for a fatal signal             there is one
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from attrs import define

import pinpage.migrate
import pinpage.move.release
from mm.compaction.free_scanner import FreeScanner
from mm.compaction.free_scanner_for_order import FreeSearcher
from mm.contig.evacuate import AllocatedTargets
from mm.hugetlb.hugetlb import BuddySource
from pinpage.move.steps import GivenTargets

__all__ = ["KINDS", "KINDS_OF_KILL", "Fault"]

KINDS_OF_KILL = (
    "interrupt a callback",
    "interrupt an allocation",
    "kill between steps",
    "kill in mm",
    "interrupt a question",
)
KINDS = (
    "no target",
    "no huge page",
    "again",
    "busy",
    "raise",
    "lie",
    "veto",
    "signal",
    *KINDS_OF_KILL,
)

_MEMORY_SIDE = (
    "take",
    "only_ours",
    "freeze",
    "still_frozen",
    "unfreeze",
    "copy",
    "copy_contents",
    "rekey",
    "free",
    "put",
)


@define
class Fault:
    """What goes wrong, and when."""

    kind: str = ""
    at: int = 0
    nr_events: int = 0

    def is_due(self, kind):
        """An event of this kind: whether it is the one."""
        self.nr_events += kind == self.kind
        return kind == self.kind and self.nr_events == self.at

    @property
    def has_struck(self):
        return 0 < self.at <= self.nr_events

    def interrupts(self, kind):
        if self.is_due(kind):
            raise KeyboardInterrupt

    # Where it gets in.

    @contextmanager
    def armed(self, machine):
        """While this is open, events are counted and the fault strikes."""
        mover = machine.mover
        with ExitStack() as stack:
            for source in (FreeScanner, FreeSearcher, AllocatedTargets, GivenTargets):
                stack.enter_context(patch.object(source, "take", self._short(source.take)))
            alloc = BuddySource.alloc
            stack.enter_context(patch.object(BuddySource, "alloc", self._no_huge_page(alloc)))
            for module, name in (
                (pinpage.migrate, "move_steps"),
                (pinpage.move.release, "release_steps"),
            ):
                steps = getattr(module, name)
                stack.enter_context(patch.object(module, name, self._stepwise(steps)))
            for name in _MEMORY_SIDE:
                method = self._interrupted("kill in mm", getattr(mover, name))
                stack.enter_context(patch.object(mover, name, method))
            ask = self._interrupted("interrupt a question", machine.design.ask)
            stack.enter_context(patch.object(machine.design, "ask", ask))
            allocator = machine.allocator
            alloc_pages = self._interrupted("interrupt an allocation", allocator.alloc_pages)
            stack.enter_context(patch.object(allocator, "alloc_pages", alloc_pages))
            stack.enter_context(patch.object(machine.evacuator, "_alloc_pages", alloc_pages))
            yield

    def _short(self, take):
        def short(source, count):
            found = take(source, count)
            for nr_there in range(len(found)):
                if self.is_due("no target"):
                    source.give_back(found[nr_there:])
                    return found[:nr_there]
            return found

        return short

    def _no_huge_page(self, alloc):
        def none(source, node, *, hard):
            return -1 if self.is_due("no huge page") else alloc(source, node, hard=hard)

        return none

    def _stepwise(self, steps):
        return lambda *args: _Steps(self, steps(*args))

    def _interrupted(self, kind, function):
        def interrupted(*args, **kwargs):
            self.interrupts(kind)
            return function(*args, **kwargs)

        return interrupted


@define
class _Steps:
    """A move's generator, with a point before each of its steps."""

    fault: Fault
    steps: object

    def __next__(self):
        self.fault.interrupts("kill between steps")
        return next(self.steps)

    def close(self):
        self.steps.close()
