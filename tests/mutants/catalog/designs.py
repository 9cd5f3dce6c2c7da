"""Bugs in designs, in the patch of 2013, in its experiments, and in the design kit."""

from tests.mutants.mutant import Mutant, planted

_NARROW = "tests/unit/mm/designs/test_narrow.py"
_REGION = "tests/unit/mm/designs/test_confinement.py"
_GROWTH = "tests/unit/pinlab/load/test_growth.py"
_BEFORE = "tests/unit/owners/gup/test_before_pin.py"
_TABLE = "tests/unit/pinlab/replay/test_designs.py"
_HISTORY = "tests/unit/pinlab/defects/test_history.py"
_MEASURE = "tests/unit/pinlab/defects/test_measure.py"
_KIT = "tests/unit/pinlab/design_kit/test_check.py"
_TRACES = "tests/unit/pinpage/test_rfc2013.py"
_SECOND = "tests/unit/pinpage/test_rfc2013_systems.py"

_DESIGNS = [
    planted(
        "narrow-finds-pages-of-two-owners",
        "one owner per page",
        "mm/designs/narrow.py",
        "found: Mask = np.isin(ids, findable) & ~self._memory.has_home(pfns)",
        "found: Mask = (ids != -1) & ~self._memory.has_home(pfns)",
        _NARROW,
    ),
    planted(
        "movable-ops-finds-slab",
        "slab is left out by name",
        "mm/designs/movable_ops.py",
        "return owner.name not in SLAB_CACHES",
        "return True",
        _NARROW,
    ),
    planted(
        "linux-6.1-moves-anything",
        "who has operations",
        "mm/designs/linux61.py",
        "return owner.name in MOVED_BY_LINUX_6_1",
        "return True",
        _NARROW,
    ),
    planted(
        "type-goes-with-its-pin",
        "a type stays until the page is free",
        "mm/designs/type_keyed.py",
        "still: Mask = pinned | typed",
        "still: Mask = pinned",
        _NARROW,
    ),
    planted(
        "type-taken-twice",
        "-EBUSY",
        "mm/designs/type_keyed.py",
        "return Errno.OK if self._ops.setdefault(page_type, code) == code else Errno.EBUSY",
        "return Errno.OK",
        _NARROW,
    ),
    planted(
        "region-never-shrinks",
        "the region shrinks",
        "mm/designs/confinement.py",
        "        self._free.add(pfn)\n        self._shrink()\n",
        "        self._free.add(pfn)\n",
        _REGION,
    ),
    planted(
        "region-takes-the-highest-page",
        "so that the end empties",
        "mm/designs/confinement.py",
        "pfn: int = self._free.pop(0)",
        "pfn: int = self._free.pop()",
        _REGION,
    ),
    planted(
        "growth-counts-pages-for-pageblocks",
        "C10",
        "pinlab/load/growth.py",
        "len(np.unique(pfns // size))",
        "len(np.unique(pfns))",
        _GROWTH,
    ),
    planted(
        "growth-forgets-what-a-region-keeps-free",
        "LR1",
        "pinlab/load/growth.py",
        "        if self.region is not None:\n            size =",
        "        if self.region is None:\n            size =",
        _GROWTH,
    ),
    planted(
        "type-without-owner-says-it-would-move",
        "T11",
        "mm/designs/type_keyed.py",
        "answers[let_go], reasons[let_go] = Answer.NO, Reason.OWNER_BUSY",
        "answers[let_go], reasons[let_go] = Answer.MOVE, Reason.MOVED",
        _NARROW,
    ),
    planted(
        "second-posting-nests",
        "T11",
        "pinpage/rfc2013_systems.py",
        "if pfn in self._flagged:",
        "if pfn in system.privates:",
        _SECOND,
    ),
    planted(
        "second-posting-notices-nobody",
        "T11",
        "pinpage/rfc2013_systems.py",
        "return 0 if system is None else",
        "return NOT_PINNED if system is None else",
        _SECOND,
    ),
    planted(
        "region-takes-movable-pages",
        "the region is for unmovable pages",
        "mm/designs/confinement.py",
        "if gfp & Gfp.MOVABLE:",
        "if gfp == Gfp.MOVABLE:",
        _REGION,
    ),
    planted(
        "repin-loop-pins-where-it-was",
        "pages are where they went",
        "owners/gup/before_pin.py",
        "rmap.space(mm).pte.item(vpn) - 1",
        "rmap.space(mm).pte.item(vpn)",
        _BEFORE,
    ),
    planted(
        "patch-asks-nobody-on-a-machine",
        "whoever registered is called",
        "mm/designs/rfc2013.py",
        "answers[registered], reasons[registered] = Answer.RELEASE, Reason.MOVED",
        "answers[registered], reasons[registered] = Answer.NO, Reason.NO_OWNER",
        _TABLE,
        _KIT,
    ),
    planted(
        "patch-believes-zero",
        "0 for failure: look again",
        "mm/designs/rfc2013.py",
        "                reasons[row] = Reason.OWNER_BUSY\n",
        "                reasons[row] = reasons[row] if returned == 0 else Reason.OWNER_BUSY\n",
        _KIT,
    ),
    planted(
        "design-has-no-callback-of-its-own",
        "zbud-migrate moves zbud",
        "pinlab/replay/replay.py",
        "_Options(entry, movable | entry.moves, zbud_coverage, own, release)",
        "_Options(entry, movable, zbud_coverage, own, release)",
        _TABLE,
    ),
]

