"""Bugs planted in the balloon."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

FILE = "owners/balloon.py"
UNIT, RACES = "tests/unit/owners/test_balloon.py", "tests/races/test_balloon.py"


def _mutant(name: str, guards: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name=f"balloon-{name}", guards=guards, file=FILE, old=old, new=new, tests=tests)


MUTANTS: list[Mutant] = [
    _mutant(
        "deflates-what-a-mover-has", "R-2",
        "for number in self._pfn if number not in isolated]", "for number in self._pfn]",
        UNIT, RACES,
    ),
    _mutant(
        "isolates-what-is-gone", "R-1",
        "            if pin.private not in self._pfn:\n                return Verdict.BUSY\n", "",
        UNIT, RACES,
    ),
    _mutant(
        "host-keeps-the-old-page", "BA1",
        "            self.host.remove(self._pfn[pin.private])\n", "", UNIT, RACES,
    ),
    _mutant(
        "host-never-told-of-the-new-page", "BA1",
        "            self.host.add(target)\n", "            self.host.add(pin.pfn)\n", UNIT, RACES,
    ),
    _mutant(
        "stays-isolated-after-a-move", "BA2",
        "= target\n            self._isolated.discard(pin.private)\n", "= target\n", UNIT, RACES,
    ),
    _mutant(
        "putback-forgets-the-mark", "BA2",
        '"""It did not move; `deflate` may have it again."""\n        with self._lock:\n'
        "            self._isolated.discard(pin.private)",
        '"""It did not move; `deflate` may have it again."""', UNIT,
    ),
    _mutant(
        "table-is-not-repointed", "BA1",
        "            self._pfn[pin.private] = target\n", "", UNIT, RACES,
    ),
    _mutant(
        "deflates-without-unpinning", "R-10",
        "            unpin(self._registry, pfn, self, number)\n", "            pass\n", UNIT,
    ),
    _mutant(
        "keeps-a-page-that-it-could-not-pin", "R-29",
        "is not Verdict.YES:\n", "is None:\n", RACES,
    ),
    _mutant(
        "takes-the-newest-page-first", "deflate order",
        "idle[:nr_pages]", "idle[::-1][:nr_pages]", UNIT,
    ),
    _mutant(
        "check-ignores-the-host", "BA1",
        'require(self.host == set(self._pfn.values())', 'require(self.host is not None', UNIT,
    ),
]  # fmt: skip
