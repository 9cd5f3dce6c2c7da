"""Executable history: each defect of the 2013 patch, shown on it and looked for in the registry."""

from attrs import frozen

from pinlab.defects.on_patch import ON_PATCH
from pinlab.defects.on_registry import ON_REGISTRY
from pinpage.rfc2013_defects import NOTHING_WRONG, Defect

__all__ = ["Exhibit", "exhibits"]


@frozen
class Exhibit:
    """One defect and what was seen of it.

    Attributes:
        defect: which.
        on_patch: what happened with this defect alone; None would be a failure of ours.
        mended: what happened with none; anything is a failure of ours.
        on_registry: what happened there; anything is a defect of the registry.
    """

    defect: Defect
    on_patch: str | None
    mended: str | None
    on_registry: str | None

    @property
    def is_history(self) -> bool:
        """Whether it is shown on the patch, goes with its mending, and is not in the registry."""
        return self.on_patch is not None and self.mended is None and self.on_registry is None


def exhibits() -> tuple[Exhibit, ...]:
    """Run every experiment three times; cost: about a second."""
    return tuple(
        Exhibit(
            defect,
            ON_PATCH[defect]({defect}),
            ON_PATCH[defect](NOTHING_WRONG),
            ON_REGISTRY[defect](),
        )
        for defect in Defect
    )
