"""A design of one's own: asks one owner per frame, and leaves alone what was refused before."""

import numpy as np

from mm.move.design import Answer, RegistryDesign
from pinlab.design_kit.lab import DesignLab
from pinpage.owner import Reason


class Patient(RegistryDesign):
    name = "patient"

    def __init__(self, lab: DesignLab) -> None:
        super().__init__(lab.registry, lab.machine.mover)
        self.refused = np.zeros(lab.machine.frames.nr_frames, dtype=np.bool_)

    def ask(self, pfns, mode):
        answers, reasons = super().ask(pfns, mode)
        stays = self.refused[pfns] | (self._registry.owner_counts(pfns) > 1)
        answers[stays], reasons[stays] = Answer.NO, Reason.OWNER_BUSY
        return answers, reasons

    def move(self, pfns, targets, mode):
        report = super().move(pfns, targets, mode)
        self.refused[pfns] |= report.reasons == Reason.OWNER_BUSY
        return report


def patient(lab: DesignLab) -> Patient:
    return Patient(lab)
