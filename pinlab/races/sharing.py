"""Owners of one frame, of which one does not do as the others: R-26, R-28, R-29."""

from pinlab.races.bench import Bench
from pinlab.races.broken import Broken
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.migrate import _free
from pinpage.move.undoing import _bring_back
from pinpage.owner import Reason
from pinpage.store.shard import Shard
from pinpage.testing.explore import Scenario
from pinpage.testing.scripted import Entry
from pinpage.testing.world import FrameIs

__all__ = [
    "RACES",
    "a_liar_and_an_honest_partner",
    "one_raises_half_way",
    "several_owners",
    "somebody_joins",
]


def a_liar_and_an_honest_partner(order: tuple[str, ...] = ("honest", "liar")) -> Scenario:
    """R-26: one of two owners says Yes and keeps a reference of the old frame.

    Args:
        order: in which they register, and so are asked.
    """
    bench = Bench()
    scripts: dict[str, dict[str, list[Entry]]] = {"honest": {}, "liar": {"migrate": ["lie"]}}
    owners = {name: bench.scripted(name, scripts[name]) for name in order}
    honest, liar = owners["honest"], owners["liar"]
    source = honest.keep("h", contents=7)
    liar.share("l", source)
    bench.owners.remove(liar)  # what it believes is its own affair

    def finish() -> None:
        require(bench.reasons["mover"] == [Reason.OWNER_FAULTY], "the lie was not found")
        require(bench.registry.is_faulty(liar), "the liar is not faulty")
        require(not bench.registry.is_faulty(honest), "the honest owner is blamed")
        is_aside = bench.world.state[source] is FrameIs.QUARANTINED
        require(is_aside, "the frame that is still used was given away")
        require(bench.world.alloc_page() != source, "the frame that is still used has a new user")
        require(honest.place["h"] != source, "the honest owner did not move")
        require(honest.read("h") == 8, "a write was lost")

    actors = {"mover": bench.mover(source), "user": bench.writing(honest, "h", 8)}
    return Scenario(actors, check=bench.world.check, finish=finish)


def several_owners(
    script: dict[str, list[Entry]], nr_owners: int = 3, leaver: int | None = None
) -> Scenario:
    """R-28: `script` is what the second of the owners does; a user writes through the first.

    Args:
        script: callback -> what it does.
        nr_owners: of the one frame.
        leaver: which of them lets go meanwhile, if any.
    """
    bench = Bench()
    owners = [bench.scripted(f"o{n}", script if n == 1 else {}) for n in range(nr_owners)]
    source = owners[0].keep(0, contents=1)
    for n, owner in enumerate(owners[1:], start=1):
        owner.share(n, source)

    def finish() -> None:
        places = {owner.place[n] for n, owner in enumerate(owners) if n in owner.place}
        require(len(places) == 1, "owners of one page are at two places", places=str(places))
        (reason,) = bench.reasons["mover"]
        told_so = (reason is Reason.MOVED) == (places != {source})
        require(told_so, "the mover was told something else", reason=reason.name)
        require(owners[0].read(0) == 2, "a write was lost")

    actors = {"mover": bench.mover(source), "user": bench.writing(owners[0], 0, 2)}
    if leaver is not None:
        actors["leaver"] = bench.letting_go(owners[leaver], leaver)
    return bench.scenario(finish, **actors)


def one_raises_half_way() -> Scenario:
    """R-28 where it hurts: the first owner has migrated, the second one raises."""
    return several_owners({"migrate": ["raise"]})


def somebody_joins() -> Scenario:
    """R-29: an owner takes a reference and pins while the frame is on its way."""
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h", contents=7)

    def finish() -> None:
        if "io" in gup.place:
            together = gup.place["io"] == zbud.place["h"]
            require(together, "the newcomer was left on the old frame")
        require(zbud.read("h") == 7, "the page lost its data")

    return bench.scenario(
        finish, mover=bench.mover(source), newcomer=bench.joining(gup, "io", source)
    )


RACES = (
    Race(
        number=26,
        title="Yes, and not moved",
        actors={"mover": "moves the page of two owners", "user": "writes to it by the honest one"},
        rule="V",
        make=a_liar_and_an_honest_partner,
        max_preemptions=3,
        broken=Broken(
            "an owner's Yes is not checked, and its old frame is freed",
            _free,
            "    bad = batch.bad_source[frames]\n",
            "    bad = batch.bad_source[frames] & False\n",
        ),
    ),
    Race(
        number=28,
        title="one of two owners refuses half-way",
        actors={"mover": "moves the page of three owners", "user": "writes to it by the first"},
        rule="W",
        make=one_raises_half_way,
        max_preemptions=2,
        broken=Broken(
            "what was written at the new place is not copied back",
            _bring_back,
            "batch.memory.copy",
            "(lambda *_: None)",
        ),
    ),
    Race(
        number=29,
        title="an owner that joins between the question and the move",
        actors={"mover": "moves the page", "newcomer": "references and pins it as well"},
        rule="FN",
        make=somebody_joins,
        broken=Broken(
            "a frame under move takes new pins",
            Shard.pin,
            "if pfn in self.moving:",
            "if pfn < 0:",
        ),
    ),
)
