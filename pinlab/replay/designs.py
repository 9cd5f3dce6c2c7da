"""The designs that can be compared, by name.

An explicit table: a design is added by adding a row.
"""

import enum
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from attrs import field, frozen

from mm.buddy.page_source import PageSource
from mm.designs.confinement import Confinement
from mm.designs.linux61 import MOVED_BY_LINUX_6_1, Linux61
from mm.designs.movable_ops import SLAB_CACHES, MovableOps
from mm.designs.rfc2013 import Rfc2013Design
from mm.designs.type_keyed import TYPE_OF_OWNER, TypeKeyed
from mm.move.capabilities import Capabilities
from mm.move.design import Design, RegistryDesign, Unmovable
from owners.gup.before_pin import MigrateBeforePin
from owners.zbud.migrate import ZbudMigrate
from owners.zbud.pool import ZbudPool
from owners.zbud.reclaim import ZbudReclaim
from pinpage.errors import PinpageError, require
from pinpage.move.steps import Memory
from pinpage.registry import PinRegistry

__all__ = ["DESIGNS", "DesignEntry", "DesignHost", "Dispatch", "Expresses", "Make", "design"]


class Dispatch(enum.Enum):
    """How a design finds out what to do with a frame that mm cannot move."""

    NOBODY = "nobody is asked"
    PAGE_TYPE = "the page's own mark"
    REGISTRY = "the registry"
    OWNERS = "what the page says of its owner, or a table of its own"

    @property
    def has_registry(self) -> bool:
        """Whether owners say what they hold."""
        return self in (Dispatch.REGISTRY, Dispatch.OWNERS)


class DesignHost(PageSource, Protocol):
    """A machine, as far as a design is made for one.

    Attributes:
        design: the design in force.
        registry: what its owners say; None where they say nothing.
    """

    design: Design
    registry: PinRegistry | None

    @property
    def mover(self) -> Memory:
        """Moves frames."""


class _Capable(Protocol):
    """The class of a design."""

    capabilities: ClassVar[Capabilities]


Make = Callable[[DesignHost, Sequence[ZbudPool]], Design]
"""Makes a design of a machine and its pools of zbud."""
Expresses = Callable[[str], str | None]
"""Whether an owner of that name can have a callback: None, or why not."""


def _everybody(_owner: str) -> str | None:
    return None


def _drivers(owner: str) -> str | None:
    """2016: one owner per page, in the place where a mapping would be."""
    if owner in SLAB_CACHES:
        return "slab uses the words of the page that would name its callbacks"
    return _but_gup(owner)


def _but_gup(owner: str) -> str | None:
    return "page tables hold the page as well, and it has one owner" if owner == "gup" else None


def _types(owner: str) -> str | None:
    return None if owner in TYPE_OF_OWNER else "its pages have no type"


def _one_callback(owner: str) -> str | None:
    if owner == "gup":
        return "page tables hold the page as well, and no callback agrees with them on a place"
    return None


@frozen
class DesignEntry:
    """One design.

    Attributes:
        name: as on the command line and in tables.
        summary: one line.
        dispatch: how it finds holders.
        takes_coverage: whether it matters who has a callback.
        kind: its class, which says what it can do.
        make: what puts it in force; None where the machine does.
        moves: owners that have a callback under it, whatever the coverage.
        expresses: why an owner cannot have a callback under it, where it takes a coverage.
        note: what a comparison on recorded memory cannot show of it; or nothing.
        plans: whether knowing beforehand what it knows makes a difference.
    """

    name: str
    summary: str
    dispatch: Dispatch
    takes_coverage: bool = False
    kind: type[_Capable] = field(default=Unmovable, repr=False)
    make: Make | None = field(default=None, repr=False)
    moves: frozenset[str] = frozenset()
    expresses: Expresses = field(default=_everybody, repr=False)
    note: str = ""
    plans: bool = True

    def put_in_force(self, machine: DesignHost, pools: Sequence[ZbudPool]) -> None:
        """Have a machine treat its frames by this design.

        Args:
            machine: its registry is in use already where the design needs one.
            pools: of zbud; read at every call.
        """
        if self.make is not None:
            machine.design = self.make(machine, pools)


