"""The designs that can be compared, by name.

An explicit table: a design is added by adding a row.
"""

import enum

from attrs import frozen

from pinpage.errors import PinpageError

__all__ = ["DESIGNS", "DesignEntry", "Dispatch", "design"]


class Dispatch(enum.Enum):
    """How a design finds out what to do with a frame that mm cannot move."""

    NOBODY = "nobody is asked"
    PAGE_TYPE = "the page's own mark"
    REGISTRY = "the registry"


@frozen
class DesignEntry:
    """One design.

    Attributes:
        name: as on the command line and in tables.
        summary: one line.
        dispatch: how it finds holders.
        takes_coverage: whether it matters who has a callback.
    """

    name: str
    summary: str
    dispatch: Dispatch
    takes_coverage: bool = False


DESIGNS: dict[str, DesignEntry] = {
    entry.name: entry
    for entry in (
        DesignEntry("unmovable", "v3.11: only page tables are repointed", Dispatch.NOBODY),
        DesignEntry(
            "zbud-reclaim",
            "RFC v2 of 2013: compaction knows zbud pages and has them unused",
            Dispatch.PAGE_TYPE,
        ),
        DesignEntry(
            "registry",
            "pin-page control: whoever pinned the frame is asked",
            Dispatch.REGISTRY,
            takes_coverage=True,
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
