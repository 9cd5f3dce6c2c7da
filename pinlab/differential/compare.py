"""Run two designs on world after world; the first law that is broken is named.

    DL1  right after both were made
    DL2, DL3, DL4  after every request and every compaction; DL3 and DL4 once more when all let go
    DL5  each request by plan, on a fresh world each
    DL6  a load with compactions between its turns, twice from one seed
    DL7  compactions in every mode and by both strategies, where it is asked for

Same number of worlds, same seed: same report.
"""

from collections.abc import Collection, Sequence
from typing import Final, get_args

from attrs import define, field, frozen

from mm.move.design import Strategy
from owners.pool.owner import Coverage
from pinlab.differential.laws import Law
from pinlab.differential.recipe import Recipe
from pinlab.differential.requests import REQUESTS
from pinlab.differential.watched import Watched
from pinlab.differential.world import OWNERS, DesignWorld, MakeDesign
from pinpage.errors import InvariantError, PinpageError, at_least
from pinpage.owner import Mode

__all__ = ["Contender", "Difference", "DifferenceReport", "compare_designs"]

_STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
_NR_TURNS: Final = 4


@frozen
class Contender:
    """A design, and who has a callback under it.

    Attributes:
        make: gets a `DesignWorld`, returns the design; called for every world.
        movable: those of `pinlab.differential.world.OWNERS` that have a callback.
        zbud: the coverage of zbud: "migrate", "unuse" or "none".
        registered: whether the holders say anything at all, as no kernel has them do.
    """

    make: MakeDesign = field(repr=False)
    movable: Collection[str] = OWNERS
    zbud: Coverage = "migrate"
    registered: bool = True

    def world(self, recipe: Recipe, *, reclaims: bool = False) -> DesignWorld:
        """The memory of a recipe under this design.

        Args:
            recipe: what there is.
            reclaims: whether allocations may push pages out to swap.
        """
        return DesignWorld(
            recipe,
            self.make,
            movable=self.movable,
            zbud=self.zbud,
            registered=self.registered,
            reclaims=reclaims,
        )


@frozen
class Difference:
    """A broken law.

    Attributes:
        law: which.
        detail: what was seen.
        recipe: of the world on which it was.
    """

    law: Law
    detail: str
    recipe: Recipe

    def __str__(self) -> str:
        """As people read it."""
        return (
            f"{self.law.name}: {self.law.title}\n"
            f"  {self.detail} (world {self.recipe.seed})\n"
            f"  Broken, it means: {self.law.meaning}."
        )


@define
class DifferenceReport:
    """What was tried, and what came of it.

    Attributes:
        names: of the narrower and of the wider design.
        nr_worlds: how many.
        obtained: (request, strategy) -> what each of the two obtained, over all worlds.
        nr_behind_by_scan: requests by scan of which the wider obtained less; no law forbids it.
        finding: the law that was broken; None if all hold.
    """

    names: tuple[str, str] = ("", "")
    nr_worlds: int = 0
    obtained: dict[tuple[str, Strategy], tuple[int, int]] = field(factory=dict)
    nr_behind_by_scan: int = 0
    finding: Difference | None = None

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return self.finding is None

    def __str__(self) -> str:
        """As people read it."""
        narrow, wide = self.names
        if self.finding is not None:
            return f"{narrow} and {wide} break a law.\n\n{self.finding}"
        worlds = "one world" if self.nr_worlds == 1 else f"{self.nr_worlds} worlds"
        lines = [f"{narrow} and {wide}: every law holds on {worlds}.", ""]
        width = max(len(narrow), 6)
        lines.append(f"{'obtained':<16} {narrow:>{width}}  {wide}")
        lines += [
            f"{name:<8} {strategy:<7} {one:>{width}}  {two:>{len(wide)}}"
            for (name, strategy), (one, two) in self.obtained.items()
        ]
        lines.append(f"behind by scan   {'':>{width}}  {self.nr_behind_by_scan:>{len(wide)}}")
        return "\n".join(lines)


class _BrokenError(Exception):
    def __init__(self, law: Law, detail: str) -> None:
        super().__init__(detail)
        self.law = law


@define
class _Pair:
    """The two, and what is asked of them."""

    narrow: Contender
    wide: Contender
    requests: Sequence[str]
    contains: bool

    @property
    def both(self) -> tuple[Contender, Contender]:
        return self.narrow, self.wide


def compare_designs(
    narrow: MakeDesign | Contender,
    wide: MakeDesign | Contender,
    *,
    nr_examples: int = 8,
    seed: int = 0,
    requests: Sequence[str] = tuple(REQUESTS),
    contains: bool = False,
) -> DifferenceReport:
    """Run two designs on the same small worlds, and hold them to the laws.

    Args:
        narrow: the design that may know less; a class or function that takes a `DesignWorld`,
            or a `Contender` where not everybody has a callback.
        wide: the other one.
        nr_examples: worlds.
        seed: of the first of them.
        requests: names of `pinlab.differential.requests.REQUESTS`; () for none, where neither
            of the two is the wider one.
        contains: whether the wider one, with the callbacks it is given, must do to every frame
            what the narrower one does (DL7).

    Raises:
        PinpageError: no worlds, or a request that there is not.

    Cost: about a second for each world.
    """
    at_least(1, "compare_designs", nr_examples=nr_examples)
    at_least(0, "compare_designs", seed=seed)
    for name in requests:
        if name not in REQUESTS:
            raise PinpageError(
                f"compare_designs: requests={name!r}: the requests are {', '.join(REQUESTS)}"
            )
    pair = _Pair(_contender(narrow), _contender(wide), requests, contains)
    report = DifferenceReport()
    for which in range(seed, seed + nr_examples):
        recipe = Recipe.drawn(which)
        report.nr_worlds += 1
        try:
            _try(pair, recipe, report)
        except _BrokenError as broken:
            report.finding = Difference(broken.law, str(broken), recipe)
            break
        except InvariantError as error:
            report.finding = Difference(Law.DL4, str(error), recipe)
            break
    return report