def _registry_of(machine: DesignHost) -> PinRegistry:
    require(machine.registry is not None, "a design of owners on a machine without a registry")
    assert machine.registry is not None
    return machine.registry


DESIGNS: dict[str, DesignEntry] = {
    entry.name: entry
    for entry in (
        DesignEntry(
            "unmovable",
            "v3.11: only page tables are repointed",
            Dispatch.NOBODY,
            make=lambda _machine, _pools: Unmovable(),
        ),
        DesignEntry(
            "zbud-reclaim",
            "RFC v2 of 2013: compaction knows zbud pages and has them unused",
            Dispatch.PAGE_TYPE,
            kind=ZbudReclaim,
            make=ZbudReclaim,
        ),
        DesignEntry(
            "zbud-migrate",
            "the later series of 2013: indirect handles, so that zbud pages move",
            Dispatch.OWNERS,
            kind=ZbudMigrate,
            make=lambda machine, _pools: ZbudMigrate(
                _registry_of(machine), machine.mover, machine.frames
            ),
            moves=frozenset({"zbud"}),
        ),
        DesignEntry(
            "rfc2013",
            "the pin-page patch: a hash, one lock, one callback and no destination",
            Dispatch.OWNERS,
            takes_coverage=True,
            kind=Rfc2013Design,
            make=lambda machine, _pools: Rfc2013Design(
                _registry_of(machine), machine.mover, machine
            ),
            expresses=_one_callback,
            note="with the page flag that its to-do asks for, and owners that unregister: as "
            "posted it asks nobody; see `pinpage defects`",
        ),
        DesignEntry(
            "movable-ops",
            "2016: one owner per page, found through the page",
            Dispatch.OWNERS,
            takes_coverage=True,
            kind=MovableOps,
            make=lambda machine, _pools: MovableOps(_registry_of(machine), machine.mover),
            expresses=_drivers,
        ),
        DesignEntry(
            "type-keyed",
            "2025: one set of callbacks per page type",
            Dispatch.OWNERS,
            takes_coverage=True,
            kind=TypeKeyed,
            make=lambda machine, _pools: TypeKeyed(
                _registry_of(machine), machine.mover, machine.frames
            ),
            expresses=_types,
        ),
        DesignEntry(
            "migrate-before-pin",
            "FOLL_LONGTERM: moved out of CMA and movable zones before a pin, never after",
            Dispatch.NOBODY,
            kind=MigrateBeforePin,
            make=lambda _machine, _pools: MigrateBeforePin(),
            note="its effect is on pins that are taken: recorded ones in CMA areas and movable "
            "zones are taken again elsewhere, for the rest it is unmovable",
            plans=False,
        ),
        DesignEntry(
            "linux-6.1",
            "what a 6.1 kernel moves: zsmalloc, z3fold, balloons, huge pages",
            Dispatch.OWNERS,
            kind=Linux61,
            make=lambda machine, _pools: Linux61(_registry_of(machine), machine.mover),
            moves=frozenset(MOVED_BY_LINUX_6_1 - {"hugetlb"}),  # those go as a whole
        ),
        DesignEntry(
            "confinement",
            "unmovable allocations in a region of their own, which grows and shrinks",
            Dispatch.NOBODY,
            kind=Confinement,
            make=lambda _machine, _pools: Confinement(),
            note="its effect is on growth: on memory that was recorded without a region it is "
            "unmovable",
            plans=False,
        ),
        DesignEntry(
            "registry",
            "pin-page control: whoever pinned the frame is asked",
            Dispatch.REGISTRY,
            takes_coverage=True,
            kind=RegistryDesign,
        ),
    )
}
"""Every design, in the order in which tables show them."""


def design(name: str) -> DesignEntry:
    """The design with that name.

    Raises:
        PinpageError: there is none; names those that there are.
    """
    found = DESIGNS.get(name)
    if found is None:
        raise PinpageError(f"design {name!r} is unknown: it is one of {', '.join(DESIGNS)}")
    return found