_PATCH = [
    planted(
        "patch-finds-another-page",
        "a bucket may hold other pages",
        "pinpage/rfc2013.py",
        "            if record.pfn == pfn:\n                return record\n",
        "            return record\n",
        _TRACES,
    ),
    planted(
        "patch-asks-the-oldest-first",
        "head insertion",
        "pinpage/rfc2013.py",
        "chain.insert(0, Record(owner, pfn, private))",
        "chain.append(Record(owner, pfn, private))",
        _TRACES,
    ),
    planted(
        "patch-mended-for-good",
        "each defect can be present",
        "pinpage/rfc2013.py",
        "return defect in self._defects",
        "return defect in self._defects and defect is not Defect.NO_ISOLATION",
        _HISTORY,
    ),
    planted(
        "patch-guard-without-count",
        "mended: a record in use is not freed",
        "pinpage/rfc2013.py",
        "            if guarded and record.is_dead:\n                return 0\n",
        "",
        _HISTORY,
    ),
    planted(
        "patch-hash-of-32-bits",
        "the hash of v3.11",
        "pinpage/rfc2013.py",
        "return self._buckets[mixed >> (64 - self._nr_bits)]",
        "return self._buckets[mixed >> 32 & len(self._buckets) - 1]",
        _MEASURE,
    ),
    planted(
        "queue-forgets-who-waits",
        "mean value analysis",
        "pinlab/defects/measure.py",
        "in_queue_ns = hold_ns * (1 + waiting)",
        "in_queue_ns = hold_ns",
        _MEASURE,
    ),
]

_DESIGN_KIT = [
    planted(
        "design-kit-does-not-look-after-asking",
        "DP1",
        "pinlab/design_kit/check.py",
        "if lab.facts() != before:",
        "if lab.facts() is None:",
        _KIT,
    ),
    planted(
        "design-kit-forgets-strangers",
        "DP2",
        "pinlab/design_kit/lab.py",
        "if not is_used or self._read(pfn) != text:",
        "if False:",
        _KIT,
    ),
    planted(
        "design-kit-forgets-refusals",
        "DP3",
        "pinlab/design_kit/check.py",
        "if lab.facts_of(pfn) != before[pfn]:",
        "if False:",
        _KIT,
    ),
    planted(
        "design-kit-believes-reports",
        "DP4",
        "pinlab/design_kit/check.py",
        "(reasons <= Reason.RELEASED) & ~is_free",
        "(reasons <= Reason.RELEASED) & is_free & ~is_free",
        _KIT,
    ),
    planted(
        "design-kit-reads-nothing-back",
        "DP5",
        "pinlab/design_kit/check.py",
        "if lost := lab.lost():",
        "if lost := None:",
        _KIT,
    ),
    planted(
        "design-kit-lets-designs-exit",
        "DP7",
        "pinlab/design_kit/check.py",
        "    except BaseException as error:\n        if is_users",
        "    except Exception as error:\n        if is_users",
        _KIT,
    ),
    planted(
        "design-kit-takes-any-number-of-answers",
        "DP7",
        "pinlab/design_kit/check.py",
        "if np.shape(column) != (nr_frames,):",
        "if column is None:",
        _KIT,
    ),
    planted(
        "design-kit-asks-once",
        "DP6",
        "pinlab/design_kit/check.py",
        "    second = _ask(design, used, mode)\n",
        "    second = first\n",
        _KIT,
    ),
]

MUTANTS: list[Mutant] = [*_DESIGNS, *_PATCH, *_DESIGN_KIT]