def _contender(given: MakeDesign | Contender) -> Contender:
    return given if isinstance(given, Contender) else Contender(given)


def _try(pair: _Pair, recipe: Recipe, report: DifferenceReport) -> None:
    one, two = (contender.world(recipe) for contender in pair.both)
    report.names = (one.machine.design.name, two.machine.design.name)
    if found := one.differs_from(two):
        raise _BrokenError(Law.DL1, f"{found} where neither has acted")
    for contender, world in zip(pair.both, (one, two), strict=True):
        _require_whole(world)
        _require_exact(contender, recipe)
        _require_same_again(contender, recipe)
    for name in pair.requests:
        for strategy in _STRATEGIES:
            _ask(pair, recipe, report, name, strategy)
    if pair.contains:
        _require_contained(pair, recipe)


def _require_whole(world: DesignWorld) -> None:
    """DL2 and DL4; what a request has is neither free nor in use; frames are counted elsewhere."""
    if lost := world.lost():
        raise _BrokenError(Law.DL2, f"under {world.machine.design.name}: {lost}")
    world.check()


def _require_no_frame_lost(world: DesignWorld) -> None:
    if missing := world.missing():
        raise _BrokenError(Law.DL3, f"under {world.machine.design.name}: {missing}")


def _require_exact(contender: Contender, recipe: Recipe) -> None:
    """DL4: a compaction that gives nothing up, by its own count, leaves as many frames in use."""
    for strategy in _STRATEGIES:
        world = contender.world(recipe)
        before, free = set(world.used()), world.nr_in_use
        report = world.machine.compact(strategy).report
        _require_whole(world)
        _require_no_frame_lost(world)
        nr_new = len(set(world.used()) - before)
        name = world.machine.design.name
        if report.pages_released == 0 and world.nr_in_use != free:
            detail = f"{free} frames in use became {world.nr_in_use}, and none was given up"
            raise _BrokenError(Law.DL4, f"under {name}, by {strategy}: {detail}")
        if report.pages_released == 0 and nr_new > report.pages_moved:
            detail = f"{nr_new} frames came into use, and {report.pages_moved} pages moved"
            raise _BrokenError(Law.DL4, f"under {name}, by {strategy}: {detail}")


def _require_same_again(contender: Contender, recipe: Recipe) -> None:
    """DL6; and DL2 to DL4 under load, until nobody is left."""
    first, second = (_loaded(contender, recipe) for _ in range(2))
    if first != second:
        detail = "the same load left two machines"
        raise _BrokenError(Law.DL6, f"{detail}: {first}, then {second}")


def _loaded(contender: Contender, recipe: Recipe) -> str:
    world = contender.world(recipe, reclaims=True)
    world.machine.design = Watched(world.machine.design, world.machine.frames)
    for turn in range(_NR_TURNS):
        world.load(turn)
        mode = tuple(Mode)[turn % len(Mode)]
        world.machine.compact(_STRATEGIES[turn % len(_STRATEGIES)], mode)
        _require_whole(world)
        _require_no_frame_lost(world)
    digest = world.digest()
    if nr_left := world.let_go():
        name = world.machine.design.name
        raise _BrokenError(Law.DL3, f"under {name}: {nr_left} frames in use, and nobody is left")
    world.machine.check()
    return digest


def _ask(
    pair: _Pair, recipe: Recipe, report: DifferenceReport, name: str, strategy: Strategy
) -> None:
    """One request, of both; DL5 where it was by plan."""
    got = []
    for contender in pair.both:
        world = contender.world(recipe)
        got.append(REQUESTS[name](world.machine, strategy))
        _require_whole(world)
    before = report.obtained.get((name, strategy), (0, 0))
    report.obtained[name, strategy] = (before[0] + got[0], before[1] + got[1])
    if got[1] >= got[0]:
        return
    if strategy == "plan":
        one, two = report.names
        raise _BrokenError(Law.DL5, f"{name}: {two} obtained {got[1]}, {one} {got[0]}")
    report.nr_behind_by_scan += 1


def _require_contained(pair: _Pair, recipe: Recipe) -> None:
    """DL7."""
    for mode in Mode:
        for strategy in _STRATEGIES:
            one, two = (contender.world(recipe) for contender in pair.both)
            for world in (one, two):
                world.machine.compact(strategy, mode)
            if found := one.differs_from(two):
                raise _BrokenError(Law.DL7, f"compacted by {strategy}, {mode.name}: {found}")
