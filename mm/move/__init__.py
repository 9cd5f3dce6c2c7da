"""The only place where a page changes its pfn, and the one question that differs by design.

    capabilities  What a design can do, as data that the design itself carries
    design        How the VM treats frames that it cannot move by itself: the one question mm asks
    home_move     Moving pages that only page tables and the swap cache hold: nobody has to be asked
    move          The only place where a page changes its pfn
    obstacles     Who is in the way: frames that have to leave and do not, each with a reason and a
                  holder

Kernel counterpart: mm/migrate.c, struct movable_operations.
May be imported by: all of mm but `mm.state`, `mm.buddy` and `mm.swap`; pinlab. Owners see
`mm.move.design` and `mm.move.capabilities` alone.
"""
