"""Which errno whoever is asked gives for which cause: the table, which the page and the tests read.

A value is an errno's name, "refused" for an error raised before anything has changed, or
"nothing" where there is no attempt that could end with a code; "" where the cause cannot occur.
"""

from typing import Final

__all__ = ["ASKED", "CAUSES", "TABLE"]

CAUSES: Final = {
    "unmovable": "a page that nobody can move",
    "busy": "a page with a reference that nobody accounts for",
    "no memory": "nowhere to go for what would leave",
    "taken": "all that it could have has been had already",
    "interrupted": "a fatal signal",
    "impossible": "holes, two zones, beyond the end",
}
ASKED: Final = {
    "range": "a range: `machine.contig`, alloc_contig_range",
    "cma": "an area: `cma`, cma_alloc",
    "huge2m": "huge pages: `huge2m`, nr_hugepages",
    "huge1g": "gigantic pages: `huge1g`, alloc_contig_pages",
    "offline": "memory blocks: `offline`, offline_pages",
    "verdict": "`machine.hotplug.verdict`",
    "power": "power regions: `power`",
    "longterm": "FOLL_LONGTERM, in ZONE_MOVABLE",
}
_ROWS: Final = """
range     scan  EBUSY   EBUSY   ENOMEM  EBUSY    EINTR    refused
cma       scan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   EINTR    ENOMEM
cma       plan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   EINTR    ENOMEM
huge2m    scan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   nothing  ENOMEM
huge2m    plan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   nothing  ENOMEM
huge1g    scan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   EINTR    ENOMEM
huge1g    plan  ENOMEM  ENOMEM  ENOMEM  ENOMEM   EINTR    ENOMEM
offline   scan  EBUSY   EINTR   EINTR   EINVAL   EINTR    EINVAL
offline   plan  EBUSY   EBUSY   ENOMEM  EINVAL   EINTR    EINVAL
verdict   plan  EBUSY   EBUSY   ENOMEM  EINVAL   -        EINVAL
power     scan  EBUSY   EBUSY   ENOMEM  refused  EINTR    nothing
power     plan  EBUSY   EBUSY   nothing refused  EINTR    nothing
longterm  scan  -       ENOMEM  ENOMEM  -        -        EFAULT
"""

TABLE: Final = {
    (asked, strategy): dict(
        zip(CAUSES, ("" if value == "-" else value for value in row), strict=True)
    )
    for asked, strategy, *row in map(str.split, _ROWS.strip().splitlines())
}
"""(who is asked, strategy) -> cause -> what it gives."""
