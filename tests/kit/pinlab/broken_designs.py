"""Seven designs that each break one promise."""

import numpy as np

from mm.move.design import Answer, RegistryDesign, Unmovable
from pinpage.owner import Reason


class Registry(RegistryDesign):
    def __init__(self, lab):
        super().__init__(lab.registry, lab.machine.mover)
        self.lab = lab


class TakesAReferenceWhenAsked(Registry):
    name = "DP1"

    def ask(self, pfns, mode):
        self.lab.machine.get_page(int(pfns[0]))
        return super().ask(pfns, mode)


class GivesUpWhatNobodyKnows(Unmovable):
    name = "DP2"

    def __init__(self, lab):
        self.lab = lab

    def ask(self, pfns, mode):
        nobodys = (self.lab.registry.owner_counts(pfns) == 0) & ~(
            self.lab.machine.mover.has_home(pfns)
        )
        answers = np.where(nobodys, Answer.RELEASE, Answer.NO).astype(np.uint8)
        return answers, np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8)

    def release(self, pfns, mode):
        for pfn in pfns.tolist():
            self.lab.machine.put_page(pfn)
        return np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)


class ForgetsWhoRefused(Registry):
    name = "DP3"

    def move(self, pfns, targets, mode):
        report = super().move(pfns, targets, mode)
        for pfn in pfns[report.reasons == Reason.OWNER_BUSY].tolist():
            for pin in self.lab.registry.pins(pfn):
                self.lab.registry.unpin(*pin)
        return report


class ReportsSuccess(Registry):
    name = "DP4"

    def move(self, pfns, targets, mode):
        report = super().move(pfns, targets, mode)
        report.reasons[:] = Reason.MOVED
        return report


class WipesWhatItMoved(Registry):
    name = "DP5"

    def move(self, pfns, targets, mode):
        report = super().move(pfns, targets, mode)
        self.lab.machine.contents.forget(report.targets[report.targets >= 0][:1])
        return report


class ChangesItsMind(Registry):
    name = "DP6"
    nr_asked = 0

    def ask(self, pfns, mode):
        answers, reasons = super().ask(pfns, mode)
        self.nr_asked += 1
        if self.nr_asked % 2:
            answers[:] = Answer.NO
        return answers, reasons


class Leaves(Registry):
    name = "DP7"

    def ask(self, pfns, mode):
        raise SystemExit(0)


BROKEN = (
    TakesAReferenceWhenAsked,
    GivesUpWhatNobodyKnows,
    ForgetsWhoRefused,
    ReportsSuccess,
    WipesWhatItMoved,
    ChangesItsMind,
    Leaves,
)
"""In the order of the promises."""
