"""Bugs planted in hugetlb pools, in how their pages make way, and in gigantic allocation."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

POOL = STATE = SOURCE = "mm/hugetlb/hugetlb.py"
MOVE, SIZES, WALK = "mm/hugetlb/evict.py", "mm/hugetlb/sizes.py", "mm/hugetlb/gigantic.py"
REQUEST, OWNER, EVACUATE = (
    "pinlab/requests/huge1g.py", "owners/hugetlb_pages.py", "mm/contig/evacuate.py",
)  # fmt: skip
UNIT = "tests/unit/mm"
T_POOL, T_NODES = f"{UNIT}/hugetlb/test_hugetlb.py", f"{UNIT}/hugetlb/test_nodes.py"
T_MOVE, T_WALK = f"{UNIT}/hugetlb/test_evict.py", f"{UNIT}/hugetlb/test_gigantic.py"
T_LINGER = f"{UNIT}/hugetlb/test_linger.py"
T_MODEL = "tests/property/test_hugetlb_machine.py"
T_OWNER = "tests/unit/owners/test_hugetlb_pages.py"
_HUGE1G = "tests/unit/pinlab/requests/test_huge1g.py"
T_SERVED = tuple(
    f"{_HUGE1G}::test_{name}"
    for name in (
        "pages_are_got_until_one_fails",
        "as_many_as_are_asked_for",
        "what_is_looked_at_either_way_is_counted",
        "a_plan_takes_the_cheapest_first_and_refuses_without_a_move",
        "a_signal_ends_it_and_the_report_is_partial",
        "a_signal_inside_an_attempt_is_told",
        "a_node_of_its_own",
    )
)

_STATE = [
    ("misaligned-passes", "HT1", 'require(head % self.nr_pages == 0, "HT1', 'require(True, "HT1',
     T_POOL),
    ("frame-gone-passes", "HT2", 'require(fine.all(), "HT2', 'require(True, "HT2', T_POOL),
    ("flag-astray-passes", "HT2", "require(nr_huge == expected,", "require(True,", T_POOL),
    ("other-sizes-are-astray", "HT2", "for pool in self.all_sizes)", "for pool in (self,))",
     T_NODES),
    ("unlisted-page-passes", "HT3", "require(known == sorted(self.heads),", "require(True,",
     T_NODES),
    ("strange-list-passes", "HT3", "require(not strays,", "require(True,", T_NODES),
    ("surplus-of-nothing-passes", "HT4", 'require(fits, "HT4', 'require(True, "HT4', T_NODES),
    ("lost-reference-passes", "HT5", 'require(self.nr_foreign(head) >= 0, "HT5',
     'require(True, "HT5', T_NODES),
    ("pinned-page-is-free", "pins are respected",
     "        if self.nr_foreign(head):\n            return\n", "", T_LINGER),
    ("free-page-is-held-unseen", "pins are respected",
     "return [head for head in self._idle[node] if not self.nr_foreign(head)]",
     "return list(self._idle[node])", T_NODES),
    ("held-page-is-free", "pins are respected",
     "return self._nr_users.get(head) == 0 and not self.nr_foreign(head)",
     "return self._nr_users.get(head) == 0", T_NODES),
    ("surplus-page-stays", "surplus",
     "            self.nr_surplus[node] -= 1\n            self.give_back(head)\n",
     "            pass\n", T_NODES),
    ("last-put-frees-nothing", "a pool settles in one moment",
     "        if self._nr_users.get(head) == 0:\n            self._free_unless_held(head)\n",
     "        pass\n", T_LINGER),
    ("freed-page-is-handed-out-last", "newest first",
     "        self._idle[node].append(head)\n        if self.",
     "        self._idle[node].insert(0, head)\n        if self.", T_LINGER),
    ("used-page-freed", "pins are respected", "        if not self.is_free(head):\n",
     "        if False:\n", T_NODES),
    ("flag-stays", "HT2", "        self.frames.flags[pfns] = 0\n", "", T_NODES),
    ("mover-loses-its-frame", "R-1", "pfns[~taken] if taken.any() else pfns", "pfns", T_OWNER),
    ("mover-counts-as-a-user", "release", " - int(taken.sum())", "", T_OWNER),
    ("user-reference-stays-behind", "HT5",
     ("        self.frames.add_reference(head, -users)\n"
     "        self.frames.add_reference(target, users)\n"), "", T_MOVE),
    ("move-is-not-told", "R-35", "        self.on_moved(head, target)\n", "", T_MOVE),
    ("going-is-not-told", "R-10", "        self.on_gone(head)\n", "", T_MOVE),
    ("used-page-handed-out-again", "HT3",
     "            self._idle[self.node_of(head)].remove(head)\n        self._nr_users[head] +=",
     "            pass\n        self._nr_users[head] +=", T_MODEL),
    ("target-is-still-free", "HT3", "        self._idle[other].remove(target)\n", "",
     T_MODEL),
    ("surplus-stays-behind", "HT4", "if node != other and self.nr_surplus[node]:", "if False:",
     f"{T_MOVE}::test_a_surplus_page_is_one_of_the_node_that_it_is_moved_to"),
    ("use-takes-no-reference", "HT5", "        self.frames.add_reference(head, 1)\n", "", T_NODES),
]  # fmt: skip

_POOL = [
    ("claims-isolated", "an isolated range is somebody's",
     "self.buddy.wholly_free() & ~isolated", "self.buddy.wholly_free()", T_POOL),
    ("shrinks-the-oldest", "shrink", "[head for head in reversed(self.heads) if",
     "[head for head in self.heads if", T_POOL),
    ("no-turns", "node by node", "            self._next_node[what] = node + 1\n", "", T_NODES),
    ("node-target-is-the-total", "node by node",
     "count += self.nr_persistent - (self.nr_on(node) - self.nr_surplus[node])", "pass", T_NODES),
    ("surplus-never-persistent", "set_max",
     "while self.nr_persistent < count and self._adjust_surplus(-1, nodes):", "while False:",
     T_NODES),
    ("used-pages-stay-persistent", "set_max",
     "while self.nr_persistent > count and self._adjust_surplus(1, nodes):", "while False:",
     T_NODES),
    ("never-gives-back", "set_max",
     "while self.nr_persistent > count and self._remove_one(nodes):", "while False:", T_NODES),
    ("overcommit-without-limit", "surplus",
     "if sum(self.nr_surplus.values()) >= self.nr_overcommit:", "if False:", T_NODES),
    ("surplus-not-counted", "surplus", "                self.nr_surplus[other] += 1\n", "",
     T_NODES),
    ("lowest-node-first", "nearest first", "key=lambda other: (other != first, other)",
     "key=lambda other: other", T_NODES),
    ("first-failure-of-a-node-ends-it", "node by node", "            given_up.add(node)\n",
     "            return -1\n", T_NODES),
]  # fmt: skip

_SOURCE = [
    ("grow-compacts", "grow does not compact", "(gfp | Gfp.NORETRY) & ~Gfp.RECLAIM",
     "gfp | Gfp.NORETRY", T_POOL),
    ("hard-is-soft", "set_max", "gfp | Gfp.RETRY_MAYFAIL if hard else", "gfp if False else",
     T_NODES),
    ("from-any-node", "node by node", "self._buddy.pageblock_order, gfp, node, lets_run=hard)",
     "self._buddy.pageblock_order, gfp, lets_run=hard)", T_NODES),
]  # fmt: skip

_MOVE = [
    ("gigantic-makes-way-for-contig", "ENOMEM",
     "                if keep and self._is_gigantic(pool):\n",
     "                if False:\n", T_MOVE),
    ("contig-shrinks-the-pool", "replace",
     "if errno is Errno.OK and not made and", "if False and", T_MOVE),
    ("hot-remove-wants-a-page", "dissolve", "if errno is Errno.OK and not keep and not made:",
     "if False:", T_MOVE),
    ("page-that-went-meanwhile-is-in-the-way", "a pool settles in one moment",
     "        if not pool.has(head):\n            return Errno.OK\n", "", T_LINGER),
    ("page-taken-meanwhile-is-given-back", "a pool settles in one moment",
     "        if errno is Errno.OK and pool.is_free(head):\n", "        if errno is Errno.OK:\n",
     T_LINGER),
    ("fresh-page-stays-in-vain", "replace",
     "            if pool.is_free(fresh):\n                pool.give_back(fresh)\n",
     "            pass\n", T_LINGER),
    ("page-pinned-meanwhile-is-moved", "a pool settles in one moment",
     "        if not _may_move(pool, head):  # any more: others ran\n", "        if False:\n",
     T_LINGER),
    ("bytes-stay-behind", "contents",
     "        self._contents.copy(pool.frames_of(head), pool.frames_of(target))\n", "", T_MOVE),
    ("pinned-page-moves", "pins are respected",
     "return pool.nr_users(head) > 0 and not pool.nr_foreign(head)",
     "return pool.nr_users(head) > 0", T_MOVE),
    ("target-in-the-range", "R-23", "if not np.equal(types, MigrateType.ISOLATE).any():",
     "if True:", T_MOVE),
    ("waits-in-async", "mode", "        if mode == Mode.ASYNC:\n", "        if False:\n", T_MOVE),
    ("gigantic-page-made-for-a-move", "ENOMEM",
     "return -1 if self._is_gigantic(pool) else self._fresh(pool, nodes, made)",
     "return self._fresh(pool, nodes, made)", T_MOVE),
    ("replaced-twice", "replace", "is Errno.OK and not made and", "is Errno.OK and",
     T_MOVE),
]  # fmt: skip

_WALK = [
    ("takes-reserved", "pfn_range_valid_contig", "(FrameState.HOLE, FrameState.RESERVED)",
     "(FrameState.HOLE,)", T_WALK),
    ("takes-holes", "pfn_range_valid_contig", "(FrameState.HOLE, FrameState.RESERVED)",
     "(FrameState.RESERVED,)", T_WALK),
    ("crosses-zones", "pfn_range_valid_contig",
     "        bad |= frames.zone[rows] != zone.index\n", "", T_WALK),
    ("takes-hugetlb", "pfn_range_valid_contig",
     "        bad |= (frames.flags[rows] & PageFlag.HUGE.mask) != 0\n", "", T_WALK),
    ("misaligned", "HT1", "-(-zone.span.start // self.nr_pages) * self.nr_pages",
     "zone.span.start", T_WALK),
    ("leaves-its-zone", "zone_spans_last_pfn", "zone.span.stop - self.nr_pages + 1",
     "zone.span.stop", T_WALK),
    ("in-zone-movable", "zonelist", "z.kind < ZoneKind.MOVABLE and ", "", T_WALK),
    ("low-memory-first", "zonelist", "(zone.node, -zone.kind)", "(zone.node, zone.kind)", T_WALK),
    ("from-any-node", "zonelist", "node in (None, z.node)", "True", T_WALK),
    ("one-failure-ends-it", "first success wins",
     "                if got.errno in (Errno.OK, Errno.EINTR):\n                    done.head,",
     "                if True:\n                    done.head,", T_WALK),
    ("walks-on-after-a-signal", "EINTR",
     "                if got.errno in (Errno.OK, Errno.EINTR):\n                    done.head,",
     "                if got.errno is Errno.OK:\n                    done.head,", T_WALK),
    ("probes-all-of-a-range", "probes", "_Seen(False, first + 1) if bad[first]",
     "_Seen(False, len(bad)) if bad[first]", T_WALK),
    ("knows-no-pins", "knowledge", "            if refused[first]:\n", "            if False:\n",
     T_WALK),
    ("every-pin-rules-out", "same answer", "np.equal(design.ask(pinned, mode)[0], Answer.NO)",
     "np.less_equal(design.ask(pinned, mode)[0], Answer.MOVE)", T_WALK),
    ("pins-cost-no-probe", "probes", "            probes += len(pinned)\n", "", T_WALK),
    ("skips-without-a-word", "reasons", "        self._add_skipped(done, mode)\n", "", T_WALK),
    ("failures-without-a-word", "reasons",
     "                done.refusals.update(got.report.refusals)\n            else:",
     "                pass\n            else:", T_WALK),
    ("plan-drains-memory", "watermark", "reserve=sum(zone.min for zone in self._zones()) if",
     "reserve=0 if", T_WALK),
    ("plan-tries-one-range", "replanning", "            failed.add(span.start)\n",
     "            return done, first\n", T_WALK),
    ("plan-says-not-why", "reasons",
     "done.refusals = self._refusals(first.in_the_way(first.nearest).pfns, mode)", "pass", T_WALK),
    ("any-size-goes", "caller's mistake",
     "if nr_pages < size or nr_pages & (nr_pages - 1):", "if False:", T_WALK),
]  # fmt: skip

_REQUEST = [
    ("goes-on-after-a-failure", "first failure",
     "        elif not account.again():\n            break\n",
     "        else:\n            obtained += 1\n"),
    ("forgets-the-pool", "HT2", "            pool.adopt(walk.head)\n", ""),
    ("never-plans", "strategy", 'if options.strategy == "plan":', "if False:"),
    ("never-knows", "knowledge", '"blocks" if knows else "frames"', '"frames"'),
    ("deaf-to-signals", "EINTR", "        signal_pending=options.interrupted,\n", ""),
    ("any-node-will-do", "node by node", "pages.walk(options.node,", "pages.walk(None,"),
    ("bound-of-one", "bound", "pages.plan(None, options.node", "pages.plan(1, options.node"),
    ("success-is-refused", "reasons", "walk.refusals if walk.head < 0 else None", "None"),
]  # fmt: skip

_OWNER = [
    ("dissolves-always", "policy", "if not self.may_dissolve or not", "if not"),
    ("replaces-without-the-bytes", "contents",
     "        self._source.contents.copy(pool.frames_of(head), pool.frames_of(free[-1]))\n", ""),
    ("user-stays-on-the-old-page", "HO2",
     "                self._users[user] = target\n", "                pass\n"),
    ("page-gone-stays-pinned", "R-10",
     "unpin_range(self._registry, head, head + self._pool.nr_pages, self, head)", "pass"),
    ("second-frame-dissolves-another", "release", "return Verdict.YES  # dissolved already",
     "return Verdict.BUSY  # dissolved already"),
    ("page-gone-is-still-known", "HO1", "                self._known.remove(head)\n", ""),
    ("two-users-pass", "HO2", 'require(len(set(used)) == len(used), "HO2', 'require(True, "HO2'),
    ("other-pages-pass", "HO1", 'require(not strays, "HO1', 'require(True, "HO1'),
]  # fmt: skip


def _of(prefix: str, file: str, rows: list[tuple[str, ...]]) -> list[Mutant]:
    return [
        Mutant(name=f"{prefix}-{name}", guards=guards, file=file, old=old, new=new, tests=tests)
        for name, guards, old, new, *tests_of_row in rows
        for tests in [tuple(tests_of_row)]
    ]


MUTANTS: list[Mutant] = [
    *_of("huge", STATE, _STATE),
    *_of("huge", POOL, _POOL),
    *_of("huge-source", SOURCE, _SOURCE),
    *_of("huge-move", MOVE, _MOVE),
    *_of("gigantic", WALK, _WALK),
    *_of("huge1g", REQUEST, [(*row, *T_SERVED) for row in _REQUEST]),
    *_of("hugetlb", OWNER, [(*row, T_OWNER) for row in _OWNER]),
    Mutant(
        name="gigantic-plan-keeps-its-targets",
        guards="R-33",
        file="mm/planning/execute.py",
        old="        if len(given.remaining):\n",
        new="        if False:\n",
        tests=("tests/property/test_gigantic_faults.py",),
    ),
    Mutant(
        name="huge-put-is-not-told",
        guards="a pool settles in one moment",
        file="mm/state/page_ref.py",
        old="                self.on_huge_put(pfn)\n                return frames",
        new="                return frames",
        tests=(T_LINGER,),
    ),
    Mutant(
        name="huge-move-hot-remove-keeps-the-pool",
        guards="dissolve",
        file=EVACUATE,
        old="keep = retry.nr_tries is not None",
        new="keep = True",
        tests=(T_MOVE,),
    ),
]
