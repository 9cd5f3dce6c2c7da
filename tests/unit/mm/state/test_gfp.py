"""What gfp flags imply."""

import pytest

from mm.state.gfp import Gfp, gfp_migratetype, gfp_zone_kind
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError


@pytest.mark.parametrize(
    ("gfp", "migratetype"),
    [
        (Gfp.KERNEL, MigrateType.UNMOVABLE),
        (Gfp.HIGHUSER_MOVABLE, MigrateType.MOVABLE),
        (Gfp.KERNEL | Gfp.RECLAIMABLE, MigrateType.RECLAIMABLE),
        (Gfp.ZSWAP, MigrateType.UNMOVABLE),
    ],
)
def test_mobility(gfp, migratetype):
    assert gfp_migratetype(gfp) is migratetype


def test_both_mobilities_would_read_as_highatomic():
    with pytest.raises(PinpageError, match="exclude each other"):
        gfp_migratetype(Gfp.MOVABLE | Gfp.RECLAIMABLE)


@pytest.mark.parametrize(
    ("gfp", "kind"),
    [
        (Gfp.KERNEL, ZoneKind.NORMAL),
        (Gfp.KERNEL | Gfp.MOVABLE, ZoneKind.NORMAL),
        (Gfp.HIGHUSER_MOVABLE, ZoneKind.MOVABLE),
        (Gfp.KERNEL | Gfp.DMA, ZoneKind.DMA),
        (Gfp.KERNEL | Gfp.DMA32, ZoneKind.DMA32),
    ],
)
def test_highest_zone(gfp, kind):
    assert gfp_zone_kind(gfp) is kind
