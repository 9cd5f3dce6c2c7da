"""The experiments of `on_patch` on the registry and its move: what went wrong, or None.

Each puts the registry into the situation in which the patch fails, on a small real machine.
"""

from collections.abc import Callable

import numpy as np

from mm.designs.rfc2013 import OwnPages
from mm.machine import Machine
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from pinpage.errors import AlreadyPinnedError, PinpageError
from pinpage.migrate import move_many, move_steps
from pinpage.move.release import release_many
from pinpage.move.report import MoveReport
from pinpage.move.steps import Step
from pinpage.owner import Mode, Pin, PinOwner, Reason, Verdict
from pinpage.rfc2013_defects import Defect
from pinpage.units import Pfns

__all__ = ["ON_REGISTRY", "RegistryExperiment"]

RegistryExperiment = Callable[[], str | None]
"""Says what went wrong, or None."""

_NR_CROWDED = 20_480


class _Driver(PinOwner):
    """Keeps one page, and notes what it is told."""

    def __init__(self, name: str = "driver", verdict: Verdict = Verdict.YES) -> None:
        self.name = name
        self.verdict = verdict
        self.pfn = -1
        self.calls: list[str] = []
        self.modes: list[Mode] = []

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        self.calls.append("isolate")
        self.modes.append(mode)
        return self.verdict

    def migrate(self, pin: Pin, target: int) -> None:
        self.calls.append("migrate")
        self.pfn = target

    def putback(self, pin: Pin) -> None:
        self.calls.append("putback")


class _Lab:
    """A machine, its registry, and drivers with a page each."""

    def __init__(self) -> None:
        self.machine = Machine.build(nr_pages=1024, contents="tags")
        self.registry = self.machine.use_registry()

    def page_of(self, *drivers: _Driver) -> int:
        """One page that all of them hold, with a reference each."""
        pfn = self.machine.alloc_page(Gfp.KERNEL)
        for nth, driver in enumerate(drivers):
            if nth:
                self.machine.get_page(pfn)
            self.registry.register(driver)
            self.registry.pin(pfn, driver, nth)
            driver.pfn = pfn
        return pfn

    def move(self, pfn: int, mode: Mode = Mode.SYNC) -> MoveReport:
        """One attempt, to wherever there is memory."""
        own = OwnPages(self.machine)
        return move_many(self.registry, self.machine.mover, _one(pfn), own, mode)


def _one(pfn: int) -> Pfns:
    return np.array([pfn], dtype=np.int64)


def _sizeof_pointer() -> str | None:
    lab, drivers = _Lab(), [_Driver(str(nth)) for nth in range(8)]
    pfn = lab.page_of(*drivers)
    lab.registry.check()
    kept = [(pin.owner, pin.private) for pin in lab.registry.pins(pfn)]
    return None if kept == [(d, n) for n, d in enumerate(drivers)] else "a pin was overwritten"


class _NoMemory:
    """A private for which there is no memory."""

    def __hash__(self) -> int:
        raise MemoryError


def _unchecked_allocation() -> str | None:
    lab, driver = _Lab(), _Driver()
    lab.registry.register(driver)
    pfn = lab.machine.alloc_page(Gfp.KERNEL)
    try:
        lab.registry.pin(pfn, driver, _NoMemory())
    except MemoryError:
        lab.registry.check()
    return "half a pin is left" if lab.registry.is_pinned(pfn) else None


def _use_after_unlock() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)
    own = OwnPages(lab.machine)
    for step in move_steps(lab.registry, lab.machine.mover, _one(pfn), own, Mode.SYNC):
        if step is Step.LOOKUP:
            lab.registry.unpin(pfn, driver, 0)
            lab.machine.put_page(pfn)
    return f"called after it had unpinned: {driver.calls}" if driver.calls else None


def _same_record_again() -> str | None:
    lab, driver = _Lab(), _Driver()
    lab.move(lab.page_of(driver))
    asked = driver.calls.count("isolate")
    return None if asked == 1 else f"asked {asked} times"


def _no_unregister() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)
    lab.registry.unpin(pfn, driver, 0)
    return "the pin stays" if lab.registry.is_pinned(pfn) else None


def _failure_is_zero() -> str | None:
    lab, driver = _Lab(), _Driver(verdict=Verdict.BUSY)
    reason = Reason(lab.move(lab.page_of(driver)).reasons.item(0))
    return None if reason is Reason.OWNER_BUSY else f"a refusal is {reason.name}"


def _flag_is_a_stub() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)
    found = lab.machine.design.claims(pfn, pfn + 1).item(0)
    lab.move(pfn)
    return None if found and driver.calls else "nobody was asked"


