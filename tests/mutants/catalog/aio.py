"""Bugs planted in the completion rings."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

AIO, RING = "owners/aio/rings.py", "owners/aio/ring_format.py"
UNIT, RACES = "tests/unit/owners/aio/test_rings.py", "tests/races/test_aio.py"


def _mutant(name: str, guards: str, old: str, new: str, *tests: str, file: str = AIO) -> Mutant:
    return Mutant(
        name=f"aio-{name}", guards=guards, file=file, old=old, new=new, tests=tests or (UNIT,)
    )


MUTANTS: list[Mutant] = [
    _mutant(
        "completes-into-a-quiet-page", "R-18",
        "while context.deferred and not self._is_away(context):", "while context.deferred:",
        UNIT, RACES,
    ),
    _mutant(
        "forgets-what-it-kept", "AR3, R-18",
        "        context.quiet.discard(index)\n        self._catch_up(context)\n",
        "        context.quiet.discard(index)\n", UNIT, RACES,
    ),
    _mutant(
        "only-the-header-page-counts-as-away", "R-18",
        "isdisjoint((_HEADER_PAGE, event_place(context.tail)[0]))", "isdisjoint((_HEADER_PAGE,))",
        UNIT, RACES,
    ),
    _mutant(
        "only-the-event-page-counts-as-away", "R-18",
        "isdisjoint((_HEADER_PAGE, event_place(context.tail)[0]))",
        "isdisjoint((event_place(context.tail)[0],))", UNIT, RACES,
    ),
    _mutant(
        "newest-kept-event-first", "R-18",
        "context.deferred.popleft()", "context.deferred.pop()", UNIT, RACES,
    ),
    _mutant(
        "isolates-under-a-reader", "trylock",
        "if context.is_being_read or context.pages[index] != pin.pfn:",
        "if context.pages[index] != pin.pfn:", UNIT,
    ),
    _mutant(
        "takes-any-page-for-the-index", "mismatch",
        "if context.is_being_read or context.pages[index] != pin.pfn:",
        "if context.is_being_read:", UNIT,
    ),
    _mutant(
        "a-context-that-is-gone-says-again", "gone for good",
        "            if context is None:\n                return Verdict.BUSY\n",
        "            if context is None:\n                return Verdict.AGAIN\n", UNIT,
    ),
    _mutant(
        "reads-while-it-moves", "R-18",
        "if context.is_being_read or context.quiet:", "if context.is_being_read:", UNIT, RACES,
    ),
    _mutant(
        "two-readers", "ring mutex",
        "if context.is_being_read or context.quiet:", "if context.quiet:", UNIT,
    ),
    _mutant(
        "a-killed-reader-keeps-the-mutex", "ring mutex",
        "        finally:\n            context.is_being_read = False\n",
        "        finally:\n            pass\n", UNIT,
    ),
    _mutant(
        "ring-not-repointed", "migrate",
        "                context.pages[index] = target\n", "", UNIT, RACES,
    ),
    _mutant(
        "taken-down-under-a-reader", "ring mutex",
        "            if context.is_being_read:\n                return Errno.EAGAIN\n", "", UNIT,
    ),
    _mutant(
        "kept-events-take-no-room", "capacity",
        " + len(context.deferred)\n", "\n", UNIT,
    ),
    _mutant(
        "head-not-noted-on-isolation", "capacity",
        "                context.head = self._header(context).head\n            context.quiet",
        "                pass\n            context.quiet", UNIT,
    ),
    _mutant("full-ring-looks-empty", "capacity", "context.nr_events - 1\n", "context.nr_events\n"),
    _mutant(
        "setup-leaks-its-first-pages", "R-10",
        "                    self._put_pages(context)\n                    return Errno.ENOMEM",
        "                    return Errno.ENOMEM",
    ),
    _mutant(
        "destroy-keeps-its-pins", "R-10",
        "                unpin(self._registry, pfn, self, context.private(index))\n",
        "                pass\n", UNIT, RACES,
    ),
    _mutant(
        "tail-word-stays", "AR1",
        "self._write_word(context, TAIL_OFFSET, context.tail)", "pass",
    ),
    _mutant("head-word-stays", "order", "self._write_word(context, HEAD_OFFSET, head)", "pass"),
    _mutant(
        "event-over-the-header", "layout",
        "divmod(index + 1, _EVENTS_PER_PAGE)", "divmod(index, _EVENTS_PER_PAGE)", file=RING,
    ),
    _mutant(
        "no-spare-slots", "layout", "(nr_events + 3)", "(nr_events + 1)", file=RING,
    ),
    _mutant("check-ignores-the-tail", "AR1", " and header.tail == context.tail", ""),
    _mutant("check-ignores-the-head", "AR2", "header.head < context.nr_events and ", ""),
    _mutant("check-ignores-kept-events", "AR3", "context.quiet or not context.deferred", "True"),
]  # fmt: skip
