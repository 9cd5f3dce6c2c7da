"""Bugs planted in the ways out: what a fault in the middle of a request has to put back."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

HOME, MOVE, BATCH = "mm/move/home_move.py", "mm/move/move.py", "pinpage/move/batch.py"
UNDOING, MIGRATE = "pinpage/move/undoing.py", "pinpage/migrate.py"
ALL_OR_NOTHING = "R-33: everything is put back, on every path"


def _point(*cases: str) -> tuple[str, ...]:
    return tuple(f"tests/faults/test_every_point.py::test_every_point[{case}]" for case in cases)


_UNDO = [
    ("move-deaf-to-interrupts", ALL_OR_NOTHING, MIGRATE,
     "partial(_steps, mode=mode), _abandon)", "partial(_steps, mode=mode), repr)",
     _point("compact-scan-interrupt a callback", "compact-scan-kill between steps")),
    ("undone-when-the-traceback-goes", "targets are back before their source is gone",
     "pinpage/move/steps.py",
     "        steps.close()\n", "        pass\n",
     _point("compact-scan-kill between steps", "power-plan-kill between steps")),
    ("release-interrupted-keeps-its-frames", ALL_OR_NOTHING, "pinpage/move/release.py",
     "partial(_steps, mode=mode), _abandon)", "partial(_steps, mode=mode), repr)",
     _point("compact-scan-kill between steps")),
    ("owner-interrupted-in-isolate-waits-for-ever", "isolate is followed by putback", BATCH,
     "            state[rows[call.unfinished]] = PinState.UNKNOWN\n", "",
     ("tests/unit/pinpage/move/test_undoing.py",)),
    ("owner-interrupted-in-migrate-is-half-moved", "R-28: all pins of a frame or none", BATCH,
     "            self.pins.state[rows[: call.nr_returned]] = then\n",
     ("            if call.nr_returned == len(rows):\n"
     "                self.pins.state[rows] = then\n"),
     _point("contig-scan-interrupt a callback")),
    ("interrupted-before-rekey-frees-the-source", "no byte is lost", MIGRATE,
     "    batch.do(batch.rekeyed, True, going, batch.memory.rekey, batch.sources, batch.where)\n",
     ("    batch.rekeyed[going] = True\n"
     "    batch.do(batch.rekeyed, True, going, batch.memory.rekey, batch.sources, batch.where)\n"),
     _point("contig-scan-kill in mm")),
    ("one-putback-that-raises-forgets-the-others", "each pin is put back", UNDOING,
     "    for row in rows.tolist():\n", "    for row in ():\n",
     _point("compact-scan-raise", "contig-scan-raise", "huge1g-frames-raise", "cma-scan-raise",
            "power-scan-raise", "offline-scan-raise")),
    ("abandoned-move-keeps-its-targets", "a target leaked", UNDOING,
     "    batch.do(batch.where, -1, frames[~bad], batch.targets.give_back, batch.where)\n", "",
     _point("contig-scan-kill between steps", "contig-scan-raise")),
]  # fmt: skip

_HOME = [
    ("home-move-deaf-to-interrupts", ALL_OR_NOTHING, HOME,
     "        move.abandon()\n", "        pass\n", _point("contig-scan-kill in mm")),
    ("home-move-abandoned-leaks-targets", "a target leaked", HOME,
     "            self._targets.give_back(self._destinations)\n", "            pass\n",
     _point("contig-scan-kill in mm")),
    ("home-move-abandoned-stays-frozen", "V4", HOME,
     "            self._memory.unfreeze(self._pfns[self._frozen])\n", "            pass\n",
     _point("contig-scan-kill in mm")),
    ("home-move-abandoned-stays-taken", "V4", HOME,
     "            self._memory.put(self._pfns[np.setdiff1d(self._taken, self._moved)])\n",
     "            pass\n",
     _point("contig-scan-kill in mm")),
    ("home-move-interrupted-at-the-end-leaks-its-sources", "every frame is accounted for", HOME,
     "            if not self._is_freed:\n", "            if False:\n",
     _point("contig-scan-kill in mm")),
    ("home-move-puts-refused-frames-back-twice", "V1", HOME,
     "        self._taken = self._taken[self.reasons[self._taken] == Reason.MOVED]\n", "",
     _point("power-scan-kill in mm", "huge1g-frames-kill in mm", "offline-scan-kill in mm")),
]  # fmt: skip

_CONSUMERS = [
    ("interrupted-scan-keeps-its-targets", "no frame stays TAKEN", "mm/compaction/compaction.py",
     "        finally:\n            targets.release()\n",
     "        except OSError:\n            raise\n        targets.release()\n",
     _point("compact-scan-kill between steps")),
    ("interrupted-order-scan-keeps-its-targets", "no frame stays TAKEN",
     "mm/compaction/compact_for_order.py",
     "        finally:\n            self._targets.release()\n",
     "        except OSError:\n            raise\n        self._targets.release()\n",
     _point("huge2m-scan-kill between steps")),
    ("interrupted-plan-keeps-its-targets", "no frame stays TAKEN", "mm/planning/execute.py",
     "        finally:\n            unused", ("        except OSError:\n            raise\n"
     "        if True:\n            unused"), _point("compact-plan-kill between steps")),
    ("interrupted-range-plan-keeps-its-targets", "no frame stays TAKEN", "mm/planning/execute.py",
     "    finally:\n        if len(given.remaining)",
     "    except OSError:\n        raise\n    else:\n        if len(given.remaining)",
     _point("contig-plan-kill between steps")),
    ("interrupted-allocation-leaks-those-before", "a target leaked", "mm/contig/evacuate.py",
     "            self.give_back(np.array(found, dtype=np.int64))\n", "",
     _point("contig-scan-interrupt an allocation")),
    ("interrupted-isolation-is-not-undone", "all pageblocks or none", "mm/contig/page_isolation.py",
     "        for earlier in () if all_done else done:\n",
     ("        for earlier in done if done and pageblocks.migratetype[block] else ():\n"
     "            continue\n        for earlier in ():\n"),
     _point("contig-scan-interrupt a question", "offline-scan-interrupt a question")),
    ("contiguous-range-stays-isolated", "R-33: one exit", "mm/contig/contig.py",
     "        finally:\n            evacuator.undo(span, migratetype)\n",
     "        except OSError:\n            raise\n        evacuator.undo(span, migratetype)\n",
     _point("contig-scan-kill between steps")),
    ("device-bits-stay-set", "CMA bits are cleared", "mm/contig/cma.py",
     "        finally:\n            if not obtained:\n                area.mark(",
     "        except OSError:\n            if not obtained:\n                area.mark(",
     _point("cma-scan-kill between steps", "cma-scan-no target")),
    ("memory-block-stays-isolated", "R-33: one exit", "mm/hotplug/memory_hotplug.py",
     "            if block not in self._gone:\n                evacuator.undo(span)\n",
     "            if block not in self._gone:\n",
     _point("offline-scan-no target", "offline-scan-kill between steps")),
    ("notifiers-left-in-suspense-by-an-interruption", "GOING is followed by CANCEL",
     "mm/hotplug/memory_hotplug.py",
     "                if agreed:\n", "                if agreed and errno is not Errno.OK:\n",
     _point("offline-scan-kill between steps")),
    ("notifiers-left-in-suspense-by-one-that-raised", "GOING is followed by CANCEL",
     "mm/hotplug/notify.py",
     "            if not agreed:\n", "            if not agreed and errno is not Errno.OK:\n",
     _point("offline-scan-interrupt a question")),
    ("notifiers-left-in-suspense-by-a-veto", "GOING is followed by CANCEL", "mm/hotplug/notify.py",
     "                self.notify(cancel, block)\n", "                pass\n",
     _point("offline-scan-veto")),
    ("power-region-stays-isolated", "nothing is isolated that is not off", "mm/power/power.py",
     "        finally:\n            self._open_unless_off(span)\n        self._note",
     "        except OSError:\n            self._open_unless_off(span)\n        self._note",
     _point("power-scan-kill between steps")),
    ("unmoved-huge-page-loses-its-bytes", "no byte is lost", "mm/hugetlb/evict.py",
     "        if target < 0:\n            return Errno.ENOMEM\n",
     "        if target < 0:\n            pool.unuse(head)\n            return Errno.ENOMEM\n",
     _point("offline-scan-no huge page", "cma-scan-no huge page")),
]  # fmt: skip

MUTANTS = [
    Mutant(name=f"faults-{name}", guards=guards, file=file, old=old, new=new, tests=tests)
    for name, guards, file, old, new, tests in (*_UNDO, *_HOME, *_CONSUMERS)
]