class _Forgets(_Driver):
    """Drops the last reference and keeps its pin."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        self.machine.put_page(pin.pfn)
        return Verdict.YES


def _no_page_reference() -> str | None:
    lab = _Lab()
    pfn = lab.page_of(_Forgets(lab.machine))
    release_many(lab.registry, lab.machine.mover, _one(pfn), Mode.SYNC)
    state = FrameState(lab.machine.frames.state.item(pfn))
    return None if state is FrameState.QUARANTINED else f"the pinned page is {state.name}"


def _no_isolation() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)
    own = OwnPages(lab.machine)
    second = [
        Reason(lab.move(pfn).reasons.item(0))
        for step in move_steps(lab.registry, lab.machine.mover, _one(pfn), own, Mode.SYNC)
        if step is Step.ISOLATE
    ]
    asked = driver.calls.count("isolate")
    return None if asked == 1 and second == [Reason.ALREADY_ISOLATED] else f"{asked} migrators"


def _duplicates() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)
    try:
        lab.registry.pin(pfn, driver, 0)
    except AlreadyPinnedError:
        return None
    return "pinned twice"


def _no_rollback() -> str | None:
    lab, agrees, refuses = _Lab(), _Driver("Y"), _Driver("X", Verdict.BUSY)
    pfn = lab.page_of(agrees, refuses)
    lab.move(pfn)
    whole = agrees.pfn == pfn and agrees.calls == ["isolate", "putback"]
    return None if whole else "Y has moved, X has not"


def _sleeps_in_atomic() -> str | None:
    lab, driver, late = _Lab(), _Driver(), _Driver("late")
    pfn = lab.page_of(driver)
    lab.registry.register(late)
    own = OwnPages(lab.machine)
    answers = [
        lab.registry.pin(pfn, late, wait=False)
        for step in move_steps(lab.registry, lab.machine.mover, _one(pfn), own, Mode.SYNC)
        if step is Step.ISOLATE
    ]
    return None if answers == [Verdict.AGAIN] else f"it answered {answers}"


def _one_table() -> str | None:
    machine = Machine.build(nr_pages=1 << 20, contents="tags")
    registry, driver = machine.use_registry(), _Driver()
    registry.register(driver)
    pfns = np.arange(_NR_CROWDED, dtype=np.int64) * 37
    registry.pin_many(pfns, driver)
    before = registry.statistics().nr_probes
    for pfn in pfns[::8].tolist():
        registry.is_pinned(pfn)
    probes = 1 + (registry.statistics().nr_probes - before) / len(pfns[::8])
    return f"{probes:.1f} records looked at per page" if probes > 2.5 else None


def _no_destination() -> str | None:
    lab, driver = _Lab(), _Driver()
    report = lab.move(lab.page_of(driver), Mode.SYNC_LIGHT)
    told = driver.pfn == report.targets.item(0) and driver.modes == [Mode.SYNC_LIGHT]
    return None if told else "the owner was not told where to, or how long"


def _no_owner_lifetime() -> str | None:
    lab, driver = _Lab(), _Driver()
    lab.page_of(driver)
    try:
        lab.registry.unregister(driver)
    except PinpageError:
        return None
    return "it may go while it has pins"


def _wrong_arguments() -> str | None:
    lab, driver = _Lab(), _Driver()
    lab.move(lab.page_of(driver))
    return None if driver.calls == ["isolate", "migrate"] else f"calls: {driver.calls}"


def _home_is_forgotten() -> str | None:
    lab, driver = _Lab(), _Driver()
    machine = lab.machine
    space = machine.memory.mmap("process", 1)
    pfn = machine.memory.touch(space, 0, write=True)
    machine.get_page(pfn)
    lab.registry.register(driver)
    lab.registry.pin(pfn, driver, 0)
    target = lab.move(pfn).targets.item(0)
    named = space.pte.item(0) - 1
    return None if named == target == driver.pfn else f"page tables name {named}, not {target}"


def _flag_after_record() -> str | None:
    lab, driver = _Lab(), _Driver()
    pfn = lab.page_of(driver)  # a pin is one step: there is no moment in between
    seen = lab.registry.is_pinned(pfn) and bool(lab.registry.pinned_mask(pfn, pfn + 1).all())
    return None if seen and len(lab.registry) == 1 else "a pin that is not seen"


ON_REGISTRY: dict[Defect, RegistryExperiment] = {
    Defect.SIZEOF_POINTER: _sizeof_pointer,
    Defect.UNCHECKED_ALLOCATION: _unchecked_allocation,
    Defect.USE_AFTER_UNLOCK: _use_after_unlock,
    Defect.SAME_RECORD_AGAIN: _same_record_again,
    Defect.NO_UNREGISTER: _no_unregister,
    Defect.FAILURE_IS_ZERO: _failure_is_zero,
    Defect.FLAG_IS_A_STUB: _flag_is_a_stub,
    Defect.NO_PAGE_REFERENCE: _no_page_reference,
    Defect.NO_ISOLATION: _no_isolation,
    Defect.DUPLICATES: _duplicates,
    Defect.NO_ROLLBACK: _no_rollback,
    Defect.SLEEPS_IN_ATOMIC: _sleeps_in_atomic,
    Defect.ONE_LOCK_ONE_TABLE: _one_table,
    Defect.NO_DESTINATION: _no_destination,
    Defect.NO_OWNER_LIFETIME: _no_owner_lifetime,
    Defect.WRONG_ARGUMENTS: _wrong_arguments,
    Defect.HOME_IS_FORGOTTEN: _home_is_forgotten,
    Defect.FLAG_AFTER_RECORD: _flag_after_record,
}
"""Every defect, and what would show it."""
