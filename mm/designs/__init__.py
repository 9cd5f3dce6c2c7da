"""Designs that were built or proposed since 2013, each in a file that reads like its source.

    narrow       What designs share that find only some of the holders
    linux61      What a 6.1 kernel really moves: movable_operations, and no others
    movable_ops  2016: one owner per page, found through the page
    type_keyed   2025: one set of operations per page type
    rfc2013      The pin-page patch as posted, as far as a machine survives it
    confinement  Unmovable allocations kept in a region of their own

The two that everything else is measured against (`unmovable`, `registry`) are in
`mm.move.design`; what knows zbud lives with zbud, and what knows get_user_pages with it.
"""
