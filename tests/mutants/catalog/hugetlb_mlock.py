"""Bugs planted in hugetlb pages and locked memory as owners, and in the one-callback form."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

HUGETLB, MLOCK = "owners/hugetlb_pages.py", "owners/mlock.py"
RELEASE, OWNER = "pinpage/move/release.py", "pinpage/owner.py"
T = "tests/unit/owners"
HUGETLB_T, MLOCK_T = f"{T}/test_hugetlb_pages.py", f"{T}/test_mlock.py"
CALLBACK_T = f"{T}/test_callback_owner.py"

MUTANTS: list[Mutant] = [
    planted(
        "hugetlb-always-offers-release", "policy", HUGETLB,
        "return self.may_dissolve", "return True", HUGETLB_T,
    ),
    planted(
        "mlock-holds-a-reference", "references", MLOCK,
        "np.zeros(len(pfns), dtype=np.int64)", "np.ones(len(pfns), dtype=np.int64)", MLOCK_T,
    ),
    planted(
        "mlock-ignores-the-policy", "policy", MLOCK,
        "Verdict.YES if self.may_move else Verdict.BUSY", "Verdict.YES", MLOCK_T,
    ),
    planted("mlock-always-can", "policy", MLOCK, "return self.may_move", "return True", MLOCK_T),
    planted(
        "mlock-flag-goes-with-the-first-unlock", "ML2", MLOCK,
        "if not any(pin.owner is self for pin in self._registry.pins(pfn)):", "if True:", MLOCK_T,
    ),
    planted(
        "mlock-flag-stays", "ML2", MLOCK,
        "                self._frames.clear_flag(pfns, flag)\n", "                pass\n", MLOCK_T,
    ),
    planted(
        "mlock-keeps-what-it-locked-before-again", "all or none", MLOCK,
        "                self.unlock(space, fresh)\n", "", MLOCK_T,
    ),
    planted(
        "mlock-pins-where-the-page-was", "ML1", MLOCK,
        "            if space.pte.item(vpn) == entry:\n", "            if entry:\n", MLOCK_T,
    ),
    planted(
        "mlock-one-page-is-busy", "C8", "owners/batch_owner.py",
        "Verdict(int(self.isolate_many(np.array([pin.pfn]), [pin.private], mode)[0]))",
        "super().isolate(pin, mode)", MLOCK_T,
    ),
    planted(
        "hugetlb-keeps-what-it-could-not-pin", "C14", HUGETLB,
        "        return verdict is Verdict.YES\n",
        "        return verdict is not None\n", HUGETLB_T,
    ),
    planted(
        "hugetlb-uses-what-nobody-pinned", "C14", HUGETLB,
        "        if head in self._known:\n            return head\n",
        "        if head:\n            return head\n", HUGETLB_T,
    ),
    planted(
        "mlock-counts-twice", "lock twice", MLOCK,
        "fresh = np.unique(vpns[~known])", "fresh = np.unique(vpns)", MLOCK_T,
    ),
    planted(
        "callback-failure-is-success", "seed defect 6", OWNER,
        "Verdict.YES if self._callback(pin.pfn, pin.private) == 0 else Verdict.BUSY",
        "Verdict.YES if self._callback(pin.pfn, pin.private) != 0 else Verdict.BUSY", CALLBACK_T,
    ),
    planted(
        "callback-liars-are-believed", "R-26", RELEASE,
        "        if len(kept):\n", "        if False:\n", CALLBACK_T,
    ),
    planted(
        "callback-liars-are-asked-again", "R-26", RELEASE,
        "batch.registry.fault(owner,", "(lambda *_: None)(owner,", CALLBACK_T,
    ),
]  # fmt: skip
